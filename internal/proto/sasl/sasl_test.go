package sasl

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
)

var errDisk = errors.New("disk on fire")

// people is a Verifier of one user, and a log of what it was told.
type people struct {
	keys ScramKeys
	log  []string
}

var ada = Identity{Account: 7, Login: mail.Address{Local: "ada", Domain: "a.example"}}

func newPeople(t *testing.T) *people {
	k, err := NewScramKeys("pencil", []byte("0123456789abcdef"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	k.Identity = ada
	return &people{keys: k}
}

func (p *people) Password(_ context.Context, authzid, user, password string) (Identity, error) {
	p.log = append(p.log, "password "+authzid+"|"+user+"|"+password)
	if user == "broken" {
		return Identity{}, errDisk
	}
	if user == "ada" && password == "pencil" && (authzid == "" || authzid == "ada") {
		return ada, nil
	}
	return Identity{}, ErrFailed
}

func (p *people) ScramKeys(_ context.Context, user string) (ScramKeys, error) {
	switch user {
	case "ada":
		return p.keys, nil
	case "broken":
		return ScramKeys{}, errDisk
	}
	return ScramKeys{Salt: []byte("made up"), Iterations: 4096, StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)}, nil
}

func (p *people) ScramProved(_ context.Context, authzid, user string, k ScramKeys) (Identity, error) {
	p.log = append(p.log, "proved "+authzid+"|"+user)
	if authzid != "" && authzid != "ada" {
		return Identity{}, ErrFailed
	}
	return k.Identity, nil
}

func (p *people) ScramFailed(_ context.Context, user string) { p.log = append(p.log, "failed "+user) }

// talk runs a client against a server, and gives what the server came to.
func talk(c Client, s Server) (clientErr, serverErr error) {
	resp, err := c.Next(nil)
	for err == nil {
		challenge, done, serr := s.Next(context.Background(), resp)
		if serr != nil {
			return nil, serr
		}
		if done {
			return c.Done(), nil
		}
		resp, err = c.Next(challenge)
	}
	return err, nil
}

func TestBothSides(t *testing.T) {
	exporter, endPoint := ChannelBinding{Exporter: []byte("exported")}, ChannelBinding{EndPoint: []byte("hash")}
	both := ChannelBinding{Exporter: []byte("exported"), EndPoint: []byte("hash")}
	for _, c := range []struct {
		mech           string
		cred           Credentials
		client, server ChannelBinding
		err            error
		log            string
	}{
		{Plain, Credentials{"", "ada", "pencil"}, ChannelBinding{}, both, nil, "password |ada|pencil"},
		{Plain, Credentials{"ada", "ada", "pencil"}, ChannelBinding{}, both, nil, "password ada|ada|pencil"},
		{Plain, Credentials{"bob", "ada", "pencil"}, ChannelBinding{}, both, ErrFailed, "password bob|ada|pencil"},
		{Plain, Credentials{"", "ada", "pen"}, ChannelBinding{}, both, ErrFailed, "password |ada|pen"},
		{Plain, Credentials{"", "ada", ""}, ChannelBinding{}, both, ErrMalformed, ""},
		{Plain, Credentials{"", "broken", "x"}, ChannelBinding{}, both, errDisk, "password |broken|x"},
		{Plain, Credentials{"", "ada\xff", "x"}, ChannelBinding{}, both, ErrMalformed, ""},
		{Plain, Credentials{"", "ada", strings.Repeat("x", 1025)}, ChannelBinding{}, both, ErrMalformed, ""},
		{Login, Credentials{"", "ada", "pencil"}, ChannelBinding{}, both, nil, "password |ada|pencil"},
		{Login, Credentials{"", "ada", "pen"}, ChannelBinding{}, both, ErrFailed, "password |ada|pen"},
		{Scram, Credentials{"", "ada", "pencil"}, ChannelBinding{}, ChannelBinding{}, nil, "proved |ada"},
		{Scram, Credentials{"", "ada", "pencil"}, ChannelBinding{}, both, nil, "proved |ada"},
		{Scram, Credentials{"ada", "ada", "pencil"}, ChannelBinding{}, both, nil, "proved ada|ada"},
		{Scram, Credentials{"bob", "ada", "pencil"}, ChannelBinding{}, both, ErrFailed, "proved bob|ada"},
		{Scram, Credentials{"", "ada", "pen"}, ChannelBinding{}, both, ErrFailed, "failed ada"},
		{Scram, Credentials{"", "eve", "pencil"}, ChannelBinding{}, both, ErrFailed, "failed eve"},
		{Scram, Credentials{"", "broken", "pencil"}, ChannelBinding{}, both, errDisk, ""},
		{ScramPlus, Credentials{"", "ada", "pencil"}, exporter, both, nil, "proved |ada"},
		{ScramPlus, Credentials{"", "ada", "pencil"}, endPoint, both, nil, "proved |ada"},
		{ScramPlus, Credentials{"", "ada", "pencil"}, exporter, endPoint, ErrMalformed, ""},
		{ScramPlus, Credentials{"", "ada", "pencil"}, ChannelBinding{Exporter: []byte("other")}, both, ErrFailed, "failed ada"},
	} {
		p := newPeople(t)
		cl, err := NewClient(c.mech, c.cred, c.client)
		if err != nil {
			t.Fatal(err)
		}
		srv, err := NewServer(strings.ToLower(c.mech), p, c.server)
		if err != nil {
			t.Fatal(err)
		}
		cerr, serr := talk(cl, srv)
		if cerr != nil || !errors.Is(serr, c.err) || strings.Join(p.log, ";") != c.log {
			t.Errorf("%s %q: client %v, server %v, want %v; told %q", c.mech, c.cred, cerr, serr, c.err, p.log)
		}
		if want := (Identity{}); serr == nil && srv.Identity() != ada || serr != nil && srv.Identity() != want {
			t.Errorf("%s %q: identity %v", c.mech, c.cred, srv.Identity())
		}
	}
}

func TestServerMessages(t *testing.T) {
	const none = "\xffnone"
	for _, c := range []struct {
		mech string
		in   []string
		err  error
	}{
		{Plain, []string{none, "\x00ada\x00pencil"}, nil},
		{Plain, []string{"\x00ada"}, ErrMalformed},
		{Plain, []string{"\x00ada\x00pencil\x00"}, ErrMalformed},
		{Plain, []string{""}, ErrMalformed},
		{Plain, []string{strings.Repeat("x", 20000)}, ErrMalformed},
		{Login, []string{none, "ada", "pencil"}, nil},
		{Login, []string{"ada", "pencil"}, nil},
		{Login, []string{"", "pencil"}, ErrMalformed},
		{Login, []string{"ada", "pen", "pencil"}, ErrFailed},
		{Scram, []string{none, "x"}, ErrMalformed},
		{Scram, []string{"p=tls-exporter,,n=ada,r=abc"}, ErrMalformed},
		{Scram, []string{"n,,m=x,n=ada,r=abc"}, ErrMalformed},
		{Scram, []string{"n,,n=,r=abc"}, ErrMalformed},
		{Scram, []string{"n,,n=a=b,r=abc"}, ErrMalformed},
		{Scram, []string{"n,,n=ada,r=abc", "c=biws,r=abc,p=AAAA"}, ErrFailed},
		{Scram, []string{"n,,n=ada,r=abc", ""}, ErrFailed},
		{Scram, []string{"n,,n=ada,r=abc", "c=biws,r=abc,p="}, ErrFailed},
		{ScramPlus, []string{"n,,n=ada,r=abc"}, ErrMalformed},
		{ScramPlus, []string{"p=tls-unique,,n=ada,r=abc"}, ErrMalformed},
	} {
		s, err := NewServer(c.mech, newPeople(t), ChannelBinding{Exporter: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		done := false
		for _, in := range c.in {
			resp := []byte(in)
			if in == none {
				resp = nil
			}
			if _, done, err = s.Next(context.Background(), resp); err != nil {
				break
			}
		}
		if !errors.Is(err, c.err) || err == nil && !done {
			t.Errorf("%s %.60q: %v, done %v, want %v", c.mech, c.in, err, done, c.err)
		}
	}
	for _, m := range []string{"CRAM-MD5", "", "ANONYMOUS", ScramPlus} {
		if _, err := NewServer(m, newPeople(t), ChannelBinding{}); !errors.Is(err, ErrMechanism) {
			t.Errorf("%s: %v", m, err)
		}
	}
}

// TestUnknownUserLooksAlike asks twice for somebody who is not there.
func TestUnknownUserLooksAlike(t *testing.T) {
	var last string
	for range 2 {
		s, _ := NewServer(Scram, newPeople(t), ChannelBinding{})
		ch, _, err := s.Next(context.Background(), []byte("n,,n=nobody,r=abc"))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(ch), ",")
		if last != "" && rest != last {
			t.Errorf("%q, then %q", last, rest)
		}
		last = rest
	}
}

// TestScramClient meets servers that cannot or should not be believed.
func TestScramClient(t *testing.T) {
	for _, first := range []string{"r=%,s=MDEyMzQ1,i=1", "r=%,s=MDEyMzQ1,i=2000000000", "r=x,s=MDEyMzQ1,i=4096", "e=other-error", ""} {
		c, err := NewClient(Scram, Credentials{User: "ada", Password: "pencil"}, ChannelBinding{})
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.Next(nil)
		if err != nil {
			t.Fatal(err)
		}
		_, nonce, _ := strings.Cut(string(out), "r=")
		if _, err := c.Next([]byte(strings.ReplaceAll(first, "%", nonce+"srv"))); !errors.Is(err, ErrPeer) {
			t.Errorf("%q: %v", first, err)
		}
		if err := c.Done(); !errors.Is(err, ErrPeer) {
			t.Errorf("%q: a yes was believed", first)
		}
	}
}

func TestPreparePassword(t *testing.T) {
	for in, want := range map[string]string{"pencil": "pencil", "e\u0301": "é", "a\u00a0b": "a b", "🔑 key": "🔑 key", "": "!", "a\x00b": "!", "a\nb": "!"} {
		got, err := PreparePassword(in)
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if _, err := NewScramKeys("🔑 key", []byte("salt"), 4096); err != nil {
		t.Error(err)
	}
}

// Who could be bound to the channel, and was not offered it, is not lying.
func TestScramNotOffered(t *testing.T) {
	s, err := NewServer(Scram, newPeople(t), ChannelBinding{Exporter: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	if challenge, done, err := s.Next(t.Context(), []byte("y,,n=ada,r=abc")); err != nil || done || !strings.HasPrefix(string(challenge), "r=abc") {
		t.Errorf("%q, %v, %v", challenge, done, err)
	}
	if slices.Contains(Unbound.Mechanisms(ChannelBinding{Exporter: []byte("x")}), ScramPlus) {
		t.Error(ScramPlus, "is offered")
	}
}

// Where channel binding is announced, who could be bound and was not told has
// been lied to. RFC 5802 §6
func TestScramOffered(t *testing.T) {
	cb := ChannelBinding{Exporter: []byte("x")}
	if got := Bound.Mechanisms(cb); !slices.Contains(got, ScramPlus) {
		t.Error("offered", got)
	}
	if got := Bound.Mechanisms(ChannelBinding{}); slices.Contains(got, ScramPlus) {
		t.Error("offered without TLS", got)
	}
	for first, want := range map[string]error{"y,,n=ada,r=abc": ErrFailed, "n,,n=ada,r=abc": nil} {
		s, err := Bound.NewServer(Scram, newPeople(t), cb)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Next(t.Context(), []byte(first)); !errors.Is(err, want) {
			t.Errorf("%s: %v", first, err)
		}
	}
}

func TestBest(t *testing.T) {
	cb := ChannelBinding{Exporter: []byte("x")}
	for in, want := range map[string]string{"login plain": Plain, "PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS": ScramPlus, "CRAM-MD5": "", "": ""} {
		if got := Best(strings.Fields(in), cb); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func FuzzServer(f *testing.F) {
	f.Add("PLAIN", []byte("\x00ada\x00pencil"), []byte(""))
	f.Add("SCRAM-SHA-256", []byte("n,,n=ada,r=abc"), []byte("c=biws,r=abc,p=AAAA"))
	p := &people{keys: ScramKeys{Salt: []byte("s"), Iterations: 4096, StoredKey: make([]byte, 32), ServerKey: make([]byte, 32), Identity: ada}}
	f.Fuzz(func(t *testing.T, mech string, one, two []byte) {
		s, err := NewServer(mech, p, ChannelBinding{Exporter: []byte("x")})
		if err != nil {
			return
		}
		for _, in := range [][]byte{one, two, {}} {
			_, done, err := s.Next(context.Background(), in)
			if err != nil {
				return
			}
			if done && (!strings.Contains(string(one), "ada") && !strings.Contains(string(two), "ada")) {
				t.Fatal("somebody logged in")
			}
		}
	})
}
