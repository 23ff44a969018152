package token

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An authority is a scripted authorization server, as a client's transport.
type authority struct {
	code  string   // what it answers to who asks for a code
	polls []string // its answers to who waits, one after the other; the last stays

	begun time.Time
	asked []string
	at    []int // seconds after the code, of each poll
}

const goodCode = `{"device_code":"d c","user_code":"WDJB-MJHT","verification_uri":"https://id.example/device","verification_uri_complete":"https://id.example/device?c=WDJB-MJHT","expires_in":900,"interval":7}`

// RoundTrip answers. An answer is a body, "500 body" with another status, or "down".
func (a *authority) RoundTrip(r *http.Request) (*http.Response, error) {
	r.ParseForm()
	user, pass, _ := r.BasicAuth()
	a.asked = append(a.asked, fmt.Sprintf("%s %s:%s %s", r.URL, user, pass, r.PostForm.Encode()))
	body := a.code
	if r.URL.Path == "/token" {
		a.at = append(a.at, int(time.Since(a.begun).Seconds()))
		body = a.polls[0]
		a.polls = a.polls[min(1, len(a.polls)-1):]
	} else {
		a.begun = time.Now()
	}
	if body == "down" {
		return nil, errors.New("the network is down")
	}
	status := http.StatusOK
	if strings.Contains(body, `"error"`) {
		status = http.StatusBadRequest
	}
	if n, err := fmt.Sscanf(body, "%d ", &status); n == 1 && err == nil {
		body = body[4:]
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

const (
	pending  = `{"error":"authorization_pending"}`
	slowDown = `{"error":"slow_down"}`
	allowed  = `{"access_token":"a","token_type":"Bearer","refresh_token":"r"}`
)

// TestDevice: it is asked as often as the issuer wants, until the access is allowed or
// denied, or the code is good no more.
func TestDevice(t *testing.T) {
	for name, c := range map[string]struct {
		polls []string
		at    []int  // when it is asked; nil: whatever
		err   string // "": there is a refresh token
	}{
		"at once":       {[]string{allowed}, []int{7}, ""},
		"pending":       {[]string{pending, pending, allowed}, []int{7, 14, 21}, ""},
		"slow down":     {[]string{pending, slowDown, pending, slowDown, allowed}, []int{7, 14, 26, 38, 55}, ""},
		"down":          {[]string{pending, "down", "down", pending, allowed}, []int{7, 14, 28, 56, 84}, ""},
		"ill":           {[]string{"503 <html>", "429 slowly", allowed}, []int{7, 21, 49}, ""},
		"denied":        {[]string{pending, `{"error":"access_denied","error_description":"no\nway"}`}, []int{7, 14}, "access_denied (no way): it was not allowed"},
		"expired":       {[]string{pending, `{"error":"expired_token"}`}, nil, "nobody has entered the code in time"},
		"never":         {[]string{pending}, nil, "nobody has entered the code in time"},
		"down for ever": {[]string{"down"}, nil, "the network is down"},
		"not known":     {[]string{"404 none"}, []int{7}, "answered 404"},
		"rubbish":       {[]string{"<html>"}, []int{7}, "invalid character"},
		"no refresh":    {[]string{`{"access_token":"a","token_type":"Bearer"}`}, []int{7}, "offline_access"},
		"no bearer":     {[]string{`{"access_token":"a","token_type":"mac","refresh_token":"r"}`}, []int{7}, "no bearer token"},
		"other client":  {[]string{`{"error":"invalid_client"}`}, []int{7}, "look at client_id"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &authority{code: goodCode, polls: c.polls}
				d := Device{URL: "https://id.example/code", TokenURL: "https://id.example/token", ClientID: "a client", Scope: "mail", Client: &http.Client{Transport: a}}
				code, err := d.Begin(t.Context())
				if err != nil || code.User != "WDJB-MJHT" || code.URL != "https://id.example/device" || code.Whole != code.URL+"?c=WDJB-MJHT" || time.Until(code.Until) != 15*time.Minute {
					t.Fatalf("%+v, %v", code, err)
				}
				refresh, err := d.Wait(t.Context(), code)
				if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || (refresh == "r") != (err == nil) {
					t.Errorf("%q, %v", refresh, err)
				}
				if c.at != nil && !slices.Equal(a.at, c.at) {
					t.Errorf("asked at %v, not at %v", a.at, c.at)
				}
				if took := time.Since(a.begun); took > 21*time.Minute {
					t.Errorf("it waits for %v", took)
				}
				for i, want := range []string{"https://id.example/code : client_id=a+client&scope=mail", "https://id.example/token : client_id=a+client&device_code=d+c&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code"} {
					if a.asked[i] != want {
						t.Errorf("asked %q, not %q", a.asked[i], want)
					}
				}
			})
		})
	}
}

