package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddrPort("192.0.2.2:25")
)

// echo answers each line with itself.
func echo(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		l, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if _, err := io.WriteString(c, l); err != nil {
			return
		}
	}
}

// TestConn runs the tests that every net.Conn passes.
func TestConn(t *testing.T) {
	nettest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
		var n Network
		got := make(chan net.Conn, 1)
		done := make(chan struct{})
		n.Listen(there, func(c net.Conn) { got <- c; <-done })
		a, err = n.From(here)(context.Background(), "tcp", there.String())
		if err != nil {
			return nil, nil, nil, err
		}
		b = <-got
		return a, b, func() { close(done); a.Close(); b.Close(); n.Wait() }, nil
	})
}

func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault Fault
		took  time.Duration
		err   error
		lines int // that come back
	}{
		"none":    {Fault{}, 0, nil, 3},
		"latency": {Fault{Latency: time.Second}, 8 * time.Second, nil, 3},
		"slow":    {Fault{PerByte: time.Second}, 36 * time.Second, nil, 3},
		"refused": {Fault{Refused: true, Latency: time.Second}, 2 * time.Second, syscall.ECONNREFUSED, 0},
		"dead":    {Fault{Dead: true}, time.Minute, nil, -1},
		"up":      {Fault{CutUp: 7}, 0, syscall.ECONNRESET, 1},
		"down":    {Fault{CutDown: 13}, 0, syscall.ECONNRESET, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent strings.Builder
				var seen *Connection
				n := &Network{Fault: func(netip.Addr, netip.AddrPort) Fault { return c.fault }}
				n.Opened = func(c *Connection) {
					seen = c
					c.Sent = func(b []byte) { sent.Write(b) }
				}
				n.Listen(there, echo)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				begin := time.Now()
				lines, err := talk(n, ctx)
				if took := time.Since(begin); took != c.took {
					t.Errorf("it took %v, want %v", took, c.took)
				}
				if c.lines < 0 {
					if err == nil || !strings.Contains(err.Error(), "timeout") {
						t.Errorf("%v", err)
					}
					return
				}
				if lines != c.lines || !errors.Is(err, c.err) || c.err == nil && err != nil {
					t.Errorf("%d lines, %v", lines, err)
				}
				if seen != nil && seen.Cut() != (c.err == syscall.ECONNRESET) {
					t.Errorf("cut: %v", seen.Cut())
				}
				n.Wait()
				if name == "none" && sent.String() != "line0\nline1\nline2\n" {
					t.Errorf("sent %q", sent.String())
				}
			})
		})
	}
}

// talk says three lines and hears them again.
func talk(n *Network, ctx context.Context) (lines int, err error) {
	c, err := n.From(here)(ctx, "tcp", there.String())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for i := range 3 {
		if _, err := fmt.Fprintf(c, "line%d\n", i); err != nil && !errors.Is(err, syscall.EPIPE) {
			return lines, err
		}
		if _, err := r.ReadString('\n'); err != nil {
			return lines, err
		}
		lines++
	}
	return lines, nil
}

// TestDeadline: in fake time, to the moment.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Network
		n.Listen(there, func(c net.Conn) { time.Sleep(time.Hour) })
		c, err := n.From(here)(t.Context(), "tcp", there.String())
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		c.SetDeadline(begin.Add(time.Minute))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		c.SetDeadline(begin.Add(2 * time.Minute))
		if n, err := c.Write(make([]byte, 1<<20)); n != window || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != 2*time.Minute {
			t.Errorf("%d bytes, %v after %v", n, err, time.Since(begin))
		}
		c.Close()
		n.Wait()
	})
}

// TestNobody: where nobody listens, or no longer, nobody answers.
func TestNobody(t *testing.T) {
	var n Network
	stop := n.Listen(there, echo)
	stop()
	if _, err := n.From(here)(t.Context(), "tcp", there.String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v", err)
	}
}
