package message

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Parse finds the structure of the message of size bytes in r. It fails only
// if r does.
func Parse(r io.ReaderAt, size int64) (*Part, error) {
	if size <= windowSize {
		b := make([]byte, size)
		n, err := r.ReadAt(b, 0)
		if int64(n) == size {
			return ParseBytes(b), nil
		}
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("message: read: %w", err)
	}
	return parseWindows(r, size, windowSize)
}

// parseWindows reads step bytes at once, or more where a header is longer.
func parseWindows(r io.ReaderAt, size int64, step int) (*Part, error) {
	w := walker{cursor: cursor{source: source{r: r, size: size, step: step}}}
	root := w.walk()
	if w.err != nil {
		return nil, w.err
	}
	return root, nil
}

// ParseBytes is Parse for a message in memory. The tree keeps nothing of b.
func ParseBytes(b []byte) *Part {
	w := walker{cursor: cursor{source: source{buf: b, size: int64(len(b))}}}
	return w.walk()
}

// A walker goes once through a message, from its first byte to its last. It
// looks at each line once: whether it is a boundary is asked of all open
// multiparts together.
type walker struct {
	cursor
	open  []frame
	index map[string]int // the innermost frame per boundary; nil until it gets deep

	parts, fields, params, addresses int // how many there have been
	headerBytes                      int64
	compared                         int64 // frames whose boundary was compared: what tests hold to be linear
}

// A frame is a part whose end has not yet been seen.
type frame struct {
	part     *Part
	boundary string // of a multipart that has not been closed, else ""
	shadows  int    // the frame further out with the same boundary, or -1
	lines    int64  // LFs before the body
}

// deep is from where on boundaries are looked up in a map.
const deep = 8

func (w *walker) walk() *Part {
	root := &Part{}
	w.parts = 1
	w.descend(root, "text", "plain", &Envelope{})
	for {
		k, closing, end, lines := w.boundary()
		w.close(k+1, end, lines)
		if k < 0 {
			return root
		}
		if closing || w.pos >= w.size { // nothing follows: it was meant as the last
			w.deactivate(k)
			continue
		}
		f := &w.open[k]
		if w.parts >= MaxParts {
			w.rest(f.part)
			return root
		}
		w.parts++
		child := &Part{}
		f.part.Children = append(f.part.Children, child)
		typ, subtype := "text", "plain"
		if equalFold(f.part.Subtype, "digest") { // RFC 2046 §5.1.5
			typ, subtype = "message", "rfc822"
		}
		w.descend(child, typ, subtype, nil)
	}
}

// rest makes all that is left one part without a header.
func (w *walker) rest(in *Part) {
	p := &Part{Offset: w.pos}
	w.opaque(p)
	in.Children = append(in.Children, p)
	w.open = append(w.open, frame{part: p, shadows: -1, lines: w.lines})
	w.toEnd()
	w.close(0, w.pos, w.lines)
}

func (w *walker) opaque(p *Part) {
	p.Type, p.Subtype, p.Params = "application", "octet-stream", nil
}

// descend reads the header of p, and of the message in it, and of the message
// in that. env is nil for a body part.
func (w *walker) descend(p *Part, typ, subtype string, env *Envelope) {
	for {
		p.Type, p.Subtype, p.Envelope = typ, subtype, env
		bodyLines := w.header(p)
		w.open = append(w.open, frame{part: p, shadows: -1, lines: bodyLines})
		switch {
		case p.IsMultipart():
			if len(w.open) > MaxDepth {
				w.opaque(p)
			} else if plainEncoding(p.Encoding) {
				w.activate(strings.TrimRight(p.Param("boundary"), " \t"))
			}
			return
		case p.IsType("message") && (equalFold(p.Subtype, "rfc822") || equalFold(p.Subtype, "global")):
			if len(w.open) > MaxDepth || w.parts >= MaxParts || !plainEncoding(p.Encoding) || w.pos != p.BodyOffset() {
				w.opaque(p)
				return
			}
			w.parts++
			p.Message = &Part{}
			p, typ, subtype, env = p.Message, "text", "plain", &Envelope{}
		default:
			return
		}
	}
}

// plainEncoding tells whether bytes stand for themselves, as they must in what
// has parts. RFC 2045 §6.4
func plainEncoding(enc string) bool {
	return !equalFold(enc, "base64") && !equalFold(enc, "quoted-printable")
}

// activate makes b the boundary of the innermost frame. A multipart without a
// usable one has no parts.
func (w *walker) activate(b string) {
	k := len(w.open) - 1
	if b == "" || len(b) > MaxBoundary {
		return
	}
	w.open[k].boundary = b
	switch {
	case w.index != nil:
		w.indexFrame(k)
	case k >= deep:
		w.index = make(map[string]int)
		for i := range w.open {
			w.indexFrame(i)
		}
	}
}

