package sts_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/sts"
	"posthaste/internal/base/dns"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/fetch"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/proto/mtasts"
	"posthaste/internal/proto/tlsrpt"
	"posthaste/internal/store/policies"
	"posthaste/test/network"
)

const (
	enforce = "version: STSv1\r\nmode: enforce\r\nmx: mx.b.example\r\nmax_age: 604800\r\n"
	asTest  = "version: STSv1\r\nmode: testing\r\nmx: mx.b.example\r\nmax_age: 604800\r\n"
)

// A site is a domain's policy, and who asks for it.
type site struct {
	*sts.Agent
	zone    zone.Zone
	text    atomic.Value // of the policy; an error is that it cannot be had
	fetched atomic.Int32
}

func newSite(t *testing.T) *site {
	s := &site{}
	s.text.Store(enforce)
	store := &policies.Store{DB: kv.Strict(memkv.New())}
	s.Agent = &sts.Agent{Store: store, DNS: &s.zone, Log: slog.New(slog.DiscardHandler), Fetch: func(_ context.Context, host string) ([]byte, error) {
		s.fetched.Add(1)
		time.Sleep(time.Second)
		if host != "mta-sts.b.example" {
			return nil, errors.New("no such host")
		}
		text := s.text.Load().(string)
		if text == "" {
			return nil, errors.New("the server does not answer")
		}
		return []byte(text), nil
	}}
	t.Cleanup(func() {
		if wrong, err := store.Check(context.Background()); len(wrong) > 0 || err != nil {
			t.Error(wrong, err)
		}
	})
	return s
}

func (s *site) says(id string) {
	s.zone.Forget("_mta-sts.b.example").Text("_mta-sts.b.example", "v=STSv1; id="+id)
}

// want asks for the policy.
func (s *site) want(t *testing.T, mode mtasts.Mode, wrong tlsrpt.Result, fetched int) {
	t.Helper()
	p, got := s.Policy(t.Context(), "b.example")
	if p.Mode != mode || got != wrong || int(s.fetched.Load()) != fetched {
		t.Errorf("%q, %q after %d times; want %q, %q, %d", p.Mode, got, s.fetched.Load(), mode, wrong, fetched)
	}
}

// TestPolicy: a policy is fetched when it is new, and holds while it can be held.
func TestPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.want(t, "", "", 0)
		s.says("1")
		s.want(t, mtasts.Enforce, "", 1)
		s.want(t, mtasts.Enforce, "", 1)
		again := &sts.Agent{Store: s.Store, DNS: s.DNS, Fetch: s.Fetch, Log: s.Log} // after a restart
		if p, _ := again.Policy(t.Context(), "b.example"); p.Mode != mtasts.Enforce || s.fetched.Load() != 1 {
			t.Error("forgotten")
		}
		// Somebody takes the record away, then answers to it, then the web server.
		s.zone.Fail("_mta-sts.b.example", dns.ErrTemporary)
		s.want(t, mtasts.Enforce, "", 1)
		s.zone.Fail("_mta-sts.b.example", nil)
		s.zone.Forget("_mta-sts.b.example")
		s.want(t, mtasts.Enforce, "", 1)
		s.text.Store("")
		s.says("2")
		s.want(t, mtasts.Enforce, tlsrpt.STSFetch, 2)
		s.want(t, mtasts.Enforce, tlsrpt.STSFetch, 2) // not asked again at once
		time.Sleep(6 * time.Minute)
		s.text.Store("version: STSv1\r\nmode: sometimes\r\n")
		s.want(t, mtasts.Enforce, tlsrpt.STSInvalid, 3)
		time.Sleep(6 * time.Minute)
		s.text.Store(asTest)
		s.want(t, mtasts.Testing, "", 4)
		s.want(t, mtasts.Testing, "", 4)
		s.text.Store("version: STSv1\r\nmode: none\r\nmax_age: 100\r\n")
		s.says("3")
		s.want(t, mtasts.None, "", 5)
		time.Sleep(101 * time.Second)
		s.text.Store("")
		s.want(t, "", tlsrpt.STSFetch, 6)
	})
}

