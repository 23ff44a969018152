package imapd

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
)

// A session is one connection. It belongs to one goroutine; only while IDLE
// waits, another one reads from the decoder.
type session struct {
	srv     *Server
	conn    *conn
	dec     *imap.Decoder
	enc     *imap.Encoder
	peer    mail.Peer
	log     *slog.Logger
	binding []byte // what SCRAM-PLUS ties to; nil without TLS
	enabled features
	box     *selected // nil if no mailbox is selected
	bad     int       // commands in a row that were not understood
	failed  int       // attempts to log in that failed
	entered bool      // counted in Server.accounts

	// How the current command goes: what stands in its OK.
	code imap.Code
	text string
}

// features are what the client has enabled, one bit each.
type features uint8

const (
	rev2 features = 1 << iota
	utf8Accept
	condStore
)

func (s *session) has(f features) bool { return s.enabled&f != 0 }

// A state is where a session is. RFC 9051 §3
type state uint8

const (
	notAuthenticated state = 1 << iota
	authenticated
	inMailbox

	loggedIn = authenticated | inMailbox
	anywhere = notAuthenticated | loggedIn
)

func (s *session) state() state {
	switch {
	case s.peer.Account == 0:
		return notAuthenticated
	case s.box == nil:
		return authenticated
	}
	return inMailbox
}

// A rule is what may be told of the mailbox when a command is done.
type rule uint8

const (
	tellAll    rule = iota // messages that are gone, too
	keepNumber             // sequence numbers must not change. RFC 9051 §7.5.1
	tellNone               // the command has told, or closed the mailbox
)

// A command is how the session does one.
type command struct {
	in   state // where it may come
	rule rule
	run  func(*session, context.Context, *imap.Command) error
}

// commands has what we do. Names that the Decoder knows and that are not here
// do not exist.
var commands = map[string]command{
	"CAPABILITY":   {anywhere, tellAll, (*session).capability},
	"NOOP":         {anywhere, tellAll, (*session).noop},
	"LOGOUT":       {anywhere, tellNone, (*session).logout},
	"ID":           {anywhere, tellAll, (*session).id},
	"STARTTLS":     {notAuthenticated, tellNone, (*session).startTLS},
	"AUTHENTICATE": {notAuthenticated, tellNone, (*session).authenticate},
	"LOGIN":        {notAuthenticated, tellNone, (*session).login},

	"ENABLE":      {authenticated, tellAll, (*session).enable},
	"SELECT":      {loggedIn, tellNone, (*session).selectBox},
	"EXAMINE":     {loggedIn, tellNone, (*session).selectBox},
	"CREATE":      {loggedIn, tellAll, (*session).create},
	"DELETE":      {loggedIn, tellAll, (*session).delete},
	"RENAME":      {loggedIn, tellAll, (*session).rename},
	"SUBSCRIBE":   {loggedIn, tellAll, (*session).subscribe},
	"UNSUBSCRIBE": {loggedIn, tellAll, (*session).subscribe},
	"LIST":        {loggedIn, tellAll, (*session).list},
	"LSUB":        {loggedIn, tellAll, (*session).lsub},
	"NAMESPACE":   {loggedIn, tellAll, (*session).namespace},
	"STATUS":      {loggedIn, tellAll, (*session).status},
	"APPEND":      {loggedIn, tellAll, (*session).append},
	"IDLE":        {loggedIn, tellAll, (*session).idle},

	"CHECK":       {inMailbox, tellAll, (*session).noop},
	"CLOSE":       {inMailbox, tellNone, (*session).close},
	"UNSELECT":    {inMailbox, tellNone, (*session).unselect},
	"EXPUNGE":     {inMailbox, tellAll, (*session).expunge},
	"UID EXPUNGE": {inMailbox, tellAll, (*session).expunge},
	"FETCH":       {inMailbox, keepNumber, (*session).fetch},
	"UID FETCH":   {inMailbox, tellAll, (*session).fetch},
	"STORE":       {inMailbox, keepNumber, (*session).store},
	"UID STORE":   {inMailbox, tellAll, (*session).store},
	"SEARCH":      {inMailbox, keepNumber, (*session).search},
	"UID SEARCH":  {inMailbox, tellAll, (*session).search},
	"COPY":        {inMailbox, tellAll, (*session).copy},
	"UID COPY":    {inMailbox, tellAll, (*session).copy},
	"MOVE":        {inMailbox, tellAll, (*session).move},
	"UID MOVE":    {inMailbox, tellAll, (*session).move},
}

func newSession(srv *Server, c *conn, addr netip.AddrPort) *session {
	id := mail.NewTraceID(time.Now()).String()
	s := &session{srv: srv, conn: c, peer: mail.Peer{Addr: addr}, log: srv.Log.With("session", id, "remote", addr)}
	s.secured()
	s.enc = imap.NewEncoder(c)
	s.dec = imap.NewDecoder(c, func() error {
		s.enc.Continue("OK")
		return s.enc.Flush()
	})
	return s
}

