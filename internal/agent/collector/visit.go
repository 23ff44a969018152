package collector

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/agent/mx"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/body"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/outpost"
)

// A session is a connection to an outpost, logged in.
type session interface {
	// suits tells what an outpost wants that the server cannot do.
	suits(ctx context.Context, o *outpost.Outpost) error
	// collect does all that is to be done.
	collect(ctx context.Context, v *visit) error
	// waits tells whether idle can hear of new mail, for some minutes, but no longer
	// than d.
	waits() bool
	idle(ctx context.Context, d time.Duration) (news bool, err error)
	close()
}

// counts is what a visit has done.
type counts struct{ collected, bytes, removed int64 }

func (c counts) less(d counts) counts {
	return counts{c.collected - d.collected, c.bytes - d.bytes, c.removed - d.removed}
}

// A visit is what is done at an outpost in one go.
type visit struct {
	a     *Agent
	o     *outpost.Outpost
	claim outpost.Claim
	acct  mail.Address // whose mail it is
	now   time.Time    // when it began
	more  bool         // there is more to fetch, at once
	met   map[outpost.Sum]int
	token *bearer // what it logs in with, if that is a token
	// unsure: not all that is there is known.
	unsure bool

	recording sync.Mutex // one at a time

	mu      sync.Mutex
	done    counts
	before  counts                            // what of it the state has already
	refusal string                            // the last one
	refused *int64                            // nil: it was not counted
	prune   []func(ctx context.Context) error // to be done when all went well
}

func (v *visit) count() counts {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.done
}

// record writes down how far the visit has come, with what more says of it, and renews
// its lease.
func (v *visit) record(ctx context.Context, more func(*outpost.State)) error {
	v.recording.Lock()
	defer v.recording.Unlock()
	done := v.count()
	err := v.a.Outposts.Settle(ctx, v.claim, hold, func(s *outpost.State) {
		v.note(s, done)
		more(s)
	})
	if err == nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.before = done
	}
	return err
}

// note adds what was done, as of a count, to the state, which has some of it already.
// What was collected is counted where it is delivered.
func (v *visit) note(s *outpost.State, c counts) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s.LastCollected = c.collected
	c = c.less(v.before)
	s.Removed += c.removed
	if !v.now.IsZero() {
		s.Proven = v.now
	}
	if v.refused != nil {
		s.Refused = *v.refused
	}
	if v.refusal != "" {
		s.Refusal = v.refusal
	}
}

// safely does all; a panic of ours must not end the server.
func (v *visit) safely(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			v.a.Log.Error("panic in a visit", "outpost", v.o.ID, "panic", p)
			err = fmt.Errorf("collector: panic: %v", p)
		}
	}()
	acct, err := v.a.accountOf(ctx, v.o)
	if err != nil {
		return err
	}
	v.acct = acct.Address
	octx, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	s, err := v.open(octx)
	if err != nil {
		return err
	}
	defer s.close()
	for {
		v.begin()
		if err := v.look(ctx, s); err != nil || v.more || !s.waits() || !v.a.mayIdle() {
			return err
		}
		v.finish(ctx, true)
		if err := v.well(ctx); err != nil {
			return err
		}
		if !v.listen(ctx, s) {
			return nil
		}
	}
}

// errEndless ends a visit that does not end by itself.
var errEndless = errSource{errors.New("it answers too slowly to be of use")}

// look collects what is there, within a time.
func (v *visit) look(ctx context.Context, s session) error {
	ctx, cancel := context.WithTimeoutCause(ctx, endless, errEndless)
	defer cancel()
	err := s.collect(ctx, v)
	if err != nil && context.Cause(ctx) == errEndless {
		return errEndless
	}
	return err
}

// long tells whether others should have their turn.
func (v *visit) long() bool { return time.Since(v.now) >= longVisit }

// begin begins a look at what is there.
func (v *visit) begin() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now, v.prune, v.met, v.unsure = time.Now(), nil, nil, false
}

// well writes down that all went well, and that the visit goes on, listening.
func (v *visit) well(ctx context.Context) error {
	return v.record(ctx, func(s *outpost.State) {
		s.Good, s.Fails, s.Error, s.Idle = time.Now(), 0, "", true
		s.Next = s.Good.Add(or(v.o.Every, DefaultEvery))
	})
}

