package carrier

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
)

// maxPOP3Line is the longest line that a POP3 server may answer a login with.
const maxPOP3Line = 4 << 10

// A pop3Client is a connection to a POP3 server before it is logged in.
type pop3Client struct {
	conn net.Conn
	in   *bufio.Reader
}

// OpenPOP3 is Open for a POP3 server, which is reached at Port, 995 or 110 if it is "".
func (s *Server) OpenPOP3(ctx context.Context) (*Line, error) {
	hurried, settle := s.hurried(ctx)
	c, err := hurried.dialPOP3(ctx)
	if err = settle(err); err != nil {
		if c != nil {
			c.conn.Close()
		}
		return nil, err
	}
	early := make([]byte, c.in.Buffered())
	c.in.Read(early)
	return newLine(c.conn, early, ""), nil
}

func (s *Server) dialPOP3(ctx context.Context) (*pop3Client, error) {
	port := s.Port
	if port == "" {
		port = "110"
		if s.Security == "tls" {
			port = "995"
		}
	}
	conn, err := s.Dial(ctx, "tcp", net.JoinHostPort(s.Host, port))
	if err != nil {
		return nil, err
	}
	c := &pop3Client{conn: conn}
	if err := s.beginPOP3(c); err != nil {
		c.conn.Close()
		return nil, fmt.Errorf("%s: %w", s.Host, err)
	}
	return c, nil
}

func (s *Server) beginPOP3(c *pop3Client) error {
	if s.Security == "tls" {
		c.conn = tls.Client(c.conn, s.secure())
	}
	c.in = bufio.NewReaderSize(timed{c.conn}, maxPOP3Line)
	if _, err := c.answer(); err != nil {
		return err
	}
	if s.Security == "starttls" {
		if _, err := c.do("STLS"); err != nil {
			return err
		}
		if c.in.Buffered() > 0 {
			return errors.New("something came between STLS and TLS")
		}
		c.conn = tls.Client(c.conn, s.secure())
		c.in.Reset(timed{c.conn})
	}
	if err := s.loginPOP3(c); err != nil {
		return fmt.Errorf("%w as %s: %w", ErrLogin, s.User, err)
	}
	return nil
}

// loginPOP3 logs in with USER and PASS, which every server has; as a master with
// PLAIN, the only one that can say for whom.
func (s *Server) loginPOP3(c *pop3Client) error {
	if strings.ContainsAny(s.User+s.Master+s.Password, "\r\n\x00") {
		return fmt.Errorf("%w: a name or a password of more than one line", ErrRefused)
	}
	if s.Master == "" {
		if _, err := c.do("USER " + s.User); err != nil {
			return err
		}
		_, err := c.do("PASS " + s.Password)
		return err
	}
	response := base64.StdEncoding.EncodeToString([]byte(s.User + "\x00" + s.Master + "\x00" + s.Password))
	line, err := c.do("AUTH PLAIN")
	if err == nil && strings.HasPrefix(line, "+ ") {
		_, err = c.do(response)
	}
	return err
}

func (c *pop3Client) do(line string) (string, error) {
	if _, err := (timed{c.conn}).Write([]byte(line + "\r\n")); err != nil {
		return "", err
	}
	return c.answer()
}

// answer reads a line; "-ERR" is ErrRefused.
func (c *pop3Client) answer() (string, error) {
	b, err := c.in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	line := strings.TrimRight(string(b), "\r\n")
	switch {
	case line == "+OK", line == "+", strings.HasPrefix(line, "+OK "), strings.HasPrefix(line, "+ "):
		return line + " ", nil
	case strings.HasPrefix(line, "-ERR"):
		return "", fmt.Errorf("%w: %s", ErrRefused, strings.TrimSpace(line[4:]))
	}
	return "", fmt.Errorf("%w: it answers %q", errors.ErrUnsupported, line)
}
