package milter

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"posthaste/internal/base/mail"
)

// A Session is one message at a filter. It is not for use by several at a time.
// Once a method has failed, or a verdict is not Continue, nothing more is asked.
type Session struct {
	rw    io.ReadWriter
	wait  func(Stage) // before an answer to a stage is waited for
	offer uint32      // actions
	flags uint32      // of the protocol, as the filter wants it
	out   []byte
	ended bool // the filter has nothing more to say
}

// A Macro is what a filter may ask for by name.
type Macro struct{ Name, Value string }

// Open opens a session. wait, which may be nil, is called before each answer.
func Open(rw io.ReadWriter, wait func(Stage)) (*Session, error) {
	s := &Session{rw: rw, wait: wait}
	data := binary.BigEndian.AppendUint32(nil, Version)
	data = binary.BigEndian.AppendUint32(data, allActions)
	data = binary.BigEndian.AppendUint32(data, flagsWithout|flagsSilent|flagSkip|flagLeadingSpace)
	s.put(stageOptions, data)
	if err := s.flush(stageOptions); err != nil {
		return nil, err
	}
	cmd, got, err := readPacket(rw)
	if err != nil {
		return nil, err
	}
	if Stage(cmd) != stageOptions || len(got) < 12 {
		return nil, protocol("the answer to the options is %q", cmd)
	}
	if v := binary.BigEndian.Uint32(got); v < 2 || v > Version {
		return nil, protocol("version %d", v)
	}
	s.offer, s.flags = binary.BigEndian.Uint32(got[4:]), binary.BigEndian.Uint32(got[8:])
	if s.offer&^allActions != 0 || s.flags&^(flagsWithout|flagsSilent|flagSkip|flagLeadingSpace) != 0 {
		return nil, protocol("it asks for what was not offered")
	}
	return s, nil
}

func (s *Session) put(st Stage, data []byte) { s.out = appendPacket(s.out, st, data) }

func (s *Session) flush(st Stage) error {
	if s.wait != nil {
		s.wait(st)
	}
	_, err := s.rw.Write(s.out)
	s.out = s.out[:0]
	if err != nil {
		return fmt.Errorf("milter: %w", err)
	}
	return nil
}

// Macros tells values for the stage that comes next.
func (s *Session) Macros(st Stage, list ...Macro) {
	if s.ended {
		return
	}
	data := []byte{byte(st)}
	for _, m := range list {
		if m.Value != "" {
			data = str(str(data, m.Name), m.Value)
		}
	}
	s.put(stageMacros, data)
}

// str appends a string with its NUL.
func str(b []byte, s string) []byte {
	return append(append(b, strings.ReplaceAll(s, "\x00", "")...), 0)
}

// ask sends a stage and gives the filter's verdict.
func (s *Session) ask(st Stage, data []byte) (Verdict, error) {
	without, silent := flags(st)
	if s.ended || s.flags&without != 0 {
		return Verdict{Decision: Continue}, nil
	}
	s.put(st, data)
	if s.flags&silent != 0 {
		if len(s.out) > Chunk {
			return Verdict{Decision: Continue}, s.flush(st)
		}
		return Verdict{Decision: Continue}, nil
	}
	if err := s.flush(st); err != nil {
		return Verdict{}, err
	}
	for {
		v, err := s.answer(st)
		if err != nil || v.Decision != progress {
			return v, err
		}
		if s.wait != nil {
			s.wait(st)
		}
	}
}

func (s *Session) answer(st Stage) (Verdict, error) {
	cmd, data, err := readPacket(s.rw)
	if err != nil {
		return Verdict{}, err
	}
	v, ok, err := parseVerdict(cmd, data)
	if err != nil {
		return v, err
	}
	if !ok || v.Decision == Skip && st != StageBody {
		return v, protocol("the answer %q to %q", cmd, byte(st))
	}
	// A recipient that is refused is not the end of the message.
	if v.Decision != Continue && v.Decision != Skip && v.Decision != progress && (st != StageRcpt || v.Refusal == nil) {
		s.ended = true
	}
	return v, nil
}

// Connect tells of the client, whose name may be empty.
func (s *Session) Connect(name string, addr netip.AddrPort) (Verdict, error) {
	ip := addr.Addr().Unmap()
	if name == "" {
		name = "[" + ip.String() + "]"
	}
	data := str(nil, name)
	switch {
	case ip.Is4():
		data = append(data, '4')
	case ip.Is6():
		data = append(data, '6')
	default:
		return s.ask(StageConnect, append(data, 'U'))
	}
	return s.ask(StageConnect, str(binary.BigEndian.AppendUint16(data, addr.Port()), ip.String()))
}

