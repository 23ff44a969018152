package packblob

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// A File is a pack in a snapshot. What is behind Size does not belong to it.
type File struct {
	Name string
	Size int64
}

// Snapshot links the packs as they are into dir, which must be there, on the same
// disk. Before that it calls rows, which makes a copy of what refers to the blobs:
// since the bytes of a blob are on the disk before anything refers to them, and
// nothing is swept meanwhile, all that the copy refers to is in the packs.
func (s *Store) Snapshot(ctx context.Context, dir string, rows func() error) ([]File, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fmt.Errorf("snapshot of the packs: %w", err)
	}
	defer s.leave()
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	if err := rows(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("snapshot of the packs: %w", s.err)
	}
	var files []File
	for _, p := range s.packs {
		files = append(files, File{p.name(), p.size})
	}
	s.mu.Unlock()
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	kept := files[:0]
	for _, f := range files {
		err := s.FS.Link(s.path(f.Name), s.FS.PathJoin(dir, f.Name))
		if err != nil && s.empty(f.Name) {
			continue // a pack in which nothing was written goes when it is sealed
		}
		if err != nil {
			return nil, fmt.Errorf("snapshot of the packs: %w", err)
		}
		kept = append(kept, f)
	}
	return kept, nil
}

// empty tells that a pack is no longer there.
func (s *Store) empty(name string) bool {
	num, _, _ := parseName(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.packs[num] == nil
}
