package keyring

import (
	"strings"
	"testing"

	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
)

// TestRefreshToken: what came last in place of the first counts, until there is
// another first.
func TestRefreshToken(t *testing.T) {
	k := &Keyring{DB: kv.Strict(memkv.New())}
	want := func(name, first, want string) {
		t.Helper()
		if got, err := k.RefreshToken(t.Context(), name, first); err != nil || got != want {
			t.Errorf("%s, first %s: %q, %v, want %s", name, first, got, err, want)
		}
	}
	want("route", "one", "one")
	for _, next := range []string{"two", "three"} {
		if err := k.KeepRefreshToken(t.Context(), "route", "one", next); err != nil {
			t.Fatal(err)
		}
	}
	want("route", "one", "three")
	want("route", "anew", "anew")
	want("other", "one", "one")
	if _, err := k.Signers(t.Context(), "a.example"); err != nil {
		t.Fatal(err)
	}
	if wrong, err := k.Check(t.Context()); err != nil || len(wrong) > 0 {
		t.Errorf("%q, %v", wrong, err)
	}
	err := k.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{Lock}}, func(tx kv.Tx) error {
		tx.Set(refreshKey("route"), []byte{9})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.RefreshToken(t.Context(), "route", "one"); err == nil {
		t.Error("a broken row was read")
	}
	if wrong, err := k.Check(t.Context()); err != nil || len(wrong) != 1 || !strings.Contains(wrong[0], "route") {
		t.Errorf("%q, %v", wrong, err)
	}
}
