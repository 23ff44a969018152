package maildrop

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/store/body"
	"posthaste/internal/store/mailbox"
)

const (
	ada mail.AccountID = 7
	day                = 24 * time.Hour
)

var home = netip.MustParseAddr("192.0.2.1")

func newStore(t testing.TB, messages int) *Store {
	db := kv.Strict(memkv.New())
	m := &mailbox.Store{DB: db, Bodies: &body.Store{DB: db, Blobs: memblob.New()}}
	s := &Store{DB: db, Mail: m}
	err := db.Update(t.Context(), kv.Plan{Locks: []kv.Lock{mailbox.Lock(ada)}}, func(tx kv.Tx) error { return m.Create(tx, ada, 0, 0) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		wrong, err := s.Check(context.Background(), ada)
		more, err2 := m.Check(context.Background(), ada, nil)
		if err != nil || err2 != nil || len(wrong)+len(more) > 0 {
			t.Error(wrong, more, err, err2)
		}
	})
	add(t, s, messages)
	return s
}

func add(t testing.TB, s *Store, n int) {
	t.Helper()
	for range n {
		p, err := s.Mail.PrepareMessage(t.Context(), mail.NewTraceID(time.Now()), strings.NewReader("Subject: x\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Mail.AppendMessages(t.Context(), ada, mailbox.Inbox, mailbox.Incoming{Prepared: p}); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *Store) set(t testing.TB, d Device, p Policy) {
	t.Helper()
	if err := s.SetPolicy(t.Context(), ada, d, p); err != nil {
		t.Fatal(err)
	}
}

func (s *Store) visit(t testing.TB, d Device, collected mail.UIDSet) {
	t.Helper()
	err := s.Visited(t.Context(), ada, Visit{Device: d, From: home, Bytes: 9, Boxes: []BoxVisit{{Mailbox: mailbox.Inbox, Collected: collected}}})
	if err != nil {
		t.Fatal(err)
	}
}

// is checks what is in a mailbox.
func (s *Store) is(t testing.TB, box mail.MailboxID, want string) {
	t.Helper()
	snap, err := s.Mail.Open(t.Context(), ada, box)
	if err != nil {
		t.Fatal(err)
	}
	if got := snap.UIDs(); got.String() != want {
		t.Errorf("mailbox %d has %q, want %q", box, got.String(), want)
	}
}

func (s *Store) keep(t testing.TB, want int) {
	t.Helper()
	if n, err := s.Keep(t.Context(), ada, time.Now()); err != nil || n != want {
		t.Errorf("the keeper removed %d, %v; want %d", n, err, want)
	}
}

// leaving is what goes by the policies as they are.
func (s *Store) leaving(t testing.TB, most int) ([]Leaving, int, error) {
	t.Helper()
	policies, err := s.Policies(t.Context(), ada)
	if err != nil {
		t.Fatal(err)
	}
	return s.Leaving(t.Context(), ada, policies, most)
}

// TestKeepDays: days are counted from the first RETR of each device, whether
// somebody is connected or not, and what goes is told before.
func TestKeepDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 5)
		s.set(t, 0, Policy{After: KeepDays, Days: 7})
		s.set(t, 2, Policy{}) // keeps for ever
		s.visit(t, 1, mail.UIDSpan(1, 2))
		s.visit(t, 2, mail.UIDSpan(1, 5))
		time.Sleep(3 * day)
		s.visit(t, 1, mail.UIDSpan(2, 3)) // 2 was collected before
		s.keep(t, 0)
		list, n, err := s.leaving(t, 2)
		if err != nil || n != 3 || len(list) != 2 || list[0].UID != 1 || list[1].UID != 2 || time.Until(list[0].Goes).Round(time.Hour) != 4*day || list[0].Device != 1 {
			t.Errorf("leaving are %+v of %d, %v", list, n, err)
		}
		time.Sleep(4*day - time.Minute)
		s.keep(t, 0)
		s.is(t, mailbox.Inbox, "1:5")
		time.Sleep(time.Minute)
		s.keep(t, 2)
		s.is(t, mailbox.Inbox, "3:5")
		time.Sleep(2 * day)
		s.keep(t, 0)
		time.Sleep(day)
		s.keep(t, 1)
		time.Sleep(100 * day)
		s.keep(t, 0)
		s.is(t, mailbox.Inbox, "4:5")
		if n, err := s.Mail.Restore(t.Context(), ada, func(x *mailbox.Expunged) bool { return x.UID == 1 }); n != 1 || err != nil {
			t.Errorf("restored %d, %v", n, err)
		}
		s.keep(t, 0)
		s.is(t, mailbox.Inbox, "4:6")
		// Who tightens a policy later removes what was collected long ago.
		s.set(t, 2, Policy{After: KeepDays, Days: 30})
		stricter := Policies{0: {After: KeepDays, Days: 1}, 2: {}}
		if _, n, err := s.Leaving(t.Context(), ada, stricter, 10); err != nil || n != 0 {
			t.Errorf("by policies that are not set %d leave, %v", n, err)
		}
		if _, n, err := s.leaving(t, 10); err != nil || n != 2 {
			t.Errorf("leaving %d, %v", n, err)
		}
		if err := s.ClearPolicy(t.Context(), ada, 2); err != nil {
			t.Fatal(err)
		}
		s.set(t, 0, Policy{})
		s.keep(t, 0)
		s.is(t, mailbox.Inbox, "4:6")
	})
}

