package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"posthaste/internal/agent/backup"
	"posthaste/internal/server/config"
)

// What backups leave in the folder of the store.
const (
	stagingName = "backup.tmp"   // links to what is being copied
	cacheName   = "backup.cache" // what need not be read again
)

// Backups is Backup as Outside wants it, by a version of the program.
func (s *Store) Backups(version string) func(context.Context, *backup.Repository) (backup.Written, error) {
	return func(ctx context.Context, r *backup.Repository) (backup.Written, error) {
		return s.Backup(ctx, r, version)
	}
}

// Backup writes a generation of the store into a repository, while others go on:
// the rows are as at one moment, and all bodies that they refer to are there.
func (s *Store) Backup(ctx context.Context, r *backup.Repository, version string) (w backup.Written, err error) {
	s.backing.Lock()
	defer s.backing.Unlock()
	staging := s.dir.Path(stagingName)
	if err := os.RemoveAll(staging); err != nil {
		return w, fmt.Errorf("backup: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	files, err := s.snapshot(ctx, staging)
	if err != nil {
		return w, err
	}
	caches := map[string]backup.Cache{}
	if b, err := os.ReadFile(s.dir.Path(cacheName)); err == nil && json.Unmarshal(b, &caches) != nil {
		caches = map[string]backup.Cache{} // it only saves time
	}
	known := caches[r.Depot.String()]
	if known == nil {
		known = backup.Cache{}
	}
	if w, err = r.Create(ctx, time.Now(), version, files, known); err != nil {
		return w, err
	}
	caches[r.Depot.String()] = known
	b, err := json.Marshal(caches)
	if err == nil {
		err = os.WriteFile(s.dir.Path(cacheName), b, 0o600)
	}
	return w, err
}

// snapshot links the files of the store into a folder.
func (s *Store) snapshot(ctx context.Context, staging string) (files []backup.File, err error) {
	packs, index := filepath.Join(staging, "packs"), filepath.Join(staging, "index")
	if err := os.MkdirAll(packs, 0o700); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	sizes, err := s.packs.Snapshot(ctx, packs, func() error { return s.index.Checkpoint(index) })
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(index)
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	for _, e := range entries {
		st, err := e.Info()
		if err != nil {
			return nil, fmt.Errorf("backup: %w", err)
		}
		if st.Mode().IsRegular() {
			files = append(files, backup.File{Path: "index/" + e.Name(), From: filepath.Join(index, e.Name()), Size: st.Size()})
		}
	}
	for _, f := range sizes {
		files = append(files, backup.File{Path: "packs/" + f.Name, From: filepath.Join(packs, f.Name), Size: f.Size})
	}
	st, err := os.Stat(s.dir.Path("FORMAT"))
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	return append(files, backup.File{Path: "FORMAT", From: s.dir.Path("FORMAT"), Size: st.Size()}), nil
}

// Depot gives the place of backups that is named so: a folder, or s3://bucket/prefix,
// which is reached as the configuration says.
func Depot(c config.Config, where string) (backup.Depot, error) {
	return backup.OpenDepot(where, c.Backup.S3.Settings())
}

// depot gives the place that is named so.
func (h *House) depot(where string) (backup.Depot, error) { return Depot(h.c, where) }

// scheduled makes what the configuration says about backups; nil if it says
// nothing.
func (h *House) scheduled(c config.Config, o Outside) (*backup.Schedule, error) {
	if c.Backup.Directory == "" || o.Backup == nil {
		return nil, nil
	}
	to, err := backup.ParseRecipients(c.Backup.Recipients)
	if err != nil {
		return nil, fmt.Errorf("server: backup: %w", err)
	}
	at, err := h.depot(c.Backup.Directory)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	return &backup.Schedule{
		Repository: &backup.Repository{Depot: at, Recipients: to}, Every: time.Duration(c.Backup.Every), Keep: c.Backup.Keep, Make: o.Backup, Log: o.Log,
	}, nil
}
