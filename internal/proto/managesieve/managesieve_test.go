package managesieve

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

func TestCommand(t *testing.T) {
	long := strings.Repeat("x", 16<<10)
	for _, tt := range []struct {
		in   string
		want Command
		err  error
	}{
		{"CAPABILITY\r\n", Command{Verb: Capability}, nil},
		{"capability \n", Command{Verb: Capability}, nil},
		{"CAPABILITY x\r\n", Command{Verb: Capability}, ErrSyntax},
		{"LOGOUT\r\n", Command{Verb: Logout}, nil},
		{"NOOP\r\n", Command{Verb: Noop}, nil},
		{"NOOP \"\"\r\n", Command{Verb: Noop, HasTag: true}, nil},
		{"NOOP {3+}\r\na\r\n\r\n", Command{Verb: Noop, HasTag: true, Tag: "a\r\n"}, nil},
		{"NOOP tag\r\n", Command{Verb: Noop}, ErrString},
		{"NOOP 1\r\n", Command{Verb: Noop}, ErrSyntax},
		{`AUTHENTICATE "plain"` + "\r\n", Command{Verb: Authenticate, Mechanism: "PLAIN"}, nil},
		{`Authenticate "PLAIN" "AGEAYg=="` + "\r\n", Command{Verb: Authenticate, Mechanism: "PLAIN", Initial: []byte("\x00a\x00b")}, nil},
		{`AUTHENTICATE "PLAIN" ""` + "\r\n", Command{Verb: Authenticate, Mechanism: "PLAIN", Initial: []byte{}}, nil},
		{"AUTHENTICATE {5+}\r\nPLAIN {8+}\r\nAGEAYg==\r\n", Command{Verb: Authenticate, Mechanism: "PLAIN", Initial: []byte("\x00a\x00b")}, nil},
		{`AUTHENTICATE "PLAIN" "AGEAYg"` + "\r\n", Command{Verb: Authenticate, Mechanism: "PLAIN"}, ErrBase64},
		{"AUTHENTICATE \"PLAIN\" {6+}\r\nAG\r\nEA\r\n", Command{Verb: Authenticate, Mechanism: "PLAIN"}, ErrBase64},
		{"AUTHENTICATE PLAIN\r\n", Command{Verb: Authenticate}, ErrString},
		{"AUTHENTICATE \"PL/IN\"\r\n", Command{Verb: Authenticate}, ErrSyntax},
		{"AUTHENTICATE\r\n", Command{Verb: Authenticate}, ErrSyntax},
		{`HAVESPACE "a \"b\\" 99` + "\r\n", Command{Verb: HaveSpace, Name: `a "b\`, Size: 99}, nil},
		{`HAVESPACE "a" 99999999999999999999` + "\r\n", Command{Verb: HaveSpace, Name: "a"}, ErrSyntax},
		{`HAVESPACE "a" -1` + "\r\n", Command{Verb: HaveSpace}, ErrString},
		{`HAVESPACE "a" "1"` + "\r\n", Command{Verb: HaveSpace}, ErrSyntax},
		{`HAVESPACE "a"` + "\r\n", Command{Verb: HaveSpace}, ErrSyntax},
		{"PUTSCRIPT \"a\" {5+}\r\nkeep;\r\n", Command{Verb: PutScript, Name: "a", Script: []byte("keep;")}, nil},
		{"PUTSCRIPT \"a\" {5}\r\nkeep;\r\n", Command{Verb: PutScript, Name: "a", Script: []byte("keep;")}, nil},
		{"PUTSCRIPT {2+}\r\nab {7+}\r\nkeep;\r\n\r\n", Command{Verb: PutScript, Name: "ab", Script: []byte("keep;\r\n")}, nil},
		{"PUTSCRIPT \"a\" \"keep;\"\r\n", Command{Verb: PutScript, Name: "a", Script: []byte("keep;")}, nil},
		{"PUTSCRIPT \"a\" {0+}\r\n\r\n", Command{Verb: PutScript, Name: "a", Script: []byte{}}, nil},
		{"PUTSCRIPT a {8+}\r\nLOGOUT\r\n\r\n", Command{Verb: PutScript}, ErrString},
		{"PUTSCRIPT \"a\"{8+}\r\nLOGOUT\r\n\r\n", Command{Verb: PutScript}, ErrSyntax},
		{"PUTSCRIPT \"a {8+}\r\nLOGOUT\r\n\r\n", Command{Verb: PutScript}, ErrSyntax},
		{"PUTSCRIPT \"a\" {1+}\r\nx {1+}\r\ny {1+}\r\nz\r\n", Command{Verb: PutScript}, ErrSyntax},
		{"PUTSCRIPT \"a\" {1+}\r\nxy\r\n", Command{Verb: PutScript}, ErrSyntax},
		{"PUTSCRIPT \"a\" {1+\r\n", Command{Verb: PutScript}, ErrString},
		{"PUTSCRIPT \"a\" {16385+}\r\n" + long + "x\r\n", Command{Verb: PutScript}, ErrTooLarge},
		{"CHECKSCRIPT {16384+}\r\n" + long + "\r\n", Command{Verb: CheckScript, Script: []byte(long)}, nil},
		{"LISTSCRIPTS\r\n", Command{Verb: ListScripts}, nil},
		{"SETACTIVE \"\"\r\n", Command{Verb: SetActive}, nil},
		{"SETACTIVE \"Zoë\"\r\n", Command{Verb: SetActive, Name: "Zoë"}, nil},
		{"SETACTIVE \"\xff\"\r\n", Command{Verb: SetActive}, ErrSyntax},
		{"SETACTIVE \"a\\n\"\r\n", Command{Verb: SetActive}, ErrSyntax},
		{"SETACTIVE \"a\x00\"\r\n", Command{Verb: SetActive}, ErrSyntax},
		{"SETACTIVE \"a\rb\"\r\n", Command{Verb: SetActive}, ErrSyntax},
		{"SETACTIVE \"\x07\"\r\n", Command{Verb: SetActive, Name: "\x07"}, nil}, // RFC 5804 §4 has it; it is no name
		{"GETSCRIPT \"a\"\r\n", Command{Verb: GetScript, Name: "a"}, nil},
		{"DELETESCRIPT \"a\"\r\n", Command{Verb: DeleteScript, Name: "a"}, nil},
		{"RENAMESCRIPT \"a\"  \"b\"\r\n", Command{Verb: RenameScript, Name: "a", NewName: "b"}, nil},
		{"RENAMESCRIPT \"a\"\"b\"\r\n", Command{Verb: RenameScript}, ErrSyntax},
		{"STARTTLS\r\n", Command{Verb: StartTLS}, nil},
		{"UNAUTHENTICATE\r\n", Command{Verb: Unauthenticate}, nil},
		{"\r\n", Command{}, ErrUnknown},
		{"GET / HTTP/1.1\r\n", Command{}, ErrUnknown},
		{"EHLO x\r\n", Command{}, ErrUnknown},
		{"\"CAPABILITY\"\r\n", Command{}, ErrUnknown},
		{"7\r\n", Command{}, ErrUnknown},
		{"{10+}\r\nCAPABILITY\r\n", Command{}, ErrUnknown},
		{"PUTSCRIPT \"a\" {65537+}\r\n", Command{}, ErrFlood},
		{"PUTSCRIPT \"a\" {9223372036854775807+}\r\n", Command{}, ErrFlood},
		{"PUTSCRIPT \"a\" {9223372036854775808+}\r\n", Command{}, ErrFlood},
		{"PUTSCRIPT \"a\" {99999999999999999999999999+}\r\n", Command{}, ErrFlood},
		{strings.Repeat("x {0+}\r\n", 9), Command{}, ErrFlood},
		{"NOOP \"" + strings.Repeat("x", MaxLine) + "\"\r\n", Command{}, ErrFlood},
		{"NOOP", Command{}, io.EOF},
		{"NOOP {3+}\r\nab", Command{}, io.ErrUnexpectedEOF},
	} {
		for _, in := range []io.Reader{strings.NewReader(tt.in + "NOOP \"next\"\r\n"), iotest.OneByteReader(strings.NewReader(tt.in + "NOOP \"next\"\r\n"))} {
			if tt.err == io.EOF || tt.err == io.ErrUnexpectedEOF {
				in = strings.NewReader(tt.in)
			}
			d := NewDecoder(in)
			got, err := d.Command()
			if !errors.Is(err, tt.err) || err == nil != (tt.err == nil) {
				t.Errorf("%.60q: %v, want %v", tt.in, err, tt.err)
				continue
			}
			switch err {
			case ErrFlood, io.EOF, io.ErrUnexpectedEOF:
				continue
			case nil:
				if !reflect.DeepEqual(got, tt.want) {
					t.Errorf("%.60q: %+v, want %+v", tt.in, got, tt.want)
				}
			}
			if got.Verb != tt.want.Verb {
				t.Errorf("%.60q: verb %q", tt.in, got.Verb)
			}
			if next, err := d.Command(); err != nil || next.Tag != "next" {
				t.Errorf("%.60q: then %+v %v", tt.in, next, err)
			}
		}
	}
}

func TestResponse(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		err      error
	}{
		{"\"YQ==\"\r\n", "a", nil},
		{"\"\"\r\n", "", nil},
		{"{0+}\r\n\r\n", "", nil},
		{"{4+}\r\nYQ==\r\n", "a", nil},
		{"\"*\"\r\n", "", ErrCancelled},
		{"*\r\n", "", ErrString},
		{"\r\n", "", ErrString},
		{"YQ\r\n", "", ErrString},
		{"\"Y\"\r\n", "", ErrBase64},
		{"\"YQ==\" \"YQ==\"\r\n", "", ErrSyntax},
		{"{16385+}\r\n" + strings.Repeat("A", 16385) + "\r\n", "", ErrTooLarge},
	} {
		d := NewDecoder(strings.NewReader(tt.in + "NOOP\r\n"))
		got, err := d.Response()
		if string(got) != tt.want || err != tt.err {
			t.Errorf("%.20q: %q %v", tt.in, got, err)
		}
		if next, err := d.Command(); next.Verb != Noop || err != nil {
			t.Errorf("%.20q: then %+v %v", tt.in, next, err)
		}
	}
}

// TestRoom: what is announced costs nothing until it comes.
func TestRoom(t *testing.T) {
	d := NewDecoder(strings.NewReader("PUTSCRIPT \"a\" {900000000+}\r\nkeep;"))
	d.Limits = Limits{Strings: 1 << 30, Skip: 1 << 30}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := d.Command()
	runtime.ReadMemStats(&after)
	if err != io.ErrUnexpectedEOF || after.TotalAlloc-before.TotalAlloc > 64<<10 {
		t.Errorf("%v, and %d bytes", err, after.TotalAlloc-before.TotalAlloc)
	}
}

func TestStates(t *testing.T) {
	allowed := map[State]string{
		NotAuthenticated: "AUTHENTICATE CAPABILITY LOGOUT NOOP STARTTLS",
		Authenticated:    "CAPABILITY CHECKSCRIPT DELETESCRIPT GETSCRIPT HAVESPACE LISTSCRIPTS LOGOUT NOOP PUTSCRIPT RENAMESCRIPT SETACTIVE UNAUTHENTICATE",
	}
	for state, want := range allowed {
		for v := range verbs {
			err := state.Check(Command{Verb: v})
			may := false
			for w := range strings.FieldsSeq(want) {
				may = may || w == string(v)
			}
			if may != (err == nil) {
				t.Errorf("%s in state %d: %v", v, state, err)
			}
		}
	}
}

func TestReplies(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{string(AppendOK(nil, "")), "OK\r\n"},
		{string(AppendWarnings(nil, "line 1: a")), "OK (WARNINGS) \"line 1: a\"\r\n"},
		{string(AppendNo(nil, NonExistent, "no")), "NO (NONEXISTENT) \"no\"\r\n"},
		{string(AppendNo(nil, "", "line 1: a\r\nline 2: b\x01")), "NO {21}\r\nline 1: a\r\nline 2: b?\r\n"},
		{string(AppendBye(nil, TryLater, `"x"`)), "BYE (TRYLATER) \"\\\"x\\\"\"\r\n"},
		{string(AppendOK(nil, Tag("a\r\nOK"))), "OK (TAG {5}\r\na\r\nOK)\r\n"},
		{string(AppendOK(nil, Tag(`a"`))), "OK (TAG \"a\\\"\")\r\n"},
		{string(AppendOK(nil, SASL([]byte("v=1")))), "OK (SASL \"dj0x\")\r\n"},
		{string(AppendChallenge(nil, nil)), "\"\"\r\n"},
		{string(AppendChallenge(nil, []byte("a"))), "\"YQ==\"\r\n"},
		{string(AppendCapability(nil, "STARTTLS")), "\"STARTTLS\"\r\n"},
		{string(AppendValue(nil, "SASL", "")), "\"SASL\" \"\"\r\n"},
		{string(AppendListed(nil, "a b", true)), "\"a b\" ACTIVE\r\n"},
		{string(AppendListed(nil, "a", false)), "\"a\"\r\n"},
		{string(AppendScript(nil, []byte("keep;"))), "{5}\r\nkeep;\r\n"},
		{string(AppendString(nil, "\xff")), "{1}\r\n\xff"},
		{string(AppendString(nil, strings.Repeat("x", 1025))), "{1025}\r\n" + strings.Repeat("x", 1025)},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

// FuzzCommand: whatever a client says, nothing breaks, it is understood alike however it
// is cut, and no more is read than was announced.
func FuzzCommand(f *testing.F) {
	f.Add([]byte("PUTSCRIPT \"a\" {5+}\r\nkeep;\r\nLISTSCRIPTS\r\n"), 16<<10)
	f.Add([]byte("AUTHENTICATE \"PLAIN\" \"AGEAYg==\"\r\nNOOP {2}\r\n\r\n\r\n"), 100)
	f.Add([]byte("RENAMESCRIPT \"a\\\\\" {3+}\r\n\xc3\xab\x00\r\nHAVESPACE \"a\" 7\r\n"), 3)
	f.Add([]byte("x {0+}\r\n{0+}\r\ny {99+}\r\n"), 0)
	f.Fuzz(func(t *testing.T, in []byte, most int) {
		l := Limits{Strings: min(max(most, 0), 1<<20), Skip: 200}
		a, b := NewDecoder(bytes.NewReader(in)), NewDecoder(iotest.OneByteReader(bytes.NewReader(in)))
		a.Limits, b.Limits = l, l
		for {
			x, errX := a.Command()
			y, errY := b.Command()
			if !reflect.DeepEqual(x, y) || errX != errY {
				t.Fatalf("%q: %+v %v, or %+v %v", in, x, errX, y, errY)
			}
			if errX == nil {
				again(t, x)
			} else if errX == ErrFlood || errX == io.EOF || errX == io.ErrUnexpectedEOF {
				break
			}
		}
		NewDecoder(bytes.NewReader(in)).Response()
	})
}

// again writes a command anew: it must be the same.
func again(t *testing.T, c Command) {
	b := append([]byte(c.Verb), ' ')
	literal := func(s string) {
		b = append(b, "{"+strconv.Itoa(len(s))+"+}\r\n"+s+" "...)
	}
	switch c.Verb {
	case PutScript:
		literal(c.Name)
		literal(string(c.Script))
	case RenameScript:
		literal(c.Name)
		literal(c.NewName)
	case HaveSpace:
		literal(c.Name)
		b = strconv.AppendUint(b, c.Size, 10)
	case Noop:
		if c.HasTag {
			b = AppendString(b, c.Tag)
		}
	default:
		return
	}
	d := NewDecoder(bytes.NewReader(append(b, "\r\n"...)))
	d.Limits.Strings = 2 << 20
	got, err := d.Command()
	if c.Script != nil && len(c.Script) == 0 {
		c.Script = []byte{}
	}
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Fatalf("%+v became %+v: %v", c, got, err)
	}
}
