package sasl

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

// maxIterations is how much work a server may make us do.
const maxIterations = 1_000_000

// A Client is the client's side of one exchange.
type Client interface {
	Mechanism() string
	// Next gives the answer to a challenge. It is first called with nil: it
	// gives the initial response then, nil if the mechanism has none.
	Next(challenge []byte) ([]byte, error)
	// Done is called when the server says yes: its error is a server that has
	// not shown, where the mechanism lets it, that it knows the password too.
	Done() error
}

// Credentials is what a client logs in with.
type Credentials struct {
	Authzid  string // whom to act as; "" for oneself
	User     string
	Password string // of OAUTHBEARER and XOAUTH2: the access token
}

// NewClient begins an exchange as the client. The error is ErrMechanism.
func NewClient(mech string, c Credentials, cb ChannelBinding) (Client, error) {
	switch mech = strings.ToUpper(mech); mech {
	case OAuthBearer, XOAuth2:
		return &tokenClient{mech: mech, c: c}, nil
	case Plain:
		return &plainClient{c}, nil
	case Login:
		return &loginClient{c: c}, nil
	case Scram, Scram1:
		return newScramClient(mech, c, scram.ChannelBinding{})
	case ScramPlus, Scram1Plus:
		b := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: cb.Exporter}
		if len(cb.Exporter) == 0 {
			b = scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: cb.EndPoint}
		}
		if b.IsSupported() {
			return newScramClient(mech, c, b)
		}
	}
	return nil, ErrMechanism
}

// Best gives the best mechanism of those offered that a client here knows, and
// that goes with a password; "" if there is none.
func Best(offered []string, cb ChannelBinding) string {
	known := []string{ScramPlus, Scram, Scram1Plus, Scram1, Plain, Login}
	if cb.IsZero() {
		known = []string{Scram, Scram1, Plain, Login}
	}
	return first(known, offered)
}

// first gives the first of known that is offered.
func first(known, offered []string) string {
	for _, m := range known {
		for _, o := range offered {
			if strings.EqualFold(m, o) {
				return m
			}
		}
	}
	return ""
}

type plainClient struct{ c Credentials }

func (p *plainClient) Mechanism() string { return Plain }
func (p *plainClient) Done() error       { return nil }

func (p *plainClient) Next(challenge []byte) ([]byte, error) {
	if len(challenge) > 0 {
		return nil, ErrMalformed
	}
	return []byte(p.c.Authzid + "\x00" + p.c.User + "\x00" + p.c.Password), nil
}

type loginClient struct {
	c    Credentials
	step int
}

func (l *loginClient) Mechanism() string { return Login }
func (l *loginClient) Done() error       { return nil }

// Next answers whatever is asked, as servers ask in different words: first the
// name, then the password.
func (l *loginClient) Next(challenge []byte) ([]byte, error) {
	if challenge == nil {
		return nil, nil
	}
	switch l.step++; l.step {
	case 1:
		return []byte(l.c.User), nil
	case 2:
		return []byte(l.c.Password), nil
	}
	return nil, ErrMalformed
}

type scramClient struct {
	mech string
	conv *scram.ClientConversation
	step int
}

func newScramClient(mech string, c Credentials, cb scram.ChannelBinding) (Client, error) {
	hash := scram.SHA256
	if mech == Scram1 || mech == Scram1Plus {
		hash = scram.SHA1
	}
	cl, err := hash.NewClient(c.User, c.Password, c.Authzid)
	if err != nil {
		if cl, err = hash.NewClientUnprepped(c.User, c.Password, c.Authzid); err != nil {
			return nil, err
		}
	}
	if cb.IsSupported() {
		return &scramClient{mech: mech, conv: cl.NewConversationWithChannelBinding(cb)}, nil
	}
	return &scramClient{mech: mech, conv: cl.NewConversation()}, nil
}

func (s *scramClient) Mechanism() string { return s.mech }

// Next gives client-first, client-final, and after the server has proved
// itself, nothing more.
func (s *scramClient) Next(challenge []byte) ([]byte, error) {
	s.step++
	if len(challenge) > maxMessage || s.step == 2 && !bearable(challenge) {
		return nil, ErrPeer
	}
	out, err := s.conv.Step(string(challenge))
	if err != nil || s.step == 3 && !s.conv.Valid() {
		return nil, ErrPeer
	}
	return []byte(out), nil
}

// bearable tells whether the server asks for a bearable number of iterations.
func bearable(serverFirst []byte) bool {
	for f := range bytes.SplitSeq(serverFirst, []byte{','}) {
		if v, ok := bytes.CutPrefix(f, []byte("i=")); ok {
			n, err := strconv.Atoi(string(v))
			return err == nil && n <= maxIterations
		}
	}
	return false
}

func (s *scramClient) Done() error {
	if !s.conv.Valid() {
		return ErrPeer
	}
	return nil
}
