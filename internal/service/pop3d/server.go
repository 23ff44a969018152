package pop3d

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
	"posthaste/internal/proto/pop3"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/maildrop"
)

// A Server serves sessions. Mail, Rules, Drops, Auth and Log must be set; no field may
// change while it serves.
type Server struct {
	Mail  *mailbox.Store
	Rules *maildrop.Store
	Drops *Maildrops
	// LoginDelay is how long a device waits between two logins. RFC 2449 §6.5
	LoginDelay time.Duration
	// Auth gives who checks passwords for a session.
	Auth func(peer mail.Peer) sasl.Verifier
	// Offer is which mechanisms are announced.
	Offer sasl.Offer
	// TLS is for STLS or from the beginning; nil: there is none.
	TLS         *tls.Config
	ImplicitTLS bool // TLS from the first byte; RFC 8314
	ClearAuth   bool // log in without TLS: for sockets that no stranger can listen to
	Version     string
	Limits      Limits
	Log         *slog.Logger

	once   sync.Once
	limits Limits
	places limit.AtOnce[limit.Place]
}

// Limits bound what one session, and all of them, may cost. A zero field
// stands for the default.
type Limits struct {
	Connections int            // at once; 5,000
	PerAddress  int            // at once from one address or IPv6 /64, loopback excepted; 100
	Trusted     []netip.Prefix // networks that PerAddress does not count
	Grace       time.Duration  // that commands have to end in when the server stops; 30 seconds
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (s *Server) prepare() {
	s.once.Do(func() {
		l := s.Limits
		orDefault(&l.Connections, 5000)
		orDefault(&l.PerAddress, 100)
		orDefault(&l.Grace, 30*time.Second)
		s.limits = l
		s.places.Total, s.places.PerKey = l.Connections, l.PerAddress
	})
}

// Serve serves the connections of ln until ctx ends, and then waits for the
// sessions: idle ones end at once, commands have Limits.Grace. It closes ln. Its
// error is that of ln, nil if ctx ended.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.prepare()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var pause time.Duration
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("pop3d: accept: %w", err)
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
		sessions.Go(func() { s.ServeConn(ctx, c) })
	}
}

// ServeConn serves one connection, and closes it.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) {
	s.prepare()
	c := &conn{Conn: nc}
	defer c.Close()
	addr := addrOf(nc)
	place := limit.PlaceOf(addr, s.Limits.Trusted)
	if !s.places.Enter(place) {
		s.Log.Info("refused", "remote", addr, "text", "too many connections")
		if !s.ImplicitTLS {
			c.Write(pop3.AppendErr(nil, pop3.Temporary, "too many connections"))
		}
		return
	}
	defer s.places.Leave(place)
	if s.ImplicitTLS {
		if err := c.handshake(ctx, s.TLS); err != nil {
			s.Log.Debug("TLS handshake", "remote", addr, "error", err)
			return
		}
	}
	s.serve(ctx, newSession(s, c, addr))
}

// serve is the root of a session: a panic ends that session only.
func (s *Server) serve(ctx context.Context, ses *session) {
	// What a session does is not undone half way when the server stops.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			ses.log.Error("panic", "value", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	defer ses.leave(own)
	ended := make(chan struct{})
	defer close(ended)
	stop := context.AfterFunc(ctx, func() {
		ses.conn.stop()
		select {
		case <-ended:
		case <-time.After(s.limits.Grace):
			cancel()
			ses.conn.Close()
		}
	})
	defer stop()
	ses.run(own)
}
