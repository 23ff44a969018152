package packblob

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob/codec"
)

// maxGroup is what goes to the disk in one write.
const maxGroup = 4 << 20

// A request is a record that waits to be written, or the wish that the active
// pack be sealed.
type request struct {
	rec  []byte // room for the header, payload, zeros
	h    header
	seal func(*pack) bool // not nil: seal it if this says so

	answer chan answer // has room for one
}

// An answer tells who waits that it is done, or that he leads from now on.
type answer struct {
	lead bool
	err  error
}

var (
	requests = sync.Pool{New: func() any { return &request{answer: make(chan answer, 1)} }}
	bodies   = sync.Pool{New: func() any { return new([]byte) }}
)

// Put stores all that r gives.
func (s *Store) Put(ctx context.Context, r io.Reader) (mail.BlobID, int64, error) {
	if err := s.enter(ctx); err != nil {
		return mail.BlobID{}, 0, fmt.Errorf("put a blob: %w", err)
	}
	defer s.leave()
	buf := bodies.Get().(*[]byte)
	defer bodies.Put(buf)
	body, more, err := readUpTo((*buf)[:0], r, maxWhole)
	*buf = body[:0]
	if err != nil {
		return mail.BlobID{}, 0, err // as r gave it
	}
	if err := s.Failed(); err != nil {
		return mail.BlobID{}, 0, fmt.Errorf("put a blob: %w", err)
	}
	if more {
		id, size, err := s.putFramed(ctx, body, r)
		return id, size, s.room(err)
	}
	id, err := s.putWhole(body)
	if err = s.room(err); err != nil {
		return mail.BlobID{}, 0, fmt.Errorf("put a blob: %w", err)
	}
	return id, int64(len(body)), nil
}

// readUpTo reads r into buf until its end, or until buf has more than limit
// bytes; then there is perhaps more.
func readUpTo(buf []byte, r io.Reader, limit int) (_ []byte, more bool, err error) {
	for idle := 0; len(buf) <= limit; {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(max(2*cap(buf), 16<<10), limit+1))
			copy(grown, buf)
			buf = grown
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), limit+1)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, false, nil
		}
		if err != nil {
			return buf, false, err
		}
		if n > 0 {
			idle = 0
		} else if idle++; idle == 100 {
			return buf, false, io.ErrNoProgress
		}
	}
	return buf, true, nil
}

func (s *Store) putWhole(body []byte) (mail.BlobID, error) {
	q := requests.Get().(*request)
	defer requests.Put(q)
	var room [recLen]byte
	q.rec = codec.Encode(append(q.rec[:0], room[:]...), body)
	q.h = header{
		kind:   whole,
		sum:    crc(q.rec[recLen:]),
		stored: int64(len(q.rec) - recLen),
		raw:    int64(len(body)),
		put:    s.Now().UnixMilli(),
	}
	q.rec = append(q.rec, room[:aligned(q.h.stored)-q.h.stored]...)
	q.seal = nil
	err := s.ask(q)
	return q.h.id, err
}

// ask hands q in and waits for the answer. The first who comes leads: he writes
// and syncs what has been handed in, and then lets the next one lead.
func (s *Store) ask(q *request) error {
	s.mu.Lock()
	s.pending = append(s.pending, q)
	lead := !s.leading
	s.leading = true
	s.mu.Unlock()
	if !lead {
		a := <-q.answer
		if !a.lead {
			return a.err
		}
	}
	s.round()
	s.mu.Lock()
	if len(s.pending) > 0 {
		s.pending[0].answer <- answer{lead: true}
	} else {
		s.leading = false
	}
	s.mu.Unlock()
	return (<-q.answer).err
}

// round takes what is pending and does it. Who leads is the first of them.
func (s *Store) round() {
	if err := s.makeRoom(); err != nil {
		s.mu.Lock()
		all := s.pending
		s.pending = nil
		s.mu.Unlock()
		for _, q := range all {
			q.answer <- answer{err: err}
		}
		return
	}
	group := s.group()
	if q := group[0]; q.seal != nil {
		var err error
		if p := s.active; p != nil && q.seal(p) {
			s.active = nil
			err = s.seal(p)
		}
		q.answer <- answer{err: err}
		return
	}
	err := s.write(group)
	for _, q := range group {
		q.answer <- answer{err: err}
	}
}

// makeRoom gets a new active pack if the next request does not fit.
func (s *Store) makeRoom() error {
	s.mu.Lock()
	q := s.pending[0]
	err := s.err
	s.mu.Unlock()
	if err != nil || q.seal != nil {
		return err
	}
	if p := s.active; p != nil && p.end > headLen && p.end+int64(len(q.rec)) > s.PackSize {
		s.active = nil
		if err := s.seal(p); err != nil {
			if failed := s.Failed(); failed != nil {
				return failed
			}
			s.Log.Warn("a pack could not be sealed", "pack", p.name(), "err", err)
		}
	}
	if s.active == nil {
		s.active, err = s.create()
	}
	return err
}

// group takes pending requests that fit into the active pack and into one
// write; at least one, and a seal only alone.
func (s *Store) group() []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, size := 0, int64(0)
	for _, q := range s.pending {
		size += int64(len(q.rec))
		if n > 0 && (q.seal != nil || size > maxGroup || s.active.end+size > s.PackSize) {
			break
		}
		if n++; q.seal != nil {
			break
		}
	}
	group := s.pending[:n:n]
	s.pending = s.pending[n:]
	return group
}

// write appends the records of group to the active pack, and syncs.
func (s *Store) write(group []*request) error {
	p := s.active
	off := p.end
	s.buf = s.buf[:0]
	for _, q := range group {
		q.h.id = makeID(p.num, off, rand.Uint64())
		q.h.encode(q.rec)
		off += int64(len(q.rec))
		if len(group) > 1 {
			s.buf = append(s.buf, q.rec...)
		}
	}
	b := s.buf
	if len(group) == 1 {
		b = group[0].rec
	}
	// Who reads the file now does not read there, so the lock is not needed.
	if _, err := p.file.WriteAt(b, p.end); err != nil {
		return fmt.Errorf("write to %s: %w", p.name(), err)
	}
	if err := p.file.SyncData(); err != nil {
		return s.fail(fmt.Errorf("sync of %s: %w", p.name(), err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	off = p.end
	for _, q := range group {
		p.entries = append(p.entries, entry{q.h.id, off, int64(len(q.rec))})
		off += int64(len(q.rec))
		p.put(q.h.put)
	}
	p.end, p.size = off, off
	if cap(s.buf) > maxGroup+maxWhole {
		s.buf = nil
	}
	return nil
}

// put notes when a record was put.
func (p *pack) put(at int64) {
	if p.first == 0 {
		p.first = at
	}
	p.last = max(p.last, at)
}
