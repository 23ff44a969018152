//go:build interop

package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A remote does commands of W3C WebDriver in a browser, by which tests do what a person's
// hands do. A path is that of a session's; out is what it gives.
type remote interface {
	call(method, path string, in, out any) error
}

// An overHTTP is a remote as the standard has it: JSON over HTTP.
type overHTTP struct {
	t  *testing.T
	at string
}

// A driverError is what WebDriver says of a command that it could not do.
type driverError struct {
	Kind    string `json:"error"`
	Message string `json:"message"`
}

func (e *driverError) Error() string { return e.Kind + ": " + e.Message }

// call is as of remote.
func (c overHTTP) call(method, path string, in, out any) error {
	var body io.Reader
	if method == "POST" {
		if in == nil {
			in = struct{}{}
		}
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.at+path, body)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: patience}).Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		e := new(driverError)
		if err := json.Unmarshal(answer.Value, e); err != nil {
			return err
		}
		return e
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, out)
}

// A window is a browser of its own, with no cookies of others.
type window struct {
	remote
	t      *testing.T
	engine engine
	site   string // where the pages of the tests are
	// console tells whether the browser gives away what stands in its console: only
	// Chromium does.
	console bool
}

// another opens one of the same kind, which knows nothing of this one.
func (w *window) another() *window { return w.engine(w.t, w.site) }

func (w *window) do(path string, in, out any) {
	w.t.Helper()
	if err := w.call("POST", path, in, out); err != nil {
		w.t.Fatalf("the browser: %s: %v\non %s:\n%s", path, err, w.url(), w.text())
	}
}

func (w *window) get(path string) (s string) {
	w.t.Helper()
	if err := w.call("GET", path, nil, &s); err != nil {
		w.t.Fatalf("the browser: %s: %v", path, err)
	}
	return s
}

func (w *window) url() string { return w.get("/url") }

// open goes to a page of the site.
func (w *window) open(path string) {
	w.t.Helper()
	w.do("/url", map[string]string{"url": w.site + path}, nil)
}

// eval runs a script, which returns something.
func (w *window) eval(script string, out any, args ...any) {
	w.t.Helper()
	if args == nil {
		args = []any{}
	}
	w.do("/execute/sync", map[string]any{"script": script, "args": args}, out)
}

// text is what a person reads on the page.
func (w *window) text() (s string) {
	err := w.call("POST", "/execute/sync", map[string]any{"script": "return document.body.innerText", "args": []any{}}, &s)
	if err != nil {
		return "nothing that can be read: " + err.Error()
	}
	return s
}

// on waits until the page with that headline is there, and says that.
func (w *window) on(title string, words ...string) {
	w.t.Helper()
	eventually(w.t, func() error {
		var is string
		w.eval("const h = document.querySelector('h1'); return document.readyState === 'complete' && h ? h.innerText : ''", &is)
		text := w.text()
		if is != title {
			return fmt.Errorf("the browser is on %q, not on %q:\n%s", is, title, text)
		}
		for _, word := range words {
			if !strings.Contains(text, word) {
				return fmt.Errorf("%q is missing in\n%s", word, text)
			}
		}
		return nil
	})
}

// An element is part of a page, as WebDriver calls it.
type element map[string]string

func (e element) path() string { return "/element/" + e["element-6066-11e4-a52e-4f735466cecf"] }

// find gives the first element of an XPath.
func (w *window) find(xpath string) (e element) {
	w.t.Helper()
	w.do("/element", map[string]string{"using": "xpath", "value": xpath}, &e)
	return e
}

// click clicks on the link, button or label of that text.
func (w *window) click(text string) {
	w.t.Helper()
	e := w.find(fmt.Sprintf("//*[self::a or self::button or self::label][normalize-space(.)=%q]", text))
	w.do(e.path()+"/click", nil, nil)
}

