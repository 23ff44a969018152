package smtp

import "bytes"

// What ended a scan.
type stop uint8

const (
	stopEnd   stop = iota // the bytes
	stopCR                // a CR at the very end: what follows it decides
	stopLine              // a line end, and a dot or nothing after it
	stopBreak             // a bare CR, a bare LF, or a NUL
)

// scan tells how much of w is clean: no NUL, every line end a CRLF, and no
// line but the one that w begins in begins with a dot; and what comes after.
//
// It goes from CR to CR with bytes.IndexByte, which looks at 32 bytes at once,
// so that a byte costs a fraction of what a loop over them would.
func scan(w []byte) (n int, why stop) {
	for n < len(w) {
		end := bytes.IndexByte(w[n:], '\r')
		seg := w[n:]
		if end >= 0 {
			seg = w[n : n+end]
		}
		if i := bytes.IndexByte(seg, '\n'); i >= 0 {
			seg = seg[:i]
			if j := bytes.IndexByte(seg, 0); j >= 0 {
				return n + j, stopBreak
			}
			return n + i, stopBreak
		}
		if i := bytes.IndexByte(seg, 0); i >= 0 {
			return n + i, stopBreak
		}
		n += len(seg)
		switch {
		case end < 0:
			return n, stopEnd
		case n+1 == len(w):
			return n, stopCR
		case w[n+1] != '\n':
			return n, stopBreak
		}
		if n += 2; n == len(w) || w[n] == '.' {
			return n, stopLine
		}
	}
	return n, stopEnd
}
