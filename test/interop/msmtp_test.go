//go:build interop

package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestMsmtp submits by each mechanism, and says how a refusal ends.
func TestMsmtp(t *testing.T) {
	t.Parallel()
	ada, bob := small.person(t), small.person(t)
	home := t.TempDir()
	send := func(text []byte, at, options, password string, to ...string) (string, int) {
		t.Helper()
		rc := write(t, filepath.Join(home, "msmtprc"), fmt.Sprintf("account default\nhost localhost\nport %s\ntls on\n%s\ntls_trust_file %s\nuser %s\npassword %s\nfrom %s\n",
			port(at), options, small.CA, ada.address, password, ada.address))
		return job{name: "msmtp", home: home, args: append([]string{"-C", rc}, to...), in: strings.ReplaceAll(string(text), "\r\n", "\n")}.run(t)
	}
	var want [][]byte
	for i, text := range corpus() {
		text = ada.by(text)
		want = append(want, text)
		at, tls := small.Submission, "tls_starttls on\n"
		if i%2 == 1 {
			at, tls = small.Submissions, "tls_starttls off\n"
		}
		auth := []string{"plain", "scram-sha-256", "login", "on"}[i%4]
		if out, code := send(text, at, tls+"auth "+auth, ada.password, bob.address); code != 0 {
			t.Errorf("auth %s ended with %d\n%s", auth, code, out)
		}
	}
	got := bob.judge(t).wait("INBOX", len(want))
	for i := range got {
		got[i].text = marked(got[i].text)
	}
	sameTexts(t, "submitted by msmtp", got, want)
	for _, auth := range []string{"plain", "scram-sha-256"} {
		if out, code := send(want[0], small.Submission, "tls_starttls on\nauth "+auth, "wrong", bob.address); code != 77 {
			t.Errorf("a wrong password with %s: ended with %d, not 77\n%s", auth, code, out)
		}
	}
	if out, code := send(want[0], small.Submission, "tls_starttls on\nauth plain", ada.password, "nobody@hill.example"); code != 67 && code != 68 && code != 69 && code != 65 {
		t.Errorf("an unknown recipient: ended with %d\n%s", code, out)
	}
}
