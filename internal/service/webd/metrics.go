package webd

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
)

// Metrics is the web server for who watches ours: it answers GET /metrics, and nothing
// else. It has no login. Handler and Log must be set.
type Metrics struct {
	Handler http.Handler
	TLS     *tls.Config // nil: in clear
	Log     *slog.Logger
}

// watchers is how many connections there may be at a time.
const watchers = 20

// Serve answers until ctx ends.
func (m *Metrics) Serve(ctx context.Context, ln net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("The metrics of this server are at /metrics.\n"))
	})
	return run(ctx, ln, mux, m.TLS, Limits{Connections: watchers, PerAddress: watchers}, m.Log)
}