// listen waits for new mail, or until it is time to look again; false: the connection
// is lost, as they are from time to time.
func (v *visit) listen(ctx context.Context, s session) bool {
	v.a.rest(true, v.o.Account)
	defer v.a.rest(false, v.o.Account)
	begun := time.Now()
	until := begun.Add(or(v.o.Every, DefaultEvery))
	for ctx.Err() == nil {
		left := time.Until(until)
		if left <= 0 {
			return true
		}
		news, err := s.idle(ctx, left)
		switch {
		case err != nil:
			v.more = time.Since(begun) >= MinEvery // else it is no good at it
			return false
		case news:
			return true
		}
	}
	return false
}

// open connects and logs in. An access token may be good no more before its time: then
// it is tried once more, with another.
func (v *visit) open(ctx context.Context) (session, error) {
	s, err := v.connected(ctx)
	if no, ok := errors.AsType[*LoginError](err); ok && !no.Later && v.token != nil {
		v.token.Refused()
		s, err = v.connected(ctx)
	}
	return s, err
}

func (v *visit) connected(ctx context.Context) (session, error) {
	if v.o.Protocol == outpost.IMAP {
		return v.openIMAP(ctx)
	}
	return v.openPOP3(ctx)
}

// finish forgets what the outpost no longer has, and counts what cannot be taken.
func (v *visit) finish(ctx context.Context, whole bool) {
	if whole && !v.more {
		for _, fn := range v.prune {
			if err := fn(ctx); err != nil {
				v.a.Log.Error("the ledger of an outpost cannot be pruned", "outpost", v.o.ID, "error", err)
			}
		}
	}
	n, err := v.a.Outposts.Refusals(ctx, v.o)
	if err != nil {
		v.a.Log.Error("the ledger of an outpost cannot be read", "outpost", v.o.ID, "error", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.refused = &n
}

// A found message is one that the outpost has.
type found struct {
	msg   outpost.Message
	size  int64
	flags mailbox.Flags
	date  time.Time // zero: as its Received field says
}

// maxSize is how large a message may be.
func (v *visit) maxSize() int64 { return or(v.a.MaxSize, 50<<20) }

func tooLarge(size, most int64) string {
	return fmt.Sprintf("it is too large: %d MB, and no more than %d MB are taken here", size>>20, most>>20)
}

// refuse writes down that a message cannot be taken, so that nobody asks for it again.
func (v *visit) refuse(ctx context.Context, f outpost.Folder, m found, why string) error {
	v.mu.Lock()
	v.refusal = why
	v.mu.Unlock()
	return v.a.Outposts.Write(ctx, f, m.msg, outpost.Line{Fate: outpost.Refused, Why: why})
}

// doubt remembers that a message could not be looked at, and why: so nothing is
// forgotten this time.
func (v *visit) doubt(why string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.refusal, v.unsure = why, true
}

// errSource is an error of the connection to the outpost.
type errSource struct{ error }

// Theirs marks an error as one of the connection to an outpost, for Words.
func Theirs(err error) error { return errSource{err} }

// Unwrap gives what it was.
func (e errSource) Unwrap() error { return e.error }

// take takes a message as it comes, all of it, and tells whether it is here, by now or
// since before.
func (v *visit) take(ctx context.Context, f outpost.Folder, m *found, r io.Reader) (here bool, err error) {
	src := &mda.Source{R: r}
	most := v.maxSize()
	st, err := v.a.Bodies.Stage(ctx, io.LimitReader(src, most+1))
	if err != nil {
		if src.Failed(err) {
			err = errSource{err}
		}
		return false, err
	}
	defer st.Close()
	if st.Size() > most {
		if err := v.refuse(ctx, f, *m, tooLarge(st.Size(), most)); err != nil {
			return false, err
		}
		// What is not much too large is passed over; else another connection is cheaper.
		switch n, err := io.CopyN(io.Discard, src, most); {
		case n == most:
			return false, errSource{errors.New("a message does not end")}
		case err != io.EOF:
			return false, errSource{err}
		}
		return false, nil
	}
	if st.Size() == 0 {
		return false, v.refuse(ctx, f, *m, "it is empty")
	}
	header, err := mda.Header(st)
	if err != nil {
		return false, err
	}
	sum, own, err := sumOf(header, st)
	if err != nil {
		return false, err
	}
	if m.msg == (outpost.Message{}) { // the server has no ids
		m.msg = v.nameless(sum)
		lines, err := v.a.Outposts.Lines(ctx, f, []outpost.Message{m.msg})
		if err != nil || !lines[0].At.IsZero() {
			return err == nil && lines[0].Fate == outpost.Collected, err
		}
	}
	if !own {
		sum = outpost.Sum{} // two of the same bytes may be two
	}
	twin, known, err := v.a.Outposts.Twin(ctx, f, sum)
	if err != nil {
		return false, err
	}
	if known {
		return true, v.a.Outposts.Write(ctx, f, m.msg, twin)
	}
	return v.deliver(ctx, f, m, st, header, sum)
}

// deliver has a message delivered that was not here before.
func (v *visit) deliver(ctx context.Context, f outpost.Folder, m *found, st *body.Staged, header []byte, sum outpost.Sum) (here bool, err error) {
	if m.date.IsZero() {
		m.date = receivedAt(header, time.Now())
	}
	p := &mda.Place{Account: v.o.Account, Mailbox: v.o.Mailbox, Flags: m.flags, Date: m.date}
	if v.o.Keyword != "" {
		p.Keywords = []string{v.o.Keyword}
	}
	p.Note = func(tx kv.Tx) error { return outpost.Note(tx, f, m.msg, outpost.Line{Sum: sum}, st.Size()) }
	c := mx.Collected{For: v.acct, Body: st, Host: v.o.Host, Protocol: v.o.Protocol.String(), Place: p, Unjudged: v.o.Unjudged}
	err = v.a.MX.Collect(context.WithoutCancel(ctx), c, v.a.Try)
	no, answer := errors.AsType[*mail.Refusal](err)
	switch {
	case err == nil:
		v.mu.Lock()
		v.done.collected++
		v.done.bytes += st.Size()
		v.mu.Unlock()
		return true, nil
	case errors.Is(err, mail.ErrExists):
		return true, nil // somebody else has, at the same moment
	case answer && no.Status.Permanent():
		return false, v.refuse(ctx, f, *m, no.Text)
	}
	return false, err
}

// removed counts what was removed from the outpost, and writes it down: nobody could
// count it later.
func (v *visit) removed(ctx context.Context, n int) {
	v.mu.Lock()
	v.done.removed += int64(n)
	v.mu.Unlock()
	if err := v.record(ctx, func(*outpost.State) {}); err != nil && !errors.Is(err, mail.ErrNotFound) && ctx.Err() == nil {
		v.a.Log.Error("what was removed cannot be written down", "outpost", v.o.ID, "error", err)
	}
}

// goes tells whether a message goes from the outpost that is here.
func (v *visit) goes(l outpost.Line, now time.Time) bool {
	switch {
	case l.Fate != outpost.Collected || l.At.IsZero():
		return false
	case v.o.After == outpost.Delete:
		return true
	}
	return v.o.After == outpost.KeepDays && !now.Before(l.At.AddDate(0, 0, v.o.Days))
}

// volatile are fields that servers change while a message lies there.
var volatile = [...]string{"status", "x-status", "x-uidl", "x-keywords", "x-mozilla-status", "x-mozilla-status2", "x-mozilla-keys", "content-length", "lines"}

// sumOf gives the sum of a message, and whether it has something that only it has.
func sumOf(header []byte, st *body.Staged) (sum outpost.Sum, own bool, err error) {
	h := sha256.New()
	for f := range message.Fields(header) {
		own = own || f.Is("received") || f.Is("message-id")
		if !slices.ContainsFunc(volatile[:], f.Is) {
			h.Write(bytes.TrimRight(f.Raw, "\r\n"))
			h.Write([]byte{'\n'})
		}
	}
	if _, err := io.Copy(h, io.NewSectionReader(st, int64(len(header)), st.Size()-int64(len(header)))); err != nil {
		return sum, false, err
	}
	return outpost.Sum(h.Sum(nil)[:len(sum)]), own, nil
}

// nameless names a message of a server that gives no ids: the first of these bytes, the
// second and so on.
func (v *visit) nameless(sum outpost.Sum) outpost.Message {
	if v.met == nil {
		v.met = map[outpost.Sum]int{}
	}
	v.met[sum]++
	return outpost.MessageOf(fmt.Sprintf("%x %d", sum, v.met[sum]))
}

// receivedAt gives when the other server received a message, by its topmost Received
// field; now if it does not say so.
func receivedAt(header []byte, now time.Time) time.Time {
	f, ok := message.Find(header, "received")
	if !ok {
		return now
	}
	text := f.Text()
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] != ';' {
			continue
		}
		if at, err := message.ParseDate(text[i+1:]); err == nil && at.Before(now) && at.Year() > 1980 {
			return at
		}
		break
	}
	return now
}
