package server_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/server"
	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
	"posthaste/test/house"
	"posthaste/test/network"
)

// A street is a house among hosts that take note of whom they hear of.
type street struct {
	t     *testing.T
	net   network.Network
	zone  zone.Zone
	house *house.House
	admin *admind.Client

	mu     sync.Mutex
	came   []string // "host: recipient"
	closed map[string]string
}

// newStreet has a.example as its own, and MX records for b.example and c.example.
func newStreet(t *testing.T, change func(*config.Config)) *street {
	s := &street{t: t, closed: map[string]string{}}
	db, blobs := memkv.New(), memblob.New()
	s.house = house.Over(t, "mx.a.example", db, blobs)
	s.house.Account(0, "ada@a.example")
	for name, ip := range map[string]string{"mx.b.example": "198.51.100.1", "mx.c.example": "198.51.100.2", "one.example": "203.0.113.1", "two.example": "203.0.113.2"} {
		s.zone.Address(mail.Domain(name), ip)
		s.net.Listen(netip.AddrPortFrom(netip.MustParseAddr(ip), 25), func(c net.Conn) { s.sink(c, name) })
	}
	s.zone.MXHost("b.example", 10, "mx.b.example").MXHost("c.example", 10, "mx.c.example")
	c := config.Default()
	c.Hostname, c.Listeners = "mx.a.example", nil
	c.Reports.Send = false
	change(&c)
	h, err := server.Build(c, server.Outside{DB: db, Blobs: blobs, DNS: &s.zone, Dial: s.net.From(netip.MustParseAddr("192.0.2.1")), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.admin = admind.InProcess(h.Admin.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := h.Run(ctx, func() {}); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		s.net.Wait()
	})
	return s
}

// sink takes mail, or says to every recipient what it is told to.
func (s *street) sink(c net.Conn, name string) {
	fmt.Fprintf(c, "220 %s\r\n", name)
	in, rcpts := false, []string{}
	for sc := bufio.NewScanner(c); sc.Scan(); {
		line, answer := sc.Text(), "250 OK"
		s.mu.Lock()
		no := s.closed[name]
		s.mu.Unlock()
		switch {
		case in && line != ".":
			continue
		case in:
			in = false
			s.mu.Lock()
			for _, r := range rcpts {
				s.came = append(s.came, name+": "+r)
			}
			s.mu.Unlock()
		case strings.HasPrefix(line, "MAIL"):
			rcpts = nil
		case strings.HasPrefix(line, "RCPT"):
			if answer = no; no == "" {
				_, to, _ := strings.Cut(line, "<")
				rcpts, answer = append(rcpts, strings.TrimSuffix(to, ">")), "250 OK"
			}
		case line == "DATA" && len(rcpts) == 0:
			answer = "503 nobody"
		case line == "DATA":
			in, answer = true, "354 go"
		}
		fmt.Fprint(c, answer+"\r\n")
	}
}

// close has a host say so to all recipients; "" opens it.
func (s *street) close(host, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed[host] = answer
}

func (s *street) post(from, to string) string {
	s.t.Helper()
	env := mail.Envelope{Trace: mail.NewTraceID(time.Now()), Recipients: []mail.Recipient{{Address: house.Address(to)}}}
	if from != "" {
		env.Sender = house.Address(from)
	}
	if err := s.house.Delivery.Deliver(s.t.Context(), mda.Mail{Envelope: env, Body: s.house.Stage("Subject: x\r\n\r\nx\r\n")}); err != nil {
		s.t.Fatal(err)
	}
	return env.Trace.String()
}

// after lets time pass, and compares what has come since the last call.
func (s *street) after(d time.Duration, want ...string) {
	s.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.came)
	if slices.Sort(want); !slices.Equal(s.came, want) {
		s.t.Errorf("came\n%q\nwant\n%q", s.came, want)
	}
	s.came = nil
}

