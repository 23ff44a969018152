package mta_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mta"
	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/dane"
	"posthaste/internal/proto/mtasts"
	"posthaste/internal/proto/tlsrpt"
	"posthaste/test/network"
)

// TestRequireTLS: such a message goes to hosts only that encrypt, are proven to be
// the right ones, and announce REQUIRETLS; never otherwise. RFC 8689 §4.2.1
func TestRequireTLS(t *testing.T) {
	signed := func(w *world, _ dns.TLSA) { w.zone.Secure("b.example", "mx.b.example") }
	sts := func(mode mtasts.Mode, mx string) func(w *world, _ dns.TLSA) {
		return func(w *world, _ dns.TLSA) {
			w.remote.STS = func(context.Context, mail.Domain) (mtasts.Policy, tlsrpt.Result) {
				return mtasts.Policy{Mode: mode, MX: []string{mx}, MaxAge: time.Hour}, ""
			}
		}
	}
	for name, c := range map[string]struct {
		world  func(w *world, right dns.TLSA)
		name   string // in the certificate
		server func(w *world, h *host)
		want   string // what became of it: kind, status, remedy
	}{
		"DANE": {func(w *world, right dns.TLSA) {
			w.zone.Certificate(service, right).Secure("b.example", "mx.b.example", service)
		}, "whatever", nil, "delivered 2.0.0 "},
		"MTA-STS":                {sts(mtasts.Enforce, "mx.b.example"), "mx.b.example", nil, "delivered 2.0.0 "},
		"MTA-STS, wrong name":    {sts(mtasts.Enforce, "mx.b.example"), "mx.c.example", nil, "deferred 4.7.5 sts-certificate"},
		"MTA-STS testing, wrong": {sts(mtasts.Testing, "mx.b.example"), "mx.c.example", nil, "failed 5.7.30 requiretls"},
		"signed MX":              {signed, "mx.b.example", nil, "delivered 2.0.0 "},
		"signed MX, wrong name":  {signed, "mx.c.example", nil, "failed 5.7.30 requiretls"},
		"MX not signed":          {func(*world, dns.TLSA) {}, "mx.b.example", nil, "failed 5.7.30 requiretls"},
		"does not encrypt":       {signed, "mx.b.example", func(_ *world, h *host) { h.TLS = nil }, "failed 5.7.30 requiretls"},
		"does not promise":       {signed, "mx.b.example", func(w *world, h *host) { w.bare("198.51.100.1", h.TLS) }, "failed 5.7.30 requiretls"},
		"another is unreachable": {func(w *world, _ dns.TLSA) {
			w.zone.MXHost("b.example", 20, "mx2.b.example").Address("mx2.b.example", "198.51.100.9").Secure("b.example")
		}, "mx.c.example", nil, "deferred 4.4.1 refused-connection"},
		"the host of a route": {func(w *world, _ dns.TLSA) {
			w.remote.Fixed = &mta.Host{Name: "mx.b.example", Port: "25", RequireTLS: true}
		}, "mx.b.example", nil, "delivered 2.0.0 "},
		"another at a route": {func(w *world, _ dns.TLSA) { w.remote.Fixed = &mta.Host{Name: "mx.b.example", Port: "25"} }, "mx.c.example", nil, "failed 5.7.30 requiretls"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
				cert, pool := network.Certificate(c.name)
				h.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
				w.remote.TLS = &tls.Config{InsecureSkipVerify: true, RootCAs: pool}
				c.world(w, dane.Record(leaf(t, cert)))
				if c.server != nil {
					c.server(w, h)
				}
				var clear strings.Builder
				w.net.Opened = func(conn *network.Connection) { conn.Sent = func(b []byte) { clear.Write(b) } }
				id := w.postAs("ada@a.example", text, func(e *mail.Envelope) { e.RequireTLS, e.Return = true, mail.ReturnFull }, "x@b.example")
				w.run(w.agent)
				time.Sleep(time.Second)
				synctest.Wait()
				events, err := w.Journal.Events(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				got := ""
				for _, e := range events {
					if e.Kind == trace.Delivered || e.Kind == trace.Deferred || e.Kind == trace.Failed {
						r, _ := e.Remedy()
						got = fmt.Sprintf("%v %v %s", e.Kind, e.Status, r.Name)
					}
				}
				if got != c.want {
					t.Errorf("%s, want %s\n%s", got, c.want, strings.Join(trace.Story(events, time.UTC), "\n"))
				}
				if strings.Contains(clear.String(), "x@b.example") {
					t.Errorf("in clear: %s", clear.String())
				}
				if strings.HasPrefix(c.want, "delivered") {
					if asked, _ := h.heard(); len(asked) != 2 || !strings.Contains(asked[0], "REQUIRETLS") {
						t.Errorf("asked %q", asked)
					}
				} else if h.count() > 0 {
					t.Error("it was sent")
				}
				if strings.HasPrefix(c.want, "failed") {
					reports := w.Inbox("ada@a.example")
					if len(reports) != 1 || strings.Contains(reports[0], "message/rfc822") || strings.Contains(reports[0], "Hello.") {
						t.Errorf("reports: %q", reports)
					}
				}
			})
		})
	}
}

