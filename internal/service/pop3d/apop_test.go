package pop3d

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/pop3"
	"posthaste/internal/proto/sasl"
)

// stampers are people whom APOP is for: ada's password for it is "readable".
type stampers struct {
	people
	offered bool
	err     error
}

func (s stampers) OffersAPOP(context.Context) (bool, error) { return s.offered, s.err }

func (s stampers) APOP(_ context.Context, user, stamp string, digest []byte) (sasl.Identity, error) {
	if id := s.who(user); id.Account != 0 && string(digest) == string(pop3.Stamped(stamp, "readable")) {
		return id, nil
	}
	return sasl.Identity{}, sasl.ErrFailed
}

// greeted begins a session, and gives the stamp of its greeting.
func greeted(t *testing.T, srv *Server) (c *client, stamp string) {
	t.Helper()
	conn, done := dial(t, srv)
	c = &client{t: t, conn: conn, r: bufio.NewReader(conn), done: done}
	_, stamp, _ = strings.Cut(c.line(), "+OK Posthaste is ready ")
	return c, stamp
}

func TestAPOP(t *testing.T) {
	srv := newServer(t)
	who := stampers{offered: true}
	srv.Auth = func(mail.Peer) sasl.Verifier { return who }
	say := func(c *client, stamp, password, want string) {
		t.Helper()
		c.say("APOP ada@example.org " + hex.EncodeToString(pop3.Stamped(stamp, password)))
		c.want(want)
	}
	c, stamp := greeted(t, srv)
	if !strings.HasPrefix(stamp, "<") || !strings.HasSuffix(stamp, "@posthaste>") {
		t.Fatalf("stamp %q", stamp)
	}
	other, another := greeted(t, srv)
	if another == stamp {
		t.Error("two connections have one stamp")
	}
	say(other, stamp, "readable", "-ERR [AUTH] authentication failed")
	say(c, stamp, "sesame", "-ERR [AUTH] authentication failed")
	c.say("APOP ada@example.org 00")
	c.want("-ERR wrong arguments")
	say(c, stamp, "readable", "+OK welcome")
	c.say("STAT")
	c.want("+OK 0 0")
	c.hangUp()

	// Not without TLS, where nobody may log in without it.
	srv.ClearAuth, srv.TLS = false, certificate()
	if c, stamp = greeted(t, srv); stamp == "" {
		t.Error("who will begin TLS has no stamp")
	}
	say(c, stamp, "readable", "-ERR begin TLS first")
	c.say("STLS")
	c.want("+OK begin TLS now")
	tc := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true})
	c = &client{t: t, conn: tc, r: bufio.NewReader(tc), done: c.done}
	say(c, stamp, "readable", "+OK welcome")

	srv.TLS = nil
	if _, stamp := greeted(t, srv); stamp != "" {
		t.Error("who cannot log in has a stamp", stamp)
	}
	srv.ClearAuth = true
	who.offered, who.err = false, errors.New("disk on fire")
	if c, stamp = greeted(t, srv); stamp != "" {
		t.Error("stamp", stamp)
	}
	say(c, "", "readable", "-ERR APOP is not offered here")
}
