package smtp

import (
	"errors"
	"io"
)

// A ChunkReader reads the chunks that follow BDAT as one message: the same
// bytes that DATA would have brought. It wants lines that end in CRLF, and ends the
// last one if the client did not; unless the message is Binary, which it gives as it
// is. RFC 3030 §2, §3
type ChunkReader struct {
	r     *Reader
	raw   bool // the message is binary
	more  func() (size int64, last bool, err error)
	chunk int64 // what is left of the chunk
	last  bool
	left  int64 // what may yet come
	cr    bool  // the last byte was a CR, which has not been given yet
	ended bool  // what was given ends in CRLF
	sour  error // the message will be refused
	err   error // what all further reads give
	run   []byte
}

var crlf = []byte("\r\n")

// Chunks begins to read a message of at most limit bytes. Its first chunk is
// that of the BDAT command c. After a chunk that is not the last, more is
// called: it answers, and says what the next one is. Its error ends the message.
func (r *Reader) Chunks(c Command, limit int64, more func() (size int64, last bool, err error)) *ChunkReader {
	r.grow()
	return &ChunkReader{r: r, more: more, chunk: c.Size, last: c.Last, left: limit, ended: true}
}

// Binary has the message given as it is, and gives c. It is called before Read.
func (c *ChunkReader) Binary() *ChunkReader {
	c.raw = true
	return c
}

// Last tells whether the chunk that was read was the last one.
func (c *ChunkReader) Last() bool { return c.last }

// Err tells how the message ended: nil if it came whole and clean,
// io.ErrNoProgress if it has not been read to its end yet.
func (c *ChunkReader) Err() error {
	switch {
	case c.err == nil:
		return io.ErrNoProgress
	case errors.Is(c.err, io.EOF):
		return nil
	}
	return c.err
}

// Read gives the message.
func (c *ChunkReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(c.run) == 0 {
		run, err := c.next()
		if err != nil {
			return 0, err
		}
		c.run = run
	}
	n := copy(p, c.run)
	c.run = c.run[n:]
	return n, nil
}

// next gives the next bytes of the message until the next call.
func (c *ChunkReader) next() ([]byte, error) {
	for c.err == nil {
		if c.chunk == 0 || c.sour != nil {
			if run := c.endChunk(); run != nil {
				return run, nil
			}
			continue
		}
		w := c.r.window()
		if len(w) == 0 {
			c.fill()
			continue
		}
		w = w[:min(int64(len(w)), c.chunk)]
		if c.raw {
			if c.left -= int64(len(w)); c.left < 0 {
				c.sour = ErrTooLong
				continue
			}
			c.chunk -= int64(len(w))
			c.r.lo += len(w)
			return w, nil
		}
		if c.cr {
			if c.cr = false; w[0] != '\n' {
				c.sour = ErrBroken
				continue
			}
			c.take(1)
			c.ended = true
			if c.left -= 2; c.left < 0 {
				c.sour = ErrTooLong
				continue
			}
			return crlf, nil
		}
		if run := c.clean(w); run != nil {
			return run, nil
		}
	}
	return nil, c.err
}

// clean takes the clean bytes off the front of w.
func (c *ChunkReader) clean(w []byte) []byte {
	n, why := scan(w)
	if c.left -= int64(n); c.left < 0 {
		c.sour = ErrTooLong
		return nil
	}
	if n > 0 {
		c.ended = why == stopLine
		c.chunk -= int64(n)
		c.r.lo += n
		return w[:n]
	}
	if why == stopCR {
		c.cr = true
		c.take(1)
	} else {
		c.sour = ErrBroken
	}
	return nil
}

func (c *ChunkReader) take(n int) {
	c.chunk -= int64(n)
	c.r.advance(n)
}

func (c *ChunkReader) fill() {
	c.r.lo, c.r.hi = 0, 0
	if err := c.r.fill(); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		c.err = err
	}
}

// endChunk ends the chunk, and if it is the last, the message: it may give a
// CRLF to end it with. Of a message that is refused it passes over the rest of
// the chunk.
func (c *ChunkReader) endChunk() []byte {
	switch {
	case c.sour != nil:
		if c.err = c.r.Skip(c.chunk); c.err == nil {
			c.chunk, c.err = 0, c.sour
		}
	case !c.last:
		c.chunk, c.last, c.err = c.more()
		c.r.grow() // more may have given the buffer back
	case c.cr:
		c.sour = ErrBroken
	case !c.ended:
		c.ended = true
		return crlf
	default:
		c.err = io.EOF
	}
	return nil
}

// Drain reads the rest of the chunk and forgets it, without asking for more
// chunks; it gives what Err gives then. Reads after it give the same.
func (c *ChunkReader) Drain() error {
	if c.err == nil {
		if c.sour == nil {
			c.sour = io.ErrNoProgress
		}
		c.endChunk()
	}
	return c.Err()
}

// Skip passes over n bytes. A stream that ends before is io.ErrUnexpectedEOF.
func (r *Reader) Skip(n int64) error {
	for n > 0 {
		if r.lo == r.hi {
			r.lo, r.hi = 0, 0
			if err := r.fill(); err != nil {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
		}
		k := min(n, int64(r.Buffered()))
		r.advance(int(k))
		n -= k
	}
	return nil
}