// TestRequireTLSReport: a report on such a message asks for the same, and is not
// lost where that cannot be had. RFC 8689 §5
func TestRequireTLSReport(t *testing.T) {
	for _, secure := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			h := w.host("c.example", 10, "mx.c.example", "198.51.100.3")
			w.host("b.example", 10, "mx.b.example", "198.51.100.1").rcpt = func(string) error { return mail.Refuse("5.1.1", "nobody", "") }
			cert, pool := network.Certificate("mx.c.example")
			if secure {
				h.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
			}
			w.remote.TLS = &tls.Config{InsecureSkipVerify: true, RootCAs: pool}
			w.zone.Secure("c.example", "mx.c.example")
			w.postAs("eve@c.example", text, func(e *mail.Envelope) { e.RequireTLS = true }, "x@b.example")
			w.run(w.agent)
			time.Sleep(time.Second)
			synctest.Wait()
			if asked, _ := h.heard(); h.count() != 1 || strings.Contains(asked[0], "REQUIRETLS") != secure {
				t.Errorf("secure %v: %d came, asked %q", secure, h.count(), asked)
			}
		})
	}
}

// TestTLSRequiredNo: who says that it does not matter has his mail go on whatever is
// wrong with DANE or MTA-STS, which is told nevertheless; nobody else's mail goes
// over such a session. RFC 8689 §4.2.2
func TestTLSRequiredNo(t *testing.T) {
	mismatch := dns.TLSA{Usage: 3, Selector: 1, Matching: 1, Data: make([]byte, 32)}
	for name, c := range map[string]struct {
		zone func(w *world)
		tls  bool
		told tlsrpt.Result
	}{
		"another certificate": {func(w *world) {
			w.zone.Certificate(service, mismatch).Secure("b.example", "mx.b.example", service)
		}, true, tlsrpt.Validation},
		"no TLS": {func(w *world) {
			w.zone.Certificate(service, mismatch).Secure("b.example", "mx.b.example", service)
		}, false, tlsrpt.NoSTARTTLS},
		"records bogus": {func(w *world) {
			w.zone.Secure("b.example", "mx.b.example")
			w.zone.Fail(service, dns.ErrBogus)
		}, true, tlsrpt.DNSSECInvalid},
		"not named": {func(w *world) {
			w.remote.STS = func(context.Context, mail.Domain) (mtasts.Policy, tlsrpt.Result) {
				return mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"mx.c.example"}, MaxAge: time.Hour}, ""
			}
		}, true, tlsrpt.Validation},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
				if cert, _ := network.Certificate("mx.b.example"); c.tls {
					h.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
				}
				c.zone(w)
				w.remote.TLS = &tls.Config{InsecureSkipVerify: true}
				var mu sync.Mutex
				var told []tlsrpt.Result
				w.remote.Tell = func(s mta.Session) {
					mu.Lock()
					defer mu.Unlock()
					told = append(told, s.Result)
				}
				w.run(w.agent)
				w.postFrom("ada@a.example", "TLS-Required: No\r\n"+text, "x@b.example")
				time.Sleep(time.Second)
				synctest.Wait()
				if h.count() != 1 {
					t.Errorf("%d came: %q", h.count(), w.Waiting())
				}
				mu.Lock()
				if len(told) != 1 || told[0] != c.told {
					t.Errorf("told %q", told)
				}
				mu.Unlock()
				w.post("x@b.example")
				w.postAs("ada@a.example", "TLS-Required: No\r\n"+text, func(e *mail.Envelope) { e.RequireTLS = true }, "y@b.example")
				time.Sleep(time.Second)
				synctest.Wait()
				if h.count() != 1 {
					t.Errorf("others went, too: %d", h.count())
				}
			})
		})
	}
}
