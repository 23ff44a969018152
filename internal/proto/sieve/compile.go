package sieve

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Extensions are what a script may require, in the words of ManageSieve's capability.
// Each is told where it is done.
var Extensions = []string{
	"fileinto", "envelope", "encoded-character", // RFC 5228
	"comparator-i;octet", "comparator-i;ascii-casemap", "comparator-i;ascii-numeric", "comparator-i;unicode-casemap",
	"body",          // RFC 5173
	"copy",          // RFC 3894
	"date", "index", // RFC 5260
	"duplicate",         // RFC 7352
	"environment",       // RFC 5183
	"ereject", "reject", // RFC 5429
	"fcc",                                 // RFC 8580
	"foreverypart", "mime", "extracttext", // RFC 5703
	"ihave",                                     // RFC 5463
	"imap4flags",                                // RFC 5232
	"include",                                   // RFC 6609
	"mailbox", "mboxmetadata", "servermetadata", // RFC 5490
	"mailboxid",                    // RFC 9042
	"regex",                        // draft-ietf-sieve-regex
	"relational",                   // RFC 5231
	"special-use",                  // RFC 8579
	"subaddress",                   // RFC 5233
	"vacation", "vacation-seconds", // RFC 5230, RFC 6131
	"variables", // RFC 5229
}

// A Script has been read, and can be run.
type Script struct {
	block    []command
	warnings []error
	weight   int
}

// Warnings tells what is lawful in a script and can hardly be meant, an *Error for each.
func (s *Script) Warnings() []error { return s.warnings }

// Weight tells how many bytes a script takes in memory, about.
func (s *Script) Weight() int { return s.weight }

// maxErrors is how many errors are told of at once.
const maxErrors = 20

// Compile reads a script. The error has an *Error for each thing that is wrong with it, as
// far as that can be told.
func Compile(text []byte) (*Script, error) {
	list, err := parse(text)
	if err != nil {
		return nil, err
	}
	c := &compiler{has: map[string]bool{}, verbs: verbs(), questions: asked()}
	s := &Script{block: c.commands(list, true), warnings: c.strange}
	s.weight = 1<<10 + 32*len(text) + 64*c.steps
	if len(c.wrong) > 0 {
		return nil, errors.Join(c.wrong...)
	}
	return s, nil
}

// A command does something to the machine; a test asks something.
type (
	command interface{ run(m *machine) error }
	test    interface {
		holds(m *machine) (bool, error)
	}
)

type compiler struct {
	verbs     map[string]verb
	questions map[string]question

	has   map[string]bool // extensions that the script may use
	wrong []error
	// strange is what is lawful, and can hardly be meant.
	strange []error
	begun   bool // a command other than require has been seen
	// doubtful: an ihave has said no, so what follows may use what nobody here knows: it
	// goes wrong only if it is run. RFC 5463 §4
	doubtful bool
	loops    []string // names of the foreverypart blocks around
	steps    int      // of regular expressions
}

func (c *compiler) fail(line int, format string, args ...any) {
	if len(c.wrong) < maxErrors {
		c.wrong = append(c.wrong, &Error{line, fmt.Sprintf(format, args...)})
	}
}

// warn tells of what is lawful and can hardly be meant.
func (c *compiler) warn(line int, format string, args ...any) {
	if len(c.strange) < maxErrors {
		c.strange = append(c.strange, &Error{line, fmt.Sprintf(format, args...)})
	}
}

// commands compiles a block; top is that of the script itself.
func (c *compiler) commands(list []*node, top bool) []command {
	var out []command
	for i, n := range list {
		switch n.name {
		case "require":
			c.require(n, top)
			continue
		case "elsif", "else":
			if i == 0 || list[i-1].name != "if" && list[i-1].name != "elsif" {
				c.fail(n.line, "%s must follow an if", n.name)
			}
			continue // the if has taken it
		}
		c.begun = true
		if n.name == "if" {
			out = append(out, c.choice(list[i:]))
		} else if cmd := c.command(n); cmd != nil {
			out = append(out, cmd)
		}
	}
	return out
}

// command compiles one. Where it is doubtful that it can be run, it goes wrong when it is.
func (c *compiler) command(n *node) command {
	before := len(c.wrong)
	cmd := c.one(n)
	if c.doubtful && len(c.wrong) > before {
		err := c.wrong[before]
		c.wrong = c.wrong[:before]
		return broken{err}
	}
	return cmd
}

// broken goes wrong when it is run.
type broken struct{ error }

func (b broken) run(*machine) error           { return b.error }
func (b broken) holds(*machine) (bool, error) { return false, b.error }

// A verb compiles a command; ext is what must be required for it.
type verb struct {
	ext     string
	compile func(c *compiler, n *node) command
}

