package sasl

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
)

// A TokenVerifier is a Verifier that also knows whose an access token is.
type TokenVerifier interface {
	// Token checks a bearer token (RFC 6750). authzid is whom they want to act as,
	// "" for whom the token is of. A *TokenError is a no to the token.
	Token(ctx context.Context, authzid, token string) (Identity, error)
}

// A TokenError is a no to a token, with what its bearer may know to get a better
// one. RFC 7628 §3.2.2
type TokenError struct {
	Status        string // TokenInvalid or TokenScope
	Scope         string // what a token must be good for; may be empty
	Configuration string // where the issuer tells of itself; may be empty
	Err           error  // what the exchange ends with
}

// The kinds of TokenError. RFC 6750 §3.1
const (
	TokenInvalid = "invalid_token"
	TokenScope   = "insufficient_scope"
)

// Error gives what the exchange ends with.
func (e *TokenError) Error() string { return e.Err.Error() }

// Unwrap gives what the exchange ends with.
func (e *TokenError) Unwrap() error { return e.Err }

// A tokenServer is OAUTHBEARER (RFC 7628), or XOAUTH2 as Google describes it. A
// client whose token is refused gets a challenge that says why, and hears the no
// when it has answered that.
type tokenServer struct {
	v       TokenVerifier
	parse   func([]byte) (authzid, token string, ok bool)
	tell    func(*TokenError) any
	refused *TokenError
	id      Identity
}

func newTokenServer(v Verifier, mech string) (Server, error) {
	tv, ok := v.(TokenVerifier)
	if !ok {
		return nil, ErrMechanism
	}
	if mech == XOAuth2 {
		return &tokenServer{v: tv, parse: parseXOAuth2, tell: tellXOAuth2}, nil
	}
	return &tokenServer{v: tv, parse: parseBearer, tell: tellBearer}, nil
}

// Identity gives who has logged in.
func (s *tokenServer) Identity() Identity { return s.id }

// Next takes the token, or the answer to what was wrong with it.
func (s *tokenServer) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if s.refused != nil {
		return nil, false, s.refused.Err
	}
	if response == nil {
		return []byte{}, false, nil
	}
	if len(response) > maxMessage {
		return nil, false, ErrMalformed
	}
	authzid, token, ok := s.parse(response)
	if !ok || !fine(authzid, maxUser) {
		return nil, false, ErrMalformed
	}
	id, err := s.v.Token(ctx, authzid, token)
	if te, refused := err.(*TokenError); refused {
		s.refused = te
		b, err := json.Marshal(s.tell(te))
		return b, false, err
	}
	s.id = id
	return nil, err == nil, err
}

func tellBearer(e *TokenError) any {
	return struct {
		Status        string `json:"status"`
		Scope         string `json:"scope,omitempty"`
		Configuration string `json:"openid-configuration,omitempty"`
	}{e.Status, e.Scope, e.Configuration}
}

func tellXOAuth2(e *TokenError) any {
	status := "401"
	if e.Status == TokenScope {
		status = "403"
	}
	return struct {
		Status  string `json:"status"`
		Schemes string `json:"schemes"`
		Scope   string `json:"scope,omitempty"`
	}{status, "Bearer", e.Scope}
}

const kvSep = "\x01"

// parseBearer reads a message of OAUTHBEARER: a GS2 header, and pairs of which
// only auth matters here. One without a token asks what token it would take.
// RFC 7628 §3.1, §4.3
func parseBearer(b []byte) (authzid, token string, ok bool) {
	header, rest, found := strings.Cut(string(b), kvSep)
	flag, name, isHeader := strings.Cut(header, ",")
	name, isName := strings.CutSuffix(name, ",")
	if !found || !isHeader || !isName || flag != "n" && flag != "y" {
		return "", "", false
	}
	if name != "" {
		if name, ok = strings.CutPrefix(name, "a="); !ok || name == "" {
			return "", "", false
		}
		if authzid, ok = unescape(name); !ok {
			return "", "", false
		}
	}
	token, ok = pairs(rest)
	return authzid, token, ok
}

// parseXOAuth2 reads a message of XOAUTH2: user= and auth=, each ended by ^A, and
// another ^A.
func parseXOAuth2(b []byte) (user, token string, ok bool) {
	name, rest, _ := strings.Cut(string(b), kvSep)
	user, ok = strings.CutPrefix(name, "user=")
	if !ok || user == "" {
		return "", "", false
	}
	token, ok = pairs(rest)
	return user, token, ok
}

// pairs reads key=value pairs, each ended by ^A, and another ^A, and gives the
// token of auth.
func pairs(s string) (token string, ok bool) {
	for {
		pair, rest, found := strings.Cut(s, kvSep)
		if !found {
			return "", false
		}
		if pair == "" {
			return token, rest == ""
		}
		s = rest
		key, value, isPair := strings.Cut(pair, "=")
		if !isPair || key == "" {
			return "", false
		}
		if key != "auth" || value == "" {
			continue
		}
		scheme, t, _ := strings.Cut(value, " ")
		if token != "" || !strings.EqualFold(scheme, "Bearer") || !isToken(t) {
			return "", false
		}
		token = t
	}
}

// isToken tells whether s has the form of a bearer token. RFC 6750 §2.1
func isToken(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		c := s[i]
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~+/", c) >= 0) {
			return false
		}
	}
	return s != ""
}

var (
	saslNames = strings.NewReplacer("=2C", ",", "=3D", "=")
	saslName  = strings.NewReplacer(",", "=2C", "=", "=3D")
)

// unescape reads a saslname. RFC 5801 §4
func unescape(s string) (string, bool) {
	for i := range len(s) {
		if s[i] == ',' || s[i] == '=' && !strings.HasPrefix(s[i:], "=2C") && !strings.HasPrefix(s[i:], "=3D") {
			return "", false
		}
	}
	return saslNames.Replace(s), true
}

// A tokenClient is the client's side of both. Credentials.Password is the token.
type tokenClient struct {
	mech string
	c    Credentials
	step int
}

func (t *tokenClient) Mechanism() string { return t.mech }
func (t *tokenClient) Done() error       { return nil }

// Next gives the token, and to the challenge that says why it is refused, the
// answer without a meaning that leads to the server's no.
func (t *tokenClient) Next(challenge []byte) ([]byte, error) {
	t.step++
	switch {
	case t.step == 1 && len(challenge) > 0 || t.step > 2 || !isToken(t.c.Password):
		return nil, ErrMalformed
	case t.step == 2 && t.mech == XOAuth2:
		return []byte{}, nil
	case t.step == 2:
		return []byte(kvSep), nil
	}
	var b bytes.Buffer
	who := t.c.User
	if t.c.Authzid != "" {
		who = t.c.Authzid
	}
	switch {
	case t.mech == XOAuth2:
		b.WriteString("user=" + who)
	case who == "":
		b.WriteString("n,,")
	default:
		b.WriteString("n,a=" + saslName.Replace(who) + ",")
	}
	b.WriteString(kvSep + "auth=Bearer " + t.c.Password + kvSep + kvSep)
	return b.Bytes(), nil
}

// BestForToken is Best for who has an access token in place of a password.
func BestForToken(offered []string) string {
	return first([]string{OAuthBearer, XOAuth2}, offered)
}