// TestTogether: those who need a policy at a time wait for one that fetches it.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.says("1")
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if p, wrong := s.Policy(t.Context(), "b.example"); p.Mode != mtasts.Enforce || wrong != "" {
					t.Error(p, wrong)
				}
			})
		}
		wg.Wait()
		if n := s.fetched.Load(); n != 1 {
			t.Errorf("fetched %d times", n)
		}
	})
}

// TestRefresh: a policy that is used does not end while its domain has it, and
// one that nobody uses does.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		s.says("1")
		s.want(t, mtasts.Enforce, "", 1)
		time.Sleep(20 * 24 * time.Hour)
		if n := s.fetched.Load(); n < 18 || n > 21 {
			t.Errorf("fetched %d times in 20 days", n)
		}
		n := int(s.fetched.Load())
		s.want(t, mtasts.Enforce, "", n)
		time.Sleep(3 * time.Minute)
		s.text.Store("") // for less than it holds: nobody notices
		time.Sleep(6 * 24 * time.Hour)
		p, _ := s.Policy(t.Context(), "b.example")
		if p.Mode != mtasts.Enforce {
			t.Errorf("%q while the web server is away", p.Mode)
		}
		s.text.Store(enforce)
		time.Sleep(90 * 24 * time.Hour)
		if list, err := s.Store.After(t.Context(), "", 10); len(list) != 0 || err != nil {
			t.Error("kept for nobody:", list, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestWeb: only the policy itself counts, from a server that is the right one.
func TestWeb(t *testing.T) {
	text := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, enforce)
	}
	for name, c := range map[string]struct {
		host   string // in the certificate
		handle http.HandlerFunc
		want   string
	}{
		"as it should be": {"mta-sts.b.example", text, ""},
		"another name":    {"b.example", text, "certificate is valid for b.example"},
		"a redirect": {"mta-sts.b.example", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://mta-sts.b.example/other", http.StatusFound)
		}, "302"},
		"not there": {"mta-sts.b.example", http.NotFound, "404"},
		"a page":    {"mta-sts.b.example", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>"+enforce) }, "no text/plain"},
		"without end": {"mta-sts.b.example", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			for range 100 {
				fmt.Fprint(w, strings.Repeat("x", 1000))
			}
		}, "too long"},
		"never": {"mta-sts.b.example", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var net0 network.Network
				var z zone.Zone
				z.Address("mta-sts.b.example", "198.51.100.7")
				cert, roots := network.Certificate(c.host)
				mux := http.NewServeMux()
				mux.HandleFunc("GET mta-sts.b.example"+mtasts.Path, c.handle)
				ln := net0.Listener(netip.MustParseAddrPort("198.51.100.7:443"))
				srv := &http.Server{Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
				done := make(chan struct{})
				go func() { defer close(done); srv.ServeTLS(ln, "", "") }()
				var dial func(context.Context, string, string) (net.Conn, error) = net0.From(netip.MustParseAddr("192.0.2.1"))
				policy := sts.Policies((&fetch.Web{DNS: &z, Dial: dial, Roots: roots}).Client())
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				got, err := policy(ctx, "mta-sts.b.example")
				cancel()
				if c.want == "" && (err != nil || string(got) != enforce) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("%q, %v", got, err)
				}
				_, wrong := (&sts.Agent{Store: &policies.Store{DB: memkv.New()}, DNS: z.Text("_mta-sts.b.example", "v=STSv1; id=1"), Fetch: policy, Log: slog.New(slog.DiscardHandler)}).Policy(t.Context(), mail.Domain("b.example"))
				want := map[string]tlsrpt.Result{"": "", "certificate is valid for b.example": tlsrpt.STSWebPKI}[c.want]
				if c.want != "" && want == "" {
					want = tlsrpt.STSFetch
				}
				if wrong != want {
					t.Errorf("%q, want %q", wrong, want)
				}
				srv.Close()
				<-done
				net0.Wait()
			})
		})
	}
}
