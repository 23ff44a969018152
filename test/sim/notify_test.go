package sim

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/dsn"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/proto/smtp"
	"posthaste/test/house"
)

// TestSuccess: ada asks to hear when her letter has arrived. It goes through
// three houses, as bob's mail is forwarded, and over hosts elsewhere; each that
// ends the journey tells her, with her own names for message and recipients.
// RFC 3461
func TestSuccess(t *testing.T) {
	credentials := cheap()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, credentials)
		w.quiet = true
		w.alias(1, "away@b.example", "eve@c.example")
		w.alias(1, "two@b.example", "eve@c.example", "bob@b.example")
		time.Sleep(time.Second)
		ada := house.Address("ada@a.example")
		env := mail.Envelope{Sender: ada, EnvelopeID: "letter+1"}
		for _, to := range []string{"away@b.example", "two@b.example", "bob@b.example", "x@wall.example"} {
			env.Recipients = append(env.Recipients, mail.Recipient{Address: house.Address(to), Notify: mail.NotifySuccess | mail.NotifyFailure, ORCPT: "rfc822;my-" + to})
		}
		w.submit(ada, env, "From: ada@a.example\r\nSubject: hello\r\n\r\nHello.\r\n")
		time.Sleep(time.Hour)
		for _, s := range w.sites {
			s.stop()
		}
		w.net.Wait()
		_, boxes := w.sites[0].check()
		var got []string
		for _, m := range boxes[ada] {
			in, err := dsn.Read(message.ParseBytes([]byte(m)), bytes.NewReader([]byte(m)))
			if err != nil {
				t.Fatalf("%v:\n%s", err, m)
			}
			for _, r := range in.Recipients {
				got = append(got, fmt.Sprintf("%s %s %s by %s", r.ORCPT, in.EnvelopeID, r.Action, in.Host))
			}
		}
		slices.Sort(got)
		want := []string{
			"rfc822;my-away@b.example letter+1 delivered by mx.c.example",
			"rfc822;my-bob@b.example letter+1 delivered by mx.b.example",
			"rfc822;my-two@b.example letter+1 expanded by mx.b.example",
			"rfc822;my-x@wall.example letter+1 failed by mx.a.example",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// submit hands in a message as a mail program would.
func (w *world) submit(from mail.Address, env mail.Envelope, text string) {
	w.t.Helper()
	conn, err := w.net.From(netip.MustParseAddr("203.0.113.1"))(context.Background(), "tcp", netip.AddrPortFrom(w.accounts[from].ip, 587).String())
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	c := smtp.NewClient(conn, smtp.ClientOptions{Hello: "program.example"})
	login, err := sasl.NewClient(sasl.Plain, sasl.Credentials{User: from.String(), Password: password}, sasl.ChannelBinding{})
	if err == nil {
		err = c.Greet()
	}
	if err == nil {
		err = c.Auth(login)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	outs, err := c.Send(env, nil, textBody{strings.NewReader(text)})
	for _, o := range outs {
		if err != nil || o.Status.Class != 2 {
			w.t.Fatal(o, err)
		}
	}
	c.Quit()
}
