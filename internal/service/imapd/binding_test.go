package imapd

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"strings"
	"testing"

	"posthaste/internal/agent/auth"
	"posthaste/internal/proto/sasl"
)

// TestChannelBinding logs in bound to the connection, announced or not.
func TestChannelBinding(t *testing.T) {
	for _, offer := range []sasl.Offer{sasl.Unbound, sasl.Bound} {
		srv := newServer(t)
		srv.TLS, srv.ImplicitTLS, srv.ClearAuth, srv.Offer = certificate(), true, false, offer
		tc := tls.Client(dial(t, srv), &tls.Config{InsecureSkipVerify: true})
		c := &client{t: t, conn: tc, r: bufio.NewReader(tc)}
		if greeting := c.line(); strings.Contains(greeting, " AUTH=SCRAM-SHA-256-PLUS ") != (offer == sasl.Bound) {
			t.Error(greeting)
		}
		a, err := sasl.NewClient(sasl.ScramPlus, sasl.Credentials{User: "ada@example.org", Password: "sesame"}, auth.Binding(tc.ConnectionState()))
		if err != nil {
			t.Fatal(err)
		}
		next := func(challenge []byte) string {
			response, err := a.Next(challenge)
			if err != nil {
				t.Fatal(err)
			}
			return base64.StdEncoding.EncodeToString(response)
		}
		c.send("a AUTHENTICATE SCRAM-SHA-256-PLUS " + next(nil) + "\r\n")
		l := c.line()
		for ; strings.HasPrefix(l, "+ "); l = c.line() {
			challenge, err := base64.StdEncoding.DecodeString(l[2:])
			if err != nil {
				t.Fatal(err)
			}
			c.send(next(challenge) + "\r\n")
		}
		if !strings.HasPrefix(l, "a OK ") || a.Done() != nil {
			t.Error(l, a.Done())
		}
	}
}