func verbs() map[string]verb {
	return map[string]verb{
		"stop": {"", (*compiler).stop}, "keep": {"", (*compiler).keep}, "discard": {"", (*compiler).discard},
		"redirect": {"", (*compiler).redirect}, "fileinto": {"fileinto", (*compiler).fileinto},
		"reject": {"reject", (*compiler).reject}, "ereject": {"ereject", (*compiler).reject},
		"set": {"variables", (*compiler).set}, "setflag": {"imap4flags", (*compiler).flags},
		"addflag": {"imap4flags", (*compiler).flags}, "removeflag": {"imap4flags", (*compiler).flags},
		"vacation": {"vacation", (*compiler).vacation}, "include": {"include", (*compiler).include},
		"return": {"include", (*compiler).giveBack}, "global": {"include", (*compiler).global},
		"error":        {"ihave", (*compiler).failing},
		"foreverypart": {"foreverypart", (*compiler).everyPart}, "break": {"foreverypart", (*compiler).leave},
		"extracttext": {"extracttext", (*compiler).extract},
	}
}

func (c *compiler) one(n *node) command {
	v, known := c.verbs[n.name]
	if !known {
		if _, is := c.questions[n.name]; is {
			c.fail(n.line, "%s is a test: it stands behind an if", n.name)
		} else {
			c.fail(n.line, "there is no command %q%s", n.name, like(n.name, maps.Keys(c.verbs)))
		}
		return nil
	}
	c.needs(n.line, n.name, v.ext)
	if n.hasBlock && n.name != "foreverypart" {
		c.fail(n.line, "%s has no block: it ends with a semicolon", n.name)
		return nil
	}
	if len(n.tests) > 0 {
		c.fail(n.line, "%s has no test", n.name)
		return nil
	}
	return v.compile(c, n)
}

// needs says so if an extension is not required.
func (c *compiler) needs(line int, what, ext string) {
	if ext != "" && !c.has[ext] {
		c.fail(line, "%s needs require %q at the top of the script", what, ext)
	}
}

// like proposes a name that is nearly that one.
func like(name string, all func(func(string) bool)) string {
	for have := range all {
		if near(name, have) {
			return fmt.Sprintf("; is %q meant?", have)
		}
	}
	return ""
}

// near tells whether one letter more, less or other makes a of b.
func near(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 || len(a) < 3 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) == len(b) {
		return i < len(a) && (a[i+1:] == b[i+1:] || i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:])
	}
	return a[i:] == b[i+1:]
}

// require takes extensions. RFC 5228 §3.2
func (c *compiler) require(n *node, top bool) {
	a := c.take(n, nil, argList)
	if a == nil {
		return
	}
	if !top || c.begun {
		c.fail(n.line, "require must stand at the top, before all other commands")
	}
	for _, name := range a.pos[0].list {
		low := strings.ToLower(name)
		if !slices.Contains(Extensions, low) {
			c.fail(n.line, "there is no extension %q here%s", name, like(low, slices.Values(Extensions)))
			continue
		}
		c.grant(low)
	}
}

// grant lets the script use an extension, and what comes with it.
func (c *compiler) grant(ext string) {
	c.has[ext] = true
	if ext == "vacation-seconds" { // RFC 6131 §1
		c.has["vacation"] = true
	}
}

// choice compiles an if with what follows it. RFC 5228 §3.1
func (c *compiler) choice(list []*node) command {
	var out choice
	for i, n := range list {
		if i > 0 && n.name != "elsif" && n.name != "else" {
			break
		}
		if i > 0 && list[i-1].name == "else" {
			c.fail(n.line, "nothing follows an else")
			break
		}
		if !n.hasBlock {
			c.fail(n.line, "%s wants a block in braces", n.name)
		}
		if len(n.args) > 0 {
			c.fail(n.line, "%s has no arguments", n.name)
		}
		b := branch{line: n.line}
		doubt := c.doubtful
		switch {
		case n.name == "else" && len(n.tests) > 0:
			c.fail(n.line, "else has no test; elsif has")
		case n.name == "else":
		case len(n.tests) != 1 || n.listed:
			c.fail(n.line, "%s wants one test; several stand in anyof or allof", n.name)
		default:
			b.test = c.test(n.tests[0])
		}
		b.block = c.commands(n.block, false)
		c.doubtful = doubt || c.doubtful
		out = append(out, b)
	}
	return out
}

type branch struct {
	line  int
	test  test // nil: else
	block []command
}

type choice []branch

func (x choice) run(m *machine) error {
	for _, b := range x {
		yes := b.test == nil
		if !yes {
			if err := m.charge(1); err != nil {
				return err
			}
			var err error
			if yes, err = b.test.holds(m); err != nil {
				return at(b.line, err)
			}
			if m.in.Explain {
				m.say(b.line, "the test %s", map[bool]string{true: "is true", false: "is not true"}[yes])
			}
		}
		if yes {
			return m.block(b.block)
		}
	}
	return nil
}

