package smtp

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"posthaste/internal/base/mail"
)

// BufferSize is what a Reader reads at once, when there is much to read.
const BufferSize = 32 << 10

// maxFlood is how much of a line that is too long anyhow is read to find its
// end.
const maxFlood = 64 << 10

// Why a line could not be read. After ErrFlood the stream is of no more use.
var (
	ErrLineTooLong = mail.Refuse("5.5.6", "line too long", "")
	ErrFlood       = mail.Refuse("5.5.6", "line much too long", "")
	ErrBareLF      = mail.Refuse("5.5.2", "lines end in CRLF", "")
)

// Buffers lends buffers to Readers; they take one only while there is much to
// read, so that an idle session costs little. The zero Buffers is ready.
type Buffers struct{ pool sync.Pool }

func (p *Buffers) take() *[BufferSize]byte {
	if b, ok := p.pool.Get().(*[BufferSize]byte); ok {
		return b
	}
	return new([BufferSize]byte)
}

// A Reader reads what a peer sends: lines and messages. It belongs to one
// goroutine.
type Reader struct {
	src    io.Reader
	lender *Buffers
	large  *[BufferSize]byte // borrowed; nil while small will do
	buf    []byte            // small or *large
	lo, hi int               // buf[lo:hi] has come in and is yet to be read
	small  [512]byte
}

// NewReader makes a Reader of src.
func NewReader(src io.Reader, lender *Buffers) *Reader {
	r := &Reader{src: src, lender: lender}
	r.buf = r.small[:]
	return r
}

// Buffered tells how many bytes have come in and are yet to be read.
func (r *Reader) Buffered() int { return r.hi - r.lo }

// Reset forgets what has come in, and reads from src from now on.
func (r *Reader) Reset(src io.Reader) {
	r.lo, r.hi, r.src = 0, 0, src
	r.Release()
}

// Release gives the large buffer back, if nothing is in it.
func (r *Reader) Release() {
	if r.large == nil || r.lo < r.hi {
		return
	}
	r.lender.pool.Put(r.large)
	r.large, r.buf, r.lo, r.hi = nil, r.small[:], 0, 0
}

// window gives what has come in.
func (r *Reader) window() []byte { return r.buf[r.lo:r.hi] }

// advance takes n bytes off the window.
func (r *Reader) advance(n int) {
	if r.lo += n; r.lo == r.hi {
		r.lo, r.hi = 0, 0
	}
}

// grow borrows the large buffer.
func (r *Reader) grow() {
	if r.large != nil {
		return
	}
	r.large = r.lender.take()
	r.hi = copy(r.large[:], r.window())
	r.lo, r.buf = 0, r.large[:]
}

// fill reads more into the window, which must not be the whole large buffer.
func (r *Reader) fill() error {
	if r.hi == len(r.buf) {
		if r.lo > 0 {
			r.hi = copy(r.buf, r.window())
			r.lo = 0
		} else {
			r.grow()
		}
	}
	for range 100 {
		n, err := r.src.Read(r.buf[r.hi:])
		if r.hi += n; n > 0 {
			return nil // an error comes again
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// Wait returns when something is there to be read. Meanwhile it has no large buffer.
func (r *Reader) Wait() error {
	r.Release()
	if r.Buffered() > 0 {
		return nil
	}
	return r.fill()
}

// Line reads a line of at most limit bytes, and gives it without its CRLF
// until the next read. A line that ends in a bare LF is given with ErrBareLF.
// ErrLineTooLong has passed over the line. At the end of the stream the error
// is io.EOF, within a line io.ErrUnexpectedEOF.
func (r *Reader) Line(limit int) ([]byte, error) {
	seen := 0
	for {
		w := r.window()
		if i := bytes.IndexByte(w[seen:], '\n'); i >= 0 {
			line := w[:seen+i]
			r.advance(seen + i + 1)
			return trimLine(line, limit)
		}
		if seen = len(w); seen > limit+1 {
			return nil, r.skipLine()
		}
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) && seen > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

func trimLine(line []byte, limit int) ([]byte, error) {
	n := len(line)
	if n > 0 && line[n-1] == '\r' {
		if n-1 > limit {
			return nil, ErrLineTooLong
		}
		return line[:n-1], nil
	}
	if n > limit {
		return nil, ErrLineTooLong
	}
	return line, ErrBareLF
}

// skipLine passes over the rest of a line that is too long.
func (r *Reader) skipLine() error {
	for skipped := 0; skipped <= maxFlood; {
		w := r.window()
		if i := bytes.IndexByte(w, '\n'); i >= 0 {
			r.advance(i + 1)
			return ErrLineTooLong
		}
		skipped += len(w)
		r.advance(len(w))
		if err := r.fill(); err != nil {
			return err
		}
	}
	return ErrFlood
}
