package milter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
)

// A script is a filter that answers what it is told to, and notes what it is asked.
type script struct {
	answers map[Stage][]byte
	in      []byte
	out     bytes.Buffer
	heard   []string
}

func packet(cmd byte, data string) []byte { return appendPacket(nil, Stage(cmd), []byte(data)) }

func options(version, actions, flags uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, version)
	b = binary.BigEndian.AppendUint32(b, actions)
	return packet('O', string(binary.BigEndian.AppendUint32(b, flags)))
}

func (s *script) Read(p []byte) (int, error) {
	if s.out.Len() == 0 {
		return 0, io.EOF
	}
	return s.out.Read(p)
}

func (s *script) Write(p []byte) (int, error) {
	s.in = append(s.in, p...)
	for len(s.in) >= 4 {
		n := 4 + int(binary.BigEndian.Uint32(s.in))
		if len(s.in) < n {
			break
		}
		st, data := Stage(s.in[4]), s.in[5:n]
		if st != stageOptions {
			s.heard = append(s.heard, fmt.Sprintf("%c %q", st, data))
		}
		s.out.Write(s.answers[st])
		s.in = s.in[n:]
	}
	return len(p), nil
}

// usual answers "continue" to all.
func usual(want uint32) *script {
	c := packet('c', "")
	s := &script{answers: map[Stage][]byte{stageOptions: options(6, allActions, want)}}
	for _, st := range []Stage{StageConnect, StageHelo, StageMail, StageRcpt, StageData, StageHeader, StageEOH, StageBody, StageEnd} {
		if _, silent := flags(st); want&silent == 0 {
			s.answers[st] = c
		}
	}
	return s
}

// whole goes through all stages and gives the first verdict that is not Continue.
func whole(s *script) (Verdict, []Change, string, error) {
	ses, err := Open(s, nil)
	if err != nil {
		return Verdict{}, nil, "", err
	}
	defer ses.Quit()
	ses.Macros(StageConnect, Macro{"j", "mx.example"}, Macro{"v", ""})
	for _, ask := range []func() (Verdict, error){
		func() (Verdict, error) { return ses.Connect("a.example", netip.MustParseAddrPort("192.0.2.1:25")) },
		func() (Verdict, error) { return ses.Helo("a.example") },
		func() (Verdict, error) { return ses.Mail(mail.Address{}, "SIZE=1") },
		func() (Verdict, error) { return ses.Rcpt(mail.Address{Local: "a b", Domain: "c.example"}) },
		ses.Data,
		func() (Verdict, error) { return ses.Header("Subject", " a\r\n b\x00") },
		ses.EndOfHeader,
		func() (Verdict, error) { return ses.Body(strings.NewReader(strings.Repeat("x", Chunk+1))) },
	} {
		if v, err := ask(); err != nil || v.Decision != Continue {
			return v, nil, "", err
		}
	}
	var body bytes.Buffer
	v, changes, replaced, err := ses.End(&body)
	if !replaced && body.Len() > 0 {
		return v, nil, "", errors.New("a body that is none")
	}
	return v, changes, body.String(), err
}

func TestStages(t *testing.T) {
	for flags, want := range map[uint32][]string{
		0: {
			`D "Cj\x00mx.example\x00"`, `C "a.example\x004\x00\x19192.0.2.1\x00"`, `H "a.example\x00"`, `M "<>\x00SIZE=1\x00"`, `R "<\"a b\"@c.example>\x00"`,
			`T ""`, `L "Subject\x00a\n b\x00"`, `N ""`, "B", "B", `E ""`, `Q ""`,
		},
		flagLeadingSpace | 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x40 | 0x80 | 0x200: {`D "Cj\x00mx.example\x00"`, `L "Subject\x00 a\n b\x00"`, `E ""`, `Q ""`},
		flagsSilent: {
			`D "Cj\x00mx.example\x00"`, `C "a.example\x004\x00\x19192.0.2.1\x00"`, `H "a.example\x00"`, `M "<>\x00SIZE=1\x00"`, `R "<\"a b\"@c.example>\x00"`,
			`T ""`, `L "Subject\x00a\n b\x00"`, `N ""`, "B", "B", `E ""`, `Q ""`,
		},
	} {
		s := usual(flags)
		v, changes, body, err := whole(s)
		if err != nil || v.Decision != Continue || changes != nil || body != "" {
			t.Errorf("%x: %+v, %v, %v", flags, v, changes, err)
		}
		for i, h := range s.heard {
			if strings.HasPrefix(h, "B") {
				s.heard[i] = "B"
			}
		}
		if !slices.Equal(s.heard, want) {
			t.Errorf("%x: heard\n%s", flags, strings.Join(s.heard, "\n"))
		}
	}
}

