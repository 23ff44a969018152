package accountd

import (
	"context"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"posthaste/internal/agent/auth"
	"posthaste/internal/agent/owner"
	"posthaste/internal/agent/registrar"
	"posthaste/internal/agent/rules"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/proto/discovery"
	"posthaste/internal/store/body"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/keyring"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/maildrop"
	"posthaste/internal/store/outpost"
	"posthaste/internal/store/script"
	"posthaste/internal/store/signin"
)

const password = "a secret pencil"

var home = netip.MustParseAddr("192.0.2.7")

// A house has one account, and the pages for it.
type house struct {
	*Server
	auth *auth.Agent
	ada  directory.Account
	url  string
	web  *httptest.Server
}

func newHouse(t testing.TB) *house {
	t.Helper()
	db := kv.Strict(memkv.New())
	dir := &directory.Directory{DB: db}
	boxes := &mailbox.Store{DB: db, Bodies: &body.Store{DB: db, Blobs: memblob.New()}}
	h := &house{auth: &auth.Agent{Directory: dir}}
	scripts := &script.Store{DB: db}
	reg := &registrar.Registrar{
		DB: db, Directory: dir, Mailboxes: boxes, Keys: &keyring.Keyring{DB: db}, AppPassword: h.auth.NewAppPassword,
		Hash: func(_ context.Context, password string, now directory.Credentials) (directory.Credentials, error) {
			return h.auth.NewCredentials(password, now)
		},
	}
	h.Server = &Server{
		Owner:    &owner.Agent{Directory: dir, Registrar: reg, Mailboxes: boxes, Maildrops: &maildrop.Store{DB: db, Mail: boxes}, Store: scripts, Rules: &rules.Agent{Scripts: scripts, Directory: dir, Mailboxes: boxes, Log: slog.New(slog.DiscardHandler)}},
		Sessions: &signin.Store{DB: db}, SignIn: h.auth.SignIn, Stands: h.auth.Stands,
		Settings: func(_ context.Context, d mail.Domain) (discovery.Settings, error) {
			return discovery.Settings{Domain: string(d), Services: []discovery.Service{
				{Protocol: discovery.IMAP, Host: "mail.a.example", Port: 993},
				{Protocol: discovery.IMAP, Host: "mail.a.example", Port: 143, STARTTLS: true},
				{Protocol: discovery.Submission, Host: "mail.a.example", Port: 465},
			}}, nil
		},
		Outposts: &outpost.Store{DB: db}, Log: slog.New(slog.DiscardHandler),
	}
	err := db.Update(t.Context(), kv.Plan{Locks: []kv.Lock{directory.Lock}}, func(tx kv.Tx) error {
		return dir.PutDomain(tx, "a.example")
	})
	if err == nil {
		h.ada, err = reg.AddAccount(t.Context(), registrar.NewAccount{Address: mail.Address{Local: "ada", Domain: "a.example"}, Password: password})
	}
	if err != nil {
		t.Fatal(err)
	}
	h.web = httptest.NewTLSServer(h)
	t.Cleanup(h.web.Close)
	h.url = h.web.URL + Path
	return h
}

// A browser is somebody's.
type client struct {
	t testing.TB
	h *house
	c *http.Client
}

func (h *house) browser(t testing.TB) *client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := *h.web.Client()
	c.Jar = jar
	return &client{t, h, &c}
}

// in gives a browser that is signed in.
func (h *house) in(t testing.TB) *client {
	b := h.browser(t)
	b.post("sign-in", "Your account", "user", "ada@a.example", "password", password)
	return b
}

var (
	mainPart = regexp.MustCompile(`(?s)<main id="main">(.*)</main>`)
	tag      = regexp.MustCompile(`<[^>]*>`)
	blanks   = regexp.MustCompile(`\s+`)
)

// text is what somebody reads of a page.
func text(page string) string {
	if m := mainPart.FindStringSubmatch(page); m != nil {
		page = m[1]
	}
	return strings.TrimSpace(blanks.ReplaceAllString(html.UnescapeString(tag.ReplaceAllString(page, " ")), " "))
}

// get shows a page, which must have some words in it, and gives it.
func (b *client) get(path, want string) string {
	b.t.Helper()
	resp, err := b.c.Get(b.h.url + path)
	return b.shown(path, want, resp, err)
}

func values(fields []string) url.Values {
	q := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		q.Add(fields[i], fields[i+1])
	}
	return q
}

// post sends a form with those fields and their values.
func (b *client) post(path, want string, fields ...string) string {
	b.t.Helper()
	resp, err := b.c.PostForm(b.h.url+path, values(fields))
	return b.shown(path, want, resp, err)
}

func (b *client) shown(path, want string, resp *http.Response, err error) string {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if !strings.Contains(text(string(page)), want) {
		b.t.Errorf("%s: %s\n%s\nwant %q", path, resp.Status, text(string(page)), want)
	}
	return string(page)
}

