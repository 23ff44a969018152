// Package milter speaks the protocol of outside mail filters, version 6, from the
// side of the mail server: what a message is, stage by stage, goes to the filter,
// and its verdicts and changes come back. There is no RFC; the form is that of
// libmilter, which all filters use.
//
// It touches no network: a Session reads and writes a stream from above.
package milter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"posthaste/internal/base/mail"
)

// Version is the one that we speak.
const Version = 6

// A Stage is a command to the filter.
type Stage byte

// The stages of a message.
const (
	StageConnect Stage = 'C'
	StageHelo    Stage = 'H'
	StageMail    Stage = 'M'
	StageRcpt    Stage = 'R'
	StageData    Stage = 'T'
	StageHeader  Stage = 'L'
	StageEOH     Stage = 'N'
	StageBody    Stage = 'B'
	StageEnd     Stage = 'E'

	stageOptions Stage = 'O'
	stageMacros  Stage = 'D'
	stageAbort   Stage = 'A'
	stageQuit    Stage = 'Q'
)

// What a filter may do with a message.
const (
	MayAddHeader    = 0x01
	MayChangeBody   = 0x02
	MayAddRcpt      = 0x04
	MayDeleteRcpt   = 0x08
	MayChangeHeader = 0x10
	MayQuarantine   = 0x20
	MayChangeFrom   = 0x40
	MayAddRcptArgs  = 0x80

	allActions = 0xff
)

// What a filter may ask for about the stages.
const (
	flagSkip         = 0x400
	flagLeadingSpace = 0x100000
	// flagsWithout are stages that the filter does without, flagsSilent those that it
	// does not answer.
	flagsWithout = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x200
	flagsSilent  = 0x80 | 0x1000 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x40000 | 0x80000
)

// flags gives the flags by which a filter does without a stage, and by which it
// does not answer it.
func flags(s Stage) (without, silent uint32) {
	switch s {
	case StageConnect:
		return 0x1, 0x1000
	case StageHelo:
		return 0x2, 0x2000
	case StageMail:
		return 0x4, 0x4000
	case StageRcpt:
		return 0x8, 0x8000
	case StageBody:
		return 0x10, 0x80000
	case StageHeader:
		return 0x20, 0x80
	case StageEOH:
		return 0x40, 0x40000
	case StageData:
		return 0x200, 0x10000
	}
	return 0, 0
}

// A Decision is what a filter says at a stage.
type Decision byte

// The decisions.
const (
	Continue Decision = 'c'
	Accept   Decision = 'a' // nothing more is asked
	Discard  Decision = 'd'
	Reject   Decision = 'r'
	TempFail Decision = 't'
	Skip     Decision = 's' // of the body: no more of it
	Reply    Decision = 'y' // Reject or TempFail in its own words

	progress Decision = 'p'
)

// A Verdict is a decision and what belongs to it.
type Verdict struct {
	Decision Decision
	// Refusal is for Reject, TempFail and Reply.
	Refusal *mail.Refusal
}

// A Change is what a filter wants to be different. Kind says which fields it has.
type Change struct {
	Kind  ChangeKind
	Name  string // of a header field
	Value string // of a header field, an address in brackets, or a reason
	Index int    // which of the fields of that name, or the place of a new one
}

// A ChangeKind is what a change is about.
type ChangeKind byte

// The changes.
const (
	AddHeader    ChangeKind = 'h' // at the end: Name, Value
	InsertHeader ChangeKind = 'i' // before field number Index
	ChangeHeader ChangeKind = 'm' // field Index of that Name, from 1; an empty Value deletes it
	ChangeFrom   ChangeKind = 'e' // Value
	AddRcpt      ChangeKind = '+' // Value
	DeleteRcpt   ChangeKind = '-' // Value
	Quarantine   ChangeKind = 'q' // Value is the reason

	replaceBody ChangeKind = 'b'
	addRcptArgs ChangeKind = '2'
)

// Limits of what is read of a filter.
const (
	maxPacket      = 1 << 20
	maxChanges     = 1000
	maxChangeBytes = 512 << 10 // but the body
	// Chunk is how much of a body goes in one packet.
	Chunk = 65535
)

