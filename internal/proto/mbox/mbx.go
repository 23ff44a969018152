package mbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// MBXMagic is how a file in mbx begins.
const MBXMagic = "*mbx*\r\n"

// ErrMBX says that a file in mbx is not as it should be, from some place on.
var ErrMBX = errors.New("mbox: not mbx, or not from here on")

const (
	mbxHeader  = 2048 // before the first message
	mbxLine    = 128  // before a message
	mbxExpunge = 1 << 15
)

// An MBXReader reads a file in mbx, the form of UW imapd for mailboxes that many
// sessions may have open: a header of 2048 bytes has UIDVALIDITY, the last UID and
// the names of the keywords, a line before each message its date, size, flags and
// UID. Messages that are expunged and still there are passed over. Its form is that
// of the c-client library, which has no other description.
type MBXReader struct {
	Validity, Last uint32 // UIDVALIDITY, and the highest UID
	// Of the message: Date, Flags as IMAP writes them, the UID (0: it has none yet),
	// and where it begins in the file.
	Date  time.Time
	Flags []string
	UID   uint32
	Start int64

	in       *bufio.Reader
	at, left int64 // how far the file is read, and how much of the message is not
	keywords []string
}

// NewMBXReader reads the header of a file.
func NewMBXReader(in io.Reader) (*MBXReader, error) {
	r := &MBXReader{in: bufio.NewReaderSize(in, 64<<10), at: mbxHeader}
	head := make([]byte, mbxHeader)
	if _, err := io.ReadFull(r.in, head); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = ErrMBX
		}
		return nil, err
	}
	rest, ok := bytes.CutPrefix(head, []byte(MBXMagic))
	if !ok || len(rest) < 18 || string(rest[16:18]) != "\r\n" {
		return nil, ErrMBX
	}
	validity, ok1 := hexadecimal(rest[:8])
	last, ok2 := hexadecimal(rest[8:16])
	if !ok1 || !ok2 {
		return nil, ErrMBX
	}
	r.Validity, r.Last = validity, last
	for rest = rest[18:]; len(r.keywords) < 30; {
		word, more, ok := bytes.Cut(rest, []byte("\r\n"))
		if !ok || len(word) == 0 {
			break
		}
		r.keywords, rest = append(r.keywords, string(word)), more
	}
	return r, nil
}

// MBXMessage reads a message from where it begins, as a reader of the whole file has
// said; its keywords are not known.
func MBXMessage(in io.Reader) (*MBXReader, error) {
	r := &MBXReader{in: bufio.NewReaderSize(in, 4096)}
	return r, r.Next()
}

// Next goes to the next message; io.EOF if there is none.
func (r *MBXReader) Next() error {
	for {
		n, err := io.CopyN(io.Discard, r.in, r.left)
		r.at, r.left = r.at+n, r.left-n
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		line, err := r.in.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return io.EOF
		}
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return err
		}
		r.Start = r.at
		r.at += int64(len(line))
		gone, err := r.line(line)
		if err != nil {
			return fmt.Errorf("at byte %d: %w", r.Start, err)
		}
		if !gone {
			return nil
		}
	}
}

// line reads what stands before a message.
func (r *MBXReader) line(line []byte) (gone bool, err error) {
	line, ok := bytes.CutSuffix(line, []byte("\r\n"))
	date, rest, ok1 := bytes.Cut(line, []byte(","))
	size, rest, ok2 := bytes.Cut(rest, []byte(";"))
	if !ok || !ok1 || !ok2 || len(line) > mbxLine || len(rest) != 21 || rest[12] != '-' {
		return false, ErrMBX
	}
	r.left, err = strconv.ParseInt(string(size), 10, 62)
	words, ok1 := hexadecimal(rest[:8])
	bits, ok2 := hexadecimal(rest[8:12])
	uid, ok3 := hexadecimal(rest[13:])
	if err != nil || r.left < 0 || !ok1 || !ok2 || !ok3 {
		r.left = 0
		return false, ErrMBX
	}
	r.Date, _ = time.Parse("_2-Jan-2006 15:04:05 -0700", string(date))
	r.UID, r.Flags = uid, nil
	for i, f := range [...]string{`\Seen`, `\Deleted`, `\Flagged`, `\Answered`, "", `\Draft`} {
		if f != "" && bits&(1<<i) != 0 {
			r.Flags = append(r.Flags, f)
		}
	}
	for i, k := range r.keywords {
		if words&(1<<i) != 0 {
			r.Flags = append(r.Flags, k)
		}
	}
	return bits&mbxExpunge != 0, nil
}

// Read reads the message.
func (r *MBXReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.in.Read(p[:min(int64(len(p)), r.left)])
	r.at, r.left = r.at+int64(n), r.left-int64(n)
	if err == io.EOF && r.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// hexadecimal reads digits that are nothing else.
func hexadecimal(b []byte) (uint32, bool) {
	for _, c := range b {
		if c < '0' || c > '9' && c|0x20 < 'a' || c|0x20 > 'f' {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(string(b), 16, 32)
	return uint32(n), err == nil
}
