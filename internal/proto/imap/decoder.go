package imap

import (
	"errors"
	"io"
)

// A Command is what a client wants: Args is a pointer to the type of that
// command (*Fetch, *Search, …), nil for those that have no arguments.
type Command struct {
	Tag  string
	Name string // upper case; "UID FETCH" is one name
	Args any
}

// commands has every command that the Decoder understands.
var commands = map[string]func(*Decoder) any{
	"APPEND":         parseAppend,
	"AUTHENTICATE":   parseAuthenticate,
	"CANCELUPDATE":   parseCancelUpdate,
	"CAPABILITY":     parseNothing,
	"CHECK":          parseNothing,
	"CLOSE":          parseNothing,
	"COMPARATOR":     parseComparator,
	"LANGUAGE":       parseLanguage,
	"COMPRESS":       parseCompress,
	"SETQUOTA":       parseSetQuota,
	"GETMETADATA":    parseGetMetadata,
	"SETMETADATA":    parseSetMetadata,
	"DELETEACL":      parseDeleteACL,
	"GETACL":         parseGetACL,
	"LISTRIGHTS":     parseListRights,
	"MYRIGHTS":       parseMyRights,
	"SETACL":         parseSetACL,
	"GENURLAUTH":     parseGenURLAuth,
	"GETQUOTA":       parseGetQuota,
	"GETQUOTAROOT":   parseGetQuotaRoot,
	"REPLACE":        parseReplace,
	"UID REPLACE":    parseReplace,
	"COPY":           parseCopy,
	"CREATE":         parseCreate,
	"DELETE":         parseDelete,
	"ENABLE":         parseEnable,
	"ESEARCH":        parseMultiSearch,
	"EXAMINE":        parseSelect,
	"EXPUNGE":        parseNothing,
	"FETCH":          parseFetch,
	"ID":             parseID,
	"IDLE":           parseNothing,
	"LIST":           parseList,
	"LOGIN":          parseLogin,
	"LOGOUT":         parseNothing,
	"LSUB":           parseLsub,
	"MOVE":           parseCopy,
	"NAMESPACE":      parseNothing,
	"NOOP":           parseNothing,
	"NOTIFY":         parseNotify,
	"RESETKEY":       parseResetKey,
	"UIDBATCHES":     parseUIDBatches,
	"URLFETCH":       parseURLFetch,
	"RENAME":         parseRename,
	"SEARCH":         parseSearch,
	"SELECT":         parseSelect,
	"STARTTLS":       parseNothing,
	"STATUS":         parseStatus,
	"STORE":          parseStore,
	"SUBSCRIBE":      parseSubscribe,
	"UID COPY":       parseCopy,
	"UID EXPUNGE":    parseUIDExpunge,
	"UID FETCH":      parseFetch,
	"UID MOVE":       parseCopy,
	"UID SEARCH":     parseSearch,
	"SORT":           parseSort,
	"THREAD":         parseThread,
	"UID SORT":       parseSort,
	"UID THREAD":     parseThread,
	"UID STORE":      parseStore,
	"UNAUTHENTICATE": parseNothing,
	"UNSELECT":       parseNothing,
	"UNSUBSCRIBE":    parseSubscribe,
}

// Names tells whether name, in upper case, is a command the Decoder understands.
func Names(name string) bool { return commands[name] != nil }

// Commands gives how many commands the Decoder understands.
func Commands() int { return len(commands) }

// Limits are what a client may send at most. They may be changed between
// commands: less is right before login than after.
type Limits struct {
	Command int   // bytes of one command with its literals, but without messages
	Literal int   // bytes of one literal that is not a message
	Skip    int64 // bytes of one refused command that are read and thrown away
}

// Limits before and after login that are right for most. An ID may come before
// login, with 30 fields of a kilobyte each. RFC 2971 §3.3
var (
	LimitsBeforeLogin = Limits{Command: 40 << 10, Literal: 4 << 10, Skip: 32 << 10}
	LimitsAfterLogin  = Limits{Command: 64 << 10, Literal: 64 << 10, Skip: 128 << 20}
)

