package issuer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
)

const here = "https://id.example/realm"

// An idp is an issuer of tokens, as a client's transport.
type idp struct {
	mu     sync.Mutex
	keys   []jose.JSONWebKey
	down   bool
	calls  int
	tokens map[string]string // what introspection says
	secret string            // that asked for it
	calls2 int
}

// RoundTrip answers as the issuer would.
func (p *idp) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil, errors.New("the network is down")
	}
	p.calls++
	var out any
	switch r.URL.String() {
	case here + "/.well-known/openid-configuration":
		out = map[string]string{"issuer": here, "jwks_uri": here + "/keys", "introspection_endpoint": here + "/introspect"}
	case here + "/keys":
		out = map[string]any{"keys": append([]any{map[string]string{"kty": "unheard of"}}, anys(p.keys)...)}
	case here + "/introspect":
		p.calls2++
		user, pass, _ := r.BasicAuth()
		p.secret = user + ":" + pass
		r.ParseForm()
		out = json.RawMessage(p.tokens[r.PostForm.Get("token")])
	default:
		return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Request: r}, nil
	}
	b, err := json.Marshal(out)
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(b)), Request: r}, err
}

func anys(keys []jose.JSONWebKey) (out []any) {
	for _, k := range keys {
		out = append(out, k)
	}
	return out
}

// add publishes a key, and gives what signs with it.
func (p *idp) add(t testing.TB, alg, id string) jose.Signer {
	t.Helper()
	var private, public any
	if strings.HasPrefix(alg, "RS") {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		private, public = k, &k.PublicKey
	} else {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		private, public = k, &k.PublicKey
	}
	p.mu.Lock()
	p.keys = append(p.keys, jose.JSONWebKey{Key: public, KeyID: id, Use: "sig"})
	p.mu.Unlock()
	return signer(t, alg, jose.JSONWebKey{Key: private, KeyID: id}, "at+jwt")
}

