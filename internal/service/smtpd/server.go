package smtpd

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"posthaste/internal/base/limit"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/serve"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/proto/smtp"
)

// A Server serves sessions. Hostname, Receiver and Log must be set; no field
// may change while it serves.
type Server struct {
	Hostname string
	Receiver smtp.Receiver
	Policy   Policy
	// Auth gives who checks passwords for a session; nil: AUTH is not offered.
	Auth func(peer mail.Peer) sasl.Verifier
	// Attend looks after a session of somebody who has logged in, until the function
	// it gives is called, and calls end when they are let in no more; nil: nobody does.
	Attend func(ctx context.Context, id sasl.Identity, end func()) (leave func())
	// Offer is which mechanisms are announced.
	Offer sasl.Offer
	// Shown tells whether only mechanisms that show us the password may be announced
	// now; nil: they never are.
	Shown func() bool
	// TLS is for STARTTLS or from the beginning; nil: there is none.
	TLS *tls.Config
	// Name gives the confirmed name of an address from reverse DNS, or "". It
	// may be slow, and may be nil.
	Name func(ctx context.Context, ip netip.Addr) string
	// Fronts may tell by XCLIENT whom they speak for, and who that has logged in
	// as: Account finds out who that is, and the address they log in with, mail.ErrNotFound
	// if nobody. It must be set where Auth is.
	Fronts  []netip.Prefix
	Account func(ctx context.Context, login mail.Address) (mail.AccountID, mail.Address, error)
	// Open opens what an URL names for who has logged in, and gives its size; nil:
	// BURL is not offered. RFC 4468
	Open   func(ctx context.Context, who mail.Peer, url string) (io.ReadCloser, int64, error)
	Limits Limits
	Log    *slog.Logger
	// Refused hears of each connection that is one too many; nil: nobody does.
	Refused func()
	// Places are who is in, for servers of a listener that follow one another; nil: it
	// counts alone.
	Places *limit.Inside[limit.Place]

	once    sync.Once
	limits  Limits
	buffers smtp.Buffers
	places  limit.AtOnce[limit.Place]
}

// A Policy is in what the listeners differ, beside the Receiver.
type Policy struct {
	Dialect     smtp.Dialect
	ImplicitTLS bool // TLS from the first byte; RFC 8314
	RequireAuth bool // MAIL only from those who have logged in; RFC 6409 §4.3
	ClearAuth   bool // AUTH without TLS: for sockets that no stranger can listen to
	// HoldMax is how long those who have logged in may have a message held back;
	// 0: that is not offered. RFC 4865
	HoldMax time.Duration
}

// Limits bound what one session, and all of them, may cost. A zero field
// stands for the default.
type Limits struct {
	Connections int            // at once; 2000
	PerAddress  int            // at once from one address or IPv6 /64; 100
	Trusted     []netip.Prefix // networks that PerAddress does not count, beside this machine
	Recipients  int            // of a transaction; 1000
	Size        int64          // of a message; 50 MiB
	Errors      int            // lines of a session that are no commands; 10
	Refusals    int            // other refusals of a session; 200
	AuthTries   int            // failures to log in; 10
	Idle        time.Duration  // between commands; 5 minutes, RFC 5321 §4.5.3.2.7
	Handshake   time.Duration  // of TLS; 1 minute
	Session     time.Duration  // after that, no new transaction begins; 1 hour
	Rate        int64          // bytes a second that a message must come in with, after a minute; 1024
	Grace       time.Duration  // that transactions have to end in when the server stops; 30 seconds
}

func (l Limits) withDefaults() Limits {
	l.Connections = cmp.Or(l.Connections, 2000)
	l.PerAddress = cmp.Or(l.PerAddress, 100)
	l.Recipients = cmp.Or(l.Recipients, 1000)
	l.Size = cmp.Or(l.Size, 50<<20)
	l.Errors = cmp.Or(l.Errors, 10)
	l.Refusals = cmp.Or(l.Refusals, 200)
	l.AuthTries = cmp.Or(l.AuthTries, 10)
	l.Idle = cmp.Or(l.Idle, 5*time.Minute)
	l.Handshake = cmp.Or(l.Handshake, time.Minute)
	l.Session = cmp.Or(l.Session, time.Hour)
	l.Rate = cmp.Or(l.Rate, 1024)
	l.Grace = cmp.Or(l.Grace, 30*time.Second)
	return l
}

func (s *Server) prepare() {
	s.once.Do(func() {
		s.limits = s.Limits.withDefaults()
		s.places.Total, s.places.PerKey, s.places.In = s.limits.Connections, s.limits.PerAddress, s.Places
	})
}

// Serve serves the connections of ln until ctx ends, and then waits for the
// sessions: idle ones end at once, transactions have Limits.Grace. It closes
// ln. Its error is that of ln, nil if ctx ended.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.prepare()
	if err := serve.Connections(ctx, ln, s.Log, func(c net.Conn) { s.ServeConn(ctx, c) }); err != nil {
		return fmt.Errorf("smtpd: %w", err)
	}
	return nil
}

// ServeConn serves one connection, and closes it. It keeps little on the stack, as all do
// that call each other to wait for the client. A panic ends the session only.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) {
	s.prepare()
	ses, own, end := s.admit(ctx, conn)
	if ses == nil {
		return
	}
	defer end()
	defer ses.survive()
	ses.run(own)
}

// admit lets a connection in; end lets go of what its session holds. If it gives nil, the
// connection is closed.
func (s *Server) admit(ctx context.Context, conn net.Conn) (ses *session, own context.Context, end func()) {
	addr := serve.AddrOf(conn)
	place := limit.PlaceOf(addr, s.Limits.Trusted)
	if !s.places.Enter(place) {
		s.refuse(conn, addr)
		conn.Close()
		return nil, nil, nil
	}
	ses = newSession(s, conn, addr)
	own, ended := serve.Session(ctx, s.limits.Grace, ses.interrupt, func() { conn.Close() })
	return ses, own, func() {
		ended()
		s.places.Leave(place)
		conn.Close()
	}
}

// refuse turns a connection away that is one too many.
func (s *Server) refuse(conn net.Conn, addr netip.AddrPort) {
	if s.Refused != nil {
		s.Refused()
	}
	s.Log.Info("refused", "remote", addr, "status", smtp.ErrBusy.Status, "text", smtp.ErrBusy.Text)
	if !s.Policy.ImplicitTLS {
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		conn.Write(smtp.RefusalReply(smtp.ErrBusy).Append(nil))
	}
}

// survive ends a panic.
func (ses *session) survive() {
	if p := recover(); p != nil {
		ses.log.Error("panic", "value", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
}
