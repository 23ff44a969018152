package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// provider is a mail provider with an authorization server, scripted: it allows the
// access when it is asked a second time.
type provider struct {
	mu     sync.Mutex
	denied bool
	asked  int
	url    string
}

func (p *provider) deny(denied bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.denied = denied
}

// ServeHTTP is the authorization server.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := func(status int, format string, args ...any) {
		w.WriteHeader(status)
		fmt.Fprintf(w, format, args...)
	}
	switch r.URL.Path + " " + r.FormValue("grant_type") {
	case "/.well-known/openid-configuration ":
		answer(200, `{"issuer":%[1]q,"token_endpoint":"%[1]s/token","device_authorization_endpoint":"%[1]s/code"}`, p.url)
	case "/code ":
		p.asked = 0
		answer(200, `{"device_code":"d","user_code":"WDJB-MJHT","verification_uri":"https://id.example/device","expires_in":60,"interval":1}`)
	case "/token urn:ietf:params:oauth:grant-type:device_code":
		p.asked++
		switch {
		case p.denied:
			answer(400, `{"error":"access_denied"}`)
		case p.asked == 1:
			answer(400, `{"error":"authorization_pending"}`)
		default:
			answer(200, `{"access_token":"unused","token_type":"Bearer","refresh_token":"first"}`)
		}
	case "/token refresh_token":
		if r.FormValue("refresh_token") != "first" || r.FormValue("client_id") != "abc" {
			answer(400, `{"error":"invalid_grant"}`)
			return
		}
		answer(200, `{"access_token":"ours","token_type":"Bearer"}`)
	default:
		answer(404, "none")
	}
}

// serveIMAP is the mail server, which takes the token that the other gives.
func (p *provider) serveIMAP(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		fmt.Fprint(c, "* OK ready\r\n")
		for in := bufio.NewScanner(c); in.Scan(); {
			tag, command, _ := strings.Cut(in.Text(), " ")
			verb, arg, _ := strings.Cut(command, " ")
			answer := "OK done"
			switch verb {
			case "CAPABILITY":
				fmt.Fprint(c, "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR\r\n")
			case "AUTHENTICATE":
				b, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(arg, "XOAUTH2 "))
				if string(b) != "user=ada.l\x01auth=Bearer ours\x01\x01" {
					answer = "NO [AUTHENTICATIONFAILED] no"
				}
			case "LIST":
				fmt.Fprint(c, "* LIST () \"/\" INBOX\r\n")
			}
			fmt.Fprintf(c, "%s %s\r\n", tag, answer)
		}
		c.Close()
	}
}

// TestCollectByCode gets the first refresh token by a code that somebody enters.
func TestCollectByCode(t *testing.T) {
	p := &provider{}
	web := httptest.NewServer(p)
	defer web.Close()
	p.url = web.URL
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go p.serveIMAP(ln)
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	data := "--data=" + filepath.Join(t.TempDir(), "data")
	must(t, "", "domain", "add", "example.org", data)
	must(t, "secret password", "account", "add", "ada@example.org", "--password-stdin", data)
	add := []string{"collect", "add", "ada@example.org", "big", "--imap", "127.0.0.1", "--port", port, "--tls", "none", "--user", "ada.l", data}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"say --client-id", []string{"--oauth", web.URL}},
		{"say --oauth alone", []string{"--oauth", web.URL, "--client-id", "abc", "--token-url", web.URL + "/token"}},
		{"say --oauth alone", []string{"--device-url", web.URL + "/code", "--client-id", "abc"}},
		{"leave it out", []string{"--oauth", web.URL, "--client-id", "abc", "--password-file", "x"}},
		{"does not tell where tokens are got", []string{"--oauth", web.URL + "/other", "--client-id", "abc"}},
		{"only https", []string{"--oauth", "http://id.example", "--client-id", "abc"}},
		{"only https", []string{"--device-url", "http://id.example/code", "--token-url", "https://id.example/token", "--client-id", "abc"}},
		{"answered 404", []string{"--device-url", web.URL + "/none", "--token-url", web.URL + "/token", "--client-id", "abc"}},
	} {
		mustFail(t, c.want, "", append(add, c.args...)...)
	}
	p.deny(true)
	mustFail(t, "it was not allowed", "", append(add, "--oauth", web.URL, "--client-id", "abc")...)
	if out := must(t, "", "collect", "list", data); !strings.Contains(out, "Nothing is collected") {
		t.Error(out)
	}
	p.deny(false)
	out := must(t, "", append(add, "--oauth", web.URL, "--client-id", "abc")...)
	for _, want := range []string{"https://id.example/device", "WDJB-MJHT", "ada.l at 127.0.0.1", "collects the mail of ada.l"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if strings.Contains(out, "first") {
		t.Error("it shows the token")
	}
	out = must(t, "", "collect", "set", "ada@example.org", "big", data, "--device-url", web.URL+"/code", "--token-url", web.URL+"/token", "--client-id", "abc")
	if !strings.Contains(out, "WDJB-MJHT") {
		t.Error(out)
	}
}
