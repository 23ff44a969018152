package crash

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
)

// What is known of something that was asked for.
type fate byte

const (
	unknown fate = iota // no answer came, or one that says nothing
	acked
	refused
)

// A place is where a copy of a letter is: box 0 is nowhere.
type place struct {
	box   mail.MailboxID
	flags mailbox.Flags
}

// A cp is one recipient's copy of a letter.
type cp struct {
	is    place
	maybe *place // it is perhaps there instead: the answer never came
}

// A letter is a message, and what is known of it.
type letter struct {
	id     mail.TraceID
	fate   fate
	size   int
	sum    [sha256.Size]byte
	copies map[mail.AccountID]*cp
	queued bool // it also goes elsewhere
	out    fate // of the queue's item: acked when it was settled for good
	asked  bool // a Settle was asked for
}

type boxKey struct {
	acct mail.AccountID
	box  mail.MailboxID
}

// The numbers of a mailbox that never go back.
type numbers struct {
	validity uint32
	next     mail.UID
	seq      mail.ModSeq
}

// A ledger is what clients have been told. Once a cut begins, nothing counts as
// told any more.
type ledger struct {
	cut atomic.Bool

	mu      sync.Mutex
	letters map[mail.TraceID]*letter
	order   []*letter
	uids    map[boxKey]map[mail.UID]mail.TraceID // as they were shown
	numbers map[boxKey]numbers
	wrong   []string
}

func newLedger() *ledger {
	return &ledger{
		letters: map[mail.TraceID]*letter{}, uids: map[boxKey]map[mail.UID]mail.TraceID{},
		numbers: map[boxKey]numbers{},
	}
}

// end begins the cut: what is said from now on, nobody has heard.
func (l *ledger) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut.Store(true)
}

func (l *ledger) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sayLocked(format, args...)
}

func (l *ledger) sayLocked(format string, args ...any) {
	if len(l.wrong) < 20 {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

// begin enters a letter before it is handed in; false if the cut has begun.
func (l *ledger) begin(id mail.TraceID, body []byte, to []mail.AccountID, queued bool) (*letter, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut.Load() {
		return nil, false
	}
	lt := &letter{id: id, size: len(body), sum: sha256.Sum256(body), copies: map[mail.AccountID]*cp{}, queued: queued}
	for _, a := range to {
		lt.copies[a] = &cp{is: place{box: mailbox.Inbox}}
	}
	l.letters[id] = lt
	l.order = append(l.order, lt)
	return lt, true
}

// told runs fn if what it notes was said before the cut.
func (l *ledger) told(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.cut.Load() {
		fn()
	}
}

// shown notes what a client has seen of a mailbox, and complains if a number
// was given twice or went back.
func (l *ledger) shown(k boxKey, now numbers, ids map[mail.UID]mail.TraceID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was, known := l.numbers[k]
	if known && (now.next < was.next || now.seq < was.seq || now.validity != was.validity) {
		l.sayLocked("account %d, mailbox %d: UIDVALIDITY, UIDNEXT and MODSEQ were %v and are %v", k.acct, k.box, was, now)
	}
	if l.uids[k] == nil {
		l.uids[k] = map[mail.UID]mail.TraceID{}
	}
	for uid, id := range ids {
		if was, ok := l.uids[k][uid]; ok && was != id {
			l.sayLocked("account %d, mailbox %d: UID %d was %v and is %v", k.acct, k.box, uid, was, id)
		}
	}
	if l.cut.Load() {
		return
	}
	for uid, id := range ids {
		l.uids[k][uid] = id
	}
	l.numbers[k] = numbers{now.validity, max(was.next, now.next), max(was.seq, now.seq)}
}

// A copyAt is a copy as it was found after a fault.
type copyAt struct {
	place
	uid mail.UID
}

// settle holds what was found against what was said, and takes what was found
// as what is, for the next round.
func (l *ledger) settle(found map[mail.TraceID]map[mail.AccountID][]copyAt, queue map[mail.TraceID]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range found {
		if l.letters[id] == nil {
			l.sayLocked("letter %v is there and was never sent", id)
		}
	}
	for id := range queue {
		if l.letters[id] == nil || !l.letters[id].queued {
			l.sayLocked("letter %v is in the queue and was never put there", id)
		}
	}
	for _, lt := range l.order {
		l.letter(lt, found[lt.id], queue[lt.id])
	}
}

func (l *ledger) letter(lt *letter, found map[mail.AccountID][]copyAt, queued int) {
	if lt.fate == unknown {
		if len(found) == 0 && queued == 0 {
			lt.fate = refused
			return
		}
		lt.fate = acked // then all of it must be there
	}
	if lt.fate == refused {
		if len(found)+queued > 0 {
			l.sayLocked("letter %v was refused, or lost before it was acknowledged, and has come back", lt.id)
		}
		return
	}
	for a, c := range lt.copies {
		l.copy(lt, a, c, found[a])
		delete(found, a)
	}
	for a := range found {
		l.sayLocked("letter %v is with account %d, which is no recipient", lt.id, a)
	}
	l.item(lt, queued)
}

func (l *ledger) copy(lt *letter, a mail.AccountID, c *cp, found []copyAt) {
	var now place
	switch len(found) {
	case 0:
	case 1:
		now = found[0].place
	default:
		l.sayLocked("letter %v is with account %d %d times: %v", lt.id, a, len(found), found)
		return
	}
	if now != c.is && (c.maybe == nil || now != *c.maybe) {
		l.sayLocked("letter %v with account %d is at %v, it should be at %v or %v", lt.id, a, now, c.is, c.maybe)
	}
	c.is, c.maybe = now, nil
}

func (l *ledger) item(lt *letter, queued int) {
	switch {
	case !lt.queued:
	case queued > 1:
		l.sayLocked("letter %v is in the queue %d times", lt.id, queued)
	case lt.out == acked && queued > 0:
		l.sayLocked("letter %v is in the queue again, after it was settled", lt.id)
	case lt.out != acked && queued == 0 && !lt.asked:
		l.sayLocked("letter %v has gone from the queue, and nobody had it", lt.id)
	case queued == 0:
		lt.out = acked
	default:
		lt.asked = false
	}
}