// TestRoutes: of the routes that fit, the narrowest counts; what is ours stays here.
func TestRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, func(c *config.Config) {
			c.Routes = []config.Route{
				{Domain: "*", From: "a.example", Host: "one.example:25", Protocol: "smtp", TLS: "none"},
				{Domain: "*", After: 2, Host: "two.example:25", Protocol: "smtp", TLS: "none"},
				{Domain: "c.example", Host: "two.example:25", Protocol: "smtp", TLS: "none"},
			}
		})
		s.post("ada@a.example", "x@b.example")
		s.post("eve@d.example", "y@b.example")
		s.post("", "z@b.example")
		s.post("ada@a.example", "x@c.example")
		s.post("ada@a.example", "ada@a.example")
		s.after(time.Second, "one.example: x@b.example", "mx.b.example: y@b.example", "mx.b.example: z@b.example", "two.example: x@c.example")
		if got := s.house.Inbox("ada@a.example"); len(got) != 1 {
			t.Errorf("%d messages came to ada", len(got))
		}
		// After two failures another way is taken, but not by mail that has one of its own.
		s.close("mx.b.example", "451 not now")
		s.close("one.example", "451 not now")
		s.post("ada@a.example", "x@b.example")
		s.post("eve@d.example", "y@b.example")
		s.after(90*time.Second, []string{}...)
		s.after(10*time.Minute, "two.example: y@b.example")
		s.close("one.example", "")
		s.after(time.Hour, "one.example: x@b.example")
	})
}

// TestReroute: what waits goes by the way that it is told to, keeps it, and goes by
// the usual one when told so. A host that is down holds nobody up who goes elsewhere.
func TestReroute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, func(c *config.Config) {
			c.Routes = []config.Route{
				{Domain: "c.example", Host: "one.example:25", Protocol: "smtp", TLS: "none"},
				{Name: "spare", Host: "two.example:25", Protocol: "smtp", TLS: "none"},
			}
		})
		for _, h := range []string{"mx.b.example", "mx.c.example", "one.example", "two.example"} {
			s.close(h, "451 not now")
		}
		b, c := s.post("eve@d.example", "x@b.example"), s.post("eve@d.example", "x@c.example")
		s.after(time.Second)
		for _, name := range []string{"", "nothing", "two.example", "two.example:0", "two.example:smtp", "a b:25"} {
			if _, err := s.admin.Reroute(t.Context(), b, name); err == nil || !strings.Contains(err.Error(), "host:port") {
				t.Errorf("to %q: %v", name, err)
			}
		}
		if _, err := s.admin.RerouteGroup(t.Context(), admind.Group{}, "mx"); err == nil {
			t.Error("a group that is none was rerouted")
		}
		via := func(want ...string) {
			t.Helper()
			items, err := s.admin.Queue(t.Context())
			var got []string
			for _, it := range items {
				got = append(got, it.Recipients[0]+" "+it.Via)
			}
			slices.Sort(got)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
		}
		reroute := func(n int, err error) {
			t.Helper()
			if n != 1 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		reroute(s.admin.Reroute(t.Context(), b, "Two.example:25"))
		reroute(s.admin.RerouteGroup(t.Context(), admind.Group{To: "c.example"}, "mx"))
		s.after(time.Second)
		via("x@b.example two.example:25", "x@c.example mx")
		reroute(s.admin.Reroute(t.Context(), b, "default"))
		via("x@b.example ", "x@c.example mx")
		reroute(s.admin.Reroute(t.Context(), b, "spare"))
		s.close("mx.c.example", "")
		s.close("two.example", "")
		s.after(2*time.Hour, "two.example: x@b.example", "mx.c.example: x@c.example")
		for _, id := range []string{b, c} {
			story, err := s.admin.Story(t.Context(), id)
			if err != nil || !strings.Contains(strings.Join(story.Lines, "\n"), "An administrator has it go to") {
				t.Errorf("%v\n%s", err, strings.Join(story.Lines, "\n"))
			}
		}
		// What is held stays so; what goes to a host that is down says so, and goes
		// at once when it is told to go elsewhere.
		held := s.post("eve@d.example", "held@b.example")
		s.after(time.Second)
		if _, err := s.admin.ChangeQueued(t.Context(), "hold", held); err != nil {
			s.t.Fatal(err)
		}
		reroute(s.admin.Reroute(t.Context(), held, "spare"))
		s.after(time.Hour)
		down := s.post("eve@d.example", "down@b.example")
		reroute(s.admin.Reroute(t.Context(), down, "203.0.113.99:25"))
		s.after(time.Minute)
		reroute(s.admin.Reroute(t.Context(), down, "spare"))
		s.after(time.Second, "two.example: down@b.example")
		if _, err := s.admin.ChangeQueued(t.Context(), "release", held); err != nil {
			s.t.Fatal(err)
		}
		s.after(time.Second, "two.example: held@b.example")
	})
}
