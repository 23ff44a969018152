package packblob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
	"posthaste/internal/engine/blob/codec"
)

// A pack that is being written is sealed for a sweep when it is old enough and
// has this part of its size, or is this old.
const (
	sealPart = 16
	sealAge  = 7 * 24 * time.Hour
)

// Sweep gives back the space of blobs that nobody wants.
func (s *Store) Sweep(ctx context.Context, keep func(mail.BlobID) (bool, error)) (blob.Swept, error) {
	var swept blob.Swept
	if err := s.enter(ctx); err != nil {
		return swept, fmt.Errorf("sweep: %w", err)
	}
	defer s.leave()
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	if err := s.Failed(); err != nil {
		return swept, fmt.Errorf("sweep: %w", err)
	}
	if err := s.sealWritten(); err != nil {
		return swept, fmt.Errorf("sweep: %w", err)
	}
	if err := s.sweepPacks(ctx, keep, &swept); err != nil {
		return swept, fmt.Errorf("sweep: %w", err)
	}
	if swept.Blobs == 0 {
		return swept, nil
	}
	if err := syncDir(s.FS, s.dir); err != nil {
		return swept, fmt.Errorf("sweep: %w", s.fail(err))
	}
	return swept, nil
}

// old says that what was put at that time may be swept.
func (s *Store) old(at int64) bool {
	return s.Grace < 0 || s.Now().Sub(time.UnixMilli(at)) >= s.Grace
}

// sealWritten seals the packs that are being written, if it is time.
func (s *Store) sealWritten() error {
	due := func(p *pack) bool {
		if p.first == 0 || !s.old(p.first) {
			return false
		}
		return s.Grace < 0 || p.end >= s.PackSize/sealPart || s.Now().Sub(time.UnixMilli(p.first)) >= sealAge
	}
	s.mu.Lock()
	var seal []*pack
	left := s.idle[:0]
	for _, p := range s.idle {
		if due(p) {
			seal = append(seal, p)
		} else {
			left = append(left, p)
		}
	}
	s.idle = left
	s.mu.Unlock()
	var errs []error
	for _, p := range seal {
		errs = append(errs, s.seal(p))
	}
	errs = append(errs, s.ask(&request{seal: due, answer: make(chan answer, 1)}))
	return errors.Join(errs...)
}

// A partly is a pack of which a part is wanted, taken.
type partly struct {
	p          *pack
	live, dead []entry
}

// maxPartly is how many are held at a time.
const maxPartly = 64

// sweepPacks sweeps all packs: those that go whole at once, and then those of which the
// rest is written again, the smallest rest first, since each makes room for the next. On
// a full disk there may not be enough for all.
func (s *Store) sweepPacks(ctx context.Context, keep func(mail.BlobID) (bool, error), swept *blob.Swept) error {
	var held []partly
	var full error
	left := 0
	again := func(err error) error {
		slices.SortFunc(held, func(a, b partly) int { return cmp.Compare(length(a.live), length(b.live)) })
		for _, h := range held {
			if err == nil {
				err = s.reclaim(ctx, h.p, h.live, h.dead, swept)
				if noRoom(err) && s.Failed() == nil {
					full, err = err, nil
					left++
				}
			}
			err = errors.Join(err, s.release(h.p))
		}
		held = held[:0]
		return err
	}
	for _, num := range s.numbers() {
		h, err := s.sweepPack(ctx, num, keep, swept)
		if h.p != nil {
			held = append(held, h)
		}
		if err != nil || len(held) == maxPartly {
			if err = again(err); err != nil {
				return err
			}
		}
	}
	err := again(nil)
	if full != nil {
		s.Log.Warn("there is no room to sweep all packs: what is left of some would have to be written again", "packs", left, "err", full)
	}
	return err
}

// sweepPack sweeps a pack in which nothing is wanted; one in which little is it gives,
// taken.
func (s *Store) sweepPack(ctx context.Context, num uint32, keep func(mail.BlobID) (bool, error), swept *blob.Swept) (h partly, err error) {
	s.mu.Lock()
	p := s.packs[num]
	skip := p == nil || p.tail == nil || !s.old(p.tail.last)
	s.mu.Unlock()
	if skip {
		return h, nil
	}
	p, err = s.take(num)
	if p == nil || err != nil {
		return h, err
	}
	live, dead, err := s.judge(ctx, p, keep)
	switch {
	case err != nil || len(dead) == 0 || length(live)*2 >= p.size:
	case len(live) > 0:
		return partly{p, live, dead}, nil
	default:
		err = s.reclaim(ctx, p, nil, dead, swept)
	}
	return h, errors.Join(err, s.release(p))
}

