//go:build interop

package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"posthaste/test/network"
)

// newDesk starts a server with pages for owners, and gives one, and where the pages are.
func newDesk(t *testing.T) (ada person, site string) {
	t.Helper()
	web, imap, pop, submission := network.FreePort(), network.FreePort(), network.FreePort(), network.FreePort()
	listeners := ""
	for _, l := range [][3]string{{web, "https", ""}, {imap, "imap", "implicit"}, {pop, "pop3", "implicit"}, {submission, "submission", "implicit"}} {
		listeners += fmt.Sprintf("[[listener]]\naddress = %q\nprotocol = %q\n", l[0], l[1])
		if l[2] != "" {
			listeners += fmt.Sprintf("tls = %q\n", l[2])
		}
	}
	h := webHouse(t, listeners, web)
	h.IMAPS, h.POP3S, h.Submissions = imap, pop, submission
	for _, args := range [][]string{{"hill.example"}, {"vale.example", "--alias-of", "hill.example"}} {
		if out, err := h.tool(append([]string{"domain", "add"}, args...)...); err != nil {
			t.Fatal(err, out)
		}
	}
	return h.person(t), "https://localhost:" + port(web)
}

// elsewhere is the same person in the other name of the domain.
func (p person) elsewhere() person {
	p.address = strings.Replace(p.address, "hill", "vale", 1)
	return p
}

// TestOtherName: people log in with the address in another name of their domain, over all
// protocols, and send as either.
func TestOtherName(t *testing.T) {
	t.Parallel()
	ada, _ := newDesk(t)
	other := ada.elsewhere()
	contains(t, other.curl(t, local("imaps", ada.h.IMAPS, "/")), "INBOX")
	other.curl(t, local("pop3s", ada.h.POP3S, "/"))
	home := t.TempDir()
	for _, auth := range []string{"plain", "scram-sha-256"} {
		rc := write(t, filepath.Join(home, "msmtprc"), fmt.Sprintf("account default\nhost localhost\nport %s\ntls on\ntls_starttls off\ntls_trust_file %s\nauth %s\nuser %s\npassword %s\n",
			port(ada.h.Submissions), ada.h.CA, auth, other.address, other.password))
		for _, from := range []string{ada.address, other.address} {
			letter := "From: <" + from + ">\nTo: <" + other.address + ">\nSubject: " + auth + "\n\nhello\n"
			job{name: "msmtp", home: home, args: []string{"-C", rc, "-f", from, other.address}, in: letter}.ok(t)
		}
	}
	ada.judge(t).wait("INBOX", 4)
	if other.letsIn(t, "wrong") {
		t.Error("a wrong password lets in")
	}
}

// signIn signs in on the page that asks for it.
func (w *window) signIn(address, password string) {
	w.t.Helper()
	w.on("Sign in")
	w.fill("Your address", address)
	w.fill("Password", password)
	w.click("Sign in")
}

// hostile is what a page must show as it is.
const hostile = "</option></td><script>document.title='owned'</script><img src=x onerror=document.title='owned'><b style=color:red>{{.}}"

// letterOf gives a message with a subject.
func letterOf(subject string) []byte {
	return fmt.Appendf(nil, "From: Bob <bob@far.example>\r\nTo: ada@hill.example\r\nSubject: %s\r\nDate: Mon, 2 Feb 2026 10:00:00 +0000\r\nMessage-ID: <%s@far.example>\r\n\r\nHello.\r\n", subject, strings.ReplaceAll(subject, " ", "."))
}

// letsIn tells whether the password opens the account over IMAP.
func (p person) letsIn(t *testing.T, password string) bool {
	t.Helper()
	_, code := job{name: "curl", args: []string{"-sS", "--cacert", p.h.CA, "-u", p.address + ":" + password, local("imaps", p.h.IMAPS, "/")}}.run(t)
	return code == 0
}

