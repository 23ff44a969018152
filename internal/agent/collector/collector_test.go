package collector_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/collector"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/outpost"
	"posthaste/test/house"
	"posthaste/test/network"
)

// A world is a house, and a server elsewhere.
type world struct {
	*house.House
	t    testing.TB
	ada  mail.AccountID
	far  *popServer
	post *outpost.Store
	a    *collector.Agent
}

func newWorld(t testing.TB, far *popServer) *world {
	w := &world{House: house.New(t, "mx.a.example"), t: t, far: far}
	w.ada = w.Account(0, "ada@a.example")[0]
	w.post = &outpost.Store{DB: w.DB}
	w.a = &collector.Agent{Outposts: w.post, Directory: w.Directory, Bodies: w.Bodies, MX: w.MX, Try: w.Delivery.Try, Log: slog.New(slog.DiscardHandler), AnyClear: true, Dial: far.Dial}
	if far.user == "" {
		far.user, far.password = "ada.l", "sesame"
	}
	return w
}

func (w *world) add(change func(*outpost.Outpost)) outpost.Outpost {
	w.t.Helper()
	o := outpost.Outpost{Account: w.ada, Name: "far", Protocol: outpost.POP3, Host: "pop.far.example", Port: "110", Security: outpost.Clear, User: "ada.l", Secret: "sesame", Every: 5 * time.Minute}
	if change != nil {
		change(&o)
	}
	o, err := w.post.Add(w.t.Context(), o, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

// runs has the collector run for a time, in a bubble.
func (w *world) runs(d time.Duration) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if err := w.a.Run(ctx); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

func (w *world) state(o outpost.Outpost) outpost.State {
	w.t.Helper()
	e, err := w.post.Get(context.Background(), o.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return e.State
}

// subjects gives the subjects of what is in a mailbox.
func (w *world) subjects(box string) (got []string) {
	w.t.Helper()
	for _, text := range w.Box("ada@a.example", box) {
		_, s, _ := strings.Cut(text, "Subject: ")
		s, _, _ = strings.Cut(s, "\r\n")
		got = append(got, s)
	}
	return got
}

// has compares the subjects in a mailbox with those wanted.
func (w *world) has(box string, want ...string) {
	w.t.Helper()
	if got := w.subjects(box); !slices.Equal(got, want) {
		w.t.Errorf("%s has %q, want %q", box, got, want)
	}
}

// hasAll is has for INBOX, in whatever order.
func (w *world) hasAll(want ...string) {
	w.t.Helper()
	got := w.subjects("INBOX")
	if slices.Sort(got); !slices.Equal(got, want) {
		w.t.Errorf("INBOX has %q, want %q", got, want)
	}
}

func (w *world) sound() {
	w.t.Helper()
	wrong, err := w.post.Check(context.Background(), func(mail.AccountID) string { return "ada" })
	if len(wrong) > 0 || err != nil {
		w.t.Error(wrong, err)
	}
}

func text(n int) string {
	return fmt.Sprintf("Return-Path: <x@y.example>\r\nReceived: from y.example by far.example with ESMTP id %d;\r\n\tSat, 1 Jan 2000 00:00:00 +0000\r\nFrom: x@y.example\r\nSubject: %d\r\n\r\n.Hello.\r\n.\r\n", n, n)
}

func numbered(from, to int) (out []letter) {
	for n := from; n <= to; n++ {
		out = append(out, letter{fmt.Sprintf("id%d", n), text(n)})
	}
	return out
}

const fullCaps = "UIDL\r\nPIPELINING\r\nUSER"

// TestLeave: all comes once, as it was, and later what is new.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, caps := range []string{"", fullCaps} {
			far := &popServer{caps: caps, letters: numbered(1, 3)}
			w := newWorld(t, far)
			o := w.add(func(o *outpost.Outpost) { o.Keyword = "far" })
			w.runs(time.Second)
			w.has("INBOX", "1", "2", "3")
			got := w.Inbox("ada@a.example")[0]
			if !strings.HasPrefix(got, "Return-Path: <x@y.example>\r\nReceived: from pop.far.example\r\n\tby mx.a.example (Posthaste) with POP3 id ") || strings.Count(got, "Return-Path") != 1 ||
				!strings.HasSuffix(got, text(1)[len("Return-Path: <x@y.example>\r\n"):]) {
				t.Errorf("%q", got)
			}
			far.put(numbered(4, 4)...)
			w.runs(20 * time.Minute)
			w.has("INBOX", "1", "2", "3", "4")
			if far.fetched != 4 || len(far.left()) != 4 {
				t.Errorf("%d were fetched, %v are there", far.fetched, far.left())
			}
			if s := w.state(o); s.Collected != 4 || s.LastCollected != 0 || s.Error != "" || s.Proven.IsZero() || s.Next.Before(time.Now()) {
				t.Errorf("%+v", s)
			}
			w.sound()
		}
	})
}

