//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"io"
	"net/smtp"
	"path/filepath"
	"strings"
	"testing"
)

// texts gives what a person at the neighbour's has got.
func (s *street) texts(t *testing.T, user, domain string, n int) (out [][]byte) {
	t.Helper()
	eventually(t, func() error {
		if out = drop(filepath.Join(s.boxes, user+"-"+domain)).texts(t); len(out) != n {
			return fmt.Errorf("%s@%s has %d messages, not %d", user, domain, len(out), n)
		}
		return nil
	})
	return out
}

// send submits to a server, with login if there is somebody to log in.
func send(t *testing.T, at string, p *person, from string, text []byte, to ...string) {
	t.Helper()
	c, err := smtp.Dial(at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if p != nil {
		err = c.StartTLS(roots(t, p.h.CA))
		if err == nil {
			err = c.Auth(smtp.PlainAuth("", p.address, p.password, "localhost"))
		}
	}
	if err == nil {
		err = c.Mail(from)
	}
	for _, r := range to {
		if err == nil {
			err = c.Rcpt(r)
		}
	}
	var w io.WriteCloser
	if err == nil {
		w, err = c.Data()
	}
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatalf("from %s to %s: %v", from, to, err)
	}
	c.Quit()
}

// unicode is a message that only SMTPUTF8 can carry, once its sender or a recipient
// is written in other letters.
func unicode() []byte {
	return compose("ελληνικά 日本", "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n", "Grüße\n")
}

// submission is where our people hand in.
func (s *street) submission() string { return "localhost:" + port(s.us.Submission) }

// exchange sends mail in both directions, and whatever can go wrong with it.
func (s *street) exchange(t *testing.T) {
	texts := append(corpus(), large(10<<20))
	t.Run("to it", func(t *testing.T) { s.toIt(t, texts) })
	t.Run("from it", func(t *testing.T) { s.fromIt(t, texts) })
	t.Run("other letters", s.otherLetters)
	if s.kind.old {
		t.Run("old", s.old)
	}
	if s.kind.login != "" {
		t.Run("login", s.login)
		t.Run("send as", s.sendAs)
	}
	if s.kind.tls != "" {
		t.Run("distrust", s.distrust)
	} else {
		t.Run("no TLS", s.noTLS)
	}
	t.Run("bounces", s.bounces)
	t.Run("reports", s.reports)
	if out, err := s.us.tool("queue", "list"); err != nil || !strings.Contains(out, "Nothing waits.") {
		t.Errorf("in the queue at last: %v\n%s", err, out)
	}
}

// toIt: every message arrives once, by MX for two people, and by each kind of route.
func (s *street) toIt(t *testing.T, texts [][]byte) {
	ada := s.us.person(t)
	var want [][]byte
	for i, text := range texts {
		text = ada.by(text)
		want = append(want, text)
		send(t, s.submission(), &ada, ada.address, text, "post@"+byMX, "two@"+byMX)
		send(t, s.submission(), &ada, ada.address, text, "post@"+s.way(i))
	}
	for _, user := range []string{"post", "two"} {
		got := s.texts(t, user, byMX, len(want))
		for i := range got {
			tells(t, got[i][:bytes.Index(got[i], []byte("From: "))], "Return-Path: <"+ada.address+">", s.kind.tls, "mail.hill.example")
			got[i] = marked(got[i])
		}
		sameBytes(t, "by MX", got, want)
	}
	for _, d := range s.kind.ways {
		var these, got [][]byte
		for j, text := range want {
			if s.way(j) == d {
				these = append(these, text)
			}
		}
		for _, text := range s.texts(t, "post", d, len(these)) {
			if tls := s.kind.tls != "" && bytes.Contains(text, []byte(s.kind.tls)); tls == (d == clear) {
				t.Errorf("%s: with TLS: %v\n%.600s", d, tls, text)
			}
			got = append(got, marked(text))
		}
		sameBytes(t, d, got, these)
	}
}

// fromIt: what it sends arrives once, at two people by SMTP and one by LMTP.
func (s *street) fromIt(t *testing.T, texts [][]byte) {
	ada, bob, zoe := s.us.person(t), s.us.personAt(t, "vale.example"), s.us.person(t)
	for _, text := range texts {
		send(t, s.smtp, nil, "post@"+byMX, text, ada.address, bob.address, zoe.address)
	}
	for _, p := range []person{ada, bob, zoe} {
		got := p.judge(t).wait("INBOX", len(texts))
		for i := range got {
			head := string(got[i].text[:bytes.Index(got[i].text, []byte("From: "))])
			contains(t, head, "Return-Path: <post@"+byMX+">", map[bool]string{true: "LMTP id", false: "SMTPS id"}[p == bob])
			got[i].text = marked(got[i].text)
		}
		sameTexts(t, p.address, got, texts)
	}
}