// secured notes whether the connection is under TLS now.
func (s *session) secured() {
	tls, cb := s.conn.tlsState()
	s.peer.TLS, s.binding = tls, cb.Exporter
}

// run greets the client and does its commands.
func (s *session) run(ctx context.Context) {
	s.conn.until = time.Now().Add(loginTimeout)
	s.enc.Status("*", imap.OK, imap.CodeCapability(s.capabilities()), "Posthaste is ready")
	for {
		err := s.next(ctx)
		if err == nil {
			err = s.enc.Err()
		}
		if err != nil {
			s.farewell(ctx, err)
			return
		}
	}
}

// farewell ends the session as err wants it.
func (s *session) farewell(ctx context.Context, err error) {
	end, isEnding := errors.AsType[*ending](err)
	switch {
	case errors.Is(err, errLogout):
		s.enc.Flush()
	case isEnding:
		s.bye(end.code, end.text)
	case ctx.Err() != nil || s.conn.stopped.Load():
		s.bye(imap.CodeUnavailable, "the server is shutting down")
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.bye("", "you were silent for too long")
	case errors.Is(err, imap.ErrTooLong):
		s.bye(imap.CodeTooBig, "I cannot follow you any longer")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
	default:
		s.log.Debug("connection lost", "error", err)
	}
}

func (s *session) bye(code imap.Code, text string) {
	s.enc.Status("*", imap.BYE, code, text)
	s.enc.Flush()
}

// leave lets go of what the session holds.
func (s *session) leave() {
	if s.entered {
		s.srv.accounts.Leave(s.peer.Account)
	}
}

// maxBad is how many commands in a row may be nonsense.
const maxBad = 20

// maxFailed is how often a session may fail to log in.
const maxFailed = 10

// next waits for a command and does it.
func (s *session) next(ctx context.Context) error {
	// Answers to pipelined commands leave together, but never later than we
	// begin to wait for the client.
	if err := s.flushIfIdle(); err != nil {
		return err
	}
	if err := s.dec.Settle(); err != nil {
		return err
	}
	if err := s.flushIfIdle(); err != nil {
		return err
	}
	s.conn.patience = idleTimeout
	if err := s.dec.Wait(); err != nil {
		return err
	}
	s.conn.patience = commandTimeout
	c, err := s.dec.Command()
	if err != nil {
		tag := "*"
		if e, ok := errors.AsType[*imap.SyntaxError](err); ok {
			tag = e.Tag
		} else if e, ok := errors.AsType[*imap.TooBigError](err); ok {
			tag = e.Tag
		} else {
			return err
		}
		return s.refuse(tag, err)
	}
	cmd, ok := commands[c.Name]
	if !ok || cmd.in&s.state() == 0 {
		return s.refuse(c.Tag, bad(imap.CodeClientBug, "this command cannot come now"))
	}
	s.bad = 0
	return s.do(ctx, &c, cmd)
}

// flushIfIdle sends the answers if no further command has come yet.
func (s *session) flushIfIdle() error {
	if s.dec.Buffered() > 0 {
		return nil
	}
	if err := s.enc.Flush(); err != nil {
		return err
	}
	s.enc.Release()
	return nil
}

// refuse answers a command that is not done.
func (s *session) refuse(tag string, err error) error {
	f, _ := answer(err)
	s.enc.Status(tag, f.condition, f.code, f.text)
	if s.bad++; s.bad >= maxBad {
		return &ending{"", "too many bad commands"}
	}
	return nil
}

// do does one command, tells what else has happened, and answers.
func (s *session) do(ctx context.Context, c *imap.Command, cmd command) error {
	s.code, s.text = "", c.Name+" completed"
	err := cmd.run(s, ctx, c)
	if fatal(err) {
		return err
	}
	if cmd.rule != tellNone && s.box != nil {
		if uerr := s.update(ctx, cmd.rule); fatal(uerr) {
			return uerr
		} else if uerr != nil {
			s.log.Error("tell changes", "command", c.Name, "error", uerr)
		}
	}
	switch {
	case err == nil:
		s.enc.Status(c.Tag, imap.OK, s.code, s.text)
	case errors.Is(err, errAnswered):
	default:
		f, ours := answer(err)
		if ours {
			s.log.Error("command", "command", c.Name, "error", err)
		}
		s.enc.Status(c.Tag, f.condition, f.code, f.text)
		if f.code == imap.CodeAuthenticationFailed {
			if s.failed++; s.failed >= maxFailed {
				return &ending{"", "too many failed attempts to log in"}
			}
		}
	}
	return nil
}

// fatal tells whether the session cannot go on after err.
func fatal(err error) bool {
	if err == nil {
		return false
	}
	_, isEnding := errors.AsType[*ending](err)
	return isEnding || errors.Is(err, errLogout) || errors.Is(err, imap.ErrTooLong) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