// A SyntaxError is a command that cannot be understood: the answer is BAD. The
// Decoder is in step; the next Command may be read.
type SyntaxError struct {
	Tag    string // "*" if it could not be read
	Text   string // ASCII, one line
	Quoted bool   // a message of RFC 6855 §4 came in quotes, and not as a literal
}

// Error gives the text.
func (e *SyntaxError) Error() string { return "imap: " + e.Text }

// A TooBigError is a literal that is larger than the limits allow. The answer
// is NO with the code TOOBIG. RFC 7888 §4
type TooBigError struct{ Tag string }

// Error tells what was too big.
func (e *TooBigError) Error() string { return "imap: literal is too big" }

// errTooBig and errSyntax stand in Decoder.err until the tag is known.
var errTooBig = errors.New("imap: literal is too big")

type parseError string

const errQuoted parseError = "expected a literal, not a quoted string"

func (e parseError) Error() string { return string(e) }

// A Decoder reads commands. It belongs to one goroutine.
type Decoder struct {
	Limits Limits
	// UTF8 tells that mailbox names come in UTF-8 and not in modified UTF-7:
	// after ENABLE of IMAP4rev2 or UTF8=ACCEPT.
	UTF8 bool

	in   reader
	ask  func() error // sends a continuation request
	line []byte       // the command so far, literals in place of their marks
	pos  int          // in line
	mark mark         // the literal that the line ends in
	err  error        // the first failure of a parser
	name string
	nest int // depth of parentheses
	keys int // search keys so far

	stream *Literal // a message that has not been read to its end
	open   bool     // the current line has no end yet
	parts  partState
}

// NewDecoder makes a decoder that reads from src. It calls ask when the client
// is waiting for a continuation request, which ask must send at once.
func NewDecoder(src io.Reader, ask func() error) *Decoder {
	return &Decoder{Limits: LimitsBeforeLogin, in: reader{src: src}, ask: ask, mark: mark{at: -1}}
}

// Buffered tells how many bytes have been read that belong to no command yet.
// STARTTLS must not find any. RFC 9051 §11.4
func (d *Decoder) Buffered() int { return d.in.buffered() }

// Take gives what is buffered, and the decoder forgets it: for who reads on in its
// place.
func (d *Decoder) Take() []byte {
	b := append([]byte(nil), d.in.buf[d.in.r:d.in.w]...)
	d.Reset(d.in.src)
	return b
}

// Reset makes the decoder read from src, forgetting all that was buffered: for
// STARTTLS and other layers.
func (d *Decoder) Reset(src io.Reader) {
	d.in = reader{src: src}
	d.line, d.stream, d.open, d.mark = nil, nil, false, mark{at: -1}
}

// Settle takes from the client what is left of the last command: bytes that it
// sends whatever was answered. What is Buffered after it belongs to commands
// that are to come.
func (d *Decoder) Settle() error { return d.settle() }

// Wait returns when the client has sent something, or is gone. Meanwhile the
// decoder keeps hardly any memory. It may run in a goroutine of its own as long
// as nobody else uses the decoder.
func (d *Decoder) Wait() error {
	if err := d.settle(); err != nil {
		return err
	}
	if d.in.buffered() > 0 {
		return nil
	}
	d.in.release()
	if cap(d.line) > 1<<10 {
		d.line = nil
	}
	return d.in.fill()
}

// Command reads the next command. A *SyntaxError and a *TooBigError are to be
// answered, and the next command may be read; every other error is the end.
// What is left of the message of an Append is skipped.
func (d *Decoder) Command() (Command, error) {
	if err := d.settle(); err != nil {
		return Command{}, err
	}
	d.line, d.pos, d.err, d.nest, d.name, d.parts = d.line[:0], 0, nil, 0, "", noParts
	if err := d.readLine(); err != nil && err != errLineRoom {
		return Command{}, err
	}
	c := Command{Tag: "*"}
	if tag := d.tag(); d.err == nil {
		c.Tag = tag
	}
	if d.open && d.err == nil && d.mark.at < 0 {
		d.fail("the command is too long")
	}
	d.sp()
	c.Name = d.commandName()
	if d.err == nil {
		d.name = c.Name
		c.Args = commands[c.Name](d)
	}
	if d.stream == nil && d.parts == noParts {
		d.end()
	}
	return c, d.result(c.Tag)
}

