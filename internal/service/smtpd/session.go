package smtpd

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/proto/smtp"
)

// A session is one connection. All but interrupt belongs to one goroutine.
type session struct {
	s    *Server
	log  *slog.Logger
	wire wire
	r    *smtp.Reader
	out  []byte // replies that have not left yet

	began   time.Time
	machine smtp.Machine
	peer    mail.Peer
	front   bool        // the other end may say whom it speaks for
	called  string      // what the client called itself, if a front has said that
	name    chan string // gives Peer.Name once; nil afterwards
	lookups sync.WaitGroup
	binding sasl.ChannelBinding
	tx      smtp.Transaction
	changed *int8         // the priority that the message has instead of the one asked for
	pending *smtp.Command // came while a message in chunks was read, and ended it

	revoked atomic.Bool // what opened the account opens it no more
	unwatch func()      // ends that somebody looks whether it does; nil if nobody does

	errors, refusals, authTries int
	ending                      bool // nothing more is read
}

func newSession(s *Server, conn net.Conn, addr netip.AddrPort) *session {
	ses := &session{s: s, front: s.isFront(addr.Addr()), began: time.Now(), out: make([]byte, 0, 512)}
	ses.peer.Addr = addr
	ses.log = s.Log.With("session", mail.NewTraceID(ses.began).String(), "remote", addr)
	ses.machine = smtp.Machine{Dialect: s.Policy.Dialect}
	ses.wire = wire{raw: conn, conn: conn, limits: &s.limits, flush: ses.flush}
	ses.r = smtp.NewReader(&ses.wire, &s.buffers)
	return ses
}

