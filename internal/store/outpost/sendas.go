package outpost

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// A SendAs is how the owner of an outpost sends with the address that they have there:
// through the provider's submission server, which knows them.
type SendAs struct {
	Address    mail.Address
	Host, Port string
	Security   Security
	// User and Secret log in there, with OAuth2 as with those of an Outpost. Without a
	// User, the outpost's own three do.
	User, Secret string
	OAuth2       *OAuth2
	// Proven is when the owner was last seen to be able to log in there; zero: never, so
	// that the address is not to be used yet.
	Proven time.Time
}

// Submission gives the submission server of an outpost that has one as if it were an
// outpost itself: where it is, and what logs in there.
func (o *Outpost) Submission() *Outpost {
	sub, s := *o, o.SendAs
	sub.Host, sub.Port, sub.Security = s.Host, s.Port, s.Security
	if s.User != "" {
		sub.User, sub.Secret, sub.OAuth2 = s.User, s.Secret, s.OAuth2
	}
	return &sub
}

// addressKey is where it stands that an account sends with an address.
func addressKey(a mail.AccountID, address mail.Address) []byte {
	return append(binary.BigEndian.AppendUint64(key(kindAddress), uint64(a)), strings.ToLower(address.String())...)
}

// put writes an outpost over what there was of it, which may be nil. mail.ErrExists if
// the account sends with its address by another one.
func put(tx kv.Tx, was, o *Outpost) error {
	if was != nil && was.SendAs != nil {
		tx.Delete(addressKey(was.Account, was.SendAs.Address))
	}
	if o.SendAs != nil {
		k := addressKey(o.Account, o.SendAs.Address)
		raw, err := tx.Get(k)
		if err != nil {
			return err
		}
		if id := binary.BigEndian.AppendUint64(nil, uint64(o.ID)); raw == nil || string(raw) == string(id) {
			tx.Set(k, id)
		} else {
			return fmt.Errorf("sending as %s: %w", o.SendAs.Address, mail.ErrExists)
		}
	}
	tx.Set(idKey(kindOutpost, o.ID), o.append(nil))
	return nil
}

// Sender gives the outpost by which an account sends with an address; mail.ErrNotFound
// if there is none.
func (s *Store) Sender(ctx context.Context, a mail.AccountID, address mail.Address) (e Entry, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		raw, err := r.Get(addressKey(a, address))
		switch {
		case err != nil:
			return err
		case len(raw) != 8:
			return fmt.Errorf("sending as %s: %w", address, mail.ErrNotFound)
		}
		e, err = read(r, ID(binary.BigEndian.Uint64(raw)))
		return err
	})
	if err != nil {
		return e, fmt.Errorf("outpost: %w", err)
	}
	return e, nil
}

// NoteSending has fn note how sending goes, in a state that is written if fn says so. A
// visit that goes on meanwhile is left alone. mail.ErrNotFound if the outpost is gone.
func (s *Store) NoteSending(ctx context.Context, id ID, fn func(*State) bool) error {
	return s.update(ctx, func(tx kv.Tx) error {
		e, err := read(tx, id)
		if err == nil && fn(&e.State) {
			tx.Set(idKey(kindState, id), e.State.append(nil))
		}
		return err
	})
}

// checkAddresses gives a sentence for each row of an address that leads to no outpost,
// and for each outpost that sends and has no such row.
func checkAddresses(r kv.Reader, list []Entry) (wrong []string, err error) {
	lead := map[string]ID{}
	for row, err := range r.Scan(kv.Prefix(key(kindAddress))) {
		if err != nil {
			return nil, err
		}
		if len(row.Value) != 8 {
			return nil, fmt.Errorf("outpost: an address: %w", kv.ErrRow)
		}
		lead[string(row.Key)] = ID(binary.BigEndian.Uint64(row.Value))
	}
	for i := range list {
		o := &list[i].Outpost
		if o.SendAs == nil {
			continue
		}
		k := string(addressKey(o.Account, o.SendAs.Address))
		if lead[k] != o.ID {
			wrong = append(wrong, fmt.Sprintf("outpost %d (%s): it is not found by the address that it sends with", o.ID, o.Name))
		}
		delete(lead, k)
	}
	for _, id := range lead {
		wrong = append(wrong, fmt.Sprintf("an address leads to outpost %d, which does not send with it", id))
	}
	return wrong, nil
}
