package serve

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// A door is a listener whose callers and failures are made up.
type door struct {
	come   chan any // a net.Conn or an error
	closed chan struct{}
}

func (d *door) Accept() (net.Conn, error) {
	select {
	case x := <-d.come:
		if err, ok := x.(error); ok {
			return nil, err
		}
		return x.(net.Conn), nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}
func (d *door) Close() error   { close(d.closed); return nil }
func (d *door) Addr() net.Addr { return &net.TCPAddr{} }

func TestConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &door{make(chan any), make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		begun, leave, ended := make(chan bool, 2), make(chan struct{}), make(chan error)
		go func() {
			ended <- Connections(ctx, d, slog.New(slog.DiscardHandler), func(c net.Conn) { begun <- true; <-leave; c.Close() })
		}()
		a, _ := net.Pipe()
		d.come <- a
		<-begun
		// A failure that passes: the next one is asked for after a moment.
		for _, pause := range []time.Duration{5, 15, 35} {
			d.come <- errors.New("no descriptors")
			start := time.Now()
			b, _ := net.Pipe()
			if pause < 35 {
				d.come <- errors.New("again")
			} else {
				d.come <- b
				<-begun
			}
			if time.Since(start) < 5*time.Millisecond {
				t.Error("no pause after a failure")
			}
		}
		cancel()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Error("did not wait for the sessions:", err)
		default:
		}
		close(leave)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestConnectionsOfAClosedListener(t *testing.T) {
	d := &door{make(chan any), make(chan struct{})}
	close(d.closed)
	if err := Connections(t.Context(), d, slog.New(slog.DiscardHandler), nil); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestSession(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			told, killed := make(chan struct{}), false
			own, end := Session(ctx, time.Minute, func() { close(told) }, func() { killed = true })
			cancel()
			<-told
			if own.Err() != nil {
				t.Error("ended at once")
			}
			if stuck {
				<-own.Done()
			}
			end()
			synctest.Wait()
			time.Sleep(2 * time.Minute)
			if killed != stuck || own.Err() == nil {
				t.Error(killed, own.Err())
			}
		})
	}
}

func TestConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		c := &Conn{Conn: here, Patience: time.Minute}
		read := func() time.Duration {
			start := time.Now()
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
			return time.Since(start)
		}
		if d := read(); d != time.Minute || !c.Lost() {
			t.Error("patience of", d)
		}
		c.Until = time.Now().Add(time.Second)
		if d := read(); d != time.Second {
			t.Error("goes on until", d)
		}
		c.Until = time.Time{}
		time.AfterFunc(time.Second, c.Stop)
		if d := read(); d != time.Second || !c.Stopped() {
			t.Error("stopped after", d)
		}
		if d := read(); d != 0 {
			t.Error("reads on after Stop")
		}
		go there.Read(make([]byte, 1))
		if _, err := c.Write([]byte{1}); err != nil {
			t.Error("does not write after Stop:", err)
		}
		start := time.Now()
		if _, err := c.Write([]byte{1}); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != WriteTimeout {
			t.Error(err, time.Since(start))
		}
	})
}

func TestSessionThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, end := Session(ctx, time.Minute, func() { t.Error("interrupted") }, func() { t.Error("killed") })
		end()
		cancel()
		time.Sleep(2 * time.Minute)
	})
}
