package pebblekv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"posthaste/internal/engine/kv"
)

// large gives a value that is kept apart, another one for each n.
func large(n uint64) []byte {
	return bytes.Repeat(binary.BigEndian.AppendUint64(nil, n*2654435761), 100)
}

// put writes large rows, from first to before last.
func put(t *testing.T, s *Store, l kv.Lock, first, last uint64) {
	t.Helper()
	for i := first; i < last; i += 100 {
		err := s.Update(t.Context(), plan(l), func(tx kv.Tx) error {
			for n := i; n < min(i+100, last); n++ {
				tx.Set(rowKey(l, n), large(n))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// settle flushes and compacts all.
func settle(t *testing.T, s *Store) {
	t.Helper()
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
}

// mustHave looks for exactly the large rows from first to before last, in all ways
// of reading.
func mustHave(t *testing.T, s *Store, l kv.Lock, first, last uint64) {
	t.Helper()
	err := s.View(t.Context(), func(r kv.Reader) error {
		var keys [][]byte
		n := first
		for p, err := range r.Scan(kv.Prefix(key(l, "r"))) {
			if err != nil {
				return err
			}
			if !bytes.Equal(p.Key, rowKey(l, n)) || !bytes.Equal(p.Value, large(n)) {
				return fmt.Errorf("row %d: key %x, %d bytes", n, p.Key, len(p.Value))
			}
			keys = append(keys, bytes.Clone(p.Key))
			n++
		}
		if n != last {
			return fmt.Errorf("the rows end at %d, not at %d", n, last)
		}
		for p, err := range r.Scan(kv.Range{Low: key(l, "r"), High: key(l, "s"), Reverse: true}) {
			if n--; err != nil || !bytes.Equal(p.Value, large(n)) {
				return fmt.Errorf("row %d, backwards: %d bytes, %w", n, len(p.Value), err)
			}
		}
		values, err := r.GetMany(keys...)
		if err != nil {
			return err
		}
		for i, k := range keys {
			one, err := r.Get(k)
			if err != nil || !bytes.Equal(one, large(first+uint64(i))) || !bytes.Equal(values[i], one) {
				return fmt.Errorf("row %d: %d and %d bytes, %w", first+uint64(i), len(one), len(values[i]), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestApart: large values are not part of the tree, and can be read all the same,
// also in a copy; those of rows that are gone take no room for ever.
func TestApart(t *testing.T) {
	fs := vfs.NewMem()
	s := openMem(t, Options{FS: fs})
	put(t, s, lockA, 0, 1000)
	put(t, s, lockB, 0, 3)
	settle(t, s)
	m := s.db.Metrics()
	if m.BlobFiles.ReferencedValueSize < 1003*800 || m.Total().TablesSize > 200_000 {
		t.Errorf("%d bytes are apart, %d in the tree", m.BlobFiles.ReferencedValueSize, m.Total().TablesSize)
	}
	mustHave(t, s, lockA, 0, 1000)
	mustHave(t, s, lockB, 0, 3)
	if err := s.Checkpoint("copy"); err != nil {
		t.Fatal(err)
	}

	err := s.Update(t.Context(), plan(lockA), func(tx kv.Tx) error {
		tx.DeleteRange(rowKey(lockA, 0), rowKey(lockA, 1000))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, lockA, 2000, 2010)
	settle(t, s)
	mustHave(t, s, lockA, 2000, 2010)
	mustHave(t, s, lockB, 0, 3)
	if n := s.db.Metrics().BlobFiles.ReferencedValueSize; n > 20_000 {
		t.Errorf("%d bytes are held for 13 rows", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openMem(t, Options{FS: fs})
	mustHave(t, s, lockA, 2000, 2010)

	c, err := Open("copy", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	mustHave(t, c, lockA, 0, 1000)
}

// TestRewritten writes, changes and deletes large and small values at random, over
// restarts, while those of files with much garbage are written anew all the time: what
// is read is what a map has.
func TestRewritten(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	o := Options{FS: vfs.NewMem(), memTable: 64 << 10, settled: time.Nanosecond}
	want := map[string][]byte{}
	rewritten := int64(0)
	for range 8 {
		s, err := Open("a/store", o)
		if err != nil {
			t.Fatal(err)
		}
		for range 150 {
			err := s.Update(t.Context(), plan(lockA), func(tx kv.Tx) error {
				for range 20 {
					k := rowKey(lockA, rnd.Uint64N(500))
					if rnd.IntN(4) == 0 {
						tx.Delete(k)
						delete(want, string(k))
						continue
					}
					v := make([]byte, 1+rnd.IntN(2000))
					for i := range v {
						v[i] = byte(rnd.Uint32())
					}
					tx.Set(k, v)
					want[string(k)] = v
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		settle(t, s)
		for n := 0; s.db.Metrics().Compact.BlobFileRewriteCount == 0 && n < 500; n++ {
			time.Sleep(2 * time.Millisecond) // it is done in the background, or not at all
		}
		rewritten += s.db.Metrics().Compact.BlobFileRewriteCount
		mustBe(t, s, want, seed)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if rewritten == 0 {
		t.Error("nothing was written anew")
	}
}

// mustBe looks for exactly these rows.
func mustBe(t *testing.T, s *Store, want map[string][]byte, seed uint64) {
	t.Helper()
	err := s.View(t.Context(), func(r kv.Reader) error {
		n := 0
		for p, err := range r.Scan(kv.Prefix(key(lockA, "r"))) {
			if n++; err != nil || !bytes.Equal(p.Value, want[string(p.Key)]) {
				return fmt.Errorf("row %x is wrong: %w", p.Key, err)
			}
			if one, err := r.Get(p.Key); err != nil || !bytes.Equal(one, p.Value) {
				return fmt.Errorf("row %x by itself is wrong: %w", p.Key, err)
			}
		}
		if n != len(want) {
			return fmt.Errorf("there are %d rows, not %d", n, len(want))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
}

// TestOlderFormat: a store of a release before is opened, and goes on.
func TestOlderFormat(t *testing.T) {
	fs := vfs.NewMem()
	old, err := pebble.Open("a/store", &pebble.Options{FS: fs, Logger: logger{slog.New(slog.DiscardHandler), nil}, FormatMajorVersion: pebble.FormatWALSyncChunks})
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(500) {
		if err := old.Set(rowKey(lockA, n), large(n), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		if n == 400 { // the rest is in the log only
			if err := old.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	s := openMem(t, Options{FS: fs})
	mustHave(t, s, lockA, 0, 500)
	put(t, s, lockA, 500, 600)
	settle(t, s)
	mustHave(t, s, lockA, 0, 600)
	if n := s.db.Metrics().BlobFiles.ReferencedValueSize; n < 100*800 {
		t.Errorf("%d bytes are apart", n)
	}
}
