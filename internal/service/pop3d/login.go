package pop3d

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"posthaste/internal/agent/auth"
	"posthaste/internal/proto/pop3"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/maildrop"
)

// capa is CAPA. RFC 2449 §5
func (s *session) capa(context.Context, pop3.Command) error {
	lines := []string{"TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", s.expire(), "UTF8 USER", "LANG"}
	if delay := s.srv.LoginDelay; delay > 0 {
		lines = append(lines, "LOGIN-DELAY "+strconv.Itoa(int((delay+time.Second-1)/time.Second)))
	}
	if s.drop == nil {
		if s.canStartTLS() {
			lines = append(lines, "STLS")
		}
		if s.mayLogin() {
			lines = append(lines, "USER", "SASL "+strings.Join(s.offer().Mechanisms(s.binding), " "))
		}
	}
	lines = append(lines, strings.TrimSpace("IMPLEMENTATION Posthaste "+s.srv.Version))
	return s.lines("this is what I can do", lines)
}

// expire tells how long mail that was collected stays: before login, the least
// that a policy can make it. RFC 2449 §6.7
func (s *session) expire() string {
	switch {
	case s.drop == nil:
		return "EXPIRE 0 USER"
	case s.drop.policy.After == maildrop.DeleteAtOnce:
		return "EXPIRE 0"
	case s.drop.policy.After == maildrop.KeepDays:
		return "EXPIRE " + strconv.Itoa(s.drop.policy.Days)
	}
	return "EXPIRE NEVER"
}

// lines answers with many lines.
func (s *session) lines(text string, lines []string) error {
	b := s.appendOK(text)
	for _, l := range lines {
		b = append(append(b, l...), "\r\n"...)
	}
	return s.say(pop3.AppendEnd(b))
}

// offer gives which mechanisms are announced now.
func (s *session) offer() sasl.Offer {
	if s.srv.Shown != nil && s.srv.Shown() {
		return s.srv.Offer | sasl.Shown
	}
	return s.srv.Offer
}

func (s *session) canStartTLS() bool { return s.srv.TLS != nil && s.peer.TLS == nil }

// mayLogin tells whether a password may be sent over this connection.
func (s *session) mayLogin() bool { return s.peer.TLS != nil || s.srv.ClearAuth }

var errClear = no("", "begin TLS first")

// stls is STLS. What the client sent behind it in clear is never executed: that
// ends the session. RFC 2595 §4
func (s *session) stls(ctx context.Context, _ pop3.Command) error {
	if !s.canStartTLS() {
		return no("", "TLS is not to be had here, or is there already")
	}
	if s.utf8 {
		return no("", "STLS comes before UTF8") // RFC 6856 §2
	}
	if s.r.Buffered() > 0 {
		return &ending{&failure{"", "nothing may follow STLS before TLS does"}}
	}
	s.ok("begin TLS now")
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.conn.Secure(ctx, s.srv.TLS); err != nil {
		s.log.Debug("TLS handshake", "error", err)
		return &ending{}
	}
	s.r.Reset(s.conn)
	s.tongue = nil // what was said in clear, anybody may have said
	s.peer.TLS, s.binding = auth.Protection(s.conn.Conn)
	return nil
}

// userName is USER. It is the same whether there is such a user or not. RFC 1939
// §7
func (s *session) userName(_ context.Context, c pop3.Command) error {
	if !s.mayLogin() {
		return errClear
	}
	s.user = c.Text
	return s.ok("now the password")
}

// pass is PASS. RFC 1939 §7
func (s *session) pass(ctx context.Context, c pop3.Command) error {
	user := s.user
	s.user = ""
	switch {
	case !s.mayLogin():
		return errClear
	case user == "":
		return no("", "send USER first")
	}
	id, err := s.srv.Auth(s.peer).Password(ctx, "", user, c.Text)
	if err != nil {
		return s.noLogin(err)
	}
	if err = s.welcome(ctx, id); s.peer.Account == 0 {
		id.Close()
	}
	return err
}

// auth is AUTH; without a mechanism it tells which there are, as some clients
// ask that way. RFC 5034 §4
func (s *session) auth(ctx context.Context, c pop3.Command) error {
	if !s.mayLogin() {
		return errClear
	}
	if c.Mechanism == "" {
		return s.lines("these mechanisms", s.offer().Mechanisms(s.binding))
	}
	exchange, err := s.srv.Offer.NewServer(c.Mechanism, s.srv.Auth(s.peer), s.binding)
	if err != nil {
		return err
	}
	defer func() {
		if s.peer.Account == 0 {
			exchange.Identity().Close()
		}
	}()
	response := c.Initial
	for {
		challenge, done, err := exchange.Next(ctx, response)
		if err != nil {
			return s.noLogin(err)
		}
		if done {
			return s.welcome(ctx, exchange.Identity())
		}
		s.say(pop3.AppendChallenge(s.begin(), challenge))
		if s.r.Buffered() == 0 {
			if err := s.flush(); err != nil {
				return err
			}
		}
		line, err := s.r.Line()
		if err != nil {
			return err
		}
		if response, err = pop3.ParseResponse(line); err != nil {
			return err
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

// welcome lets somebody in, if they can have their maildrop.
func (s *session) welcome(ctx context.Context, id sasl.Identity) error {
	if id.Account == 0 {
		return errors.New("pop3d: an identity without an account")
	}
	if id.Elsewhere != nil {
		s.elsewhere = id.Elsewhere
		return s.entered(ctx, id)
	}
	device := maildrop.Device(id.Device)
	if !s.srv.Drops.mayCome(id.Account, device, s.srv.LoginDelay) {
		return no(pop3.LoginDelay, fmt.Sprintf("you may come once in %v", s.srv.LoginDelay))
	}
	if err := s.srv.Drops.enter(ctx, id.Account); err != nil {
		return err
	}
	d, err := openDrop(ctx, s.srv.Mail, s.srv.Rules, id.Account, device)
	if err != nil {
		s.srv.Drops.leave(id.Account)
		return err
	}
	d.utf8 = s.utf8
	d.reset()
	s.drop = d
	s.srv.Drops.came(id.Account, device, s.srv.LoginDelay)
	return s.entered(ctx, id)
}

// entered is what is done for everybody who is in.
func (s *session) entered(ctx context.Context, id sasl.Identity) error {
	s.peer.Account, s.peer.Login = id.Account, id.Login
	s.conn.Until = time.Time{}
	s.log = s.log.With("account", id.Account)
	s.log.Info("loggedIn", "protocol", "pop3", "login", id.Login.String(), "tls", s.peer.TLS != nil)
	if s.srv.Attend != nil {
		s.unwatch = s.srv.Attend(ctx, id, func() {
			s.revoked.Store(true)
			s.conn.Stop()
		})
	}
	return s.ok("welcome")
}

// utf8Mode is UTF8: from now on headers come as they are. RFC 6856 §2
func (s *session) utf8Mode(context.Context, pop3.Command) error {
	s.utf8 = true
	return s.ok("headers may have UTF-8 in them now")
}