func TestVerdicts(t *testing.T) {
	place := "\x00\x00\x00\x02"
	for name, c := range map[string]struct {
		st     Stage
		answer []byte
		want   string
	}{
		"accept":      {StageHelo, packet('a', ""), "a"},
		"refuse":      {StageConnect, packet('r', ""), "r 5.7.1 the message was refused by a filter"},
		"later":       {StageEnd, packet('t', ""), "t 4.7.1 a filter asks to try again later"},
		"own words":   {StageRcpt, packet('y', "550 5.1.1 nobody\x00"), "y 5.1.1 nobody"},
		"no status":   {StageEnd, packet('y', "451 later\r\nand more\x00"), "y 4.7.1 later"},
		"only a code": {StageEnd, packet('y', "554"), "y 5.7.1 refused by a filter"},
		"strange":     {StageEnd, packet('y', "250 no\x00"), "error"},
		"empty":       {StageEnd, packet('y', ""), "error"},
		"unknown":     {StageEnd, packet('?', ""), "error"},
		"too early":   {StageMail, packet('h', "X\x00y\x00"), "error"},
		"skip":        {StageBody, packet('s', ""), "c"},
		"skip what":   {StageMail, packet('s', ""), "error"},
		"huge":        {StageMail, []byte{0xff, 0xff, 0xff, 0xff, 'c'}, "error"},
		"nothing":     {StageMail, []byte{0, 0, 0, 0}, "error"},
		"gone":        {StageMail, []byte{0, 0}, "error"},
		"progress":    {StageEnd, slices.Concat(packet('p', ""), packet('p', ""), packet('d', "")), "d"},
		"changes": {
			StageEnd, slices.Concat(packet('h', "X-A\x00 b\x00"), packet('i', place+"X-B\x00c\n d\x00"), packet('m', place+"X-C\x00\x00"),
				packet('+', "<a@b.example>\x00"), packet('2', "<c@b.example>\x00SIZE=1\x00"), packet('-', "<d@b.example>\x00"), packet('e', "<>\x00"), packet('q', "bad\x00"),
				packet('b', "new "), packet('b', "body"), packet('c', "")),
			`c [{h X-A  b 0} {i X-B c` + "\n" + ` d 2} {m X-C  2} {+  <a@b.example> 0} {+  <c@b.example> 0} {-  <d@b.example> 0} {e  <> 0} {q  bad 0}] new body`,
		},
		"no name":   {StageEnd, packet('h', "\x00x\x00"), "error"},
		"bad name":  {StageEnd, packet('h', "X: y\r\nZ\x00x\x00"), "error"},
		"no place":  {StageEnd, packet('m', "X"), "error"},
		"far place": {StageEnd, packet('i', "\xff\xff\xff\xffX\x00y\x00"), "error"},
		"too many":  {StageEnd, bytes.Repeat(packet('h', "X\x00y\x00"), maxChanges+1), "error"},
		"too much":  {StageEnd, bytes.Repeat(packet('h', "X\x00"+strings.Repeat("y", 100_000)+"\x00"), 6), "error"},
	} {
		s := usual(flagLeadingSpace)
		s.answers[c.st] = c.answer
		v, changes, body, err := whole(s)
		got := string(rune(v.Decision))
		if v.Refusal != nil {
			got += " " + v.Refusal.Error()
		}
		if changes != nil {
			var list []string
			for _, x := range changes {
				list = append(list, fmt.Sprintf("{%c %s %s %d}", x.Kind, x.Name, x.Value, x.Index))
			}
			got += " [" + strings.Join(list, " ") + "] " + body
		}
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q (%v)", name, got, c.want, err)
		}
	}
	// A recipient that is refused is not the end.
	s := usual(0)
	s.answers[StageRcpt] = packet('r', "")
	ses, err := Open(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if v, err := ses.Rcpt(mail.Address{Local: "x", Domain: "y"}); err != nil || v.Decision != Reject {
			t.Errorf("%+v, %v", v, err)
		}
	}
}

func TestOptions(t *testing.T) {
	for name, answer := range map[string][]byte{
		"short": packet('O', "x"), "other": packet('c', ""), "old": options(1, 0, 0), "new": options(7, 0, 0),
		"more actions": options(6, 0x10000, 0), "more flags": options(6, 0, 0x4000_0000), "nothing": nil,
	} {
		if _, err := Open(&script{answers: map[Stage][]byte{stageOptions: answer}}, nil); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	s := usual(0)
	s.answers[stageOptions] = options(6, 0, 0)
	s.answers[StageEnd] = slices.Concat(packet('b', "x"), packet('c', ""))
	if _, _, _, err := whole(s); err == nil {
		t.Error("a new body from a filter that makes none")
	}
}

// FuzzSession: whatever a filter answers, it ends, and is bounded.
func FuzzSession(f *testing.F) {
	f.Add(slices.Concat(packet('c', ""), packet('y', "550 5.1.1 x\x00"), packet('i', "\x00\x00\x00\x01X\x00y\x00"), packet('a', "")), uint32(0))
	f.Add(slices.Concat(packet('+', "<a@b>\x00"), packet('b', "x"), packet('q', "x\x00"), packet('p', ""), packet('r', "")), uint32(0x8ff))
	f.Fuzz(func(t *testing.T, answers []byte, flags uint32) {
		s := &script{answers: map[Stage][]byte{stageOptions: append(options(6, allActions, flags&(flagsWithout|flagsSilent|flagSkip|flagLeadingSpace)), answers...)}}
		v, changes, body, err := whole(s)
		if err != nil {
			return
		}
		if len(body) > len(answers) || len(changes) > len(answers) {
			t.Errorf("%d bytes give %d", len(answers), len(body))
		}
		if no := v.Refusal; no != nil && (no.Status.Class != 4 && no.Status.Class != 5 || strings.ContainsAny(no.Text, "\r\n")) {
			t.Errorf("%+v", no)
		}
		for _, c := range changes {
			if c.Name != "" && !isFieldName(c.Name) {
				t.Errorf("%+v", c)
			}
		}
	})
}
