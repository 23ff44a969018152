package smtp

import (
	"errors"
	"io"
)

// A Chunk is a piece of a message: what follows in the session, or what is read From
// elsewhere. RFC 3030 §2, RFC 4468 §3
type Chunk struct {
	Size int64
	Last bool
	From io.Reader
}

// A ChunkReader reads the chunks that follow BDAT as one message: the same
// bytes that DATA would have brought. It wants lines that end in CRLF, and ends the
// last one if the client did not; unless the message is Binary, which it gives as it
// is. RFC 3030 §2, §3
type ChunkReader struct {
	r     *Reader
	raw   bool // the message is binary
	more  func() (Chunk, error)
	from  io.Reader // where the chunk is read from; nil: the session
	buf   []byte    // of what is read from there
	piece []byte    // the part of it that is yet to be given
	chunk int64     // what is left of the chunk
	last  bool
	left  int64 // what may yet come
	cr    bool  // the last byte was a CR, which has not been given yet
	ended bool  // what was given ends in CRLF
	sour  error // the message will be refused
	err   error // what all further reads give
	run   []byte
}

var crlf = []byte("\r\n")

// Chunks begins to read a message of at most limit bytes, by its first chunk. After a chunk that is not the last, more is
// called: it answers, and says what the next one is. Its error ends the message.
func (r *Reader) Chunks(first Chunk, limit int64, more func() (Chunk, error)) *ChunkReader {
	r.grow()
	return &ChunkReader{r: r, more: more, chunk: first.Size, last: first.Last, from: first.From, left: limit, ended: true}
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
		w := c.window()
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
			c.give(len(w))
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
		c.give(n)
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

// window gives what of the chunk, or more, is in memory.
func (c *ChunkReader) window() []byte {
	if c.from != nil {
		return c.piece
	}
	return c.r.window()
}

// give takes n bytes off the window that stay in memory until it is filled.
func (c *ChunkReader) give(n int) {
	c.chunk -= int64(n)
	if c.from != nil {
		c.piece = c.piece[n:]
	} else {
		c.r.lo += n
	}
}

func (c *ChunkReader) take(n int) {
	if c.from != nil {
		c.give(n)
		return
	}
	c.chunk -= int64(n)
	c.r.advance(n)
}

// fetch reads on in a chunk from elsewhere. That it ends before its time is our
// failure, and so is any other error.
func (c *ChunkReader) fetch() {
	if c.buf == nil {
		c.buf = make([]byte, BufferSize)
	}
	n, err := io.ReadAtLeast(c.from, c.buf[:min(int64(len(c.buf)), c.chunk)], 1)
	if c.piece = c.buf[:n]; errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		c.err = &fetchError{err}
	}
}

// A fetchError is that a chunk from elsewhere could not be read. The session goes on.
type fetchError struct{ err error }

func (e *fetchError) Error() string { return "reading a part of the message: " + e.err.Error() }
func (e *fetchError) Unwrap() error { return e.err }

// Fetching tells whether an error of a message is that a chunk from elsewhere could
// not be read.
func Fetching(err error) bool {
	_, ok := errors.AsType[*fetchError](err)
	return ok
}

func (c *ChunkReader) fill() {
	if c.from != nil {
		c.fetch()
		return
	}
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
		if c.from != nil {
			c.chunk = 0
		}
		if c.err = c.r.Skip(c.chunk); c.err == nil {
			c.chunk, c.err = 0, c.sour
		}
	case !c.last:
		var next Chunk
		next, c.err = c.more()
		c.chunk, c.last, c.from, c.piece = next.Size, next.Last, next.From, nil
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