// interrupt makes a session that waits for a command end; any other ends after
// what it does. It may be called by another goroutine.
func (ses *session) interrupt() {
	ses.wire.stopping.Store(true)
	if ses.wire.waiting.Load() {
		ses.wire.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// run runs the session to its end.
func (ses *session) run(ctx context.Context) {
	ses.log.Debug("connected")
	ctx, cancel := context.WithCancel(ctx)
	defer ses.leave(ctx, cancel)
	if ses.s.Policy.ImplicitTLS && !ses.handshake(ctx) {
		return
	}
	ses.lookup(ctx)
	ses.greet()
	for !ses.ending {
		if ses.wait() {
			ses.next(ctx)
		}
	}
	ses.flush()
}

// leave lets go of what the session holds, however it ended.
func (ses *session) leave(ctx context.Context, cancel func()) {
	cancel()
	ses.lookups.Wait()
	if ses.unwatch != nil {
		ses.unwatch()
	}
	if ses.tx != nil {
		ses.tx.Reset(ctx)
	}
	ses.r.Reset(nil)
	ses.log.Debug("disconnected", "took", time.Since(ses.began))
}

// greet greets the client.
func (ses *session) greet() {
	proto := " ESMTP"
	if ses.s.Policy.Dialect == smtp.LMTP {
		proto = " LMTP"
	}
	ses.reply(smtp.Reply{Code: 220, Text: ses.s.Hostname + proto})
}

// wait tells whether there is a command to be read and carried out. What does that needs
// much more stack, which a session shall not hold while it waits.
func (ses *session) wait() bool {
	if ses.pending != nil {
		return true
	}
	if err := ses.r.Wait(); err != nil {
		ses.unread(err)
		return false
	}
	return true
}

// next reads and carries out a command.
func (ses *session) next(ctx context.Context) {
	if c := ses.pending; c != nil {
		ses.pending = nil
		ses.do(ctx, *c)
		return
	}
	c, ok := ses.command()
	switch {
	case ok && ses.tx == nil && time.Since(ses.began) > ses.s.limits.Session:
		ses.end(smtp.ErrIdle)
	case ok:
		ses.do(ctx, c)
	}
}

// command reads a command. What is none has been answered.
func (ses *session) command() (smtp.Command, bool) {
	ses.r.Release()
	limit := smtp.MaxCommand
	if ses.offersAuth() {
		limit = smtp.MaxAuth
	}
	line, err := ses.r.Line(limit)
	if err != nil {
		ses.unread(err)
		return smtp.Command{}, false
	}
	c, err := smtp.ParseCommand(line)
	switch {
	case c.Verb == smtp.HTTP:
		// A browser that somebody tricked: its other lines are his.
		ses.log.Info("refused", "text", "spoke HTTP")
		ses.ending = true
	case err == nil && len(line) > smtp.MaxCommand && c.Verb != smtp.AUTH:
		ses.bad(smtp.ErrLineTooLong)
	case err == nil:
		return c, true
	default:
		ses.bad(err)
		// Nobody knows how long the chunk would have been.
		ses.ending = ses.ending || c.Verb == smtp.BDAT
	}
	return smtp.Command{}, false
}

// unread answers a line that could not be read.
func (ses *session) unread(err error) {
	refusal, ok := errors.AsType[*mail.Refusal](err)
	switch {
	case errors.Is(err, smtp.ErrFlood):
		ses.refuse(refusal)
		ses.ending = true
	case ok:
		ses.bad(refusal)
	case ses.revoked.Load():
		ses.end(smtp.ErrRevoked)
	case ses.wire.stopping.Load():
		ses.end(smtp.ErrShutdown)
	case errors.Is(err, os.ErrDeadlineExceeded):
		ses.end(smtp.ErrIdle)
	default:
		ses.lost(err)
	}
}

// lost ends a session that nobody is there for any more.
func (ses *session) lost(err error) {
	ses.log.Debug("lost", "error", err)
	ses.out = ses.out[:0]
	ses.ending = true
}

// do carries out a command.
func (ses *session) do(ctx context.Context, c smtp.Command) {
	if err := ses.check(c); err != nil {
		ses.outOfTurn(c, err)
		return
	}
	switch c.Verb {
	case smtp.HELO, smtp.EHLO, smtp.LHLO:
		ses.hello(ctx, c)
	case smtp.MAIL:
		ses.mail(ctx, c)
	case smtp.RCPT:
		ses.rcpt(ctx, c)
	case smtp.DATA:
		ses.data(ctx, c)
	case smtp.BDAT, smtp.BURL:
		ses.chunks(ctx, c)
	case smtp.RSET:
		ses.reset(ctx)
		ses.machine.Done(c, nil)
		ses.ok("OK")
	case smtp.QUIT:
		ses.reply(smtp.Reply{Code: 221, Status: mail.StatusOK, Text: "bye"})
		ses.ending = true
	case smtp.STARTTLS:
		ses.startTLS(ctx, c)
	case smtp.AUTH:
		ses.auth(ctx, c)
	case smtp.XCLIENT:
		ses.xclient(ctx, c)
	default:
		ses.aside(c)
	}
}

// aside answers what changes nothing.
func (ses *session) aside(c smtp.Command) {
	switch c.Verb {
	case smtp.VRFY: // RFC 5321 §3.5.3
		ses.reply(smtp.Reply{Code: 252, Status: mail.StatusOK, Text: "send some mail, and it will be seen"})
	case smtp.HELP:
		ses.reply(smtp.Reply{Code: 214, Status: mail.StatusOK, Text: "see RFC 5321"})
	default:
		ses.ok("OK")
	}
}

// check tells whether a command may come: by the order of things, and by the
// policy.
func (ses *session) check(c smtp.Command) error {
	switch c.Verb {
	case smtp.STARTTLS:
		if ses.s.TLS == nil {
			return smtp.ErrNotOffered
		}
	case smtp.AUTH:
		if ses.s.Auth == nil {
			return smtp.ErrNotOffered
		}
		if !ses.offersAuth() {
			return smtp.ErrTLSRequired
		}
	case smtp.BURL:
		if !ses.offersURLs() {
			return smtp.ErrNotOffered
		}
	case smtp.XCLIENT:
		if !ses.front {
			return smtp.ErrUnknown
		}
	}
	if err := ses.machine.Check(c); err != nil {
		return err
	}
	if c.Verb != smtp.MAIL {
		return nil
	}
	switch {
	case ses.s.Policy.RequireAuth && ses.peer.Account == 0 && ses.s.TLS != nil && !ses.offersAuth():
		return smtp.ErrTLSRequired
	case ses.s.Policy.RequireAuth && ses.peer.Account == 0:
		return smtp.ErrAuthRequired
	case c.Mail.Size > ses.s.limits.Size:
		return smtp.ErrTooLong
	}
	return nil
}

// outOfTurn answers a command that may not come. The chunk of a BDAT comes
// nevertheless, and is not a command. RFC 3030 §2
func (ses *session) outOfTurn(c smtp.Command, err error) {
	if c.Verb == smtp.BDAT && !ses.skipChunk(c.Size) {
		return
	}
	ses.refuse(err)
}

// skipChunk passes over a chunk. It tells whether the session goes on.
func (ses *session) skipChunk(size int64) bool {
	if size > ses.s.limits.Size {
		ses.refuse(smtp.ErrTooLong)
		ses.ending = true
		return false
	}
	ses.wire.beginMessage()
	defer ses.wire.endMessage()
	if err := ses.r.Skip(size); err != nil {
		ses.broken(err)
		return false
	}
	return true
}

// broken ends a session whose stream ended, or stalled, within a message.
func (ses *session) broken(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		ses.end(smtp.ErrSlow)
		return
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		ses.log.Info("lost", "text", "within a message")
	}
	ses.lost(err)
}

// offersAuth tells whether AUTH is on offer now.
func (ses *session) offersAuth() bool {
	return ses.s.Auth != nil && (ses.peer.TLS != nil || ses.s.Policy.ClearAuth)
}

// offers gives what the reply to EHLO announces.
func (ses *session) offers() smtp.Extensions {
	x := smtp.Extensions{
		Pipelining: true, Sized: true, Size: ses.s.limits.Size, EightBit: true, UTF8: true, Enhanced: true, DSN: true,
		Chunking: true, Binary: true,
		RcptMax:  ses.s.limits.Recipients,
		StartTLS: ses.s.TLS != nil && ses.peer.TLS == nil,
		// RFC 8689 §2: only here does it mean anything.
		RequireTLS: ses.peer.TLS != nil,
		DeliverBy:  true, MinBy: minBy, Priority: true, RRVS: true,
		Burl: ses.offersURLs(), XClient: ses.front,
	}
	if ses.s.Policy.HoldMax > 0 {
		x.HoldMax, x.HoldUntil = ses.s.Policy.HoldMax, time.Now().Add(ses.s.Policy.HoldMax)
	}
	if ses.offersAuth() {
		x.Auth = ses.offer().Mechanisms(ses.binding)
	}
	return x
}

func (ses *session) hello(ctx context.Context, c smtp.Command) {
	ses.reset(ctx)
	ses.peer.Hello = cmp.Or(ses.called, c.Host)
	ses.machine.Done(c, nil)
	text := ses.s.Hostname
	if c.Verb != smtp.HELO {
		text = ses.offers().Text(text)
	}
	ses.reply(smtp.Reply{Code: 250, Text: text})
}

// reset ends the transaction, if there is one.
func (ses *session) reset(ctx context.Context) {
	if ses.tx != nil {
		ses.tx.Reset(ctx)
		ses.tx = nil
	}
}

// ok answers yes.
func (ses *session) ok(text string) {
	ses.reply(smtp.Reply{Code: 250, Status: mail.StatusOK, Text: text})
}

// refuse answers no. A client that hears it too often is sent away.
func (ses *session) refuse(err error) {
	ses.reply(smtp.RefusalReply(err))
	if ses.refusals++; ses.refusals > ses.s.limits.Refusals {
		ses.end(smtp.ErrManyErrors)
	}
}

// bad answers what is no command.
func (ses *session) bad(err error) {
	ses.reply(smtp.RefusalReply(err))
	if ses.errors++; ses.errors >= ses.s.limits.Errors {
		ses.end(smtp.ErrManyErrors)
	}
}

// end tells the client why the session ends.
func (ses *session) end(why *mail.Refusal) {
	if ses.ending {
		return
	}
	ses.log.Debug("ended", "status", why.Status, "text", why.Text)
	r := smtp.RefusalReply(why)
	r.Text = ses.s.Hostname + " " + r.Text
	ses.reply(r)
	ses.ending = true
}

// reply puts a reply behind those that wait to leave.
func (ses *session) reply(r smtp.Reply) {
	ses.out = r.Append(ses.out)
	if len(ses.out) > 8<<10 {
		ses.flush()
	}
}

// flush lets the replies leave.
func (ses *session) flush() error {
	if len(ses.out) == 0 {
		return nil
	}
	err := ses.wire.write(ses.out)
	if ses.out = ses.out[:0]; cap(ses.out) > 4<<10 {
		ses.out = nil
	}
	return err
}

// withID names the transaction in a refusal, so that the sender's postmaster
// and ours speak of the same.
func withID(r smtp.Reply, id mail.TraceID) smtp.Reply {
	if !id.IsZero() && !strings.Contains(r.Text, "\n") {
		r.Text += " (id " + id.String() + ")"
	}
	return r
}

// A wire is the connection with its deadlines. Before it waits for the client
// it lets the replies leave: that is how a batch of commands is answered by one
// write.
type wire struct {
	raw    net.Conn // what was accepted; deadlines are set here
	conn   net.Conn // raw, or TLS over it
	limits *Limits
	flush  func() error

	waiting  atomic.Bool // for a command
	stopping atomic.Bool // the server stops

	message bool      // a message comes in
	since   time.Time // it does, or the client has had its last answer
	got     int64     // bytes of the message

	readBy, writeBy time.Time // the deadlines as they are set
}

// ratePause is how long a message may come in at any rate.
const ratePause = time.Minute

// Read reads what the client sends.
func (w *wire) Read(p []byte) (int, error) {
	if err := w.arm(); err != nil {
		return 0, err
	}
	n, err := w.conn.Read(p)
	w.waiting.Store(false)
	w.got += int64(n)
	return n, err
}

// arm does what comes before a read.
func (w *wire) arm() error {
	if err := w.flush(); err != nil {
		return err
	}
	now := time.Now()
	by := now.Add(w.limits.Idle)
	if w.message {
		if end := w.since.Add(ratePause + time.Duration(w.got/w.limits.Rate)*time.Second); end.Before(by) {
			by = end
		}
	} else {
		if !w.since.IsZero() {
			by = w.since.Add(w.limits.Idle) // a command comes whole by then, not byte by byte for ever
		}
		w.waiting.Store(true)
	}
	if w.stopping.Load() {
		w.readBy = time.Time{} // interrupt has set another one
	}
	w.readDeadline(by)
	if !w.message && w.stopping.Load() {
		w.waiting.Store(false)
		return os.ErrDeadlineExceeded
	}
	return nil
}

// readDeadline sets the deadline, unless the one that is set will do: it costs
// more than a small read does.
func (w *wire) readDeadline(by time.Time) {
	if d := by.Sub(w.readBy); d < 0 || d > time.Second || d > w.limits.Idle/10 {
		w.raw.SetReadDeadline(by)
		w.readBy = by
	}
}

func (w *wire) write(b []byte) error {
	if by := time.Now().Add(w.limits.Idle); by.Sub(w.writeBy) > min(time.Second, w.limits.Idle/10) {
		w.raw.SetWriteDeadline(by)
		w.writeBy = by
	}
	_, err := w.conn.Write(b)
	if !w.message {
		w.since = time.Now()
	}
	return err
}

func (w *wire) beginMessage() { w.message, w.since, w.got = true, time.Now(), 0 }
func (w *wire) endMessage()   { w.message = false }

// secure goes on over TLS.
func (w *wire) secure(conn net.Conn) {
	w.conn, w.readBy, w.writeBy = conn, time.Time{}, time.Time{}
}
