package packblob

import (
	"context"
	"errors"
	"fmt"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
)

// maxReported is how many damaged blobs a scrub names.
const maxReported = 1000

// Scrubbed is what a scrub found.
type Scrubbed struct {
	Blobs, Bytes int64         // read
	Corrupt      []mail.BlobID // those whose bytes are not what was put; not more than 1000
}

// Scrub reads every blob and checks it, with not more than rate bytes a second
// (0: as fast as it goes). A damaged blob is no error of the scrub.
func (s *Store) Scrub(ctx context.Context, rate int64) (Scrubbed, error) {
	var found Scrubbed
	if err := s.enter(ctx); err != nil {
		return found, fmt.Errorf("scrub: %w", err)
	}
	defer s.leave()
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	begin := time.Now()
	for _, num := range s.numbers() {
		if err := s.scrubPack(ctx, num, rate, begin, &found); err != nil {
			return found, fmt.Errorf("scrub: %w", err)
		}
	}
	return found, nil
}

func (s *Store) scrubPack(ctx context.Context, num uint32, rate int64, begin time.Time, found *Scrubbed) error {
	p, err := s.take(num)
	if p == nil || err != nil {
		return err
	}
	entries, err := s.list(p)
	if err != nil {
		return errors.Join(err, s.release(p))
	}
	for _, e := range entries {
		err := p.check(e)
		if errors.Is(err, blob.ErrCorrupt) {
			s.Log.Error("a blob is damaged", "blob", e.id, "pack", p.name(), "err", err)
			if len(found.Corrupt) < maxReported {
				found.Corrupt = append(found.Corrupt, e.id)
			}
		} else if err != nil {
			return errors.Join(err, s.release(p))
		}
		found.Blobs++
		found.Bytes += e.length
		if err := pace(ctx, rate, found.Bytes, begin); err != nil {
			return errors.Join(err, s.release(p))
		}
	}
	return s.release(p)
}

// pace waits until so many bytes are due.
func pace(ctx context.Context, rate, bytes int64, begin time.Time) error {
	if rate <= 0 {
		return ctx.Err()
	}
	due := time.Duration(float64(bytes) / float64(rate) * float64(time.Second))
	ahead := due - time.Since(begin)
	if ahead < 10*time.Millisecond {
		return ctx.Err()
	}
	t := time.NewTimer(ahead)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pack) check(e entry) error {
	var h header
	ok, err := readHeader(p.file, e.off, e.id, &h)
	if err != nil {
		return err
	}
	if !ok {
		return blob.ErrCorrupt
	}
	if h.kind == framed {
		return checkFrames(p.file, e.off, &h)
	}
	_, err = readWhole(p.file, e.off, &h)
	return err
}
