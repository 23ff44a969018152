// Package sasl is how people show who they are: the mechanisms PLAIN (RFC
// 4616), LOGIN, SCRAM-SHA-256 and SCRAM-SHA-1, each also with -PLUS (RFC 5802, RFC
// 7677),
// OAUTHBEARER (RFC 7628) and XOAUTH2 for those who have a token, both sides, and
// EXTERNAL (RFC 4422) for those whom TLS has shown, as state machines over decoded
// messages.
//
// How a protocol carries the messages, base64 and "*" and "=" included, is the
// protocol's affair. Who somebody is and what proves it is the Verifier's. All
// failures look alike to the peer, and messages are bounded.
package sasl

import (
	"context"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"

	"posthaste/internal/base/mail"
)

// Names of the mechanisms.
const (
	Plain     = "PLAIN"
	Login     = "LOGIN"
	Scram     = "SCRAM-SHA-256"
	ScramPlus = "SCRAM-SHA-256-PLUS"

	Scram1     = "SCRAM-SHA-1"
	Scram1Plus = "SCRAM-SHA-1-PLUS"

	OAuthBearer = "OAUTHBEARER"
	XOAuth2     = "XOAUTH2"
	External    = "EXTERNAL"
)

// Limits of what a peer may send.
const (
	maxMessage  = 12288 // RFC 4954 §4 gives as much
	maxUser     = 1000
	maxPassword = 1024
)

// What an exchange that leads nowhere ends with.
var (
	// ErrFailed is every failure that has to do with who somebody is.
	ErrFailed = mail.Refuse("5.7.8", "authentication failed", "")
	// ErrMalformed is a message that is not of the mechanism.
	ErrMalformed = mail.Refuse("5.5.2", "malformed authentication message", "")
	// ErrMechanism is a mechanism that is not known, or not possible here.
	ErrMechanism = mail.Refuse("5.5.4", "mechanism not offered here", "")
)

// An Identity is who has logged in.
type Identity struct {
	Account mail.AccountID
	Login   mail.Address
	Device  uint32 // which of the account's passwords it was; 0 is the main one
	// Proof is what they have shown, in words that only the Verifier knows: for it to
	// tell later whether that still opens the account.
	Proof string
	// Elsewhere is what the login has opened, if another server still answers for the
	// account; nil: we do. Who is given it must pass the session on, or close it.
	Elsewhere Elsewhere
}

// Close ends what the login has opened elsewhere, if anything: for who lets nobody in
// after all.
func (id Identity) Close() {
	if id.Elsewhere != nil {
		id.Elsewhere.Close()
	}
}

// Elsewhere is a session of somebody who has logged in, at another server. It stands
// right behind the login.
type Elsewhere interface {
	io.ReadWriteCloser
	// Capabilities are what the session can do, in the protocol's words.
	Capabilities() string
}

// ScramKeys is what SCRAM needs to know of a password. RFC 5802 §3
type ScramKeys struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
	// StoredKey1 and ServerKey1 are those of SCRAM-SHA-1, with the same Salt and
	// Iterations; nil: this password does not go with it.
	StoredKey1 []byte
	ServerKey1 []byte
	Identity   Identity // zero if there is no such user
	// Others are further passwords of the same user, with the same Salt and
	// Iterations: which one the client has, its proof tells.
	Others []ScramKeys
}

// A Verifier knows who is who, for one session. Its ErrFailed is for the peer;
// any other error means that we failed.
type Verifier interface {
	// Password checks a password. authzid is whom they want to act as, "" for
	// themselves.
	Password(ctx context.Context, authzid, user, password string) (Identity, error)
	// ScramKeys gives the keys of a user. Of somebody unknown they are made up,
	// the same each time, and nothing proves them.
	ScramKeys(ctx context.Context, user string) (ScramKeys, error)
	// ScramProved is told that the client has proved to know the password that
	// k is of, and has the last word.
	ScramProved(ctx context.Context, authzid, user string, k ScramKeys) (Identity, error)
	// ScramFailed is told that the client has not. It may take its time.
	ScramFailed(ctx context.Context, user string)
}

