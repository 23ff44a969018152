package imap

import (
	"bytes"
	"errors"
	"io"
	"time"
)

// Append is APPEND. Its message is read from the session as it comes; the
// Decoder holds none of it. RFC 9051 §6.3.12, RFC 3502, RFC 6855 §4
type Append struct {
	Mailbox string
	Message AppendMessage
}

// AppendMessage is one message of an APPEND.
type AppendMessage struct {
	Flags []string
	Date  time.Time // zero if the client gave none
	Body  *Literal
	// Catenate tells that the message comes in pieces, for Decoder.Part; there
	// is no Body. RFC 4469
	Catenate bool
}

// A Literal is bytes that the client sends, or wants to. They are asked for at
// the first Read; who never reads has refused them.
type Literal struct {
	Size   int64
	Binary bool // may have NUL in it. RFC 3516 §4.4
	UTF8   bool // its header may be in UTF-8. RFC 6855 §4

	d       *Decoder
	left    int64
	sync    bool
	started bool
}

// ErrNUL is returned by Read for a NUL byte in a literal that must have none.
var ErrNUL = errors.New("imap: NUL in a message")

// Waiting tells that the client will not send the bytes before they are asked
// for: refusing them costs nothing.
func (l *Literal) Waiting() bool { return l.sync && !l.started }

// Read reads the bytes; the first call asks the client for them, if it waits.
func (l *Literal) Read(p []byte) (int, error) {
	if l.sync && !l.started {
		if err := l.d.ask(); err != nil {
			return 0, err
		}
	}
	l.started = true
	if l.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), l.left)]
	n, err := l.d.in.read(p)
	l.left -= int64(n)
	if !l.Binary && bytes.IndexByte(p[:n], 0) >= 0 {
		return 0, ErrNUL
	}
	return n, unexpected(err)
}

func parseAppend(d *Decoder) any {
	a := new(Append)
	d.sp()
	a.Mailbox = d.mailbox()
	d.appendMessage(&a.Message)
	return a
}

// appendMessage takes one message up to where its bytes begin.
func (d *Decoder) appendMessage(m *AppendMessage) {
	d.sp()
	if d.peek() == '(' {
		m.Flags = d.flagList()
		d.sp()
	}
	if d.peek() == '"' {
		m.Date = d.dateTime()
		d.sp()
	}
	if d.word("CATENATE") {
		d.beginParts()
		m.Catenate = d.ok()
		return
	}
	utf := d.word("UTF8")
	if utf {
		d.sp()
		d.openUTF8()
	}
	mk, ok := d.takeMark()
	if !ok {
		return
	}
	if mk.size < 0 {
		d.mark, d.err = mk, errTooBig
		return
	}
	m.Body = &Literal{Size: mk.size, Binary: mk.binary, UTF8: utf, d: d, left: mk.size, sync: mk.sync}
	d.stream = m.Body
}

// openUTF8 takes the bracket before a message, or a piece of one, that is in UTF-8.
func (d *Decoder) openUTF8() {
	d.openList()
	if d.ok() && d.peek() == '"' {
		d.err = errQuoted
	}
}

// More goes on with an APPEND whose last message has been read to its end: it
// gives the next message, or nil if that was the last. RFC 3502
func (d *Decoder) More(tag string) (*AppendMessage, error) {
	if d.parts == partsDone {
		d.parts = noParts // the line goes on behind the last piece
	} else {
		l := d.stream
		if err := d.afterLiteral(tag); err != nil {
			return nil, err
		}
		if l.UTF8 {
			d.closeList()
		}
	}
	if d.atEnd() {
		return nil, nil
	}
	m := new(AppendMessage)
	d.appendMessage(m)
	if err := d.result(tag); err != nil {
		return nil, err
	}
	return m, nil
}

// afterLiteral goes on behind a literal that has been read to its end.
func (d *Decoder) afterLiteral(tag string) error {
	l := d.stream
	if l == nil || l.left > 0 {
		return errors.New("imap: the literal has not been read")
	}
	if l.Waiting() { // an empty one that nobody has read
		if err := d.ask(); err != nil {
			return err
		}
	}
	d.stream = nil
	d.line, d.pos = d.line[:0], 0
	err := d.readLine()
	if err == errLineRoom {
		d.fail("the command is too long")
		err = d.result(tag)
	}
	return err
}
