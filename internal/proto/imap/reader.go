package imap

import (
	"bytes"
	"errors"
	"io"
)

// ErrTooLong is returned when a client sends more than we are ready to skip:
// nothing that follows can be understood, so the session has to end.
var ErrTooLong = errors.New("imap: a line or literal without end")

// A reader takes lines and blocks of bytes from the client. An idle one holds no
// more than its small buffer; a large one comes when the client sends much at
// once, and goes when it falls silent.
type reader struct {
	src   io.Reader
	buf   []byte // small[:] or a large one
	r, w  int    // buf[r:w] has not been taken yet
	small [256]byte
}

const largeBuffer = 8 << 10

// buffered tells how many bytes have come that nobody has taken.
func (r *reader) buffered() int { return r.w - r.r }

// fill waits for more bytes; the buffer must be empty.
func (r *reader) fill() error {
	if r.w == len(r.buf) && r.w == len(r.small) {
		r.buf = make([]byte, largeBuffer)
	} else if r.buf == nil {
		r.buf = r.small[:]
	}
	r.r, r.w = 0, 0
	for range 100 {
		n, err := r.src.Read(r.buf)
		if n > 0 {
			r.w = n
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// release gives a large buffer back if nothing is in it.
func (r *reader) release() {
	if r.r == r.w {
		r.buf, r.r, r.w = nil, 0, 0
	}
}

// errLineRoom says that a line did not fit; what came of it has been taken.
var errLineRoom = errors.New("imap: line too long")

// line appends a line to dst, up to and without its LF. With more than room
// bytes it fails with errLineRoom in the middle of the line.
func (r *reader) line(dst []byte, room int) ([]byte, error) {
	for {
		if r.r == r.w {
			if err := r.fill(); err != nil {
				return dst, err
			}
		}
		chunk := r.buf[r.r:r.w]
		i := bytes.IndexByte(chunk, '\n')
		end := i >= 0
		if end {
			chunk = chunk[:i]
		}
		if len(chunk) > room {
			r.r += room
			return append(dst, chunk[:room]...), errLineRoom
		}
		room -= len(chunk)
		dst = append(dst, chunk...)
		r.r += len(chunk)
		if end {
			r.r++
			return dst, nil
		}
	}
}

// block fills p.
func (r *reader) block(p []byte) error {
	for len(p) > 0 {
		n, err := r.read(p)
		p = p[n:]
		if err != nil {
			return unexpected(err)
		}
	}
	return nil
}

// read reads as an io.Reader, past the buffer if it is empty and p is large.
func (r *reader) read(p []byte) (int, error) {
	if r.r == r.w {
		if len(p) >= largeBuffer {
			return r.src.Read(p)
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.r:r.w])
	r.r += n
	return n, nil
}

// skip throws n bytes away.
func (r *reader) skip(n int64) error {
	for n > 0 {
		if r.r == r.w {
			if err := r.fill(); err != nil {
				return unexpected(err)
			}
		}
		k := min(n, int64(r.w-r.r))
		r.r += int(k)
		n -= k
	}
	return nil
}

// skipLine throws the rest of a line away and gives its end, which is enough to
// see whether a literal follows. It reads limit bytes at most.
func (r *reader) skipLine(tail []byte, limit int64) ([]byte, int64, error) {
	for {
		if r.r == r.w {
			if err := r.fill(); err != nil {
				return tail, limit, unexpected(err)
			}
		}
		chunk := r.buf[r.r:r.w]
		i := bytes.IndexByte(chunk, '\n')
		if i >= 0 {
			chunk = chunk[:i]
		}
		if limit -= int64(len(chunk)) + 1; limit < 0 {
			return tail, limit, ErrTooLong
		}
		tail = append(tail, chunk[max(0, len(chunk)-maxMark):]...)
		tail = tail[max(0, len(tail)-maxMark):]
		r.r += len(chunk)
		if i >= 0 {
			r.r++
			return tail, limit, nil
		}
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A mark is the announcement of a literal at the end of a line.
// RFC 9051 §4.3, RFC 7888, RFC 3516 §4.1
type mark struct {
	at     int   // where in the line it begins; negative if there is none
	size   int64 // negative if the number is beyond 63 bits
	sync   bool  // {n}: the client waits for us
	binary bool  // ~{n}: NUL may be in it
}

// maxMark is the length of the longest mark worth looking at.
const maxMark = 40

// findMark looks for the announcement of a literal at the end of a line without
// its line end.
func findMark(line []byte) mark {
	m := mark{at: -1, sync: true}
	i := len(line) - 1
	if i < 2 || line[i] != '}' {
		return m
	}
	if i--; line[i] == '+' {
		m.sync = false
		i--
	}
	last := i
	for i >= 0 && last-i < maxMark && '0' <= line[i] && line[i] <= '9' {
		i--
	}
	if i < 0 || i == last || line[i] != '{' {
		return m
	}
	for _, c := range line[i+1 : last+1] {
		if m.size > (1<<63-1-9)/10 {
			m.size = -1
			break
		}
		m.size = m.size*10 + int64(c-'0')
	}
	if i > 0 && line[i-1] == '~' {
		m.binary = true
		i--
	}
	m.at = i
	return m
}