// A Server is the server's side of one exchange.
type Server interface {
	// Next takes a response and gives the next challenge; or, once done, none.
	// The first response is nil if the client sent no initial response. An
	// error ends the exchange.
	Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error)
	// Identity is who has logged in, once Next is done. Is it known with a challenge, that
	// is the last, and its response empty: a protocol may send it with its success. RFC
	// 4422 §4
	Identity() Identity
}

// A ChannelBinding is what the TLS connection that an exchange runs in brings to
// it: what ties it to that, and who the client is. The zero ChannelBinding ties
// nothing.
type ChannelBinding struct {
	Exporter []byte // tls-exporter, RFC 9266
	EndPoint []byte // tls-server-end-point, RFC 5929 §4
	// Client is the SHA-256 of the public key of the certificate that the client has
	// shown, and that TLS has proved to be its own; nil if it has shown none.
	Client []byte
}

// IsZero tells whether there is nothing to tie to.
func (cb ChannelBinding) IsZero() bool { return len(cb.Exporter) == 0 && len(cb.EndPoint) == 0 }

// An Offer is which mechanisms are announced, beside SCRAM-SHA-256, PLAIN and
// LOGIN, and EXTERNAL for who has shown a certificate: a sum of the following.
type Offer byte

// What can be offered. -PLUS is taken in any case from who asks for it: programs that use GNU SASL without giving it the channel binding (mutt)
// choose it where it is announced, fail, and try no other.
const (
	Bound  Offer = 1 << iota // SCRAM-SHA-256-PLUS, where there is something to tie to
	Tokens                   // OAUTHBEARER and XOAUTH2
	SHA1                     // SCRAM-SHA-1, and with Bound its -PLUS
	Shown                    // only what shows us the password: PLAIN and LOGIN

	Unbound Offer = 0
)

// Mechanisms gives the mechanisms to announce on a connection, the best first.
func (o Offer) Mechanisms(cb ChannelBinding) []string {
	var list []string
	if o&Shown != 0 {
		return []string{Plain, Login}
	}
	if len(cb.Client) > 0 {
		list = append(list, External)
	}
	bound := o&Bound != 0 && !cb.IsZero()
	if bound {
		list = append(list, ScramPlus)
	}
	list = append(list, Scram)
	if o&SHA1 != 0 && bound {
		list = append(list, Scram1Plus)
	}
	if o&SHA1 != 0 {
		list = append(list, Scram1)
	}
	list = append(list, Plain, Login)
	if o&Tokens != 0 {
		list = append(list, OAuthBearer, XOAuth2)
	}
	return list
}

// NewServer is Offer.NewServer where SCRAM-SHA-256-PLUS is not announced.
func NewServer(mech string, v Verifier, cb ChannelBinding) (Server, error) {
	return Unbound.NewServer(mech, v, cb)
}

// NewServer begins an exchange as the server; mech may be in any case. The
// error is ErrMechanism.
func (o Offer) NewServer(mech string, v Verifier, cb ChannelBinding) (Server, error) {
	switch mech = strings.ToUpper(mech); mech {
	case Plain:
		return &plainServer{v: v}, nil
	case Login:
		return &loginServer{v: v}, nil
	case Scram, Scram1:
		if mech == Scram || o&SHA1 != 0 {
			return &scramServer{v: v, sha1: mech == Scram1, bindable: o&Bound != 0 && !cb.IsZero()}, nil
		}
	case ScramPlus, Scram1Plus:
		if !cb.IsZero() && (mech == ScramPlus || o&SHA1 != 0) {
			return &scramServer{v: v, sha1: mech == Scram1Plus, cb: cb, plus: true}, nil
		}
	case External:
		return newExternalServer(v, cb)
	case OAuthBearer, XOAuth2:
		if o&Tokens != 0 {
			return newTokenServer(v, mech)
		}
	}
	return nil, ErrMechanism
}

// PreparePassword gives the form in which a password is hashed, so that the
// same letters typed on different keyboards are the same password. RFC 8265 §4
func PreparePassword(s string) (string, error) {
	if len(s) > maxPassword {
		return "", ErrFailed
	}
	p, err := precis.OpaqueString.String(s)
	if err != nil {
		return "", ErrFailed
	}
	return p, nil
}

// fine tells whether s can be a name or a password at all.
func fine(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}
