// Package inflate reads DEFLATE (RFC 1951) from a peer that is still there: it
// gives what has been decoded before it waits for more. Readers made for files
// give bytes at the end of a block or of the stream, and so wait for ever for a
// client whose zlib only flushes what is needed (Z_PARTIAL_FLUSH), as mail
// programs do under COMPRESS=DEFLATE (RFC 4978).
//
// Memory is the window of 32 KB and some tables, whatever comes.
package inflate

import (
	"errors"
	"io"
)

// ErrCorrupt is a stream that is no DEFLATE.
var ErrCorrupt = errors.New("inflate: the stream is corrupt")

const (
	windowSize = 1 << 15
	maxBits    = 15
)

// errMore: the bytes at hand end within something.
var errMore = errors.New("inflate: more")

// A Reader gives what its source compressed. It must not be copied.
type Reader struct {
	src io.Reader
	in  []byte // read and not yet decoded
	buf [1024]byte
	err error

	bits  uint64 // the lowest come first
	nbits uint

	step   func(*Reader) error
	final  bool
	left   int // bytes of a stored block
	lit    *code
	dist   *code
	length int // to copy
	back   int // from how far

	window [windowSize]byte
	at     int // where the next byte goes
	have   int // bytes behind at that are of the stream
	out    []byte
}

// NewReader gives a Reader of src.
func NewReader(src io.Reader) *Reader {
	return &Reader{src: src, step: (*Reader).header}
}

// Read gives what is there, and waits only if there is nothing. When that gives an error
// but the end, it can be called again.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	r.out = p[:0:len(p)] // room looks at the capacity
	for len(r.out) < len(p) && r.err == nil {
		err := r.step(r)
		if err == errMore {
			if len(r.out) > 0 {
				break
			}
			if err = r.fill(); err != nil && err != io.ErrUnexpectedEOF {
				r.out = nil
				return 0, err
			}
		}
		r.err = err
	}
	n := len(r.out)
	r.out = nil
	if n > 0 {
		return n, nil
	}
	return 0, r.err
}

// fill waits for more bytes.
func (r *Reader) fill() error {
	rest := copy(r.buf[:], r.in)
	n, err := r.src.Read(r.buf[rest:])
	r.in = r.buf[:rest+n]
	switch {
	case n > 0:
		return nil
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

// room tells whether Read wants more.
func (r *Reader) room() bool { return len(r.out) < cap(r.out) }

// need makes n bits available, without taking them.
func (r *Reader) need(n uint) bool {
	for r.nbits < n {
		if len(r.in) == 0 {
			return false
		}
		r.bits |= uint64(r.in[0]) << r.nbits
		r.nbits += 8
		r.in = r.in[1:]
	}
	return true
}

// take takes n bits that are available.
func (r *Reader) take(n uint) uint32 {
	v := r.bits & (1<<n - 1)
	r.bits >>= n
	r.nbits -= n
	return uint32(v)
}

func (r *Reader) put(b byte) {
	r.window[r.at] = b
	r.at = (r.at + 1) % windowSize
	r.have = min(r.have+1, windowSize)
	r.out = append(r.out, b)
}

// header begins a block. RFC 1951 §3.2.3
func (r *Reader) header() error {
	if r.final {
		return io.EOF
	}
	if !r.need(3) {
		return errMore
	}
	r.final = r.take(1) == 1
	switch r.take(2) {
	case 0:
		r.take(r.nbits % 8) // to the border of a byte
		r.step = (*Reader).storedLength
	case 1:
		r.lit, r.dist = fixedLit, fixedDist
		r.step = (*Reader).symbol
	case 2:
		r.step = (*Reader).tables
	default:
		return ErrCorrupt
	}
	return nil
}

func (r *Reader) storedLength() error {
	// Four bytes are more than the bits hold beside what may be in them.
	if int(r.nbits/8)+len(r.in) < 4 {
		return errMore
	}
	r.need(16)
	n := r.take(16)
	r.need(16)
	if r.take(16) != n^0xffff {
		return ErrCorrupt
	}
	r.left = int(n)
	r.step = (*Reader).stored
	return nil
}

func (r *Reader) stored() error {
	for r.left > 0 && r.room() {
		if !r.need(8) {
			return errMore
		}
		r.put(byte(r.take(8)))
		r.left--
	}
	if r.left == 0 {
		r.step = (*Reader).header
	}
	return nil
}

// Lengths and distances: what a code adds to, and its extra bits. RFC 1951 §3.2.5
var (
	lengthBase = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthBits = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase   = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distBits   = [30]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// symbol decodes literals, up to a length or the end of the block.
func (r *Reader) symbol() error {
	for r.room() {
		s, n, err := r.lit.peek(r)
		if err != nil {
			return err
		}
		switch {
		case s < 256:
			r.take(n)
			r.put(byte(s))
		case s == 256:
			r.take(n)
			r.step = (*Reader).header
			return nil
		case s > 285:
			return ErrCorrupt
		default:
			extra := uint(lengthBits[s-257])
			if !r.need(n + extra) {
				return errMore
			}
			r.take(n)
			r.length = int(lengthBase[s-257]) + int(r.take(extra))
			r.step = (*Reader).distance
			return nil
		}
	}
	return nil
}

func (r *Reader) distance() error {
	s, n, err := r.dist.peek(r)
	if err != nil {
		return err
	}
	if s >= 30 {
		return ErrCorrupt
	}
	extra := uint(distBits[s])
	if !r.need(n + extra) {
		return errMore
	}
	r.take(n)
	r.back = int(distBase[s]) + int(r.take(extra))
	if r.back > r.have {
		return ErrCorrupt
	}
	r.step = (*Reader).copy
	return nil
}

func (r *Reader) copy() error {
	for r.length > 0 && r.room() {
		r.put(r.window[(r.at-r.back+windowSize)%windowSize])
		r.length--
	}
	if r.length == 0 {
		r.step = (*Reader).symbol
	}
	return nil
}
