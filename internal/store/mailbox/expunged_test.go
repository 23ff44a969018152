package mailbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

func every(*Expunged) bool { return true }

func expunged(t testing.TB, s *Store) []Expunged {
	t.Helper()
	out, err := s.Expunged(t.Context(), ada, 1<<20, every)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func expunge(t testing.TB, s *Store, box mail.MailboxID, set mail.UIDSet) {
	t.Helper()
	if _, _, err := s.Expunge(t.Context(), ada, box, set, ExpungeAll); err != nil {
		t.Fatal(err)
	}
}

func restore(t testing.TB, s *Store, want func(*Expunged) bool, n int) {
	t.Helper()
	if got, err := s.Restore(t.Context(), ada, want); err != nil || got != n {
		t.Fatalf("restored %d, %v; want %d", got, err, n)
	}
}

// TestRestore: a message comes back with flags, keywords and date, under a new
// UID, and costs quota again.
func TestRestore(t *testing.T) {
	s := newStore(t, 0, 0)
	date := time.Date(2001, 2, 3, 4, 5, 6, 0, time.FixedZone("", 3600))
	in := Incoming{Prepared: prepare(t, s, letter("one", "1@x", "")), Flags: Seen | Flagged, Keywords: []string{"blue", "$Work"}, Date: date, UIDL: "old-1"}
	if _, err := s.AppendMessages(t.Context(), ada, Inbox, in); err != nil {
		t.Fatal(err)
	}
	two := add(t, s, Inbox, letter("two", "2@x", ""), 0)
	before, _ := s.Usage(t.Context(), ada)
	expunge(t, s, Inbox, mail.UIDSpan(1, 2))
	if u, _ := s.Usage(t.Context(), ada); u.Bytes != 0 || u.Expunged != before.Bytes {
		t.Errorf("after the expunge: %+v", u)
	}
	list := expunged(t, s)
	if len(list) != 2 || list[1].String() != "1.1" || list[1].Name != InboxName || !list[1].Date.Equal(date) || list[1].Flags != Seen|Flagged ||
		!slices.Equal(list[1].Keywords, []string{"blue", "$Work"}) || list[0].Email != two.Email {
		t.Fatalf("expunged: %+v", list)
	}
	restore(t, s, func(x *Expunged) bool { return x.UID == 1 }, 1)
	restore(t, s, func(x *Expunged) bool { return x.UID == 1 }, 0)
	snap := open(t, s, Inbox)
	if snap.Len() != 1 {
		t.Fatal("INBOX has", snap.Len())
	}
	r := snap.At(0)
	if r.UID != 3 || r.Flags.System() != Seen|Flagged || !slices.Equal(snap.Names(r.Flags), []string{"blue", "$Work"}) || !r.Date().Equal(date) {
		t.Errorf("came back as %+v", r)
	}
	if ids, err := s.UIDLs(t.Context(), ada); err != nil || ids[r.Email] != "old-1" {
		t.Errorf("unique ids %v, %v", ids, err)
	}
	if got := expunged(t, s); len(got) != 1 || got[0].UID != 2 {
		t.Errorf("left are %+v", got)
	}
}

// TestRestoreMailbox: a mailbox that is gone is made again, with all its mail.
func TestRestoreMailbox(t *testing.T) {
	s := newStore(t, 0, 0)
	m, err := s.CreateMailbox(t.Context(), ada, "Work/2020", NoRole)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		add(t, s, m.ID, letter("w", fmt.Sprint(i), ""), 0, "k")
	}
	if err := s.DeleteMailbox(t.Context(), ada, "Work/2020"); err != nil {
		t.Fatal(err)
	}
	restore(t, s, func(x *Expunged) bool { return x.Name == "Work/2020" }, 5)
	back, err := s.Lookup(t.Context(), ada, "Work/2020")
	if err != nil || back.Total != 5 || back.ID == m.ID {
		t.Errorf("came back as %+v, %v", back, err)
	}
	names, err := s.Subscriptions(t.Context(), ada)
	if err != nil || !slices.Contains(names, "Work/2020") {
		t.Errorf("subscribed to %v, %v", names, err)
	}
}

// TestRestoreQuota: what has no room stays where it is.
func TestRestoreQuota(t *testing.T) {
	s := newStore(t, 0, 1)
	add(t, s, Inbox, letter("one", "1", ""), 0)
	expunge(t, s, Inbox, mail.UIDs(1))
	add(t, s, Inbox, letter("two", "2", ""), 0)
	if n, err := s.Restore(t.Context(), ada, every); n != 0 || !errors.Is(err, mail.ErrOverQuota) {
		t.Errorf("restored %d, %v", n, err)
	}
	if len(expunged(t, s)) != 1 {
		t.Error("what had no room is lost")
	}
}

