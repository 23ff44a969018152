package smtp

import (
	"encoding/base64"
	"errors"
	"io"
	"time"
)

// How long a client waits for the other side. RFC 5321 §4.5.3.2
const (
	waitGreeting = 5 * time.Minute
	waitCommand  = 5 * time.Minute
	waitData     = 2 * time.Minute
	waitBlock    = 3 * time.Minute
	waitFinal    = 10 * time.Minute
	waitQuit     = 5 * time.Second
)

// ClientOptions is what a Client needs to know.
type ClientOptions struct {
	Dialect Dialect
	Hello   string              // what we call ourselves
	Remote  string              // the host at the other end, as outcomes name it
	Buffers *Buffers            // shared by all clients; may be nil
	Wait    func(time.Duration) // sets how long reads and writes may take from now; may be nil
	Now     func() time.Time    // for messages that are to be delivered by a time; nil: those are not sent
}

// A Client is the client's side of a session over a stream that somebody else
// has opened and will close. It belongs to one goroutine.
//
// An error is the end of the session, except for a *ReplyError with a code
// other than 421.
type Client struct {
	o   ClientOptions
	r   *Reader
	w   io.Writer
	out []byte
	ext Extensions
}

// A ReplyError is a "no" of the other side to something that is not about one
// message.
type ReplyError struct {
	Command string // what it was said to; "" for the connection itself
	Reply   Reply
}

// Error gives the command and the reply.
func (e *ReplyError) Error() string {
	if e.Command == "" {
		return "greeted with " + e.Reply.String()
	}
	return e.Command + " answered with " + e.Reply.String()
}

// ErrNoTLS tells that the other side does not offer STARTTLS.
var ErrNoTLS = errors.New("STARTTLS is not offered")

// errTyped tells that plain text came after the answer to STARTTLS: somebody
// in between put words into the session. RFC 3207 §6
var errTyped = errors.New("the peer went on in clear after STARTTLS")

// NewClient makes a client of a stream.
func NewClient(rw io.ReadWriter, o ClientOptions) *Client {
	if o.Buffers == nil {
		o.Buffers = new(Buffers)
	}
	if o.Wait == nil {
		o.Wait = func(time.Duration) {}
	}
	return &Client{o: o, r: NewReader(rw, o.Buffers), w: rw}
}

// Extensions gives what the other side offers, as of its last greeting.
func (c *Client) Extensions() Extensions { return c.ext }

// Greet waits for the greeting and introduces us.
func (c *Client) Greet() error {
	c.o.Wait(waitGreeting)
	rep, err := ReadReply(c.r)
	if err != nil {
		return err
	}
	if rep.Code != 220 {
		return &ReplyError{Reply: rep}
	}
	return c.hello()
}

// hello introduces us: EHLO, and HELO to hosts that do not know it.
// RFC 5321 §3.2
func (c *Client) hello() error {
	verb := "EHLO"
	if c.o.Dialect == LMTP {
		verb = "LHLO"
	}
	c.ext = Extensions{}
	rep, err := c.ask(waitCommand, verb, c.o.Hello)
	if err != nil {
		return err
	}
	if rep.Good() {
		c.ext = ParseExtensions(rep.Text)
		return nil
	}
	if rep.Code/100 == 5 && verb == "EHLO" {
		verb = "HELO"
		if rep, err = c.ask(waitCommand, verb, c.o.Hello); err != nil {
			return err
		}
		if rep.Good() {
			return nil
		}
	}
	return &ReplyError{verb, rep}
}

// StartTLS asks for TLS, calls upgrade for the stream that goes on, and
// introduces us again. What was offered in clear is forgotten. RFC 3207
func (c *Client) StartTLS(upgrade func() (io.ReadWriter, error)) error {
	if !c.ext.StartTLS {
		return ErrNoTLS
	}
	rep, err := c.ask(waitCommand, "STARTTLS")
	if err != nil {
		return err
	}
	if rep.Code != 220 {
		return &ReplyError{"STARTTLS", rep}
	}
	if c.r.Buffered() > 0 {
		return errTyped
	}
	rw, err := upgrade()
	if err != nil {
		return err
	}
	c.r.Reset(rw)
	c.w = rw
	return c.hello()
}

// An Authenticator is the client's side of a SASL mechanism; those of
// proto/sasl are.
type Authenticator interface {
	Mechanism() string
	// Next gives the answer to a challenge. It is first called with nil: it
	// gives the initial response then, nil if the mechanism has none.
	Next(challenge []byte) ([]byte, error)
	// Done is called when the server says yes; its error is that the server
	// has not shown to be the right one.
	Done() error
}

// Auth logs in. RFC 4954
func (c *Client) Auth(a Authenticator) error {
	resp, err := a.Next(nil)
	if err != nil {
		return err
	}
	args := []string{"AUTH", a.Mechanism()}
	if resp != nil {
		args = append(args, encodeInitial(resp))
	}
	rep, err := c.ask(waitCommand, args...)
	for ; err == nil && rep.Code == 334; rep, err = c.ask(waitCommand, base64.StdEncoding.EncodeToString(resp)) {
		challenge, derr := base64.StdEncoding.DecodeString(rep.Text)
		if derr == nil {
			resp, derr = a.Next(challenge)
		}
		if derr != nil {
			if _, err = c.ask(waitCommand, "*"); err == nil {
				err = derr
			}
			return err
		}
	}
	if err != nil {
		return err
	}
	if rep.Code != 235 {
		return &ReplyError{"AUTH", rep}
	}
	return a.Done()
}

// encodeInitial encodes an initial response. RFC 4954 §4
func encodeInitial(resp []byte) string {
	if len(resp) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(resp)
}

// Reset ends the transaction, if there is one, and shows that the other side
// is still there.
func (c *Client) Reset() error { return c.expectGood("RSET") }

// Quit says goodbye. The stream is still to be closed.
func (c *Client) Quit() error {
	_, err := c.ask(waitQuit, "QUIT")
	return err
}

func (c *Client) expectGood(cmd string) error {
	rep, err := c.ask(waitCommand, cmd)
	if err == nil && !rep.Good() {
		err = &ReplyError{cmd, rep}
	}
	return err
}

// ask sends a command and gives the reply to it.
func (c *Client) ask(wait time.Duration, words ...string) (Reply, error) {
	b := c.out[:0]
	for i, w := range words {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, w...)
	}
	c.out = append(b, '\r', '\n')
	c.o.Wait(wait)
	if _, err := c.w.Write(c.out); err != nil {
		return Reply{}, err
	}
	return ReadReply(c.r)
}
