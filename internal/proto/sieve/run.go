package sieve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
)

// What a run may take.
const (
	// maxWork is how much work a run is: a command or test counts, and each kilobyte that
	// is looked at for a key.
	maxWork = 200_000
	// MaxRedirects is how many addresses a script sends a message on to.
	MaxRedirects = 5
	maxActions   = 100
	maxIncludes  = 10  // scripts within each other
	maxIncluded  = 100 // in one run
)

// Input is what a script looks at.
type Input struct {
	// Header is the message's, with what stands in front of it where it is stored.
	Header []byte
	Size   int64
	// Body gives the tree of the message and its bytes; it is asked for at most once.
	Body func() (*message.Part, io.ReaderAt, error)
	// Sender and Recipient are of the envelope: zero is the null sender.
	Sender, Recipient mail.Address
	// Separators divide an address from its detail. RFC 5233
	Separators string
	Now        time.Time // in the zone that currentdate is to have
	// Environment has items, by name in lower case. RFC 5183
	Environment map[string]string
	World       World
	// Explain has the Result tell what was done, line by line.
	Explain bool
}

// A World knows the account. Its errors end the run.
type World interface {
	// Mailbox tells whether there is a mailbox that a message can be put into: by its
	// name, its id ("mailboxid:…"), or its special use (`\Trash`).
	Mailbox(ctx context.Context, by Place) (bool, error)
	// Annotation gives an entry of METADATA of a mailbox, or of the server if mailbox is
	// "".
	Annotation(ctx context.Context, mailbox, entry string) (value string, ok bool, err error)
	// Script gives one that is to be included; mail.ErrNotFound if there is none.
	Script(ctx context.Context, location, name string) (*Script, error)
	// Seen tells whether a mark was left, that is still good, by an earlier run: see
	// Result.Marks.
	Seen(ctx context.Context, m Mark) (bool, error)
}

// A Place is a mailbox as a script names it. The first of ID, Use and Name that leads to
// one counts.
type Place struct {
	Name   string // in UTF-8
	Use    string // a special use such as \Trash; "" is none
	ID     string // "" is none
	Create bool   // it is to be made if it is not there
}

// A Mark is left for later runs: that there was a message of this kind. It is good for a
// time. RFC 7352, RFC 5230
type Mark struct {
	Kind byte // 'd' of duplicate, 'v' of vacation
	Key  string
	For  time.Duration
	// Last: the time counts from when the mark was found the last time. RFC 7352 §3.3
	Last bool
}

// An ActionKind says what is to be done.
type ActionKind byte

// The actions.
const (
	Keep     ActionKind = iota // into the inbox, or where else it would go
	FileInto                   // into Place
	Redirect                   // on to Address
	Reject                     // refuse with Text
	Vacation                   // answer with Answer
)

// An Action is one that is to be done; Line says where the script wants it, 0 is that it
// does not say anything else.
type Action struct {
	Kind    ActionKind
	Line    int
	Place   Place
	Flags   []string // of Keep and FileInto, system flags and keywords
	Address mail.Address
	Text    string
	Answer  *Answer
}

// An Answer is what vacation wants to say, if the message is one that is answered: see
// Answers.
type Answer struct {
	Subject   string // "" is that of the message, with Auto: before it
	From      string // an address of the account's; "" is the account's own
	Addresses []string
	// MIME tells that Text is a part of MIME, with its header.
	MIME bool
	Text string
	Mark Mark
	// Copy is where the answer is put as well; nil is nowhere. RFC 8580
	Copy      *Place
	CopyFlags []string
}

// A Result is what a script wants.
type Result struct {
	Actions []Action // none: the message is not kept at all
	// Marks are to be left if the actions are done.
	Marks []Mark
	// Told is what was done, line by line, if that was asked for.
	Told []string
}

// Run runs a script. An error means that the message is to be kept as if there were
// none: an *Error or ErrRun is the script's, any other one of the World or of Body.
func (s *Script) Run(ctx context.Context, in Input) (Result, error) {
	m := &machine{ctx: ctx, in: &in, globals: map[string]string{}, keep: true}
	m.frame = &frame{vars: map[string]string{}}
	err := m.block(s.block)
	if sig, ok := errors.AsType[*signal](err); ok && sig.kind != broke {
		err = nil
	}
	if err == nil {
		err = m.lawful()
	}
	if err != nil {
		m.tell("%v: so the message is kept, and nothing else is done", err)
		return Result{Actions: []Action{{Kind: Keep}}, Told: m.told}, err
	}
	if m.keep {
		m.act(Action{Kind: Keep, Flags: m.flags})
		m.tell("nothing else was said, so the message is kept")
	}
	return Result{Actions: m.actions, Marks: m.marks, Told: m.told}, nil
}

