package mailbox

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"posthaste/internal/base/mail"
)

func arrivalsOf(t testing.TB, s *Store, box mail.MailboxID, ids ...string) (list []Arrival) {
	for _, id := range ids {
		list = append(list, Arrival{ID: ArrivalOf(id), Mailbox: box, Incoming: Incoming{Prepared: prepare(t, s, letter(id, id+"@x", "")), Flags: Seen}})
	}
	return list
}

func bring(t testing.TB, s *Store, o Origin, want int, list ...Arrival) {
	t.Helper()
	n, _, err := s.Bring(t.Context(), ada, o, list)
	if err != nil || n != want {
		t.Fatalf("%d were added, want %d: %v", n, want, err)
	}
}

// TestBring: what was brought is not brought again, whatever became of it here;
// flags and deletions are followed where messages are still where they were put.
func TestBring(t *testing.T) {
	s := newStore(t, 0, 0)
	ctx := t.Context()
	o := OriginOf("imap:old", "INBOX")
	bring(t, s, o, 3, arrivalsOf(t, s, Inbox, "1", "2", "3")...)
	bring(t, s, o, 1, arrivalsOf(t, s, Inbox, "1", "2", "3", "4")...)
	bring(t, s, OriginOf("imap:old", "Other"), 1, arrivalsOf(t, s, Inbox, "1")...)
	known, err := s.Arrived(ctx, ada, o, []ArrivalID{ArrivalOf("4"), ArrivalOf("5")})
	if err != nil || !slices.Equal(known, []bool{true, false}) {
		t.Error(known, err)
	}
	if _, _, err := s.Expunge(ctx, ada, Inbox, mail.UIDs(2), ExpungeAll); err != nil {
		t.Fatal(err)
	}
	bring(t, s, o, 0, arrivalsOf(t, s, Inbox, "2")...)

	n, err := s.FollowFlags(ctx, ada, o, []ArrivalFlags{{ID: ArrivalOf("1"), Flags: Seen | Flagged, Keywords: []string{"work"}}, {ID: ArrivalOf("2")}, {ID: ArrivalOf("3"), Flags: Seen}, {ID: ArrivalOf("9")}})
	if err != nil || n != 1 {
		t.Error(n, "changed", err)
	}
	snap := open(t, s, Inbox)
	if r := snap.Find(1); r.Flags.System() != Seen|Flagged || !slices.Equal(snap.Names(r.Flags), []string{"work"}) {
		t.Error("flags are", r.Flags)
	}

	to, err := s.CreateMailbox(ctx, ada, "Elsewhere", NoRole)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Move(ctx, ada, Inbox, to.ID, mail.UIDs(3)); err != nil {
		t.Fatal(err)
	}
	gone, err := s.FollowDeletions(ctx, ada, o, func(id ArrivalID) bool { return id == ArrivalOf("1") })
	if err != nil || gone != 1 {
		t.Error(gone, "gone,", err)
	}
	if u := open(t, s, Inbox).UIDs(); !u.Equal(mail.UIDs(1, 5)) {
		t.Error("left are", u)
	}
	if open(t, s, to.ID).Len() != 1 {
		t.Error("what was moved here has gone")
	}
}

// TestFollowManyDeletions goes over more than one page.
func TestFollowManyDeletions(t *testing.T) {
	s := newStore(t, 0, 0)
	o := OriginOf("maildir:x", "a")
	p := prepare(t, s, letter("s", "x@x", ""))
	for i := 0; i < 2*arrivalPage+10; i += 500 {
		var list []Arrival
		for j := i; j < min(i+500, 2*arrivalPage+10); j++ {
			list = append(list, Arrival{ID: ArrivalOf(fmt.Sprint(j)), Mailbox: Inbox, Incoming: Incoming{Prepared: p}})
		}
		bring(t, s, o, len(list), list...)
	}
	kept := ArrivalOf("77")
	gone, err := s.FollowDeletions(t.Context(), ada, o, func(id ArrivalID) bool { return id == kept })
	if err != nil || gone != 2*arrivalPage+9 || open(t, s, Inbox).Len() != 1 {
		t.Error(gone, err)
	}
}

