package mta_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/remedy"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/dane"
	"posthaste/test/network"
)

// leaf gives the certificate that a server has.
func leaf(t testing.TB, c tls.Certificate) *x509.Certificate {
	t.Helper()
	x, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// what gives what a Carry came to: its status, and the words for it.
func what(got string, err error) string {
	if err == nil {
		return got
	}
	no, ok := errors.AsType[*mail.Refusal](err)
	if !ok {
		return fmt.Sprint(err)
	}
	r, _ := remedy.Of(remedy.Answer{Status: no.Status, Text: no.Text})
	return no.Status.String() + " " + r.Name
}

const (
	sent    = "2.0.0 from mx.b.example [198.51.100.1]"
	service = "_25._tcp.mx.b.example"
)

// TestDANE: what a domain says of its host's certificate decides, and nobody on
// the way can take it back.
func TestDANE(t *testing.T) {
	mismatch := dns.TLSA{Usage: 3, Selector: 1, Matching: 1, Data: make([]byte, sha256.Size)}
	for name, c := range map[string]struct {
		zone   func(w *world, right dns.TLSA)
		noTLS  bool
		want   string
		secret bool // nothing of the message was seen in clear
		proof  string
	}{
		"the right certificate": {func(w *world, right dns.TLSA) {
			w.zone.Certificate(service, right).Secure("b.example", "mx.b.example", service)
		}, false, sent, true, "verified by DANE"},
		"one of two": {func(w *world, right dns.TLSA) {
			w.zone.Certificate(service, mismatch).Certificate(service, right).Secure("b.example", "mx.b.example", service)
		}, false, sent, true, "verified by DANE"},
		"another certificate": {func(w *world, right dns.TLSA) {
			w.zone.Certificate(service, mismatch).Secure("b.example", "mx.b.example", service)
		}, false, "4.7.5 dane-mismatch", true, ""},
		"STARTTLS stripped": {func(w *world, right dns.TLSA) {
			w.zone.Certificate(service, right).Secure("b.example", "mx.b.example", service)
		}, true, "4.7.5 dane-no-tls", true, ""},
		"records of no use": {func(w *world, _ dns.TLSA) {
			w.zone.Certificate(service, dns.TLSA{Usage: 1, Selector: 1, Matching: 1, Data: make([]byte, 32)}).Secure("b.example", "mx.b.example", service)
		}, false, sent, true, ""},
		"records of no use, no TLS": {func(w *world, _ dns.TLSA) {
			w.zone.Certificate(service, dns.TLSA{Usage: 1, Selector: 1, Matching: 1, Data: make([]byte, 32)}).Secure("b.example", "mx.b.example", service)
		}, true, "4.7.5 dane-no-tls", true, ""},
		"records bogus": {func(w *world, _ dns.TLSA) {
			w.zone.Secure("b.example", "mx.b.example")
			w.zone.Fail(service, dns.ErrBogus)
		}, false, "4.7.5 dane-unknown", true, ""},
		"records not to be had": {func(w *world, _ dns.TLSA) {
			w.zone.Secure("b.example", "mx.b.example")
			w.zone.Fail(service, dns.ErrTemporary)
		}, false, "4.7.5 dane-unknown", true, ""},
		"records not signed": {func(w *world, _ dns.TLSA) {
			w.zone.Certificate(service, mismatch).Secure("b.example", "mx.b.example")
		}, true, sent, false, ""},
		"MX not signed": {func(w *world, _ dns.TLSA) {
			w.zone.Certificate(service, mismatch).Secure("mx.b.example", service)
		}, false, sent, true, ""},
		"addresses not signed, TLSA broken": {func(w *world, _ dns.TLSA) {
			w.zone.Secure("b.example")
			w.zone.Fail(service, dns.ErrTemporary)
		}, false, sent, true, ""},
		"no records": {func(w *world, _ dns.TLSA) { w.zone.Secure("b.example", "mx.b.example") }, true, sent, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
				cert, _ := network.Certificate("whatever")
				if !c.noTLS {
					h.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
				}
				c.zone(w, dane.Record(leaf(t, cert)))
				w.remote.TLS = &tls.Config{InsecureSkipVerify: true}
				var clear strings.Builder
				w.net.Opened = func(conn *network.Connection) { conn.Sent = func(b []byte) { clear.Write(b) } }
				id := w.post("x@b.example")
				stop := w.run(w.agent)
				time.Sleep(time.Second)
				stop()
				if got := what(w.carry("b.example")); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
				if secret := !strings.Contains(clear.String(), "MAIL FROM"); secret != c.secret {
					t.Errorf("in clear: %v\n%s", !secret, clear.String())
				}
				events, err := w.Journal.Events(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				story := strings.Join(trace.Story(events, time.UTC), "\n")
				if c.proof != "" && !strings.Contains(story, "over an encrypted connection (TLS 1.3) to a server that has proved to be the right one ("+strings.TrimPrefix(c.proof, "verified by ")+").") {
					t.Error(story)
				}
				if c.proof == "" && strings.Contains(story, "verified") || (c.want == sent) != strings.Contains(story, "took it") {
					t.Error(story)
				}
				w.remote.Close()
				w.net.Wait()
			})
		})
	}
}

