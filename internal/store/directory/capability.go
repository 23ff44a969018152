package directory

import (
	"errors"
	"slices"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// maxWithout is how many capabilities an account can do without.
const maxWithout = 50

// ErrCapability is what cannot be the name of a capability, or one too many.
var ErrCapability = errors.New("directory: a capability is a word of letters, digits and = - + . /, and an account can do without 50 at most")

// SwitchOff notes that an account is not offered a capability of IMAP.
func (d *Directory) SwitchOff(tx kv.Tx, id mail.AccountID, capability string) error {
	name := strings.ToUpper(capability)
	if name == "" || len(name) > 64 || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=-+./") != "" {
		return ErrCapability
	}
	return d.setWithout(tx, id, func(list []string) []string {
		if slices.Contains(list, name) {
			return list
		}
		return append(list, name)
	})
}

// SwitchOn takes SwitchOff back.
func (d *Directory) SwitchOn(tx kv.Tx, id mail.AccountID, capability string) error {
	name := strings.ToUpper(capability)
	return d.setWithout(tx, id, func(list []string) []string {
		return slices.DeleteFunc(list, func(s string) bool { return s == name })
	})
}

func (d *Directory) setWithout(tx kv.Tx, id mail.AccountID, change func([]string) []string) error {
	a, err := readAccount(tx, id)
	if err != nil {
		return err
	}
	list := change(strings.Fields(a.Without))
	if len(list) > maxWithout {
		return ErrCapability
	}
	slices.Sort(list)
	a.Without = strings.Join(list, " ")
	tx.Set(idKey(kindAccount, id), a.row())
	return nil
}
