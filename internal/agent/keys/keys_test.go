package keys

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/keyring"
)

const ours = mail.Domain("a.example")

func newAgent(t *testing.T) (*Agent, *zone.Zone) {
	db := kv.Strict(memkv.New())
	z := new(zone.Zone)
	dir := &directory.Directory{DB: db}
	err := db.Update(t.Context(), kv.Plan{Locks: []kv.Lock{directory.Lock}}, func(tx kv.Tx) error { return dir.PutDomain(tx, ours) })
	if err != nil {
		t.Fatal(err)
	}
	return &Agent{Keys: &keyring.Keyring{DB: db}, Directory: dir, DNS: z, Log: slog.New(slog.DiscardHandler)}, z
}

// states tells what each key is for: letter of the selector, state.
func (a *Agent) states(t *testing.T) string {
	t.Helper()
	list, err := a.List(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, k := range list {
		out = append(out, k.Selector[:1]+" "+k.State.String())
	}
	return strings.Join(out, ", ")
}

func publish(t *testing.T, z *zone.Zone, k keyring.Key) {
	t.Helper()
	rec, err := k.Record()
	if err != nil {
		t.Fatal(err)
	}
	z.Text(k.Name(), rec)
}

// TestTurns is the life of keys: new ones sign an hour after both can be seen, and
// old ones are kept until nothing that they signed is under way.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, z := newAgent(t)
		round := func() {
			t.Helper()
			if err := a.Round(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		want := func(now string) {
			t.Helper()
			if got := a.states(t); got != now {
				t.Errorf("%s, want %s", got, now)
			}
		}
		want("r signing, e signing")
		before, err := a.Keys.Signers(t.Context(), ours)
		if err != nil || len(before) != 2 {
			t.Fatal(before, err)
		}
		for _, s := range before {
			publish(t, z, keyring.Key{Signer: s})
		}
		list, err := a.Prepare(t.Context(), ours)
		if err != nil || len(list) != 4 || list[2].Selector == list[0].Selector {
			t.Fatal(list, err)
		}
		if _, err := a.Prepare(t.Context(), ours); !errors.Is(err, ErrPrepared) {
			t.Error("prepared twice:", err)
		}
		var unpublished *ErrUnpublished
		if _, err := a.Use(t.Context(), ours); !errors.As(err, &unpublished) {
			t.Error("used unpublished:", err)
		}
		publish(t, z, list[2])
		round()
		time.Sleep(2 * SettleTime)
		round()
		want("r signing, e signing, r prepared, e prepared") // one is missing
		publish(t, z, list[3])
		round()
		z.Fail(list[3].Name(), fmt.Errorf("nothing: %w", dns.ErrTemporary))
		time.Sleep(SettleTime)
		round()
		want("r signing, e signing, r prepared, e prepared") // nobody knows
		z.Fail(list[3].Name(), nil)
		round()
		want("r retired, e retired, r signing, e signing")
		if now, err := a.Keys.Signers(t.Context(), ours); err != nil || len(now) != 2 || now[0].Selector != list[2].Selector {
			t.Error(now, err)
		}
		// Taken out of the DNS too early, they are not forgotten; left there too long,
		// neither.
		z.Forget(list[0].Name())
		time.Sleep(KeepTime - time.Minute)
		round()
		want("r retired, e retired, r signing, e signing")
		time.Sleep(2 * time.Minute)
		round()
		want("e retired, r signing, e signing")
		z.Forget(list[1].Name())
		round()
		want("r signing, e signing")
	})
}

// TestUse: who has seen to it that the new keys are published need not wait.
func TestUse(t *testing.T) {
	a, z := newAgent(t)
	if _, err := a.Use(t.Context(), ours); !errors.Is(err, ErrNotPrepared) {
		t.Error(err)
	}
	list, err := a.Prepare(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	z.Text(list[2].Name(), "v=DKIM1; k=rsa; p=MIIB")
	publish(t, z, list[3])
	if _, err := a.Use(t.Context(), ours); err == nil || !strings.Contains(err.Error(), "no such key") {
		t.Error("another record:", err)
	}
	z.Forget(list[2].Name())
	publish(t, z, list[2])
	if _, err := a.Use(t.Context(), ours); err != nil {
		t.Fatal(err)
	}
	if got := a.states(t); got != "r retired, e retired, r signing, e signing" {
		t.Error(got)
	}
	if _, err := a.List(t.Context(), "other.example"); !errors.Is(err, mail.ErrNotFound) {
		t.Error(err)
	}
	if wrong, err := a.Keys.Check(t.Context()); err != nil || len(wrong) > 0 {
		t.Error(wrong, err)
	}
}