// collects fetches a message over POP3, and waits until the ledger has it.
func (p person) collects(t *testing.T, n int) {
	t.Helper()
	lines := func() int {
		out, err := p.h.tool("pop3", "ledger", p.address)
		if err != nil {
			t.Fatal(err, out)
		}
		return strings.Count(out, "\n")
	}
	before := lines()
	p.curl(t, local("pop3s", p.h.POP3S, fmt.Sprint("/", n)))
	eventually(t, func() error {
		if lines() == before {
			return errors.New("the ledger does not know what was collected")
		}
		return nil
	})
}

// TestAccountPages does with a browser all that people do on the pages of their account,
// and looks with other programs what came of it.
func TestAccountPages(t *testing.T) { inAll(t, accountPages) }

// inAll runs a test with the browsers of all kinds.
func inAll(t *testing.T, fn func(t *testing.T, open engine)) {
	t.Parallel()
	for name, e := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fn(t, e)
		})
	}
}

func accountPages(t *testing.T, open engine) {
	ada, site := newDesk(t)
	j := ada.judge(t)
	for _, s := range []string{"first", "second", "the third"} {
		j.put("INBOX", "", time.Now(), letterOf(s))
	}
	j.do(`CREATE "` + hostile + `"`)
	j.put(hostile, "", time.Now(), bytes.Replace(letterOf(hostile), []byte("Bob <"), []byte(`"`+strings.ReplaceAll(hostile, `"`, `\"`)+`" <`), 1))
	w := open(t, site)

	w.open("/account/pop3")
	w.signIn(ada.address, "not the password")
	w.on("Sign in", "do not go together")
	w.refusedHere(http.StatusUnauthorized)
	w.signIn(ada.address, ada.password)
	w.on("Mail collected by POP3", ada.address, "Nothing was collected", "No message is about to go")
	cookies := w.cookies()
	if len(cookies) != 1 || !cookies[0].Secure || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode || !cookies[0].Expires.IsZero() || !strings.HasPrefix(cookies[0].Name, "__Host-") {
		t.Errorf("cookies: %v", cookies)
	}
	w.quiet()

	ada.collects(t, 1)
	policyByHand(t, w, ada)
	deletedByHand(t, w, ada)
	programByHand(t, w, ada)
	rulesByHand(t, w, ada)
	passwordByHand(t, w, &ada)
	signOutByHand(t, w, ada, cookies[0].Name)
}

// policyByHand sees in the ledger what was collected, and says that it goes.
func policyByHand(t *testing.T, w *window, ada person) {
	t.Helper()
	w.click("POP3")
	w.on("Mail collected by POP3", "main password", "127.0.0.1")
	w.click("All visits")
	w.on("What was collected", "main password")
	w.click("Back")
	w.on("Mail collected by POP3")
	w.click("Change for all")
	w.on("What programs collect")
	w.click("it goes some days later")
	w.fill("How many days", "0")
	w.click("See what it will do")
	w.on("What programs collect") // the browser itself does not send that
	w.fill("How many days", "9")
	w.click("See what it will do")
	w.on("What programs collect", "This is what it will do", "1 message will go", "first")
	if out, err := ada.h.tool("pop3", "policy", "show", ada.address); err != nil || strings.Contains(out, "9 days") {
		t.Errorf("it was done before it was said: %v\n%s", err, out)
	}
	w.click("Save")
	w.on("Mail collected by POP3", "Saved.", "9 days", "1 message will go")
	if out, err := ada.h.tool("pop3", "policy", "show", ada.address); err != nil || !strings.Contains(out, "9 days") {
		t.Errorf("the server knows of no 9 days: %v\n%s", err, out)
	}
	w.quiet()
}

