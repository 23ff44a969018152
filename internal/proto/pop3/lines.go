package pop3

import (
	"bytes"
	"io"
)

// Lines writes a message as an answer of many lines: dots at the front of
// lines are doubled, and lines end with CRLF whatever they ended with. What
// has CRLF already keeps its length but for the dots. RFC 1939 §3
type Lines struct {
	w      io.Writer
	err    error
	mid    bool // not at the front of a line
	cr     bool // the last byte was a CR
	top    bool // only the header and left lines of the body
	body   bool // the header is over
	left   int
	filled bool // the line has something
}

// NewLines writes whole messages to w, which should be buffered.
func NewLines(w io.Writer) *Lines { return &Lines{w: w} }

// NewTop writes the header, the empty line, and n lines of the body. RFC 1939
// §7
func NewTop(w io.Writer, n int) *Lines { return &Lines{w: w, top: true, left: n} }

// Done tells that nothing more will be written: whatever comes is ignored.
func (l *Lines) Done() bool { return l.top && l.body && l.left <= 0 }

// Write takes a piece of the message, cut anywhere.
func (l *Lines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && l.err == nil && !l.Done() {
		if !l.mid && p[0] == '.' {
			l.write(dot)
		}
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			l.write(p)
			l.mid, l.cr = true, p[len(p)-1] == '\r'
			l.filled = l.filled || len(p) > 1 || !l.cr
			break
		}
		hasCR := i > 0 && p[i-1] == '\r' || i == 0 && l.cr
		l.filled = l.filled || i > 1 || i == 1 && !hasCR
		if hasCR {
			l.write(p[:i+1])
		} else {
			l.write(p[:i])
			l.write(crlf)
		}
		l.endLine()
		p = p[i+1:]
	}
	if l.err != nil {
		return 0, l.err
	}
	return n, nil
}

// endLine counts a line that has been written.
func (l *Lines) endLine() {
	switch {
	case l.body:
		l.left--
	case !l.filled:
		l.body = true
	}
	l.mid, l.cr, l.filled = false, false, false
}

// Close ends the answer. It does not close the writer.
func (l *Lines) Close() error {
	if l.mid {
		if l.cr {
			l.write(crlf[1:])
		} else {
			l.write(crlf)
		}
		l.mid = false
	}
	l.write(end)
	return l.err
}

func (l *Lines) write(p []byte) {
	if l.err == nil && len(p) > 0 {
		_, l.err = l.w.Write(p)
	}
}

var (
	dot  = []byte(".")
	crlf = []byte("\r\n")
	end  = []byte(".\r\n")
)
