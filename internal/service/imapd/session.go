package imapd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"posthaste/internal/agent/auth"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/serve"
	"posthaste/internal/base/tongue"
	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/sasl"
)

// A session is one connection. It belongs to one goroutine at a time: the one
// that waits hands it over to one that works, and gets it back.
type session struct {
	srv        *Server
	conn       *serve.Conn
	dec        *imap.Decoder
	enc        *imap.Encoder
	peer       mail.Peer
	log        *slog.Logger
	anonymous  *slog.Logger        // what log was before login
	binding    sasl.ChannelBinding // what SCRAM-PLUS ties to; zero without TLS
	enabled    features
	box        *selected        // nil if no mailbox is selected
	bad        int              // commands in a row that were not understood
	failed     int              // attempts to log in that failed
	compressed bool             // RFC 4978
	entered    bool             // counted in Server.accounts
	revoked    atomic.Bool      // what opened the account opens it no more
	unattend   func()           // ends that somebody looks whether it does; nil if nobody does
	admin      bool             // may set the limits of others
	idling     *imap.Command    // IDLE that is under way; nil if the client does not
	client     string           // how it names itself
	without    []string         // capabilities that the account is not offered
	elsewhere  sasl.Elsewhere   // where the session is passed on to from now on; nil: nowhere
	notify     *watch           // nil before the first NOTIFY
	compare    comparator       // how SEARCH, SORT and THREAD compare texts
	tongue     *tongue.Language // of texts for people; nil is English

	// What the goroutine that waits has done by others.
	to   struct{ greet, work, tellMissed, tellNews, tellAlive func() error }
	part func(error)

	deafen func() // ceases to listen to what changes in the account; nil if the session does not
	others ears   // the same of the accounts of others

	// How the current command goes: what stands in its OK.
	code   imap.Code
	text   string
	lowest mail.UID // it is about, if it names more messages than it may; else zero
}

// features are what the client has enabled, one bit each.
type features uint16

const (
	rev2 features = 1 << iota
	utf8Accept
	condStore
	qresync
	uidOnly
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
	tellResult             // the same, even to a client that has forsworn it with NOTIFY
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

	"ENABLE":      {loggedIn, tellAll, (*session).enable},
	"SELECT":      {loggedIn, tellNone, (*session).selectBox},
	"EXAMINE":     {loggedIn, tellNone, (*session).selectBox},
	"CREATE":      {loggedIn, tellAll, (*session).create},
	"DELETE":      {loggedIn, tellAll, (*session).delete},
	"RENAME":      {loggedIn, tellAll, (*session).rename},
	"SUBSCRIBE":   {loggedIn, tellAll, (*session).subscribe},
	"UNSUBSCRIBE": {loggedIn, tellAll, (*session).subscribe},
	"LIST":        {loggedIn, tellAll, (*session).list},
	"LSUB":        {loggedIn, tellAll, (*session).lsub},
	"ESEARCH":     {loggedIn, tellAll, (*session).multiSearch},
	"NOTIFY":      {loggedIn, tellAll, (*session).setNotify},
	"NAMESPACE":   {loggedIn, tellAll, (*session).namespace},
	"STATUS":      {loggedIn, tellAll, (*session).status},

	"GENURLAUTH": {loggedIn, tellAll, (*session).genURLAuth},
	"URLFETCH":   {loggedIn, tellAll, (*session).urlFetch},
	"RESETKEY":   {loggedIn, tellAll, (*session).resetKey},

	"COMPARATOR":  {loggedIn, tellAll, (*session).comparator},
	"GETMETADATA": {loggedIn, tellAll, (*session).getMetadata},
	"SETMETADATA": {loggedIn, tellAll, (*session).setMetadata},

	"SETQUOTA":     {loggedIn, tellAll, (*session).setQuota},
	"SETACL":       {loggedIn, tellAll, (*session).setACL},
	"DELETEACL":    {loggedIn, tellAll, (*session).deleteACL},
	"GETACL":       {loggedIn, tellAll, (*session).getACL},
	"LISTRIGHTS":   {loggedIn, tellAll, (*session).listRights},
	"MYRIGHTS":     {loggedIn, tellAll, (*session).myRights},
	"GETQUOTA":     {loggedIn, tellAll, (*session).getQuota},
	"GETQUOTAROOT": {loggedIn, tellAll, (*session).getQuotaRoot},
	"COMPRESS":     {loggedIn, tellNone, (*session).compress},
	"REPLACE":      {inMailbox, tellResult, (*session).replace},
	"UID REPLACE":  {inMailbox, tellResult, (*session).replace},
	"APPEND":       {loggedIn, tellAll, (*session).append},
	"IDLE":         {loggedIn, tellAll, (*session).idle},

	"LANGUAGE":       {anywhere, tellAll, (*session).language},
	"UNAUTHENTICATE": {loggedIn, tellNone, (*session).unauthenticate},

	"UIDBATCHES":   {inMailbox, tellAll, (*session).uidBatches},
	"CANCELUPDATE": {inMailbox, tellAll, (*session).cancelUpdate},
	"CHECK":        {inMailbox, tellAll, (*session).noop},
	"CLOSE":        {inMailbox, tellNone, (*session).close},
	"UNSELECT":     {inMailbox, tellNone, (*session).unselect},
	"EXPUNGE":      {inMailbox, tellResult, (*session).expunge},
	"UID EXPUNGE":  {inMailbox, tellResult, (*session).expunge},
	"FETCH":        {inMailbox, keepNumber, (*session).fetch},
	"UID FETCH":    {inMailbox, tellAll, (*session).fetch},
	"STORE":        {inMailbox, keepNumber, (*session).store},
	"UID STORE":    {inMailbox, tellAll, (*session).store},
	"SEARCH":       {inMailbox, keepNumber, (*session).search},
	"UID SEARCH":   {inMailbox, tellAll, (*session).search},
	"SORT":         {inMailbox, keepNumber, (*session).sort},
	"UID SORT":     {inMailbox, tellAll, (*session).sort},
	"THREAD":       {inMailbox, keepNumber, (*session).thread},
	"UID THREAD":   {inMailbox, tellAll, (*session).thread},
	"COPY":         {inMailbox, tellAll, (*session).copy},
	"UID COPY":     {inMailbox, tellAll, (*session).copy},
	"MOVE":         {inMailbox, tellResult, (*session).move},
	"UID MOVE":     {inMailbox, tellResult, (*session).move},
}

