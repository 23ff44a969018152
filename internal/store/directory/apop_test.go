package directory

import (
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// TestAPOP: that somebody has a password for it is known until the last is gone.
func TestAPOP(t *testing.T) {
	d := newDirectory(t)
	has := func(want bool) {
		t.Helper()
		if got, err := d.HasAPOP(t.Context()); err != nil || got != want {
			t.Errorf("%v, %v", got, err)
		}
	}
	c := Credentials{Salt: []byte("salt"), Iterations: 4096}
	put := func(id mail.AccountID, p AppPassword) {
		t.Helper()
		must(t, update(t, d, func(tx kv.Tx) error {
			_, err := d.PutAppPassword(tx, id, p, c)
			return err
		}))
	}
	put(1, AppPassword{Name: "phone", Hash: []byte("h"), StoredKey: []byte("s"), StoredKey1: []byte("1"), ServerKey1: []byte("2")})
	has(false)
	put(1, AppPassword{Name: "scanner", APOP: "secret", Protocols: POP3})
	put(2, AppPassword{Name: "scanner", APOP: "another", Protocols: POP3})
	has(true)
	list, err := d.AppPasswords(t.Context(), 1)
	if err != nil || len(list) != 2 || list[0].APOP != "" || string(list[0].StoredKey1) != "1" || string(list[0].ServerKey1) != "2" || list[1].APOP != "secret" || list[1].StoredKey1 != nil {
		t.Errorf("%+v, %v", list, err)
	}
	if wrong, err := d.Check(t.Context()); err != nil || len(wrong) > 0 {
		t.Errorf("%q, %v", wrong, err)
	}
	must(t, update(t, d, func(tx kv.Tx) error { return d.DeleteAppPassword(tx, 1, "scanner") }))
	has(true)
	must(t, update(t, d, func(tx kv.Tx) error { return d.DeleteAccount(tx, 2) }))
	has(false)
}