// deletedByHand deletes with one program, and brings back with the browser.
func deletedByHand(t *testing.T, w *window, ada person) {
	t.Helper()
	j := ada.judge(t)
	for box, what := range map[string]string{"INBOX": "2:3", hostile: "1"} {
		j.do(`SELECT "` + box + `"`)
		j.do("STORE " + what + ` +FLAGS (\Deleted)`)
		j.do("EXPUNGE")
	}
	w.click("Deleted mail")
	w.on("Deleted mail", "second", "the third", "Bob")
	var title string
	w.eval("return document.title + document.images.length + document.scripts.length", &title)
	if n := strings.Count(w.text(), hostile); n < 3 || title != "Deleted mail – "+ada.address+"00" {
		t.Errorf("mail that wants to run a script is shown %d times on %q:\n%s", n, title, w.text())
	}
	w.click("Bring back what is chosen")
	w.on("Deleted mail", "Choose what is to come back first.")
	w.refusedHere(http.StatusUnprocessableEntity)
	w.click("the third")
	w.click("Bring back what is chosen")
	w.on("Deleted mail", "1 message came back.", "second")
	if strings.Contains(w.text(), "the third") {
		t.Error("what came back is still there")
	}
	texts := ""
	for _, l := range ada.judge(t).letters("INBOX") {
		texts += string(l.text)
	}
	if !strings.Contains(texts, "the third") || strings.Contains(texts, "second") {
		t.Errorf("there is over IMAP:\n%s", texts)
	}
	w.quiet()
}

// programByHand makes a password for a program, logs in with it, and takes it away.
func programByHand(t *testing.T, w *window, ada person) {
	t.Helper()
	w.click("Programs and devices")
	w.on("Programs and devices")
	w.fill("Name of the program", "phone")
	w.fill("The password of your account", "not it")
	w.click("Make a password")
	w.on("Programs and devices", "That is not the password of your account.")
	w.refusedHere(http.StatusUnprocessableEntity)
	w.fill("The password of your account", ada.password)
	w.click("Make a password")
	w.on("A password for phone", "it is shown this once")
	var password string
	w.eval("return document.querySelector('code').innerText", &password)
	if !ada.letsIn(t, password) || ada.letsIn(t, "x"+password) {
		t.Errorf("%q does not let in, or something else does", password)
	}
	other := w.another()
	other.open("/account/")
	other.signIn(ada.address, password)
	other.on("Sign in", "an app password opens a program, not these pages")
	w.click("Done")
	w.on("Programs and devices", "phone")
	if strings.Contains(w.text(), password) {
		t.Error("the password is shown again")
	}
	w.click("Remove phone")
	w.on("Programs and devices", "Removed.")
	if ada.letsIn(t, password) {
		t.Error("a password that was removed lets in")
	}
	w.quiet()
}

// rulesByHand writes rules, and then goes away; what comes goes where the rules say, and is
// answered.
func rulesByHand(t *testing.T, w *window, ada person) {
	t.Helper()
	w.click("Rules")
	w.on("Rules", "There are none")
	w.click("New rules")
	w.on("New rules")
	w.fill("Name", "mine")
	w.fill("Rules (Sieve)", `fileinto "Archive";`)
	w.click("Save and make active")
	w.on("Rules", "Nothing is saved yet", "line 1: fileinto needs require")
	w.refusedHere(http.StatusUnprocessableEntity)
	w.fill("Rules (Sieve)", `require "fileinto"; fileinto "Archive";`)
	w.click("Save and make active")
	w.on("Rules", "Saved.", "mine (active)")
	w.click("Away")
	w.on("While you are away", "Nobody is answered now.")
	w.fill("Subject", "Away")
	w.fill("What they are to read", "I am on an island.")
	w.click("Switch it on")
	w.on("While you are away", "Whoever writes to you is answered.")
	bob := ada.h.person(t)
	letter := write(t, filepath.Join(t.TempDir(), "letter"), "From: <"+bob.address+">\r\nTo: <"+ada.address+">\r\nSubject: ruled\r\n\r\nhello\r\n")
	bob.curl(t, "--mail-from", bob.address, "--mail-rcpt", ada.address, "-T", letter, local("smtps", ada.h.Submissions, ""))
	ada.judge(t).wait("Archive", 1)
	if l := bob.judge(t).wait("INBOX", 1)[0]; !strings.Contains(string(l.text), "Subject: Away") || !strings.Contains(string(l.text), "I am on an island.") {
		t.Errorf("the answer is\n%s", l.text)
	}
	w.click("Switch it off")
	w.on("While you are away", "Nobody is answered any more.")
	w.click("Rules")
	w.on("Rules", "mine (active)", "away")
	w.quiet()
}