func newSession(srv *Server, c *serve.Conn, addr netip.AddrPort) *session {
	id := mail.NewTraceID(time.Now()).String()
	s := &session{srv: srv, conn: c, peer: mail.Peer{Addr: addr}, log: srv.Log.With("session", id, "remote", addr)}
	s.anonymous = s.log
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
	s.peer.TLS, s.binding = auth.Protection(s.conn.Conn)
}

// bind makes what is done apart, in the context of the session; end lets go of what it
// holds.
func (s *session) bind(ctx context.Context, end func()) {
	s.to.greet = s.greet
	s.to.work = func() error { return s.commands(ctx) }
	s.to.tellMissed = func() error { return s.tellMissed(ctx) }
	s.to.tellNews = func() error { return s.tellNews(ctx) }
	s.to.tellAlive = s.tellAlive
	s.part = func(err error) {
		defer end()
		if err == nil {
			err = s.passOn()
		}
		s.apart(func() error { s.farewell(ctx, err); return nil })
	}
}

// run greets the client, waits for its commands and has them done. It stays
// shallow: what needs a deep stack runs in apart, so that a session which waits
// keeps a small one.
func (s *session) run() {
	s.conn.Until = time.Now().Add(loginTimeout)
	err := s.apart(s.to.greet)
	for err == nil && s.elsewhere == nil {
		if s.deafen != nil {
			err = s.waitForNews()
		} else {
			err = s.dec.Wait()
		}
		if err == nil {
			err = s.apart(s.to.work)
		}
	}
	s.part(err)
}

// apart runs fn in a goroutine of its own, which owns the session meanwhile. A
// panic ends this session only.
func (s *session) apart(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		grow(0)
		defer func() {
			if p := recover(); p != nil {
				s.log.Error("panic", "value", fmt.Sprint(p), "stack", string(debug.Stack()))
				done <- &ending{imap.CodeServerBug, "internal error"}
			}
		}()
		done <- fn()
	}()
	return <-done
}

// grow makes the stack of a new goroutine as large as commands need it: once, while there
// is nothing on it to be moved, and not by and by. It gives zero.
//
//go:noinline
func grow(at int) byte {
	var room [12 << 10]byte
	return room[at]
}

func (s *session) greet() error {
	s.enc.Status("*", imap.OK, imap.CodeCapability(s.capabilities()), "Posthaste is ready")
	return s.rests()
}

// rests sends the answers before the session waits for the client, and sets how long it
// does: who waits shall not need stack for that.
func (s *session) rests() error {
	s.conn.Patience = idleTimeout
	if err := s.flush(); err != nil {
		return err
	}
	return s.conn.Arm()
}

