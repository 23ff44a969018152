package directory

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// Check verifies that domains, addresses and keys lead somewhere, and gives a
// sentence for each that does not.
func (d *Directory) Check(ctx context.Context) (wrong []string, err error) {
	err = d.DB.View(ctx, func(r kv.Reader) error {
		wrong = wrong[:0]
		list, err := scanDomains(r)
		if err != nil {
			return err
		}
		domains := map[mail.Domain]Domain{}
		for _, dom := range list {
			domains[dom.Name] = dom
		}
		for _, dom := range list {
			if of, there := domains[dom.AliasOf]; dom.AliasOf != "" && (!there || of.AliasOf != "") {
				wrong = append(wrong, fmt.Sprintf("directory: domain %s is another name of %s, which is no domain with addresses of its own", dom.Name, dom.AliasOf))
			}
		}
		more, err := checkAddresses(r, domains)
		if err != nil {
			return err
		}
		keys, err := checkCertificates(r)
		if err != nil {
			return err
		}
		apop, err := checkAPOP(r)
		wrong = slices.Concat(wrong, more, keys, apop)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("directory: check: %w", err)
	}
	return wrong, nil
}

func checkAddresses(r kv.Reader, domains map[mail.Domain]Domain) (wrong []string, err error) {
	p := key(kindAddress)
	for row, err := range r.Scan(kv.Prefix(p)) {
		if err != nil {
			return nil, err
		}
		name, local, _ := strings.Cut(string(row.Key[len(p):]), string(rune(separator)))
		a := mail.Address{Local: local, Domain: mail.Domain(name)}
		if dom, there := domains[a.Domain]; !there || dom.AliasOf != "" {
			wrong = append(wrong, fmt.Sprintf("directory: %s stands in a domain that has no addresses", a))
		}
		t, err := decodeEntry(a, row.Value)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("directory: %s cannot be read: %v", a, err))
			continue
		}
		if t.Alias != nil && t.Alias.Of != 0 {
			if _, err := readAccount(r, t.Alias.Of); err != nil {
				wrong = append(wrong, fmt.Sprintf("directory: %s was the address of account %d: %v", a, t.Alias.Of, err))
			}
		}
		if t.Account == 0 {
			continue
		}
		acct, err := readAccount(r, t.Account)
		switch {
		case err != nil:
			wrong = append(wrong, fmt.Sprintf("directory: %s leads to account %d: %v", a, t.Account, err))
		case Canonical(acct.Address) != a:
			wrong = append(wrong, fmt.Sprintf("directory: %s leads to the account of %s", a, acct.Address))
		case t.Forward != nil && (len(t.Forward.To) == 0 || len(t.Forward.To) > MaxForwards):
			wrong = append(wrong, fmt.Sprintf("directory: %s has its mail sent on to %d addresses", a, len(t.Forward.To)))
		}
	}
	return wrong, nil
}
