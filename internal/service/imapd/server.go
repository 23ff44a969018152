package imapd

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"posthaste/internal/base/limit"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/serve"
	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/mailbox"
)

// A Server serves sessions. Mail, Auth and Log must be set; no field may change
// while it serves.
type Server struct {
	Mail *mailbox.Store
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
	// People knows the owners of mailboxes that are shared; nil: none are.
	People People
	// TLS is for STARTTLS or from the beginning; nil: there is none.
	TLS         *tls.Config
	ImplicitTLS bool // TLS from the first byte; RFC 8314
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
	misused  misused
}

// Limits bound what one session, and all of them, may cost. A zero field
// stands for the default.
type Limits struct {
	Connections int            // at once; 20,000
	PerAddress  int            // at once from one address or IPv6 /64; 500
	Trusted     []netip.Prefix // networks that PerAddress does not count, beside this machine
	PerAccount  int            // at once of one account; 100
	Message     int64          // bytes of a message; 50 MiB
	Messages    int            // that one command may be about; none: as many as there are. RFC 9738
	Saved       int            // that one COPY or APPEND may save, if there is no limit for all commands
	Grace       time.Duration  // that commands have to end in when the server stops; 30 seconds
}

// saved is how many messages one COPY or APPEND may save; 0 is no limit.
func (l *Limits) saved() int { return cmp.Or(l.Messages, l.Saved) }

func (s *Server) prepare() {
	s.once.Do(func() {
		l := s.Limits
		l.Connections = cmp.Or(l.Connections, 20_000)
		l.PerAddress = cmp.Or(l.PerAddress, 500)
		l.PerAccount = cmp.Or(l.PerAccount, 100)
		l.Message = cmp.Or(l.Message, 50<<20)
		l.Grace = cmp.Or(l.Grace, 30*time.Second)
		s.limits = l
		s.places.Total, s.places.PerKey, s.places.In = l.Connections, l.PerAddress, s.Places
		s.accounts.Total, s.accounts.PerKey, s.accounts.In = l.Connections, l.PerAccount, s.Accounts
	})
}

// Serve serves the connections of ln until ctx ends, and then waits for the
// sessions: idle ones end at once, commands have Limits.Grace. It closes ln. Its
// error is that of ln, nil if ctx ended.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.prepare()
	if err := serve.Connections(ctx, ln, s.Log, func(c net.Conn) { s.ServeConn(ctx, c) }); err != nil {
		return fmt.Errorf("imapd: %w", err)
	}
	return nil
}

// ServeConn serves one connection, and closes it. The goroutine that calls it is the
// one that waits while the client is idle, so it stays shallow: see receive and apart.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) {
	s.prepare()
	if ses := s.receive(ctx, nc); ses != nil {
		ses.run()
	}
}

// receive is admit in a goroutine of its own: what that needs of stack, above all for a
// handshake, the session would keep for as long as it lasts.
func (s *Server) receive(ctx context.Context, nc net.Conn) *session {
	admitted := make(chan *session, 1)
	go func() { admitted <- s.admit(ctx, nc) }()
	return <-admitted
}

// admit lets a connection in, under TLS if it has to be. If it gives nil, the connection
// is closed.
func (s *Server) admit(ctx context.Context, nc net.Conn) *session {
	c := &serve.Conn{Conn: nc, Patience: commandTimeout}
	addr := serve.AddrOf(nc)
	place := limit.PlaceOf(addr, s.Limits.Trusted)
	if !s.places.Enter(place) {
		s.refuse(c, addr)
		nc.Close()
		return nil
	}
	leave := func() {
		s.places.Leave(place)
		nc.Close()
	}
	if s.ImplicitTLS {
		if err := c.Secure(ctx, s.TLS); err != nil {
			s.Log.Debug("TLS handshake", "remote", addr, "error", err)
			leave()
			return nil
		}
	}
	ses := newSession(s, c, addr)
	own, end := serve.Session(ctx, s.limits.Grace, c.Stop, func() { c.Close() })
	ses.bind(own, func() {
		end()
		ses.leave()
		leave()
	})
	return ses
}

// refuse turns a connection away that is one too many.
func (s *Server) refuse(c *serve.Conn, addr netip.AddrPort) {
	if s.Refused != nil {
		s.Refused()
	}
	s.Log.Info("refused", "remote", addr, "text", "too many connections")
	if !s.ImplicitTLS {
		imap.NewEncoder(c).Status("*", imap.BYE, imap.CodeLimit, "too many connections").Flush()
	}
}
