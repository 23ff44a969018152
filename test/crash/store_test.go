package crash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"posthaste/internal/agent/mda"
	"posthaste/internal/agent/mta"
	"posthaste/internal/agent/registrar"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob/packblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/pebblekv"
	"posthaste/internal/store/body"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/queue"
)

const (
	accounts = 5
	domain   = "hill.example"
	abroad   = "vale.example"
	archive  = mail.MailboxID(4)
)

// A life is the store between two faults.
type life struct {
	t     *testing.T
	db    *pebblekv.Store
	packs *packblob.Store
	mda   *mda.Agent
	l     *ledger
	n     int
}

// begin opens the store on fs, as often as lives were before.
func begin(t *testing.T, fs vfs.FS, l *ledger, n int) *life {
	t.Helper()
	v := &life{t: t, l: l, n: n}
	var err error
	v.db, err = pebblekv.Open("store/index", pebblekv.Options{FS: fs, CacheSize: 4 << 20})
	if err != nil {
		t.Fatalf("life %d: %v", n, err)
	}
	// Each life is two hours after the one before it, so that a sweep may take
	// what earlier ones have left.
	now := func() time.Time { return time.Now().Add(time.Duration(n) * 2 * time.Hour) }
	v.packs, err = packblob.Open("store/packs", packblob.Options{FS: fs, PackSize: 2 << 20, Now: now})
	if err != nil {
		t.Fatalf("life %d: %v", n, err)
	}
	bodies := &body.Store{DB: v.db, Blobs: v.packs}
	v.mda = &mda.Agent{
		DB: v.db, Bodies: bodies, Directory: &directory.Directory{DB: v.db}, Mailboxes: &mailbox.Store{DB: v.db, Bodies: bodies},
		Queue: &queue.Queue{DB: v.db}, Journal: &journal.Journal{DB: v.db}, Log: slog.New(slog.DiscardHandler),
	}
	return v
}

// people makes the accounts.
func (v *life) people() {
	r := &registrar.Registrar{DB: v.db, Directory: v.mda.Directory, Mailboxes: v.mda.Mailboxes}
	if err := r.AddDomain(context.Background(), domain); err != nil {
		v.t.Fatal(err)
	}
	for i := range accounts {
		ac, err := r.AddAccount(context.Background(), registrar.NewAccount{Address: person(mail.AccountID(i + 1))})
		if err != nil || ac.ID != mail.AccountID(i+1) {
			v.t.Fatal(ac, err)
		}
	}
}

func person(a mail.AccountID) mail.Address {
	return mail.Address{Local: fmt.Sprintf("person%d", a), Domain: domain}
}

// close ends a life whose file system nobody looks at any more.
func (v *life) close() {
	_ = v.db.Close() // on a disk that is ill it may say so
	_ = v.packs.Close()
}

const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/"

// compose writes a letter; few of its bytes can be saved by compression.
func compose(r *rand.Rand, id mail.TraceID) []byte {
	size := 100 + r.IntN(2000)
	switch n := r.IntN(40); {
	case n == 0:
		size = 280<<10 + r.IntN(100<<10) // framed
	case n < 3:
		size = 70<<10 + r.IntN(20<<10) // staged in a pack
	case n < 15:
		size = 5<<10 + r.IntN(30<<10)
	}
	b := fmt.Appendf(make([]byte, 0, size+300), "From: <a@%s>\r\nSubject: letter %v\r\nMessage-ID: <%v@%s>\r\n\r\n", abroad, id, id, abroad)
	for len(b) < size {
		for range 76 {
			b = append(b, alphabet[r.Uint32()%64])
		}
		b = append(b, "\r\n"...)
	}
	return b
}

const traceField = "Received: from a test by a test\r\n"

// send delivers a letter to some people, and perhaps abroad.
func (v *life) send(r *rand.Rand) error {
	id := mail.NewTraceID(time.Now())
	b := compose(r, id)
	env := mail.Envelope{Trace: id, Sender: mail.Address{Local: "a", Domain: abroad}}
	var to []mail.AccountID
	for _, i := range r.Perm(accounts)[:1+r.IntN(3)*r.IntN(2)] {
		a := mail.AccountID(i + 1)
		to = append(to, a)
		env.Recipients = append(env.Recipients, mail.Recipient{Address: person(a)})
	}
	out := r.IntN(3) == 0
	if out {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: mail.Address{Local: "b", Domain: abroad}})
	}
	lt, ok := v.l.begin(id, b, to, out)
	if !ok {
		return nil
	}
	st, err := v.mda.Bodies.Stage(context.Background(), bytes.NewReader(b))
	if err != nil {
		v.l.told(func() { lt.fate = refused })
		return err
	}
	defer st.Close()
	err = v.mda.Deliver(context.Background(), mda.Mail{Envelope: env, Body: st, Trace: []byte(traceField)})
	if err == nil {
		v.l.told(func() { lt.fate = acked })
	}
	return err
}

