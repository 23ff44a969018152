package packblob

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
	"posthaste/internal/engine/blob/codec"
)

// keepIdle is how many packs for large bodies stay open for the next.
const keepIdle = 4

// maxBlob is the largest body.
const maxBlob = 8 << 30

// ErrTooLarge: the blob has more than 8 GB.
var ErrTooLarge = errors.New("blob: too large")

// putFramed stores what is in body and what r gives behind it.
func (s *Store) putFramed(ctx context.Context, body []byte, r io.Reader) (mail.BlobID, int64, error) {
	p, err := s.borrow()
	if err != nil {
		return mail.BlobID{}, 0, fmt.Errorf("put a blob: %w", err)
	}
	w := &frameWriter{p: p, off: p.end + recLen}
	w.h = header{kind: framed, id: makeID(p.num, p.end, rand.Uint64())}
	err = w.copy(ctx, body, r)
	if err == nil {
		w.h.put = s.Now().UnixMilli()
		if err = w.finish(); err == nil {
			if err = p.file.SyncData(); err != nil {
				err = s.fail(fmt.Errorf("sync of %s: %w", p.name(), err))
			}
		}
		if err != nil {
			err = fmt.Errorf("put a blob: %w", err)
		}
	}
	if err == nil {
		s.mu.Lock()
		p.entries = append(p.entries, entry{w.h.id, p.end, w.h.length()})
		p.put(w.h.put)
		p.end += w.h.length()
		p.size = p.end
		s.mu.Unlock()
	}
	s.giveBack(p)
	if err != nil {
		return mail.BlobID{}, 0, err
	}
	return w.h.id, w.h.raw, nil
}

// borrow gives a pack that nobody else writes.
func (s *Store) borrow() (*pack, error) {
	s.mu.Lock()
	if n := len(s.idle); n > 0 {
		p := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		return p, nil
	}
	s.mu.Unlock()
	return s.create()
}

// giveBack ends borrow. A pack that is full is sealed.
func (s *Store) giveBack(p *pack) {
	s.mu.Lock()
	if s.err != nil || p.end < s.PackSize && len(s.idle) < keepIdle {
		s.idle = append(s.idle, p)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	if err := s.seal(p); err != nil {
		s.Log.Warn("a pack could not be sealed", "pack", p.name(), "err", err)
	}
}

// A frameWriter writes one framed record behind the end of a pack. Until the
// header is there, there is no record.
type frameWriter struct {
	p     *pack
	h     header
	off   int64  // of the next frame
	index []byte // the length of each frame
	buf   []byte // a frame as it is stored
}

// copy writes the frames of body and r. An error of r is given as it is.
func (w *frameWriter) copy(ctx context.Context, body []byte, r io.Reader) error {
	for ; len(body) >= frameRaw; body = body[frameRaw:] {
		if err := w.frame(body[:frameRaw]); err != nil {
			return err
		}
	}
	buf := make([]byte, frameRaw)
	for have := copy(buf, body); ; have = 0 {
		n, err := io.ReadFull(r, buf[have:])
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			return err
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("put a blob: %w", err)
		}
		if n += have; n > 0 {
			if err := w.frame(buf[:n]); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}

// frame appends one frame: the crc and the length of what follows, and that.
func (w *frameWriter) frame(raw []byte) error {
	if w.h.raw += int64(len(raw)); w.h.raw > maxBlob || w.off > maxOffset-2*maxBlob {
		return fmt.Errorf("put a blob: %w", ErrTooLarge)
	}
	var room [frameHead]byte
	w.buf = codec.Encode(append(w.buf[:0], room[:]...), raw)
	binary.LittleEndian.PutUint32(w.buf[0:], crc(w.buf[frameHead:]))
	binary.LittleEndian.PutUint32(w.buf[4:], uint32(len(w.buf)-frameHead))
	if _, err := w.p.file.WriteAt(w.buf, w.off); err != nil {
		return fmt.Errorf("put a blob: write to %s: %w", w.p.name(), err)
	}
	w.off += int64(len(w.buf))
	w.index = binary.LittleEndian.AppendUint32(w.index, uint32(len(w.buf)))
	w.h.frames++
	return nil
}

// finish writes the index behind the frames, and the header before them.
func (w *frameWriter) finish() error {
	w.h.sum = crc(w.index)
	w.h.stored = w.off + int64(len(w.index)) - w.p.end - recLen
	end := append(w.index, make([]byte, aligned(w.h.stored)-w.h.stored)...)
	if _, err := w.p.file.WriteAt(end, w.off); err != nil {
		return fmt.Errorf("write to %s: %w", w.p.name(), err)
	}
	var b [recLen]byte
	w.h.encode(b[:])
	if _, err := w.p.file.WriteAt(b[:], w.p.end); err != nil {
		return fmt.Errorf("write to %s: %w", w.p.name(), err)
	}
	return nil
}

// framesOf reads the index of a framed record and gives where each frame
// begins, from the begin of the payload, and where the last one ends.
func framesOf(file io.ReaderAt, off int64, h *header) ([]int64, error) {
	b := make([]byte, 4*int64(h.frames))
	at := off + recLen + h.stored - int64(len(b))
	if _, err := file.ReadAt(b, at); err != nil && err != io.EOF {
		return nil, err
	}
	if crc(b) != h.sum {
		return nil, blob.ErrCorrupt
	}
	begins := make([]int64, 1, h.frames+1)
	sum := int64(0)
	for ; len(b) > 0; b = b[4:] {
		sum += int64(binary.LittleEndian.Uint32(b))
		begins = append(begins, sum)
	}
	if sum != h.stored-4*int64(h.frames) {
		return nil, blob.ErrCorrupt
	}
	return begins, nil
}

// openFrame checks a stored frame and appends its raw bytes to dst.
func openFrame(dst, b []byte, want int64) ([]byte, error) {
	if len(b) < frameHead || int(binary.LittleEndian.Uint32(b[4:])) != len(b)-frameHead ||
		crc(b[frameHead:]) != binary.LittleEndian.Uint32(b) {
		return nil, blob.ErrCorrupt
	}
	raw, err := codec.Decode(dst, b[frameHead:], want)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", blob.ErrCorrupt, err)
	}
	if int64(len(raw)-len(dst)) != want {
		return nil, blob.ErrCorrupt
	}
	return raw, nil
}
