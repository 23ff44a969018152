// Package script plays dialogues that are written as text: what the client
// says, and what the server must answer. The same file runs over a pipe in a
// test, and against any server.
//
// A dialogue has a step per line; lines that are empty or begin with # are
// passed over:
//
//	C: text      say text and CRLF
//	C- text      say text, and no CRLF
//	C*100: text  say text and CRLF 100 times
//	S: text      the next line is text
//	S~ pattern   the next line matches the regular expression, as a whole
//	S*100~ ...   100 lines match
//	S* text      lines are passed over until one is text
//	EOF          the server closes the connection
//	CLOSE        the client does
//	TLS          the client begins TLS, and does not look at the certificate
//
// What the client says before it listens again leaves in one write. In C lines
// \r \n \t \0 \\ and \xff are bytes.
package script

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience is how long a server may take for a line.
const patience = 10 * time.Second

// Run plays the dialogue in the file and fails the test at the first step that
// does not come about.
func Run(t testing.TB, conn net.Conn, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := Play(conn, filepath.Base(file), string(text)); err != nil {
		t.Fatal(err)
	}
}

// Play plays a dialogue; name stands in the errors.
func Play(conn net.Conn, name, text string) error {
	p := player{conn: conn, r: bufio.NewReader(conn)}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if err := p.step(line); err != nil {
			return fmt.Errorf("%s:%d: %s: %w", name, n, line, err)
		}
	}
	if err := p.flush(); err != nil {
		return fmt.Errorf("%s: at the end: %w", name, err)
	}
	return nil
}

type player struct {
	conn net.Conn
	r    *bufio.Reader
	out  []byte
	sent chan error // of the write that is under way
}

var stepForm = regexp.MustCompile(`^([CS])(?:\*(\d*))?([:~-]?)(?: (.*))?$`)

func (p *player) step(line string) error {
	switch line {
	case "EOF":
		return p.eof()
	case "CLOSE":
		return errors.Join(p.flush(), p.wait(), p.conn.Close())
	case "TLS":
		return p.tls()
	}
	m := stepForm.FindStringSubmatch(line)
	if m == nil {
		return errors.New("not a step")
	}
	times := 1
	if m[2] != "" {
		n, err := strconv.Atoi(m[2])
		if err != nil || n > 1_000_000 {
			return errors.New("not a number")
		}
		times = n
	}
	if m[1] == "C" {
		return p.say(m[3], m[4], times)
	}
	if strings.HasPrefix(line, "S* ") {
		return p.until(m[4])
	}
	for range times {
		if err := p.expect(m[3], m[4]); err != nil {
			return err
		}
	}
	return nil
}

func (p *player) say(how, text string, times int) error {
	b, err := unescape(text)
	if err != nil {
		return err
	}
	switch how {
	case ":":
		b = append(b, '\r', '\n')
	case "-":
	default:
		return errors.New("not a step")
	}
	for range times {
		p.out = append(p.out, b...)
	}
	return nil
}

// flush sends what has been said. It does not wait for the server to read it
// all, as the server may want to answer first.
func (p *player) flush() error {
	if err := p.wait(); err != nil || len(p.out) == 0 {
		return err
	}
	p.sent = make(chan error, 1)
	out := p.out
	p.out = nil
	p.conn.SetWriteDeadline(time.Now().Add(patience))
	go func() {
		_, err := p.conn.Write(out)
		p.sent <- err
	}()
	return nil
}

// wait waits for what is being sent.
func (p *player) wait() error {
	if p.sent == nil {
		return nil
	}
	err := <-p.sent
	p.sent = nil
	return err
}

func (p *player) line() (string, error) {
	if len(p.out) > 0 {
		if err := p.flush(); err != nil {
			return "", err
		}
	}
	p.conn.SetReadDeadline(time.Now().Add(patience))
	s, err := p.r.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("got %q, %w", s, err)
	}
	line, ok := strings.CutSuffix(s, "\r\n")
	if !ok {
		return "", fmt.Errorf("got %q, which does not end in CRLF", s)
	}
	return line, nil
}

func (p *player) expect(how, text string) error {
	line, err := p.line()
	if err != nil {
		return err
	}
	switch how {
	case ":":
		if line != text {
			return fmt.Errorf("got %q", line)
		}
		return nil
	case "~":
		re, err := regexp.Compile("^(?:" + text + ")$")
		if err != nil {
			return err
		}
		if !re.MatchString(line) {
			return fmt.Errorf("got %q", line)
		}
		return nil
	}
	return errors.New("not a step")
}

func (p *player) until(text string) error {
	for {
		line, err := p.line()
		if err != nil || line == text {
			return err
		}
	}
}

// eof expects the end; bytes that the client could not get rid of do not count
// against it.
func (p *player) eof() error {
	if len(p.out) > 0 {
		if err := p.flush(); err != nil {
			return err
		}
	}
	p.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := p.r.Peek(1); err == nil {
		rest, _ := p.r.Peek(p.r.Buffered())
		return fmt.Errorf("got %q", rest)
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the connection is still open")
	}
	p.conn.Close()
	p.wait()
	return nil
}

func (p *player) tls() error {
	if err := errors.Join(p.flush(), p.wait()); err != nil {
		return err
	}
	if n := p.r.Buffered(); n > 0 {
		b, _ := p.r.Peek(n)
		return fmt.Errorf("got %q in clear", b)
	}
	c := tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true})
	c.SetDeadline(time.Now().Add(patience))
	if err := c.Handshake(); err != nil {
		return err
	}
	p.conn, p.r = c, bufio.NewReader(c)
	return nil
}

func unescape(s string) ([]byte, error) {
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b = append(b, s[i])
			continue
		}
		if i++; i == len(s) {
			return nil, errors.New("a lone backslash")
		}
		switch s[i] {
		case 'r':
			b = append(b, '\r')
		case 'n':
			b = append(b, '\n')
		case 't':
			b = append(b, '\t')
		case '0':
			b = append(b, 0)
		case '\\':
			b = append(b, '\\')
		case 'x':
			if i+2 >= len(s) {
				return nil, errors.New("half a byte")
			}
			v, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return nil, err
			}
			b = append(b, byte(v))
			i += 2
		default:
			return nil, fmt.Errorf("no such escape: \\%c", s[i])
		}
	}
	return b, nil
}