// TestDelete: what is here goes there.
func TestDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &popServer{caps: fullCaps, letters: numbered(1, 40)}
		w := newWorld(t, far)
		o := w.add(func(o *outpost.Outpost) { o.After, o.Mailbox = outpost.Delete, "Far/Away" })
		w.runs(time.Second)
		if n := len(w.Box("ada@a.example", "Far/Away")); n != 40 || len(far.left()) != 0 {
			t.Errorf("%d here, %v there", n, far.left())
		}
		if s := w.state(o); s.Removed != 40 || s.Collected != 40 {
			t.Errorf("%+v", s)
		}
	})
}

// TestKeepDays: days are counted from when a message came here.
func TestKeepDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &popServer{caps: fullCaps, letters: numbered(1, 2)}
		w := newWorld(t, far)
		w.add(func(o *outpost.Outpost) { o.After, o.Days, o.Every = outpost.KeepDays, 3, 12*time.Hour })
		w.runs(36 * time.Hour)
		far.put(numbered(3, 3)...)
		w.runs(35 * time.Hour)
		if got := far.left(); len(got) != 3 {
			t.Errorf("before three days: %v", got)
		}
		w.runs(24 * time.Hour)
		if got := far.left(); !slices.Equal(got, []string{"id3"}) {
			t.Errorf("after three days: %v", got)
		}
		w.runs(48 * time.Hour)
		if got := far.left(); len(got) != 0 {
			t.Errorf("after five days: %v", got)
		}
		w.has("INBOX", "1", "2", "3")
		if far.fetched != 3 {
			t.Errorf("%d were fetched", far.fetched)
		}
	})
}

// TestOddIDs: ids that two messages share, and ids that change, bring nothing twice and
// lose nothing.
func TestOddIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &popServer{caps: fullCaps, letters: []letter{{"same", text(1)}}}
		w := newWorld(t, far)
		w.add(nil)
		w.runs(time.Second)
		far.put(letter{"same", text(2)}, letter{"same", text(3)})
		w.runs(10 * time.Minute)
		w.has("INBOX", "1", "2", "3")
		far.mu.Lock()
		far.letters = far.letters[1:]
		far.mu.Unlock()
		w.runs(10 * time.Minute)
		far.mu.Lock()
		for i := range far.letters {
			far.letters[i].id = fmt.Sprintf("new%d", i)
			far.letters[i].text = "Status: RO\r\n" + far.letters[i].text
		}
		far.mu.Unlock()
		w.runs(10 * time.Minute)
		w.has("INBOX", "1", "2", "3")
		n := far.fetched
		w.runs(30 * time.Minute)
		if far.fetched != n {
			t.Errorf("what is known was fetched again")
		}
		w.sound()
	})
}

// TestNoUIDL: without ids mail can be collected only if it is deleted, and messages that
// are alike are all collected.
func TestNoUIDL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alarm := letter{"", "Subject: alarm\r\n\r\nfire\r\n"}
		far := &popServer{noUIDL: true, letters: []letter{alarm, alarm, {"", text(1)}}}
		w := newWorld(t, far)
		o := w.add(nil)
		w.runs(time.Second)
		w.has("INBOX")
		if s := w.state(o); !strings.Contains(s.Error, "--after delete") {
			t.Errorf("%+v", s)
		}
		if err := w.post.Change(t.Context(), o.ID, func(e *outpost.Entry) error { e.After = outpost.Delete; e.Again(time.Now()); return nil }); err != nil {
			t.Fatal(err)
		}
		far.hangsAt = "QUIT" // nothing is deleted, and nothing comes twice
		w.runs(time.Minute)
		w.has("INBOX", "alarm", "alarm", "1")
		if s := w.state(o); s.Error == "" || len(far.left()) != 3 {
			t.Errorf("%+v, %v", s, far.left())
		}
		far.hangsAt = ""
		w.runs(time.Hour)
		w.has("INBOX", "alarm", "alarm", "1")
		if len(far.left()) != 0 {
			t.Errorf("%v are there", far.left())
		}
		w.sound()
	})
}

