package sieved

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"posthaste/internal/agent/auth"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/serve"
	"posthaste/internal/proto/managesieve"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/proto/sieve"
	"posthaste/internal/store/script"
)

// A session is one connection. It belongs to one goroutine.
type session struct {
	srv       *Server
	conn      *serve.Conn
	dec       *managesieve.Decoder
	out       []byte // answers not yet sent
	peer      mail.Peer
	log       *slog.Logger
	anonymous *slog.Logger // log before login
	binding   sasl.ChannelBinding
	revoked   atomic.Bool // what opened the account opens it no more
	unattend  func()      // ends that somebody looks whether it does; nil if nobody does
	bad       int         // commands in a row that were not understood
	failed    int         // attempts to log in that failed
	early     int         // commands before login
}

// commands has how the session does each of them.
var commands = map[managesieve.Verb]func(*session, context.Context, managesieve.Command) error{
	managesieve.Authenticate:   (*session).authenticate,
	managesieve.Capability:     (*session).capability,
	managesieve.CheckScript:    (*session).checkScript,
	managesieve.DeleteScript:   (*session).deleteScript,
	managesieve.GetScript:      (*session).getScript,
	managesieve.HaveSpace:      (*session).haveSpace,
	managesieve.ListScripts:    (*session).listScripts,
	managesieve.Logout:         (*session).logout,
	managesieve.Noop:           (*session).noop,
	managesieve.PutScript:      (*session).putScript,
	managesieve.RenameScript:   (*session).renameScript,
	managesieve.SetActive:      (*session).setActive,
	managesieve.StartTLS:       (*session).startTLS,
	managesieve.Unauthenticate: (*session).unauthenticate,
}

// Limits of a session.
const (
	maxBad    = 20  // commands in a row that are nonsense
	maxFailed = 10  // failures to log in
	maxEarly  = 100 // commands before login
	// enough is how many bytes of answers are gathered before they are sent.
	enough = 32 << 10
	// kept is how much room for answers a session keeps while it waits.
	kept = 4 << 10
)

// limitsAfterLogin have room for the largest script and its name.
var limitsAfterLogin = managesieve.Limits{Strings: sieve.MaxScript + 4<<10, Skip: 16 << 20}

func newSession(srv *Server, c *serve.Conn, addr netip.AddrPort) *session {
	id := mail.NewTraceID(time.Now()).String()
	s := &session{srv: srv, conn: c, dec: managesieve.NewDecoder(c), peer: mail.Peer{Addr: addr}, log: srv.Log.With("session", id, "remote", addr)}
	s.anonymous = s.log
	s.peer.TLS, s.binding = auth.Protection(c.Conn)
	return s
}

// run greets the client and does its commands.
func (s *session) run(ctx context.Context) {
	s.conn.Until = time.Now().Add(loginTimeout)
	err := s.capabilities()
	for err == nil {
		if err = s.wait(); err == nil { // and not in next, which needs much more stack
			err = s.next(ctx)
		}
	}
	s.farewell(err)
}

// farewell ends the session as err wants it.
func (s *session) farewell(err error) {
	end, isEnding := errors.AsType[*ending](err)
	switch {
	case isEnding && end.last != nil:
		s.bye(end.last.code, end.last.text)
	case isEnding:
	case s.revoked.Load():
		s.bye("", "what you have logged in with is no longer good")
	case s.conn.Stopped():
		s.bye(managesieve.TryLater, "the server is shutting down")
	case errors.Is(err, managesieve.ErrFlood):
		s.bye("", "this is much too large")
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.bye("", "I have waited too long")
	case errors.Is(err, io.EOF):
	default:
		s.log.Debug("connection lost", "error", err)
	}
	s.flush()
}

// leave lets go of what the session holds, however it ended.
func (s *session) leave() {
	if s.unattend != nil {
		s.unattend()
		s.unattend = nil
	}
	if s.peer.Account != 0 {
		s.srv.accounts.Leave(s.peer.Account)
		s.peer.Account = 0
	}
}

// next reads a command and does it.
func (s *session) next(ctx context.Context) error {
	c, err := s.command()
	if s.peer.Account != 0 {
		s.conn.Until = time.Time{}
	} else if s.early++; s.early > maxEarly {
		return &ending{&failure{"", "log in: this is too much talk before it"}}
	}
	if err == nil {
		s.bad = 0
		err = commands[c.Verb](s, ctx, c)
	} else if !fatal(err) {
		if s.bad++; s.bad >= maxBad {
			return &ending{&failure{"", "too many bad commands"}}
		}
	}
	if err == nil || fatal(err) {
		return err
	}
	f, ours := answer(err)
	if ours {
		s.log.Error("command", "command", string(c.Verb), "error", err)
	}
	return s.no(f)
}

// command reads one that may come now.
func (s *session) command() (managesieve.Command, error) {
	c, err := s.dec.Command()
	if err != nil && err != managesieve.ErrTooLarge {
		return c, err
	}
	if wrong := s.state().Check(c); wrong != nil {
		return c, wrong
	}
	if err != nil && (c.Verb == managesieve.PutScript || c.Verb == managesieve.CheckScript) {
		err = script.ErrTooLarge
	}
	return c, err
}

// wait waits for a command, which must come whole within its time then. Answers to
// pipelined commands leave together, but never later than we begin to wait.
func (s *session) wait() error {
	if s.dec.Buffered() == 0 {
		if err := s.flush(); err != nil {
			return err
		}
		s.conn.Patience = idleTimeout
		if err := s.dec.Wait(); err != nil {
			return err
		}
	}
	s.conn.Patience = readTimeout
	if s.peer.Account != 0 {
		s.conn.Until = time.Now().Add(commandTimeout)
	}
	return nil
}

// fatal tells whether the session cannot go on after err.
func fatal(err error) bool {
	_, isEnding := errors.AsType[*ending](err)
	return isEnding || errors.Is(err, managesieve.ErrFlood) || errors.Is(err, errLost) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded)
}

func (s *session) state() managesieve.State {
	if s.peer.Account == 0 {
		return managesieve.NotAuthenticated
	}
	return managesieve.Authenticated
}

func (s *session) ok(code managesieve.Code) error {
	return s.say(managesieve.AppendOK(s.out, code))
}

func (s *session) no(f *failure) error {
	return s.say(managesieve.AppendNo(s.out, f.code, f.text))
}

func (s *session) bye(code managesieve.Code, text string) {
	s.out = managesieve.AppendBye(s.out, code, text)
}

// say keeps what has been appended to out, and sends it if it is enough.
func (s *session) say(out []byte) error {
	if s.out = out; len(out) < enough {
		return nil
	}
	return s.flush()
}

// errLost is wrapped around what made writing fail.
var errLost = errors.New("connection lost")

// flush sends the answers.
func (s *session) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.conn.Write(s.out)
	if s.out = s.out[:0]; cap(s.out) > kept {
		s.out = nil
	}
	if err != nil {
		return errors.Join(errLost, err)
	}
	return nil
}
