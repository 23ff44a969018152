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

// texts gives what a person at Postfix has got.
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

// TestPostfix exchanges mail with a Postfix, in both directions.
func TestPostfix(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	texts := append(corpus(), large(10<<20))
	utf8 := compose("ελληνικά 日本", "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n", "Grüße\n")
	t.Run("nothing in clear", s.noPasswordInClear)
	t.Run("to it", func(t *testing.T) {
		ada := s.us.person(t)
		var want [][]byte
		for i, text := range texts {
			text = ada.by(text)
			want = append(want, text)
			send(t, "localhost:"+port(s.us.Submission), &ada, ada.address, text, "post@"+byMX, "two@"+byMX)
			d := []string{routed, wrapped, clear}[i%3]
			send(t, "localhost:"+port(s.us.Submission), &ada, ada.address, text, "post@"+d)
		}
		unicode := ada.by(utf8)
		send(t, "localhost:"+port(s.us.Submission), &ada, ada.address, unicode, "jürgen@"+byMX)
		for _, user := range []string{"post", "two"} {
			got := s.texts(t, user, byMX, len(want))
			for i := range got {
				contains(t, string(got[i][:bytes.Index(got[i], []byte("From: "))]), "Return-Path: <"+ada.address+">", "SMTPS id", "mail.hill.example")
				got[i] = marked(got[i])
			}
			sameBytes(t, "by MX", got, want)
		}
		for i, d := range []string{routed, wrapped, clear} {
			var these, got [][]byte
			for j, text := range want {
				if j%3 == i {
					these = append(these, text)
				}
			}
			for _, text := range s.texts(t, "post", d, len(these)) {
				if tls := bytes.Contains(text, []byte("SMTPS id")); tls == (d == clear) {
					t.Errorf("%s: with TLS: %v", d, tls)
				}
				got = append(got, marked(text))
			}
			sameBytes(t, d, got, these)
		}
		sameBytes(t, "SMTPUTF8", [][]byte{marked(s.texts(t, "jürgen", byMX, 1)[0])}, [][]byte{unicode})
	})
	t.Run("from it", func(t *testing.T) {
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
		send(t, s.smtp, nil, "jürgen@"+byMX, utf8, ada.address)
		got := ada.judge(t).wait("INBOX", len(texts)+1)[len(texts)]
		contains(t, string(got.text[:300]), "Return-Path: <jürgen@"+byMX+">", "with UTF8SMTPS")
		sameBytes(t, "SMTPUTF8", [][]byte{marked(got.text)}, [][]byte{utf8})
	})
	t.Run("old", s.old)
	t.Run("login", s.login)
	t.Run("distrust", s.distrust)
	t.Run("bounces", s.bounces)
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
		send(t, "localhost:"+port(s.us.Submission), &ada, ada.address, text, "post@"+old)
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
	send(t, "localhost:"+port(s.us.Submission), &ada, ada.address, text, "post@"+proved)
	got := s.texts(t, "post", proved, 1)[0]
	contains(t, string(got), "(Authenticated sender: smart@neighbour.example)", "SMTPSA id")
	sameBytes(t, "logged in", [][]byte{marked(got)}, [][]byte{text})
}

// distrust: mail waits rather than go to a host that cannot be who it is.
func (s *street) distrust(t *testing.T) {
	ada := s.us.person(t)
	send(t, "localhost:"+port(s.us.Submission), &ada, ada.address, ada.by(compose("Secret", "", "Secret.\n")), "post@"+false_)
	var list string
	eventually(t, func() (err error) {
		if list, err = s.us.tool("queue", "list"); err == nil && !strings.Contains(list, "certificate") {
			err = fmt.Errorf("the queue does not tell of the certificate:\n%s", list)
		}
		return err
	})
	s.texts(t, "post", false_, 0)
	for line := range strings.Lines(list) {
		if id, _, _ := strings.Cut(line, " "); strings.Contains(line, false_) {
			if out, err := s.us.tool("queue", "drop", id); err != nil {
				t.Errorf("drop: %v\n%s", err, out)
			}
		}
	}
}

// bounces: each side generates one, for what the other refuses, and each takes
// what the other generates.
func (s *street) bounces(t *testing.T) {
	ada := s.us.person(t)
	j := ada.judge(t)
	text := ada.by(compose("To nobody", "", "Hello?\n"))
	id := string(text[bytes.Index(text, []byte("Message-ID: ")) : bytes.Index(text, []byte("Message-ID: "))+len("Message-ID: <12345678.12345678@outside.example>")])

	// Postfix refuses; we tell the sender. The others get it.
	send(t, "localhost:"+port(s.us.Submission), &ada, ada.address, text, "three@"+byMX, "nobody@"+byMX)
	report := string(j.wait("INBOX", 1)[0].text)
	contains(t, report, "Return-Path: <>", "multipart/report", "Auto-Submitted: auto-replied", "Final-Recipient: rfc822; nobody@"+byMX, "Status: 5.1.1", "Action: failed", id)
	s.texts(t, "three", byMX, 1)

	// Postfix takes it, we refuse it, and it tells the sender, who is ours.
	send(t, "localhost:"+port(s.us.Submission), &ada, ada.address, text, "back@"+byMX)
	report = string(j.wait("INBOX", 2)[1].text)
	contains(t, report, "Return-Path: <>", "MAILER-DAEMON@", "multipart/report", "nobody@hill.example", "Status: 5.1.1", id)

	// We refuse, and Postfix tells the sender, who is its own.
	send(t, s.smtp, nil, "three@"+routed, text, "nobody@hill.example")
	report = string(s.texts(t, "three", routed, 1)[0])
	contains(t, report, "nobody@hill.example", "Status: 5.1.1", id)

	// We take it for an alias, Postfix refuses it, and we tell the sender, who
	// is there.
	if out, err := s.us.tool("alias", "add", "out@hill.example", "nobody@"+routed); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	send(t, s.smtp, nil, "three@"+wrapped, text, "out@hill.example")
	report = string(s.texts(t, "three", wrapped, 1)[0])
	contains(t, report, "Return-Path: <>", "multipart/report", "nobody@"+routed, "Status: 5.1.1", id)

	if out, err := s.us.tool("queue", "list"); err != nil || !strings.Contains(out, "Nothing waits.") {
		t.Errorf("in the queue at last: %v\n%s", err, out)
	}
}
