package envoy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mta"
	"posthaste/internal/store/outpost"
)

// An endpoint gives access tokens t1, t2 and so on for refresh tokens r0, r1 and so on.
type endpoint struct {
	mu   sync.Mutex
	n    int
	dead bool
}

// RoundTrip is as of http.RoundTripper.
func (e *endpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	body, err := io.ReadAll(req.Body)
	answer := func(code int, text string) (*http.Response, error) {
		return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(text)), Header: http.Header{"Content-Type": {"application/json"}}, Request: req}, err
	}
	if e.dead || !strings.Contains(string(body), fmt.Sprintf("refresh_token=r%d", e.n)) {
		return answer(400, `{"error":"invalid_grant"}`)
	}
	e.n++
	return answer(200, fmt.Sprintf(`{"access_token":"t%d","token_type":"Bearer","expires_in":3600,"refresh_token":"r%d"}`, e.n, e.n))
}

// TestToken: a login by OAuth2, of the outpost's own or of another user's, whose refresh
// token changes each time; a token that ends early costs one try; one that is withdrawn
// ends it, until there is another.
func TestToken(t *testing.T) {
	for _, own := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			e := &endpoint{}
			w.collector.Web = &http.Client{Transport: e}
			by := &outpost.OAuth2{URL: "https://login.far.example/token", ClientID: "c"}
			set := func(refresh string) {
				w.set(func(e *outpost.Entry) {
					if own {
						e.SendAs.User, e.SendAs.Secret, e.SendAs.OAuth2 = "ada.l", refresh, by
					} else {
						e.Secret, e.OAuth2 = refresh, by
					}
					e.Again(time.Now())
				})
			}
			kept := func(want string) {
				t.Helper()
				o := w.entry().Outpost
				if got := o.Submission().Secret; got != want || own && o.Secret != "sesame" {
					t.Errorf("%s is kept (and %s), want %s", got, o.Secret, want)
				}
			}
			sent := func(want int) {
				t.Helper()
				if _, texts := w.far.heard(); len(texts) != want {
					t.Errorf("%d were sent, want %d; waiting: %+v; %+v", len(texts), want, w.Items(), w.entry().State)
				}
			}
			submit := func() {
				t.Helper()
				if _, err := w.submit("ada.l@far.example", "ada.l@far.example", "x@b.example"); err != nil {
					t.Fatal(err)
				}
			}
			set("r0")
			w.far.password = "t1"
			before := w.entry().Outpost
			submit()
			w.runs(time.Minute)
			sent(1)
			kept("r1")
			// Who has read the refresh token before it changed does not use it again.
			if _, err := w.collector.Login(t.Context(), before.Submission(), []string{"XOAUTH2"}); err != nil {
				t.Error(err)
			}
			submit()
			w.runs(time.Minute)
			sent(1)
			kept("r1") // the token was good still
			// It ends early.
			w.far.password = "t2"
			submit()
			w.runs(10 * time.Second)
			sent(0)
			if s := w.entry().State; s.SendStopped || s.SendError == "" {
				t.Errorf("%+v", s)
			}
			w.runs(10 * time.Minute)
			sent(1)
			kept("r2")
			if s := w.entry().State; s.SendFails != 0 || s.SendError != "" {
				t.Errorf("%+v", s)
			}
			// It is withdrawn, when the next one is asked for.
			e.dead = true
			time.Sleep(2 * time.Hour)
			submit()
			w.runs(time.Hour)
			items := w.Items()
			if len(items) != 1 || !w.entry().SendStopped {
				t.Fatalf("%+v", w.entry().State)
			}
			if why, _ := mta.Reason(&items[0]); why != "send-as-login" || !strings.Contains(items[0].Text, "allow the access anew") {
				t.Errorf("it waits since %s: %s", why, items[0].Text)
			}
			if _, err := w.submit("ada.l@far.example", "ada.l@far.example", "x@b.example"); err == nil {
				t.Error("more was taken")
			}
			e.dead, e.n = false, 10
			set("r10")
			w.far.password = "t11"
			if err := w.agent.Hurry(t.Context(), uint64(w.post.ID)); err != nil {
				t.Fatal(err)
			}
			w.runs(time.Second)
			sent(1)
			kept("r11")
		})
	}
}

// TestCheckToken: a refresh token that changes when it is tried is the one that is kept.
func TestCheckToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.collector.Web = &http.Client{Transport: &endpoint{}}
		o := w.post
		o.Secret, o.OAuth2 = "r0", &outpost.OAuth2{URL: "https://login.far.example/token", ClientID: "c"}
		w.far.password = "t1"
		if err := w.envoy.Check(t.Context(), &o); err != nil || o.Secret != "r1" {
			t.Errorf("%s, %v", o.Secret, err)
		}
	})
}
