package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"posthaste/internal/engine/blob"
	"posthaste/internal/engine/blob/packblob"
	"posthaste/internal/engine/dir"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/pebblekv"
	"posthaste/internal/server/config"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/signin"
)

// restoredName marks a store that came out of a backup and was not opened since.
const restoredName = "RESTORED"

// A Store is the embedded store, open.
type Store struct {
	DB    kv.Store
	Blobs blob.Store

	dir   *dir.Dir
	index *pebblekv.Store
	packs *packblob.Store

	reserve *dir.Reserve
	backing sync.Mutex // one backup at a time
	metrics *Metrics
}

// OpenStore opens the store in the configuration's folder, which is made if it does not exist.
// One process at a time may have it open.
func OpenStore(c config.Config, log *slog.Logger) (*Store, error) {
	path := c.Data
	d, err := dir.Open(path)
	if err != nil {
		return nil, err
	}
	// Links of a backup that was killed would hold the room of what is deleted.
	if err := os.RemoveAll(d.Path(stagingName)); err != nil {
		log.Warn("what a backup has left cannot be removed; the next one tries again", "error", err)
	}
	reserve := d.Reserve(log)
	if err := reserve.Release(); err != nil {
		log.Warn("the reserve for a full disk", "error", err)
	}
	metrics := NewMetrics()
	db, err := pebblekv.Open(filepath.Join(path, "index"), pebblekv.Options{Log: log, CacheSize: cacheBytes(c) / 2, Landed: metrics.landed})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store in %s: %w", path, err), d.Close())
	}
	blobs, err := packblob.Open(filepath.Join(path, "packs"), packblob.Options{Log: log})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store in %s: %w", path, err), db.Close(), d.Close())
	}
	s := &Store{DB: db, Blobs: blobs, dir: d, index: db, packs: blobs, reserve: reserve, metrics: metrics}
	metrics.of(s)
	if err := s.restored(context.Background()); err != nil {
		return nil, errors.Join(fmt.Errorf("store in %s: %w", path, err), s.Close())
	}
	return s, nil
}

// MarkRestored notes in a folder that a store comes there out of a backup. Whoever
// writes it there must say so first.
func MarkRestored(data string) error {
	return os.WriteFile(filepath.Join(data, restoredName), nil, 0o600)
}

// restored forgets in a store that came out of a backup who was signed in: some of them
// have signed out since, or had somebody else signed out.
func (s *Store) restored(ctx context.Context) error {
	if _, err := os.Stat(s.dir.Path(restoredName)); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	accts, err := (&directory.Directory{DB: s.DB}).Accounts(ctx)
	if err != nil {
		return err
	}
	sessions := &signin.Store{DB: s.DB}
	for _, a := range accts {
		if err := sessions.CloseAll(ctx, a.ID, ""); err != nil {
			return err
		}
	}
	return os.Remove(s.dir.Path(restoredName))
}

// Metrics gives what is counted, of the store and of the houses over it, for Outside.
func (s *Store) Metrics() *Metrics { return s.metrics }

// Guard keeps room on the disk for when it is full, until ctx ends.
func (s *Store) Guard(ctx context.Context) { s.reserve.Run(ctx) }

// Full says that nothing new may be stored for the moment, as Guard has found the disk
// full.
func (s *Store) Full() bool { return s.reserve.Full() }

// Failed tells why nothing can be written any more; nil if all is well.
func (s *Store) Failed() error {
	if err := s.index.Failed(); err != nil {
		return err
	}
	return s.packs.Failed()
}

// Close closes the engines, and lets others have the folder.
func (s *Store) Close() error {
	return errors.Join(s.DB.Close(), s.Blobs.Close(), s.dir.Close())
}
