package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// endpoint is a token endpoint, as a client's transport. It takes a refresh token
// once, and gives another.
type endpoint struct {
	mu      sync.Mutex
	refresh int // "refresh N" is good
	given   int
	down    bool
	reply   string // in place of what is right
	status  int
	asked   []string // how
}

// RoundTrip answers.
func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(time.Second)
	e.mu.Lock()
	defer e.mu.Unlock()
	user, pass, _ := r.BasicAuth()
	r.ParseForm()
	e.asked = append(e.asked, fmt.Sprintf("%s %s:%s %s", r.URL, user, pass, r.PostForm.Encode()))
	if e.down {
		return nil, errors.New("the network is down")
	}
	status, body := http.StatusOK, e.reply
	switch {
	case body != "":
		status = e.status
	case r.PostForm.Get("grant_type") == "refresh_token" && r.PostForm.Get("refresh_token") != fmt.Sprint("refresh ", e.refresh):
		status, body = 400, `{"error":"invalid_grant","error_description":"Token has been\nexpired or revoked."}`
	case r.PostForm.Get("grant_type") == "refresh_token":
		e.refresh++
		e.given++
		body = fmt.Sprintf(`{"access_token":"t%d","token_type":"bearer","expires_in":3600,"refresh_token":"refresh %d"}`, e.given, e.refresh)
	default:
		e.given++
		body = fmt.Sprintf(`{"access_token":"t%d","token_type":"Bearer","expires_in":"600"}`, e.given)
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func source(e *endpoint) (s *Source, kept *string) {
	kept = new("refresh 0")
	return &Source{
		URL: "https://id.example/token", ClientID: "a client", Secret: func() (string, error) { return "s:", nil }, Scope: "mail", Client: &http.Client{Transport: e},
		Refresh: func(context.Context) (string, error) { return *kept, nil },
		Rotated: func(_ context.Context, r string) error { *kept = r; return nil },
	}, kept
}

func want(t *testing.T, s *Source, want string) {
	t.Helper()
	got, err := s.Token(t.Context())
	if err != nil {
		got = err.Error()
	}
	if got != want && !(err != nil && strings.Contains(got, want) && want != "") {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestToken: tokens are kept while they are good, refresh tokens for ever, and
// many that need the same make one question.
func TestToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{}
		s, kept := source(e)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { want(t, s, "t1") })
		}
		wg.Wait()
		if got := "https://id.example/token a+client:s%3A grant_type=refresh_token&refresh_token=refresh+0&scope=mail"; len(e.asked) != 1 || e.asked[0] != got {
			t.Errorf("asked %q", e.asked)
		}
		if *kept != "refresh 1" {
			t.Error("kept", *kept)
		}
		time.Sleep(58 * time.Minute)
		want(t, s, "t1")
		time.Sleep(time.Minute)
		want(t, s, "t2")
		s.Refused("t1")
		want(t, s, "t2")
		s.Refused("t2")
		want(t, s, "t3")
	})
}

// TestFailures: who is down is not asked all the time, what was refused is told
// with what to do, and a refresh token that could not be kept is not lost.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{down: true}
		s, kept := source(e)
		for range 10 {
			want(t, s, "network is down")
		}
		if len(e.asked) != 1 {
			t.Errorf("asked %d times", len(e.asked))
		}
		e.down = false
		time.Sleep(again)
		keep := s.Rotated
		s.Rotated = func(context.Context, string) error { return errors.New("the disk is full") }
		want(t, s, "disk is full")
		s.Rotated = keep
		time.Sleep(again)
		want(t, s, "t2")
		if *kept != "refresh 2" {
			t.Error("kept", *kept)
		}
		s.Refused("t2")
		e.refresh = 77
		want(t, s, "invalid_grant (Token has been expired or revoked.): the refresh token is no longer good")
		if _, err := s.Token(t.Context()); err == nil {
			t.Error("a refused token is good")
		} else if te, ok := errors.AsType[*Error](err); !ok || te.Code != "invalid_grant" {
			t.Error(err)
		}
		for reply, say := range map[string]string{`{"error":"invalid_client"}`: "client_id", `{"error":"invalid_scope"}`: "scope", `<html>`: "500", `{"access_token":"x","token_type":"mac"}`: "500"} {
			time.Sleep(again)
			e.reply, e.status = reply, 500
			want(t, s, say)
		}
		for reply, say := range map[string]string{`<html>`: "invalid character", `{"access_token":"x","token_type":"mac"}`: "no bearer", `{}`: "no bearer", `"` + strings.Repeat("x", maxAnswer) + `"`: "more than"} {
			time.Sleep(again)
			e.reply, e.status = reply, 200
			want(t, s, say)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		time.Sleep(again)
		if _, err := s.Token(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		e.reply, e.refresh = "", 2
		want(t, s, "t3") // who went away leaves no failure behind
	})
}

// TestClient: without a refresh token the client acts for itself, and without a
// secret it says who it is.
func TestClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{}
		s, _ := source(e)
		s.Refresh, s.Rotated, s.Scope = nil, nil, ""
		want(t, s, "t1")
		time.Sleep(8 * time.Minute)
		want(t, s, "t1")
		time.Sleep(time.Minute)
		s.Secret = nil
		want(t, s, "t2")
		if got := strings.Join(e.asked, "\n"); got != "https://id.example/token a+client:s%3A grant_type=client_credentials\nhttps://id.example/token : client_id=a+client&grant_type=client_credentials" {
			t.Error(got)
		}
	})
}

func TestLife(t *testing.T) {
	for in, want := range map[string]time.Duration{`3600`: time.Hour, `"3600"`: time.Hour, `0`: unknown, `-5`: unknown, `"x"`: unknown, `null`: unknown, `1e300`: unknown, `{}`: unknown} {
		var v any
		if err := json.Unmarshal([]byte(in), &v); err != nil {
			t.Fatal(err)
		}
		if got := life(v); got != want {
			t.Errorf("%s: %v", in, got)
		}
	}
}