// letters brings mail, and gives the UIDs.
func (h *house) letters(t testing.TB, n int, header string) {
	t.Helper()
	boxes := h.Owner.Mailboxes
	for range n {
		p, err := boxes.PrepareMessage(t.Context(), mail.NewTraceID(time.Now()), strings.NewReader(header+"\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := boxes.AppendMessages(t.Context(), h.ada.ID, mailbox.Inbox, mailbox.Incoming{Prepared: p}); err != nil {
			t.Fatal(err)
		}
	}
}

// uids are those in the inbox.
func (h *house) uids(t testing.TB) string {
	t.Helper()
	snap, err := h.Owner.Mailboxes.Open(t.Context(), h.ada.ID, mailbox.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	return snap.UIDs().String()
}

// TestSignIn: the account's password opens the pages, until the session ends; nothing
// else does.
func TestSignIn(t *testing.T) {
	h := newHouse(t)
	b := h.browser(t)
	for _, path := range []string{"", "pop3", "pop3/policy", "pop3/ledger", "deleted", "programs", "security"} {
		b.get(path, "Sign in Your address Password")
	}
	app, err := h.Owner.AddDevice(t.Context(), h.ada, "phone", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"", "a secret pen", app} {
		b.post("sign-in", "do not go together", "user", "ada@a.example", "password", wrong)
	}
	b.post("sign-in", "do not go together", "user", "eve@a.example", "password", password)
	b.get("", "Sign in")
	if page := b.post("sign-in", "Deleted mail", "user", " ada@a.example ", "password", password, "next", "deleted?days=7"); !strings.Contains(page, `value="7" selected`) {
		t.Error("what was wanted is not shown")
	}
	b.get("sign-in", "Your account")
	other := h.in(t)
	b.post("sign-out", "Sign in")
	b.get("", "Sign in")
	other.get("", "Your account")

	// Whom the account does not open any more is out.
	if err := h.Owner.Registrar.SetDisabled(t.Context(), h.ada.Address, true); err != nil {
		t.Fatal(err)
	}
	other.get("", "Sign in")
	if list, err := h.Sessions.List(t.Context(), h.ada.ID); err != nil || len(list) != 0 {
		t.Errorf("sessions are left: %v %v", list, err)
	}
}

// TestCookie: nothing reads the cookie but the browser, for this host, over TLS, from
// pages of ours; and each sign-in has its own.
func TestCookie(t *testing.T) {
	h := newHouse(t)
	c := *h.web.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	seen := map[string]bool{}
	for range 2 {
		resp, err := c.PostForm(h.url+"sign-in", values([]string{"user", "ada@a.example", "password", password}))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		ck := resp.Cookies()
		if len(ck) != 1 || !strings.HasPrefix(ck[0].Name, "__Host-") || !ck[0].Secure || !ck[0].HttpOnly || ck[0].SameSite != http.SameSiteStrictMode || ck[0].Path != "/" || ck[0].Domain != "" || len(ck[0].Value) < 22 || seen[ck[0].Value] {
			t.Errorf("the cookie is %v", ck)
		}
		seen[ck[0].Value] = true
	}
}

// TestHeaders: no page may be framed, kept, or run a script.
func TestHeaders(t *testing.T) {
	h := newHouse(t)
	b := h.in(t)
	for _, path := range []string{"", "pop3", "deleted", "nowhere", "sign-in", "style.css"} {
		resp, err := b.c.Get(h.url + path)
		if err != nil {
			t.Fatal(err)
		}
		page, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		csp := resp.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "script-src") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %s", path, csp)
		}
		if (resp.Header.Get("Cache-Control") != "no-store") != (path == "style.css") || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, resp.Header)
		}
		for _, bad := range []string{"<script", "style=", "onclick", "javascript:", "http://"} {
			if strings.Contains(string(page), bad) {
				t.Errorf("%s has %q in it", path, bad)
			}
		}
	}
}

// TestElsewhere: a page of another site changes nothing, and signs nobody in.
func TestElsewhere(t *testing.T) {
	h := newHouse(t)
	b := h.in(t)
	for _, from := range []http.Header{{"Sec-Fetch-Site": {"cross-site"}}, {"Sec-Fetch-Site": {"same-site"}}, {"Origin": {"https://evil.example"}}, {"Origin": {"null"}}} {
		for path, form := range map[string]string{
			"pop3/policy": "do=save&after=delete&removal=delete", "sign-out": "", "sign-in": values([]string{"user", "ada@a.example", "password", password}).Encode(),
		} {
			req, err := http.NewRequest(http.MethodPost, h.url+path, strings.NewReader(form))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = from.Clone()
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			resp, err := b.c.Do(req)
			if err == nil && resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s from %v: %s", path, from, resp.Status)
			}
			b.shown(path, "That came from elsewhere", resp, err)
		}
	}
	b.get("pop3", "What is collected stays")
}

// TestNext: who signs in is sent to a page of ours.
func TestNext(t *testing.T) {
	for in, want := range map[string]string{
		"pop3": "pop3", "deleted?mailbox=a%2Fb": "deleted?mailbox=a%2Fb", "": "",
		"//evil.example": "", "/evil": "", "https://evil.example/": "", `\\evil.example`: "", "../x": "", "a/../../x": "", "javascript:x": "", "sign-in?next=x": "", "a\r\nb": "",
	} {
		if got := nextOf(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzNext: whatever it is, the browser stays below Path.
func FuzzNext(f *testing.F) {
	f.Add("pop3?x=1")
	f.Add("//evil.example")
	f.Fuzz(func(t *testing.T, s string) {
		base, _ := url.Parse("https://mail.a.example/")
		u, err := base.Parse(Path + nextOf(s))
		if err != nil || u.Host != base.Host || u.Scheme != "https" || !strings.HasPrefix(u.Path, Path) {
			t.Errorf("%q leads to %v, %v", s, u, err)
		}
	})
}