// A machine runs a script.
type machine struct {
	ctx     context.Context
	in      *Input
	work    int
	keep    bool // nothing has taken the message away from the inbox
	actions []Action
	marks   []Mark
	told    []string

	*frame
	globals  map[string]string
	included int
	once     map[string]bool // scripts that have been included

	values map[string][]string // of fields of the message, once they were asked for
	root   *message.Part       // once it was asked for
	bytes  io.ReaderAt
	looked bool
	part   *message.Part // that foreverypart is at; nil: the message
}

// A frame is one script: the first, or one that is included.
type frame struct {
	vars    map[string]string
	shared  map[string]bool // names that stand for a global
	matched []string
	flags   []string // of imap4flags
	depth   int
}

// A signal ends a block early.
type signal struct {
	kind byte
	loop string
}

const (
	stopped byte = iota
	returned
	broke
)

func (*signal) Error() string { return "the script goes on elsewhere" }

func (m *machine) block(list []command) error {
	for _, c := range list {
		if err := m.charge(1); err != nil {
			return err
		}
		if err := c.run(m); err != nil {
			return err
		}
	}
	return nil
}

// ErrRun is wrapped by what goes wrong with a script as a whole.
var ErrRun = errors.New("the script cannot go on")

var errWork = fmt.Errorf("%w: it takes too much work", ErrRun)

// charge counts work.
func (m *machine) charge(n int) error {
	if m.work += n; m.work > maxWork {
		return errWork
	}
	return nil
}

func (m *machine) tell(format string, args ...any) {
	if m.in.Explain && len(m.told) < 1000 {
		m.told = append(m.told, fmt.Sprintf(format, args...))
	}
}

// say is tell with a line.
func (m *machine) say(line int, format string, args ...any) {
	if m.in.Explain {
		m.tell("line %d: "+format, append([]any{line}, args...)...)
	}
}

func (m *machine) act(a Action) { m.actions = append(m.actions, a) }

// do adds an action of the script.
func (m *machine) do(a Action) error {
	if len(m.actions) >= maxActions {
		return &Error{a.Line, fmt.Sprintf("the script does more than %d things", maxActions)}
	}
	m.act(a)
	return nil
}

// lawful refuses actions that exclude each other. RFC 5429 §2.2, RFC 5230 §4.7
func (m *machine) lawful() error {
	var reject, answers, others, redirects int
	for _, a := range m.actions {
		switch a.Kind {
		case Reject:
			reject = a.Line
		case Vacation:
			answers = a.Line
		case Redirect:
			redirects++
			others = a.Line
		default:
			others = a.Line
		}
	}
	switch {
	case reject > 0 && answers > 0:
		return &Error{reject, "a message is refused, or answered by vacation, but not both"}
	case reject > 0 && others > 0:
		return &Error{reject, "a message that is refused is not kept or sent on as well"}
	case redirects > MaxRedirects:
		return &Error{others, fmt.Sprintf("a message is sent on to %d addresses at most", MaxRedirects)}
	}
	return nil
}

// body gives the tree and the bytes of the message.
func (m *machine) body() (*message.Part, io.ReaderAt, error) {
	if !m.looked {
		var err error
		if m.root, m.bytes, err = m.in.Body(); err != nil {
			return nil, nil, fmt.Errorf("sieve: the message: %w", err)
		}
		m.looked = true
	}
	return m.root, m.bytes, nil
}

// rawOf gives the values of a field of the message as they stand there, unfolded.
func (m *machine) rawOf(name string) (out []string, err error) {
	low := strings.ToLower(name)
	if out, known := m.values[low]; known {
		return out, m.charge(1)
	}
	if out, err = m.rawIn(m.in.Header, low); err != nil {
		return nil, err
	}
	if m.values == nil {
		m.values = map[string][]string{}
	}
	m.values[low] = out
	return out, nil
}

// rawIn gives the values of a field of a header.
func (m *machine) rawIn(header []byte, name string) (out []string, err error) {
	if err := m.charge(1 + len(header)>>10); err != nil {
		return nil, err
	}
	low := strings.ToLower(name)
	for f := range message.Fields(header) {
		if f.Is(low) {
			out = append(out, f.Text())
		}
	}
	return out, nil
}