func (w *walker) indexFrame(k int) {
	f := &w.open[k]
	if f.boundary == "" {
		return
	}
	f.shadows = -1
	if i, ok := w.index[f.boundary]; ok {
		f.shadows = i
	}
	w.index[f.boundary] = k
}

// deactivate ends the boundary of frame k, which is its innermost user.
func (w *walker) deactivate(k int) {
	f := &w.open[k]
	if f.boundary == "" {
		return
	}
	if w.index != nil {
		delete(w.index, f.boundary)
		if f.shadows >= 0 {
			w.index[f.boundary] = f.shadows
		}
	}
	f.boundary = ""
}

// close ends all frames from k on at end, before which there are so many LFs.
func (w *walker) close(k int, end, lines int64) {
	for i := len(w.open) - 1; i >= k; i-- {
		w.deactivate(i)
		f := &w.open[i]
		f.part.BodySize = max(0, end-f.part.BodyOffset())
		f.part.Lines = max(0, lines-f.lines)
	}
	w.open = w.open[:k]
}

// match gives the frame that the line belongs to as a boundary, else -1.
// Trailing white space is no part of it; all else must be the same.
// RFC 2046 §5.1.1
func (w *walker) match(line []byte) (k int, closing bool) {
	if len(line) < 2 || line[0] != '-' || line[1] != '-' || len(line) >= maxLook {
		return -1, false
	}
	line = bytes.TrimRight(line[2:], " \t\r\n")
	if k = w.find(line); k >= 0 {
		return k, false
	}
	if n := len(line) - 2; n > 0 && line[n] == '-' && line[n+1] == '-' {
		return w.find(line[:n]), true
	}
	return -1, false
}

func (w *walker) find(b []byte) int {
	if len(b) == 0 {
		return -1
	}
	w.compared++
	if w.index != nil {
		if k, ok := w.index[string(b)]; ok {
			return k
		}
		return -1
	}
	for k := len(w.open) - 1; k >= 0; k-- {
		w.compared++
		if w.open[k].boundary == string(b) {
			return k
		}
	}
	return -1
}

// boundary goes to the end of the next boundary line. end is where the bodies
// end that it ends, without the line break that belongs to it. At the end of
// the message k is -1.
func (w *walker) boundary() (k int, closing bool, end, lines int64) {
	active := false
	for i := range w.open {
		active = active || w.open[i].boundary != ""
	}
	if !active {
		w.toEnd()
		return -1, false, w.pos, w.lines
	}
	for w.dashes() {
		end, lines = w.pos, w.lines
		if k, closing = w.match(w.line()); k < 0 {
			continue
		}
		if n := w.breakBefore(end); n > 0 {
			end, lines = end-n, lines-1
		}
		return k, closing, end, lines
	}
	return -1, false, w.pos, w.lines
}

// breakBefore gives the length of the line break that ends at off, if it is
// part of the body of the innermost frame.
func (w *walker) breakBefore(off int64) int64 {
	begin := w.open[len(w.open)-1].part.BodyOffset()
	if off <= begin {
		return 0
	}
	from := max(begin, off-2)
	b := w.at(from, int(off-from))
	if n := int(off - from); len(b) >= n && n == 2 && b[0] == '\r' {
		return 2
	}
	return 1
}

// header reads the header at the cursor into p and gives the number of LFs
// before its body. A boundary ends a header that has no end.
func (w *walker) header(p *Part) (lines int64) {
	start := w.pos
	p.Offset = start
	for {
		end := w.pos
		lines = w.lines
		line := w.line()
		if len(line) == 0 || line[0] == '\n' || line[0] == '\r' && len(line) > 1 && line[1] == '\n' {
			p.HeaderSize = w.pos - start
			lines = w.lines
			break
		}
		if line[0] == '-' {
			if k, _ := w.match(line); k >= 0 {
				w.pos, w.lines = end, lines
				p.HeaderSize = end - start
				if b := w.at(max(start, end-2), 2); end-start >= 2 && len(b) >= 2 && b[0] == '\r' {
					p.HeaderSize -= 2
					lines--
				} else if end > start {
					p.HeaderSize--
					lines--
				}
				break
			}
		}
	}
	w.read(p, start)
	return lines
}

// read reads the fields of p's header within the budgets.
func (w *walker) read(p *Part, start int64) {
	size := min(p.HeaderSize, MaxHeaderBytes-w.headerBytes)
	whole := size == p.HeaderSize
	w.headerBytes += size
	h := w.at(start, int(size))
	if int64(len(h)) > size {
		h = h[:size]
	}
	f := fieldReader{walker: w, part: p}
	for off := 0; ; {
		fd, next := nextField(h, off)
		if next == off {
			break
		}
		if w.fields++; w.fields > MaxFields {
			whole = false
			break
		}
		f.field(fd)
		off = next
	}
	f.finish(whole)
}