// commands does what the client has sent, until it has sent no more. Answers to
// pipelined commands leave together, but never later than we begin to wait.
func (s *session) commands(ctx context.Context) error {
	for {
		s.conn.Patience = commandTimeout
		err := s.next(ctx)
		if err == nil && s.elsewhere != nil {
			return s.flush()
		}
		if err == nil {
			err = s.flushIfQuiet()
		}
		if err == nil {
			err = s.dec.Settle()
		}
		if err == nil {
			err = s.flushIfQuiet()
		}
		if err != nil {
			return err
		}
		if s.dec.Buffered() == 0 || s.idling != nil {
			return s.rests()
		}
	}
}

func (s *session) flushIfQuiet() error {
	if s.dec.Buffered() > 0 {
		return s.enc.Err()
	}
	return s.flush()
}

// flush sends the answers, and gives their memory back.
func (s *session) flush() error {
	err := s.enc.Flush()
	s.enc.Release()
	return err
}

// farewell ends the session as err wants it.
func (s *session) farewell(ctx context.Context, err error) {
	end, isEnding := errors.AsType[*ending](err)
	switch {
	case errors.Is(err, errLogout):
		s.enc.Flush()
	case isEnding:
		s.bye(end.code, end.text)
	case errors.Is(err, errMidway):
	case errors.Is(err, serve.ErrThere):
		s.log.Debug("the former server ended it", "error", err)
		s.bye(imap.CodeUnavailable, "the session at this account's former server has ended")
	case s.revoked.Load():
		s.bye(imap.CodeExpired, "what you have logged in with is no longer good")
	case ctx.Err() != nil || s.conn.Stopped():
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
	if s.elsewhere != nil {
		s.elsewhere.Close()
	}
	s.ignore()
	s.unwatch()
	if s.entered {
		s.srv.accounts.Leave(s.peer.Account)
	}
}

// maxBad is how many commands in a row may be nonsense.
const maxBad = 20

// maxFailed is how often a session may fail to log in.
const maxFailed = 10

// next reads a command, or the end of IDLE, and does it.
func (s *session) next(ctx context.Context) error {
	if s.idling != nil {
		return s.idleDone(ctx)
	}
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
	if !s.knows(&c) {
		return s.refuse(c.Tag, bad("", "unknown command"))
	}
	cmd, ok := commands[c.Name]
	if !ok || cmd.in&s.state() == 0 {
		return s.refuse(c.Tag, bad(imap.CodeClientBug, "this command cannot come now"))
	}
	if err := s.needsUIDs(&c); err != nil {
		s.misuses("UIDONLY")
		return s.refuse(c.Tag, err)
	}
	s.bad = 0
	return s.do(ctx, &c, cmd)
}

// refuse answers a command that is not done.
func (s *session) refuse(tag string, err error) error {
	f, _ := answer(err)
	s.misread(err)
	s.enc.Status(tag, f.condition, f.code, f.text)
	if s.bad++; s.bad >= maxBad {
		return &ending{"", "too many bad commands"}
	}
	return nil
}

// do does one command, tells what else has happened, and answers.
func (s *session) do(ctx context.Context, c *imap.Command, cmd command) error {
	s.code, s.text, s.lowest = "", c.Name+" completed", 0
	err := s.refreshRights(ctx)
	if err == nil {
		err = cmd.run(s, ctx, c)
	}
	if fatal(err) || err != nil && s.conn.Lost() {
		return err
	}
	return s.complete(ctx, c, cmd.rule, err)
}

// complete tells what has changed and gives the tagged answer; err is what came
// of the command.
func (s *session) complete(ctx context.Context, c *imap.Command, r rule, err error) error {
	if r != tellNone && s.box != nil {
		if uerr := s.update(ctx, r); fatal(uerr) {
			return uerr
		} else if uerr != nil {
			s.log.Error("tell changes", "command", c.Name, "error", uerr)
		}
	}
	switch {
	case err == nil:
		s.tellLimit()
		s.enc.Status(c.Tag, imap.OK, s.code, s.text)
	case errors.Is(err, errAnswered):
	default:
		f, ours := answer(err)
		s.misread(err)
		if ours {
			s.log.Error("command", "command", c.Name, "error", err)
		}
		s.enc.Status(c.Tag, f.condition, f.code, f.text)
		if f.code == imap.CodeAuthenticationFailed {
			s.log.Info("refused", "in", "auth", "reason", err.Error())
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
