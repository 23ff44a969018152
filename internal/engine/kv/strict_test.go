package kv_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
)

var (
	mine  = kv.Lock{Class: 'a', ID: 1}
	other = kv.Lock{Class: 'a', ID: 2}
	free  = kv.Lock{Class: kv.Free, ID: 9}
)

func under(l kv.Lock, k string) []byte { return append(l.Prefix(), k...) }

func TestStrictPanics(t *testing.T) {
	big := make([]byte, kv.MaxValue)
	for name, fn := range map[string]func(kv.Tx){
		"set elsewhere":    func(tx kv.Tx) { tx.Set(under(other, "k"), nil) },
		"delete elsewhere": func(tx kv.Tx) { tx.Delete(under(other, "k")) },
		"range elsewhere":  func(tx kv.Tx) { tx.DeleteRange(under(other, ""), under(other, "k")) },
		"range goes on":    func(tx kv.Tx) { tx.DeleteRange(under(mine, ""), under(other, "k")) },
		"range to the end": func(tx kv.Tx) { tx.DeleteRange(under(mine, ""), nil) },
		"short key":        func(tx kv.Tx) { tx.Set([]byte("a"), nil) },
		"short key read":   func(tx kv.Tx) { _, _ = tx.Get([]byte("a")) },
		"short keys read":  func(tx kv.Tx) { _, _ = tx.GetMany(under(mine, ""), []byte("a")) },
		"long key":         func(tx kv.Tx) { tx.Set(under(mine, string(big[:kv.MaxKey])), nil) },
		"long value":       func(tx kv.Tx) { tx.Set(under(mine, "k"), append(big, 1)) },
		"large transaction": func(tx kv.Tx) {
			for i := range kv.MaxTx/kv.MaxValue + 1 {
				tx.Set(under(mine, string(rune(i))), big)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := kv.Strict(memkv.New())
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_ = s.Update(t.Context(), kv.Plan{Locks: []kv.Lock{mine}}, func(tx kv.Tx) error {
				fn(tx)
				return nil
			})
		})
	}
}

func TestStrictLets(t *testing.T) {
	s := kv.Strict(memkv.New())
	runs := 0
	err := s.Update(t.Context(), kv.Plan{Locks: []kv.Lock{mine}}, func(tx kv.Tx) error {
		runs++
		if v, err := tx.Get(under(mine, "k")); v != nil || err != nil {
			t.Errorf("run %d sees %q, %v: the first run was not undone", runs, v, err)
		}
		tx.Set(under(mine, "k"), bytes.Repeat([]byte{1}, kv.MaxValue))
		tx.Set(under(free, "k"), nil)
		tx.Delete(under(mine, "x"))
		tx.DeleteRange(under(mine, "x"), kv.Next(mine.Prefix()))
		tx.DeleteRange([]byte{kv.Free, 'T', 8: 0}, []byte{kv.Free, 'U', 8: 0}) // no lock, no border
		return nil
	})
	if err != nil || runs != 2 {
		t.Errorf("%d runs, %v", runs, err)
	}
	stop := errors.New("stop")
	runs = 0
	err = s.Update(t.Context(), kv.Plan{}, func(kv.Tx) error { runs++; return stop })
	if err != stop || runs != 1 {
		t.Errorf("%d runs, %v", runs, err)
	}
}

func TestStrictReaderEnds(t *testing.T) {
	s := kv.Strict(memkv.New())
	var r kv.Reader
	var kept kv.Pair
	_ = s.Update(context.Background(), kv.Plan{}, func(tx kv.Tx) error { tx.Set(under(free, "k"), []byte("v")); return nil })
	_ = s.View(context.Background(), func(in kv.Reader) error {
		r = in
		for p := range in.Scan(kv.Range{}) {
			kept = p
		}
		return nil
	})
	if string(kept.Value) == "v" {
		t.Error("a pair kept beyond its step is still whole")
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	_, _ = r.Get(under(free, "k"))
}
