package mbox

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"time"
)

// A Header is what stands before a message and in the fields about it.
type Header struct {
	Sender string // "" is "MAILER-DAEMON", as ever
	Date   time.Time
	Flags  []string // as IMAP writes them, with keywords
}

// A Writer writes a file in mboxrd.
type Writer struct {
	out *bufio.Writer
}

// NewWriter writes to w. Flush must come last.
func NewWriter(w io.Writer) *Writer { return &Writer{bufio.NewWriterSize(w, 64<<10)} }

// Flush writes what is left.
func (w *Writer) Flush() error { return w.out.Flush() }

// Message appends a message: its lines end in LF, as is the use, and fields with
// the flags stand at the end of its header.
func (w *Writer) Message(h Header, r io.Reader) error {
	sender := strings.Map(func(c rune) rune {
		if c <= ' ' || c == 0x7f {
			return '-'
		}
		return c
	}, h.Sender)
	if sender == "" {
		sender = "MAILER-DAEMON"
	}
	w.out.WriteString("From " + sender + " " + h.Date.UTC().Format("Mon Jan _2 15:04:05 2006") + "\n")
	in := bufio.NewReaderSize(r, maxLine)
	start, header, cr := true, true, false
	for {
		part, err := in.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull && err != io.EOF {
			return err
		}
		if len(part) == 0 {
			break
		}
		if cr && part[0] != '\n' { // a CR at the end of the part before it was none of a line end
			w.out.WriteByte('\r')
		}
		cr = false
		text, ended := bytes.CutSuffix(part, []byte("\n"))
		if ended {
			text = bytes.TrimSuffix(text, []byte("\r"))
		} else if text[len(text)-1] == '\r' {
			text, cr = text[:len(text)-1], true
		}
		if start && header && ended && len(text) == 0 {
			w.fields(h.Flags)
			header = false
		}
		if start && bytes.HasPrefix(bytes.TrimLeft(text, ">"), []byte("From ")) {
			w.out.WriteByte('>')
		}
		w.out.Write(text)
		if ended {
			w.out.WriteByte('\n')
		}
		start = ended
	}
	if cr {
		w.out.WriteByte('\r')
	}
	if !start {
		w.out.WriteByte('\n')
	}
	if header {
		w.fields(h.Flags)
	}
	return w.out.WriteByte('\n')
}

// letters are those of Status and X-Status.
var letters = [...]struct {
	flag   string
	letter byte
}{{`\Answered`, 'A'}, {`\Flagged`, 'F'}, {`\Deleted`, 'D'}, {`\Draft`, 'T'}}

func (w *Writer) fields(flags []string) {
	status, more, words := "O", "", ""
	for _, f := range flags {
		if strings.EqualFold(f, `\Seen`) {
			status = "RO"
		}
		for _, l := range letters {
			if strings.EqualFold(f, l.flag) {
				more += string(rune(l.letter))
			}
		}
		if f != "" && f[0] != '\\' && !strings.ContainsAny(f, " \t\r\n") {
			words += " " + f
		}
	}
	w.out.WriteString("Status: " + status + "\n")
	if more != "" {
		w.out.WriteString("X-Status: " + more + "\n")
	}
	if words != "" {
		w.out.WriteString("X-Keywords:" + words + "\n")
	}
}