// passwordByHand changes the password, which puts out another browser.
func passwordByHand(t *testing.T, w *window, ada *person) {
	t.Helper()
	other := w.another()
	other.open("/account/")
	other.signIn(ada.address, ada.password)
	other.on("Your account", ada.address)
	w.click("Password and security")
	w.on("Password and security", "(this one)", "Sign out everywhere else")
	w.fill("The password now", ada.password)
	w.fill("The new one, ", "a new long password")
	w.fill("The new one again", "a new long password!")
	w.click("Change it")
	w.on("Password and security", "not typed twice alike")
	w.refusedHere(http.StatusUnprocessableEntity)
	w.fill("The password now", ada.password)
	w.fill("The new one, ", "a new long password")
	w.fill("The new one again", "a new long password")
	w.click("Change it")
	w.on("Password and security", "The password is changed.", "(this one)")
	if strings.Contains(w.text(), "Sign out there") {
		t.Error("another browser is still signed in")
	}
	if ada.letsIn(t, ada.password) || !ada.letsIn(t, "a new long password") {
		t.Error("over IMAP it is not changed")
	}
	ada.password = "a new long password"
	other.click("Deleted mail")
	other.on("Sign in")
	other.signIn(ada.address, ada.password)
	other.on("Deleted mail")

	w.open("/account/security")
	w.on("Password and security", "Sign out everywhere else")
	w.click("Sign out everywhere else")
	w.on("Password and security", "Signed out there.")
	other.click("POP3")
	other.on("Sign in")
	other.quiet()
	w.quiet()
}

