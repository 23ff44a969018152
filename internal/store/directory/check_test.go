package directory

import (
	"errors"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// TestDirectoryCheck breaks each row, and looks that it is found.
func TestDirectoryCheck(t *testing.T) {
	d := newDirectory(t)
	var a Account
	must(t, update(t, d, func(tx kv.Tx) (err error) {
		if err := errors.Join(d.PutDomain(tx, "o.example"), d.PutDomainAlias(tx, "n.example", "o.example")); err != nil {
			return err
		}
		if a, err = d.PutAccount(tx, Account{Address: address("Ada@o.example")}); err != nil {
			return err
		}
		to := []mail.Address{address("x@far.example")}
		if err := d.PutCertificate(tx, a.ID, Certificate{Key: make([]byte, keyLen), Name: "laptop"}); err != nil {
			return err
		}
		if _, err := d.PutAppPassword(tx, a.ID, AppPassword{Name: "scanner", APOP: "secret"}, Credentials{Salt: []byte("salt"), Iterations: 4096}); err != nil {
			return err
		}
		return errors.Join(d.PutAlias(tx, Alias{Address: mail.Address{Domain: "o.example"}, Targets: to}), d.SetForward(tx, a.ID, &Forward{To: to}))
	}))
	if wrong, err := d.Check(t.Context()); err != nil || len(wrong) != 0 {
		t.Fatalf("%q, %v", wrong, err)
	}
	row := func(k []byte) (v []byte) {
		must(t, d.DB.View(t.Context(), func(r kv.Reader) (err error) {
			v, err = r.Get(k)
			return err
		}))
		return v
	}
	for want, k := range map[string][]byte{
		"is no domain":   domainKey("n.example"),
		"has no addr":    domainKey("o.example"),
		"leads to acc":   idKey(kindAccount, a.ID),
		"cannot be read": addressKey(a.Address),
		"the account of": idKey(kindAccount, a.ID),
		"to 0 addresses": addressKey(a.Address),
		"not have it":    certificateKey(a.ID, make([]byte, keyLen)),
		"by its key":     ownerKey(make([]byte, keyLen)),
		"is not known":   apopKey(a.ID, 1),
		"is not there":   appKey(a.ID, 1),
	} {
		good := row(k)
		must(t, update(t, d, func(tx kv.Tx) error {
			switch want {
			case "is no domain":
				tx.Set(k, Domain{AliasOf: "gone.example"}.row())
			case "has no addr":
				tx.Set(k, Domain{AliasOf: "n.example"}.row())
			case "cannot be read":
				tx.Set(k, []byte{99})
			case "the account of":
				tx.Set(k, Account{Address: address("bob@o.example")}.row())
			case "to 0 addresses":
				tx.Set(k, append(accountEntry(a.ID), 0, 0))
			default:
				tx.Delete(k)
			}
			return nil
		}))
		wrong, err := d.Check(t.Context())
		if err != nil || !strings.Contains(strings.Join(wrong, "\n"), want) {
			t.Errorf("%s: %q, %v", want, wrong, err)
		}
		must(t, update(t, d, func(tx kv.Tx) error {
			tx.Set(k, good)
			return nil
		}))
	}
	if wrong, err := d.Check(t.Context()); err != nil || len(wrong) != 0 {
		t.Errorf("%q, %v", wrong, err)
	}
}
