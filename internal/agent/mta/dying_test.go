package mta_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A patient is a host that is ill until some time, and well after. While it is ill it
// answers as it should until the session comes to a point, and then as its illness is.
type patient struct {
	until time.Time
	point string // "greeting", a verb, "body" in the middle of a message, "dot" at its end
	does  func(c net.Conn, line string) (goOn bool)

	mu       sync.Mutex
	took     map[string]int // by Subject
	sessions []time.Time
}

// silent says nothing until the caller goes.
func silent(c net.Conn, _ string) bool {
	io.Copy(io.Discard, c)
	return false
}

// gone closes the connection.
func gone(net.Conn, string) bool { return false }

// says answers so.
func says(answer string) func(net.Conn, string) bool {
	return func(c net.Conn, _ string) bool {
		_, err := fmt.Fprint(c, answer+"\r\n")
		return err == nil
	}
}

func (p *patient) serve(c net.Conn) {
	p.mu.Lock()
	p.sessions = append(p.sessions, time.Now())
	p.mu.Unlock()
	point := p.point
	if !time.Now().Before(p.until) {
		point = "" // it stays well in this session
	}
	if point == "greeting" && !p.does(c, "") {
		return
	}
	fmt.Fprint(c, "220 mx.b.example\r\n")
	subject, in, lines := "", false, 0
	for s := bufio.NewScanner(c); s.Scan(); {
		line := s.Text()
		verb, _, _ := strings.Cut(line, " ")
		switch {
		case in && line == ".":
			verb, in = "dot", false
		case in:
			if v, ok := strings.CutPrefix(line, "Subject: "); ok {
				subject = v
			}
			if lines++; lines != 3 {
				continue
			}
			verb = "body"
		}
		if verb == point {
			if p.does(c, line) {
				continue
			}
			return
		}
		answer := "250 OK"
		switch verb {
		case "body":
			continue
		case "EHLO":
			if answer = "250-mx.b.example\r\n250 PIPELINING"; point == "STARTTLS" {
				answer = "250-mx.b.example\r\n250 STARTTLS"
			}
		case "DATA":
			in, lines, answer = true, 0, "354 go"
		case "dot":
			p.take(subject)
		}
		if _, err := fmt.Fprint(c, answer+"\r\n"); err != nil || verb == "QUIT" {
			return
		}
	}
}

func (p *patient) take(subject string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.took == nil {
		p.took = map[string]int{}
	}
	p.took[subject]++
}

// TestDying: a host may break off, fall silent or put off at any point of a session. Each
// message reaches it once when it is well again, no attempt goes on for ever, there are
// not many, and mail to others is not held up.
func TestDying(t *testing.T) {
	const messages = 30
	for name, c := range map[string]struct {
		point  string
		does   func(net.Conn, string) bool
		atOnce bool // it is sent in clear in the same attempt
	}{
		"no greeting":                  {point: "greeting", does: silent},
		"gone before the greeting":     {point: "greeting", does: gone},
		"EHLO is not answered":         {point: "EHLO", does: silent},
		"the handshake stalls":         {point: "STARTTLS", does: func(c net.Conn, _ string) bool { fmt.Fprint(c, "220 go\r\n"); return silent(c, "") }, atOnce: true},
		"gone in the handshake":        {point: "STARTTLS", does: func(c net.Conn, _ string) bool { fmt.Fprint(c, "220 go\r\n"); return false }, atOnce: true},
		"STARTTLS is not answered":     {point: "STARTTLS", does: silent, atOnce: true},
		"MAIL is not answered":         {point: "MAIL", does: silent},
		"421 to MAIL":                  {point: "MAIL", does: func(c net.Conn, _ string) bool { says("421 4.3.2 going down")(c, ""); return false }},
		"4xx to every MAIL":            {point: "MAIL", does: says("451 4.3.0 later")},
		"gone at RCPT":                 {point: "RCPT", does: gone},
		"4xx to every RCPT":            {point: "RCPT", does: says("450 4.2.0 later")},
		"DATA is not answered":         {point: "DATA", does: silent},
		"4xx to DATA":                  {point: "DATA", does: says("451 4.3.0 later")},
		"gone in the message":          {point: "body", does: gone},
		"silent in the message":        {point: "body", does: silent},
		"gone at the end of it":        {point: "dot", does: gone},
		"silent at the end of it":      {point: "dot", does: silent},
		"4xx at the end of it":         {point: "dot", does: says("452 4.3.1 disk full")},
		"a line that is not an answer": {point: "RCPT", does: says("hello?")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.remote.TLS = &tls.Config{InsecureSkipVerify: true}
				w.zone.MXHost("b.example", 1, "mx.b.example").Address("mx.b.example", "198.51.100.1")
				well := w.host("c.example", 1, "mx.c.example", "198.51.100.2")
				p := &patient{until: time.Now().Add(2 * time.Hour), point: c.point, does: c.does}
				w.net.Listen(netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), 25), p.serve)
				stop := w.run(w.agent)
				for i := range messages {
					w.postFrom("ada@a.example", strings.Replace(text, "hello", fmt.Sprint("message ", i), 1), "x@b.example")
				}
				time.Sleep(time.Second)
				for i := range 30 { // while the attempts hang
					w.post("y@c.example")
					time.Sleep(time.Minute)
					if got := well.count(); got != i+1 {
						t.Fatalf("after %d minutes another host has got %d messages", i+1, got)
					}
				}
				time.Sleep(20 * time.Minute)
				p.mu.Lock()
				if (len(p.took) == messages) != c.atOnce {
					t.Errorf("after 50 minutes it has %d messages", len(p.took))
				}
				p.mu.Unlock()
				time.Sleep(11 * time.Hour)
				stop()
				w.net.Wait()
				p.check(t, messages)
				same(t, "waiting", w.Waiting(), nil)
				same(t, "reports", w.reports(), nil)
			})
		})
	}
}

