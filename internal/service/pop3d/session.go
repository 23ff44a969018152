package pop3d

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"posthaste/internal/agent/auth"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/serve"
	"posthaste/internal/base/tongue"
	"posthaste/internal/proto/pop3"
	"posthaste/internal/proto/sasl"
)

// A session is one connection. It belongs to one goroutine.
type session struct {
	srv     *Server
	conn    *serve.Conn
	r       *pop3.Reader
	out     *[]byte // answers not yet sent; nil while there are none
	peer    mail.Peer
	log     *slog.Logger
	binding sasl.ChannelBinding
	user    string      // of USER, for the PASS that follows
	stamp   string      // in the greeting, for APOP; "": there was none
	drop    *drop       // nil until login
	revoked atomic.Bool // what opened the account opens it no more
	unwatch func()      // ends that somebody looks whether it does; nil if nobody does
	// elsewhere is where the session is passed on to from now on; nil: nowhere.
	elsewhere sasl.Elsewhere
	utf8      bool             // the client knows UTF-8 in headers
	tongue    *tongue.Language // of texts for people; nil is English
	bad       int              // commands in a row that were not understood
	failed    int              // attempts to log in that failed
}

// commands has how the session does each of them.
var commands = map[pop3.Verb]func(*session, context.Context, pop3.Command) error{
	pop3.APOP: (*session).apop,
	pop3.AUTH: (*session).auth,
	pop3.CAPA: (*session).capa,
	pop3.DELE: (*session).dele,
	pop3.LANG: (*session).lang,
	pop3.LIST: (*session).list,
	pop3.NOOP: (*session).noop,
	pop3.PASS: (*session).pass,
	pop3.QUIT: (*session).quit,
	pop3.RETR: (*session).retr,
	pop3.RSET: (*session).rset,
	pop3.STAT: (*session).stat,
	pop3.STLS: (*session).stls,
	pop3.TOP:  (*session).top,
	pop3.UIDL: (*session).uidl,
	pop3.USER: (*session).userName,
	pop3.UTF8: (*session).utf8Mode,
}

// Limits of a session.
const (
	maxBad    = 20 // commands in a row that are nonsense
	maxFailed = 10 // failures to log in
	// enough is how many bytes of answers are gathered before they are sent.
	enough = 32 << 10
)

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, enough+8<<10)
	return &b
}}

func newSession(srv *Server, c *serve.Conn, addr netip.AddrPort) *session {
	id := mail.NewTraceID(time.Now()).String()
	s := &session{srv: srv, conn: c, r: pop3.NewReader(c), peer: mail.Peer{Addr: addr}, log: srv.Log.With("session", id, "remote", addr)}
	s.peer.TLS, s.binding = auth.Protection(c.Conn)
	return s
}

// run greets the client and does its commands.
func (s *session) run(ctx context.Context) {
	s.conn.Until = time.Now().Add(loginTimeout)
	s.ok(s.greeting(ctx))
	for s.elsewhere == nil {
		err := s.wait() // and not in next, which needs much more stack
		if err == nil {
			err = s.next(ctx)
		}
		if err != nil {
			s.farewell(err)
			return
		}
	}
	s.passOn()
}

// passOn has the account's former server answer until one of the three ends it,
// without a word: it may be in the middle of a message.
func (s *session) passOn() {
	err := s.flush()
	s.release()
	s.conn.Patience = idleTimeout
	if err == nil {
		err = serve.Pass(s.conn, s.conn, s.r.Take(), s.elsewhere)
	}
	s.log.Debug("ended", "error", err)
}

// farewell ends the session as err wants it.
func (s *session) farewell(err error) {
	end, isEnding := errors.AsType[*ending](err)
	switch {
	case isEnding && end.last != nil:
		s.say(s.appendErr(end.last.code, end.last.text))
	case isEnding:
	case s.revoked.Load():
		s.say(s.appendErr(pop3.Auth, "what you have logged in with is no longer good"))
	case s.conn.Stopped():
		s.say(s.appendErr(pop3.Temporary, "the server is shutting down"))
	case errors.Is(err, pop3.ErrFlood):
		s.say(s.appendErr("", "I cannot follow you any longer"))
	case errors.Is(err, os.ErrDeadlineExceeded):
		// RFC 1939 §3: a session that times out ends without a word.
	case errors.Is(err, io.EOF):
	default:
		s.log.Debug("connection lost", "error", err)
	}
	s.flush()
	s.release()
}

