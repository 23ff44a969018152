package server_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/server/config"
	"posthaste/test/house"
)

// TestQueued: of what waits it is told until when it is tried, what its sender asked
// for, and, as the end of its story, what comes next.
func TestQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, func(*config.Config) {})
		s.banned["192.0.2.1"] = "421 4.3.2 later"
		ada, now := house.Address("ada@a.example"), time.Now()
		post := func(by mail.DeliverBy, priority int8) string {
			env := mail.Envelope{Trace: mail.NewTraceID(time.Now()), Sender: ada, Recipients: []mail.Recipient{{Address: house.Address("x@b.example")}}, By: by, Priority: priority}
			if err := s.house.Delivery.Deliver(t.Context(), mda.Mail{Envelope: env, Body: s.house.Stage("Subject: x\r\n\r\nx\r\n")}); err != nil {
				t.Fatal(err)
			}
			return env.Trace.String()
		}
		usual := post(mail.DeliverBy{}, 0)
		back := post(mail.DeliverBy{Time: now.Add(5 * time.Hour), Return: true}, 3)
		told := post(mail.DeliverBy{Time: now.Add(6 * time.Hour)}, -2)
		time.Sleep(10 * time.Minute)
		items, err := s.waiting()
		if err != nil || len(items) != 3 {
			t.Fatal(items, err)
		}
		const day = 24 * time.Hour
		for _, it := range items {
			until, by, priority, end := it.Until.Sub(now), it.By.Sub(now), it.Priority, ""
			switch it.ID {
			case usual:
				if until != 5*day || !it.By.IsZero() || it.Return || priority != 0 {
					t.Errorf("usual: %+v", it)
				}
				end = "it is given up at " + it.Until.Local().Format("2006-01-02 15:04") + "."
			case back:
				if until != 5*time.Hour || by != 5*time.Hour || !it.Return || priority != 3 {
					t.Errorf("back: %+v", it)
				}
				end = "it is given up at " + it.By.Local().Format("2006-01-02 15:04") + "."
			case told:
				if until != 5*day || by != 6*time.Hour || it.Return || priority != -2 {
					t.Errorf("told: %+v", it)
				}
				end = "Its sender asked for it to be there by " + it.By.Local().Format("2006-01-02 15:04") + ", and hears of it if it is not."
			}
			story, err := s.admin.Story(t.Context(), it.ID)
			last := story.Lines[len(story.Lines)-1]
			if err != nil || !strings.HasPrefix(last, "It still waits for x@b.example. The next try is at ") || !strings.HasSuffix(last, end) {
				t.Errorf("%q does not end in %q; %v", last, end, err)
			}
		}
		if _, err := s.admin.ChangeQueued(t.Context(), "hold", usual); err != nil {
			t.Fatal(err)
		}
		story, err := s.admin.Story(t.Context(), usual)
		if last := story.Lines[len(story.Lines)-1]; err != nil || last != "It still waits for x@b.example. An administrator holds it back: nothing happens before it is released." {
			t.Errorf("%q %v", last, err)
		}
	})
}
