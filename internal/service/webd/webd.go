// Package webd has two small web servers: one for what is looked up at a domain, by other
// mail servers its MTA-STS policy (RFC 8461 §3.3) and by mail programs its settings
// (package discovery), which has the pages for owners of accounts too; and one for metrics.
package webd

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"posthaste/internal/base/limit"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/serve"
	"posthaste/internal/proto/discovery"
	"posthaste/internal/proto/mtasts"
)

const (
	patience  = 10 * time.Second // for a request, and for its answer
	maxHeader = 8 << 10
	lastWait  = 2 * time.Second
)

// A Server answers with MTA-STS policies and settings. All fields must be set.
type Server struct {
	// Policy gives the policy of a domain as text; mail.ErrNotFound if it is none
	// of ours.
	Policy func(ctx context.Context, d mail.Domain) ([]byte, error)
	// Settings gives those of a domain; mail.ErrNotFound if it is none of ours.
	Settings func(ctx context.Context, d mail.Domain) (discovery.Settings, error)
	// Account answers below AccountPath, at all names but those where mail programs and
	// servers look something up; nil: there are no such pages.
	Account http.Handler
	TLS     *tls.Config
	Log     *slog.Logger
	Limits  Limits
}

// Limits are how many connections there may be at a time; more wait. All must be set.
type Limits struct {
	Connections int
	PerAddress  int            // from one address or IPv6 /64
	Trusted     []netip.Prefix // networks that PerAddress does not count, beside this machine
}

const (
	// AccountPath is where the pages for owners of accounts begin.
	AccountPath = "/account/"
	// passwordPath leads to where a password is changed. W3C, A Well-Known URL for
	// Changing Passwords
	passwordPath = "/.well-known/change-password"
	passwordPage = AccountPath + "security"
)

// Serve answers until ctx ends.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return run(ctx, ln, http.HandlerFunc(s.answer), s.TLS, s.Limits, s.Log)
}

// run answers with so many connections at a time, until ctx ends; cfg nil is in clear.
func run(ctx context.Context, ln net.Listener, answer http.Handler, cfg *tls.Config, limits Limits, log *slog.Logger) error {
	h := &http.Server{
		Handler: answer, ReadTimeout: patience, WriteTimeout: patience, IdleTimeout: patience, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	done := make(chan struct{})
	defer func() { <-done }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(done)
		<-ctx.Done()
		ln.Close() // at once: the next house may have another listener here
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
		defer cancel()
		if h.Shutdown(stop) != nil {
			h.Close()
		}
	}()
	places := &limit.AtOnce[limit.Place]{PerKey: limits.PerAddress, Total: limits.Connections}
	var in net.Listener = &bounded{Listener: ln, room: make(chan struct{}, limits.Connections), places: places, trusted: limits.Trusted}
	if cfg != nil {
		cfg = cfg.Clone()
		cfg.NextProtos = []string{"http/1.1"}
		in = tls.NewListener(in, cfg)
	}
	err := h.Serve(in)
	if errors.Is(err, http.ErrServerClosed) || ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	host = strings.ToLower(host)
	name, ok := strings.CutPrefix(host, "mta-sts.")
	if !ok {
		if s.Account == nil || !s.account(w, r, host) {
			s.settings(w, r, host)
		}
		return
	}
	d, err := mail.ParseDomain(name)
	if err != nil || r.URL.Path != mtasts.Path {
		http.NotFound(w, r)
		return
	}
	if !reading(w, r) {
		return
	}
	text, err := s.Policy(r.Context(), d)
	switch {
	case errors.Is(err, mail.ErrNotFound):
		http.NotFound(w, r)
		return
	case err != nil:
		s.Log.Error("our MTA-STS policy cannot be given", "domain", string(d), "error", err)
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	give(w, "text/plain; charset=utf-8", text)
}

// account answers with a page for owners, or the way to one; false if that is not asked
// for.
func (s *Server) account(w http.ResponseWriter, r *http.Request, host string) bool {
	if strings.HasPrefix(host, discovery.AutoconfigHost) || strings.HasPrefix(host, discovery.AutodiscoverHost) {
		return false
	}
	switch {
	case strings.HasPrefix(r.URL.Path, AccountPath):
		s.Account.ServeHTTP(w, r)
	case r.URL.Path == "/" || r.URL.Path+"/" == AccountPath:
		http.Redirect(w, r, AccountPath, http.StatusFound)
	case r.URL.Path == passwordPath:
		http.Redirect(w, r, passwordPage, http.StatusFound)
	default:
		return false
	}
	return true
}

// A bounded listener has so many connections at a time; more wait. Of one address it
// takes no more than its share.
type bounded struct {
	net.Listener
	room    chan struct{}
	places  *limit.AtOnce[limit.Place]
	trusted []netip.Prefix
}

// Accept is as of net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	b.room <- struct{}{} // deadlines end what is held, so there will be room
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			<-b.room
			return nil, err
		}
		place := limit.PlaceOf(serve.AddrOf(c), b.trusted)
		if b.places.Enter(place) {
			return &held{Conn: c, b: b, place: place}, nil
		}
		c.Close()
	}
}

// A held connection gives its room back when it is closed.
type held struct {
	net.Conn
	b     *bounded
	place limit.Place
	once  sync.Once
}

// Close is as of net.Conn.
func (h *held) Close() error {
	h.once.Do(func() {
		h.b.places.Leave(h.place)
		<-h.b.room
	})
	return h.Conn.Close()
}