// fill writes into the field that is labelled so, in place of what is there.
func (w *window) fill(label, text string) {
	w.t.Helper()
	e := w.find(fmt.Sprintf("//*[@id=//label[starts-with(normalize-space(.),%q)]/@for]", label))
	w.do(e.path()+"/clear", nil, nil)
	w.do(e.path()+"/value", map[string]string{"text": text}, nil)
}

// Keys of WebDriver.
const (
	keyTab   = "\ue004"
	keyEnter = "\ue007"
)

// keys presses keys, one after the other.
func (w *window) keys(text string) {
	w.t.Helper()
	var list []map[string]string
	for _, r := range text {
		list = append(list, map[string]string{"type": "keyDown", "value": string(r)}, map[string]string{"type": "keyUp", "value": string(r)})
	}
	w.do("/actions", map[string]any{"actions": []any{map[string]any{"type": "key", "id": "keyboard", "actions": list}}}, nil)
}

// tabTo presses Tab until what is called so has the focus, as a screen reader says it.
// Wherever the focus is meanwhile, it must be seen.
func (w *window) tabTo(name string) {
	w.t.Helper()
	var met []string
	for range 60 {
		w.keys(keyTab)
		var seen bool
		w.eval("const e = document.activeElement; return e === document.body || getComputedStyle(e).outlineStyle !== 'none'", &seen)
		if !seen {
			w.t.Errorf("the focus on %q cannot be seen", met)
		}
		var e element
		if err := w.call("GET", "/element/active", nil, &e); err != nil {
			w.t.Fatal(err)
		}
		is := w.get(e.path() + "/computedlabel")
		if is == name {
			return
		}
		met = append(met, is)
	}
	w.t.Fatalf("Tab leads to %q, and not to %q", met, name)
}

// look sets how wide the page is shown, and in which colours: "light" or "dark".
func (w *window) look(width int, colours string) {
	w.t.Helper()
	cdp := func(cmd string, params any) {
		w.t.Helper()
		w.do("/goog/cdp/execute", map[string]any{"cmd": cmd, "params": params}, nil)
	}
	cdp("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600})
	cdp("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]string{"name": "prefers-color-scheme", "value": colours}}})
}

// complaints gives what the browser has complained of in its console since the last time:
// scripts, policies, and what could not be loaded.
func (w *window) complaints() (out []string) {
	w.t.Helper()
	if !w.console {
		return nil
	}
	var list []struct{ Level, Source, Message string }
	w.do("/se/log", map[string]string{"type": "browser"}, &list)
	for _, l := range list {
		out = append(out, strings.Join([]string{l.Level, l.Source, l.Message}, " "))
	}
	return out
}

// quiet fails the test if the browser has complained of something.
func (w *window) quiet() {
	w.t.Helper()
	for _, c := range w.complaints() {
		w.t.Errorf("on %s the browser complains: %s", w.url(), c)
	}
}

// refusedHere takes the complaint that an answer had a status of refusal, which belongs to
// what was just done.
func (w *window) refusedHere(status int) {
	w.t.Helper()
	if list := w.complaints(); w.console && (len(list) != 1 || !strings.Contains(list[0], fmt.Sprintf("status of %d", status))) {
		w.t.Errorf("the browser complains of %q, not of a status of %d", list, status)
	}
}

// cookies gives the cookies of the site.
func (w *window) cookies() (out []*http.Cookie) {
	w.t.Helper()
	var list []struct {
		Name, Value, Path, SameSite string
		Secure, HTTPOnly            bool
		Expiry                      *int64
	}
	if err := w.call("GET", "/cookie", nil, &list); err != nil {
		w.t.Fatal(err)
	}
	for _, c := range list {
		k := &http.Cookie{Name: c.Name, Value: c.Value, Path: c.Path, Secure: c.Secure, HttpOnly: c.HTTPOnly}
		if c.SameSite == "Strict" {
			k.SameSite = http.SameSiteStrictMode
		}
		if c.Expiry != nil {
			k.Expires = time.Unix(*c.Expiry, 0)
		}
		out = append(out, k)
	}
	return out
}
