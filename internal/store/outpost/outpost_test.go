package outpost

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/store/mailbox"
)

func none(ID) bool { return false }

// TestRows: rows come back as they were written; cut anywhere, they are told to be bad.
func TestRows(t *testing.T) {
	o := Outpost{
		ID: 7, Account: 3, Name: "work", Created: time.Unix(1e9, 0), Protocol: IMAP, Host: "h", Port: "993", Security: TLS, User: "u", Secret: "s",
		OAuth2: &OAuth2{"url", "id", "secret", "scope"}, Folders: []string{"INBOX", "é"}, After: KeepDays, Days: 30, Mailbox: "M", Keyword: "K", Every: 7 * time.Minute, Paused: true, Unjudged: true,
		SendAs: &SendAs{mail.Address{Local: "a", Domain: "d"}, "sh", "587", StartTLS, "su", "ss", &OAuth2{"surl", "sid", "ssecret", "sscope"}, time.UnixMilli(5)},
	}
	raw := o.append(nil)
	if got, err := decode(7, raw); err != nil || !reflect.DeepEqual(got, o) {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range raw {
		if _, err := decode(7, raw[:i]); err == nil {
			t.Errorf("cut at %d it is whole", i)
		}
	}
	at := func(n int64) time.Time { return time.UnixMilli(n * 1000) }
	s := State{
		Next: at(1), Begun: at(2), Ended: at(3), Good: at(4), Proven: at(5), Fails: 6, Stopped: true, Error: "e", Idle: true, before: tally{7, 8}, Removed: 9, LastCollected: 10, Refused: 11, Refusal: "r", SendFails: 14, SendStopped: true, SendError: "se", token: 12, until: at(13),
	}
	raw = s.append(nil)
	if got, err := decodeState(raw); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range raw {
		if _, err := decodeState(raw[:i]); err == nil {
			t.Errorf("cut at %d it is whole", i)
		}
	}
}

func add(t *testing.T, s *Store, a mail.AccountID, name string) Outpost {
	t.Helper()
	o, err := s.Add(t.Context(), Outpost{Account: a, Name: name, Protocol: POP3, Security: TLS}, false)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestClaim: one at a time visits an outpost, until the lease ends or it is changed.
func TestClaim(t *testing.T) {
	s := &Store{DB: kv.Strict(memkv.New())}
	ctx := t.Context()
	a, b := add(t, s, 1, "a"), add(t, s, 1, "b")
	if _, err := s.Add(ctx, Outpost{Account: 1, Name: "A", Protocol: POP3, Security: TLS}, false); !errors.Is(err, mail.ErrExists) {
		t.Error(err)
	}
	one, next, err := s.Claim(ctx, time.Hour, room(1, none))
	if err != nil || len(one) != 1 || one[0].ID != a.ID || next.IsZero() {
		t.Fatal(one, next, err)
	}
	two, next, err := s.Claim(ctx, time.Hour, room(9, none))
	if err != nil || len(two) != 1 || two[0].ID != b.ID || time.Until(next) < 59*time.Minute {
		t.Fatal(two, next, err)
	}
	later := time.Now().Add(time.Minute)
	if err := s.Settle(ctx, one[0], 0, func(s *State) { s.Next = later }); err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(ctx, one[0], 0, func(*State) {}); !errors.Is(err, mail.ErrNotFound) {
		t.Error(err)
	}
	if err := s.Change(ctx, b.ID, func(e *Entry) error { e.Again(time.Now()); return nil }); err != nil {
		t.Fatal(err)
	}
	if held, err := s.Held(ctx, two[0]); held || err != nil {
		t.Error(held, err)
	}
	if got, _, err := s.Claim(ctx, 0, room(9, func(id ID) bool { return id == a.ID })); err != nil || len(got) != 1 {
		t.Error(got, err)
	}
	if got, _, err := s.Claim(ctx, time.Hour, room(9, none)); err != nil || len(got) != 1 { // its lease was over at once
		t.Error(got, err)
	}
	if err := s.Remove(ctx, 2, b.ID); !errors.Is(err, mail.ErrNotFound) {
		t.Error("somebody else removed it", err)
	}
	if err := s.RemoveAll(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if got, err := s.All(ctx); len(got) != 0 || err != nil {
		t.Error(got, err)
	}
	if c := add(t, s, 1, "a"); c.ID <= b.ID {
		t.Error("a number was given again")
	}
}

// TestLedger: a message of the same bytes is known under whatever id, as long as one of
// them is there.
func TestLedger(t *testing.T) {
	s := &Store{DB: kv.Strict(memkv.New())}
	ctx := t.Context()
	o := add(t, s, 1, "a")
	f := o.Folder("")
	x, y, sum := MessageOf("x"), MessageOf("y"), Sum{1}
	note := func(m Message) error {
		return s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{mailbox.Lock(1)}}, func(tx kv.Tx) error { return Note(tx, f, m, Line{Sum: sum}, 100) })
	}
	if err := note(x); err != nil {
		t.Fatal(err)
	}
	for _, m := range []Message{x, y} {
		if err := note(m); !errors.Is(err, mail.ErrExists) {
			t.Error(err)
		}
	}
	twin, found, err := s.Twin(ctx, o.Folder("other"), sum)
	if err != nil || !found || twin.Sum != sum || twin.At.IsZero() {
		t.Error(twin, found, err)
	}
	if err := s.Write(ctx, f, y, twin); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Prune(ctx, f, func(m Message) bool { return m == y }); n != 1 || err != nil {
		t.Error(n, err)
	}
	if _, found, _ := s.Twin(ctx, f, sum); !found {
		t.Error("the sum went with the old id")
	}
	lines, err := s.Lines(ctx, f, []Message{x, y})
	if err != nil || !lines[0].At.IsZero() || !lines[1].At.Equal(twin.At) {
		t.Error(lines, err)
	}
	if wrong, err := s.Check(ctx, func(mail.AccountID) string { return "ada" }); len(wrong) > 0 || err != nil {
		t.Error(wrong, err)
	}
	if n, err := s.Prune(ctx, f, func(Message) bool { return false }); n != 1 || err != nil {
		t.Error(n, err)
	}
	left := 0
	s.DB.View(ctx, func(r kv.Reader) error {
		for row := range r.Scan(kv.Prefix(mailbox.Lock(1).Prefix())) {
			if !bytes.Equal(row.Key, tallyKey(f.key)) {
				left++
			}
		}
		return nil
	})
	if left != 0 {
		t.Error("rows are left behind")
	}
	if wrong, err := s.Check(ctx, func(mail.AccountID) string { return "" }); len(wrong) != 1 || err != nil {
		t.Error("an account that is gone:", wrong, err)
	}
}

// TestSendAs: an account sends with an address by one outpost, which is found by it as
// long as it is so.
func TestSendAs(t *testing.T) {
	s := &Store{DB: kv.Strict(memkv.New())}
	ctx := t.Context()
	work := mail.Address{Local: "Ada.L", Domain: "far.example"}
	found := func(a mail.AccountID, at mail.Address, want ID) {
		t.Helper()
		e, err := s.Sender(ctx, a, at)
		if want == 0 && !errors.Is(err, mail.ErrNotFound) || want != 0 && (err != nil || e.ID != want || e.SendAs == nil) {
			t.Errorf("%d as %s: %d, %v; want %d", a, at, e.ID, err, want)
		}
	}
	set := func(id ID, to *SendAs) error {
		return s.Change(ctx, id, func(e *Entry) error { e.SendAs = to; return nil })
	}
	a, b, other := add(t, s, 1, "a"), add(t, s, 1, "b"), add(t, s, 2, "a")
	as := func(to mail.Address) *SendAs {
		return &SendAs{Address: to, Host: "h", Port: "465", Security: TLS, Proven: time.UnixMilli(1)}
	}
	if err := errors.Join(set(a.ID, as(work)), set(other.ID, as(work))); err != nil {
		t.Fatal(err)
	}
	found(1, mail.Address{Local: "ada.l", Domain: "far.example"}, a.ID)
	found(2, work, other.ID)
	found(3, work, 0)
	if err := set(b.ID, as(work)); !errors.Is(err, mail.ErrExists) {
		t.Error(err)
	}
	if _, err := s.Add(ctx, Outpost{Account: 1, Name: "c", Protocol: POP3, Security: TLS, SendAs: as(work)}, true); !errors.Is(err, mail.ErrExists) {
		t.Error(err)
	}
	home := mail.Address{Local: "home", Domain: "far.example"}
	if err := set(a.ID, as(home)); err != nil {
		t.Fatal(err)
	}
	found(1, work, 0)
	found(1, home, a.ID)
	if err := set(b.ID, as(work)); err != nil {
		t.Error(err)
	}
	found(1, work, b.ID)
	err := s.NoteSending(ctx, b.ID, func(st *State) bool { st.SendStopped, st.SendError = true, "no"; return true })
	if err != nil {
		t.Fatal(err)
	}
	here := func(mail.AccountID) string { return "ada" }
	if wrong, err := s.Check(ctx, here); len(wrong) != 1 || err != nil {
		t.Error(wrong, err)
	}
	if err := s.Remove(ctx, 1, a.ID); err != nil {
		t.Fatal(err)
	}
	found(1, home, 0)
	if err := s.RemoveAll(ctx, 1); err != nil {
		t.Fatal(err)
	}
	found(1, work, 0)
	found(2, work, other.ID)
	if wrong, err := s.Check(ctx, here); len(wrong) != 0 || err != nil {
		t.Error(wrong, err)
	}
	s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{lock}}, func(tx kv.Tx) error {
		tx.Delete(addressKey(2, work))
		tx.Set(addressKey(2, home), make([]byte, 8))
		return nil
	})
	if wrong, err := s.Check(ctx, here); len(wrong) != 2 || err != nil {
		t.Error(wrong, err)
	}
}

