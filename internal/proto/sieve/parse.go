package sieve

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxNesting is how deep blocks and tests stand in each other. RFC 5228 §2.10.5
const maxNesting = 32

// A node is a command or a test as it is written.
type node struct {
	name  string
	line  int
	args  []argument
	tests []*node
	// listed: the tests stand in parentheses.
	listed bool
	block  []*node
	// hasBlock: there is one, perhaps an empty one.
	hasBlock bool
}

type argKind byte

const (
	none argKind = iota
	argTag
	argNumber
	argText
	argList
)

// An argument is a tag, a number, a string or a list of strings.
type argument struct {
	kind argKind
	line int
	tag  string
	num  uint64
	list []string // of a string one
}

// A parser reads the generic syntax. RFC 5228 §8.2
type parser struct {
	lex   lexer
	tok   token
	depth int
}

func parse(script []byte) ([]*node, error) {
	if len(script) > MaxScript {
		return nil, &Error{1, fmt.Sprintf("a script has %d bytes at most", MaxScript)}
	}
	if !utf8.Valid(script) {
		line := 1
		for i := 0; i < len(script); {
			r, n := utf8.DecodeRune(script[i:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			if r == '\n' {
				line++
			}
			i += n
		}
		return nil, &Error{line, "this is no UTF-8"}
	}
	in := strings.TrimPrefix(string(script), "\ufeff")
	if i := strings.IndexByte(in, 0); i >= 0 {
		return nil, &Error{1 + strings.Count(in[:i], "\n"), "a script has no NUL in it"}
	}
	p := &parser{lex: lexer{in: in, line: 1}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	list, err := p.commands()
	if err == nil && p.tok.kind != end {
		err = p.fail("%v closes nothing", p.tok)
	}
	return list, err
}

func (p *parser) fail(format string, args ...any) error {
	return &Error{p.tok.line, fmt.Sprintf(format, args...)}
}

func (p *parser) advance() (err error) {
	p.tok, err = p.lex.next()
	return err
}

func (p *parser) is(s string) bool { return p.tok.kind == mark && p.tok.text == s }

func (p *parser) commands() (list []*node, err error) {
	for p.tok.kind == word {
		n, err := p.node(true)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	if p.tok.kind != end && !p.is("}") {
		return nil, p.fail("a command must stand here, and not %v", p.tok)
	}
	return list, nil
}

// node reads a command, with what ends it, or a test.
func (p *parser) node(command bool) (*node, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, p.fail("this stands in too many others: %d may", maxNesting)
	}
	defer func() { p.depth-- }()
	n := &node{name: p.tok.text, line: p.tok.line}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if err := p.arguments(n); err != nil {
		return nil, err
	}
	if !command {
		return n, nil
	}
	if p.is(";") {
		return n, p.advance()
	}
	if !p.is("{") {
		return nil, &Error{p.lastLine(n), fmt.Sprintf("%s wants a semicolon or a block behind it, and there is %v", n.name, p.tok)}
	}
	opened := p.tok.line
	if err := p.advance(); err != nil {
		return nil, err
	}
	var err error
	if n.block, err = p.commands(); err != nil {
		return nil, err
	}
	n.hasBlock = true
	if !p.is("}") {
		return nil, &Error{opened, "this block has no end: } is missing"}
	}
	return n, p.advance()
}

// lastLine is where what is missing behind a command should have stood.
func (p *parser) lastLine(n *node) int {
	if len(n.args) > 0 && len(n.tests) == 0 {
		return n.args[len(n.args)-1].line
	}
	return n.line
}

func (p *parser) arguments(n *node) error {
	for {
		a := argument{line: p.tok.line}
		switch {
		case p.tok.kind == tag:
			a.kind, a.tag = argTag, p.tok.text
		case p.tok.kind == number:
			a.kind, a.num = argNumber, p.tok.num
		case p.tok.kind == text:
			a.kind, a.list = argText, []string{p.tok.text}
		case p.is("["):
			list, err := p.list()
			if err != nil {
				return err
			}
			n.args = append(n.args, argument{kind: argList, line: a.line, list: list})
			continue
		default:
			return p.testsOf(n)
		}
		n.args = append(n.args, a)
		if err := p.advance(); err != nil {
			return err
		}
	}
}

func (p *parser) list() (list []string, err error) {
	for {
		if err := p.advance(); err != nil {
			return nil, err
		}
		if p.tok.kind != text {
			return nil, p.fail("a list has strings in it, and not %v", p.tok)
		}
		list = append(list, p.tok.text)
		if err := p.advance(); err != nil {
			return nil, err
		}
		if p.is("]") {
			return list, p.advance()
		}
		if !p.is(",") {
			return nil, p.fail("a list goes on with a comma or ends with ], and not with %v", p.tok)
		}
	}
}

func (p *parser) testsOf(n *node) error {
	if p.tok.kind == word {
		t, err := p.node(false)
		n.tests = append(n.tests, t)
		return err
	}
	if !p.is("(") {
		return nil
	}
	n.listed = true
	for {
		if err := p.advance(); err != nil {
			return err
		}
		if p.tok.kind != word {
			return p.fail("a test must stand here, and not %v", p.tok)
		}
		t, err := p.node(false)
		if err != nil {
			return err
		}
		n.tests = append(n.tests, t)
		if p.is(")") {
			return p.advance()
		}
		if !p.is(",") {
			return p.fail("a list of tests goes on with a comma or ends with ), and not with %v", p.tok)
		}
	}
}