// TestLogin: the password goes the safest way, a wrong one is not tried again, and one
// that may be wrong is not tried for ever.
func TestLogin(t *testing.T) {
	for _, c := range []struct {
		name     string
		far      *popServer
		secret   string
		sessions int
		stopped  bool
		words    string
		said     string
	}{
		{"USER", &popServer{}, "sesame", 7, false, "", "PASS sesame"},
		{"APOP", &popServer{stamp: "<1.2@far.example>"}, "sesame", 7, false, "", "APOP ada.l "},
		{"PLAIN", &popServer{caps: "UIDL\r\nSASL PLAIN"}, "sesame", 7, false, "", "AUTH PLAIN AGFkYS5sAHNlc2FtZQ=="},
		{"wrong", &popServer{}, "open", 1, true, "refuses the user name ada.l or its password", "PASS"},
		{"wrong APOP", &popServer{stamp: "<1.2@far.example>"}, "open", 1, true, "refuses the user name ada.l or its password", "APOP"},
		{"unsure", &popServer{refuse: "nope"}, "sesame", 3, true, "refuses", "PASS"},
		{"locked", &popServer{refuse: "[IN-USE] another session"}, "sesame", 3, false, "does not let us in now", "PASS"},
		{"busy", &popServer{refuse: "maildrop locked"}, "sesame", 3, false, "does not let us in now", "PASS"},
		{"no way", &popServer{caps: "UIDL\r\nSASL KERBEROS"}, "sesame", 3, false, "offers no way to log in", "CAPA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, c.far)
				ends := map[collector.Outcome]int{}
				w.a.Visited = func(v collector.Visited) { ends[v.Outcome]++ } // a visit at a time
				o := w.add(func(o *outpost.Outpost) { o.Secret = c.secret })
				w.runs(31 * time.Minute)
				if ends[collector.Good] > 0 != (c.words == "") || (ends[collector.Stopped] == 1) != c.stopped || ends[collector.Failed] > 0 != (c.words != "" && c.sessions > 1) {
					t.Errorf("the visits ended as %v", ends)
				}
				s := w.state(o)
				if c.far.sessions > c.sessions || c.far.sessions < min(c.sessions, 3) || s.Stopped != c.stopped || !strings.Contains(s.Error, c.words) || (c.words == "") != (s.Error == "") {
					t.Errorf("%d sessions, %+v", c.far.sessions, s)
				}
				if c.far.said(c.said) == 0 {
					t.Errorf("%q", c.far.log)
				}
				err := w.a.Check(t.Context(), &o)
				if (err == nil) != (c.words == "") || err != nil && !strings.Contains(err.Error(), c.words) {
					t.Errorf("Check: %v", err)
				}
			})
		})
	}
}

// TestCut: wherever the connection breaks, each message comes once, and none is deleted
// before it is here.
func TestCut(t *testing.T) {
	for _, caps := range []string{"UIDL", fullCaps} {
		for cut := 3; cut < 1800; cut += 61 {
			synctest.Test(t, func(t *testing.T) {
				far := &popServer{caps: caps, letters: numbered(1, 5), cut: cut}
				w := newWorld(t, far)
				o := w.add(func(o *outpost.Outpost) { o.After = outpost.Delete })
				w.runs(time.Hour)
				far.mu.Lock()
				far.cut = 0
				far.mu.Unlock()
				w.runs(12 * time.Hour)
				w.hasAll("1", "2", "3", "4", "5") // one at which it broke off comes last
				if len(far.left()) != 0 {
					t.Errorf("cut at %d: %v are there: %d sessions, %+v", cut, far.left(), far.sessions, w.state(o))
				}
			})
		}
	}
}

// TestRefused: what can never be taken stays there, is told, and is not fetched again.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		circle := strings.Repeat("Received: by x.example\r\n", 101) + "Subject: circle\r\n\r\n"
		far := &popServer{caps: fullCaps, letters: []letter{{"a", circle}, {"b", text(2) + strings.Repeat("x", 2000) + "\r\n"}, {"c", text(3)}}}
		w := newWorld(t, far)
		w.a.MaxSize = 1500
		w.MX.Hostname = "mx.a.example"
		far.letters[0].text = circle[:0] + strings.Repeat("Received: x\r\n", 101) + "Subject: circle\r\n\r\n"
		o := w.add(func(o *outpost.Outpost) { o.After = outpost.Delete })
		w.runs(30 * time.Minute)
		w.has("INBOX", "3")
		if got := far.left(); !slices.Equal(got, []string{"a", "b"}) || far.fetched != 2 {
			t.Errorf("%v are there, %d were fetched", got, far.fetched)
		}
		if s := w.state(o); s.Refused != 2 || s.Error != "" || s.Refusal == "" {
			t.Errorf("%+v", s)
		}
	})
}

