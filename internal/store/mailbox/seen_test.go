package mailbox

import (
	"math/rand/v2"
	"slices"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// TestRuns changes a block at random, against a map.
func TestRuns(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []uint32{0, 5, 1<<23 - 1} {
		type cell struct {
			seen bool
			seq  mail.ModSeq
		}
		want := map[mail.UID]cell{}
		var l runs
		there := inBlock(n)
		base := mail.UID(n) * seenBlock
		for seq := mail.ModSeq(1); seq < 300; seq++ {
			var set mail.UIDSet
			for range r.IntN(4) {
				first := max(base+mail.UID(r.IntN(seenBlock)), 1)
				set = set.Union(mail.UIDSpan(first, first+mail.UID(r.IntN(9))).Intersect(inBlock(n)))
			}
			gone := base + mail.UID(r.IntN(seenBlock))
			there.Remove(gone)
			delete(want, gone)
			seen := r.IntN(2) == 0
			for u := range set.Intersect(there).All() {
				want[u] = cell{seen, seq}
			}
			var err error
			if l, err = decodeRuns(n, l.set(n, set, seen, seq, there).append(nil)); err != nil {
				t.Fatal(err)
			}
			for u := range inBlock(n).All() {
				if s, q := l.at(u); s != want[u].seen || q != want[u].seq {
					t.Fatalf("block %d, message %d: %v %d, want %+v", n, u, s, q, want[u])
				}
			}
		}
		if n := len(l.append(nil)); n > 4096 {
			t.Errorf("a row of %d bytes", n)
		}
	}
}

// TestSeenIsTidied looks that what a reader has seen of messages that are gone is
// forgotten when the log is folded, and that a mailbox from before there were own
// states reads as common.
func TestSeenIsTidied(t *testing.T) {
	s := newStore(t, 0, 0)
	withBob(t, s, 0)
	p := prepare(t, s, letter("x", "1", ""))
	var many []Incoming
	for range 3 * seenBlock {
		many = append(many, Incoming{Prepared: p})
	}
	for some := range slices.Chunk(many, seenBlock) {
		if _, err := s.AppendMessages(t.Context(), ada, Inbox, some...); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Grant(t.Context(), ada, Inbox, Grant{To: GranteeOf(bob), Rights: AllRights}, ReplaceRights); err != nil {
		t.Fatal(err)
	}
	all := mail.UIDSpan(1, ^mail.UID(0))
	if st, err := s.StoreFlags(t.Context(), ada, Inbox, all, FlagChange{Mode: AddFlags, Flags: Seen, By: bob}); err != nil || st.Changed.Len() != len(many) {
		t.Fatal(st, err)
	}
	rows := func() (n int) {
		err := s.DB.View(t.Context(), func(r kv.Reader) error {
			n = 0
			for _, err := range r.Scan(kv.Prefix(key(ada, kindSeen))) {
				if err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := rows(); n != 4 {
		t.Errorf("%d rows", n)
	}
	if _, _, err := s.Expunge(t.Context(), ada, Inbox, mail.UIDSpan(1, seenBlock+10), ExpungeAll); err != nil {
		t.Fatal(err)
	}
	if err := s.Fold(t.Context(), ada); err != nil {
		t.Fatal(err)
	}
	if n := rows(); n != 3 {
		t.Errorf("%d rows are left", n)
	}
	snap, err := s.OpenAs(t.Context(), Box{ada, Inbox}, bob)
	if err != nil || snap.Unseen() != 0 || open(t, s, Inbox).Unseen() != uint32(snap.Len()) {
		t.Error(snap.Unseen(), err)
	}
	old := Mailbox{Name: "x", ACL: ACL{{To: GranteeOf(bob), Rights: RightRead}}}
	if m, err := decodeMailbox(1, old.append(nil)); err != nil || m.SeenMode() != SeenCommon || m.OwnSeen(ada, bob) {
		t.Error(m.SeenMode(), err)
	}
}

// TestUnseenBy: what is counted without the messages is what a snapshot has.
func TestUnseenBy(t *testing.T) {
	s := newStore(t, 0, 0)
	withBob(t, s, 0)
	p := prepare(t, s, letter("x", "1", ""))
	if err := s.Grant(t.Context(), ada, Inbox, Grant{To: GranteeOf(bob), Rights: AllRights}, ReplaceRights); err != nil {
		t.Fatal(err)
	}
	same := func(step string) {
		t.Helper()
		n, last, err := s.UnseenBy(t.Context(), Box{ada, Inbox}, bob)
		if err != nil {
			t.Fatal(err)
		}
		snap, err := s.OpenAs(t.Context(), Box{ada, Inbox}, bob)
		if err != nil || n != snap.Unseen() || last != snap.Mailbox.ModSeq {
			t.Errorf("%s: %d unseen at %d, want %d at %d, %v", step, n, last, snap.Unseen(), snap.Mailbox.ModSeq, err)
		}
	}
	same("empty")
	const all = 3 * askedFor
	for range all / 100 {
		if _, err := s.AppendMessages(t.Context(), ada, Inbox, slices.Repeat([]Incoming{{Prepared: p}}, 100)...); err != nil {
			t.Fatal(err)
		}
	}
	mark := func(mode FlagMode, set mail.UIDSet) {
		t.Helper()
		if _, err := s.StoreFlags(t.Context(), ada, Inbox, set, FlagChange{Mode: mode, Flags: Seen, By: bob}); err != nil {
			t.Fatal(err)
		}
	}
	expunge := func(set mail.UIDSet) {
		t.Helper()
		if _, _, err := s.Expunge(t.Context(), ada, Inbox, set, ExpungeAll); err != nil {
			t.Fatal(err)
		}
	}
	odd := mail.UIDSet{}
	for u := mail.UID(1); u <= all; u += 2 {
		odd.Add(u)
	}
	same("nothing seen")
	mark(AddFlags, mail.UIDSpan(1, 700))
	same("some seen, all there")
	mark(RemoveFlags, mail.UIDSpan(11, 700))
	expunge(mail.UIDSpan(5, 20))
	same("few seen, some gone")
	mark(AddFlags, odd)
	same("half seen, some gone")
	mark(AddFlags, mail.UIDSpan(1, all))
	mark(RemoveFlags, mail.UIDSpan(100, 110))
	expunge(mail.UIDSpan(108, 120))
	same("few not seen, some gone")
	expunge(mail.UIDSpan(1, all))
	same("all gone")
}
