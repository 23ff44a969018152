package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"posthaste/internal/agent/backup"
	"posthaste/internal/base/metric"
	"posthaste/internal/engine/blob/packblob"
	"posthaste/internal/engine/kv/pebblekv"
	"posthaste/internal/store/queue"
)

// room is how it stands with the disk.
type room struct {
	free, all int64
	full      bool
}

// of adds what the engines of a store tell of themselves.
func (m *Metrics) of(s *Store) {
	type kv = metric.Field[pebblekv.Metrics]
	metric.Read(m.set, func() (pebblekv.Metrics, bool) { return s.index.Metrics(), true },
		kv{Name: "posthaste_pebblekv_views_total", Help: "Reading transactions.", Value: func(m pebblekv.Metrics) float64 { return float64(m.Views) }},
		kv{Name: "posthaste_pebblekv_updates_total", Help: "Writing transactions, also those that wrote nothing.", Value: func(m pebblekv.Metrics) float64 { return float64(m.Updates) }},
		kv{Name: "posthaste_pebblekv_commits_total", Help: "Transactions that were committed.", Value: func(m pebblekv.Metrics) float64 { return float64(m.Commits) }},
		kv{Name: "posthaste_pebblekv_waiting_commits", Help: "Commits on their way to the disk.", Value: func(m pebblekv.Metrics) float64 { return float64(m.InFlight) }},
		kv{Name: "posthaste_pebblekv_stalls_total", Help: "Times that writers had to wait, as flushes or compactions could not keep up.", Value: func(m pebblekv.Metrics) float64 { return float64(m.Stalls) }},
		kv{Name: "posthaste_pebblekv_damaged_files_total", Help: "Damaged files that were met.", Value: func(m pebblekv.Metrics) float64 { return float64(m.Corrupt) }},
		kv{Name: "posthaste_pebblekv_flushes_total", Help: "Times that rows were written from memory to a table.", Value: func(m pebblekv.Metrics) float64 { return float64(m.Flushes) }},
		kv{Name: "posthaste_pebblekv_compactions_total", Help: "Times that tables were merged.", Value: func(m pebblekv.Metrics) float64 { return float64(m.Compactions) }},
		kv{Name: "posthaste_pebblekv_compaction_debt_bytes", Help: "What compactions have yet to write.", Value: func(m pebblekv.Metrics) float64 { return float64(m.CompactionDebt) }},
		kv{Name: "posthaste_pebblekv_read_amplification_tables", Help: "Sorted runs that reading a row may have to look at.", Value: func(m pebblekv.Metrics) float64 { return float64(m.ReadAmp) }},
		kv{Name: "posthaste_pebblekv_disk_bytes", Help: "All files of rows.", Value: func(m pebblekv.Metrics) float64 { return float64(m.DiskBytes) }},
		kv{Name: "posthaste_pebblekv_log_bytes", Help: "The logs that are written ahead, which are a part of all files.", Value: func(m pebblekv.Metrics) float64 { return float64(m.LogBytes) }},
		kv{Name: "posthaste_pebblekv_memtable_bytes", Help: "Rows in memory that are not in a table yet.", Value: func(m pebblekv.Metrics) float64 { return float64(m.MemTableBytes) }},
		kv{Name: "posthaste_pebblekv_cache_bytes", Help: "Blocks of tables that are kept in memory.", Value: func(m pebblekv.Metrics) float64 { return float64(m.CacheBytes) }},
		kv{Name: "posthaste_pebblekv_cache_hits_total", Help: "Blocks that were found there.", Value: func(m pebblekv.Metrics) float64 { return float64(m.CacheHits) }},
		kv{Name: "posthaste_pebblekv_cache_misses_total", Help: "Blocks that were not.", Value: func(m pebblekv.Metrics) float64 { return float64(m.CacheMisses) }})
	type packs = metric.Field[packblob.Metrics]
	metric.Read(m.set, func() (packblob.Metrics, bool) { return s.packs.Metrics(), true },
		packs{Name: "posthaste_packblob_packs", Help: "Files of bodies.", Value: func(m packblob.Metrics) float64 { return float64(m.Packs) }},
		packs{Name: "posthaste_packblob_open_packs", Help: "Those that are open.", Value: func(m packblob.Metrics) float64 { return float64(m.Open) }},
		packs{Name: "posthaste_packblob_disk_bytes", Help: "All files of bodies.", Value: func(m packblob.Metrics) float64 { return float64(m.Bytes) }})
	type disk = metric.Field[room]
	metric.Read(m.set, s.room,
		disk{Name: "posthaste_dir_free_bytes", Help: "Room on the disk of the data folder, without the reserve.", Value: func(r room) float64 { return float64(r.free) }},
		disk{Name: "posthaste_dir_size_bytes", Help: "Size of that disk.", Value: func(r room) float64 { return float64(r.all) }},
		disk{Name: "posthaste_dir_full_state", Help: "1: the disk is full, the reserve is used up for what makes room, and new mail is put off.", Value: func(r room) float64 { return metric.State(r.full) }})
	metric.Read(m.set, func() (bool, bool) { return s.Failed() != nil, true },
		metric.Field[bool]{Name: "posthaste_dir_failed_state", Help: "1: the disk has failed, and nothing is written any more.", Value: metric.State})
}