// otherLetters: addresses beyond ASCII reach who can have them, and where somebody
// cannot, the sender is told.
func (s *street) otherLetters(t *testing.T) {
	ada := s.us.person(t)
	text := ada.by(unicode())
	send(t, s.submission(), &ada, ada.address, text, "jürgen@"+byMX)
	if !s.kind.utf8 {
		contains(t, string(ada.judge(t).wait("INBOX", 1)[0].text), "Status: 5.6.7", "rgen@"+byMX)
		return
	}
	sameBytes(t, "SMTPUTF8", [][]byte{marked(s.texts(t, "jürgen", byMX, 1)[0])}, [][]byte{text})
	send(t, s.smtp, nil, "jürgen@"+byMX, unicode(), ada.address)
	got := ada.judge(t).wait("INBOX", 1)[0].text
	contains(t, string(got[:300]), "Return-Path: <jürgen@"+byMX+">", "with UTF8SMTPS")
}

// noPasswordInClear: programs that would send a password without TLS are not
// given the chance.
func (s *street) noPasswordInClear(t *testing.T) {
	ada := s.us.person(t)
	out, _ := job{name: "swaks", args: []string{"--server", s.us.Submission, "--quit-after", "EHLO"}}.run(t)
	if strings.Contains(out, "AUTH") || !strings.Contains(out, "STARTTLS") {
		t.Errorf("EHLO without TLS:\n%s", out)
	}
	for _, url := range []string{local("imap", s.us.IMAP, "/"), local("pop3", s.us.POP3, "/")} {
		args := []string{"-sv", "-u", ada.address + ":" + ada.password, url}
		if out, code := (job{name: "curl", args: args}).run(t); code == 0 || strings.Contains(out, "> A001 LOGIN") || strings.Contains(out, "> PASS") {
			t.Errorf("%s without TLS: ended with %d\n%s", url, code, out)
		}
		if out, code := (job{name: "curl", args: append(args, "--ssl-reqd", "--cacert", s.us.CA)}).run(t); code != 0 {
			t.Errorf("%s with STARTTLS: ended with %d\n%s", url, code, out)
		}
	}
}

// old: a server without any extension gets what it can take, and the sender is
// told of the rest.
func (s *street) old(t *testing.T) {
	ada := s.us.person(t)
	var want [][]byte
	refused := 0
	for _, text := range corpus() {
		text = ada.by(text)
		if bytes.ContainsFunc(text, func(r rune) bool { return r > 127 }) {
			refused++
		} else {
			want = append(want, text)
		}
		send(t, s.submission(), &ada, ada.address, text, "post@"+old)
	}
	got := s.texts(t, "post", old, len(want))
	for i := range got {
		got[i] = marked(got[i])
	}
	sameBytes(t, "without extensions", got, want)
	for _, l := range ada.judge(t).wait("INBOX", refused) {
		contains(t, string(l.text), "Status: 5.6.3", "post@"+old)
	}
}

// login: it is a smarthost that wants to know who we are.
func (s *street) login(t *testing.T) {
	ada := s.us.person(t)
	text := ada.by(compose("By a smarthost", "", "Hello.\n"))
	send(t, s.submission(), &ada, ada.address, text, "post@"+proved)
	got := s.texts(t, "post", proved, 1)[0]
	contains(t, string(got), s.kind.login)
	sameBytes(t, "logged in", [][]byte{marked(got)}, [][]byte{text})
}

// distrust: mail waits rather than go to a host that cannot be who it is.
func (s *street) distrust(t *testing.T) { s.waits(t, false_, "certificate") }

// noTLS: where TLS is a must, mail waits rather than go to a host that has none.
func (s *street) noTLS(t *testing.T) {
	s.waits(t, routed, "No secure connection")
	s.waits(t, wrapped, "No secure connection")
}

// waits sends a message that stays in the queue, which tells why.
func (s *street) waits(t *testing.T, domain, why string) {
	t.Helper()
	ada := s.us.person(t)
	send(t, s.submission(), &ada, ada.address, ada.by(compose("Secret", "", "Secret.\n")), "post@"+domain)
	var list string
	eventually(t, func() (err error) {
		if list, err = s.us.tool("queue", "list"); err == nil && !strings.Contains(list, why) {
			err = fmt.Errorf("the queue does not tell of it (%s):\n%s", why, list)
		}
		return err
	})
	s.texts(t, "post", domain, 0)
	for line := range strings.Lines(list) {
		if id, _, _ := strings.Cut(line, " "); strings.Contains(line, domain) {
			if out, err := s.us.tool("queue", "drop", id); err != nil {
				t.Errorf("drop: %v\n%s", err, out)
			}
		}
	}
}
