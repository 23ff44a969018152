package mailbox

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/body"
)

const bob mail.AccountID = 8

// withBob adds a second account to the store, which is checked, too.
func withBob(t *testing.T, s *Store, maxCount int64) {
	t.Helper()
	err := s.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{Lock(bob)}}, func(tx kv.Tx) error { return s.Create(tx, bob, 0, maxCount) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		wrong, err := s.Check(context.Background(), bob, func(_ context.Context, b *body.Reader) error {
			_, err := io.Copy(io.Discard, io.NewSectionReader(b, 0, b.Size()))
			return err
		})
		if err != nil || len(wrong) > 0 {
			t.Error(wrong, err)
		}
	})
}

// TestAcross moves more messages to another account than one commit takes: small
// and large ones, with keywords, and one whose record is too large for a row.
// What is left of them in the old account is then forgotten, bodies and all.
func TestAcross(t *testing.T) {
	s := newStore(t, 0, 0)
	withBob(t, s, 0)
	add(t, s, Inbox, letter("root", "a@x", ""), Seen, "word")
	add(t, s, Inbox, letter("large", "b@x", "")+strings.Repeat("many words\r\n", 20_000), Flagged)
	add(t, s, Inbox, "Subject: wide\r\nReferences: "+strings.Repeat("<somebody@somewhere.example>\r\n ", 4000)+"\r\n\r\n", 0)
	p := prepare(t, s, letter("Re: root", "c@x", "a@x"))
	for range 20 {
		var many []Incoming
		for range 60 {
			many = append(many, Incoming{Prepared: p, Keywords: []string{"other"}})
		}
		if _, err := s.AppendMessages(t.Context(), ada, Inbox, many...); err != nil {
			t.Fatal(err)
		}
	}
	old := open(t, s, Inbox)
	all := mail.UIDSpan(1, ^mail.UID(0))
	transfer := Transfer{From: Box{ada, Inbox}, To: Box{bob, Inbox}, UIDs: all, Keep: ^Flags(0)}
	c, err := s.MoveBetween(t.Context(), transfer)
	if err != nil || c.From.Len() != old.Len() || c.To.Len() != old.Len() || c.ModSeq == 0 || c.Filed == 0 {
		t.Fatalf("%d, %d of %d: %v", c.From.Len(), c.To.Len(), old.Len(), err)
	}
	if n := open(t, s, Inbox).Len(); n != 0 {
		t.Errorf("%d messages are left", n)
	}
	if _, err := s.Reap(t.Context(), ada, Keep{Since: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	now, err := s.Open(t.Context(), bob, Inbox)
	if err != nil || now.Len() != old.Len() {
		t.Fatal(now, err)
	}
	for i, r := range now.Rows(0) {
		was := old.At(i)
		if !slices.Equal(now.Names(r.Flags), old.Names(was.Flags)) || r.Flags.System() != was.Flags.System() || r.Size != was.Size || !r.Date().Equal(was.Date()) {
			t.Fatalf("message %d: %+v became %+v", i, was, r)
		}
	}
	if now.At(0).Thread != now.At(3).Thread || now.At(0).Thread == now.At(1).Thread {
		t.Error("the threads are other ones")
	}
	// Nothing goes where there is no room, and all stays where it is.
	back := Transfer{From: transfer.To, To: transfer.From, UIDs: mail.UIDs(1, 2), Keep: Seen}
	if err := s.SetLimits(t.Context(), ada, 0, 1, 0); err != nil {
		t.Fatal(err)
	}
	if c, err := s.MoveBetween(t.Context(), back); err == nil || !c.To.IsEmpty() {
		t.Error(c, err)
	}
	back.UIDs = mail.UIDs(1)
	if _, err := s.CopyBetween(t.Context(), back); err != nil {
		t.Error(err)
	}
	if snap := open(t, s, Inbox); snap.Len() != 1 || snap.At(0).Flags != Seen {
		t.Errorf("%+v", snap.At(0))
	}
	if now, err := s.Open(t.Context(), bob, Inbox); err != nil || now.Len() != old.Len() {
		t.Error("messages have gone", err)
	}
}

// TestHalfDestroyed looks that what a destroyed account has shared does not stand
// in the way of others.
func TestHalfDestroyed(t *testing.T) {
	s := newStore(t, 0, 0)
	withBob(t, s, 0)
	for _, to := range []Grantee{Anyone, Authenticated} {
		if err := s.Grant(t.Context(), bob, Inbox, Grant{To: to, Rights: RightRead}, ReplaceRights); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := s.SharedWith(t.Context(), ada); err != nil || len(list) != 1 || list[0].Owner != bob {
		t.Error(list, err)
	}
	if err := s.Remove(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	if list, err := s.SharedWith(t.Context(), ada); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
	if err := s.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{Lock(bob)}}, func(tx kv.Tx) error { return s.Create(tx, bob, 0, 0) }); err != nil {
		t.Fatal(err)
	}
}