// TestRemovals: what goes is deleted, in Trash, or hidden from one device.
func TestRemovals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 3)
		trash, err := s.trash(t.Context(), ada)
		if err != nil {
			t.Fatal(err)
		}
		s.set(t, 0, Policy{After: KeepDays, Days: 1, Removal: Hide})
		s.set(t, 1, Policy{After: KeepDays, Days: 1, Removal: Trash})
		s.visit(t, 0, mail.UIDs(1))
		s.visit(t, 1, mail.UIDs(2))
		time.Sleep(day)
		s.keep(t, 2)
		s.keep(t, 0)
		s.is(t, mailbox.Inbox, "1,3")
		s.is(t, trash, "1")
		for d, want := range map[Device]string{0: "1", 1: ""} {
			if hidden, err := s.Hidden(t.Context(), ada, d, mailbox.Inbox); err != nil || hidden.String() != want {
				t.Errorf("device %d does not see %v, %v", d, hidden, err)
			}
		}
		if err := s.Remove(t.Context(), ada, 1, trash, mail.UIDs(1), Trash); err != nil {
			t.Fatal(err)
		}
		s.is(t, trash, "") // what goes from Trash is deleted
		if err := s.Forget(t.Context(), ada, 0); err != nil {
			t.Fatal(err)
		}
		if hidden, _ := s.Hidden(t.Context(), ada, 0, mailbox.Inbox); !hidden.IsEmpty() {
			t.Errorf("forgotten, it still does not see %v", hidden)
		}
	})
}

// TestGone: marks of what went by other ways go too, and those of a mailbox that
// is no more.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 2)
		s.set(t, 0, Policy{After: KeepDays, Days: 1})
		s.visit(t, 0, mail.UIDSpan(1, 2))
		if err := s.collected(t.Context(), ada, 0, 99, mail.UIDs(1)); err != nil {
			t.Fatal(err)
		}
		if err := s.expunge(t.Context(), ada, mailbox.Inbox, mail.UIDs(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * day)
		s.keep(t, 1)
		if rows, err := s.rows(t.Context(), ada); err != nil || len(rows) != 0 {
			t.Errorf("marks left: %+v, %v", rows, err)
		}
	})
}

// TestLedger: visits are listed, the last one first, and not for ever.
func TestLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 0)
		s.visit(t, 0, mail.UIDSet{})
		for i := range MaxVisits + 20 {
			s.visit(t, Device(i%2), mail.UIDs(mail.UID(i+1)))
		}
		many := mail.UIDSet{}
		for i := range 20_000 {
			many.Add(mail.UID(2*i + 1))
		}
		time.Sleep(time.Second)
		s.visit(t, 3, many)
		s.keep(t, 0)
		list, err := s.Visits(t.Context(), ada, 1<<20)
		if err != nil || len(list) != MaxVisits || list[0].Device != 3 || list[0].Collected != 20_000 || list[0].Boxes != nil || list[0].From != home {
			t.Fatalf("%d visits, the last %+v, %v", len(list), list[0], err)
		}
		if list[1].Boxes[0].Collected.String() != fmt.Sprint(MaxVisits+20) || list[1].Bytes != 9 || list[1].Collected != 1 {
			t.Errorf("before it %+v", list[1])
		}
		time.Sleep(KeepVisit)
		s.keep(t, 0)
		if list, err := s.Visits(t.Context(), ada, 10); err != nil || len(list) != 1 {
			t.Errorf("after a long time: %+v, %v", list, err)
		}
		time.Sleep(time.Second)
		s.keep(t, 0)
		if list, err := s.Visits(t.Context(), ada, 10); err != nil || len(list) != 0 {
			t.Errorf("at last: %+v, %v", list, err)
		}
	})
}

