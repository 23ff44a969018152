// Package memblob is the engine of blob that lives in memory: for tests, and
// for trying the server out. It keeps all promises of blob but durability.
package memblob

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
)

// A Store is an engine in memory. New makes it.
type Store struct {
	// Now is the clock of the store, time.Now if nil. Set it before use.
	Now func() time.Time
	// Grace is how old a blob must be for a sweep to ask about it.
	Grace time.Duration

	mu     sync.Mutex
	blobs  map[mail.BlobID]entry
	last   uint64
	closed bool
}

var _ blob.Store = (*Store)(nil)

type entry struct {
	body []byte
	put  time.Time
}

// New makes an empty store that sweeps blobs of any age.
func New() *Store { return &Store{blobs: make(map[mail.BlobID]entry)} }

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// Put stores all that r gives.
func (s *Store) Put(ctx context.Context, r io.Reader) (mail.BlobID, int64, error) {
	if err := ctx.Err(); err != nil {
		return mail.BlobID{}, 0, err
	}
	body, err := io.ReadAll(r)
	if err != nil {
		return mail.BlobID{}, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return mail.BlobID{}, 0, fmt.Errorf("put: %w", blob.ErrClosed)
	}
	s.last++
	var id mail.BlobID
	binary.BigEndian.PutUint64(id[8:], s.last)
	s.blobs[id] = entry{body, s.now()}
	return id, int64(len(body)), nil
}

// Open opens a blob for reading.
func (s *Store) Open(ctx context.Context, id mail.BlobID) (blob.Blob, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("open %s: %w", id, blob.ErrClosed)
	}
	e, ok := s.blobs[id]
	if !ok {
		return nil, fmt.Errorf("open %s: %w", id, blob.ErrNotFound)
	}
	return open{bytes.NewReader(e.body)}, nil
}

// An open blob keeps its bytes, whatever becomes of the store.
type open struct{ *bytes.Reader }

func (open) Close() error { return nil }

// Sweep forgets the blobs that keep says no to.
func (s *Store) Sweep(ctx context.Context, keep func(mail.BlobID) (bool, error)) (blob.Swept, error) {
	var swept blob.Swept
	old, err := s.old()
	if err != nil {
		return swept, err
	}
	for _, id := range old {
		if err := ctx.Err(); err != nil {
			return swept, err
		}
		wanted, err := keep(id)
		if err != nil {
			return swept, err
		}
		if !wanted {
			s.mu.Lock()
			swept.Blobs++
			swept.Bytes += int64(len(s.blobs[id].body))
			delete(s.blobs, id)
			s.mu.Unlock()
		}
	}
	return swept, nil
}

func (s *Store) old() ([]mail.BlobID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("sweep: %w", blob.ErrClosed)
	}
	var ids []mail.BlobID
	for id, e := range s.blobs {
		if s.now().Sub(e.put) >= s.Grace {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Close closes the store; its blobs are gone, but for those that are open.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return blob.ErrClosed
	}
	s.closed, s.blobs = true, nil
	return nil
}
