package carrier

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/sasl"
)

// A Server is an IMAP server and how one logs in there.
type Server struct {
	Host string // name or address
	Port string // "" is the usual one
	// Security is tls (from the first byte), starttls or none.
	Security string
	// TLS checks the certificate; nil: as usual.
	TLS *tls.Config
	// User is whose mail it is; Master logs in for them, if it is set.
	User, Master, Password string
	// Login gives what logs in instead of the password, by one of the mechanisms that
	// are offered; its client may be nil: then the password goes in LOGIN.
	Login func(ctx context.Context, offered []string) (sasl.Client, error)
	Dial  func(ctx context.Context, network, addr string) (net.Conn, error)

	greetOnly bool // for Try
}

const (
	// patience is how long a server may keep us waiting.
	patience = 5 * time.Minute
	// greetingTime is how long it has for its greeting.
	greetingTime = 30 * time.Second
)

// ErrRefused is a NO or BAD of an IMAP server.
var ErrRefused = errors.New("the server refuses")

// ErrLogin is wrapped around what came of logging in.
var ErrLogin = errors.New("log in")

// ErrNoTLS says that a server does not begin TLS, which it was asked to.
var ErrNoTLS = errors.New("it does not know STARTTLS: choose tls, which has port 993 as a rule")

// errSilent says that there is no greeting, which a server that waits for TLS does not give.
var errSilent = errors.New("it says nothing: if it begins with TLS, choose tls")

// errClear says that a server does not begin with TLS.
var errClear = errors.New("it does not begin with TLS: choose starttls, or another port")

// errPreauth says that nobody can be believed to be logged in before TLS. RFC 9051 §7.1.4
var errPreauth = errors.New("it says before TLS that one is logged in, as somebody in between could")

// A ByeError is a server that has hung up, and has said why.
type ByeError struct {
	Said string
	err  error
}

// Error gives what happened, and what was said.
func (e *ByeError) Error() string { return e.err.Error() + ": " + e.Said }

// Unwrap gives what happened.
func (e *ByeError) Unwrap() error { return e.err }

// A session is a connection to an IMAP server, logged in.
type session struct {
	conn net.Conn
	in   *imap.Answers
	out  *bufio.Writer
	tag  int
	caps map[string]bool
	can  []string // the same, as the server says it
	bye  string
}

// timed sets a deadline for each read and write.
type timed struct{ net.Conn }

// Read is as of net.Conn.
func (t timed) Read(p []byte) (int, error) {
	t.SetReadDeadline(time.Now().Add(patience))
	return t.Conn.Read(p)
}

// Write is as of net.Conn.
func (t timed) Write(p []byte) (int, error) {
	t.SetWriteDeadline(time.Now().Add(patience))
	return t.Conn.Write(p)
}

// dial connects and logs in.
func (s *Server) dial(ctx context.Context) (*session, error) {
	port := s.Port
	if port == "" {
		port = map[string]string{"tls": "993"}[s.Security]
	}
	if port == "" {
		port = "143"
	}
	conn, err := s.Dial(ctx, "tcp", net.JoinHostPort(s.Host, port))
	if err != nil {
		return nil, unreached(s.Host, port, err)
	}
	c := &session{conn: conn}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err = s.begin(ctx, c)
	if !stop() && ctx.Err() != nil {
		err = ctx.Err()
	}
	if _, clear := errors.AsType[tls.RecordHeaderError](err); clear {
		err = fmt.Errorf("%w (%w)", errClear, err)
	}
	if err != nil {
		c.conn.Close()
		return nil, fmt.Errorf("%s: %w", s.Host, err)
	}
	return c, nil
}

// unreached says that a server cannot be reached.
func unreached(host, port string, err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("%s cannot be reached at port %s: %w", host, port, err)
}

// Try tells whether the server can be reached as it is said to be, and if there is a
// password, whether it is taken. When ctx ends it fails.
func (s *Server) Try(ctx context.Context) error {
	h, settle := s.hurried(ctx)
	h.greetOnly = s.Password == ""
	c, err := h.dial(ctx)
	if c != nil {
		defer c.close()
	}
	return settle(err)
}

// secure gives how TLS begins there.
func (s *Server) secure() *tls.Config {
	cfg := &tls.Config{}
	if s.TLS != nil {
		cfg = s.TLS.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = s.Host
	}
	return cfg
}

func (s *Server) begin(ctx context.Context, c *session) error {
	cfg := s.secure()
	if s.Security == "tls" {
		c.conn = tls.Client(c.conn, cfg)
	}
	c.in, c.out = imap.NewAnswers(timed{c.conn}), bufio.NewWriterSize(timed{c.conn}, 64<<10)
	raw := c.conn
	late := time.AfterFunc(greetingTime, func() { raw.Close() })
	tag, err := c.in.Next()
	if !late.Stop() || err == io.EOF && s.Security != "tls" {
		return errSilent
	}
	if err != nil {
		return err
	}
	hello, err := c.in.Rest()
	if err != nil || tag != "*" || !isWord(hello, "OK") && !isWord(hello, "PREAUTH") {
		return errors.Join(fmt.Errorf("it greets with %q", hello), err)
	}
	if s.Security == "starttls" {
		if isWord(hello, "PREAUTH") {
			return errPreauth
		}
		if err := c.do(ctx, "STARTTLS", nil); errors.Is(err, ErrRefused) {
			return fmt.Errorf("%w (%w)", ErrNoTLS, err)
		} else if err != nil {
			return err
		}
		c.conn = tls.Client(c.conn, cfg)
		if err := c.in.Reset(timed{c.conn}); err != nil {
			return fmt.Errorf("something came between STARTTLS and TLS: %w", err)
		}
		c.out.Reset(timed{c.conn})
	}
	if err := c.capability(ctx); err != nil {
		return err
	}
	if s.greetOnly {
		return nil
	}
	if !isWord(hello, "PREAUTH") {
		if err := s.login(ctx, c); err != nil {
			return fmt.Errorf("%w as %s: %w", ErrLogin, s.User, err)
		}
	}
	return c.capability(ctx)
}

