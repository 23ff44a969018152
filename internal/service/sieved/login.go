package sieved

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"posthaste/internal/agent/auth"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/managesieve"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/proto/sieve"
)

// extensions is the value of the capability SIEVE. The comparators that every Sieve has
// are no extensions, and other servers do not list them. RFC 5228 §2.7.3
var extensions = func() string {
	list := slices.DeleteFunc(slices.Clone(sieve.Extensions), func(x string) bool {
		return x == "comparator-i;octet" || x == "comparator-i;ascii-casemap"
	})
	return strings.Join(list, " ")
}()

// capability is CAPABILITY. RFC 5804 §2.4
func (s *session) capability(context.Context, managesieve.Command) error { return s.capabilities() }

// capabilities tells what there is. RFC 5804 §1.7
func (s *session) capabilities() error {
	b := managesieve.AppendValue(s.out, "IMPLEMENTATION", strings.TrimSpace("Posthaste "+s.srv.Version))
	mechanisms := ""
	if s.mayLogin() {
		mechanisms = strings.Join(s.offer().Mechanisms(s.binding), " ")
	}
	b = managesieve.AppendValue(b, "SASL", mechanisms)
	b = managesieve.AppendValue(b, "SIEVE", extensions)
	if s.canStartTLS() {
		b = managesieve.AppendCapability(b, "STARTTLS")
	}
	b = managesieve.AppendValue(b, "MAXREDIRECTS", strconv.Itoa(sieve.MaxRedirects))
	b = managesieve.AppendCapability(b, "UNAUTHENTICATE")
	if s.peer.Account != 0 {
		b = managesieve.AppendValue(b, "OWNER", s.peer.Login.String())
	}
	b = managesieve.AppendValue(b, "VERSION", "1.0")
	s.out = b
	return s.ok("")
}

// offer gives which mechanisms are announced now.
func (s *session) offer() sasl.Offer {
	if s.srv.Shown != nil && s.srv.Shown() {
		return s.srv.Offer | sasl.Shown
	}
	return s.srv.Offer
}

func (s *session) canStartTLS() bool {
	return s.srv.TLS != nil && s.peer.TLS == nil && s.peer.Account == 0
}

// mayLogin tells whether a password may be sent over this connection.
func (s *session) mayLogin() bool { return s.peer.TLS != nil || s.srv.ClearAuth }

// startTLS is STARTTLS. What the client sent behind it in clear is never executed: that
// ends the session. RFC 5804 §2.2
func (s *session) startTLS(ctx context.Context, _ managesieve.Command) error {
	if !s.canStartTLS() {
		return no("", "TLS is not to be had here, or is there already")
	}
	if s.dec.Buffered() > 0 {
		return &ending{&failure{"", "nothing may follow STARTTLS before TLS does"}}
	}
	s.ok("")
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.conn.Secure(ctx, s.srv.TLS); err != nil {
		s.log.Debug("TLS handshake", "error", err)
		return &ending{}
	}
	s.dec.Reset(s.conn)
	s.peer.TLS, s.binding = auth.Protection(s.conn.Conn)
	return s.capabilities()
}

// authenticate is AUTHENTICATE. RFC 5804 §2.1
func (s *session) authenticate(ctx context.Context, c managesieve.Command) error {
	if !s.mayLogin() {
		return no(managesieve.EncryptNeeded, "begin TLS first")
	}
	exchange, err := s.srv.Offer.NewServer(c.Mechanism, s.srv.Auth(s.peer), s.binding)
	if err != nil {
		return err
	}
	id, code, err := s.exchange(ctx, exchange, c.Initial)
	if err == nil {
		err = s.welcome(ctx, id, code)
	}
	if s.peer.Account == 0 {
		exchange.Identity().Close()
	}
	return err
}

// exchange talks until somebody has shown who they are. What the mechanism has to say
// when they have, goes with the answer. RFC 5804 §1.3
func (s *session) exchange(ctx context.Context, x sasl.Server, response []byte) (id sasl.Identity, code managesieve.Code, err error) {
	for {
		challenge, done, err := x.Next(ctx, response)
		if err == nil && !done && x.Identity().Account != 0 {
			code = managesieve.SASL(challenge)
			_, done, err = x.Next(ctx, []byte{})
		}
		if err != nil {
			return id, "", s.noLogin(err)
		}
		if done {
			return x.Identity(), code, nil
		}
		s.say(managesieve.AppendChallenge(s.out, challenge))
		if s.dec.Buffered() == 0 {
			if err := s.flush(); err != nil {
				return id, "", err
			}
		}
		if response, err = s.dec.Response(); err != nil {
			return id, "", err
		}
	}
}

// noLogin answers an attempt that failed; too many end the session.
func (s *session) noLogin(err error) error {
	f, ours := answer(err)
	if ours {
		return err
	}
	s.log.Info("refused", "in", "auth", "reason", err.Error())
	if s.failed++; s.failed >= maxFailed {
		return &ending{f}
	}
	return f
}

// welcome lets somebody in.
func (s *session) welcome(ctx context.Context, id sasl.Identity, code managesieve.Code) error {
	if id.Account == 0 {
		return errors.New("sieved: an identity without an account")
	}
	if id.Elsewhere != nil { // auth says so before, in other words
		return no("", "the account is still at its former server")
	}
	if !s.srv.accounts.Enter(id.Account) {
		return no(managesieve.TryLater, "too many sessions of this account")
	}
	s.peer.Account, s.peer.Login = id.Account, id.Login
	s.dec.Limits = limitsAfterLogin
	s.conn.Until = time.Time{}
	s.log = s.log.With("account", id.Account)
	s.log.Info("loggedIn", "protocol", "sieve", "login", id.Login.String(), "tls", s.peer.TLS != nil)
	if s.srv.Attend != nil {
		s.unattend = s.srv.Attend(ctx, id, func() {
			s.revoked.Store(true)
			s.conn.Stop()
		})
	}
	return s.ok(code)
}

// unauthenticate is UNAUTHENTICATE: all is as it was before login, but for what protects
// the connection. RFC 5804 §2.14.1
func (s *session) unauthenticate(context.Context, managesieve.Command) error {
	s.leave()
	s.peer.Login = mail.Address{}
	s.dec.Limits = managesieve.LimitsBeforeLogin
	s.conn.Until = time.Now().Add(loginTimeout)
	s.log, s.early = s.anonymous, 0
	return s.ok("")
}

// noop is NOOP: it gives back what it came with. RFC 5804 §2.13
func (s *session) noop(_ context.Context, c managesieve.Command) error {
	if c.HasTag {
		return s.ok(managesieve.Tag(c.Tag))
	}
	return s.ok("")
}

// logout is LOGOUT. RFC 5804 §2.3
func (s *session) logout(context.Context, managesieve.Command) error {
	s.ok("")
	return &ending{}
}
