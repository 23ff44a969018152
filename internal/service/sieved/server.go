package sieved

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"posthaste/internal/agent/owner"
	"posthaste/internal/base/limit"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/serve"
	"posthaste/internal/proto/managesieve"
	"posthaste/internal/proto/sasl"
)

// A Server serves sessions. Owner, Auth and Log must be set; no field may change while
// it serves.
type Server struct {
	// Owner does what people want done with their scripts; of it, the Store is enough.
	Owner *owner.Agent
	// Auth gives who checks passwords for a session.
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
	TLS         *tls.Config
	ImplicitTLS bool // TLS from the first byte
	ClearAuth   bool // log in without TLS: for sockets that no stranger can listen to
	Version     string
	Limits      Limits
	Log         *slog.Logger
	// Refused hears of each connection that is one too many; nil: nobody does.
	Refused func()
	// Places are who is in, for servers of a listener that follow one another, and
	// Accounts whose they are; nil: it counts alone.
	Places   *limit.Inside[limit.Place]
	Accounts *limit.Inside[mail.AccountID]

	once     sync.Once
	limits   Limits
	places   limit.AtOnce[limit.Place]
	accounts limit.AtOnce[mail.AccountID]
}

// Limits bound what one session, and all of them, may cost. A zero field stands for the
// default.
type Limits struct {
	Connections int            // at once; 5,000
	PerAddress  int            // at once from one address or IPv6 /64, loopback excepted; 100
	Trusted     []netip.Prefix // networks that PerAddress does not count
	PerAccount  int            // at once of one account; 100
	Grace       time.Duration  // that commands have to end in when the server stops; 30 seconds
}

func (s *Server) prepare() {
	s.once.Do(func() {
		l := s.Limits
		l.Connections = cmp.Or(l.Connections, 5000)
		l.PerAddress = cmp.Or(l.PerAddress, 100)
		l.PerAccount = cmp.Or(l.PerAccount, 100)
		l.Grace = cmp.Or(l.Grace, 30*time.Second)
		s.limits = l
		s.places.Total, s.places.PerKey, s.places.In = l.Connections, l.PerAddress, s.Places
		s.accounts.Total, s.accounts.PerKey, s.accounts.In = l.Connections, l.PerAccount, s.Accounts
	})
}

// Serve serves the connections of ln until ctx ends, and then waits for the sessions:
// idle ones end at once, commands have Limits.Grace. It closes ln. Its error is that of
// ln, nil if ctx ended.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.prepare()
	if err := serve.Connections(ctx, ln, s.Log, func(c net.Conn) { s.ServeConn(ctx, c) }); err != nil {
		return fmt.Errorf("sieved: %w", err)
	}
	return nil
}

// ServeConn serves one connection, and closes it. It keeps little on the stack, as all do
// that call each other to wait for the client. A panic ends the session only.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) {
	s.prepare()
	ses, own, end := s.admit(ctx, nc)
	if ses == nil {
		return
	}
	defer end()
	defer ses.survive()
	defer ses.leave()
	ses.run(own)
}

// admit lets a connection in, under TLS if it has to be; end lets go of what its session
// holds. If it gives nil, the connection is closed.
func (s *Server) admit(ctx context.Context, nc net.Conn) (ses *session, own context.Context, end func()) {
	c := &serve.Conn{Conn: nc}
	addr := serve.AddrOf(nc)
	place := limit.PlaceOf(addr, s.Limits.Trusted)
	if !s.places.Enter(place) {
		s.refuse(c, addr)
		c.Close()
		return nil, nil, nil
	}
	leave := func() {
		s.places.Leave(place)
		c.Close()
	}
	if s.ImplicitTLS {
		if err := c.Secure(ctx, s.TLS); err != nil {
			s.Log.Debug("TLS handshake", "remote", addr, "error", err)
			leave()
			return nil, nil, nil
		}
	}
	own, ended := serve.Session(ctx, s.limits.Grace, c.Stop, func() { c.Close() })
	return newSession(s, c, addr), own, func() {
		ended()
		leave()
	}
}

// refuse turns a connection away that is one too many.
func (s *Server) refuse(c *serve.Conn, addr netip.AddrPort) {
	if s.Refused != nil {
		s.Refused()
	}
	s.Log.Info("refused", "remote", addr, "text", "too many connections")
	if !s.ImplicitTLS {
		c.Write(managesieve.AppendBye(nil, managesieve.TryLater, "too many connections"))
	}
}

// survive ends a panic.
func (s *session) survive() {
	if p := recover(); p != nil {
		s.log.Error("panic", "value", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
}
