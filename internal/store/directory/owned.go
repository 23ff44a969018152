package directory

import (
	"context"
	"fmt"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// OwnedSince tells since when an address has belonged to the account or alias that
// it leads to now; zero if that is not known. Whom it belonged to before, or to
// nobody, is known only as far back as its domain has been here: that is since.
func (d *Directory) OwnedSince(ctx context.Context, a mail.Address) (owned, since time.Time, err error) {
	err = d.DB.View(ctx, func(r kv.Reader) error {
		t, err := Resolve(r, a)
		if err != nil {
			return err
		}
		dom, err := readDomain(r, a.Domain)
		if err != nil {
			return err
		}
		since = dom.Created
		if t.Alias != nil {
			owned = t.Alias.Created
			return nil
		}
		acct, err := readAccount(r, t.Account)
		owned = acct.since()
		return err
	})
	if err != nil {
		return time.Time{}, time.Time{}, fmt.Errorf("directory: owner of %s: %w", a, err)
	}
	return owned, since, nil
}
