package reporter_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/proto/tlsrpt"
	"posthaste/internal/store/reports"
)

// A web is what is there over https: answers by URL; "" is nobody.
type web struct {
	t       *testing.T
	answers map[string]int
	got     map[string][]tlsrpt.Report
	asked   int
}

// RoundTrip is as of http.RoundTripper.
func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	w.asked++
	uri := r.URL.String()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	status := w.answers[uri]
	if status == 0 {
		return nil, errors.New("certificate of another name")
	}
	rep, err := tlsrpt.Parse(b)
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/tlsrpt+gzip" {
		w.t.Error(r.Method, r.Header, err)
	}
	w.got[uri] = append(w.got[uri], rep)
	return &http.Response{StatusCode: status, Body: http.NoBody, Request: r}, nil
}

// TestPost: reports on TLS go by https beside mail; what fails is tried for a day, and
// nothing is sent twice.
func TestPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newSide(t, "mx.a.example", "a.example")
		w := &web{t: t, answers: map[string]int{"https://good.example/r": 201, "https://busy.example:8443/r": 503, "https://moved.example/r": 302}, got: map[string][]tlsrpt.Report{}}
		a.agent.Web = &http.Client{Transport: w, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		now := time.Now()
		a.reports.Count(now, "b.example", policy("b.example"), nil)
		a.zone.Text("_smtp._tls.b.example", "v=TLSRPTv1; rua=https://good.example/r,https://busy.example:8443/r,mailto:x@b.example,https://never.example/r,https://127.0.0.1/r,https://localhost/r,https://user:pass@good.example/,https://[::1]/")
		a.reports.Count(now, "c.example", policy("c.example"), nil)
		a.zone.Text("_smtp._tls.c.example", "v=TLSRPTv1; rua=https://moved.example/r")
		sent := func() string {
			list, err := a.reports.LatestSent(t.Context(), 9)
			if err != nil {
				t.Fatal(err)
			}
			out := ""
			for _, s := range list {
				out = fmt.Sprintln(s.Domain, s.To, s.Left, s.Note) + out
			}
			return out
		}
		round := func() {
			t.Helper()
			if err := a.agent.Round(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(reports.DayOf(now).End().Sub(now) + 15*time.Minute)
		round()
		want := "b.example [x@b.example https://good.example/r] [https://busy.example:8443/r https://never.example/r] https://busy.example:8443/r: it answered 503 Service Unavailable; https://never.example/r: certificate of another name\n" +
			"c.example [] [https://moved.example/r] https://moved.example/r: it answered 302 Found\n"
		if got := sent(); got != want {
			t.Errorf("%s, want\n%s", got, want)
		}
		w.answers["https://busy.example:8443/r"] = 200
		time.Sleep(time.Hour)
		round()
		for range 30 {
			time.Sleep(time.Hour)
			round()
		}
		want = "b.example [x@b.example https://good.example/r https://busy.example:8443/r] [] https://never.example/r: certificate of another name\n" +
			"c.example [] [] https://moved.example/r: it answered 302 Found\n"
		if got := sent(); got != want {
			t.Errorf("%s, want\n%s", got, want)
		}
		before := w.asked
		round()
		if w.asked != before || len(w.got["https://good.example/r"]) != 1 || len(w.got["https://moved.example/r"]) < 20 {
			t.Error(w.asked, before, len(w.got["https://moved.example/r"]))
		}
		if n := strings.Join(a.Waiting(), "|"); n != "b.example: x" {
			t.Error(n)
		}
		if r := w.got["https://good.example/r"][0]; r.Organization != "mx.a.example" || r.Policies[0].Successful != 1 {
			t.Errorf("%+v", r)
		}
		if wrong, err := a.reports.Check(t.Context()); err != nil || len(wrong) > 0 {
			t.Error(wrong, err)
		}
	})
}
