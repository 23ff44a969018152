package keyring

import (
	"crypto/x509"
	"encoding/binary"
	"testing"
	"time"

	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
)

// TestKeyRows: rows of the first version, which have no states, are read, and what
// is written anew is what was read.
func TestKeyRows(t *testing.T) {
	fresh, err := NewKeys("a.example", time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC), nil)
	if err != nil {
		t.Fatal(err)
	}
	more, err := NewKeys("a.example", fresh[0].Since, fresh)
	if err != nil || more[0].Selector != "r20261129b" || more[1].Selector != "e20261129b" {
		t.Fatal(more, err)
	}
	old := binary.AppendUvarint(nil, 2)
	for _, k := range fresh {
		der, err := x509.MarshalPKCS8PrivateKey(k.Signer.Key)
		if err != nil {
			t.Fatal(err)
		}
		old = kv.AppendBytes(kv.AppendBytes(old, k.Selector), der)
	}
	db := kv.Strict(memkv.New())
	err = db.Update(t.Context(), kv.Plan{Locks: []kv.Lock{Lock}}, func(tx kv.Tx) error {
		tx.Set(key("a.example"), old)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	k := &Keyring{DB: db}
	list, err := k.Signers(t.Context(), "a.example")
	if err != nil || len(list) != 2 || list[1].Selector != fresh[1].Selector {
		t.Fatal(list, err)
	}
	fresh[1].State, fresh[1].Seen = Retired, fresh[1].Since.Add(time.Hour)
	if _, err := k.Change(t.Context(), "a.example", func([]Key) ([]Key, error) { return fresh, nil }); err != nil {
		t.Fatal(err)
	}
	got, err := k.Have(t.Context(), "a.example")
	if err != nil || len(got) != 2 || got[0].State != Prepared || !got[0].Seen.IsZero() || got[1].State != Retired || !got[1].Seen.Equal(fresh[1].Seen) || !got[1].Since.Equal(fresh[1].Since) {
		t.Errorf("%+v, %v", got, err)
	}
	if list, err := k.Signers(t.Context(), "a.example"); err != nil || len(list) != 0 {
		t.Error("who does not sign:", list, err)
	}
}