// TestPrune: marks of messages that are long gone go at the next visit.
func TestPrune(t *testing.T) {
	s := newStore(t, 0)
	if err := s.collected(t.Context(), ada, 1, mailbox.Inbox, mail.UIDSpan(1, 5000)); err != nil {
		t.Fatal(err)
	}
	x := BoxVisit{Mailbox: mailbox.Inbox, Collected: mail.UIDs(5001), There: mail.UIDs(1500, 5001), Next: 5200}
	if err := s.Visited(t.Context(), ada, Visit{Device: 1, Boxes: []BoxVisit{x}}); err != nil {
		t.Fatal(err)
	}
	rows, err := s.rows(t.Context(), ada)
	if err != nil || len(rows) != 2 || rows[0].first != 1024 || rows[1].first != 4096 {
		t.Errorf("%d rows are left, %v", len(rows), err)
	}
}

func TestPolicies(t *testing.T) {
	s := newStore(t, 0)
	if p, err := s.Policies(t.Context(), ada); p != nil || err != nil || !reflect.DeepEqual(p.Of(3), Policy{}) {
		t.Error(p, err)
	}
	want := Policy{After: KeepDays, Days: 30, Removal: Hide, Newest: 5, Since: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC), Unread: true, Mailboxes: []mail.MailboxID{1, 3}}
	s.set(t, 3, want)
	p, err := s.Policies(t.Context(), ada)
	if err != nil || !reflect.DeepEqual(p.Of(3), want) || !reflect.DeepEqual(p.Of(4), Policy{}) {
		t.Error(p, err)
	}
	for _, bad := range []Policy{{After: KeepDays}, {After: KeepDays, Days: MaxDays + 1}, {Newest: -1}, {Mailboxes: make([]mail.MailboxID, MaxMailboxes+1)}} {
		if err := s.SetPolicy(t.Context(), ada, 0, bad); !errors.Is(err, mail.ErrLimit) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// TestManyMarks: more messages than one commit marks, at the end of all UIDs too.
func TestManyMarks(t *testing.T) {
	s := newStore(t, 0)
	set := mail.UIDSpan(1, 100_000).Union(mail.UIDSpan(^mail.UID(0)-5, ^mail.UID(0)))
	if err := s.Remove(t.Context(), ada, 1, mailbox.Inbox, set, Hide); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Hidden(t.Context(), ada, 1, mailbox.Inbox); err != nil || !got.Equal(set) {
		t.Errorf("hidden are %v, %v", got, err)
	}
}

// FuzzRows: what can be read is written so that it is read alike.
func FuzzRows(f *testing.F) {
	f.Add(byte(0), (&Policy{After: KeepDays, Days: 3, Since: time.Unix(1e9, 0), Mailboxes: []mail.MailboxID{4}}).append(nil))
	f.Add(byte(1), marks{3: {5, true}, 4: {5, true}, 1023: {0, true}}.append(nil))
	v := Visit{From: home, Collected: 2, Bytes: 3}
	f.Add(byte(2), v.append(nil, []BoxVisit{{Mailbox: 1, Collected: mail.UIDs(1, 5), Removed: mail.UIDs(9)}}))
	f.Fuzz(func(t *testing.T, kind byte, raw []byte) {
		switch kind % 3 {
		case 0:
			if p, err := decodePolicy(raw); err == nil {
				again, err := decodePolicy(p.append(nil))
				if err != nil || !reflect.DeepEqual(again, p) {
					t.Fatalf("%+v became %+v, %v", p, again, err)
				}
			}
		case 1:
			if m, err := decodeMarks(raw); err == nil {
				for i, v := range m {
					if v.at < 0 {
						delete(m, i)
					}
				}
				again, err := decodeMarks(m.append(nil))
				if err != nil || !reflect.DeepEqual(again, m) {
					t.Fatalf("%+v became %+v, %v", m, again, err)
				}
			}
		case 2:
			if v, err := decodeVisit(raw); err == nil {
				again, err := decodeVisit(v.append(nil, v.Boxes))
				if err != nil || !reflect.DeepEqual(again, v) {
					t.Fatalf("%+v became %+v, %v", v, again, err)
				}
			}
		}
	})
}
