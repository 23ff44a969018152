package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"posthaste/internal/agent/former"
	"posthaste/internal/server"
	"posthaste/internal/server/config"
	"posthaste/internal/server/listen"
	"posthaste/internal/service/pop3d"
)

func (t *tool) serve() *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "Run the server", GroupID: "run", Args: cobra.NoArgs,
		Long: `Run the server until it is told to stop (SIGINT or SIGTERM): then it accepts
nothing new, lets what is under way come to its end, and leaves.

SIGHUP reads the configuration and the certificates anew, without closing a
port. A configuration that is wrong is reported, and the old one stays. Sessions
that are open go on as they are, until the fourth reload after they began; the new
configuration is for those that begin.

Without a configuration file the defaults apply: ports 25, 587, 465, 143, 993,
110 and 995, data in /var/lib/posthaste, and a certificate made by itself, which
is enough for other servers but not for people's mail programs.`,
		Example: "  posthaste serve --config /etc/posthaste/posthaste.toml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := t.read()
			if err != nil {
				return err
			}
			log := logger(c.Log)
			st, err := server.OpenStore(c, log)
			if err != nil {
				return err
			}
			d := &daemon{t: t, st: st, log: log, sockets: &listen.Sockets{}, drops: new(pop3d.Maildrops), passed: new(former.Passed)}
			err = d.run(cmd.Context(), c)
			if st.Failed() != nil {
				// What is stuck on the way to a failed disk must not keep us.
				time.AfterFunc(lastWait, func() { os.Exit(1) })
			}
			return errors.Join(err, st.Close())
		},
	}
}

// lastWait is how long a server whose disk has failed takes to close its store.
const lastWait = 10 * time.Second

// configuration is the command "config".
func (t *tool) configuration() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "The configuration file: an example, or a check", GroupID: "run"}
	c.AddCommand(
		&cobra.Command{
			Use: "example", Short: "Print a file with every setting and its default", Args: cobra.NoArgs,
			Example: "  posthaste config example > posthaste.toml",
			RunE: func(*cobra.Command, []string) error {
				stdout.Print(config.Example) // a file of which the end is missing is another configuration
				return nil
			},
		},
		&cobra.Command{
			Use: "check", Short: "Say what is wrong with the file, if anything", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				c, err := config.Read(t.config)
				if err == nil {
					err = c.Unread()
				}
				if err == nil {
					err = checkCertificates(c.TLS)
				}
				if err == nil {
					stdout.Println(t.config, "is as it should be.")
				}
				return err
			},
		})
	return c
}

func checkCertificates(pairs []config.KeyPair) error {
	cfg, err := listen.Certificates(pairs)
	if err != nil {
		return err
	}
	return listen.Expired(cfg, pairs)
}

// A daemon is a server over its reloads.
type daemon struct {
	t       *tool
	st      *server.Store
	log     *slog.Logger
	sockets *listen.Sockets
	drops   *pop3d.Maildrops
	passed  *former.Passed
	known   server.Visitors
	admin   swap
	leaving []*lived // the houses before, as long as they have sessions
	wg      sync.WaitGroup
}

// maxLeaving is how many houses go on for the sessions that they have. Each has caches of
// its own: of more, the oldest ends, and its sessions with it.
const maxLeaving = 3

// A lived house is one that runs, or whose sessions go on.
type lived struct {
	leave func() // it takes nothing new
	stop  func() // its sessions end
	done  chan struct{}
}

// run serves until ctx ends or a house fails.
func (d *daemon) run(ctx context.Context, c config.Config) error {
	defer d.sockets.Close()
	h, err := d.build(c)
	if err != nil {
		return err
	}
	defer d.guard(ctx)()
	if err := h.Recover(ctx); err != nil {
		return err
	}
	closeSocket, err := serveAdmin(filepath.Join(c.Data, socketName), &d.admin)
	if err != nil {
		return err
	}
	defer closeSocket()
	ports := addresses(c)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	ended := make(chan error, 2) // of the old house and the new one
	ctx, stop := context.WithCancel(ctx)
	now := d.start(ctx, h, ended)
	defer d.wg.Wait()
	defer stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			d.log.Info("stopping")
			return nil
		case <-hup:
			next, want, err := d.reload(c.Data)
			if err != nil {
				d.sockets.Keep(ports) // not those that it has opened before it failed
				d.log.Error("the new configuration is not used", "error", err)
				continue
			}
			ports = want
			// The new one first, and once it has the ports the old one goes:
			// no connection comes to a server that is leaving.
			old := now
			now = d.start(ctx, next, ended)
			d.letGo(old)
			d.sockets.Keep(ports)
			d.log.Info("reloaded")
		}
	}
}