// look gives a mailbox as a client sees it, and what is in it.
func (v *life) look(a mail.AccountID, box mail.MailboxID) (*mailbox.Snapshot, map[mail.UID]mail.TraceID, error) {
	s, err := v.mda.Mailboxes.Open(context.Background(), a, box)
	if err != nil {
		return nil, nil, err
	}
	var uids []mail.UID
	var emails []mail.EmailID
	for _, row := range s.Rows(0) {
		uids, emails = append(uids, row.UID), append(emails, row.Email)
	}
	k, n := boxKey{a, box}, numbers{s.Mailbox.UIDValidity, s.Mailbox.UIDNext, s.ModSeq}
	if len(uids) == 0 {
		v.l.shown(k, n, nil)
		return s, nil, nil
	}
	msgs, err := v.mda.Mailboxes.Messages(context.Background(), a, emails)
	if err != nil {
		return nil, nil, err
	}
	ids := map[mail.UID]mail.TraceID{}
	for i := range msgs {
		ids[uids[i]] = msgs[i].Trace
	}
	v.l.shown(k, n, ids)
	return s, ids, nil
}

// act does what the owner of an account does: flag, move, expunge. It leaves
// alone what it has had no answer about.
func (v *life) act(r *rand.Rand, a mail.AccountID) error {
	box := []mail.MailboxID{mailbox.Inbox, archive}[r.IntN(2)]
	s, ids, err := v.look(a, box)
	if err != nil || len(ids) == 0 {
		return err
	}
	ctx := context.Background()
	kind := r.IntN(5)
	flag := []mailbox.Flags{mailbox.Seen, mailbox.Flagged, mailbox.Answered, mailbox.Draft}[r.IntN(4)]
	other := mailbox.Inbox + archive - box
	set, cps := v.choose(r, a, s, ids, func(p place) place {
		switch kind {
		case 0:
			p.box = other
		case 1:
			p = place{}
		default:
			p.flags |= flag
		}
		return p
	})
	if set.IsEmpty() {
		return nil
	}
	switch kind {
	case 0:
		_, err = v.mda.Mailboxes.Move(ctx, a, box, other, set)
	case 1:
		_, _, err = v.mda.Mailboxes.Expunge(ctx, a, box, set, mailbox.ExpungeAll)
	default:
		_, err = v.mda.Mailboxes.StoreFlags(ctx, a, box, set, mailbox.FlagChange{Mode: mailbox.AddFlags, Flags: flag})
	}
	if err != nil {
		return err
	}
	v.l.told(func() {
		for _, c := range cps {
			c.is, c.maybe = *c.maybe, nil
		}
	})
	return nil
}

// choose takes some messages of which all is known, and notes what they may
// become.
func (v *life) choose(r *rand.Rand, a mail.AccountID, s *mailbox.Snapshot, ids map[mail.UID]mail.TraceID, change func(place) place) (set mail.UIDSet, cps []*cp) {
	v.l.told(func() {
		for uid, id := range ids {
			lt := v.l.letters[id]
			if lt == nil || lt.copies[a] == nil || lt.copies[a].maybe != nil || s.Find(uid).Flags.System() != lt.copies[a].is.flags || r.IntN(4) > 0 {
				continue
			}
			c := lt.copies[a]
			to := change(c.is)
			c.maybe = &to
			set.Add(uid)
			cps = append(cps, c)
			if len(cps) == 5 {
				return
			}
		}
	})
	return set, cps
}

// carry does what the transfer agent does: claim, carry, settle.
func (v *life) carry(r *rand.Rand) error {
	ctx := context.Background()
	claims, err := v.mda.Queue.Claim(ctx, time.Hour, 1+r.IntN(4), queue.Pick{})
	for _, c := range claims {
		if e := v.carryOne(r, c); e != nil {
			err = errors.Join(err, e)
		}
	}
	return err
}

