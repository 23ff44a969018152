// Package webd has two small web servers: one for what is looked up at a domain, by other
// mail servers its MTA-STS policy (RFC 8461 §3.3) and by mail programs its settings
// (package discovery), and one for metrics.
package webd

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"posthaste/internal/base/mail"
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
	TLS      *tls.Config
	Log      *slog.Logger
	// Connections is how many there may be at a time.
	Connections int
}

// Serve answers until ctx ends.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return serve(ctx, ln, http.HandlerFunc(s.answer), s.TLS, s.Connections, s.Log)
}

// serve answers with so many connections at a time, until ctx ends; cfg nil is in clear.
func serve(ctx context.Context, ln net.Listener, answer http.Handler, cfg *tls.Config, connections int, log *slog.Logger) error {
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
	var in net.Listener = &bounded{Listener: ln, room: make(chan struct{}, connections)}
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
		s.settings(w, r, host)
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

// A bounded listener has so many connections at a time; more wait.
type bounded struct {
	net.Listener
	room chan struct{}
}

// Accept is as of net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	b.room <- struct{}{} // deadlines end what is held, so there will be room
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.room
		return nil, err
	}
	return &held{Conn: c, b: b}, nil
}

// A held connection gives its room back when it is closed.
type held struct {
	net.Conn
	b    *bounded
	once sync.Once
}

// Close is as of net.Conn.
func (h *held) Close() error {
	h.once.Do(func() { <-h.b.room })
	return h.Conn.Close()
}