// guard keeps room for when the disk is full, until it is told to stop.
func (d *daemon) guard(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { d.st.Guard(ctx) })
	wg.Go(func() { server.Tend(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// start runs a house, and waits until it has its ports. Only the failure of one that
// has not been left ends the daemon.
func (d *daemon) start(ctx context.Context, h *server.House, ended chan<- error) *lived {
	ctx, stop := context.WithCancel(ctx)
	leave, left := context.WithCancel(ctx)
	l := &lived{leave: left, stop: stop, done: make(chan struct{})}
	d.admin.set(h.Admin.Handler())
	ready := make(chan struct{})
	once := sync.OnceFunc(func() { close(ready) })
	d.wg.Go(func() {
		defer stop()
		defer close(l.done)
		err := h.RunUntil(ctx, leave, func() {
			d.log.Info("ready", "version", version)
			notify("READY=1")
			once()
		})
		once()
		if leave.Err() == nil {
			if err == nil {
				err = errors.New("the server stopped by itself")
			}
			ended <- err
		} else if err != nil {
			d.log.Error("while stopping", "error", err)
		}
	})
	<-ready
	return l
}

// letGo has a house take nothing new, and end once its sessions have.
func (d *daemon) letGo(l *lived) {
	l.leave()
	d.leaving = slices.DeleteFunc(append(d.leaving, l), func(l *lived) bool {
		select {
		case <-l.done:
			return true
		default:
			return false
		}
	})
	if len(d.leaving) > maxLeaving {
		d.leaving[0].stop()
		d.leaving = slices.Delete(d.leaving, 0, 1)
	}
}

func addresses(c config.Config) (list []string) {
	for _, l := range c.Listeners {
		list = append(list, l.Address)
	}
	return list
}

// reload builds a house of the new configuration, and opens its ports.
func (d *daemon) reload(data string) (h *server.House, ports []string, err error) {
	c, err := d.t.read()
	if err != nil {
		return nil, nil, err
	}
	if c.Data != data {
		return nil, nil, fmt.Errorf("the data folder cannot change while the server runs (%s)", data)
	}
	h, err = d.build(c)
	if err != nil {
		return nil, nil, err
	}
	ports = addresses(c)
	for _, p := range ports {
		if err := d.sockets.Open(p); err != nil { // so that it is known now
			return nil, nil, err
		}
	}
	return h, ports, nil
}

func (d *daemon) build(c config.Config) (*server.House, error) {
	pairs := c.TLS
	if len(pairs) == 0 {
		pair, ca, err := listen.SelfMade(filepath.Join(c.Data, "tls"), c.Hostname, "localhost")
		if err != nil {
			return nil, err
		}
		d.log.Warn("there is no [[tls]] certificate: one made by ourselves is used, which mail programs do not trust", "ca", ca)
		pairs = []config.KeyPair{pair}
	}
	cfg, err := listen.Certificates(pairs)
	if err != nil {
		return nil, err
	}
	if err := listen.Expired(cfg, pairs); err != nil {
		d.log.Error("mail programs will refuse the connection: put in a new certificate, and send SIGHUP", "error", err)
	}
	r, err := newResolver(c.DNS, d.log)
	if err != nil {
		return nil, err
	}
	return server.Build(c, server.Outside{
		DB: d.st.DB, Blobs: d.st.Blobs, Failed: d.st.Failed, Full: d.st.Full, Backup: d.st.Backups(version), DNS: r, Dial: new(net.Dialer).DialContext, DialFrom: listen.DialFrom, Log: d.log, TLS: cfg, Listen: d.sockets.Listen, Version: version, Metrics: d.st.Metrics(), Drops: d.drops, Passed: d.passed, Visitors: &d.known,
	})
}

// A swap is a handler that can be another.
type swap struct {
	mu sync.Mutex
	h  http.Handler
}

func (s *swap) set(h http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.h = h
}

// ServeHTTP is as of http.Handler.
func (s *swap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	h := s.h
	s.mu.Unlock()
	h.ServeHTTP(w, r)
}

// serveAdmin serves the admin API on a socket in the data folder. We hold the
// store's lock, so a socket that is there already is nobody's.
func serveAdmin(path string, h http.Handler) (stop func(), err error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin socket: %w", err), ln.Close())
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() { s.Serve(ln) })
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if s.Shutdown(ctx) != nil {
			s.Close()
		}
		wg.Wait()
	}, nil
}

// notify tells systemd how we are. sd_notify(3)
func notify(state string) {
	addr := os.Getenv("NOTIFY_SOCKET")
	if addr == "" {
		return
	}
	if c, err := net.Dial("unixgram", addr); err == nil {
		c.Write([]byte(state))
		c.Close()
	}
}
