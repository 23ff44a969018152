package smtpd

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"time"

	"posthaste/internal/agent/auth"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/proto/smtp"
)

// startTLS begins TLS, and forgets what was said in clear. RFC 3207
func (ses *session) startTLS(ctx context.Context, c smtp.Command) {
	if ses.r.Buffered() > 0 {
		// Whoever wrote that did not want to wait for TLS, or is somebody in
		// between: none of it may be read as if it had come protected.
		ses.log.Info("refused", "text", "more came in clear behind STARTTLS")
		ses.flush()
		ses.ending = true
		return
	}
	ses.reset(ctx)
	ses.reply(smtp.Reply{Code: 220, Status: mail.StatusOK, Text: "go ahead"})
	if err := ses.flush(); err != nil {
		ses.lost(err)
		return
	}
	if ses.handshake(ctx) {
		ses.machine.Done(c, nil)
		ses.peer.Hello, ses.peer.Account, ses.peer.Login, ses.peer.Mechanism = "", 0, mail.Address{}, ""
	}
}

// handshake begins TLS. If that fails the session ends without a word, as
// nobody could read it.
func (ses *session) handshake(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, ses.s.limits.Handshake)
	defer cancel()
	ses.wire.raw.SetDeadline(time.Now().Add(ses.s.limits.Handshake))
	conn := tls.Server(ses.wire.raw, ses.s.TLS)
	if err := conn.HandshakeContext(ctx); err != nil {
		ses.log.Debug("no TLS", "error", err)
		ses.ending = true
		return false
	}
	ses.wire.secure(conn)
	ses.r.Reset(&ses.wire)
	ses.machine.TLS = true
	cs := conn.ConnectionState()
	ses.peer.TLS = &mail.TLS{Version: tls.VersionName(cs.Version), Cipher: tls.CipherSuiteName(cs.CipherSuite), Server: cs.ServerName}
	ses.binding = auth.Binding(cs)
	return true
}

// auth lets the client log in. RFC 4954
func (ses *session) auth(ctx context.Context, c smtp.Command) {
	verifier := ses.s.Auth(ses.peer)
	server, err := ses.s.Offer.NewServer(c.Mechanism, verifier, ses.binding)
	if err != nil {
		ses.machine.Done(c, smtp.ErrMechanism)
		ses.refuse(smtp.ErrMechanism)
		return
	}
	err = ses.exchange(ctx, server, c.Initial)
	ses.machine.Done(c, err)
	if err == nil {
		id := server.Identity()
		ses.peer.Account, ses.peer.Login, ses.peer.Mechanism = id.Account, id.Login, c.Mechanism
		if ses.unwatch != nil { // of a login that STARTTLS has made forget
			ses.unwatch()
			ses.unwatch = nil
		}
		if ses.s.Attend != nil {
			ses.unwatch = ses.s.Attend(ctx, id, func() {
				ses.revoked.Store(true)
				ses.interrupt()
			})
		}
		ses.log.Info("loggedIn", "account", id.Login.String(), "mechanism", c.Mechanism)
		ses.reply(smtp.Reply{Code: 235, Status: mail.Status{Class: 2, Subject: 7}, Text: "welcome"})
		return
	}
	if ses.ending {
		return
	}
	ses.reply(smtp.RefusalReply(ses.authAnswer(err)))
	if ses.authTries++; ses.authTries >= ses.s.limits.AuthTries {
		ses.end(smtp.ErrManyErrors)
	}
}

// offer gives which mechanisms are announced now.
func (ses *session) offer() sasl.Offer {
	if ses.s.Shown != nil && ses.s.Shown() {
		return ses.s.Offer | sasl.Shown
	}
	return ses.s.Offer
}

// authAnswer gives what the client hears of an exchange that failed.
func (ses *session) authAnswer(err error) error {
	refusal, ok := errors.AsType[*mail.Refusal](err)
	switch {
	case errors.Is(err, sasl.ErrMalformed):
		return smtp.ErrAuthSyntax
	case !ok:
		ses.log.Error("failed", "in", "auth", "error", err)
		return smtp.ErrAuthLater
	}
	ses.log.Info("refused", "in", "auth", "status", refusal.Status, "text", refusal.Text, "reason", refusal.Reason)
	if refusal.Status.Temporary() {
		return smtp.ErrAuthLater
	}
	return refusal
}

// exchange sends challenges and reads responses until the mechanism is done.
func (ses *session) exchange(ctx context.Context, server sasl.Server, response []byte) error {
	for {
		challenge, done, err := server.Next(ctx, response)
		if err != nil || done {
			return err
		}
		ses.out = append(ses.out, "334 "...)
		ses.out = base64.StdEncoding.AppendEncode(ses.out, challenge)
		ses.out = append(ses.out, '\r', '\n')
		line, err := ses.r.Line(smtp.MaxAuth)
		if err != nil {
			ses.unread(err)
			return err
		}
		if bytes.Equal(line, []byte{'*'}) {
			return smtp.ErrAuthAborted
		}
		if response, err = smtp.DecodeAuth(line); err != nil {
			return err
		}
	}
}
