package pebblekv

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"posthaste/internal/engine/kv"
)

// A ledger is what the outside world has been told: up to which row each lock
// was acknowledged to a writer or shown to a reader.
type ledger struct {
	mu    sync.Mutex
	known map[kv.Lock]uint64
	total int
}

func (l *ledger) tell(lock kv.Lock, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known[lock] = max(l.known[lock], n)
	l.total++
}

func (l *ledger) now() map[kv.Lock]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.known)
}

const crashLocks = 5

func crashLock(rnd *rand.Rand) kv.Lock { return kv.Lock{Class: 'a', ID: uint64(rnd.IntN(crashLocks))} }

func rowKey(l kv.Lock, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(l.Prefix(), 'r'), n)
}

func counter(r kv.Reader, l kv.Lock) (uint64, error) {
	v, err := r.Get(key(l, "n"))
	if v == nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(v), err
}

// pair adds a row under each of two locks; each names the other.
func pair(ctx context.Context, s kv.Store, l *ledger, a, b kv.Lock, filler []byte) error {
	var na, nb uint64
	err := s.Update(ctx, plan(b, a), func(tx kv.Tx) (err error) {
		if na, err = counter(tx, a); err != nil {
			return err
		}
		na++
		nb = na
		if a != b {
			if nb, err = counter(tx, b); err != nil {
				return err
			}
			nb++
		}
		add(tx, a, na, b, nb, filler)
		add(tx, b, nb, a, na, filler)
		return nil
	})
	if err == nil {
		l.tell(a, na)
		l.tell(b, nb)
	}
	return err
}

func add(tx kv.Tx, l kv.Lock, n uint64, other kv.Lock, m uint64, filler []byte) {
	v := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, other.ID), m)
	tx.Set(key(l, "n"), binary.BigEndian.AppendUint64(nil, n))
	tx.Set(rowKey(l, n), append(v, filler...))
}

// look reads one lock's rows, or all, and notes what it was shown.
func look(ctx context.Context, s kv.Store, led *ledger, rnd *rand.Rand) error {
	if rnd.IntN(2) == 0 {
		l := crashLock(rnd)
		var n uint64
		err := s.View(ctx, func(r kv.Reader) (err error) {
			n, err = counter(r, l)
			return err
		})
		if err == nil {
			led.tell(l, n)
		}
		return err
	}
	shown := map[kv.Lock]uint64{}
	err := s.View(ctx, func(r kv.Reader) error {
		for p, err := range r.Scan(kv.Range{Reverse: rnd.IntN(2) == 0, Limit: 400}) {
			if err != nil {
				return err
			}
			if l, _ := kv.LockOf(p.Key); p.Key[kv.PrefixLen] == 'r' {
				shown[l] = max(shown[l], binary.BigEndian.Uint64(p.Key[kv.PrefixLen+1:]))
			}
		}
		return nil
	})
	if err == nil {
		for l, n := range shown {
			led.tell(l, n)
		}
	}
	return err
}

// checkCut opens what a power cut has left: all that was told is there, the
// rows under a lock have no gap, and each pair is whole.
func checkCut(t *testing.T, fs vfs.FS, told map[kv.Lock]uint64) {
	s, err := Open("a/store", Options{FS: fs, CacheSize: 1 << 20})
	if err != nil {
		t.Fatalf("open after the cut: %v", err)
	}
	defer s.Close()
	err = s.View(t.Context(), func(r kv.Reader) error {
		for id := range uint64(crashLocks) {
			l := kv.Lock{Class: 'a', ID: id}
			n, err := counter(r, l)
			if err != nil {
				return err
			}
			if n < told[l] {
				t.Errorf("lock %d: %d was told, %d is there", id, told[l], n)
			}
			rows := uint64(0)
			for p, err := range r.Scan(kv.Prefix(key(l, "r"))) {
				if rows++; err != nil || string(p.Key) != string(rowKey(l, rows)) {
					return fmt.Errorf("lock %d, row %d: %x, %w", id, rows, p.Key, err)
				}
				other := kv.Lock{Class: 'a', ID: binary.BigEndian.Uint64(p.Value)}
				if v, err := r.Get(rowKey(other, binary.BigEndian.Uint64(p.Value[8:]))); v == nil || err != nil {
					return fmt.Errorf("lock %d, row %d: its other half is missing, %w", id, rows, err)
				}
			}
			if rows != n {
				t.Errorf("lock %d: %d rows, the counter says %d", id, rows, n)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

var cutFor = flag.Duration("cutfor", time.Second, "how long to go on with power cuts")

func TestPowerCut(t *testing.T) {
	cuts, told := 0, 0
	for begin, round := time.Now(), uint64(0); time.Since(begin) < *cutFor; round++ {
		const each = 8
		told += powerCuts(t, round, each)
		if cuts += each; t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	t.Logf("%d cuts, %d told", cuts, told)
}

// powerCuts runs writers and readers, and cuts the power of copies of their
// disk.
func powerCuts(t *testing.T, seed uint64, cuts int) int {
	mem := vfs.NewCrashableMem()
	o := Options{FS: mem}
	if seed%2 == 1 { // there are flushes and compactions, too
		o.memTable = 128 << 10
	}
	s := openMem(t, o)
	led := &ledger{known: map[kv.Lock]uint64{}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for g := range 12 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(g)))
			filler := make([]byte, 1+rnd.IntN(6000))
			for i := 0; ctx.Err() == nil && i < 300; i++ {
				var err error
				if g < 8 {
					err = pair(ctx, s, led, crashLock(rnd), crashLock(rnd), filler)
				} else {
					err = look(ctx, s, led, rnd)
				}
				if err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	rnd := rand.New(rand.NewPCG(seed, 99))
	for i := range cuts {
		time.Sleep(time.Duration(rnd.IntN(3000)) * time.Microsecond)
		told := led.now()
		cut := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: i % 2 * 50, RNG: rnd})
		checkCut(t, cut, told)
	}
	cancel()
	wg.Wait()
	return led.total
}
