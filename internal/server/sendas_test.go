package server_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
	"posthaste/internal/store/queue"
	"posthaste/test/house"
)

// errand queues a message that goes out by an outpost.
func (s *street) errand(outpost uint64, to ...string) string {
	s.t.Helper()
	as := house.Address("ada.l@b.example")
	env := mail.Envelope{Trace: mail.NewTraceID(time.Now()), Sender: as}
	for _, r := range to {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: house.Address(r)})
	}
	m := mda.Mail{Envelope: env, Body: s.house.Stage("Subject: x\r\n\r\nx\r\n"), Errand: queue.Errand{Outpost: outpost, As: as, For: house.Address("ada@a.example")}}
	if err := s.house.Delivery.Deliver(s.t.Context(), m); err != nil {
		s.t.Fatal(err)
	}
	return env.Trace.String()
}

// TestSendAsWay: what goes by an account elsewhere waits while it is paused, whatever the
// routes say; an operator can have it go by one host, not by many; and it goes back to the
// account.
func TestSendAsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, func(c *config.Config) {
			c.Routes = []config.Route{{Domain: "*", Host: "two.example:25", Protocol: "smtp", TLS: "none"}}
		})
		add := admind.OutpostSettings{Untried: true}
		protocol, host, user, secret := "imap", "imap.b.example", "ada.l", "sesame"
		as, submission := "ada.l@b.example", "smtp.b.example"
		add.Protocol, add.Host, add.User, add.Secret = &protocol, &host, &user, &secret
		add.SendAs = &admind.SendAsSettings{Address: &as, Host: &submission}
		o, err := s.admin.AddOutpost(t.Context(), "ada@a.example", "work", add)
		if err != nil || o.SendAs == nil || o.SendAs.Port != "465" || o.SendAs.Security != "tls" || !o.SendAs.Untried {
			t.Fatalf("%+v, %v", o.SendAs, err)
		}
		why := func(want string) {
			t.Helper()
			items, err := s.waiting()
			if err != nil || len(items) != 1 || items[0].Why != want {
				t.Fatalf("%+v, %v; want %s", items, err, want)
			}
		}
		id := s.errand(1, "x@b.example", "y@c.example", "ada@a.example")
		s.after(time.Second)
		why("send-as-untried")
		if _, err := s.admin.HandleOutpost(t.Context(), "ada@a.example", "work", "pause"); err != nil {
			t.Fatal(err)
		}
		s.after(time.Hour)
		why("send-as-paused")
		reroute := func(via string) {
			t.Helper()
			if _, err := s.admin.Reroute(t.Context(), id, via); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			time.Sleep(time.Second)
		}
		reroute("mx")
		why("send-as-mx")
		reroute("default")
		why("send-as-paused")
		if _, err := s.admin.Reroute(t.Context(), id, "outpost 1"); err == nil {
			t.Error("an operator had it go by somebody's account")
		}
		reroute("one.example:25")
		s.after(time.Second, "one.example: x@b.example", "one.example: y@c.example", "one.example: ada@a.example")

		// The account is no more: it comes back.
		id = s.errand(1, "x@b.example", "y@c.example")
		if err := s.admin.RemoveOutpost(t.Context(), "ada@a.example", "work"); err != nil {
			t.Fatal(err)
		}
		s.after(24 * time.Hour)
		if got := s.house.Inbox("ada@a.example"); len(got) != 1 || !strings.Contains(got[0], "no longer sends with this address") {
			t.Errorf("ada got %q", got)
		}
	})
}

// TestSendAsSettings: what cannot be meant is refused with what to do.
func TestSendAsSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, func(*config.Config) {})
		s.after(time.Second) // it has begun
		protocol, host, user, secret := "imap", "imap.b.example", "ada.l", "sesame"
		if _, err := s.admin.AddOutpost(t.Context(), "ada@a.example", "work", admind.OutpostSettings{Protocol: &protocol, Host: &host, User: &user, Secret: &secret, Untried: true}); err != nil {
			t.Fatal(err)
		}
		say := func(s string) *string { return &s }
		full := admind.SendAsSettings{Address: say("ada.l@b.example"), Host: say("smtp.b.example")}
		set := func(change func(*admind.SendAsSettings), untried bool) (admind.Outpost, error) {
			in := full
			change(&in)
			return s.admin.ChangeOutpost(t.Context(), "ada@a.example", "work", admind.OutpostSettings{SendAs: &in, Untried: untried})
		}
		for want, change := range map[string]func(*admind.SendAsSettings){
			"is no address":                        func(in *admind.SendAsSettings) { in.Address = say("ada") },
			"a.example is a domain of this server": func(in *admind.SendAsSettings) { in.Address = say("other@a.example") },
			"with what address":                    func(in *admind.SendAsSettings) { in.Address = nil },
			"submission server must be said":       func(in *admind.SendAsSettings) { in.Host = nil },
			"is no name of a host":                 func(in *admind.SendAsSettings) { in.Host = say("a b") },
			"is no port":                           func(in *admind.SendAsSettings) { in.Port = say("smtp") },
			"security is tls, starttls or none":    func(in *admind.SendAsSettings) { in.Security = say("ssl") },
			"a password is needed for ada":         func(in *admind.SendAsSettings) { in.User = say("ada") },
			"go with a user of its own":            func(in *admind.SendAsSettings) { in.Secret = say("x") },
			"where tokens are got": func(in *admind.SendAsSettings) {
				in.User, in.Secret, in.OAuth2 = say("ada"), say("x"), &admind.OutpostOAuth2{URL: "http://far.example/"}
			},
			"There is no host called smtp.b.example": func(*admind.SendAsSettings) {},
		} {
			if _, err := set(change, false); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
		for port, want := range map[string]string{"587": "starttls", "465": "tls", "2465": "tls"} {
			if _, err := set(func(in *admind.SendAsSettings) { in.Address = say("") }, true); err != nil {
				t.Fatal(err)
			}
			if o, err := set(func(in *admind.SendAsSettings) { in.Port = &port }, true); err != nil || o.SendAs.Security != want || o.SendAs.Port != port {
				t.Errorf("%+v, %v", o.SendAs, err)
			}
		}
		// What is not said stays.
		full = admind.SendAsSettings{}
		o, err := set(func(in *admind.SendAsSettings) { in.User, in.Secret = say("smtp-ada"), say("x") }, true)
		if err != nil || o.SendAs.Address != "ada.l@b.example" || o.SendAs.Host != "smtp.b.example" || o.SendAs.User != "smtp-ada" {
			t.Errorf("%+v, %v", o.SendAs, err)
		}
		if o, err = set(func(in *admind.SendAsSettings) { in.User = say("") }, true); err != nil || o.SendAs.User != "" {
			t.Errorf("%+v, %v", o.SendAs, err)
		}
		if o, err = set(func(in *admind.SendAsSettings) { in.Address = say("") }, false); err != nil || o.SendAs != nil {
			t.Errorf("%+v, %v", o.SendAs, err)
		}
	})
}
