package pebblekv

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"posthaste/internal/engine/kv"
)

func openDisk(b *testing.B) *Store {
	b.Helper()
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// deliver writes what a delivery writes: two rows read and set again, six new.
func deliver(s *Store, l kv.Lock, n uint64, value []byte) error {
	return s.Update(context.Background(), plan(l), func(tx kv.Tx) error {
		k := make([]byte, 0, 64)
		for i := range byte(2) {
			k = append(l.AppendPrefix(k[:0]), i)
			if _, err := tx.Get(k); err != nil {
				return err
			}
			tx.Set(k, value[:100])
		}
		for i := range byte(6) {
			k = binary.BigEndian.AppendUint64(append(l.AppendPrefix(k[:0]), 2+i), n)
			tx.Set(k, value[:60+40*int(i)])
		}
		return nil
	})
}

func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := openDisk(b)
			value := make([]byte, 500)
			var n atomic.Uint64
			b.SetParallelism((writers + 1) / 2) // times GOMAXPROCS, which is 2 where this was made
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					if err := deliver(s, kv.Lock{Class: 'a', ID: rand.Uint64N(1000)}, i, value); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkUpdateOneLock(b *testing.B) {
	s := openDisk(b)
	value := make([]byte, 500)
	var n atomic.Uint64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := deliver(s, lockA, n.Add(1), value); err != nil {
				b.Error(err)
			}
		}
	})
}

const benchRows = 100_000

func loaded(b *testing.B) *Store {
	s := openDisk(b)
	value := make([]byte, 52)
	for i := 0; i < benchRows; i += 1000 {
		_ = s.Update(b.Context(), plan(lockA), func(tx kv.Tx) error {
			for j := range 1000 {
				tx.Set(rowKey(lockA, uint64(i+j)), value)
			}
			return nil
		})
	}
	if err := s.db.Flush(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	return s
}

func view(b *testing.B, s *Store, fn func(kv.Reader) error) {
	if err := s.View(b.Context(), fn); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkScan100k(b *testing.B) {
	s := loaded(b)
	for range b.N {
		n := 0
		view(b, s, func(r kv.Reader) error {
			for _, err := range r.Scan(kv.Prefix(lockA.Prefix())) {
				if n++; err != nil {
					return err
				}
			}
			return nil
		})
		if n != benchRows {
			b.Fatal(n)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := loaded(b)
	for i := range b.N {
		view(b, s, func(r kv.Reader) error { _, err := r.Get(rowKey(lockA, uint64(i*7919%benchRows))); return err })
	}
}

func BenchmarkGetMany(b *testing.B) {
	s := loaded(b)
	for _, step := range []uint64{1, 50} {
		for _, n := range []int{3, 8, 100} {
			keys := make([][]byte, n)
			for i := range keys {
				keys[i] = rowKey(lockA, 1000+uint64(i)*step)
			}
			b.Run(fmt.Sprintf("step=%d/n=%d", step, n), func(b *testing.B) {
				b.ReportAllocs()
				for range b.N {
					view(b, s, func(r kv.Reader) error { _, err := r.GetMany(keys...); return err })
				}
			})
			b.Run(fmt.Sprintf("step=%d/n=%d/gets", step, n), func(b *testing.B) {
				for range b.N {
					view(b, s, func(r kv.Reader) error {
						for _, k := range keys {
							if _, err := r.Get(k); err != nil {
								return err
							}
						}
						return nil
					})
				}
			})
		}
	}
}
