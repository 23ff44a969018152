package managesieve

import (
	"bytes"
	"encoding/base64"
	"strconv"
)

// A Verb is the word of a command, in upper case.
type Verb string

// The verbs. RFC 5804 §2
const (
	Authenticate   Verb = "AUTHENTICATE"
	Capability     Verb = "CAPABILITY"
	CheckScript    Verb = "CHECKSCRIPT"
	DeleteScript   Verb = "DELETESCRIPT"
	GetScript      Verb = "GETSCRIPT"
	HaveSpace      Verb = "HAVESPACE"
	ListScripts    Verb = "LISTSCRIPTS"
	Logout         Verb = "LOGOUT"
	Noop           Verb = "NOOP"
	PutScript      Verb = "PUTSCRIPT"
	RenameScript   Verb = "RENAMESCRIPT"
	SetActive      Verb = "SETACTIVE"
	StartTLS       Verb = "STARTTLS"
	Unauthenticate Verb = "UNAUTHENTICATE"
)

// A State is where a session stands. RFC 5804 §1.5
type State uint8

// The states.
const (
	NotAuthenticated State = iota + 1
	Authenticated

	anyState State = 0
)

// maxArguments is how many a command has.
const maxArguments = 2

// verbs says what each verb takes, and in which state it may come. The first letters are
// those of the arguments: s a string, n a number; one in upper case may be missing.
var verbs = map[Verb]struct {
	args  string
	state State
}{
	Authenticate:   {"sS", NotAuthenticated},
	Capability:     {"", anyState},
	CheckScript:    {"s", Authenticated},
	DeleteScript:   {"s", Authenticated},
	GetScript:      {"s", Authenticated},
	HaveSpace:      {"sn", Authenticated},
	ListScripts:    {"", Authenticated},
	Logout:         {"", anyState},
	Noop:           {"S", anyState},
	PutScript:      {"ss", Authenticated},
	RenameScript:   {"ss", Authenticated},
	SetActive:      {"s", Authenticated},
	StartTLS:       {"", NotAuthenticated},
	Unauthenticate: {"", Authenticated},
}

// A Command is a command that has been understood. Which fields mean something depends on
// the verb.
type Command struct {
	Verb      Verb
	Name      string // of a script
	NewName   string // RENAMESCRIPT
	Script    []byte // CHECKSCRIPT, PUTSCRIPT
	Size      uint64 // HAVESPACE
	Tag       string // NOOP
	HasTag    bool   // NOOP: there is one, perhaps an empty one
	Mechanism string // AUTHENTICATE: in upper case
	Initial   []byte // AUTHENTICATE: the initial response, decoded; nil if there was none
}

// Check tells whether c may come in this state: nil or ErrState. That STARTTLS comes once
// is for the session to know.
func (s State) Check(c Command) error {
	if want := verbs[c.Verb].state; want != anyState && want != s {
		return ErrState
	}
	return nil
}

// command makes one of its tokens. The verb is given as far as it was recognized, even
// with an error.
func command(list []token) (c Command, err error) {
	if len(list) == 0 || list[0].kind != word {
		return c, ErrUnknown
	}
	verb := Verb(bytes.ToUpper(list[0].text))
	v, known := verbs[verb]
	if !known {
		return c, ErrUnknown
	}
	c.Verb = verb
	if list = list[1:]; len(list) > len(v.args) {
		return c, ErrSyntax
	}
	for i, want := range []byte(v.args) {
		switch {
		case i < len(list) && list[i].kind == number && want == 'n':
		case i < len(list) && list[i].kind == text && want != 'n':
		case i < len(list) && list[i].kind == word && want != 'n':
			return c, ErrString
		case i < len(list) || want != 'S':
			return c, ErrSyntax
		}
	}
	return c, c.fill(list)
}

// fill takes the arguments, which are as many and of the kinds that the verb has.
func (c *Command) fill(list []token) (err error) {
	switch c.Verb {
	case Authenticate:
		return c.authenticate(list)
	case CheckScript:
		c.Script = list[0].text
	case HaveSpace:
		c.Name = string(list[0].text)
		if c.Size, err = strconv.ParseUint(string(list[1].text), 10, 64); err != nil {
			return ErrSyntax
		}
	case Noop:
		if c.HasTag = len(list) > 0; c.HasTag {
			c.Tag = string(list[0].text)
		}
	case PutScript:
		c.Name, c.Script = string(list[0].text), list[1].text
	case RenameScript:
		c.Name, c.NewName = string(list[0].text), string(list[1].text)
	case DeleteScript, GetScript, SetActive:
		c.Name = string(list[0].text)
	}
	return nil
}

// authenticate takes a mechanism and perhaps an initial response. RFC 5804 §2.1
func (c *Command) authenticate(list []token) (err error) {
	if !isMechanism(list[0].text) {
		return ErrSyntax
	}
	c.Mechanism = string(bytes.ToUpper(list[0].text))
	if len(list) > 1 {
		c.Initial, err = decode64(list[1].text)
	}
	return err
}

// isMechanism tells what can be the name of one. RFC 4422 §3.1
func isMechanism(b []byte) bool {
	for _, c := range b {
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 20
}

func decode64(b []byte) ([]byte, error) {
	// The decoder would go over line breaks.
	if bytes.ContainsAny(b, "\r\n") {
		return nil, ErrBase64
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Strict().Decode(out, b)
	if err != nil {
		return nil, ErrBase64
	}
	return out[:n], nil
}
