package mta_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
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

// TestMTASTS: what a domain's policy says of its hosts decides, where DANE has
// not; and all that came of it is told.
func TestMTASTS(t *testing.T) {
	type setup struct {
		mode   mtasts.Mode
		wrong  tlsrpt.Result // with the policy itself
		mx     string        // in the policy
		cert   string        // the name in the host's certificate; "" is no TLS
		other  bool          // of an authority that nobody trusts
		dane   string        // "right", "wrong", "useless"
		want   string
		secret bool
		proof  string
		told   string
	}
	for name, c := range map[string]setup{
		"verified":               {mode: mtasts.Enforce, mx: "mx.b.example", cert: "mx.b.example", want: sent, secret: true, proof: "verified by MTA-STS", told: "sts ok"},
		"by a pattern":           {mode: mtasts.Enforce, mx: "*.b.example", cert: "*.b.example", want: sent, secret: true, proof: "verified by MTA-STS", told: "sts ok"},
		"another name":           {mode: mtasts.Enforce, mx: "mx.b.example", cert: "mx.c.example", want: "4.7.5 sts-certificate", secret: true, told: "sts certificate-host-mismatch"},
		"another authority":      {mode: mtasts.Enforce, mx: "mx.b.example", cert: "mx.b.example", other: true, want: "4.7.5 sts-certificate", secret: true, told: "sts certificate-not-trusted"},
		"STARTTLS stripped":      {mode: mtasts.Enforce, mx: "mx.b.example", want: "4.7.5 sts-no-tls", secret: true, told: "sts starttls-not-supported"},
		"MX not in the policy":   {mode: mtasts.Enforce, mx: "mx.c.example", cert: "mx.b.example", want: "4.7.5 sts-not-named", secret: true, told: "sts validation-failure"},
		"testing":                {mode: mtasts.Testing, mx: "mx.b.example", cert: "mx.b.example", want: sent, secret: true, proof: "verified by MTA-STS", told: "sts ok"},
		"testing, another name":  {mode: mtasts.Testing, mx: "mx.b.example", cert: "mx.c.example", want: sent, secret: true, told: "sts certificate-host-mismatch"},
		"testing, MX not in it":  {mode: mtasts.Testing, mx: "mx.c.example", cert: "mx.b.example", want: sent, secret: true, told: "sts validation-failure"},
		"testing, no TLS":        {mode: mtasts.Testing, mx: "mx.b.example", want: sent, told: "sts starttls-not-supported"},
		"none":                   {mode: mtasts.None, cert: "mx.c.example", want: sent, secret: true, told: "no-policy-found ok"},
		"no policy":              {cert: "mx.c.example", want: sent, secret: true, told: "no-policy-found ok"},
		"no policy, no TLS":      {want: sent, told: "no-policy-found starttls-not-supported"},
		"a policy that is away":  {wrong: tlsrpt.STSFetch, cert: "mx.c.example", want: sent, secret: true, told: "sts sts-policy-fetch-error|no-policy-found ok"},
		"DANE is enough":         {mode: mtasts.Enforce, mx: "mx.c.example", cert: "mx.c.example", dane: "right", want: sent, secret: true, proof: "verified by DANE", told: "tlsa ok"},
		"DANE is not overruled":  {mode: mtasts.Enforce, mx: "mx.b.example", cert: "mx.b.example", dane: "wrong", want: "4.7.5 dane-mismatch", secret: true, told: "tlsa validation-failure"},
		"DANE of no use":         {mode: mtasts.Enforce, mx: "mx.b.example", cert: "mx.b.example", dane: "useless", want: sent, secret: true, proof: "verified by MTA-STS", told: "sts ok"},
		"DANE of no use, tested": {mode: mtasts.Testing, mx: "mx.b.example", dane: "useless", want: "4.7.5 dane-no-tls", secret: true, told: "tlsa starttls-not-supported"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
				cert, roots := network.Certificate(or(c.cert, "unused"))
				if c.cert != "" {
					h.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
				}
				if c.other {
					roots = x509.NewCertPool()
				}
				rec := dane.Record(leaf(t, cert))
				switch c.dane {
				case "wrong":
					rec.Data = make([]byte, 32)
				case "useless":
					rec.Usage = 0
				}
				if c.dane != "" {
					w.zone.Certificate(service, rec).Secure("b.example", "mx.b.example", service)
				}
				w.remote.TLS = &tls.Config{InsecureSkipVerify: true, RootCAs: roots}
				w.remote.STS = func(_ context.Context, d mail.Domain) (mtasts.Policy, tlsrpt.Result) {
					if d != "b.example" || c.mode == "" {
						return mtasts.Policy{}, c.wrong
					}
					return mtasts.Policy{Mode: c.mode, MX: []string{c.mx}, MaxAge: time.Hour}, ""
				}
				var mu sync.Mutex
				var told []string
				w.remote.Tell = func(s mta.Session) {
					mu.Lock()
					defer mu.Unlock()
					if s.Domain != "b.example" || s.Host != "" && (s.Host != "mx.b.example" || s.IP.String() != "198.51.100.1") || s.Result != "" && s.Reason == "" {
						t.Errorf("%+v", s)
					}
					told = append(told, fmt.Sprintf("%s %s", s.Kind, or(string(s.Result), "ok")))
				}
				var clear strings.Builder
				w.net.Opened = func(conn *network.Connection) { conn.Sent = func(b []byte) { clear.Write(b) } }
				id := w.post("x@b.example")
				stop := w.run(w.agent)
				time.Sleep(time.Second)
				stop()
				mu.Lock()
				if got := strings.Join(told, "|"); got != c.told {
					t.Errorf("told %q, want %q", got, c.told)
				}
				mu.Unlock()
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
				verified := slices.IndexFunc(events, func(e trace.Event) bool { return strings.HasSuffix(e.TLS, ", "+c.proof) })
				if story := strings.Join(trace.Story(events, time.UTC), "\n"); (c.proof != "") != strings.Contains(story, "verified") || c.proof != "" && verified < 0 {
					t.Error(story)
				}
				w.remote.Close()
				w.net.Wait()
			})
		})
	}
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// TestMTASTSNext: of several hosts only those that the policy names are used.
func TestMTASTSNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		evil, good := w.host("b.example", 1, "mx.evil.example", "198.51.100.1"), w.host("b.example", 20, "mx.b.example", "198.51.100.2")
		cert, roots := network.Certificate("mx.b.example")
		evil.TLS, good.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}, &tls.Config{Certificates: []tls.Certificate{cert}}
		w.remote.TLS = &tls.Config{InsecureSkipVerify: true, RootCAs: roots}
		w.remote.STS = func(context.Context, mail.Domain) (mtasts.Policy, tlsrpt.Result) {
			return mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"mx.b.example"}, MaxAge: time.Hour}, ""
		}
		if got, err := w.carry("b.example"); err != nil || !strings.Contains(got, "mx.b.example") {
			t.Error(got, err)
		}
		if conns, _ := evil.sessions(); conns != 0 {
			t.Error("the other host was spoken to")
		}
		w.zone.Fail("mx.b.example", dns.ErrTemporary)
		time.Sleep(2 * time.Minute)
		if got := what(w.carry("b.example")); got != "4.7.5 sts-not-named" {
			t.Error(got)
		}
		w.remote.Close()
		w.net.Wait()
	})
}
