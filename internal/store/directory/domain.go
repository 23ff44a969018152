package directory

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// A Domain is one that we receive mail for.
type Domain struct {
	Name    mail.Domain
	Created time.Time
	// Separators are the characters that may stand between an address and its
	// detail, as "+" does; empty: addresses have no details. RFC 5233
	Separators string
	// AliasOf is the domain that this is another name of: it has no addresses of
	// its own, and all of the other's.
	AliasOf mail.Domain
}

const (
	// DefaultSeparators are those of a domain for which nothing else was said.
	DefaultSeparators = "+"
	// separators are all that can be chosen.
	separators = "+-.=_~#"
)

// ErrSeparators is what cannot divide an address from its detail.
var ErrSeparators = fmt.Errorf("directory: separators are some of %s", separators)

func (d Domain) row() []byte {
	b := binary.AppendVarint(nil, d.Created.Unix())
	if d.Separators != DefaultSeparators || d.AliasOf != "" { // as rows of older versions are
		b = kv.AppendBytes(b, d.Separators)
		b = kv.AppendBytes(b, string(d.AliasOf))
	}
	return b
}

func decodeDomain(name mail.Domain, raw []byte) (Domain, error) {
	dec := kv.Decode(raw)
	d := Domain{Name: name, Created: time.Unix(dec.Varint(), 0), Separators: DefaultSeparators}
	if dec.More() {
		d.Separators, d.AliasOf = dec.String(), mail.Domain(dec.String())
	}
	return d, dec.Err()
}

// readDomain gives mail.ErrNotFound if the domain is not here.
func readDomain(r kv.Reader, name mail.Domain) (Domain, error) {
	raw, err := r.Get(domainKey(name))
	if err != nil {
		return Domain{}, err
	}
	if raw == nil {
		return Domain{}, fmt.Errorf("directory: domain %s: %w", name, mail.ErrNotFound)
	}
	return decodeDomain(name, raw)
}

// Main gives an address as it is in the domain that its own is another name of, whether
// it is there or not; one in any other domain stays as it is. In both people are the
// same, and log in.
func (d *Directory) Main(ctx context.Context, a mail.Address) (main mail.Address, err error) {
	err = d.DB.View(ctx, func(r kv.Reader) error {
		main, err = mainOf(r, a)
		return err
	})
	if err != nil {
		return a, fmt.Errorf("directory: domain of %s: %w", a, err)
	}
	return main, nil
}

func mainOf(r kv.Reader, a mail.Address) (mail.Address, error) {
	raw, err := r.Get(domainKey(a.Domain))
	if err != nil || raw == nil {
		return a, err
	}
	d, err := decodeDomain(a.Domain, raw)
	if err == nil && d.AliasOf != "" {
		a.Domain = d.AliasOf
	}
	return a, err
}

// PutDomain adds a domain; mail.ErrExists if it is there. The transaction needs
// Lock.
func (*Directory) PutDomain(tx kv.Tx, name mail.Domain) error {
	return putDomain(tx, Domain{Name: name, Separators: DefaultSeparators})
}

// PutDomainAlias adds a domain as another name of one that is here, and is none
// itself.
func (*Directory) PutDomainAlias(tx kv.Tx, name, of mail.Domain) error {
	d, err := readDomain(tx, of)
	if err != nil {
		return err
	}
	if d.AliasOf != "" {
		return fmt.Errorf("directory: domain %s is itself another name, of %s: %w", of, d.AliasOf, mail.ErrInUse)
	}
	return putDomain(tx, Domain{Name: name, Separators: DefaultSeparators, AliasOf: of})
}

func putDomain(tx kv.Tx, d Domain) error {
	if _, literal := d.Name.IP(); literal || d.Name == "" {
		return fmt.Errorf("directory: %q: only a domain name can have accounts", d.Name)
	}
	old, err := tx.Get(domainKey(d.Name))
	if err != nil {
		return err
	}
	if old != nil {
		return fmt.Errorf("directory: domain %s: %w", d.Name, mail.ErrExists)
	}
	d.Created = tx.Now()
	tx.Set(domainKey(d.Name), d.row())
	return nil
}

// SetSeparators says which characters stand between the domain's addresses and
// their details; none: addresses have no details.
func (*Directory) SetSeparators(tx kv.Tx, name mail.Domain, chars string) error {
	var list []byte
	for i := range len(chars) {
		if strings.IndexByte(separators, chars[i]) < 0 {
			return ErrSeparators
		}
		if !slices.Contains(list, chars[i]) {
			list = append(list, chars[i])
		}
	}
	d, err := readDomain(tx, name)
	if err != nil {
		return err
	}
	d.Separators = string(list)
	tx.Set(domainKey(name), d.row())
	return nil
}

// DeleteDomain removes a domain; mail.ErrInUse while it has addresses, or others
// are other names of it.
func (*Directory) DeleteDomain(tx kv.Tx, name mail.Domain) error {
	if _, err := readDomain(tx, name); err != nil {
		return err
	}
	r := kv.Prefix(append(append(key(kindAddress), name...), separator))
	r.Limit = 1
	for _, err := range tx.Scan(r) {
		if err != nil {
			return err
		}
		return fmt.Errorf("directory: domain %s still has accounts or aliases: %w", name, mail.ErrInUse)
	}
	all, err := scanDomains(tx)
	if err != nil {
		return err
	}
	for _, d := range all {
		if d.AliasOf == name {
			return fmt.Errorf("directory: domain %s has another name, %s: %w", name, d.Name, mail.ErrInUse)
		}
	}
	tx.Delete(domainKey(name))
	return nil
}

func scanDomains(r kv.Reader) (out []Domain, err error) {
	p := key(kindDomain)
	for row, err := range r.Scan(kv.Prefix(p)) {
		if err != nil {
			return nil, err
		}
		d, err := decodeDomain(mail.Domain(row.Key[len(p):]), row.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// Domains gives all domains in order.
func (d *Directory) Domains(ctx context.Context) (out []Domain, err error) {
	err = d.DB.View(ctx, func(r kv.Reader) error {
		out, err = scanDomains(r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("directory: domains: %w", err)
	}
	return out, nil
}

// Domain gives a domain that we receive mail for; mail.ErrNotFound if we do not.
func (d *Directory) Domain(ctx context.Context, name mail.Domain) (out Domain, err error) {
	err = d.DB.View(ctx, func(r kv.Reader) error {
		out, err = readDomain(r, name)
		return err
	})
	return out, err
}

// HasDomain tells whether we receive mail for name.
func (d *Directory) HasDomain(ctx context.Context, name mail.Domain) (bool, error) {
	found := false
	err := d.DB.View(ctx, func(r kv.Reader) error {
		v, err := r.Get(domainKey(name))
		found = v != nil
		return err
	})
	if err != nil {
		return false, fmt.Errorf("directory: domain %s: %w", name, err)
	}
	return found, nil
}
