//go:build interop

package interop

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// sendAs: who has an account there sends with that address, to people there and here
// alike, all of it through there.
func (s *street) sendAs(t *testing.T) {
	ada, bob := s.us.person(t), s.us.personAt(t, "vale.example")
	const there = "two@" + wrapped
	dir := t.TempDir()
	good, wrong := write(t, filepath.Join(dir, "good"), "host's secret\n"), write(t, filepath.Join(dir, "wrong"), "guessed\n")
	do := func(args ...string) string {
		t.Helper()
		out, err := s.us.tool(append([]string{"collect"}, args...)...)
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return out
	}
	do("add", ada.address, "there", "--imap", "localhost", "--user", "smart@neighbour.example", "--password-file", wrong, "--untried")
	do("pause", ada.address, "there")
	set := []string{"set", ada.address, "there", "--send-as", there, "--submission", "localhost:" + port(s.wrapper)}
	if out, err := s.us.tool(append([]string{"collect"}, set...)...); err == nil || !strings.Contains(out, "refuses the user name smart@neighbour.example or its password") {
		t.Errorf("with a wrong password: %v\n%s", err, out)
	}
	do("set", ada.address, "there", "--password-file", good, "--untried")
	contains(t, do(set...), "sends as "+there+" through localhost, port "+port(s.wrapper)+" (TLS), but not while this is paused")
	do("resume", ada.address, "there")
	contains(t, do("show", ada.address, "there"), "sends as "+there+" through localhost, port "+port(s.wrapper)+" (TLS).\n")

	text := bytes.Replace(compose("By an account there", "", "Hello.\n"), []byte("odd@outside.example>"), []byte(there+">"), 1)
	send(t, s.submission(), &ada, ada.address, text, "two@"+proved, "two@"+false_, bob.address)
	for _, d := range []string{proved, false_} {
		got := s.texts(t, "two", d, 1)[0]
		tells(t, got, "Return-Path: <"+there+">", s.kind.login)
		if bytes.Contains(got, []byte("DKIM-Signature")) {
			t.Errorf("it is signed here:\n%s", got)
		}
		sameBytes(t, d, [][]byte{marked(got)}, [][]byte{text})
	}
	here := bob.judge(t).wait("INBOX", 1)[0].text
	contains(t, string(here), "Return-Path: <"+there+">", "LMTP id", s.kind.login)
	do("remove", ada.address, "there")
}
