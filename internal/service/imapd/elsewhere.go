package imapd

import (
	"bytes"
	"errors"
	"io"
	"time"

	"posthaste/internal/base/serve"
)

// errMidway ends a session that was passed on in the middle of an answer, where the
// client would take a word of ours for something else.
var errMidway = errors.New("imapd: ended in the middle of an answer")

// passOn has the account's former server answer until one of the three ends it.
func (s *session) passOn() error {
	s.conn.Patience, s.conn.Until = idleTimeout, time.Time{}
	out := &answers{w: s.conn, whole: true}
	err := serve.Pass(s.conn, out, s.dec.Take(), s.elsewhere)
	if !out.whole {
		s.log.Debug("ended", "error", err)
		return errMidway
	}
	if out.bye {
		return io.EOF // it has said so itself
	}
	return err
}

// answers passes on what a server says, and knows whether it has said all of the
// last answer.
type answers struct {
	w     io.Writer
	begin []byte // of the answer under way
	tail  []byte // of the line under way
	left  int64  // of a literal
	whole bool
	bye   bool // there was a BYE
}

const (
	bye = "* BYE"
	// longestMark is the length of the longest mark of a literal: no message is longer.
	longestMark = len("{1125899906842624+}\r")
)

// Write is as of io.Writer.
func (a *answers) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		a.whole = false
		if a.left > 0 {
			n := min(a.left, int64(len(rest)))
			a.left -= n
			rest = rest[n:]
			continue
		}
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			a.keep(rest)
			break
		}
		a.keep(rest[:i])
		rest = rest[i+1:]
		a.end()
	}
	return a.w.Write(p)
}

func (a *answers) keep(p []byte) {
	a.begin = append(a.begin, p[:min(len(p), len(bye)-len(a.begin))]...)
	a.tail = append(a.tail, p[max(0, len(p)-longestMark):]...)
	a.tail = append(a.tail[:0], a.tail[max(0, len(a.tail)-longestMark):]...)
}

// end is the end of a line, which may go on behind a literal.
func (a *answers) end() {
	n, ok := literalAtEnd(bytes.TrimSuffix(a.tail, []byte{'\r'}))
	a.left, a.whole, a.tail = n, !ok, a.tail[:0]
	if a.whole {
		a.bye = a.bye || bytes.EqualFold(a.begin, []byte(bye))
		a.begin = a.begin[:0]
	}
}

// literalAtEnd gives the length of the literal that a line ends with.
func literalAtEnd(line []byte) (n int64, ok bool) {
	mark, ok := bytes.CutSuffix(line, []byte{'}'})
	i := bytes.LastIndexByte(mark, '{')
	if !ok || i < 0 || i == len(mark)-1 {
		return 0, false
	}
	for _, c := range mark[i+1:] {
		if c < '0' || c > '9' || n > 1<<50 {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}