// leave lets go of what the session holds, however it ended.
func (s *session) leave(ctx context.Context) {
	if s.elsewhere != nil {
		s.elsewhere.Close()
	}
	if s.unwatch != nil {
		s.unwatch()
	}
	if s.drop != nil {
		defer s.srv.Drops.leave(s.peer.Account)
		if err := s.drop.markSeen(ctx); err != nil {
			s.log.Error("mark as seen", "error", err)
		}
		if err := s.drop.visited(ctx, s.peer.Addr.Addr()); err != nil {
			s.log.Error("write the ledger", "error", err)
		}
	}
}

// next reads a command and does it.
func (s *session) next(ctx context.Context) error {
	s.conn.Patience = lineTimeout
	line, err := s.r.Line()
	if err == pop3.ErrLineTooLong {
		return s.refuse(err)
	}
	if err != nil {
		return err
	}
	c, err := pop3.ParseCommand(line)
	if err == nil {
		err = s.state().Check(c)
	}
	if err != nil {
		return s.refuse(err)
	}
	if s.user != "" && c.Verb != pop3.PASS {
		s.user = "" // RFC 1939 §7: PASS comes right behind USER
	}
	s.bad = 0
	err = commands[c.Verb](s, ctx, c)
	if err == nil || fatal(err) {
		return err
	}
	f, ours := answer(err)
	if ours {
		s.log.Error("command", "command", string(c.Verb), "error", err)
	}
	return s.say(s.appendErr(f.code, f.text))
}

// wait waits for a command. Answers to pipelined commands leave together, but
// never later than we begin to wait for the client; and a client that takes its
// time costs no buffers meanwhile.
func (s *session) wait() error {
	if s.r.Buffered() > 0 {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.conn.Patience = busyTimeout
	err := s.r.Wait()
	if !errors.Is(err, os.ErrDeadlineExceeded) || s.conn.Stopped() {
		return err
	}
	s.release()
	s.conn.Patience = idleTimeout - busyTimeout
	return s.r.Wait()
}

// release gives back what only a busy session needs.
func (s *session) release() {
	if s.out != nil && len(*s.out) == 0 {
		buffers.Put(s.out)
		s.out = nil
	}
	if s.drop != nil {
		s.drop.forget()
	}
}

// fatal tells whether the session cannot go on after err.
func fatal(err error) bool {
	_, isEnding := errors.AsType[*ending](err)
	return isEnding || errors.Is(err, pop3.ErrFlood) || errors.Is(err, errLost) || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded)
}

// refuse answers what is no command.
func (s *session) refuse(err error) error {
	f, _ := answer(err)
	if s.bad++; s.bad >= maxBad {
		return &ending{&failure{"", "too many bad commands"}}
	}
	return s.say(s.appendErr(f.code, f.text))
}

func (s *session) state() pop3.State {
	if s.drop == nil {
		return pop3.Authorization
	}
	return pop3.Transaction
}

// begin gives the answers not yet sent, to be appended to; say or keep must
// follow.
func (s *session) begin() []byte {
	if s.out == nil {
		s.out = buffers.Get().(*[]byte)
	}
	return *s.out
}

// say keeps what has been appended, and sends it if it is enough.
func (s *session) say(b []byte) error {
	*s.out = b
	if len(b) < enough {
		return nil
	}
	return s.flush()
}

func (s *session) ok(text string) error { return s.say(s.appendOK(text)) }

// errLost is wrapped around what made writing fail.
var errLost = errors.New("connection lost")

// flush sends the answers.
func (s *session) flush() error {
	if s.out == nil || len(*s.out) == 0 {
		return nil
	}
	_, err := s.conn.Write(*s.out)
	if *s.out = (*s.out)[:0]; cap(*s.out) > 2*enough {
		s.out = nil // too large for the pool
	}
	if err != nil {
		return errors.Join(errLost, err)
	}
	return nil
}

// Write lets pop3.Lines write an answer.
func (s *session) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		b := s.begin()
		part := p[:min(len(p), enough)]
		if err := s.say(append(b, part...)); err != nil {
			return 0, err
		}
		p = p[len(part):]
	}
	return n, nil
}