// test compiles one.
func (c *compiler) test(n *node) test {
	before := len(c.wrong)
	t := c.oneTest(n)
	if len(c.wrong) > before || t == nil {
		if !c.doubtful || len(c.wrong) == before {
			return broken{&Error{n.line, "this test cannot be read"}}
		}
		err := c.wrong[before]
		c.wrong = c.wrong[:before]
		return broken{err}
	}
	return t
}

func (c *compiler) oneTest(n *node) test {
	a, known := c.questions[n.name]
	if !known {
		if _, is := c.verbs[n.name]; is {
			c.fail(n.line, "%s is a command, and no test", n.name)
		} else {
			c.fail(n.line, "there is no test %q%s", n.name, like(n.name, maps.Keys(c.questions)))
		}
		return nil
	}
	c.needs(n.line, n.name, a.ext)
	switch {
	case a.tests == 0 && len(n.tests) > 0:
		c.fail(n.line, "%s has no test in it", n.name)
		return nil
	case a.tests == 1 && (len(n.tests) != 1 || n.listed):
		c.fail(n.line, "%s wants one test behind it", n.name)
		return nil
	case a.tests > 1 && !n.listed:
		c.fail(n.line, "%s wants a list of tests in parentheses", n.name)
		return nil
	}
	return a.compile(c, n)
}

// taken are the arguments of a command or test, sorted.
type taken struct {
	line int
	tags map[string]argument
	pos  []argument
}

func (t *taken) is(tag string) bool { _, ok := t.tags[tag]; return ok }

// take sorts arguments: tags, each with what it wants behind it, and then those that have
// a place. One that wants a list takes a string, too. It gives nil if something is wrong,
// and has said so.
func (c *compiler) take(n *node, tags map[string]argKind, pos ...argKind) *taken {
	out := &taken{line: n.line, tags: map[string]argument{}}
	args := n.args
	for len(args) > 0 && args[0].kind == argTag {
		a := args[0]
		want, known := tags[a.tag]
		if !known {
			c.fail(a.line, "%s has no :%s%s", n.name, a.tag, like(a.tag, maps.Keys(tags)))
			return nil
		}
		if out.is(a.tag) {
			c.fail(a.line, ":%s stands there twice", a.tag)
			return nil
		}
		args = args[1:]
		if want == none {
			out.tags[a.tag] = argument{kind: argTag, line: a.line}
			continue
		}
		if len(args) == 0 || !fits(args[0].kind, want) {
			c.fail(a.line, ":%s wants %s behind it", a.tag, kindWords(want))
			return nil
		}
		out.tags[a.tag] = args[0]
		args = args[1:]
	}
	for i, want := range pos {
		if i < len(args) && args[i].kind == argTag {
			c.fail(args[i].line, ":%s must stand before the other arguments of %s", args[i].tag, n.name)
			return nil
		}
		if i >= len(args) || !fits(args[i].kind, want) {
			c.fail(n.line, "%s wants %s%s", n.name, placeWords(i, len(pos)), kindWords(want))
			return nil
		}
		out.pos = append(out.pos, args[i])
	}
	if extra := args[len(pos):]; len(extra) > 0 {
		if extra[0].kind == argTag {
			c.fail(extra[0].line, ":%s must stand before the other arguments of %s", extra[0].tag, n.name)
		} else {
			c.fail(extra[0].line, "%s has too many arguments", n.name)
		}
		return nil
	}
	return out
}

func fits(have, want argKind) bool { return have == want || want == argList && have == argText }

func kindWords(k argKind) string {
	return map[argKind]string{argNumber: "a number", argText: "a string", argList: "a string or a list of strings"}[k]
}

func placeWords(i, of int) string {
	if of == 1 {
		return ""
	}
	return []string{"as its first argument ", "as its second argument ", "as its third argument "}[min(i, 2)]
}

// with adds tags to some others.
func with(tags ...map[string]argKind) map[string]argKind {
	out := map[string]argKind{}
	for _, t := range tags {
		maps.Copy(out, t)
	}
	return out
}

// only says so if more than one of some tags is there, and gives the one that is.
func (c *compiler) only(t *taken, names ...string) string {
	found := ""
	for _, name := range names {
		if !t.is(name) {
			continue
		}
		if found != "" {
			c.fail(t.line, ":%s and :%s exclude each other", found, name)
		}
		found = name
	}
	return found
}

// at says where an error was met, unless that is known.
func at(line int, err error) error {
	if _, ok := errors.AsType[*Error](err); ok || err == nil {
		return err
	}
	if _, ok := errors.AsType[*signal](err); ok {
		return err
	}
	return &runError{line, err}
}

// A runError is one that a script has met at a line; what it wraps may be the World's.
type runError struct {
	line int
	err  error
}

func (e *runError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *runError) Unwrap() error { return e.err }