// Helo tells what the client calls itself.
func (s *Session) Helo(name string) (Verdict, error) { return s.ask(StageHelo, str(nil, name)) }

// Mail tells the sender, and the parameters of MAIL.
func (s *Session) Mail(from mail.Address, args ...string) (Verdict, error) {
	return s.ask(StageMail, path(from, args))
}

// Rcpt tells a recipient. What is refused is refused for him alone.
func (s *Session) Rcpt(to mail.Address, args ...string) (Verdict, error) {
	return s.ask(StageRcpt, path(to, args))
}

func path(a mail.Address, args []string) []byte {
	b := str(nil, a.Path())
	for _, arg := range args {
		b = str(b, arg)
	}
	return b
}

// Data tells that the message begins.
func (s *Session) Data() (Verdict, error) { return s.ask(StageData, nil) }

// Header tells a field: its name, and its value with all line ends but the last.
func (s *Session) Header(name, value string) (Verdict, error) {
	value = strings.ReplaceAll(value, "\r\n", "\n")
	if s.flags&flagLeadingSpace == 0 {
		value = strings.TrimPrefix(value, " ")
	}
	return s.ask(StageHeader, str(str(nil, name), value))
}

// EndOfHeader tells that the body begins.
func (s *Session) EndOfHeader() (Verdict, error) { return s.ask(StageEOH, nil) }

// Body tells a body.
func (s *Session) Body(r io.Reader) (Verdict, error) {
	if without, _ := flags(StageBody); s.ended || s.flags&without != 0 {
		return Verdict{Decision: Continue}, nil
	}
	buf := make([]byte, Chunk)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			v, err := s.ask(StageBody, buf[:n])
			if err != nil || v.Decision == Skip {
				return Verdict{Decision: Continue}, err
			}
			if v.Decision != Continue {
				return v, nil
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return Verdict{Decision: Continue}, nil
		}
		if err != nil {
			return Verdict{}, fmt.Errorf("milter: read the body: %w", err)
		}
	}
}

// End ends the message. It gives what the filter wants changed, in its order, and
// the verdict. A new body, if there is one, has been written to body: replaced
// tells so.
func (s *Session) End(body io.Writer) (v Verdict, changes []Change, replaced bool, err error) {
	if s.ended {
		return Verdict{Decision: Continue}, nil, false, nil
	}
	s.put(StageEnd, nil)
	if err := s.flush(StageEnd); err != nil {
		return v, nil, false, err
	}
	size := 0
	for {
		cmd, data, err := readPacket(s.rw)
		if err != nil {
			return v, nil, false, err
		}
		if ChangeKind(cmd) == replaceBody {
			if s.offer&MayChangeBody == 0 {
				return v, nil, false, protocol("a new body from a filter that makes none")
			}
			replaced = true
			if _, err := body.Write(data); err != nil {
				return v, nil, false, fmt.Errorf("milter: new body: %w", err)
			}
			continue
		}
		c, ok, err := parseChange(cmd, data)
		if err != nil {
			return v, nil, false, err
		}
		if ok {
			if size += len(data); len(changes) == maxChanges || size > maxChangeBytes {
				return v, nil, false, protocol("more changes than we take")
			}
			if s.flags&flagLeadingSpace == 0 && c.Name != "" && c.Value != "" {
				c.Value = " " + c.Value
			}
			changes = append(changes, c)
			continue
		}
		v, ok, err = parseVerdict(cmd, data)
		if err != nil || !ok {
			return v, nil, false, protocol("the answer %q to the end of the message", cmd)
		}
		if v.Decision != progress {
			s.ended = true
			return v, changes, replaced, nil
		}
		if s.wait != nil {
			s.wait(StageEnd)
		}
	}
}

// Quit ends the session. The stream is the caller's to close, and to bound: nobody
// is told that it is written to.
func (s *Session) Quit() {
	s.out = s.out[:0]
	if !s.ended {
		s.put(stageAbort, nil)
	}
	s.put(stageQuit, nil)
	_, _ = s.rw.Write(s.out) // the filter may be gone
	s.ended = true
}
