//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"posthaste/test/network"
)

// An engine opens a browser of its kind for the pages of a site.
type engine func(t *testing.T, site string) *window

// engines are those that nearly all browsers are made of: that of Chrome and Edge, that of
// Firefox, and that of Safari.
var engines = map[string]engine{"Chromium": chromium, "Firefox": firefox, "WebKit": webkit}

// chromium opens one without a screen, which reaches only this machine.
func chromium(t *testing.T, site string) *window {
	t.Helper()
	need(t, "chromium")
	args := []string{
		"--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1", "--window-size=1280,900", "--lang=en-US",
	}
	if os.Getuid() == 0 {
		args = append(args, "--no-sandbox") // it cannot have one as root
	}
	w := driven(t, site, chromium, job{name: "chromedriver", args: []string{"--log-level=WARNING"}}, map[string]any{
		"browserName": "chrome", "acceptInsecureCerts": true, "goog:loggingPrefs": map[string]string{"browser": "ALL"},
		"goog:chromeOptions": map[string]any{"args": args},
	})
	w.console = true
	return w
}

// webkit opens one on a screen that nobody sees.
func webkit(t *testing.T, site string) *window {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/*/webkit2gtk-4.1/MiniBrowser")
	if err != nil || len(found) == 0 {
		t.Fatal("MiniBrowser is not installed; packages.txt has what these tests need")
	}
	return driven(t, site, webkit, job{name: "WebKitWebDriver", env: []string{"DISPLAY=" + display(t)}}, map[string]any{
		"acceptInsecureCerts":      true,
		"webkitgtk:browserOptions": map[string]any{"binary": found[0], "args": []string{"--automation"}},
	})
}

// driven opens a browser by the driver that it comes with.
func driven(t *testing.T, site string, e engine, driver job, wants map[string]any) *window {
	t.Helper()
	at := network.FreePort()
	root := overHTTP{t, "http://localhost:" + port(at)}
	driver.home, driver.args = scratch(t), append(driver.args, "--port="+port(at))
	driver.env = append(driver.env, "TMPDIR="+driver.home)
	t.Cleanup(background(t, driver))
	eventually(t, func() error { return root.call("GET", "/status", nil, nil) })
	var session struct{ SessionID string }
	err := root.call("POST", "/session", map[string]any{"capabilities": map[string]any{"alwaysMatch": wants}}, &session)
	if err != nil {
		t.Fatalf("a browser: %v", err)
	}
	path := root.at + "/session/" + session.SessionID
	t.Cleanup(func() { // else the driver is gone, and the browser is left
		r, err := http.NewRequest("DELETE", path, nil)
		if err != nil {
			t.Error(err)
			return
		}
		resp, err := (&http.Client{Timeout: patience}).Do(r)
		if err != nil {
			t.Error("the browser does not end:", err)
			return
		}
		resp.Body.Close()
	})
	return &window{remote: overHTTP{t, path}, t: t, engine: e, site: site}
}

// scratch makes a folder that a browser can have for itself: one with a short name, as
// there are sockets in it, and to which its last words may still be written while it goes.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { eventually(t, func() error { return os.RemoveAll(dir) }) })
	return dir
}

// display starts a screen that nobody sees, and gives its name.
func display(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(need(t, "Xvfb"), "-displayfd", "1", "-screen", "0", "1280x1024x24", "-nolisten", "tcp")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	late.Stop()
	if err != nil {
		t.Fatalf("Xvfb: %v\n%s", err, errs.Bytes())
	}
	return ":" + strings.TrimSpace(line)
}

// firefox opens one without a screen, by Marionette.
func firefox(t *testing.T, site string) *window {
	t.Helper()
	home, at := scratch(t), network.FreePort()
	write(t, filepath.Join(home, "profile", "user.js"), fmt.Sprintf(`user_pref("marionette.port", %s);
user_pref("app.update.enabled", false);
user_pref("app.normandy.enabled", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.dns.disableIPv6", true);
user_pref("services.settings.server", "data:,");
`, port(at)))
	t.Cleanup(background(t, job{name: "firefox-esr", home: home, env: []string{"TMPDIR=" + home}, args: []string{"--headless", "--marionette", "--no-remote", "--profile", filepath.Join(home, "profile")}}))
	m := newMarionette(t, at)
	if _, err := m.do("WebDriver:NewSession", map[string]any{"acceptInsecureCerts": true}); err != nil {
		t.Fatal(err)
	}
	return &window{remote: overMarionette{m}, t: t, engine: firefox, site: site}
}

// An overMarionette is a remote by Firefox's own protocol, which has the commands of
// WebDriver by other names.
type overMarionette struct{ *marionette }

var ofElement = regexp.MustCompile(`^/element/([^/]+)(/.*)$`)

// call is as of remote.
func (m overMarionette) call(method, path string, in, out any) error {
	args := map[string]any{}
	if in != nil {
		b, err := json.Marshal(in)
		if err == nil {
			err = json.Unmarshal(b, &args)
		}
		if err != nil {
			return err
		}
	}
	if e := ofElement.FindStringSubmatch(path); e != nil {
		args["id"], path = e[1], "/element/*"+e[2]
	}
	name := map[string]string{
		"GET /url": "GetCurrentURL", "POST /url": "Navigate", "POST /back": "Back", "POST /execute/sync": "ExecuteScript",
		"POST /element": "FindElement", "GET /element/active": "GetActiveElement", "POST /element/*/click": "ElementClick", "POST /element/*/clear": "ElementClear",
		"POST /element/*/value": "ElementSendKeys", "GET /element/*/computedlabel": "GetComputedLabel", "POST /actions": "PerformActions", "GET /cookie": "GetCookies",
	}[method+" "+path]
	if name == "" {
		return fmt.Errorf("there is no command for %s %s", method, path)
	}
	raw, err := m.do("WebDriver:"+name, args)
	if err != nil || out == nil {
		return err
	}
	var wrapped struct{ Value json.RawMessage }
	if json.Unmarshal(raw, &wrapped) == nil && wrapped.Value != nil {
		raw = wrapped.Value
	}
	return json.Unmarshal(raw, out)
}
