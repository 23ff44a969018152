package sasl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"
)

// A scramServer leaves the exchange itself to the library, and holds to what
// RFC 5802 §6 says of names: -PLUS is bound to the channel, the others are not. A client that could be bound but believes that we could
// not ("y") is right to where that is not announced; where it is, somebody has
// taken it out of the list on the way.
type scramServer struct {
	v    Verifier
	cb   ChannelBinding
	sha1 bool // the mechanism is SCRAM-SHA-1 or its -PLUS
	plus bool // the mechanism is a -PLUS

	bindable bool // it is not, but was announced

	conv   *scram.ServerConversation // of the first password
	others []*scram.ServerConversation
	keys   ScramKeys
	step   int
	id     Identity
}

// Identity gives who has logged in.
func (s *scramServer) Identity() Identity { return s.id }

// Next takes client-first, client-final, and the empty answer to the last
// challenge. RFC 5802 §5
func (s *scramServer) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if len(response) > maxMessage {
		return nil, false, ErrMalformed
	}
	s.step++
	switch s.step {
	case 1:
		if response == nil {
			s.step = 0
			return []byte{}, false, nil
		}
		return s.first(ctx, response)
	case 2:
		return s.final(ctx, response)
	case 3:
		if len(response) == 0 && s.id != (Identity{}) {
			return nil, true, nil
		}
	}
	return nil, false, ErrMalformed
}

func (s *scramServer) first(ctx context.Context, response []byte) ([]byte, bool, error) {
	bound := bytes.HasPrefix(response, []byte("p="))
	if bound != s.plus {
		// "n" with PLUS and "p" without are not lies but mistakes.
		return nil, false, ErrMalformed
	}
	if s.bindable && bytes.HasPrefix(response, []byte("y")) {
		return nil, false, ErrFailed
	}
	var ours error
	lookup := func(user string) (scram.StoredCredentials, error) {
		if user == "" || !fine(user, maxUser) {
			return scram.StoredCredentials{}, ErrMalformed
		}
		if s.keys, ours = s.v.ScramKeys(ctx, user); ours != nil {
			return scram.StoredCredentials{}, ours
		}
		return s.stored(s.keys), nil
	}
	srv, err := s.hash().NewServer(lookup)
	if err != nil {
		return nil, false, err
	}
	s.conv = s.begin(srv, response)
	challenge, err := s.conv.Step(string(response))
	switch {
	case ours != nil:
		return nil, false, ours
	case err != nil && challenge == scram.ErrServerDoesSupportChannelBinding:
		return nil, false, ErrFailed
	case err != nil:
		return nil, false, ErrMalformed
	}
	return []byte(challenge), false, s.rest(response, challenge)
}

func (s *scramServer) hash() scram.HashGeneratorFcn {
	if s.sha1 {
		return scram.SHA1
	}
	return scram.SHA256
}

// stored gives the keys that go with the mechanism.
func (s *scramServer) stored(k ScramKeys) scram.StoredCredentials {
	c := scram.StoredCredentials{KeyFactors: scram.KeyFactors{Salt: string(k.Salt), Iters: k.Iterations}, StoredKey: k.StoredKey, ServerKey: k.ServerKey}
	if s.sha1 {
		c.StoredKey, c.ServerKey = k.StoredKey1, k.ServerKey1
	}
	return c
}

func (s *scramServer) begin(srv *scram.Server, response []byte) *scram.ServerConversation {
	if cb, ok := s.binding(response); ok {
		return srv.NewConversationWithChannelBinding(cb)
	}
	return srv.NewConversation()
}

// rest begins the same exchange for each of the user's other passwords: the
// challenge is one and the same, since salt, rounds and nonce are.
func (s *scramServer) rest(response []byte, challenge string) error {
	nonce, _, _ := strings.Cut(strings.TrimPrefix(challenge, "r="), ",")
	for _, k := range s.keys.Others {
		srv, err := s.hash().NewServer(func(string) (scram.StoredCredentials, error) { return s.stored(k), nil })
		if err != nil {
			return err
		}
		srv.WithNonceGenerator(func() string { return strings.TrimPrefix(nonce, clientNonce(response)) })
		conv := s.begin(srv, response)
		if same, err := conv.Step(string(response)); err != nil || same != challenge {
			return fmt.Errorf("sasl: the challenges of two passwords differ: %q and %q: %w", challenge, same, err)
		}
		s.others = append(s.others, conv)
	}
	return nil
}

// clientNonce gives the nonce of client-first. RFC 5802 §7
func clientNonce(response []byte) string {
	_, rest, _ := strings.Cut(string(response), ",r=")
	nonce, _, _ := strings.Cut(rest, ",")
	return nonce
}

// binding gives the channel binding of the type that the client names, or else
// any that we have.
func (s *scramServer) binding(response []byte) (scram.ChannelBinding, bool) {
	exporter := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: s.cb.Exporter}
	endPoint := scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: s.cb.EndPoint}
	if bytes.HasPrefix(response, []byte("p="+endPoint.Type+",")) || !exporter.IsSupported() {
		return endPoint, endPoint.IsSupported()
	}
	return exporter, true
}

func (s *scramServer) final(ctx context.Context, response []byte) ([]byte, bool, error) {
	keys := s.keys
	challenge, err := s.conv.Step(string(response))
	proved := err == nil && s.conv.Valid() && keys.Identity != (Identity{})
	for i := 0; i < len(s.others) && !proved; i++ {
		keys = s.keys.Others[i]
		challenge, err = s.others[i].Step(string(response))
		proved = err == nil && s.others[i].Valid() && keys.Identity != (Identity{})
	}
	if !proved {
		s.v.ScramFailed(ctx, s.conv.Username())
		return nil, false, ErrFailed
	}
	s.id, err = s.v.ScramProved(ctx, s.conv.AuthzID(), s.conv.Username(), keys)
	if err != nil {
		return nil, false, err
	}
	return []byte(challenge), false, nil
}

// NewScramKeys derives the keys of a prepared password. RFC 5802 §3
func NewScramKeys(password string, salt []byte, iterations int) (ScramKeys, error) {
	st, err := derive(scram.SHA256, password, salt, iterations)
	if err != nil {
		return ScramKeys{}, err
	}
	return ScramKeys{Salt: salt, Iterations: iterations, StoredKey: st.StoredKey, ServerKey: st.ServerKey}, nil
}

// AddSHA1 adds the keys of SCRAM-SHA-1 for the same password.
func (k *ScramKeys) AddSHA1(password string) error {
	st, err := derive(scram.SHA1, password, k.Salt, k.Iterations)
	k.StoredKey1, k.ServerKey1 = st.StoredKey, st.ServerKey
	return err
}

func derive(hash scram.HashGeneratorFcn, password string, salt []byte, iterations int) (scram.StoredCredentials, error) {
	// Clients prepare with SASLprep if they can (RFC 5802 §2.2); what it does
	// not take, such as emoji, they send as it is.
	c, err := hash.NewClient("u", password, "")
	if err != nil {
		if c, err = hash.NewClientUnprepped("u", password, ""); err != nil {
			return scram.StoredCredentials{}, err
		}
	}
	return c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
}

// ErrPeer is a server that does not prove to know our password, or asks for
// what no server may ask.
var ErrPeer = errors.New("sasl: the server did not authenticate itself")
