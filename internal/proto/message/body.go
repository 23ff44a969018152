package message

import (
	"bytes"
	"io"

	"golang.org/x/text/transform"
)

// NewBodyReader reads the body of p out of the message r without its transfer
// encoding. Broken encodings are read as far as they make sense; the only
// errors are those of r. An encoding that nobody knows is none. RFC 2045 §6
func NewBodyReader(p *Part, r io.ReaderAt) io.Reader {
	body := io.NewSectionReader(r, p.BodyOffset(), p.BodySize)
	switch {
	case p.IsMultipart() || p.Message != nil: // RFC 2045 §6.4
	case equalFold(p.Encoding, "base64"):
		return newDecodeReader(body, &base64Decoder{})
	case equalFold(p.Encoding, "quoted-printable"):
		return newDecodeReader(body, &qpDecoder{})
	}
	return body
}

// NewTextReader is NewBodyReader for text: it turns the charset into UTF-8.
// A charset that nobody knows, and none, is UTF-8, or else Windows-1252.
func NewTextReader(p *Part, r io.ReaderAt) io.Reader {
	charset, _ := DecodeParam(p.Params, "charset")
	return transform.NewReader(NewBodyReader(p, r), &forgiving{toUTF8(charset)})
}

// forgiving goes over bytes that a charset decoder gives up on.
type forgiving struct{ transform.Transformer }

func (f *forgiving) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	nDst, nSrc, err = f.Transformer.Transform(dst, src, atEOF)
	switch err {
	case nil, transform.ErrShortDst:
		return nDst, nSrc, err
	case transform.ErrShortSrc:
		if !atEOF {
			return nDst, nSrc, err
		}
	}
	if nSrc == len(src) {
		return nDst, nSrc, nil
	}
	if len(dst)-nDst < len("\uFFFD") {
		return nDst, nSrc, transform.ErrShortDst
	}
	f.Transformer.Reset()
	nDst += copy(dst[nDst:], "\uFFFD")
	return nDst, nSrc + 1, nil
}

// A decoder turns encoded bytes into others. decode may keep some for later;
// end gives what it kept.
type decoder interface {
	decode(dst, src []byte) []byte
	end(dst []byte) []byte
}

// A decodeReader reads through a decoder.
type decodeReader struct {
	r    io.Reader
	d    decoder
	in   []byte
	out  []byte // decoded
	next int    // of out, not yet read
	err  error
}

const decodeBuffer = 8 << 10

func newDecodeReader(r io.Reader, d decoder) *decodeReader {
	return &decodeReader{r: r, d: d}
}

func (d *decodeReader) Read(p []byte) (int, error) {
	for d.next == len(d.out) {
		if d.err != nil {
			return 0, d.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		if d.in == nil {
			d.in = make([]byte, decodeBuffer)
		}
		n, err := d.r.Read(d.in)
		d.out, d.next = d.d.decode(d.out[:0], d.in[:n]), 0
		if d.err = err; err == io.EOF {
			d.out = d.d.end(d.out)
		}
	}
	n := copy(p, d.out[d.next:])
	d.next += n
	return n, nil
}

// base64Decoder decodes base64 and goes over what is none. RFC 2045 §6.8
type base64Decoder struct{ base64Bits }

func (b *base64Decoder) decode(dst, src []byte) []byte {
	for i := 0; i < len(src); {
		for b.n == 0 && i+4 <= len(src) { // the usual case
			v0, v1, v2, v3 := base64Value[src[i]], base64Value[src[i+1]], base64Value[src[i+2]], base64Value[src[i+3]]
			if v0|v1|v2|v3 > 63 {
				break
			}
			dst = append(dst, v0<<2|v1>>4, v1<<4|v2>>2, v2<<6|v3)
			i += 4
		}
		if i < len(src) {
			dst = b.add(dst, src[i])
			i++
		}
	}
	return dst
}

// qpDecoder decodes quoted-printable. What is no escape stands for itself;
// white space at the end of a line goes. RFC 2045 §6.7
type qpDecoder struct {
	held []byte // white space that may end a line, or the front of an escape
}

// maxHeld is how much white space is kept to see whether a line ends after it.
const maxHeld = 1000

func (q *qpDecoder) decode(dst, src []byte) []byte {
	for i := 0; i < len(src); i++ {
		if len(q.held) == 0 {
			// Go to the next byte that needs a look.
			n := bytes.IndexAny(src[i:], "= \t\r")
			if n < 0 {
				return append(dst, src[i:]...)
			}
			dst = append(dst, src[i:i+n]...)
			i += n
		}
		dst = q.step(dst, src[i])
	}
	return dst
}

// step takes one byte.
func (q *qpDecoder) step(dst []byte, c byte) []byte {
	if len(q.held) == 0 {
		return q.hold(dst, c)
	}
	switch q.held[0] {
	case '=':
		return q.escape(dst, c)
	}
	// held is white space, and perhaps a CR.
	switch last := q.held[len(q.held)-1]; {
	case c == '\n':
		if last == '\r' {
			dst = append(dst, '\r')
		}
		q.held = q.held[:0]
		return append(dst, '\n')
	case last == '\r' || c != ' ' && c != '\t' && c != '\r' || len(q.held) >= maxHeld:
		dst = append(dst, q.held...)
		q.held = q.held[:0]
		return q.hold(dst, c)
	}
	q.held = append(q.held, c)
	return dst
}

func (q *qpDecoder) hold(dst []byte, c byte) []byte {
	switch c {
	case '=', ' ', '\t', '\r':
		q.held = append(q.held, c)
		return dst
	}
	return append(dst, c)
}

// escape takes a byte after "=". held is then "=", "=X", or "=" and white space.
func (q *qpDecoder) escape(dst []byte, c byte) []byte {
	n := len(q.held)
	blank := n == 1 || q.held[1] == ' ' || q.held[1] == '\t' || q.held[1] == '\r'
	switch {
	case blank && c == '\n': // a soft line break
		q.held = q.held[:0]
		return dst
	case n == 1 && isHex(c), blank && (c == ' ' || c == '\t' || c == '\r') && n < maxHeld:
		q.held = append(q.held, c)
		return dst
	case n == 2 && !blank && isHex(c):
		dst = append(dst, unhex(q.held[1])<<4|unhex(c))
		q.held = q.held[:0]
		return dst
	}
	dst = append(dst, q.held...)
	q.held = q.held[:0]
	return q.hold(dst, c)
}

func (q *qpDecoder) end(dst []byte) []byte {
	if len(q.held) > 0 && q.held[0] == '=' && (len(q.held) == 1 || !isHex(q.held[1])) {
		q.held = nil // a soft line break that the end cut off
	}
	if len(q.held) > 0 && (q.held[0] == ' ' || q.held[0] == '\t') {
		q.held = nil
	}
	return append(dst, q.held...)
}