func (v *life) carryOne(r *rand.Rand, c queue.Claim) error {
	ctx := context.Background()
	var lt *letter
	v.l.told(func() {
		if lt = v.l.letters[c.Envelope.Trace]; lt == nil {
			v.l.sayLocked("letter %v was claimed and never sent", c.Envelope.Trace)
		} else if lt.out == acked {
			v.l.sayLocked("letter %v was claimed again, after it was settled", c.Envelope.Trace)
		}
	})
	if lt == nil {
		return nil
	}
	b, err := v.mda.Bodies.Open(ctx, c.Body, c.Prefix)
	if err != nil {
		return err
	}
	v.compare(lt, b, traceField)
	b.Close()
	st := mail.StatusRelayed
	if r.IntN(3) == 0 {
		st = mail.StatusTryLater
	} else {
		noted := false
		v.l.told(func() { lt.asked, noted = true, true })
		if !noted {
			return nil // after the cut nobody asks; the disk may live a little longer
		}
	}
	o := []mail.Outcome{{Recipient: c.Envelope.Recipients[0], Status: st}}
	err = v.db.Update(ctx, kv.Plan{Locks: []kv.Lock{c.Lock()}}, func(tx kv.Tx) error { return v.mda.Queue.Settle(tx, c, o, time.Now()) })
	if err == nil && st.Class == 2 {
		v.l.told(func() { lt.out = acked })
	}
	return err
}

// compare reads a letter and holds it against what was sent.
func (v *life) compare(lt *letter, r *body.Reader, prefix string) {
	got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil {
		v.l.say("letter %v cannot be read: %v", lt.id, err)
		return
	}
	if len(got) != len(prefix)+lt.size || string(got[:len(prefix)]) != prefix || sha256.Sum256(got[len(prefix):]) != lt.sum {
		v.l.say("letter %v has other bytes than were sent", lt.id)
	}
}

// maintain folds, reaps and sweeps.
func (v *life) maintain() error {
	ctx := context.Background()
	var errs []error
	for a := mail.AccountID(1); a <= accounts; a++ {
		errs = append(errs, v.mda.Mailboxes.Fold(ctx, a))
		_, err := v.mda.Mailboxes.Reap(ctx, a, mailbox.Keep{Since: time.Now().Add(time.Hour)})
		errs = append(errs, err)
	}
	_, err := v.mda.Bodies.Sweep(ctx)
	return errors.Join(append(errs, err)...)
}

// verify holds all that is there against the ledger.
func (v *life) verify() {
	ctx := context.Background()
	found := map[mail.TraceID]map[mail.AccountID][]copyAt{}
	for a := mail.AccountID(1); a <= accounts; a++ {
		wrong, err := v.mda.Mailboxes.Check(ctx, a, nil)
		if err != nil {
			v.l.say("check: %v", err)
		}
		for _, w := range wrong {
			v.l.say("check: %s", w)
		}
		for _, box := range []mail.MailboxID{mailbox.Inbox, archive} {
			v.find(a, box, found)
		}
	}
	agent := &mta.Agent{DB: v.db, Queue: v.mda.Queue, Log: v.mda.Log}
	if err := agent.Recover(ctx); err != nil {
		v.l.say("recover: %v", err)
	}
	wrong, err := v.mda.Queue.Check(ctx)
	if err != nil {
		v.l.say("check: %v", err)
	}
	for _, w := range wrong {
		v.l.say("check: %s", w)
	}
	items := map[mail.TraceID]int{}
	if err := v.mda.Queue.Each(ctx, func(it queue.Item) bool { items[it.Envelope.Trace]++; return true }); err != nil {
		v.l.say("queue: %v", err)
	}
	v.l.settle(found, items)
}

// find reads all letters of a mailbox.
func (v *life) find(a mail.AccountID, box mail.MailboxID, found map[mail.TraceID]map[mail.AccountID][]copyAt) {
	s, ids, err := v.look(a, box)
	if err != nil {
		v.l.say("account %d, mailbox %d: %v", a, box, err)
		return
	}
	for _, row := range s.Rows(0) {
		id := ids[row.UID]
		if found[id] == nil {
			found[id] = map[mail.AccountID][]copyAt{}
		}
		found[id][a] = append(found[id][a], copyAt{place{box, row.Flags.System()}, row.UID})
		b, err := v.mda.Mailboxes.OpenEmail(context.Background(), a, row.Email)
		if err != nil {
			v.l.say("account %d, mailbox %d, UID %d: %v", a, box, row.UID, err)
			continue
		}
		if lt := v.l.letters[id]; lt != nil {
			v.compare(lt, b, "Return-Path: <a@"+abroad+">\r\n"+traceField)
		}
		b.Close()
	}
}
