package mta_test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestSlow: a host that greets after a minute, and one that answers a byte a second,
// get their mail; one whose answer never ends is left within the time of an attempt,
// and the message waits.
func TestSlow(t *testing.T) {
	for name, c := range map[string]struct {
		greet time.Duration
		each  time.Duration // byte
		end   bool
		takes bool
	}{
		"late greeting":   {greet: time.Minute, end: true, takes: true},
		"a byte a second": {each: time.Second, end: true, takes: true},
		"no end":          {each: 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.zone.MXHost("b.example", 1, "mx.b.example").Address("mx.b.example", "198.51.100.1")
				took := make(chan bool, 100)
				w.net.Listen(netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), 25), func(conn net.Conn) {
					say := func(text string) (err error) {
						for i := 0; i < len(text) && err == nil; i++ {
							time.Sleep(c.each)
							_, err = conn.Write([]byte{text[i]})
						}
						return err
					}
					time.Sleep(c.greet)
					say("220 slow\r\n")
					in := false
					for s := bufio.NewScanner(conn); s.Scan(); {
						line := s.Text()
						if in && line != "." {
							continue
						}
						answer := "250 OK\r\n"
						if in {
							took <- true
						}
						if in = strings.HasPrefix(line, "DATA"); in {
							answer = "354 go\r\n"
						}
						for !c.end && say("250-and so on\r\n") == nil {
						}
						if say(answer) != nil {
							return
						}
					}
				})
				stop := w.run(w.agent)
				w.post("x@b.example")
				time.Sleep(50 * time.Minute)
				if got := len(took); got > 1 || (got == 1) != c.takes {
					t.Errorf("it came %d times", got)
				}
				if waits := fmt.Sprint(w.Waiting()); (waits == "[]") != c.takes {
					t.Errorf("there waits %s", waits)
				}
				for _, it := range w.Items() {
					if !it.Claimed() && it.Attempts == 0 {
						t.Errorf("it was never given up: %+v", it.State)
					}
				}
				stop()
				w.net.Wait()
			})
		})
	}
}
