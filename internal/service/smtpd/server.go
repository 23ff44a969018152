package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"posthaste/internal/base/limit"
	"posthaste/internal/base/mail"
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
	// Offer is which mechanisms are announced.
	Offer sasl.Offer
	// TLS is for STARTTLS or from the beginning; nil: there is none.
	TLS *tls.Config
	// Name gives the confirmed name of an address from reverse DNS, or "". It
	// may be slow, and may be nil.
	Name   func(ctx context.Context, ip netip.Addr) string
	Limits Limits
	Log    *slog.Logger

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

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (l Limits) withDefaults() Limits {
	orDefault(&l.Connections, 2000)
	orDefault(&l.PerAddress, 100)
	orDefault(&l.Recipients, 1000)
	orDefault(&l.Size, 50<<20)
	orDefault(&l.Errors, 10)
	orDefault(&l.Refusals, 200)
	orDefault(&l.AuthTries, 10)
	orDefault(&l.Idle, 5*time.Minute)
	orDefault(&l.Handshake, time.Minute)
	orDefault(&l.Session, time.Hour)
	orDefault(&l.Rate, 1024)
	orDefault(&l.Grace, 30*time.Second)
	return l
}

func (s *Server) prepare() {
	s.once.Do(func() {
		s.limits = s.Limits.withDefaults()
		s.places.Total, s.places.PerKey = s.limits.Connections, s.limits.PerAddress
	})
}

// Serve serves the connections of ln until ctx ends, and then waits for the
// sessions: idle ones end at once, transactions have Limits.Grace. It closes
// ln. Its error is that of ln, nil if ctx ended.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.prepare()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var pause time.Duration
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("smtpd: accept: %w", err)
		}
		if err != nil {
			// Out of descriptors, most likely: some come back as sessions end.
			pause = min(2*pause+5*time.Millisecond, time.Second)
			s.Log.Warn("accept", "error", err, "pause", pause)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			continue
		}
		pause = 0
		sessions.Go(func() { s.ServeConn(ctx, conn) })
	}
}

// ServeConn serves one connection, and closes it.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) {
	s.prepare()
	defer conn.Close()
	peer := mail.Peer{Addr: addrOf(conn)}
	place := limit.PlaceOf(peer.Addr, s.Limits.Trusted)
	if !s.places.Enter(place) {
		s.Log.Info("refused", "remote", peer.Addr, "status", smtp.ErrBusy.Status, "text", smtp.ErrBusy.Text)
		if !s.Policy.ImplicitTLS {
			conn.SetWriteDeadline(time.Now().Add(time.Second))
			conn.Write(smtp.RefusalReply(smtp.ErrBusy).Append(nil))
		}
		return
	}
	defer s.places.Leave(place)
	s.serve(ctx, conn, peer)
}

// serve is the root of a session: a panic ends that session only.
func (s *Server) serve(ctx context.Context, conn net.Conn, peer mail.Peer) {
	id := mail.NewTraceID(time.Now()).String()
	log := s.Log.With("session", id, "remote", peer.Addr)
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic", "value", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	// What a session does is not undone half way when the server stops.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ses := newSession(s, conn, peer, log)
	kill := make(chan struct{})
	defer close(kill)
	stop := context.AfterFunc(ctx, func() {
		ses.interrupt()
		select {
		case <-kill:
		case <-time.After(s.limits.Grace):
			cancel()
			conn.Close()
		}
	})
	defer stop()
	ses.run(own)
}

func addrOf(conn net.Conn) netip.AddrPort {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