// TestDeviceCode: what an issuer gives as a code is used only if it can be shown.
func TestDeviceCode(t *testing.T) {
	for answer, want := range map[string]string{
		goodCode: "WDJB-MJHT https://id.example/device 7s",
		`{"device_code":"d","user_code":"U","verification_url":"https://id.example/old","expires_in":"60"}`:                            "U https://id.example/old 5s",
		`{"device_code":"d","user_code":"U","verification_uri":"https://id.example/d","verification_uri_complete":"x:y","interval":0}`: "U https://id.example/d 5s",
		`{"device_code":"d","user_code":"U","verification_uri":"https://id.example/d","interval":1e300}`:                               "U https://id.example/d 5m0s",
		"{\"device_code\":\"d\",\"user_code\":\"\\u001b[2JU\",\"verification_uri\":\"https://id.example/d\"}":                          " [2JU https://id.example/d 5s",
		`{"device_code":"d","user_code":"U","verification_uri":"javascript:alert(1)"}`:                                                 "!gave no code",
		`{"device_code":"d","user_code":"U","verification_uri":"http://id.example/d"}`:                                                 "!gave no code",
		"{\"device_code\":\"d\",\"user_code\":\"U\",\"verification_uri\":\"https://id.example/\\u202ed\"}":                             "!gave no code",
		`{"user_code":"U","verification_uri":"https://id.example/d"}`:                                                                  "!gave no code",
		`{"device_code":"d","user_code":" ","verification_uri":"https://id.example/d"}`:                                                "!gave no code",
		`{"error":"invalid_scope","error_description":"Invalid device flow scope: https://mail.google.com/"}`:                          "!invalid_scope (Invalid device flow scope: https://mail.google.com/): look at scope",
		`{"error":"invalid_client"}`: "!look at client_id",
		"404 not here":               "!answered 404",
		"down":                       "!the network is down",
		"":                           "!unexpected end",
		"[]":                         "!cannot unmarshal",
		strings.Repeat("x", 100_000): "!more than",
	} {
		d := Device{URL: "https://id.example/code", TokenURL: "https://id.example/token", ClientID: "c", Secret: "s", Client: &http.Client{Transport: &authority{code: answer}}}
		c, err := d.Begin(t.Context())
		got := fmt.Sprint(c.User, " ", c.URL, " ", c.every)
		if err != nil {
			got = "!" + err.Error()
		}
		if got != want && (want[0] != '!' || err == nil || !strings.Contains(got, want[1:])) {
			t.Errorf("%.200q: %q, want %q", answer, got, want)
		}
	}
}

// pages is an issuer that tells of itself, by URL.
type pages map[string]string

// RoundTrip answers.
func (p pages) RoundTrip(r *http.Request) (*http.Response, error) {
	body, status := p[r.URL.String()], http.StatusOK
	if body == "" {
		status = http.StatusNotFound
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// TestDiscover: an issuer is asked in both places, and believed only of itself.
func TestDiscover(t *testing.T) {
	about := func(issuer, token, device string) string {
		return fmt.Sprintf(`{"issuer":%q,"token_endpoint":%q,"device_authorization_endpoint":%q}`, issuer, token, device)
	}
	web := pages{
		"https://a.example/.well-known/openid-configuration":              about("https://a.example/", "https://a.example/t", "https://a.example/d"),
		"https://a.example/x/.well-known/openid-configuration":            about("https://a.example/x", "https://a.example/t", ""),
		"https://b.example/.well-known/oauth-authorization-server/tenant": about("https://b.example/tenant", "https://b.example/t", "https://b.example/d"),
		"https://c.example/.well-known/openid-configuration":              about("https://a.example", "https://a.example/t", "https://a.example/d"),
		"https://d.example/.well-known/openid-configuration":              about("https://d.example", "http://d.example/t", "https://d.example/d"),
		"https://e.example/.well-known/openid-configuration":              "<html>",
	}
	for issuer, want := range map[string]string{
		"https://a.example": "https://a.example/t https://a.example/d", "https://a.example/": "https://a.example/t https://a.example/d", "https://a.example/x/": "https://a.example/t ",
		"https://b.example/tenant": "https://b.example/t https://b.example/d", "https://c.example": "!name it so", "https://d.example": "!only https", "https://e.example": "!invalid character",
		"https://f.example": "!does not tell where", "http://a.example": "!only https", "a.example": "!no URL", "": "!no URL",
	} {
		e, err := Discover(t.Context(), &http.Client{Transport: web}, issuer)
		got := e.Token + " " + e.Device
		if err != nil {
			got = "!" + err.Error()
		}
		if got != want && (want[0] != '!' || err == nil || !strings.Contains(got, want[1:])) {
			t.Errorf("%q: %q, want %q", issuer, got, want)
		}
	}
}
