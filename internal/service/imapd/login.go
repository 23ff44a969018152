package imapd

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// startTLS is STARTTLS. What the client sent behind it in clear is never
// executed: that ends the session. RFC 9051 §6.2.1, §11.4
func (s *session) startTLS(ctx context.Context, c *imap.Command) error {
	if !s.canStartTLS() {
		return bad("", "TLS is not to be had here, or is there already")
	}
	if s.dec.Buffered() > 0 {
		return &ending{imap.CodeClientBug, "nothing may follow STARTTLS before TLS does"}
	}
	s.enc.Status(c.Tag, imap.OK, "", "begin TLS now")
	if err := s.enc.Flush(); err != nil {
		return err
	}
	if err := s.conn.Secure(ctx, s.srv.TLS); err != nil {
		s.log.Debug("TLS handshake", "error", err)
		return errLogout
	}
	s.dec.Reset(s.conn)
	s.secured()
	return errAnswered
}

// login is LOGIN. RFC 9051 §6.2.3
func (s *session) login(ctx context.Context, c *imap.Command) error {
	if !s.mayLogin() {
		return no(imap.CodePrivacyRequired, "begin TLS first")
	}
	a := c.Args.(*imap.Login)
	id, err := s.srv.Auth(s.peer).Password(ctx, "", a.User, a.Password)
	if err != nil {
		return err
	}
	if err = s.welcome(ctx, id); err != nil {
		id.Close()
	}
	return err
}

// authenticate is AUTHENTICATE. RFC 9051 §6.2.2
func (s *session) authenticate(ctx context.Context, c *imap.Command) error {
	if !s.mayLogin() {
		return no(imap.CodePrivacyRequired, "begin TLS first")
	}
	a := c.Args.(*imap.Authenticate)
	exchange, err := s.srv.Offer.NewServer(a.Mechanism, s.srv.Auth(s.peer), s.binding)
	if err != nil {
		return err
	}
	defer func() {
		if s.peer.Account == 0 {
			exchange.Identity().Close()
		}
	}()
	response := a.Initial
	for {
		challenge, done, err := exchange.Next(ctx, response)
		if err != nil {
			return err
		}
		if done {
			return s.welcome(ctx, exchange.Identity())
		}
		s.enc.Continue(base64.StdEncoding.EncodeToString(challenge))
		if err := s.enc.Flush(); err != nil {
			return err
		}
		if response, err = s.dec.Response(c.Tag); err != nil {
			return err
		}
	}
}

// welcome lets somebody in.
func (s *session) welcome(ctx context.Context, id sasl.Identity) error {
	if id.Account == 0 {
		return errors.New("imapd: an identity without an account")
	}
	var a directory.Account
	if s.srv.People != nil {
		var err error
		if a, err = s.srv.People.Account(ctx, id.Account); err != nil {
			return err
		}
	}
	if !s.srv.accounts.Enter(id.Account) {
		return no(imap.CodeLimit, "too many sessions of this account")
	}
	s.entered, s.admin, s.without = true, a.Admin, strings.Fields(a.Without)
	s.peer.Account, s.peer.Login = id.Account, id.Login
	s.dec.Limits = imap.LimitsAfterLogin
	s.conn.Until = time.Time{}
	s.log = s.log.With("account", id.Account)
	s.log.Info("loggedIn", "protocol", "imap", "login", id.Login.String(), "tls", s.peer.TLS != nil)
	s.code, s.text = imap.CodeCapability(s.capabilities()), "logged in"
	if s.elsewhere = id.Elsewhere; s.elsewhere != nil {
		s.code = imap.CodeCapability(s.elsewhere.Capabilities())
	}
	if s.srv.Attend != nil {
		s.unattend = s.srv.Attend(ctx, id, func() {
			s.revoked.Store(true)
			s.conn.Stop()
		})
	}
	return nil
}

// unwatch ends that somebody looks after the session.
func (s *session) unwatch() {
	if s.unattend != nil {
		s.unattend()
		s.unattend = nil
	}
}
