package pebblekv

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// A logger is where Pebble writes.
type logger struct {
	log  *slog.Logger
	disk *disk
}

func (l logger) Infof(format string, args ...any) {
	l.log.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (l logger) Errorf(format string, args ...any) {
	l.log.Warn("pebble: " + fmt.Sprintf(format, args...))
}

// Fatalf is called where Pebble expects the process to end, and returns. What
// Pebble does then is give the error to its caller: a flush or compaction that
// has not taken place, or a commit that nobody hears of, which waits for the
// disk and so gets the error from there.
func (l logger) Fatalf(format string, args ...any) {
	l.disk.fail(fmt.Errorf(format, args...))
}

func (s *Store) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			if !errors.Is(err, errFrozen) {
				s.log.Error("work in the background of the store has failed", "err", err)
			}
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			s.corrupt.Add(1)
			s.log.Error("a file of the store is damaged", "file", info.Path, "err", info.Details)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			s.stats.stalls.Add(1)
			s.log.Warn("the store cannot keep up: writers wait", "why", info.Reason)
		},
	}
}

type stats struct {
	views, updates, commits, stalls atomic.Uint64
}

// Metrics are numbers for those who watch the store.
type Metrics struct {
	Views, Updates, Commits uint64 // since Open
	InFlight                int64  // commits on their way to the disk
	Stalls                  uint64 // times that writers waited for flushes or compactions
	Corrupt                 int64  // damaged files met
	DiskBytes               uint64 // all files
	LogBytes                uint64 // of that, the write-ahead logs
	MemTableBytes           uint64
	CacheBytes              int64
	CacheHits, CacheMisses  int64
	ReadAmp                 int // sorted runs that a read may have to look at
	Flushes, Compactions    int64
	CompactionDebt          uint64 // bytes that compactions have yet to write
	Full, Failed            bool   // the disk
}

// Metrics gives the numbers as they are.
func (s *Store) Metrics() Metrics {
	if !s.users.enter() {
		return Metrics{}
	}
	defer s.users.leave()
	m := s.db.Metrics()
	ill := s.disk.ill()
	return Metrics{
		Views:          s.stats.views.Load(),
		Updates:        s.stats.updates.Load(),
		Commits:        s.stats.commits.Load(),
		InFlight:       s.flights.count.Load(),
		Stalls:         s.stats.stalls.Load(),
		Corrupt:        s.corrupt.Load(),
		DiskBytes:      m.DiskSpaceUsage(),
		LogBytes:       m.WAL.PhysicalSize,
		MemTableBytes:  m.MemTable.Size,
		CacheBytes:     m.BlockCache.Size,
		CacheHits:      m.BlockCache.Hits,
		CacheMisses:    m.BlockCache.Misses,
		ReadAmp:        m.ReadAmp(),
		Flushes:        m.Flush.Count,
		Compactions:    m.Compact.Count,
		CompactionDebt: m.Compact.EstimatedDebt,
		Full:           errors.Is(ill, errFull),
		Failed:         s.disk.failed() != nil,
	}
}
