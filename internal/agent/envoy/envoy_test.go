package envoy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mta"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/outpost"
	"posthaste/test/house"
	"posthaste/test/network"
)

// TestSend: all recipients get it by the provider in one go, also those who are here,
// whatever the program said the sender is; nothing of ours is signed.
func TestSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, port := range []string{"465", "587"} {
			for _, from := range []string{"ada.l@far.example", "ada@a.example"} {
				w := newWorld(t)
				w.sendAs(func(s *outpost.SendAs) {
					if s.Port = port; port == "587" {
						s.Security = outpost.StartTLS
					}
				})
				if _, err := w.submit(from, "Ada <Ada.L@far.example>", "x@b.example", "ada@c.example", "bob@a.example", "ada@b.example"); err != nil {
					t.Fatal(err)
				}
				if n := len(w.Items()); n != 1 {
					t.Errorf("%d items", n)
				}
				w.runs(time.Second)
				log, texts := w.far.heard()
				want := []string{"MAIL FROM:<ada.l@far.example>", "RCPT TO:<x@b.example>", "RCPT TO:<ada@c.example>", "RCPT TO:<bob@a.example>", "RCPT TO:<ada@b.example>"}
				if !slices.Equal(log, want) || len(texts) != 1 || strings.Contains(texts[0], "DKIM") || !strings.Contains(texts[0], "From: Ada <Ada.L@far.example>") {
					t.Errorf("%s from %s: %q\n%q", port, from, log, texts)
				}
				if len(w.Items()) != 0 || len(w.Inbox("bob@a.example")) != 0 {
					t.Error("something went another way")
				}
			}
		}
	})
}