// TestMoveBuriesNothing: a message that was moved is not deleted.
func TestMoveBuriesNothing(t *testing.T) {
	s := newStore(t, 0, 0)
	add(t, s, Inbox, letter("one", "1", ""), 0)
	if _, err := s.Move(t.Context(), ada, Inbox, 6, mail.UIDs(1)); err != nil {
		t.Fatal(err)
	}
	if got := expunged(t, s); len(got) != 0 {
		t.Errorf("expunged: %+v", got)
	}
	if _, err := s.Reap(t.Context(), ada, Keep{Since: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
}

// TestKeep: mail is reaped when its time is over, or there is too much of it,
// the oldest first; and no body goes while a copy can still be restored.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 0, 0)
		for i := range 4 {
			add(t, s, Inbox, letter("x", fmt.Sprint(i), ""), 0)
		}
		size := open(t, s, Inbox).At(0).Size
		if _, err := s.Copy(t.Context(), ada, Inbox, 6, mail.UIDs(1)); err != nil {
			t.Fatal(err)
		}
		for uid := range mail.UID(4) {
			expunge(t, s, Inbox, mail.UIDs(uid+1))
			time.Sleep(24 * time.Hour)
		}
		expunge(t, s, 6, mail.UIDs(1)) // the copy of the first
		reap := func(k Keep, want string) {
			t.Helper()
			if _, err := s.Reap(t.Context(), ada, k); err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, x := range expunged(t, s) {
				got += x.String() + " "
			}
			if got != want {
				t.Errorf("%+v leaves %s, want %s", k, got, want)
			}
			mustBeSound(t, s)
		}
		reap(Keep{Since: time.Now().Add(-100 * time.Hour)}, "6.1 1.4 1.3 1.2 1.1 ")
		reap(Keep{Since: time.Now().Add(-80 * time.Hour)}, "6.1 1.4 1.3 1.2 ")
		reap(Keep{Since: time.Now().Add(-1000 * time.Hour), Bytes: 3 * size}, "6.1 1.4 1.3 ")
		restore(t, s, func(x *Expunged) bool { return x.Mailbox == 6 }, 1)
		reap(Keep{Since: time.Now().Add(time.Hour)}, "")
		m, err := s.Messages(t.Context(), ada, []mail.EmailID{open(t, s, 6).At(0).Email})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := m[0].Append(nil); err != nil {
			t.Errorf("the body of what was restored: %v", err)
		}
	})
}

// TestLargeExpunge: thousands at once, in rows that are not too large.
func TestLargeExpunge(t *testing.T) {
	s := newStore(t, 0, 0)
	p := prepare(t, s, letter("many", "m", ""))
	var all []Incoming
	for range 500 {
		all = append(all, Incoming{Prepared: p, Flags: Flags(rand.Uint32()).System(), Keywords: []string{"a keyword"}[:rand.IntN(2)]})
	}
	for range 10 {
		if _, err := s.AppendMessages(t.Context(), ada, Inbox, all...); err != nil {
			t.Fatal(err)
		}
	}
	before := open(t, s, Inbox)
	expunge(t, s, Inbox, mail.UIDSpan(1, 5000))
	restore(t, s, func(x *Expunged) bool { return x.UID%2 == 0 }, 2500)
	restore(t, s, every, 2500)
	after := open(t, s, Inbox)
	for i := range 5000 {
		was := before.Find(mail.UID(2*i%5000 + 2 - (2 * i / 5000)))
		if is := after.At(i); is.Flags.System() != was.Flags.System()&^Deleted || len(after.Names(is.Flags)) != len(before.Names(was.Flags)) || is.date != was.date {
			t.Fatalf("message %d came back as %+v, was %+v", i, is, was)
		}
	}
}

// TestKeepFrom: what went before a time can stay while what went after it is reaped, and
// then no body goes that the first still needs.
func TestKeepFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 0, 0)
		add(t, s, Inbox, letter("x", "1", ""), 0)
		add(t, s, Inbox, letter("x", "2", ""), 0)
		if _, err := s.Copy(t.Context(), ada, Inbox, 6, mail.UIDs(1)); err != nil {
			t.Fatal(err)
		}
		expunge(t, s, Inbox, mail.UIDs(1))
		time.Sleep(time.Hour)
		from := time.Now()
		expunge(t, s, 6, mail.UIDs(1))
		expunge(t, s, Inbox, mail.UIDs(2))
		time.Sleep(time.Hour)
		if n, err := s.Reap(t.Context(), ada, Keep{From: from, Since: time.Now()}); n != 2 || err != nil {
			t.Errorf("%d were reaped, %v", n, err)
		}
		restore(t, s, every, 1)
		if r := open(t, s, Inbox).At(0); r == nil {
			t.Error("nothing came back")
		} else if b, err := s.OpenEmail(t.Context(), ada, r.Email); err != nil {
			t.Error(err)
		} else {
			b.Close()
		}
	})
}

func TestExpungedIDs(t *testing.T) {
	if id, err := ParseExpungedID("17.4294967295"); err != nil || id != (ExpungedID{17, 4294967295}) {
		t.Error(id, err)
	}
	for _, s := range []string{"", "1", "1.", "1.2.3", "-1.2", "1.4294967296", " 1.2", "01.2"} {
		if id, err := ParseExpungedID(s); err == nil {
			t.Errorf("%q is %v", s, id)
		}
	}
}

func TestUIDLs(t *testing.T) {
	s := newStore(t, 0, 0)
	if ids, err := s.UIDLs(t.Context(), ada); ids != nil || err != nil {
		t.Error(ids, err)
	}
	for _, bad := range []string{"two words", "\x7f", "é", fmt.Sprintf("%071d", 1)} {
		if _, err := s.AppendMessages(t.Context(), ada, Inbox, Incoming{Prepared: prepare(t, s, "x"), UIDL: bad}); !errors.Is(err, mail.ErrLimit) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// FuzzGrave: what is read is written alike.
func FuzzGrave(f *testing.F) {
	g := grave{name: "INBOX", keywords: []string{"a"}, rows: []Row{{UID: 3, Email: 9, Thread: 2, Flags: Seen, Size: 100, date: 1e9, zone: -60, ends: 1, ascii: 3}, {UID: 5, Email: 4, Size: 1}}}
	f.Add(g.append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		g, err := decodeGrave(raw)
		if err != nil {
			return
		}
		again, err := decodeGrave(g.append(nil))
		if err != nil && !errors.Is(err, kv.ErrRow) || err == nil && !slices.Equal(again.rows, g.rows) {
			t.Fatalf("%+v was read again as %+v, %v", g, again, err)
		}
	})
}