func (s *Store) room() (r room, ok bool) {
	free, all, err := s.reserve.Room()
	return room{free, all, s.reserve.Full()}, err == nil
}

// metricsHandler tells all metrics.
func (h *House) metricsHandler() http.Handler { return metric.Handler(h.metrics.set, h.state) }

// stateMetrics makes the metrics of how this house stands: nothing is lost when the next
// house has its own.
func (h *House) stateMetrics() *metric.Set {
	s := metric.New()
	metric.Read(s, func() (struct{}, bool) { return struct{}{}, true },
		metric.Field[struct{}]{Name: "posthaste_server_build_info", Help: "1, with the version of Posthaste.", Label: "version", Is: h.o.Version, Value: func(struct{}) float64 { return 1 }})
	n := &counted{count: h.queue.Count, report: func(err error) { h.o.Log.Warn("the queue cannot be counted for the metrics", "error", err) }}
	type field = metric.Field[queue.Counts]
	const items = "Messages in the queue, one for each domain that they go to: due now, to be tried later or being tried, and held back by an administrator."
	metric.Read(s, n.get,
		field{Name: "posthaste_queue_items", Help: items, Label: "state", Is: "due", Value: func(c queue.Counts) float64 { return float64(c.Due) }},
		field{Name: "posthaste_queue_items", Help: items, Label: "state", Is: "later", Value: func(c queue.Counts) float64 { return float64(c.Later) }},
		field{Name: "posthaste_queue_items", Help: items, Label: "state", Is: "held", Value: func(c queue.Counts) float64 { return float64(c.Held) }},
		field{Name: "posthaste_queue_oldest_seconds", Help: "How long the oldest of them waits that is not held back; 0 if there is none.", Value: func(c queue.Counts) float64 {
			if c.Oldest.IsZero() {
				return 0
			}
			return max(0, time.Since(c.Oldest).Seconds())
		}})
	if h.backups == nil {
		return s
	}
	type sched = metric.Field[*backup.Schedule]
	metric.Read(s, func() (*backup.Schedule, bool) { return h.backups, true },
		sched{Name: "posthaste_backup_last_success_timestamp_seconds", Help: "When the last backup of the schedule was made, since 1970; 0 if none is known.", Value: func(b *backup.Schedule) float64 {
			if t := b.Newest(); !t.IsZero() {
				return float64(t.Unix())
			}
			return 0 // not nothing: an alert on how long ago it was must find it
		}},
		sched{Name: "posthaste_backup_interval_seconds", Help: "How often the schedule asks for one.", Value: func(b *backup.Schedule) float64 { return b.Every.Seconds() }})
	return s
}

const (
	// countEvery is how old a count of the queue may be, and countShare how much of the
	// time may be spent counting, at most: one part in so many.
	countEvery = 10 * time.Second
	countShare = 20
	// countTime is how long it may take: who asks does not wait longer.
	countTime = 8 * time.Second
)

// counted is the queue as it was counted last, so that who asks often does not cost
// much, however long the queue is.
type counted struct {
	count  func(context.Context) (queue.Counts, error)
	report func(error)

	mu   sync.Mutex
	last queue.Counts
	ok   bool
	next time.Time // when to count again
}

func (c *counted) get() (queue.Counts, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	begun := time.Now()
	if begun.Before(c.next) {
		return c.last, c.ok
	}
	ctx, cancel := context.WithTimeout(context.Background(), countTime)
	defer cancel()
	n, err := c.count(ctx)
	if c.last, c.ok = n, err == nil; err != nil {
		c.report(err)
	}
	now := time.Now()
	c.next = now.Add(max(countEvery, countShare*now.Sub(begun)))
	return c.last, c.ok
}
