package directory

import (
	"context"
	"fmt"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// A Target is what an address leads to: Account or Alias is set.
type Target struct {
	Account mail.AccountID
	Alias   *Alias
	// Forward is where an account has its mail sent on to; nil: nowhere.
	Forward *Forward
	Detail  string // what stood behind the separator
	// Found is the address under which it was found: in the domain that the
	// address's own is another name of, without the detail, or, with an empty Local,
	// as the domain's catch-all.
	Found mail.Address
}

// Named gives the account whose address was found, or was so before it was renamed; 0 if
// it is none.
func (t Target) Named() mail.AccountID {
	if t.Alias != nil {
		return t.Alias.Of
	}
	return t.Account
}

// IsZero tells whether the target is nobody.
func (t Target) IsZero() bool { return t.Account == 0 && t.Alias == nil }

// maxDetails is how many separators of an address are looked at, from its front.
const maxDetails = 8

// Resolve tells what an address leads to: the address itself; without its detail;
// or the domain's catch-all. mail.ErrNotFound if nothing.
func (d *Directory) Resolve(ctx context.Context, a mail.Address) (t Target, err error) {
	commits := d.DB.Commits(Lock.Class)
	if t, ok := d.remembered.target(commits, a); ok {
		return t, nil
	}
	err = d.DB.View(ctx, func(r kv.Reader) error {
		t, err = Resolve(r, a)
		return err
	})
	if err == nil {
		d.remembered.keep(commits, func() { d.remembered.targets[a] = t })
	}
	return t, err
}

// Resolve is Directory.Resolve within a snapshot or a transaction.
func Resolve(r kv.Reader, a mail.Address) (Target, error) {
	t, err := exact(r, a)
	if err != nil || !t.IsZero() {
		return t, err
	}
	d, err := readDomain(r, a.Domain)
	if err == nil && d.AliasOf != "" {
		a.Domain = d.AliasOf
		if t, err = exact(r, a); err != nil || !t.IsZero() {
			return t, err
		}
		d, err = readDomain(r, a.Domain)
	}
	if err != nil {
		return Target{}, err
	}
	return d.inexact(r, a)
}

// inexact looks for an address of the domain that is not there itself. Where a
// separator stands more than once, the longest address that is there counts.
func (d Domain) inexact(r kv.Reader, a mail.Address) (Target, error) {
	var cuts []int
	for i := 1; i < len(a.Local) && len(cuts) < maxDetails; i++ {
		if strings.IndexByte(d.Separators, a.Local[i]) >= 0 {
			cuts = append(cuts, i)
		}
	}
	keys := make([][]byte, 0, maxDetails+1)
	for _, n := range cuts {
		keys = append(keys, addressKey(mail.Address{Local: a.Local[:n], Domain: a.Domain}))
	}
	keys = append(keys, addressKey(mail.Address{Domain: a.Domain}))
	rows, err := r.GetMany(keys...)
	if err != nil {
		return Target{}, err
	}
	for i := len(cuts) - 1; i >= 0; i-- {
		if rows[i] != nil {
			t, err := decodeEntry(mail.Address{Local: a.Local[:cuts[i]], Domain: a.Domain}, rows[i])
			t.Detail = a.Local[cuts[i]+1:]
			return t, err
		}
	}
	if all := rows[len(cuts)]; all != nil {
		return decodeEntry(mail.Address{Domain: a.Domain}, all)
	}
	return Target{}, fmt.Errorf("directory: address %s: %w", a, mail.ErrNotFound)
}

// exact gives the zero Target if there is no such entry.
func exact(r kv.Reader, a mail.Address) (Target, error) {
	raw, err := r.Get(addressKey(a))
	if err != nil || raw == nil {
		return Target{}, err
	}
	return decodeEntry(a, raw)
}

func decodeEntry(a mail.Address, raw []byte) (Target, error) {
	dec := kv.Decode(raw)
	switch dec.Byte() {
	case entryAccount:
		t := Target{Account: mail.AccountID(dec.Uint64()), Found: a}
		if dec.More() {
			t.Forward = decodeForward(dec)
		}
		return t, dec.Err()
	case entryAlias:
		al := &Alias{Address: a, Targets: decodeTargets(dec)}
		if dec.More() {
			al.Created = time.Unix(dec.Varint(), 0)
		}
		if dec.More() {
			al.Of = mail.AccountID(dec.Uvarint())
		}
		return Target{Alias: al, Found: a}, dec.Err()
	}
	return Target{}, fmt.Errorf("directory: address %s: %w", a, kv.ErrRow)
}

func decodeTargets(dec *kv.Decoder) (out []mail.Address) {
	for n := dec.Uvarint(); n > 0 && dec.More(); n-- {
		out = append(out, mail.Address{Local: dec.String(), Domain: mail.Domain(dec.String())})
	}
	return out
}
