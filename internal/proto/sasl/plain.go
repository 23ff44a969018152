package sasl

import (
	"bytes"
	"context"
	"strings"
)

type plainServer struct {
	v  Verifier
	id Identity
}

// Next is the whole of PLAIN: [authzid] NUL authcid NUL passwd. RFC 4616 §2
func (p *plainServer) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	if len(response) > maxMessage || bytes.Count(response, []byte{0}) != 2 {
		return nil, false, ErrMalformed
	}
	authzid, rest, _ := strings.Cut(string(response), "\x00")
	user, password, _ := strings.Cut(rest, "\x00")
	id, err := check(ctx, p.v, authzid, user, password)
	p.id = id
	return nil, err == nil, err
}

// Identity gives who has logged in.
func (p *plainServer) Identity() Identity { return p.id }

func check(ctx context.Context, v Verifier, authzid, user, password string) (Identity, error) {
	if user == "" || password == "" || !fine(authzid, maxUser) || !fine(user, maxUser) || !fine(password, maxPassword) {
		return Identity{}, ErrMalformed
	}
	return v.Password(ctx, authzid, user, password)
}

type loginServer struct {
	v     Verifier
	asked int // questions
	user  string
	id    Identity
}

// Next asks for the name and then for the password. LOGIN has no RFC; the
// initial response, which some clients send, is the name.
func (l *loginServer) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	switch {
	case len(response) > maxMessage:
		return nil, false, ErrMalformed
	case l.asked == 0 && response == nil:
		l.asked = 1
		return []byte("Username:"), false, nil
	case l.asked < 2:
		l.asked, l.user = 2, string(response)
		return []byte("Password:"), false, nil
	case l.asked == 2:
		l.asked = 3
		id, err := check(ctx, l.v, "", l.user, string(response))
		l.id = id
		return nil, err == nil, err
	}
	return nil, false, ErrMalformed
}

// Identity gives who has logged in.
func (l *loginServer) Identity() Identity { return l.id }