// TestBack: mail that was collected and gets back to where it was collected from does
// not go round.
func TestBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &popServer{caps: fullCaps, letters: numbered(1, 1)}
		w := newWorld(t, far)
		o := w.add(nil)
		w.runs(time.Second)
		far.put(letter{"back", w.Inbox("ada@a.example")[0]})
		w.runs(10 * time.Minute)
		w.has("INBOX", "1")
		if s := w.state(o); s.Refused != 1 || !strings.Contains(s.Refusal, "collected before") {
			t.Errorf("%+v", s)
		}
	})
}

// TestFull: an account without room takes nothing, and hears of it; mail waits there.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &popServer{caps: fullCaps, letters: numbered(1, 3)}
		w := newWorld(t, far)
		o := w.add(func(o *outpost.Outpost) { o.After = outpost.Delete })
		if err := w.Mailboxes.SetLimits(t.Context(), w.ada, 0, 2, 0); err != nil {
			t.Fatal(err)
		}
		w.runs(time.Minute)
		w.has("INBOX", "1", "2")
		if s := w.state(o); !strings.Contains(s.Error, "full") || s.Stopped {
			t.Errorf("%+v, %v", s, far.left())
		}
		if err := w.Mailboxes.SetLimits(t.Context(), w.ada, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		w.runs(time.Hour)
		w.has("INBOX", "1", "2", "3")
		if got := far.left(); len(got) != 0 {
			t.Errorf("%v", got)
		}
	})
}

// TestChange: a visit ends when its outpost is changed or removed, and nobody visits
// one that is paused.
func TestChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &popServer{letters: numbered(1, 2)}
		w := newWorld(t, far)
		o := w.add(nil)
		pause := func(p bool) {
			if err := w.post.Change(t.Context(), o.ID, func(e *outpost.Entry) error { e.Paused = p; e.Again(time.Now()); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		pause(true)
		w.runs(time.Hour)
		if far.sessions != 0 {
			t.Error("it was visited")
		}
		pause(false)
		w.runs(time.Second)
		w.has("INBOX", "1", "2")
		if err := w.post.Remove(t.Context(), w.ada, o.ID); err != nil {
			t.Fatal(err)
		}
		n := far.sessions
		w.runs(time.Hour)
		if far.sessions != n {
			t.Error("it was visited")
		}
		w.add(nil)
		w.runs(time.Second)
		w.has("INBOX", "1", "2", "1", "2") // its ledger went with it
	})
}

// TestSTLS: nothing that matters is said before TLS, what came in clear behind STLS does not
// count, and whose certificate is not good hears no password.
func TestSTLS(t *testing.T) {
	good, roots := network.Certificate("pop.far.example")
	leaf, err := x509.ParseCertificate(good.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	other, _ := network.Certificate("pop.far.example")
	for name, c := range map[string]struct {
		far   *popServer
		words string // of what is wrong; "": nothing
	}{
		"good":           {&popServer{tls: &tls.Config{Certificates: []tls.Certificate{good}}}, ""},
		"without":        {&popServer{}, "does not know STLS"},
		"another's":      {&popServer{tls: &tls.Config{Certificates: []tls.Certificate{other}}}, "certificate of pop.far.example is not good"},
		"early answers":  {&popServer{tls: &tls.Config{Certificates: []tls.Certificate{good}}, early: "\r\n+OK\r\n.\r\n+OK"}, "something came between STLS and TLS"},
		"TLS of the old": {&popServer{tls: &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS11}}, "protocol version"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(leaf.NotBefore) + time.Hour) // in the bubble it is not valid yet
				c.far.caps, c.far.letters = fullCaps, numbered(1, 2)
				w := newWorld(t, c.far)
				w.a.Roots = roots
				o := w.add(func(o *outpost.Outpost) { o.Security = outpost.StartTLS })
				w.runs(time.Second)
				s := w.state(o)
				if (s.Error == "") != (c.words == "") || !strings.Contains(s.Error, c.words) {
					t.Errorf("%+v", s)
				}
				if c.words == "" {
					w.has("INBOX", "1", "2")
				} else if c.far.said("PASS")+c.far.said("USER") > 0 {
					t.Errorf("%q", c.far.log)
				}
			})
		})
	}
}