// result gives the error of the parsers for the caller.
func (d *Decoder) result(tag string) error {
	if d.err == nil {
		return nil
	}
	d.stream = nil
	if d.err == errTooBig {
		return &TooBigError{Tag: tag}
	}
	if text, ok := d.err.(parseError); ok {
		return &SyntaxError{Tag: tag, Text: string(text), Quoted: text == errQuoted}
	}
	return d.err
}

// commandName reads the name of the command, two words if it begins with UID.
func (d *Decoder) commandName() string {
	name := d.keyword()
	if name == "UID" {
		d.sp()
		name += " " + d.keyword()
	}
	if d.err == nil && commands[name] == nil {
		d.fail("unknown command")
	}
	return name
}

func parseNothing(*Decoder) any { return nil }

// readLine appends a line to d.line and looks what follows it.
func (d *Decoder) readLine() error {
	d.open, d.mark = true, mark{at: -1}
	start := len(d.line)
	line, err := d.in.line(d.line, max(0, d.Limits.Command-start))
	d.line = line
	if err != nil {
		if err == io.EOF && len(line) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	d.open = false
	if n := len(d.line); n > start && d.line[n-1] == '\r' {
		d.line = d.line[:n-1]
	}
	d.mark = findMark(d.line[start:])
	if d.mark.at >= 0 {
		d.mark.at += start
	}
	return nil
}

// settle takes from the client what is left of the last command, so that what
// comes next is a command.
func (d *Decoder) settle() error {
	left := d.Limits.Skip
	m := d.mark
	d.mark = mark{at: -1}
	switch {
	case d.stream != nil:
		s := d.stream
		d.stream = nil
		if s.sync && !s.started {
			return nil // the client was never asked for it
		}
		if s.left > left {
			return ErrTooLong
		}
		if err := d.in.skip(s.left); err != nil {
			return err
		}
		left -= s.left
		d.line, d.open = d.line[:0], true
	case m.at >= 0 && !d.open:
		return d.skipLiterals(m, left)
	}
	if !d.open {
		return nil
	}
	d.open = false
	tail, left, err := d.in.skipLine(d.tailOfLine(), left)
	if err != nil {
		return err
	}
	return d.skipLiterals(findMark(trimCR(tail)), left)
}

// tailOfLine gives the end of a line that was too long, where a mark may begin.
func (d *Decoder) tailOfLine() []byte {
	return append([]byte(nil), d.line[max(0, len(d.line)-maxMark):]...)
}

// skipLiterals skips the literal that m announces, the line behind it, the
// literal that this may announce, and so on.
func (d *Decoder) skipLiterals(m mark, left int64) error {
	for m.at >= 0 && !m.sync {
		if m.size < 0 || m.size > left {
			return ErrTooLong
		}
		if err := d.in.skip(m.size); err != nil {
			return err
		}
		var tail []byte
		var err error
		if tail, left, err = d.in.skipLine(nil, left-m.size); err != nil {
			return err
		}
		m = findMark(trimCR(tail))
	}
	return nil
}

func trimCR(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

// ErrCancelled is returned by Response when the client gives up with "*".
var ErrCancelled = errors.New("imap: cancelled by the client")

// Line reads one line that is no command, of at most limit bytes: an answer to a
// continuation request, the DONE of IDLE. The bytes are valid until the next
// call. A longer line ends the session.
func (d *Decoder) Line(limit int) ([]byte, error) {
	if err := d.settle(); err != nil {
		return nil, err
	}
	line, err := d.in.line(d.line[:0], limit)
	d.line = line
	if err == errLineRoom {
		return nil, ErrTooLong
	}
	if err == io.EOF && len(line) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return trimCR(line), err
}