// signOutByHand signs out: what the browser had opens nothing any more, and Back shows
// nothing.
func signOutByHand(t *testing.T, w *window, ada person, cookie string) {
	t.Helper()
	w.click("Overview")
	w.on("Your account", ada.address, "used, by", "localhost", port(ada.h.IMAPS), port(ada.h.Submissions))
	var token string
	for _, c := range w.cookies() {
		token = c.Value
	}
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: roots(t, ada.h.CA)},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: patience,
	}
	status := func() int {
		t.Helper()
		r, err := http.NewRequest("GET", w.site+"/account/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.AddCookie(&http.Cookie{Name: cookie, Value: token})
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if s := status(); s != http.StatusOK {
		t.Errorf("before: %d", s)
	}
	w.click("Sign out")
	w.on("Sign in")
	if list := w.cookies(); len(list) > 0 {
		t.Errorf("cookies are left: %v", list)
	}
	if s := status(); s != http.StatusSeeOther {
		t.Errorf("the token still opens: %d", s)
	}
	w.do("/back", nil, nil)
	w.on("Sign in")
	if strings.Contains(w.text(), ada.address) {
		t.Errorf("Back shows\n%s", w.text())
	}
	w.quiet()
}

// TestAccountPagesByKeyboard makes a password for a program and signs out, with no key but
// Tab, Enter and letters; and with the address in another name of the domain.
func TestAccountPagesByKeyboard(t *testing.T) { inAll(t, byKeyboard) }

func byKeyboard(t *testing.T, open engine) {
	ada, site := newDesk(t)
	w := open(t, site)
	w.open("/account/")
	w.on("Sign in")
	w.keys(ada.elsewhere().address) // the field has the focus
	w.tabTo("Password")
	w.keys(ada.password + keyEnter)
	w.on("Your account", ada.address)
	w.tabTo("Skip to the content")
	w.tabTo("Programs and devices")
	w.keys(keyEnter)
	w.on("Programs and devices")
	w.tabTo("Skip to the content")
	w.keys(keyEnter)
	w.tabTo("Name of the program or device")
	w.keys("reader")
	w.tabTo("What it is for")
	w.tabTo("The password of your account")
	w.keys(ada.password)
	w.tabTo("Make a password")
	w.keys(keyEnter)
	w.on("A password for reader")
	w.tabTo("Done")
	w.keys(keyEnter)
	w.on("Programs and devices", "reader")
	w.tabTo("Sign out")
	w.keys(keyEnter)
	w.on("Sign in")
	w.quiet()
}

// TestAccountPagesFromElsewhere: what another page does in the browser of somebody who is
// signed in, changes nothing and shows nothing of theirs: one at another name, and one at
// the same name, to which browsers give away the cookie, at another port.
func TestAccountPagesFromElsewhere(t *testing.T) { inAll(t, fromElsewhere) }

func fromElsewhere(t *testing.T, open engine) {
	ada, site := newDesk(t)
	if out, err := ada.h.toolWith("", "account", "password", "add", ada.address, "phone"); err != nil {
		t.Fatal(err, out)
	}
	mux := http.NewServeMux()
	for path, do := range map[string]string{
		"/remove":   `<form method=post action="` + site + `/account/programs/remove"><input name=name value=phone></form>`,
		"/sign-in":  `<form method=post action="` + site + `/account/sign-in"><input name=user value=eve><input name=password value=x></form>`,
		"/sign-out": `<form method=post action="` + site + `/account/sign-out"></form>`,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "<!doctype html><title>x</title>%s<script>document.forms[0].submit()</script>", do)
		})
	}
	mux.HandleFunc("/frame", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "<!doctype html><title>x</title><h1>Look here</h1><iframe src=%q></iframe>", site+"/account/security")
	})
	evil := httptest.NewTLSServer(mux)
	t.Cleanup(evil.Close)
	w := open(t, site)
	w.open("/account/")
	w.signIn(ada.address, ada.password)
	w.on("Your account")
	w.quiet()
	for _, at := range []string{evil.URL, "https://localhost:" + port(evil.URL)} {
		for _, path := range []string{"/remove", "/sign-in", "/sign-out"} {
			w.do("/url", map[string]string{"url": at + path}, nil)
			w.on("That came from elsewhere")
			w.refusedHere(http.StatusForbidden)
		}
		w.do("/url", map[string]string{"url": at + "/frame"}, nil)
		w.on("Look here")
		if list := w.complaints(); w.console && !strings.Contains(fmt.Sprint(list), "frame-ancestors") {
			t.Errorf("in a frame, the browser complains of %q", list)
		}
		w.open("/account/programs")
		w.on("Programs and devices", ada.address, "phone")
		w.quiet()
	}
}

// A view of the pages is how they are looked at.
var views = []struct {
	width   int
	colours string
}{{1280, "light"}, {1280, "dark"}, {360, "light"}, {360, "dark"}}