// TestWaits: what is in the way of mail is told in words, tried no more than it should
// be, and when it is mended the mail goes at once.
func TestWaits(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(w *world)
		why    string // as the queue groups it
		words  string // in what the queue heard
		logins int    // in six hours; -1: any
		mend   func(w *world)
		check  string // of what "posthaste check" says
	}{
		"password": {
			func(w *world) { w.far.password = "changed" }, "send-as-login", "smtp.far.example refuses the user name ada.l or its password", 1,
			func(w *world) {
				w.set(func(e *outpost.Entry) { e.Secret = "changed"; e.Again(time.Now()) })
			},
			"nothing can be sent as ada.l@far.example",
		},
		"another user": {
			func(w *world) {
				w.sendAs(func(s *outpost.SendAs) { s.User, s.Secret = "smtp-user", "x" })
			},
			"send-as-login", "refuses the user name smtp-user", 1,
			func(w *world) {
				w.far.user, w.far.password = "smtp-user", "y"
				w.set(func(e *outpost.Entry) { e.SendAs.Secret = "y"; e.Again(time.Now()) })
			},
			"nothing can be sent as",
		},
		"not now": {
			func(w *world) { w.far.says = map[string]string{"AUTH": "454 4.7.0 try again"} }, "send-as-later", "does not let us in now", -1,
			func(w *world) { w.far.says = nil }, "",
		},
		"no login": {
			func(w *world) { w.far.noAuth = true }, "send-as-later", "offers no way to log in", 0,
			func(w *world) { w.far.noAuth = false }, "",
		},
		"certificate": {
			func(w *world) { w.sendAs(func(s *outpost.SendAs) { s.Host = "other.far.example" }) }, "send-as-tls", "The certificate of other.far.example is not good", 0,
			func(w *world) { w.sendAs(func(s *outpost.SendAs) { s.Host = "smtp.far.example" }) }, "",
		},
		"no STARTTLS": {
			func(w *world) {
				w.far.noTLS = true
				w.sendAs(func(s *outpost.SendAs) { s.Port, s.Security = "587", outpost.StartTLS })
			},
			"send-as-tls", "does not offer STARTTLS", 0, func(w *world) { w.far.noTLS = false }, "",
		},
		"TLS where there is none": {
			func(w *world) { w.sendAs(func(s *outpost.SendAs) { s.Port = "587" }) }, "send-as-tls", "does not begin with TLS at port 587", 0,
			func(w *world) { w.sendAs(func(s *outpost.SendAs) { s.Port = "465" }) }, "",
		},
		"clear": {
			func(w *world) {
				w.sendAs(func(s *outpost.SendAs) { s.Port, s.Security = "587", outpost.Clear })
			},
			"send-as-tls", "in clear are made to this machine only", 0,
			func(w *world) {
				w.sendAs(func(s *outpost.SendAs) { s.Port, s.Security = "465", outpost.TLS })
			}, "",
		},
		"no host": {
			func(w *world) { w.sendAs(func(s *outpost.SendAs) { s.Host = "nothing.far.example" }) }, "send-as-later", "There is no host called nothing.far.example", 0,
			func(w *world) { w.sendAs(func(s *outpost.SendAs) { s.Host = "smtp.far.example" }) }, "",
		},
		"down": {
			func(w *world) {
				w.net.Fault = func(_ netip.Addr, to netip.AddrPort) network.Fault { return network.Fault{Refused: to.Port() == 465} }
			},
			"send-as-later", "smtp.far.example:465 cannot be reached", 0, func(w *world) { w.net.Fault = nil }, "",
		},
		"closed": {
			func(w *world) { w.far.greeting = "421 4.3.2 maintenance" }, "send-as-later", "does not let us in now", 0, func(w *world) { w.far.greeting = "" }, "",
		},
		"nonsense": {
			func(w *world) { w.far.greeting = "hello" }, "send-as-later", "does not do as it should", 0, func(w *world) { w.far.greeting = "" }, "",
		},
		"paused": {
			func(w *world) { w.set(func(e *outpost.Entry) { e.Paused = true }) }, "send-as-paused", "posthaste collect resume ada@a.example work", 0,
			func(w *world) { w.set(func(e *outpost.Entry) { e.Paused = false }) }, "",
		},
		"not tried": {
			func(w *world) { w.sendAs(func(s *outpost.SendAs) { s.Proven = time.Time{} }) }, "send-as-untried", "--send-as ada.l@far.example", 0,
			func(w *world) { w.sendAs(func(s *outpost.SendAs) { s.Proven = time.Now() }) }, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if _, err := w.submit("ada.l@far.example", "ada.l@far.example", "x@b.example", "y@c.example"); err != nil {
					t.Fatal(err)
				}
				c.spoil(w)
				w.runs(6 * time.Hour)
				items := w.Items()
				if len(items) != 1 || len(items[0].Envelope.Recipients) != 2 {
					t.Fatalf("%+v", items)
				}
				if why, _ := mta.Reason(&items[0]); why != c.why || !strings.Contains(items[0].Text, c.words) || !strings.HasPrefix(items[0].Text, "send-as ada.l@far.example: ") {
					t.Errorf("it waits since %s: %v %s", why, items[0].Status, items[0].Text)
				}
				if n := w.far.tried(); c.logins >= 0 && n != c.logins {
					t.Errorf("%d logins were tried, want %d", n, c.logins)
				}
				wrong, err := w.posts.Check(t.Context(), func(mail.AccountID) string { return "ada" })
				if err != nil || (c.check == "") != (len(wrong) == 0) || !strings.Contains(strings.Join(wrong, "\n"), c.check) {
					t.Errorf("%q, %v", wrong, err)
				}
				if got := w.Inbox("ada@a.example"); len(got) != 1 || !strings.Contains(got[0], "Action: delayed") || !strings.Contains(got[0], "send-as ada.l@far.example: ") {
					t.Errorf("ada got\n%s", strings.Join(got, "\n"))
				}
				c.mend(w)
				if err := w.agent.Hurry(t.Context(), uint64(w.post.ID)); err != nil {
					t.Fatal(err)
				}
				w.runs(time.Second)
				if _, texts := w.far.heard(); len(texts) != 1 || len(w.Items()) != 0 {
					t.Errorf("%q was sent, %q waits", texts, w.Waiting())
				}
				if e := w.entry(); e.SendError != "" || e.SendFails != 0 {
					t.Errorf("%+v", e.State)
				}
			})
		})
	}
}

// TestFails: what the provider refuses, or nobody sends any more, comes back to the
// account here. Nobody else suffers from what a server says that ada has chosen.
func TestFails(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(w *world)
		words string
	}{
		"sender": {func(w *world) {
			w.far.says = map[string]string{"MAIL": "553 5.7.1 Sender address rejected: not owned by user ada.l"}
		}, "not owned by user"},
		"recipient": {func(w *world) { w.far.says = map[string]string{"RCPT": "550 5.1.1 no such user"} }, "no such user"},
		"message":   {func(w *world) { w.far.says = map[string]string{".": "554 5.7.1 spam"} }, "spam"},
		"removed": {func(w *world) {
			if err := w.posts.Remove(context.Background(), 1, w.post.ID); err != nil {
				panic(err)
			}
		}, "ada@a.example no longer sends with this address"},
		"another address": {func(w *world) {
			w.sendAs(func(s *outpost.SendAs) { s.Address = house.Address("else@far.example") })
		}, "no longer sends"},
		"too long": {func(w *world) { w.set(func(e *outpost.Entry) { e.Paused = true }) }, "tried for 5 days"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if _, err := w.submit("ada.l@far.example", "ada.l@far.example", "x@b.example"); err != nil {
					t.Fatal(err)
				}
				c.spoil(w)
				w.runs(6 * 24 * time.Hour)
				got := slices.DeleteFunc(w.Inbox("ada@a.example"), func(s string) bool { return strings.Contains(s, "Action: delayed") })
				if len(got) != 1 || !strings.Contains(got[0], "\r\nTo: ada@a.example\r\n") && !strings.Contains(got[0], "\r\nTo: <ada@a.example>\r\n") || !strings.Contains(got[0], c.words) || !strings.Contains(got[0], "Final-Recipient: rfc822;") {
					t.Errorf("ada got\n%s", strings.Join(got, "\n"))
				}
				if len(w.Items()) != 0 {
					t.Error("something waits")
				}
				if _, until, err := w.dead.Suppressed(t.Context(), house.Address("x@b.example")); err != nil || !until.IsZero() {
					t.Error("nobody may write to them any more", until, err)
				}
			})
		})
	}
}