func isWord(text, word string) bool {
	first, _, _ := strings.Cut(text, " ")
	return strings.EqualFold(first, word)
}

func (c *session) capability(ctx context.Context) error {
	c.caps, c.can = map[string]bool{}, nil
	return c.do(ctx, "CAPABILITY", func(name string) error {
		for name == "CAPABILITY" {
			t, err := c.in.Token()
			if err != nil || t.Kind == imap.EndToken {
				return err
			}
			c.caps[strings.ToUpper(t.Text)] = true
			c.can = append(c.can, t.Text)
		}
		return nil
	})
}

// login proves who we are by the best means there is.
func (s *Server) login(ctx context.Context, c *session) error {
	who := sasl.Credentials{User: s.User, Password: s.Password}
	if s.Master != "" {
		who = sasl.Credentials{Authzid: s.User, User: s.Master, Password: s.Password}
	}
	var offered []string
	for name := range c.caps {
		if mech, ok := strings.CutPrefix(name, "AUTH="); ok {
			offered = append(offered, mech)
		}
	}
	if s.Login != nil {
		client, err := s.Login(ctx, offered)
		if err != nil || client != nil {
			if err == nil {
				err = c.authenticate(ctx, client)
			}
			return err
		}
		offered = nil
	}
	mech := sasl.Best(offered, sasl.ChannelBinding{})
	if s.Master != "" && mech == sasl.Login {
		mech = ""
	}
	if mech == "" {
		if c.caps["LOGINDISABLED"] || s.Master != "" {
			return errors.New("the server offers no way to do it that we know")
		}
		return c.do(ctx, "LOGIN "+quote(s.User)+" "+quote(s.Password), nil)
	}
	client, err := sasl.NewClient(mech, who, sasl.ChannelBinding{})
	if err != nil {
		return err
	}
	return c.authenticate(ctx, client)
}

// quote gives a quoted string; the commands it is for take no literals of us.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "").Replace(s) + `"`
}

func (c *session) authenticate(ctx context.Context, client sasl.Client) error {
	first, err := client.Next(nil)
	if err != nil {
		return err
	}
	command := "AUTHENTICATE " + client.Mechanism()
	if first != nil && c.caps["SASL-IR"] {
		command += " " + base64.StdEncoding.EncodeToString(first)
		first = nil
	}
	tag := c.send(command)
	if err := c.out.Flush(); err != nil {
		return err
	}
	for {
		got, err := c.in.Next()
		if err != nil {
			return err
		}
		rest, err := c.in.Rest()
		if err != nil {
			return err
		}
		switch got {
		case tag:
			if !isWord(rest, "OK") {
				return fmt.Errorf("%w: %s", ErrRefused, rest)
			}
			return client.Done()
		case "+":
			answer := first
			if first = nil; answer == nil {
				challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
				if err != nil {
					return err
				}
				if answer, err = client.Next(challenge); err != nil {
					return err
				}
			}
			c.out.WriteString(base64.StdEncoding.EncodeToString(answer) + "\r\n")
			if err := c.out.Flush(); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// send writes a command, which goes out with the next that is waited for.
func (c *session) send(command string) (tag string) {
	c.tag++
	tag = fmt.Sprintf("p%d", c.tag)
	c.out.WriteString(tag + " " + command + "\r\n")
	return tag
}

// do sends a command and waits for its end.
func (c *session) do(ctx context.Context, command string, untagged func(name string) error) error {
	tag := c.send(command)
	if err := c.out.Flush(); err != nil {
		return err
	}
	return c.wait(ctx, tag, untagged)
}

// wait reads until the command with the tag has ended. What comes untagged is
// given to untagged by its name, which stands behind the number if there is one.
func (c *session) wait(ctx context.Context, tag string, untagged func(name string) error) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		got, err := c.in.Next()
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			if c.bye != "" {
				err = &ByeError{Said: c.bye, err: err}
			}
			return err
		}
		if got == tag {
			rest, err := c.in.Rest()
			if err == nil && !isWord(rest, "OK") {
				err = fmt.Errorf("%w: %s", ErrRefused, rest)
			}
			return err
		}
		if got != "*" {
			continue
		}
		t, err := c.in.Token()
		if err != nil {
			return err
		}
		name := strings.ToUpper(t.Text)
		if name != "" && '0' <= name[0] && name[0] <= '9' {
			if t, err = c.in.Token(); err != nil {
				return err
			}
			name = strings.ToUpper(t.Text)
		}
		if name == "BYE" {
			if c.bye, err = c.in.Rest(); err != nil {
				return err
			}
		}
		if untagged != nil {
			if err := untagged(name); err != nil {
				return err
			}
		}
	}
}

// close says goodbye.
func (c *session) close() error {
	c.send("LOGOUT")
	c.out.Flush()
	return c.conn.Close()
}