// TestAccountPagesForAll has axe look at every page, in light and dark, wide and on a
// phone, and looks itself that nothing must be scrolled sideways on the narrowest.
func TestAccountPagesForAll(t *testing.T) {
	t.Parallel()
	axe := axeCore(t)
	ada, site := newDesk(t)
	j := ada.judge(t)
	long := strings.Repeat("Donaudampfschifffahrtsgesellschaftskapitän", 3)
	for _, s := range []string{"first", long, "third"} {
		j.put("INBOX", "", time.Now(), letterOf(s))
	}
	ada.collects(t, 1)
	ada.collects(t, 2)
	j.do("SELECT INBOX")
	j.do(`STORE 3 +FLAGS (\Deleted)`)
	j.do("EXPUNGE")
	w := chromium(t, site)
	seen := func(page string) {
		t.Helper()
		w.judged(axe, page)
		w.narrow(page)
		w.quiet()
	}

	w.open("/account/")
	w.on("Sign in")
	seen("sign-in")
	w.signIn(ada.address, "wrong")
	w.on("Sign in", "do not go together")
	w.refusedHere(http.StatusUnauthorized)
	seen("sign-in, refused")
	w.signIn(ada.address, ada.password)
	w.on("Your account")
	seen("overview")

	w.open("/account/programs")
	seen("programs, none")
	w.fill("Name of the program", long[:60])
	w.fill("The password of your account", ada.password)
	w.click("Make a password")
	w.on("A password for " + long[:60])
	seen("added")
	w.open("/account/programs")
	seen("programs")

	w.open("/account/pop3/policy?device=")
	seen("policy")
	w.click("it goes some days later")
	w.fill("How many days", "1")
	w.click("See what it will do")
	w.on("What programs collect", "2 messages will go")
	seen("policy, looked at")
	w.click("Save")
	w.on("Mail collected by POP3", "Saved.")
	for _, p := range []string{"pop3", "pop3/ledger", "deleted", "deleted?days=1", "security", "rules", "rules/edit", "away"} {
		w.open("/account/" + p)
		seen(p)
	}
	w.fill("What they are to read", long)
	w.click("Switch it on")
	w.on("While you are away", "is answered")
	seen("away, on")
	w.open("/account/rules/edit")
	w.on("New rules")
	w.fill("Name", long[:60])
	w.fill("Rules (Sieve)", "nothing "+long)
	w.click("Only save")
	w.on("Rules", "Nothing is saved yet")
	w.refusedHere(http.StatusUnprocessableEntity)
	seen("rules, wrong")
	w.fill("Rules (Sieve)", "keep;")
	w.click("Only save")
	w.on("Rules", "Saved.")
	seen("rules, saved")
	w.open("/account/nowhere")
	w.on("There is no such page")
	w.refusedHere(http.StatusNotFound)
	seen("nowhere")

	grounds := map[string]bool{}
	for _, v := range views {
		var ground string
		w.look(v.width, v.colours)
		w.eval("return getComputedStyle(document.body).backgroundColor", &ground)
		grounds[ground] = true
	}
	if len(grounds) != 2 {
		t.Errorf("light and dark are %v", grounds)
	}
}

// axeCore gives the script of axe-core, which looks whether everybody can use a page.
func axeCore(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	npm := exec.CommandContext(ctx, need(t, "npm"), "install", "--prefix", home, "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "axe-core@4.14.1")
	npm.Env = append(os.Environ(), "npm_config_cache="+filepath.Join(home, "cache"))
	if out, err := npm.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install axe-core: %v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(home, "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A finding is what axe has against a page.
type finding struct {
	ID, Impact, Help string
	Where            []string
}

// judged has axe look at the page in all views.
func (w *window) judged(axe, page string) {
	w.t.Helper()
	w.eval(axe+"\nreturn 0", nil)
	for _, v := range views {
		w.look(v.width, v.colours)
		var list []finding
		w.do("/execute/async", map[string]any{"args": []any{}, "script": `const done = arguments[0];
axe.run(document, { resultTypes: ["violations"] }).then(
	r => done(r.violations.map(v => ({ ID: v.id, Impact: v.impact, Help: v.help, Where: v.nodes.map(n => n.html.slice(0, 200)) }))),
	e => done([{ ID: "axe", Impact: "critical", Help: "" + e, Where: [] }]))`}, &list)
		for _, f := range list {
			say := w.t.Logf
			if f.Impact == "serious" || f.Impact == "critical" {
				say = w.t.Errorf
			}
			say("%s, %d wide, %s: %s %s: %s %q", page, v.width, v.colours, f.Impact, f.ID, f.Help, f.Where)
		}
	}
}

// narrow looks that nothing of the page lies beside a screen of 320 points.
func (w *window) narrow(page string) {
	w.t.Helper()
	w.look(320, "light")
	var wide []string
	w.eval(`const d = document.scrollingElement;
if (d.scrollWidth <= 320 && innerWidth === 320) return [];
return [d.scrollWidth + " of " + innerWidth, ...[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > 320 && !e.closest(".wide")).map(e => e.outerHTML.slice(0, 120))]`, &wide)
	if len(wide) > 0 {
		w.t.Errorf("%s is wider than a small phone: %q", page, wide)
	}
}
