package pop3

import (
	"bufio"
	"bytes"
	"io"
)

// maxFlood is how much of a line that is too long is read to find its end.
const maxFlood = 64 << 10

// A Reader reads lines from a client. It belongs to one goroutine.
type Reader struct {
	src *bufio.Reader
	big []byte // a line longer than what src holds
}

// NewReader makes a Reader of src.
func NewReader(src io.Reader) *Reader {
	return &Reader{src: bufio.NewReaderSize(src, 1024)}
}

// Buffered tells how many bytes have come in and are yet to be read. There must
// be none when TLS begins (NO STARTTLS, USENIX 2021).
func (r *Reader) Buffered() int { return r.src.Buffered() }

// Wait waits for the first byte of the next line. After an error that passes,
// such as a deadline, one may wait again.
func (r *Reader) Wait() error {
	_, err := r.src.Peek(1)
	return err
}

// Take gives what is buffered, and the reader forgets it: for who reads on in its
// place.
func (r *Reader) Take() []byte {
	b, _ := r.src.Peek(r.src.Buffered())
	b = bytes.Clone(b)
	r.src.Discard(len(b))
	return b
}

// Reset forgets what has come in, and reads from src from now on.
func (r *Reader) Reset(src io.Reader) { r.src.Reset(src) }

// Line reads a line and gives it without its CRLF or LF; it is good until the
// next. Of one that is longer than MaxAuth it gives ErrLineTooLong, and of one
// without an end ErrFlood.
func (r *Reader) Line() ([]byte, error) {
	line, err := r.src.ReadSlice('\n')
	if err == nil {
		return trim(line), nil
	}
	r.big = r.big[:0]
	for total := 0; ; {
		total += len(line)
		if len(r.big) <= MaxAuth+2 {
			r.big = append(r.big, line...)
		}
		switch {
		case err == nil && len(trim(r.big)) > MaxAuth:
			return nil, ErrLineTooLong
		case err == nil:
			return trim(r.big), nil
		case err != bufio.ErrBufferFull:
			return nil, err
		case total > maxFlood:
			return nil, ErrFlood
		}
		line, err = r.src.ReadSlice('\n')
	}
}

func trim(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}