// TestKeywordsThatDoNotFit: a mailbox with too many keywords still takes mail.
func TestKeywordsThatDoNotFit(t *testing.T) {
	s := newStore(t, 0, 0)
	list := arrivalsOf(t, s, Inbox, "1")
	for i := range MaxKeywords + 5 {
		list[0].Keywords = append(list[0].Keywords, fmt.Sprint("k", i))
	}
	n, dropped, err := s.Bring(t.Context(), ada, Origin{}, list)
	if n != 1 || dropped != 5 || err != nil {
		t.Error(n, dropped, err)
	}
}

func TestOpenMove(t *testing.T) {
	s := newStore(t, 0, 0)
	ctx := t.Context()
	find := func(e *Edit) (mail.MailboxID, error) {
		m, err := e.CreateMailbox("Old", NoRole)
		return m.ID, err
	}
	m, err := s.OpenMove(ctx, ada, Move{Source: "a", Folder: "b", Mark: "1"}, false, find)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.OpenMove(ctx, ada, Move{Source: "a", Folder: "b", Mark: "2"}, false, find)
	if err != nil || again != m {
		t.Fatal(again, err)
	}
	if err := s.DeleteMailbox(ctx, ada, "Old"); err != nil {
		t.Fatal(err)
	}
	third, err := s.OpenMove(ctx, ada, Move{Source: "a", Folder: "b", Mark: "2"}, false, find)
	if err != nil || third.Mailbox == m.Mailbox || third.Mark != "1" {
		t.Fatal(third, err)
	}
}

// TestShareMove: what has a folder made by the move comes alone, without what the
// mailbox above gives; what is given here meanwhile stays until it is said to go.
func TestShareMove(t *testing.T) {
	s := newStore(t, 0, 0)
	ctx := t.Context()
	if _, err := s.CreateMailbox(ctx, ada, "Work", NoRole); err != nil {
		t.Fatal(err)
	}
	work, err := s.Lookup(ctx, ada, "Work")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Grant(ctx, ada, work.ID, Grant{To: 7, Rights: AllRights}, ReplaceRights); err != nil {
		t.Fatal(err)
	}
	had, err := s.OpenMove(ctx, ada, Move{Source: "a", Folder: "w", Mark: "1"}, true, func(e *Edit) (mail.MailboxID, error) { return e.Named("Work/Secret") })
	if err != nil {
		t.Fatal(err)
	}
	want := func(l ACL) {
		t.Helper()
		m, err := s.Mailbox(ctx, ada, had.Mailbox)
		if err != nil || !slices.Equal(m.ACL, l) {
			t.Errorf("%+v, want %+v: %v", m.ACL, l, err)
		}
	}
	want(nil)
	if work, err = s.Mailbox(ctx, ada, work.ID); err != nil || len(work.ACL) != 1 {
		t.Error("the mailbox above has lost its rights", work.ACL, err)
	}
	share := func(only bool, rights ...Grant) {
		t.Helper()
		if err := s.ShareMove(ctx, ada, "a", "w", rights, only); err != nil {
			t.Fatal(err)
		}
	}
	bob, eve := Grant{To: 8, Rights: RightLookup}, Grant{To: 9, Rights: RightRead, Takes: true}
	share(false, bob)
	want(ACL{bob})
	share(false, eve)
	want(ACL{bob, eve})
	share(true, eve)
	want(ACL{eve})
	if m, err := s.FindMove(ctx, ada, "a", "w"); err != nil || !m.Shared || m.Mark != "1" {
		t.Error(m, err)
	}
	if err := s.ShareMove(ctx, ada, "a", "other", nil, true); !errors.Is(err, mail.ErrNotFound) {
		t.Error(err)
	}
	share(true)
	want(nil)
}

// FuzzMove: what is read is written alike.
func FuzzMove(f *testing.F) {
	m := Move{"imap:a", "INBOX", "77", 3, false}
	f.Add(m.append(nil))
	m.Shared = true
	f.Add(m.append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := decodeMove(raw); err == nil {
			if again, err := decodeMove(m.append(nil)); err != nil || again != m {
				t.Fatal(m, again, err)
			}
		}
		if a, err := decodeArrival(raw); err == nil {
			if again, err := decodeArrival(a.append(nil)); err != nil || again != a {
				t.Fatal(a, again, err)
			}
		}
	})
}