// judge asks keep about each record of p.
func (s *Store) judge(ctx context.Context, p *pack, keep func(mail.BlobID) (bool, error)) (live, dead []entry, err error) {
	entries, err := s.list(p)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		wanted, err := keep(e.id)
		if err != nil {
			return nil, nil, err
		}
		if wanted {
			live = append(live, e)
		} else {
			dead = append(dead, e)
		}
	}
	return live, dead, nil
}

func length(entries []entry) (n int64) {
	for _, e := range entries {
		n += e.length
	}
	return n
}

// reclaim deletes p, or writes it again with what is live.
func (s *Store) reclaim(ctx context.Context, p *pack, live, dead []entry, swept *blob.Swept) error {
	var next *pack
	if len(live) > 0 {
		var err error
		if next, err = s.rewrite(ctx, p, live); err != nil {
			return fmt.Errorf("rewrite %s: %w", p.name(), err)
		}
	}
	s.mu.Lock()
	swept.Blobs += int64(len(dead))
	swept.Bytes += p.size
	if next == nil {
		delete(s.packs, p.num)
	} else {
		swept.Bytes -= next.size
		s.packs[p.num] = next
	}
	p.gone = true
	s.mu.Unlock()
	if err := s.FS.Remove(s.path(p.name())); err != nil {
		return fmt.Errorf("remove %s: %w", p.name(), err)
	}
	return nil
}

// rewrite makes the next generation of p, with the live records only.
func (s *Store) rewrite(ctx context.Context, p *pack, live []entry) (*pack, error) {
	next := &pack{num: p.num, gen: p.gen + 1, end: headLen}
	tmp := next.name() + tmpSuffix
	f, err := s.makeFile(tmp, next)
	if err != nil {
		return nil, err
	}
	if err = s.fill(ctx, f, next, p, live); err == nil {
		if serr := f.Sync(); serr != nil {
			err = s.fail(serr)
		}
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.FS.Rename(s.path(tmp), s.path(next.name()))
	}
	if err != nil {
		if rerr := s.FS.Remove(s.path(tmp)); rerr != nil {
			s.Log.Warn("remove of a half-written pack", "pack", tmp, "err", rerr)
		}
		return nil, err
	}
	if err := syncDir(s.FS, s.dir); err != nil {
		return nil, s.fail(err)
	}
	return next, nil
}

// fill writes the live records, then index and tail.
func (s *Store) fill(ctx context.Context, f vfs.File, next, p *pack, live []entry) error {
	var moved []entry
	for _, e := range live {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := next.copy(f, p.file, e)
		if err != nil {
			return fmt.Errorf("copy blob %s: %w", e.id, err)
		}
		moved = append(moved, entry{e.id, next.end, n})
		next.end += n
	}
	next.tail = &tail{index: next.end, last: p.tail.last}
	b, err := s.appendIndex(f, next.tail, moved)
	next.size = next.end + int64(len(b))
	next.checked = true
	return err
}

// copy appends one record and gives its length. It has been checked on the
// way: a damaged one must not get a good crc.
func (next *pack) copy(f vfs.File, from io.ReaderAt, e entry) (int64, error) {
	var h header
	ok, err := readHeader(from, e.off, e.id, &h)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, blob.ErrCorrupt
	}
	if h.kind == framed {
		return next.copyFramed(f, from, e.off, &h)
	}
	raw, err := readWhole(from, e.off, &h)
	if err != nil {
		return 0, err
	}
	rec := codec.Squeeze(make([]byte, recLen), raw)
	h.sum, h.stored = crc(rec[recLen:]), int64(len(rec)-recLen)
	h.encode(rec)
	rec = append(rec, make([]byte, aligned(h.stored)-h.stored)...)
	_, err = f.WriteAt(rec, next.end)
	return int64(len(rec)), err
}

// copyFramed copies the bytes of a framed record as they are.
func (next *pack) copyFramed(f vfs.File, from io.ReaderAt, off int64, h *header) (int64, error) {
	if err := checkFrames(from, off, h); err != nil {
		return 0, err
	}
	buf := make([]byte, 256<<10)
	n := h.length()
	for done := int64(0); done < n; {
		b := buf[:min(int64(len(buf)), n-done)]
		if m, err := from.ReadAt(b, off+done); m < len(b) {
			return 0, fmt.Errorf("read: %w", err)
		}
		if _, err := f.WriteAt(b, next.end+done); err != nil {
			return 0, err
		}
		done += int64(len(b))
	}
	return n, nil
}

func checkFrames(file io.ReaderAt, off int64, h *header) error {
	begins, err := framesOf(file, off, h)
	if err != nil {
		return err
	}
	var raw []byte
	for i := range int(h.frames) {
		if raw, err = readFrame(file, off, h, begins, i, raw[:0]); err != nil {
			return err
		}
	}
	return nil
}
