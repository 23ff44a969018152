package server

import (
	"testing"
	"time"

	"posthaste/internal/agent/auth"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/store/directory"
)

// TestLevel: how the connection was protected, of the words that an event has for it.
func TestLevel(t *testing.T) {
	for want, e := range map[string]trace.Event{
		"unreached": {},
		"none":      {Remote: "mx.b.example [192.0.2.1]"},
		"encrypted": {Remote: "mx.b.example [192.0.2.1]", TLS: "TLS 1.3 TLS_AES_128_GCM_SHA256"},
		"verified":  {Remote: "mx.b.example [192.0.2.1]", TLS: "TLS 1.3 TLS_AES_128_GCM_SHA256, verified by DANE"},
	} {
		if got := level(e); got != want {
			t.Errorf("%+v is %s, want %s", e, got, want)
		}
	}
}

// BenchmarkMessage is all that is counted of a message that comes in and is delivered:
// what it costs to be watched.
func BenchmarkMessage(b *testing.B) {
	m := NewMetrics()
	port := m.meter("smtp")
	e := trace.Event{Trace: mail.NewTraceID(time.Now()), Time: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		port.Opened()
		for range 8 { // more than a session of one message reads and writes
			port.In(100)
			port.Out(100)
		}
		for _, k := range [...]trace.Kind{trace.Received, trace.Judged, trace.Stored} {
			e.Kind = k
			m.heard(e)
		}
		m.landed(time.Millisecond)
		port.Closed()
	}
}

// BenchmarkLogin is what is counted when somebody logs in.
func BenchmarkLogin(b *testing.B) {
	m := NewMetrics()
	for b.Loop() {
		m.tried(directory.IMAP, auth.Accepted)
	}
}
