//go:build crash

package crash

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"posthaste/internal/base/mail"
)

// wireTime is how long a client waits for an answer.
const wireTime = 20 * time.Second

// A wire is a connection of a client.
type wire struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (*wire, error) {
	c, err := net.DialTimeout("tcp", addr, 2*time.Second)
	if err != nil {
		return nil, err
	}
	return newWire(c), nil
}

func newWire(c net.Conn) *wire { return &wire{c, bufio.NewReaderSize(c, 64<<10)} }

func (w *wire) line() (string, error) {
	if err := w.SetDeadline(time.Now().Add(wireTime)); err != nil {
		return "", err
	}
	s, err := w.r.ReadString('\n')
	return strings.TrimRight(s, "\r\n"), err
}

// A no is an answer that the server gave, and not the one that was hoped for.
type no string

func (n no) Error() string { return string(n) }

// An smtpClient sends letters.
type smtpClient struct{ *wire }

func dialSMTP(addr string) (*smtpClient, error) {
	w, err := dial(addr)
	if err != nil {
		return nil, err
	}
	return helloSMTP(w)
}

func helloSMTP(w *wire) (*smtpClient, error) {
	c := &smtpClient{w}
	if err := c.reply("220"); err != nil {
		return nil, err
	}
	return c, c.say("EHLO client.example", "250")
}

func (c *smtpClient) say(command, want string) error {
	if _, err := io.WriteString(c, command+"\r\n"); err != nil {
		return err
	}
	return c.reply(want)
}

func (c *smtpClient) reply(want string) error {
	for {
		l, err := c.line()
		if err != nil {
			return err
		}
		if len(l) > 3 && l[3] == '-' {
			continue
		}
		if !strings.HasPrefix(l, want) {
			return no(l)
		}
		return nil
	}
}

// send hands a letter in. An answer that is a no leaves the session good.
func (c *smtpClient) send(body []byte, to []string) error {
	err := c.say("MAIL FROM:<a@"+abroad+">", "250")
	for _, t := range to {
		if err == nil {
			err = c.say("RCPT TO:<"+t+">", "250")
		}
	}
	if err == nil {
		err = c.say("DATA", "354")
	}
	if err == nil {
		if _, err = c.Write(append(body[:len(body):len(body)], ".\r\n"...)); err == nil {
			return c.reply("250") // no line of a letter begins with a dot
		}
	}
	if _, ok := errors.AsType[no](err); ok {
		if rerr := c.say("RSET", "250"); rerr != nil {
			return rerr
		}
	}
	return err
}

// An imapClient reads and changes mail.
type imapClient struct {
	*wire
	n int
}

func dialIMAP(addr, user string) (*imapClient, error) {
	w, err := dial(addr)
	if err != nil {
		return nil, err
	}
	return helloIMAP(w, user)
}

func helloIMAP(w *wire, user string) (*imapClient, error) {
	c := &imapClient{wire: w}
	if l, err := c.line(); err != nil || !strings.HasPrefix(l, "* OK") {
		return nil, errors.Join(no(l), err)
	}
	_, err := c.do("LOGIN " + user + " " + password)
	return c, err
}

// An untagged answer: its text with literals cut out, and those.
type untagged struct {
	text     string
	literals [][]byte
}

// do gives the untagged answers to a command; a no if it was not OK.
func (c *imapClient) do(command string) (out []untagged, err error) {
	c.n++
	tag := fmt.Sprintf("t%d ", c.n)
	if _, err := io.WriteString(c, tag+command+"\r\n"); err != nil {
		return nil, err
	}
	for {
		u, err := c.answer()
		if err != nil {
			return nil, err
		}
		rest, mine := strings.CutPrefix(u.text, tag)
		if !mine {
			out = append(out, u)
			continue
		}
		if !strings.HasPrefix(rest, "OK") {
			return nil, no(rest)
		}
		return append(out, u), nil
	}
}

func (c *imapClient) answer() (u untagged, err error) {
	for {
		l, err := c.line()
		if err != nil {
			return u, err
		}
		u.text += l
		open := strings.LastIndexByte(l, '{')
		if open < 0 || !strings.HasSuffix(l, "}") {
			return u, nil
		}
		n, err := strconv.Atoi(l[open+1 : len(l)-1])
		if err != nil {
			return u, err
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(c.r, b); err != nil {
			return u, err
		}
		u.literals = append(u.literals, b)
	}
}

// after gives the number that stands behind a word in one of the answers.
func after(answers []untagged, word string) uint64 {
	for _, u := range answers {
		if _, rest, ok := strings.Cut(u.text, word+" "); ok {
			end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
			if end < 0 {
				end = len(rest)
			}
			if n, err := strconv.ParseUint(rest[:end], 10, 64); err == nil {
				return n
			}
		}
	}
	return 0
}

// A sink is the mail server of another domain: it takes all, or now and then
// puts off, and counts what it has of each letter.
type sink struct {
	ln net.Listener
	wg sync.WaitGroup

	mu  sync.Mutex
	got map[mail.TraceID]int
	bad []string
	l   *ledger
	n   int
}

func newSink(l *ledger) (*sink, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{ln: ln, got: map[mail.TraceID]int{}, l: l}
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { defer c.Close(); s.serve(&wire{c, bufio.NewReader(c)}) })
		}
	})
	return s, nil
}

func (s *sink) serve(w *wire) {
	fmt.Fprintf(w, "220 sink\r\n")
	for {
		l, err := w.line()
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(l), " "); verb {
		case "EHLO":
			fmt.Fprintf(w, "250-sink\r\n250 PIPELINING\r\n")
		case "DATA":
			fmt.Fprintf(w, "354 go on\r\n")
			var b []byte
			for {
				l, err := w.r.ReadBytes('\n')
				if err != nil {
					return
				}
				if string(l) == ".\r\n" {
					break
				}
				b = append(b, l...)
			}
			fmt.Fprintf(w, "%s\r\n", s.take(b))
		case "QUIT":
			fmt.Fprintf(w, "221 bye\r\n")
			return
		default:
			fmt.Fprintf(w, "250 ok\r\n")
		}
	}
}

func (s *sink) take(b []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n++; s.n%5 == 0 {
		return "451 4.7.1 not now"
	}
	id, sum, err := recognize(b)
	s.l.mu.Lock()
	lt := s.l.letters[id]
	s.l.mu.Unlock()
	switch {
	case err != nil:
		s.bad = append(s.bad, err.Error())
	case lt == nil || lt.sum != sum:
		s.bad = append(s.bad, fmt.Sprintf("letter %v came abroad, and was never sent so", id))
	default:
		s.got[id]++
	}
	return "250 taken"
}

// recognize finds in a message the letter that was sent: what stands before it
// are trace fields of servers.
func recognize(b []byte) (id mail.TraceID, sum [sha256.Size]byte, err error) {
	at := bytes.Index(b, []byte("From: <a@"))
	if at < 0 {
		return id, sum, errors.New("a message is none of ours")
	}
	b = b[at:]
	_, rest, _ := strings.Cut(string(b[:min(len(b), 200)]), "Subject: letter ")
	word, _, _ := strings.Cut(rest, "\r\n")
	id, err = mail.ParseTraceID(word)
	return id, sha256.Sum256(b), err
}