// ErrProtocol is a filter that does not speak as it should.
var ErrProtocol = errors.New("milter: the filter does not speak the protocol")

func protocol(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// appendPacket appends a packet.
func appendPacket(b []byte, s Stage, data []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)+1))
	return append(append(b, byte(s)), data...)
}

// readPacket reads a packet: its command and the rest.
func readPacket(r io.Reader) (byte, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("milter: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 1 || n > maxPacket {
		return 0, nil, protocol("a packet of %d bytes", n)
	}
	data := make([]byte, n-1)
	if _, err := io.ReadFull(r, data); err != nil {
		return 0, nil, fmt.Errorf("milter: %w", err)
	}
	return head[4], data, nil
}

// words reads strings that end with NUL; the last need not.
func words(data []byte) (out []string) {
	start := 0
	for i, c := range data {
		if c == 0 {
			out = append(out, string(data[start:i]))
			start = i + 1
		}
	}
	if start < len(data) {
		out = append(out, string(data[start:]))
	}
	return out
}

// parseVerdict reads a decision; false if the packet is none.
func parseVerdict(cmd byte, data []byte) (Verdict, bool, error) {
	v := Verdict{Decision: Decision(cmd)}
	switch v.Decision {
	case Continue, Accept, Discard, Skip, progress:
		return v, true, nil
	case Reject:
		v.Refusal = mail.Refuse("5.7.1", "the message was refused by a filter", "")
		return v, true, nil
	case TempFail:
		v.Refusal = mail.Refuse("4.7.1", "a filter asks to try again later", "")
		return v, true, nil
	case Reply:
		w := words(data)
		if len(w) == 0 {
			return v, true, protocol("a reply without text")
		}
		var err error
		v.Refusal, err = parseReply(w[0])
		return v, true, err
	}
	return v, false, nil
}

// parseReply reads "550 5.7.1 text"; of several lines the first.
func parseReply(s string) (*mail.Refusal, error) {
	if len(s) < 3 || s[0] != '4' && s[0] != '5' {
		return nil, protocol("the reply %.80q", s)
	}
	status := mail.Status{Class: uint16(s[0] - '0'), Subject: 7, Detail: 1}
	text := []byte{}
	for i := 3; i < len(s) && s[i] != '\r' && s[i] != '\n'; i++ {
		if s[i] >= ' ' && s[i] <= '~' && len(text) < 400 {
			text = append(text, s[i])
		}
	}
	rest := string(text)
	for rest != "" && (rest[0] == ' ' || rest[0] == '-') {
		rest = rest[1:]
	}
	for i := range len(rest) + 1 {
		if i == len(rest) || rest[i] == ' ' {
			if st, err := mail.ParseStatus(rest[:i]); err == nil && st.Class == status.Class {
				status, rest = st, rest[min(i+1, len(rest)):]
			}
			break
		}
	}
	if rest == "" {
		rest = "refused by a filter"
	}
	return &mail.Refusal{Status: status, Text: rest}, nil
}

// parseChange reads a change; false if the packet is none.
func parseChange(cmd byte, data []byte) (Change, bool, error) {
	c := Change{Kind: ChangeKind(cmd)}
	switch c.Kind {
	case InsertHeader, ChangeHeader:
		if len(data) < 4 {
			return c, true, protocol("a change of a header without its place")
		}
		n := binary.BigEndian.Uint32(data)
		if n > 1<<20 {
			return c, true, protocol("a change of header field %d", n)
		}
		c.Index, data = int(n), data[4:]
		fallthrough
	case AddHeader:
		w := words(data)
		if len(w) == 0 || !isFieldName(w[0]) {
			return c, true, protocol("a header field without a name")
		}
		c.Name = w[0]
		if len(w) > 1 {
			c.Value = w[1]
		}
		return c, true, nil
	case addRcptArgs:
		c.Kind = AddRcpt
		fallthrough
	case ChangeFrom, AddRcpt, DeleteRcpt, Quarantine:
		if w := words(data); len(w) > 0 {
			c.Value = w[0]
		}
		return c, true, nil
	}
	return c, false, nil
}

func isFieldName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':' {
			return false
		}
	}
	return s != "" && len(s) < 200
}
