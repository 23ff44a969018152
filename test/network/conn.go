package network

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// window is how many bytes are under way in one direction before a writer
// waits.
const window = 64 << 10

// A half is one direction of a connection.
type half struct {
	mu      sync.Mutex
	pieces  []piece
	size    int // of all pieces
	written int64
	cut     int64 // after so many bytes the connection is lost; -1 is never
	latency time.Duration
	perByte time.Duration
	free    time.Time // when what has been written will have passed a slow line
	closed  bool      // the writer is done: io.EOF behind the pieces
	deaf    bool      // the reader is gone
	lost    bool      // the connection is lost, behind the pieces
	readBy  time.Time
	writeBy time.Time
	changed chan struct{} // closed when any of this changes
	onCut   func()
	tap     func([]byte)
}

// A piece of the stream arrives at its time.
type piece struct {
	at time.Time
	b  []byte
}

func newHalf() *half { return &half{cut: -1, changed: make(chan struct{})} }

// change wakes all who wait. mu is held.
func (h *half) change() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// wait waits for a change or a time, the zero time is never. mu is held before
// and after.
func (h *half) wait(until time.Time) {
	changed := h.changed
	h.mu.Unlock()
	defer h.mu.Lock()
	if until.IsZero() {
		<-changed
		return
	}
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func passed(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.deaf:
			return 0, net.ErrClosed
		case passed(h.readBy):
			return 0, os.ErrDeadlineExceeded
		case len(h.pieces) > 0 && passed(h.pieces[0].at):
			n := copy(p, h.pieces[0].b)
			if h.pieces[0].b = h.pieces[0].b[n:]; len(h.pieces[0].b) == 0 {
				h.pieces = h.pieces[1:]
			}
			h.size -= n
			h.change()
			return n, nil
		case len(h.pieces) > 0:
			h.wait(earlier(h.pieces[0].at, h.readBy))
		case h.lost:
			return 0, syscall.ECONNRESET
		case h.closed:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		default:
			h.wait(h.readBy)
		}
	}
}

func (h *half) write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n < len(p) {
		switch {
		case h.closed:
			return n, net.ErrClosed
		case h.lost || h.deaf:
			return n, syscall.EPIPE
		case passed(h.writeBy):
			return n, os.ErrDeadlineExceeded
		case h.size >= window:
			h.wait(h.writeBy)
		default:
			more, ends := h.push(p[n:])
			n += more
			if ends && h.onCut != nil {
				h.mu.Unlock()
				h.onCut()
				h.mu.Lock()
			}
		}
	}
	return n, nil
}

// push puts a piece on its way, as much as there is room for, and tells whether
// the connection ends there.
func (h *half) push(p []byte) (n int, ends bool) {
	n = min(len(p), window-h.size)
	ends = h.cut >= 0 && h.written+int64(n) >= h.cut
	if ends {
		n = int(max(h.cut-h.written, 0))
	}
	now := time.Now()
	if h.free.Before(now) {
		h.free = now
	}
	h.free = h.free.Add(time.Duration(n) * h.perByte)
	if n > 0 {
		h.pieces = append(h.pieces, piece{at: h.free.Add(h.latency), b: append([]byte(nil), p[:n]...)})
		h.size += n
		h.written += int64(n)
		if h.tap != nil {
			h.tap(p[:n])
		}
	}
	if ends {
		h.cut = -1
		h.lost = true
	}
	h.change()
	return n, ends
}

func (h *half) set(fn func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fn()
	h.change()
}

// A Conn is one end of a connection.
type Conn struct {
	in, out       *half
	local, remote net.Addr
	once          sync.Once
	onClose       func()
}

var _ net.Conn = (*Conn)(nil)

// Read reads as net.Conn does.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

// Write writes as net.Conn does.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

func (c *Conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// Close ends the connection: the other side reads what is on its way, and then
// the end.
func (c *Conn) Close() error {
	c.once.Do(func() {
		c.in.set(func() { c.in.deaf = true })
		c.out.set(func() { c.out.closed = true })
		if c.onClose != nil {
			c.onClose()
		}
	})
	return nil
}

// lose breaks the connection in both directions.
func (c *Conn) lose() {
	c.in.set(func() { c.in.lost = true })
	c.out.set(func() { c.out.lost = true })
}

// LocalAddr is where this end is.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is where the other end is.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline ends reads at a time.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.set(func() { c.in.readBy = t })
	return nil
}

// SetWriteDeadline ends writes at a time.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.set(func() { c.out.writeBy = t })
	return nil
}