// TestComesAgain: an outpost that is removed and added again sends what waits.
func TestComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if _, err := w.submit("ada.l@far.example", "ada.l@far.example", "x@b.example"); err != nil {
			t.Fatal(err)
		}
		if err := w.posts.Remove(t.Context(), 1, w.post.ID); err != nil {
			t.Fatal(err)
		}
		again := w.post
		if _, err := w.posts.Add(t.Context(), again, true); err != nil {
			t.Fatal(err)
		}
		w.runs(time.Second)
		if _, texts := w.far.heard(); len(texts) != 1 {
			t.Errorf("%q", texts)
		}
	})
}

// TestRefusedAtOnce: who cannot send hears of it from the server that he submits to.
func TestRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for words, spoil := range map[string]func(e *outpost.Entry){
			"is paused":              func(e *outpost.Entry) { e.Paused = true },
			"nobody has been seen":   func(e *outpost.Entry) { e.SendAs.Proven = time.Time{} },
			"the password is wrong.": func(e *outpost.Entry) { e.SendStopped, e.SendError = true, "the password is wrong." },
			"may not send as":        func(e *outpost.Entry) { e.SendAs = nil },
		} {
			w.set(func(e *outpost.Entry) {
				spoil(e)
			})
			_, err := w.submit("ada.l@far.example", "ada.l@far.example", "x@b.example")
			if no, ok := errors.AsType[*mail.Refusal](err); !ok || no.Status.Class != 5 || !strings.Contains(no.Text, words) {
				t.Errorf("%s: %v", words, err)
			}
			w.set(func(e *outpost.Entry) {
				e.Again(time.Now())
				e.Paused, e.SendAs = false, w.post.SendAs
			})
		}
	})
}

// TestFew: much mail goes over few connections, with few logins.
func TestFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.net.Fault = func(netip.Addr, netip.AddrPort) network.Fault { return network.Fault{Latency: 100 * time.Millisecond} }
		const many = 60
		for range many {
			if _, err := w.submit("ada.l@far.example", "ada.l@far.example", "x@b.example"); err != nil {
				t.Fatal(err)
			}
		}
		w.runs(5 * time.Minute)
		_, texts := w.far.heard()
		if len(texts) != many || w.far.most > 2 || w.far.tried() > 5 {
			t.Errorf("%d were sent, over %d connections at a time and with %d logins", len(texts), w.far.most, w.far.tried())
		}
	})
}

// TestCheck: a login is tried before anything is saved, at one address of the host only
// if it is refused.
func TestCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.post
		if err := w.envoy.Check(t.Context(), &o); err != nil {
			t.Error(err)
		}
		o.Secret = "wrong"
		n := w.far.tried()
		if err := w.envoy.Check(t.Context(), &o); err == nil || !strings.Contains(err.Error(), "refuses the user name ada.l or its password") || w.far.tried() != n+1 {
			t.Error(err, w.far.tried()-n)
		}
		to := *o.SendAs
		o.SendAs = &to
		to.Host = "nothing.far.example"
		if err := w.envoy.Check(t.Context(), &o); err == nil || !strings.Contains(err.Error(), "There is no host called") {
			t.Error(err)
		}
		to.Host, to.Port = "smtp.far.example", "466"
		w.net.Listen(netip.MustParseAddrPort("198.51.100.7:466"), func(c net.Conn) { io.Copy(io.Discard, c) })
		w.net.Listen(netip.MustParseAddrPort("198.51.100.8:466"), func(c net.Conn) { io.Copy(io.Discard, c) })
		if err := w.envoy.Check(t.Context(), &o); err == nil || !strings.Contains(err.Error(), "does not answer in time") {
			t.Error(err)
		}
	})
}
