package serve

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestCall: who hears is called from a read that waits, or from the next one, once for
// each time; who does not reads on, and finds out later. Then the connection is as before.
func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		c := &Conn{Conn: here, Patience: time.Minute}
		read := func(want error, wait time.Duration) {
			t.Helper()
			start := time.Now()
			if n, err := c.Read(make([]byte, 8)); !errors.Is(err, want) || time.Since(start) != wait {
				t.Errorf("%d bytes, %v, after %v", n, err, time.Since(start))
			}
		}
		c.Hears = true
		time.AfterFunc(time.Second, c.Call)
		read(ErrCalled, time.Second)
		c.Call()
		c.Call()
		read(ErrCalled, 0)
		read(ErrSilent, time.Minute)
		if c.Lost() {
			t.Error("who hears is lost in silence")
		}
		c.Hears = false
		time.AfterFunc(time.Second, c.Call)
		time.AfterFunc(2*time.Second, func() { there.Write([]byte("x")) })
		read(nil, 2*time.Second)
		c.Hears = true
		read(ErrCalled, 0)
		c.Hears = false
		c.Call()
		read(os.ErrDeadlineExceeded, time.Minute)
		if !c.Lost() {
			t.Error("not lost in silence")
		}
		c.Stop()
		c.Hears = true
		c.Call()
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, ErrCalled) {
			t.Error("called after it has been stopped")
		}
	})
}
