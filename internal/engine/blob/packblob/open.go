package packblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
	"posthaste/internal/engine/blob/codec"
)

// Open opens a blob for reading.
func (s *Store) Open(ctx context.Context, id mail.BlobID) (blob.Blob, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fmt.Errorf("open blob %s: %w", id, err)
	}
	defer s.leave()
	p, err := s.take(packOf(id))
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", id, err)
	}
	if p == nil {
		return nil, fmt.Errorf("open blob %s: %w", id, blob.ErrNotFound)
	}
	b := &reader{s: s, p: p, file: p.file}
	b.off, err = s.locate(p, id, &b.h)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open blob %s: %w", id, err), s.release(p))
	}
	return b, nil
}

// locate gives where the record of id is, and its header. The caller has taken
// the pack.
func (s *Store) locate(p *pack, id mail.BlobID, h *header) (int64, error) {
	if p.gen == 0 {
		off := int64(slotOf(id)) * align
		ok, err := readHeader(p.file, off, id, h)
		if ok || err != nil {
			return off, err
		}
	}
	e, ok, err := s.find(p, id)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, blob.ErrNotFound
	}
	if ok, err = readHeader(p.file, e.off, id, h); err == nil && !ok {
		err = blob.ErrCorrupt
	}
	return e.off, err
}

func readHeader(file io.ReaderAt, off int64, id mail.BlobID, h *header) (bool, error) {
	var b [recLen]byte
	if _, err := file.ReadAt(b[:], off); err == io.EOF {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("read a record: %w", err)
	}
	return h.decode(b[:]) && h.id == id, nil
}

// A reader is an open blob. It keeps the piece that was read last: the whole
// blob, or a frame of it.
type reader struct {
	s    *Store
	p    *pack
	file io.ReaderAt
	off  int64
	h    header

	mu     sync.Mutex // guards what follows
	closed bool
	raw    []byte  // the piece
	at     int     // its number, if raw is not nil
	begins []int64 // of the frames
}

func (r *reader) Size() int64 { return r.h.raw }

func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed, r.raw, r.begins = true, nil, nil
	return r.s.release(r.p)
}

// ReadAt reads as io.ReaderAt says.
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read blob %s: negative offset", r.h.id)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, fmt.Errorf("read blob %s: it is closed", r.h.id)
	}
	size := int64(maxWhole) + 1
	if r.h.kind == framed {
		size = frameRaw
	}
	n := 0
	for n < len(p) && off < r.h.raw {
		if err := r.piece(int(off / size)); err != nil {
			return n, fmt.Errorf("read blob %s: %w", r.h.id, err)
		}
		m := copy(p[n:], r.raw[off%size:])
		n, off = n+m, off+int64(m)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// piece makes raw the piece with this number.
func (r *reader) piece(number int) (err error) {
	if r.raw != nil && r.at == number {
		return nil
	}
	old := r.raw
	r.raw = nil
	if r.h.kind == framed {
		if r.begins == nil {
			if r.begins, err = framesOf(r.file, r.off, &r.h); err != nil {
				return err
			}
		}
		r.raw, err = readFrame(r.file, r.off, &r.h, r.begins, number, old[:0])
	} else {
		r.raw, err = readWhole(r.file, r.off, &r.h)
	}
	r.at = number
	return err
}

func readWhole(file io.ReaderAt, off int64, h *header) ([]byte, error) {
	buf := bodies.Get().(*[]byte)
	defer bodies.Put(buf)
	b, err := readStored(file, off, h, buf)
	if err != nil {
		return nil, err
	}
	raw, err := codec.Decode(make([]byte, 0, h.raw), b, h.raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", blob.ErrCorrupt, err)
	}
	if int64(len(raw)) != h.raw {
		return nil, blob.ErrCorrupt
	}
	return raw, nil
}

// readStored reads the payload of a whole record into buf.
func readStored(file io.ReaderAt, off int64, h *header, buf *[]byte) ([]byte, error) {
	if int64(cap(*buf)) < h.stored {
		*buf = make([]byte, h.stored)
	}
	b := (*buf)[:h.stored]
	if n, err := file.ReadAt(b, off+recLen); n < len(b) {
		if err == io.EOF {
			err = blob.ErrCorrupt
		}
		return nil, err
	}
	if crc(b) != h.sum {
		return nil, blob.ErrCorrupt
	}
	return b, nil
}

// readFrame reads a frame and puts its raw bytes into dst.
func readFrame(file io.ReaderAt, off int64, h *header, begins []int64, number int, dst []byte) ([]byte, error) {
	buf := bodies.Get().(*[]byte)
	defer bodies.Put(buf)
	n := begins[number+1] - begins[number]
	if n > 2*frameRaw {
		return nil, blob.ErrCorrupt
	}
	if int64(cap(*buf)) < n {
		*buf = make([]byte, n)
	}
	b := (*buf)[:n]
	if n, err := file.ReadAt(b, off+recLen+begins[number]); n < len(b) {
		if err == io.EOF {
			err = blob.ErrCorrupt
		}
		return nil, err
	}
	want := min(frameRaw, h.raw-int64(number)*frameRaw)
	return openFrame(dst, b, want)
}
