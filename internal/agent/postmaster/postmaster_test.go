package postmaster_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/postmaster"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/maildrop"
	"posthaste/internal/store/policies"
	"posthaste/internal/store/reports"
	"posthaste/internal/store/signin"
	"posthaste/test/house"
)

// TestRounds: with nobody connected, mail that was collected goes when its days
// are over, can be restored for 30 days, and then is gone for good.
func TestRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := house.New(t, "mx.example.org")
		ada := h.Account(0, "ada@example.org")[0]
		rules := &maildrop.Store{DB: h.DB, Mail: h.Mailboxes}
		a := &postmaster.Agent{Directory: h.Directory, Mailboxes: h.Mailboxes, Maildrops: rules, Bodies: h.Bodies, Queue: h.Queue, Journal: h.Journal, Policies: &policies.Store{DB: h.DB}, Reports: &reports.Store{DB: h.DB}, Sessions: &signin.Store{DB: h.DB}, Log: h.Log}
		ctx := t.Context()
		if _, err := a.Sessions.Open(ctx, signin.Session{Account: ada}); err != nil {
			t.Fatal(err)
		}
		p, err := h.Mailboxes.PrepareMessage(ctx, mail.NewTraceID(time.Now()), strings.NewReader("Subject: x\r\n\r\n"+strings.Repeat("a body of its own\r\n", 5000)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Mailboxes.AppendMessages(ctx, ada, mailbox.Inbox, mailbox.Incoming{Prepared: p}); err != nil {
			t.Fatal(err)
		}
		if err := rules.SetPolicy(ctx, ada, 0, maildrop.Policy{After: maildrop.KeepDays, Days: 7}); err != nil {
			t.Fatal(err)
		}
		err = rules.Visited(ctx, ada, maildrop.Visit{Boxes: []maildrop.BoxVisit{{Mailbox: mailbox.Inbox, Collected: mail.UIDs(1)}}})
		if err != nil {
			t.Fatal(err)
		}
		states := map[int]string{6: "there", 7: "deleted", 36: "deleted", 38: "gone"}
		for day := range 40 {
			if err := a.Round(ctx); err != nil {
				t.Fatal(err)
			}
			u, err := h.Mailboxes.Usage(ctx, ada)
			if err != nil {
				t.Fatal(err)
			}
			state := "gone"
			switch {
			case u.Messages > 0:
				state = "there"
			case u.Expunged > 0:
				state = "deleted"
			}
			if want := states[day]; want != "" && state != want {
				t.Errorf("on day %d the message is %s, want %s", day, state, want)
			}
			time.Sleep(24 * time.Hour)
		}
		err = a.Check(ctx, func(wrong string) { t.Error(wrong) }, func(int, int) {})
		if err != nil {
			t.Error(err)
		}
		err = h.DB.View(ctx, func(r kv.Reader) error {
			for row, err := range r.Scan(kv.Prefix(append(mailbox.Lock(ada).Prefix(), 0x40))) {
				t.Errorf("a session that is over is not forgotten: %x, %v", row.Key, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestRelieve: on a full disk deleted mail goes early, of all accounts what was deleted
// first first, no more than is needed, nothing that is not deleted, and nothing of the
// last day.
func TestRelieve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := house.New(t, "mx.example.org")
		people := h.Account(0, "ada@example.org", "bob@example.org")
		var room atomic.Int64 // deleted messages that there is room for
		room.Store(1 << 20)
		deleted := func() (n int) {
			for _, a := range people {
				list, err := h.Mailboxes.Expunged(t.Context(), a, 100, func(*mailbox.Expunged) bool { return true })
				if err != nil {
					t.Error(err)
				}
				n += len(list)
			}
			return n
		}
		a := &postmaster.Agent{Directory: h.Directory, Mailboxes: h.Mailboxes, Maildrops: &maildrop.Store{DB: h.DB, Mail: h.Mailboxes}, Bodies: h.Bodies, Queue: h.Queue, Journal: h.Journal, Policies: &policies.Store{DB: h.DB}, Reports: &reports.Store{DB: h.DB}, Log: h.Log, Early: 1, Full: func() bool { return deleted() > int(room.Load()) }}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go a.Run(ctx)
		uid := mail.UID(0)
		for range 6 { // each day one of each
			uid++
			for _, who := range people {
				for range 2 {
					p, err := h.Mailboxes.PrepareMessage(ctx, mail.NewTraceID(time.Now()), strings.NewReader("Subject: x\r\n\r\ntext"))
					if err == nil {
						_, err = h.Mailboxes.AppendMessages(ctx, who, mailbox.Inbox, mailbox.Incoming{Prepared: p})
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				if _, _, err := h.Mailboxes.Expunge(ctx, who, mailbox.Inbox, mail.UIDs(2*uid), mailbox.ExpungeAll); err != nil {
					t.Fatal(err)
				}
				time.Sleep(12 * time.Hour)
			}
		}
		if r := a.Relief(); deleted() != 12 || r.Messages != 0 {
			t.Fatal(deleted(), r)
		}
		for _, want := range []int{9, 5, 1} { // one went within the last day
			room.Store(int64(want))
			if want == 1 {
				room.Store(0)
			}
			time.Sleep(5 * time.Minute)
			if n := deleted(); n != want || a.Relief().Messages != 12-want {
				t.Errorf("%d deleted messages are left, not %d; %+v", n, want, a.Relief())
			}
		}
		for _, who := range people {
			if u, err := h.Mailboxes.Usage(ctx, who); err != nil || u.Messages != 6 {
				t.Error("mail that nobody deleted:", u, err)
			}
		}
		cancel()
		synctest.Wait()
	})
}

// TestRelieveMeanwhile: what is deleted when the disk is full goes after an hour, also if
// there is room for a moment in between; what was deleted in the day before stays.
func TestRelieveMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := house.New(t, "mx.example.org")
		ada := h.Account(0, "ada@example.org")[0]
		var full atomic.Bool
		a := &postmaster.Agent{Directory: h.Directory, Mailboxes: h.Mailboxes, Maildrops: &maildrop.Store{DB: h.DB, Mail: h.Mailboxes}, Bodies: h.Bodies, Queue: h.Queue, Journal: h.Journal, Policies: &policies.Store{DB: h.DB}, Reports: &reports.Store{DB: h.DB}, Log: h.Log, Full: full.Load}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go a.Run(ctx)
		for range 3 {
			p, err := h.Mailboxes.PrepareMessage(ctx, mail.NewTraceID(time.Now()), strings.NewReader("Subject: x\r\n\r\ntext"))
			if err == nil {
				_, err = h.Mailboxes.AppendMessages(ctx, ada, mailbox.Inbox, mailbox.Incoming{Prepared: p})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		expunge := func(uid mail.UID) {
			if _, _, err := h.Mailboxes.Expunge(ctx, ada, mailbox.Inbox, mail.UIDs(uid), mailbox.ExpungeAll); err != nil {
				t.Fatal(err)
			}
		}
		left := func(after time.Duration, want ...mail.UID) {
			t.Helper()
			time.Sleep(after)
			list, err := h.Mailboxes.Expunged(ctx, ada, 9, func(*mailbox.Expunged) bool { return true })
			var got []mail.UID
			for _, x := range list {
				got = append(got, x.UID)
			}
			if slices.Sort(got); err != nil || !slices.Equal(got, want) {
				t.Errorf("%v can be restored, not %v: %v", got, want, err)
			}
		}
		time.Sleep(5 * time.Hour)
		expunge(1)
		time.Sleep(time.Minute)
		full.Store(true)
		time.Sleep(time.Minute)
		expunge(2)
		left(30*time.Minute, 1, 2)
		full.Store(false)
		time.Sleep(10 * time.Minute)
		full.Store(true)
		expunge(3)
		left(19*time.Minute, 1, 2, 3)
		left(2*time.Minute, 1, 3)
		left(40*time.Minute, 1)
		left(20*time.Hour, 1)
		left(5 * time.Hour)
		if r := a.Relief(); r.Messages != 3 {
			t.Errorf("%+v", r)
		}
		cancel()
		synctest.Wait()
	})
}

// TestLost: the round finishes what was begun of an account's removal, and check tells of
// mail that is nobody's, but of none that is on its way out.
func TestLost(t *testing.T) {
	h := house.New(t, "mx.example.org")
	ids := h.Account(0, "ada@example.org", "bob@example.org")
	a := &postmaster.Agent{
		Directory: h.Directory, Mailboxes: h.Mailboxes, Maildrops: &maildrop.Store{DB: h.DB, Mail: h.Mailboxes}, Bodies: h.Bodies, Queue: h.Queue, Journal: h.Journal,
		Policies: &policies.Store{DB: h.DB}, Reports: &reports.Store{DB: h.DB}, Log: h.Log, Removals: h.Registrar.FinishRemovals,
	}
	check := func(want ...string) {
		t.Helper()
		var got []string
		if err := a.Check(t.Context(), func(wrong string) { got = append(got, wrong) }, func(int, int) {}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("check says %q", got)
		}
	}
	update := func(l kv.Lock, fn func(kv.Tx) error) {
		t.Helper()
		if err := h.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{l}}, fn); err != nil {
			t.Fatal(err)
		}
	}
	update(directory.Lock, func(tx kv.Tx) error { return h.Directory.DeleteAccount(tx, ids[0]) })
	check()
	if err := a.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if have, err := h.Mailboxes.Accounts(t.Context()); err != nil || !slices.Equal(have, ids[1:]) {
		t.Errorf("there is something of %v, %v", have, err)
	}
	update(mailbox.Lock(99), func(tx kv.Tx) error { return h.Mailboxes.Create(tx, 99, 0, 0) })
	check("account 99 is not there, but has mailboxes")
	if err := a.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("account 99 is not there, but has mailboxes") // nobody has said that it is to go
}
