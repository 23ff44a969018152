package keyring

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
)

// TestReturns: secrets are renewed, and the old one is good until nothing that was
// made with it can come back.
func TestReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := kv.Strict(memkv.New())
		k := &Keyring{DB: db}
		get := func(k *Keyring) [][]byte {
			list, err := k.Returns(t.Context())
			if err != nil || len(list) == 0 || len(list[0]) != secretLen {
				t.Fatalf("%x, %v", list, err)
			}
			return list
		}
		first := get(k)
		if again := get(&Keyring{DB: db}); len(first) != 1 || !bytes.Equal(again[0], first[0]) {
			t.Errorf("%x, %x", first, again)
		}
		time.Sleep(returnUse + time.Hour)
		if list := get(k); len(list) != 2 || bytes.Equal(list[0], first[0]) || !bytes.Equal(list[1], first[0]) {
			t.Errorf("%x after %x", list, first)
		}
		time.Sleep(returnKeep)
		if list := get(k); len(list) != 1 || bytes.Equal(list[0], first[0]) {
			t.Errorf("%x after %x", list, first)
		}
		// A row that long grows no longer than it must.
		for range 5 {
			time.Sleep(returnUse + time.Hour)
			get(k)
		}
		if list := get(k); len(list) != 2 {
			t.Errorf("%x", list)
		}
	})
}