// TestTakenAndGone: a host that takes a message and breaks off before it says so gets it
// again, which SMTP cannot avoid (RFC 1047); but once, when it is well.
func TestTakenAndGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.zone.MXHost("b.example", 1, "mx.b.example").Address("mx.b.example", "198.51.100.1")
		p := &patient{until: time.Now().Add(10 * time.Second), point: "dot"}
		p.does = func(net.Conn, string) bool { p.take("lost"); return false }
		w.net.Listen(netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), 25), p.serve)
		stop := w.run(w.agent)
		w.postFrom("ada@a.example", strings.Replace(text, "hello", "message 0", 1), "x@b.example")
		time.Sleep(12 * time.Hour)
		stop()
		w.net.Wait()
		if p.took["lost"] != 1 {
			t.Errorf("it was taken and not answered for %d times", p.took["lost"])
		}
		p.check(t, 1)
		same(t, "waiting", w.Waiting(), nil)
		same(t, "reports", w.reports(), nil)
	})
}

// TestStorm: of a message to many, all are put off, then some, then none: each has it
// once.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.host("b.example", 1, "mx.b.example", "198.51.100.1")
		began := time.Now()
		h.rcpt = func(local string) error {
			switch since := time.Since(began); {
			case since < time.Hour, since < 3*time.Hour && len(local)%2 == 0:
				return later
			}
			return nil
		}
		var to, want []string
		for i := range 50 {
			to = append(to, strings.Repeat("x", i+1)+"@b.example")
			want = append(want, strings.Repeat("x", i+1))
		}
		w.run(w.agent)
		w.post(to...)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if got := h.count(); got != 25 {
			t.Errorf("after three hours %d have it", got)
		}
		time.Sleep(9 * time.Hour)
		synctest.Wait()
		var got []string
		for _, g := range h.got {
			local, _, _ := strings.Cut(g, ":")
			got = append(got, local)
		}
		slices.Sort(got)
		same(t, "who has it", got, want)
		if _, tries := h.heard(); tries > 50*12 {
			t.Errorf("%d times RCPT", tries)
		}
		if got := w.reports(); len(got) != 1 || strings.Count(got[0], " | delayed | ") != 25 {
			t.Errorf("of the 25 that waited, its sender hears %q", got)
		}
	})
}

// check tells of what has not come, or twice, and of too many sessions.
func (p *patient) check(t *testing.T, messages int) {
	t.Helper()
	for i := range messages {
		if n := p.took[fmt.Sprint("message ", i)]; n != 1 {
			t.Errorf("message %d came %d times", i, n)
		}
	}
	ill := 0
	for _, at := range p.sessions {
		if at.Before(p.until) {
			ill++
		}
	}
	if ill > 10*messages {
		t.Errorf("%d sessions in the two hours that it was ill", ill)
	}
}
