package directory

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// TestCertificates: a key opens one account, until it is removed or the account is.
func TestCertificates(t *testing.T) {
	d := newDirectory(t)
	k := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, keyLen) }
	put := func(id mail.AccountID, name string, key []byte, want error) {
		t.Helper()
		err := update(t, d, func(tx kv.Tx) error {
			return d.PutCertificate(tx, id, Certificate{Key: key, Name: name, Protocols: IMAP})
		})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	put(1, "laptop", k(1), nil)
	put(1, "Laptop", k(2), mail.ErrExists)
	put(1, "other", k(1), mail.ErrExists)
	put(2, "laptop", k(1), mail.ErrExists)
	put(2, "laptop", k(3), nil)
	put(99, "nobody", k(4), mail.ErrNotFound)
	if err := update(t, d, func(tx kv.Tx) error { return d.PutCertificate(tx, 1, Certificate{Key: []byte("short"), Name: "x"}) }); err == nil {
		t.Error("a short key")
	}
	owner := func(key []byte, want mail.AccountID) {
		t.Helper()
		a, c, err := d.ByKey(t.Context(), key)
		if want == 0 && errors.Is(err, mail.ErrNotFound) {
			return
		}
		if err != nil || a.ID != want || c.Name != "laptop" || !bytes.Equal(c.Key, key) || c.Protocols != IMAP || c.Created.IsZero() {
			t.Errorf("%x: %+v, %+v, %v", key[0], a, c, err)
		}
	}
	owner(k(1), 1)
	owner(k(2), 0)
	owner(k(3), 2)
	remove := func(name string) error {
		return update(t, d, func(tx kv.Tx) error { return d.DeleteCertificate(tx, 1, name) })
	}
	if err := remove("LAPTOP"); err != nil {
		t.Error(err)
	}
	if err := remove("laptop"); !errors.Is(err, mail.ErrNotFound) {
		t.Error(err)
	}
	owner(k(1), 0)
	put(2, "tablet", k(1), nil)
	must(t, update(t, d, func(tx kv.Tx) error { return d.DeleteAccount(tx, 2) }))
	owner(k(3), 0)
	for i := range MaxCertificates {
		put(1, fmt.Sprint(i), k(i), nil)
	}
	put(1, "one more", k(200), mail.ErrLimit)
	if list, err := d.Certificates(t.Context(), 1); err != nil || len(list) != MaxCertificates {
		t.Error(len(list), err)
	}
	if wrong, err := d.Check(t.Context()); err != nil || len(wrong) > 0 {
		t.Errorf("%q, %v", wrong, err)
	}
}
