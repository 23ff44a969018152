package memkv

import (
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/kvtest"
)

func TestContract(t *testing.T) {
	kvtest.Run(t, func(*testing.T) kv.Store { return New() })
}

func TestContractStrict(t *testing.T) {
	kvtest.Run(t, func(*testing.T) kv.Store { return kv.Strict(New()) })
}

// Waiting for a lock and for a topic lets the bubble's clock run.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		p := kv.Plan{Locks: []kv.Lock{{Class: 'a'}}}
		c, stop := kv.Subscribe(s, 1)
		defer stop()
		begin := time.Now()
		for range 3 {
			go func() {
				_ = s.Update(t.Context(), p, func(tx kv.Tx) error {
					time.Sleep(time.Hour)
					tx.Wake(1)
					return nil
				})
			}()
		}
		for range 3 {
			<-c
		}
		if d := time.Since(begin); d != 3*time.Hour {
			t.Errorf("it took %v", d)
		}
	})
}

func TestClock(t *testing.T) {
	s := New()
	then := time.Unix(1_000_000_000, 0)
	s.Now = func() time.Time { return then }
	_ = s.Update(t.Context(), kv.Plan{}, func(tx kv.Tx) error {
		if !tx.Now().Equal(then) {
			t.Errorf("it is %v", tx.Now())
		}
		return nil
	})
}

func BenchmarkUpdate(b *testing.B) {
	s := New()
	p := kv.Plan{Locks: []kv.Lock{{Class: 'a'}}}
	k := append(p.Locks[0].Prefix(), 0, 0, 0)
	v := make([]byte, 100)
	b.ReportAllocs()
	for i := range b.N {
		k[9], k[10], k[11] = byte(i>>16), byte(i>>8), byte(i)
		_ = s.Update(b.Context(), p, func(tx kv.Tx) error { tx.Set(k, v); return nil })
	}
}
