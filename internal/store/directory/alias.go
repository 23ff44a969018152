package directory

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// An Alias is an address whose mail goes to others, here or elsewhere.
type Alias struct {
	Address mail.Address // an empty Local takes all of the domain's mail that nobody else takes
	Targets []mail.Address
	Created time.Time // zero: before that was written down
	// Of is the account whose address it was until it was renamed, and which may still
	// log in with it; 0: there is none. See Rename.
	Of mail.AccountID
}

// A Forward sends an account's mail on.
type Forward struct {
	Keep bool // the account gets it as well
	To   []mail.Address
}

const forwardKeeps = 1

func appendTargets(b []byte, list []mail.Address) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, t := range list {
		b = kv.AppendBytes(b, t.Local)
		b = kv.AppendBytes(b, string(t.Domain))
	}
	return b
}

// PutAlias adds an alias. The domain must be here and the address free.
func (d *Directory) PutAlias(tx kv.Tx, a Alias) error {
	if err := d.free(tx, a.Address); err != nil {
		return err
	}
	a.Created = tx.Now()
	return setAlias(tx, a)
}

// SetAlias gives an alias other targets, and then it is nobody's former address;
// mail.ErrNotFound if it is not there.
func (d *Directory) SetAlias(tx kv.Tx, a Alias) error {
	was, err := aliasAt(tx, a.Address)
	if err != nil {
		return err
	}
	a.Created = was.Created
	return setAlias(tx, a)
}

func setAlias(tx kv.Tx, a Alias) error {
	if len(a.Targets) == 0 {
		return fmt.Errorf("directory: alias %s: leads nowhere", a.Address)
	}
	b := appendTargets([]byte{entryAlias}, a.Targets)
	if !a.Created.IsZero() {
		b = binary.AppendVarint(b, a.Created.Unix())
	}
	if a.Of != 0 && !a.Created.IsZero() {
		b = binary.AppendUvarint(b, uint64(a.Of))
	}
	if len(b) > kv.MaxValue {
		return fmt.Errorf("directory: alias %s: too many targets: %w", a.Address, mail.ErrLimit)
	}
	tx.Set(addressKey(a.Address), b)
	return nil
}

func aliasAt(r kv.Reader, a mail.Address) (*Alias, error) {
	t, err := exact(r, a)
	if err != nil {
		return nil, err
	}
	if t.Alias == nil {
		return nil, fmt.Errorf("directory: alias %s: %w", a, mail.ErrNotFound)
	}
	return t.Alias, nil
}

// DeleteAlias removes an alias; mail.ErrNotFound if the address is none.
func (d *Directory) DeleteAlias(tx kv.Tx, a mail.Address) error {
	if _, err := aliasAt(tx, a); err != nil {
		return err
	}
	tx.Delete(addressKey(a))
	return nil
}

// Aliases gives all aliases, by domain and local part.
func (d *Directory) Aliases(ctx context.Context) ([]Alias, error) {
	var out []Alias
	err := d.DB.View(ctx, func(r kv.Reader) error {
		out = out[:0]
		return eachAddress(r, func(t Target) error {
			if t.Alias != nil {
				out = append(out, *t.Alias)
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("directory: aliases: %w", err)
	}
	return out, nil
}

// MaxForwards is how many addresses an account can have its mail sent on to.
const MaxForwards = 20

// SetForward says where an account's mail is sent on to; nil: nowhere.
func (d *Directory) SetForward(tx kv.Tx, id mail.AccountID, f *Forward) error {
	a, err := readAccount(tx, id)
	if err != nil {
		return err
	}
	b := accountEntry(id)
	if f != nil {
		if len(f.To) == 0 || len(f.To) > MaxForwards {
			return fmt.Errorf("directory: mail is sent on to 1 to %d addresses: %w", MaxForwards, mail.ErrLimit)
		}
		flags := byte(0)
		if f.Keep {
			flags |= forwardKeeps
		}
		b = appendTargets(append(b, flags), f.To)
	}
	tx.Set(addressKey(a.Address), b)
	return nil
}

// Forward gives where an account's mail is sent on to; nil: nowhere.
func (d *Directory) Forward(ctx context.Context, a Account) (*Forward, error) {
	var t Target
	err := d.DB.View(ctx, func(r kv.Reader) (err error) {
		t, err = exact(r, a.Address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("directory: forward of %s: %w", a.Address, err)
	}
	return t.Forward, nil
}

func decodeForward(dec *kv.Decoder) *Forward {
	flags := dec.Byte()
	return &Forward{Keep: flags&forwardKeeps != 0, To: decodeTargets(dec)}
}

func accountEntry(id mail.AccountID) []byte {
	return binary.BigEndian.AppendUint64([]byte{entryAccount}, uint64(id))
}
