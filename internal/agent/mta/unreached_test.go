package mta_test

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"posthaste/internal/agent/mta"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/remedy"
)

// TestTLSFailed: the queue says of a host that must have TLS, and fails each
// handshake, that it does, and whose handshake it was; an address of its that nobody
// listens at is no news.
func TestTLSFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.zone.Address("mx.b.example", "198.51.100.1")
		w.zone.Address("mx.b.example", "198.51.100.2")
		w.bare("198.51.100.1", &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no key") }})
		w.remote.TLS = &tls.Config{}
		w.remote.Fixed = &mta.Host{Name: "mx.b.example", Port: "25", RequireTLS: true}
		_, err := w.carry("b.example")
		no, ok := errors.AsType[*mail.Refusal](err)
		if !ok || !strings.Contains(no.Text, "the last one: mx.b.example [198.51.100.1]: TLS: ") {
			t.Fatal(err)
		}
		if r, _ := remedy.Of(remedy.Answer{Status: no.Status, Text: no.Text}); r.Name != "tls-failed" {
			t.Errorf("%q means %q: %s", no.Text, r.Name, r.What)
		}
		w.net.Wait()
	})
}