func signer(t testing.TB, alg string, key any, kind jose.ContentType) jose.Signer {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, (&jose.SignerOptions{}).WithType(kind))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// token signs claims, those of a good token with some changed; nil removes one.
func token(t testing.TB, s jose.Signer, change map[string]any) string {
	t.Helper()
	c := map[string]any{
		"iss": here, "aud": []string{"other", "mail"}, "sub": "17", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"email": "ada@a.example", "email_verified": true, "scope": "openid mail.read mail.send", "preferred_username": "ada",
	}
	for k, v := range change {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	out, err := jwt.Signed(s).Claims(c).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func believed(p *idp) *Issuer {
	return &Issuer{
		URL: here, Audiences: []string{"mail"}, Claim: "email", Scopes: []string{"mail.read"}, Algorithms: []string{"RS256", "ES256"},
		Client: &http.Client{Transport: p}, Log: slog.New(slog.DiscardHandler),
	}
}

// TestSigned: a good token is of whom it says; nothing else is.
func TestSigned(t *testing.T) {
	p := &idp{}
	rs, es := p.add(t, "RS256", "one"), p.add(t, "ES256", "two")
	other := (&idp{}).add(t, "RS256", "one")
	hmac := signer(t, "HS256", jose.JSONWebKey{Key: make([]byte, 32), KeyID: "one"}, "JWT")
	es384 := func() jose.Signer {
		k, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		p.keys = append(p.keys, jose.JSONWebKey{Key: &k.PublicKey, KeyID: "three"})
		return signer(t, "ES384", jose.JSONWebKey{Key: k, KeyID: "three"}, "JWT")
	}()
	weak := func() jose.Signer {
		t.Setenv("GODEBUG", "rsa1024min=0")
		k, err := rsa.GenerateKey(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		p.keys = append(p.keys, jose.JSONWebKey{Key: &k.PublicKey, KeyID: "weak"})
		return signer(t, "RS256", jose.JSONWebKey{Key: k, KeyID: "weak"}, "JWT")
	}()
	now := time.Now()
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + strings.Split(token(t, rs, nil), ".")[1] + "."
	cut := token(t, rs, nil)
	for what, c := range map[string]struct {
		token, want string
		set         func(*Issuer)
	}{
		"RSA":                   {token(t, rs, nil), "ada@a.example", nil},
		"ECDSA":                 {token(t, es, nil), "ada@a.example", nil},
		"one audience":          {token(t, es, map[string]any{"aud": "mail"}), "ada@a.example", nil},
		"a clock that is late":  {token(t, es, map[string]any{"exp": now.Add(-30 * time.Second).Unix()}), "ada@a.example", nil},
		"scp as a list":         {token(t, es, map[string]any{"scope": nil, "scp": []string{"mail.read"}}), "ada@a.example", nil},
		"expired":               {token(t, rs, map[string]any{"exp": now.Add(-2 * time.Minute).Unix()}), "!", nil},
		"without end":           {token(t, rs, map[string]any{"exp": nil}), "!without an end", nil},
		"not yet":               {token(t, rs, map[string]any{"nbf": now.Add(2 * time.Minute).Unix()}), "!", nil},
		"of another issuer":     {token(t, rs, map[string]any{"iss": "https://evil.example"}), "!no issuer", nil},
		"of none":               {token(t, rs, map[string]any{"iss": nil}), "!no issuer", nil},
		"for another":           {token(t, rs, map[string]any{"aud": "web"}), "!not for us", nil},
		"for nobody":            {token(t, rs, map[string]any{"aud": nil}), "!not for us", nil},
		"not verified":          {token(t, rs, map[string]any{"email_verified": false}), "!not verified", nil},
		"verified, says nobody": {token(t, rs, map[string]any{"email_verified": nil}), "!not verified", nil},
		"without a name":        {token(t, rs, map[string]any{"email": nil}), "!claim email", nil},
		"a name that is none":   {token(t, rs, map[string]any{"email": "x y"}), "!no address", nil},
		"another scope":         {token(t, rs, map[string]any{"scope": "mail.send"}), "!mail.read", nil},
		"no scope":              {token(t, rs, map[string]any{"scope": nil}), "!mail.read", nil},
		"an ID token":           {token(t, rs, map[string]any{"typ": "ID"}), "!no access token", nil},
		"a logout token":        {token(t, signer(t, "RS256", jose.JSONWebKey{Key: must(rsa.GenerateKey(rand.Reader, 2048)), KeyID: "one"}, "logout+jwt"), nil), "!no access token", nil},
		"another's key":         {token(t, other, nil), "!none of its keys", nil},
		"HMAC":                  {token(t, hmac, nil), "!no issuer", nil},
		"no signature":          {none, "!no issuer", nil},
		"not allowed here":      {token(t, es384, nil), "!algorithm", nil},
		"a weak key":            {token(t, weak, nil), "!none of its keys", nil},
		"a changed one":         {cut[:len(cut)-8] + "AAAAAAAA", "!none of its keys", nil},
		"nonsense":              {"abc", "!no issuer", nil},
		"nothing":               {"", "!no token", nil},
		"a name":                {token(t, rs, nil), "ada@a.example", func(i *Issuer) { i.Claim, i.Domains = "preferred_username", []mail.Domain{"a.example", "b.example"} }},
		"a name of no domain":   {token(t, rs, nil), "!no address", func(i *Issuer) { i.Claim = "preferred_username" }},
		"for other domains":     {token(t, rs, nil), "!does not speak", func(i *Issuer) { i.Domains = []mail.Domain{"b.example"} }},
	} {
		i := believed(p)
		if c.set != nil {
			c.set(i)
		}
		got, err := List{i}.Whose(t.Context(), c.token)
		te, no := errors.AsType[*sasl.TokenError](err)
		if want, bad := strings.CutPrefix(c.want, "!"); bad != no || err != nil && !no || bad && !strings.Contains(te.Err.Error(), want) || !bad && got != c.want {
			t.Errorf("%s: %q, %v, want %s", what, got, err, c.want)
		}
		if no && (te.Scope != "mail.read" || te.Configuration != here+"/.well-known/openid-configuration" || (te.Status == sasl.TokenScope) != strings.Contains(what, "scope")) {
			t.Errorf("%s: told %+v", what, te)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestKeys: keys that come are found, those that go are gone, an issuer that is
// down keeps nobody out, and unknown keys do not make us ask again and again.
func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &idp{}
		one := p.add(t, "ES256", "one")
		i := believed(p)
		whose := func(s jose.Signer, want string) {
			t.Helper()
			name, err := List{i}.Whose(t.Context(), token(t, s, nil))
			if _, refused := errors.AsType[*sasl.TokenError](err); refused {
				name = "refused"
			} else if err != nil {
				name = "error"
			}
			if name != want {
				t.Errorf("%q, %v, want %q", name, err, want)
			}
		}
		p.down = true
		whose(one, "error")
		p.down = false
		whose(one, "error") // we asked a moment ago
		time.Sleep(again)
		whose(one, "ada@a.example")
		whose(one, "ada@a.example")
		if p.calls != 2 {
			t.Errorf("asked %d times, not twice", p.calls)
		}
		two := p.add(t, "ES256", "two")
		whose(two, "refused")
		time.Sleep(again)
		whose(two, "ada@a.example")
		strange := (&idp{}).add(t, "ES256", "strange")
		time.Sleep(again)
		before := p.calls
		for range 50 {
			whose(strange, "refused")
		}
		if p.calls != before+2 {
			t.Errorf("unknown keys made us ask %d times", p.calls-before)
		}
		p.down = true
		time.Sleep(48 * time.Hour)
		whose(two, "ada@a.example")
		synctest.Wait()
		whose(two, "ada@a.example")
		p.down, p.keys = false, p.keys[1:]
		time.Sleep(again)
		whose(one, "ada@a.example") // the last time: it is told that there are others
		synctest.Wait()
		whose(one, "refused")
		whose(two, "ada@a.example")
	})
}

// TestAsked: an issuer is asked about what it has not signed.
func TestAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := `"email":"ada@a.example","email_verified":true,"scope":"mail.read"`
		p := &idp{tokens: map[string]string{
			"good": `{"active":true,` + good + `}`, "gone": `{"active":false}`, "odd": `{}`, "broken": `[]`,
			"theirs": `{"active":true,"iss":"https://evil.example",` + good + `}`, "forus": `{"active":true,"aud":"mail",` + good + `}`,
			"soon": fmt.Sprintf(`{"active":true,"exp":%d,%s}`, time.Now().Add(5*time.Second).Unix(), good),
		}}
		i := believed(p)
		i.Ask, i.ClientID, i.Audiences = true, "mail server", nil
		i.Secret = func() (string, error) { return "pass:word", nil }
		ask := func(tok, want string) {
			t.Helper()
			name, err := List{i}.Whose(context.Background(), tok)
			if _, refused := errors.AsType[*sasl.TokenError](err); refused {
				name = "refused"
			} else if err != nil {
				name = "error"
			}
			if name != want {
				t.Errorf("%s: %q, %v, want %s", tok, name, err, want)
			}
		}
		for tok, want := range map[string]string{"good": "ada@a.example", "gone": "refused", "odd": "refused", "broken": "error", "theirs": "refused", "forus": "ada@a.example"} {
			ask(tok, want)
		}
		if p.secret != "mail+server:pass%3Aword" {
			t.Errorf("logged in as %q", p.secret)
		}
		before := p.calls2
		ask("good", "ada@a.example")
		if p.calls2 != before {
			t.Error("asked again at once")
		}
		p.tokens["good"] = p.tokens["gone"]
		time.Sleep(remembered + leeway)
		ask("good", "refused")
		ask("soon", "refused") // it has run out, whatever the issuer says
		i.Audiences = []string{"mail"}
		ask("forus", "ada@a.example")
		before = p.calls2
		ask(token(t, (&idp{}).add(t, "ES256", "x"), map[string]any{"iss": "https://other.example"}), "refused")
		if p.calls2 != before {
			t.Error("another's token was shown to it")
		}
		p.down = true
		ask("new", "error")
	})
}

// TestStranger: whoever calls himself otherwise is another.
func TestStranger(t *testing.T) {
	p := &idp{}
	s := p.add(t, "ES256", "one")
	i := believed(p)
	i.URL = here + "/"
	if name, err := (List{i}).Whose(t.Context(), token(t, s, map[string]any{"iss": here + "/"})); err == nil || !strings.Contains(err.Error(), "to the letter") {
		t.Errorf("%q, %v", name, err)
	}
}

func FuzzWhose(f *testing.F) {
	p := &idp{}
	s := p.add(f, "ES256", "one")
	f.Add(token(f, s, map[string]any{"exp": 4102444800}))
	f.Add("a.b.c")
	i := believed(p)
	f.Fuzz(func(t *testing.T, tok string) {
		if name, err := (List{i}).Whose(context.Background(), tok); err == nil && name != "ada@a.example" {
			t.Fatal(name)
		}
	})
}