func room(most int, skip func(ID) bool) Room { return Room{Most: most, PerAccount: most, Skip: skip} }

// TestTally: what is delivered is counted in the same commit, and with what older versions
// have counted in the state.
func TestTally(t *testing.T) {
	s := &Store{DB: kv.Strict(memkv.New())}
	ctx := t.Context()
	o, other := add(t, s, 1, "a"), add(t, s, 1, "b")
	err := s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{lock}}, func(tx kv.Tx) error {
		old := State{before: tally{7, 700}}
		tx.Set(idKey(kindState, o.ID), old.append(nil))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	note := func(name string, fail error) {
		err := s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{mailbox.Lock(1)}}, func(tx kv.Tx) error {
			return errors.Join(Note(tx, o.Folder(name), MessageOf(name), Line{}, 50), fail)
		})
		if !errors.Is(err, fail) {
			t.Fatal(err)
		}
	}
	note("x", nil)
	note("y", nil)
	note("z", mail.ErrFull)
	for range 2 { // however often it is settled
		claims, _, err := s.Claim(ctx, time.Hour, room(1, func(id ID) bool { return id == other.ID }))
		if err != nil || len(claims) != 1 {
			t.Fatal(claims, err)
		}
		if err := s.Settle(ctx, claims[0], 0, func(st *State) { st.Removed++ }); err != nil {
			t.Fatal(err)
		}
	}
	e, err := s.Get(ctx, o.ID)
	if err != nil || e.Collected != 9 || e.Bytes != 800 || e.Removed != 2 {
		t.Errorf("%+v, %v", e.State, err)
	}
	list, err := s.All(ctx)
	if err != nil || list[0].Collected != 9 || list[1].Collected != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if wrong, err := s.Check(ctx, func(mail.AccountID) string { return "ada" }); len(wrong) > 0 || err != nil {
		t.Error(wrong, err)
	}
	for raw := (tally{300, 3 << 40}).append(nil); len(raw) > 0; raw = raw[:len(raw)-1] {
		if n, err := decodeTally(raw); (err == nil) != (n == tally{300, 3 << 40}) {
			t.Errorf("%v of %x: %v", n, raw, err)
		}
	}
	if err := s.Remove(ctx, 1, o.ID); err != nil {
		t.Fatal(err)
	}
}