// TestDANEAlias: of a host whose name is an alias the records stand under the
// name it leads to, or else under its own. RFC 7672 §2.2.2
func TestDANEAlias(t *testing.T) {
	for name, c := range map[string]struct {
		at     string
		secure []string
		want   string
	}{
		"expanded":             {"_25._tcp.real.c.example", []string{"b.example", "alias.b.example", "real.c.example", "_25._tcp.real.c.example"}, "verified by DANE"},
		"its own":              {"_25._tcp.alias.b.example", []string{"b.example", "alias.b.example", "real.c.example", "_25._tcp.alias.b.example"}, "verified by DANE"},
		"leads out of DNSSEC":  {"_25._tcp.alias.b.example", []string{"b.example", "alias.b.example", "_25._tcp.alias.b.example"}, "verified by DANE"},
		"records out of it":    {"_25._tcp.real.c.example", []string{"b.example", "alias.b.example", "_25._tcp.real.c.example"}, ""},
		"alias outside itself": {"_25._tcp.real.c.example", []string{"b.example", "real.c.example", "_25._tcp.real.c.example"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				h := w.host("unused.example", 10, "real.c.example", "198.51.100.1")
				w.zone.MXHost("b.example", 10, "alias.b.example").Alias("alias.b.example", "real.c.example")
				cert, _ := network.Certificate("whatever")
				var asked string
				h.TLS = &tls.Config{GetCertificate: func(i *tls.ClientHelloInfo) (*tls.Certificate, error) { asked = i.ServerName; return &cert, nil }}
				w.zone.Certificate(c.at, dane.Record(leaf(t, cert))).Secure(c.secure...)
				w.remote.TLS = &tls.Config{InsecureSkipVerify: true}
				id := w.post("x@b.example")
				stop := w.run(w.agent)
				time.Sleep(time.Second)
				stop()
				events, _ := w.Journal.Events(t.Context(), id)
				var last trace.Event
				for _, e := range events {
					if e.Kind != trace.Queued {
						last = e
					}
				}
				_, proof, _ := strings.Cut(last.TLS, ", ")
				if last.Kind != trace.Delivered || proof != c.want {
					t.Errorf("%v %q %q", last.Kind, last.TLS, last.Text)
				}
				if base := strings.TrimPrefix(c.at, "_25._tcp."); c.want != "" && asked != base {
					t.Errorf("asked for %q, not %q", asked, base)
				}
				w.net.Wait()
			})
		})
	}
}

// TestDANENext: a host that is not the right one is passed over, and a session
// that was opened before the domain had records is not used after.
func TestDANENext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		bad, good := w.host("b.example", 10, "mx1.b.example", "198.51.100.1"), w.host("b.example", 20, "mx2.b.example", "198.51.100.2")
		cert, _ := network.Certificate("whatever")
		other, _ := network.Certificate("whatever")
		bad.TLS, good.TLS = &tls.Config{Certificates: []tls.Certificate{other}}, &tls.Config{Certificates: []tls.Certificate{cert}}
		w.remote.TLS = &tls.Config{InsecureSkipVerify: true}
		first, err := w.carry("b.example")
		if err != nil || !strings.Contains(first, "mx1") {
			t.Fatal(first, err)
		}
		for _, h := range []string{"_25._tcp.mx1.b.example", "_25._tcp.mx2.b.example"} {
			w.zone.Certificate(h, dane.Record(leaf(t, cert))).Secure(h)
		}
		w.zone.Secure("b.example", "mx1.b.example", "mx2.b.example")
		for range 5 { // as long as what was known holds, the session may be used
			time.Sleep(15 * time.Second)
			if first, err = w.carry("b.example"); err != nil {
				t.Fatal(err)
			}
		}
		if !strings.Contains(first, "mx2") {
			t.Errorf("after the records were there for longer than the old answers hold: %s", first)
		}
		if bad.count() == 0 || good.count() == 0 || bad.count() > 4 {
			t.Errorf("%d and %d messages", bad.count(), good.count())
		}
		w.remote.Close()
		w.net.Wait()
	})
}
