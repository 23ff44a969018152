package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/store/body"
)

const ada mail.AccountID = 7

// newStore gives a store with one account, and checks it when the test ends.
func newStore(t testing.TB, maxBytes, maxCount int64) *Store {
	db := kv.Strict(memkv.New())
	s := &Store{DB: db, Bodies: &body.Store{DB: db, Blobs: memblob.New()}}
	err := db.Update(t.Context(), kv.Plan{Locks: []kv.Lock{Lock(ada)}}, func(tx kv.Tx) error {
		return s.Create(tx, ada, maxBytes, maxCount)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustBeSound(t, s) })
	return s
}

func mustBeSound(t testing.TB, s *Store) {
	wrong, err := s.Check(context.Background(), ada, func(_ context.Context, b *body.Reader) error {
		_, err := io.Copy(io.Discard, io.NewSectionReader(b, 0, b.Size()))
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, w := range wrong {
		t.Error(w)
	}
}

func prepare(t testing.TB, s *Store, text string) *Prepared {
	p, err := s.PrepareMessage(t.Context(), mail.NewTraceID(time.Now()), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func letter(subject, id, refs string) string {
	s := "From: Ada <ada@example.org>\r\nSubject: " + subject + "\r\nMessage-ID: <" + id + ">\r\n"
	if refs != "" {
		s += "References: <" + refs + ">\r\n"
	}
	return s + "\r\nHello.\r\n"
}

func add(t testing.TB, s *Store, box mail.MailboxID, text string, f Flags, keywords ...string) Appended {
	out, err := s.AppendMessages(t.Context(), ada, box, Incoming{Prepared: prepare(t, s, text), Flags: f, Keywords: keywords})
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

func open(t testing.TB, s *Store, box mail.MailboxID) *Snapshot {
	snap, err := s.Open(t.Context(), ada, box)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func TestFirstMailboxes(t *testing.T) {
	s := newStore(t, 0, 0)
	list, seq, err := s.Mailboxes(t.Context(), ada)
	if err != nil || seq != 1 || len(list) != len(firstMailboxes) {
		t.Fatal(list, seq, err)
	}
	if list[0].ID != Inbox || list[0].Name != InboxName || list[0].Role != InboxRole {
		t.Error("the first mailbox is", list[0])
	}
	subs, err := s.Subscriptions(t.Context(), ada)
	if err != nil || len(subs) != len(list) {
		t.Error("subscribed to", subs, err)
	}
}

func TestAppendAndRead(t *testing.T) {
	s := newStore(t, 0, 0)
	date := time.Date(2020, 2, 3, 4, 5, 6, 0, time.FixedZone("", 5*3600+1800))
	text := letter("Tea", "a@x", "")
	out, err := s.AppendMessages(t.Context(), ada, Inbox, Incoming{Prepared: prepare(t, s, text), Flags: Seen, Keywords: []string{"$Label1"}, Date: date})
	if err != nil {
		t.Fatal(err)
	}
	snap := open(t, s, Inbox)
	if snap.Len() != 1 || snap.Mailbox.Total != 1 || snap.Mailbox.Unseen != 0 || snap.Mailbox.UIDNext != 2 {
		t.Fatal("after one append:", snap.Mailbox)
	}
	row := snap.At(0)
	if !row.Date().Equal(date) || row.Date().Format("-0700") != "+0530" || row.Size != int64(len(text)) || row.UID != out[0].UID {
		t.Error("row is", row, row.Date())
	}
	if row.Flags.System() != Seen || !slices.Equal(snap.Names(row.Flags), []string{"$Label1"}) {
		t.Error("flags are", row.Flags, snap.Names(row.Flags))
	}
	recs, err := s.Records(t.Context(), ada, []mail.EmailID{row.Email, 999})
	if err != nil || recs[1].Envelope != nil {
		t.Fatal(err)
	}
	if got, ok := recs[0].Fields(nil, "subject", "message-id"); !ok || string(got) != "Subject: Tea\r\nMessage-ID: <a@x>\r\n" {
		t.Errorf("fields are %q", got)
	}
	if _, ok := recs[0].Fields(nil, "received"); ok {
		t.Error("a field that is not kept was found")
	}
	b, err := s.OpenEmail(t.Context(), ada, row.Email)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil || string(got) != text {
		t.Errorf("bytes are %q, %v", got, err)
	}
}

func TestRecordTooLargeForARow(t *testing.T) {
	s := newStore(t, 0, 0)
	text := "To: " + strings.Repeat("somebody@example.org, ", 8000) + "x@example.org\r\nSubject: many\r\n\r\nbody\r\n"
	a := add(t, s, Inbox, text, 0)
	recs, err := s.Records(t.Context(), ada, []mail.EmailID{a.Email})
	if err != nil {
		t.Fatal(err)
	}
	if len(recs[0].Envelope) < 100_000 || !strings.Contains(string(recs[0].Envelope), "many") {
		t.Error("the envelope of a large record is cut:", len(recs[0].Envelope))
	}
}

func TestQuotaIsExact(t *testing.T) {
	text := letter("Tea", "a@x", "")
	size := int64(len(text))
	s := newStore(t, 3*size, 0)
	a := add(t, s, Inbox, text, 0)
	add(t, s, Inbox, text, 0)
	if _, err := s.Copy(t.Context(), ada, Inbox, 2, mail.UIDs(1)); err != nil {
		t.Fatal(err)
	}
	_, err := s.AppendMessages(t.Context(), ada, Inbox, Incoming{Prepared: prepare(t, s, text)})
	if !errors.Is(err, mail.ErrOverQuota) {
		t.Error("append over quota:", err)
	}
	if _, err := s.Copy(t.Context(), ada, Inbox, 2, mail.UIDs(1)); !errors.Is(err, mail.ErrOverQuota) {
		t.Error("copy over quota:", err)
	}
	if _, err := s.Move(t.Context(), ada, Inbox, 2, mail.UIDs(1)); err != nil {
		t.Error("a move needs no room:", err)
	}
	if _, _, err := s.Expunge(t.Context(), ada, 2, mail.UIDSpan(1, 100), ExpungeAll); err != nil {
		t.Fatal(err)
	}
	u, err := s.Usage(t.Context(), ada)
	if err != nil || u.Bytes != size || u.Messages != 1 {
		t.Error("usage is", u, err)
	}
	_ = a
}

func TestThreads(t *testing.T) {
	s := newStore(t, 0, 0)
	a := add(t, s, Inbox, letter("Tea", "a@x", ""), 0)
	b := add(t, s, Inbox, letter("Re: Tea", "b@x", "a@x"), 0)
	c := add(t, s, Inbox, letter("Re: tea", "c@x", "b@x"), 0)
	other := add(t, s, Inbox, letter("Coffee", "d@x", "a@x"), 0)
	alone := add(t, s, Inbox, "Subject: Tea\r\n\r\n", 0)
	if a.Thread != b.Thread || b.Thread != c.Thread {
		t.Error("replies are in threads", a.Thread, b.Thread, c.Thread)
	}
	if other.Thread == a.Thread || alone.Thread == a.Thread {
		t.Error("strangers are in the thread")
	}
	// The reply may come first.
	r := add(t, s, Inbox, letter("Re: Cake", "r@x", "p@x"), 0)
	p := add(t, s, Inbox, letter("Cake", "p@x", ""), 0)
	if r.Thread != p.Thread {
		t.Error("a parent that comes late is in another thread")
	}
}

func TestConditionalStore(t *testing.T) {
	s := newStore(t, 0, 0)
	for i := range 3 {
		add(t, s, Inbox, letter("x", fmt.Sprint(i), ""), 0)
	}
	before := open(t, s, Inbox).Mailbox.ModSeq
	st, err := s.StoreFlags(t.Context(), ada, Inbox, mail.UIDs(2), FlagChange{Mode: AddFlags, Flags: Flagged})
	if err != nil || st.Changed.String() != "2" {
		t.Fatal(st, err)
	}
	st, err = s.StoreFlags(t.Context(), ada, Inbox, mail.UIDSpan(1, 3), FlagChange{Mode: AddFlags, Flags: Seen, Conditional: true, UnchangedSince: before})
	if err != nil || st.Changed.String() != "1,3" || st.Failed.String() != "2" {
		t.Error("conditional store:", st.Changed, st.Failed, err)
	}
}

func TestMailboxNames(t *testing.T) {
	s := newStore(t, 0, 0)
	ctx := t.Context()
	if _, err := s.CreateMailbox(ctx, ada, "a/b/c", NoRole); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateMailbox(ctx, ada, "a/b", NoRole); !errors.Is(err, mail.ErrExists) {
		t.Error("parents are made:", err)
	}
	if err := s.DeleteMailbox(ctx, ada, "a"); err != nil {
		t.Fatal(err)
	}
	m, err := s.Lookup(ctx, ada, "a")
	if err != nil || !m.Placeholder {
		t.Error("a deleted parent is", m, err)
	}
	if _, err := s.Open(ctx, ada, m.ID); !errors.Is(err, mail.ErrNotFound) {
		t.Error("a placeholder was opened:", err)
	}
	if err := s.DeleteMailbox(ctx, ada, "a"); !errors.Is(err, mail.ErrInUse) {
		t.Error("a placeholder with children was deleted:", err)
	}
	if err := s.Subscribe(ctx, ada, "a/b"); err != nil {
		t.Fatal(err)
	}
	if err := s.RenameMailbox(ctx, ada, "a/b", "z/y"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup(ctx, ada, "z/y/c"); err != nil {
		t.Error("children do not follow:", err)
	}
	if subs, _ := s.Subscriptions(ctx, ada); !slices.Contains(subs, "z/y") || slices.Contains(subs, "a/b") {
		t.Error("subscriptions do not follow:", subs)
	}
	if err := s.RenameMailbox(ctx, ada, "z", "z/q"); !errors.Is(err, mail.ErrInUse) {
		t.Error("renamed below itself:", err)
	}
	if err := s.RenameMailbox(ctx, ada, "z", InboxName); !errors.Is(err, mail.ErrExists) {
		t.Error("renamed onto another:", err)
	}
	old, _ := s.Lookup(ctx, ada, "z/y/c")
	if err := s.DeleteMailbox(ctx, ada, "z/y/c"); err != nil {
		t.Fatal(err)
	}
	fresh, err := s.CreateMailbox(ctx, ada, "z/y/c", NoRole)
	if err != nil || fresh.UIDValidity <= old.UIDValidity || fresh.ID == old.ID {
		t.Error("made again:", old, fresh, err)
	}
	add(t, s, Inbox, letter("x", "1", ""), 0)
	if err := s.RenameMailbox(ctx, ada, InboxName, "old mail"); err != nil {
		t.Fatal(err)
	}
	m, _ = s.Lookup(ctx, ada, "old mail")
	if open(t, s, m.ID).Len() != 1 || open(t, s, Inbox).Len() != 0 {
		t.Error("renaming INBOX does not move its messages")
	}
}

func TestParseName(t *testing.T) {
	for in, want := range map[string]string{
		"inbox": "INBOX", "InBox/a": "INBOX/a", "e\u0301": "é", "inboxes": "inboxes", "a b&\"\\": "a b&\"\\",
		"": "", "/": "", "a//b": "", "a/": "", "/a": "", "a\x00b": "", "a\r\nb": "", "\xff": "", strings.Repeat("x", MaxName+1): "",
		strings.Repeat("a/", MaxDepth) + "a": "",
	} {
		got, err := ParseName(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("ParseName(%q) = %q, %v", in, got, err)
		}
	}
}

// A modelMessage is a message as a naive mailbox has it.
type modelMessage struct {
	uid      mail.UID
	flags    Flags
	keywords map[string]bool
	body     string
	modseq   mail.ModSeq
}

// TestAgainstModel runs random operations on two stores over the same rows (one
// keeps its snapshots, the other reads all anew) and on a naive model.
func TestAgainstModel(t *testing.T) {
	for run := range 12 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(run), func(t *testing.T) {
			t.Logf("seed %d", seed)
			runModel(t, rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

type model struct {
	t     *testing.T
	r     *rand.Rand
	s     *Store
	boxes [3][]modelMessage
	next  [3]mail.UID
	last  *[3]*Snapshot
}

func runModel(t *testing.T, r *rand.Rand) {
	m := &model{t: t, r: r, s: newStore(t, 0, 0), next: [3]mail.UID{1, 1, 1}, last: new([3]*Snapshot)}
	steps := []func(){m.append, m.append, m.append, m.append, m.store, m.store, m.store, m.expunge, m.copy, m.move, m.look, m.look, m.fold}
	for range 400 {
		steps[r.IntN(len(steps))]()
	}
	for b := range m.boxes {
		m.compare(b)
		m.compareTo(b, &Store{DB: m.s.DB, Bodies: m.s.Bodies})
	}
	if _, err := m.s.Reap(t.Context(), ada, Keep{Since: time.Now().Add(time.Hour)}); err != nil {
		t.Error(err)
	}
}

func id(b int) mail.MailboxID { return mail.MailboxID(b + 1) }

func (m *model) append() {
	b := m.r.IntN(3)
	text := letter("n", fmt.Sprint(m.r.IntN(50)), fmt.Sprint(m.r.IntN(50))) + strings.Repeat("x", m.r.IntN(3000))
	var kw []string
	if m.r.IntN(3) == 0 {
		kw = []string{fmt.Sprint("k", m.r.IntN(8))}
	}
	f := Flags(m.r.IntN(32))
	a := add(m.t, m.s, id(b), text, f, kw...)
	if a.UID != m.next[b] {
		m.t.Fatalf("UID %d given, %d is next", a.UID, m.next[b])
	}
	m.boxes[b] = append(m.boxes[b], modelMessage{uid: a.UID, flags: f, keywords: setOf(kw), body: text, modseq: a.ModSeq})
	m.next[b]++
}

func setOf(names []string) map[string]bool {
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out
}

// some gives a random set of UIDs, with some that are not there.
func (m *model) some(b int) mail.UIDSet {
	var set mail.UIDSet
	for range m.r.IntN(4) {
		first := mail.UID(1 + m.r.IntN(int(m.next[b])+2))
		set.AddRange(first, first+mail.UID(m.r.IntN(20)))
	}
	return set
}

func (m *model) store() {
	b := m.r.IntN(3)
	set := m.some(b)
	c := FlagChange{Mode: FlagMode(m.r.IntN(3)), Flags: Flags(m.r.IntN(32))}
	if m.r.IntN(2) == 0 {
		c.Keywords = []string{fmt.Sprint("K", m.r.IntN(8))}
	}
	if m.r.IntN(4) == 0 && len(m.boxes[b]) > 0 {
		c.Conditional, c.UnchangedSince = true, m.boxes[b][m.r.IntN(len(m.boxes[b]))].modseq
	}
	st, err := m.s.StoreFlags(m.t.Context(), ada, id(b), set, c)
	if err != nil {
		m.t.Fatal(err)
	}
	var changed, failed mail.UIDSet
	for i := range m.boxes[b] {
		msg := &m.boxes[b][i]
		if !set.Contains(msg.uid) {
			continue
		}
		if c.Conditional && msg.modseq > c.UnchangedSince {
			failed.Add(msg.uid)
		} else if msg.change(c) {
			changed.Add(msg.uid)
			msg.modseq = st.ModSeq
		}
	}
	if !changed.Equal(st.Changed) || !failed.Equal(st.Failed) {
		m.t.Fatalf("store %v %+v: changed %v failed %v, want %v %v", set, c, st.Changed, st.Failed, changed, failed)
	}
}

func (msg *modelMessage) change(c FlagChange) bool {
	before, n := msg.flags, len(msg.keywords)
	had := setOf(nil)
	for k := range msg.keywords {
		had[k] = true
	}
	switch c.Mode {
	case ReplaceFlags:
		msg.flags, msg.keywords = c.Flags, map[string]bool{}
		for _, k := range c.Keywords {
			msg.keywords[strings.ToLower(k)] = true
		}
	case AddFlags:
		msg.flags |= c.Flags
		for _, k := range c.Keywords {
			msg.keywords[strings.ToLower(k)] = true
		}
	case RemoveFlags:
		msg.flags &^= c.Flags
		for _, k := range c.Keywords {
			delete(msg.keywords, strings.ToLower(k))
		}
	}
	if msg.flags != before || len(msg.keywords) != n {
		return true
	}
	for k := range msg.keywords {
		if !had[k] {
			return true
		}
	}
	return false
}

func (m *model) expunge() {
	b := m.r.IntN(3)
	set := m.some(b)
	mode := ExpungeMode(m.r.IntN(2))
	since := open(m.t, m.s, id(b)).ModSeq
	gone, _, err := m.s.Expunge(m.t.Context(), ada, id(b), set, mode)
	if err != nil {
		m.t.Fatal(err)
	}
	var want mail.UIDSet
	m.boxes[b] = slices.DeleteFunc(m.boxes[b], func(msg modelMessage) bool {
		out := set.Contains(msg.uid) && (mode == ExpungeAll || msg.flags&Deleted != 0)
		if out {
			want.Add(msg.uid)
		}
		return out
	})
	if !want.Equal(gone) {
		m.t.Fatalf("expunged %v, want %v", gone, want)
	}
	vanished, ok, err := m.s.Vanished(m.t.Context(), ada, id(b), since)
	if err != nil || !ok || !vanished.Equal(want) {
		m.t.Fatalf("vanished %v %v %v, want %v", vanished, ok, err, want)
	}
}

func (m *model) transfer(do func(context.Context, mail.AccountID, mail.MailboxID, mail.MailboxID, mail.UIDSet) (Copied, error), keep bool) {
	from, to := m.r.IntN(3), m.r.IntN(3)
	if !keep && from == to {
		return
	}
	set := m.some(from)
	c, err := do(m.t.Context(), ada, id(from), id(to), set)
	if err != nil {
		m.t.Fatal(err)
	}
	var moved []modelMessage
	rest := m.boxes[from][:0:0]
	var src mail.UIDSet
	for _, msg := range m.boxes[from] {
		if set.Contains(msg.uid) {
			src.Add(msg.uid)
			n := msg
			n.keywords = map[string]bool{}
			for k := range msg.keywords {
				n.keywords[k] = true
			}
			n.uid, n.modseq = m.next[to], c.ModSeq
			m.next[to]++
			moved = append(moved, n)
		} else {
			rest = append(rest, msg)
		}
	}
	if !keep {
		m.boxes[from] = rest
	}
	m.boxes[to] = append(m.boxes[to], moved...)
	if !c.From.Equal(src) || c.To.Len() != len(moved) {
		m.t.Fatalf("copied %v to %v, want %v", c.From, c.To, src)
	}
}

func (m *model) copy() {
	if m.r.IntN(3) == 0 {
		m.transfer(m.s.Copy, true)
	}
}
func (m *model) move() { m.transfer(m.s.Move, false) }

func (m *model) look() { m.compare(m.r.IntN(3)) }

func (m *model) fold() {
	if err := m.s.Fold(m.t.Context(), ada); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) compare(b int) { m.compareTo(b, m.s) }

func (m *model) compareTo(b int, s *Store) {
	snap := open(m.t, s, id(b))
	if snap.Len() != len(m.boxes[b]) || snap.Mailbox.UIDNext != m.next[b] {
		m.t.Fatalf("mailbox %d has %d messages, next %d; want %d, %d", b, snap.Len(), snap.Mailbox.UIDNext, len(m.boxes[b]), m.next[b])
	}
	for i, row := range snap.Rows(0) {
		want := m.boxes[b][i]
		if at, ok := snap.Index(row.UID); !ok || at != i || snap.At(i) != row {
			m.t.Fatalf("index of UID %d is %d, %v", row.UID, at, ok)
		}
		kw := setOf(nil)
		for _, k := range snap.Names(row.Flags) {
			kw[strings.ToLower(k)] = true
		}
		if row.UID != want.uid || row.Flags.System() != want.flags || row.ModSeq != want.modseq || fmt.Sprint(kw) != fmt.Sprint(want.keywords) {
			m.t.Fatalf("mailbox %d message %d is %d %b %d %v, want %d %b %d %v", b, i, row.UID, row.Flags.System(), row.ModSeq, kw, want.uid, want.flags, want.modseq, want.keywords)
		}
		if m.r.IntN(20) == 0 {
			rd, err := s.OpenEmail(m.t.Context(), ada, row.Email)
			if err != nil {
				m.t.Fatal(err)
			}
			got, _ := io.ReadAll(io.NewSectionReader(rd, 0, rd.Size()))
			if string(got) != want.body {
				m.t.Fatalf("message %d has other bytes", row.UID)
			}
		}
	}
}

func TestReapForgetsOnlyTheDead(t *testing.T) {
	s := newStore(t, 0, 0)
	a := add(t, s, Inbox, letter("x", "1", ""), 0)
	b := add(t, s, Inbox, letter("y", "2", ""), 0)
	if _, err := s.Copy(t.Context(), ada, Inbox, 2, mail.UIDs(b.UID)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Expunge(t.Context(), ada, Inbox, mail.UIDSpan(1, 9), ExpungeAll); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Reap(t.Context(), ada, Keep{Since: time.Now().Add(-time.Hour)}); n != 0 || err != nil {
		t.Error("reaped before its time:", n, err)
	}
	if _, err := s.Reap(t.Context(), ada, Keep{Since: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenEmail(t.Context(), ada, a.Email); !errors.Is(err, mail.ErrNotFound) {
		t.Error("a dead email is still there:", err)
	}
	if _, err := s.OpenEmail(t.Context(), ada, b.Email); err != nil {
		t.Error("a copy lost its email:", err)
	}
}
