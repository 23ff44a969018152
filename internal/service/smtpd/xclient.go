package smtpd

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
)

// isFront tells whether an address is one of those that speak for others.
func (s *Server) isFront(ip netip.Addr) bool {
	return slices.ContainsFunc(s.Fronts, func(p netip.Prefix) bool { return p.Contains(ip.Unmap()) })
}

// lookup begins to look for the name of the peer's address, which the first MAIL
// waits for.
func (ses *session) lookup(ctx context.Context) {
	ses.peer.Name, ses.name = "", nil
	ip := ses.peer.Addr.Addr()
	if ses.s.Name == nil || !ip.IsValid() {
		return
	}
	name := make(chan string, 1)
	ses.name = name
	ses.lookups.Go(func() {
		lookup, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		name <- ses.s.Name(lookup, ip)
	})
}

// xclient makes the session that of another client, for whom a front speaks. It goes
// on as if he had just connected.
func (ses *session) xclient(ctx context.Context, c smtp.Command) {
	peer, x := ses.peer, c.XClient
	if x.Login != nil {
		if err := ses.loginAs(ctx, &peer, *x.Login); err != nil {
			ses.failed(err, "xclient", mail.TraceID{})
			ses.machine.Done(c, err)
			ses.refuse(err)
			return
		}
	}
	ip, port := peer.Addr.Addr(), peer.Addr.Port()
	if x.Addr != nil {
		ip, port = *x.Addr, 0
	}
	if x.Port != nil {
		port = *x.Port
	}
	peer.Addr = netip.AddrPortFrom(ip, port)
	ses.peer = peer
	if x.Addr != nil {
		ses.called = ""
		ses.lookup(ctx)
	}
	if x.Name != nil {
		ses.peer.Name, ses.name = *x.Name, nil
	}
	if x.Hello != nil {
		ses.called = *x.Hello
	}
	ses.machine.Done(c, nil)
	ses.log = ses.log.With("for", ses.peer.Addr)
	ses.greet()
}

// loginAs has a peer logged in as the front says. Where nobody logs in, nobody has.
func (ses *session) loginAs(ctx context.Context, p *mail.Peer, login string) error {
	p.Account, p.Login = 0, mail.Address{}
	if login == "" || ses.s.Auth == nil {
		return nil
	}
	a, err := mail.ParseAddress(login)
	if err != nil {
		return smtp.ErrAttribute
	}
	id, known, err := ses.s.Account(ctx, a)
	switch {
	case errors.Is(err, mail.ErrNotFound):
		return smtp.ErrAuthFailed
	case err != nil:
		return err
	}
	p.Account, p.Login = id, known
	return nil
}
