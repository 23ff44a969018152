package directory

import (
	"reflect"
	"testing"
	"time"

	"posthaste/internal/base/mail"
)

// TestFormer: what is said of a former server is there again, and an account's row
// is as it was without one.
func TestFormer(t *testing.T) {
	a := Account{ID: 7, Address: mail.Address{Local: "ada", Domain: "example.org"}, Created: time.Unix(1e9, 0), Admin: true}
	before := string(a.row())
	a.Former = &Former{
		State: Flipping, IMAP: FormerHost{"old.example:993", "tls"}, POP3: FormerHost{"old.example:110", "none"}, CA: []byte("pem"),
		User: "ada", Master: "root", Password: "secret", Learn: true, UIDL: "%08Xu%08Xv", Began: time.Unix(2e9, 0), Failed: "the line broke",
	}
	row := a.row()
	got, err := decodeAccount(7, row)
	if err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("%+v became %+v, %v", a.Former, got.Former, err)
	}
	for n := len(before) + 2; n < len(row); n++ {
		if _, err := decodeAccount(7, row[:n]); err == nil {
			t.Errorf("%d of %d bytes are taken for all", n, len(row))
		}
	}
	a.Former = nil
	if got := string(a.row()); got != before {
		t.Errorf("%q, not %q", got, before)
	}
}

func FuzzFormer(f *testing.F) {
	f.Add((&Former{State: Flipped, User: "ada"}).row())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got, err := decodeFormer(raw); err == nil {
			if again, err := decodeFormer(got.row()); err != nil || !reflect.DeepEqual(got, again) {
				t.Errorf("%+v became %+v, %v", got, again, err)
			}
		}
	})
}
