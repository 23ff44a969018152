package mailbox

import (
	"context"
	"encoding/binary"
	"fmt"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// MaxUIDL is how long a unique id of POP3 can be. RFC 1939 §7
const MaxUIDL = 70

// ValidUIDL tells what can be a unique id of POP3: 1 to 70 visible characters of
// ASCII. RFC 1939 §7
func ValidUIDL(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != "" && len(s) <= MaxUIDL
}

// setUIDL writes the unique id that a message had where it comes from.
func (e *Edit) setUIDL(id mail.EmailID, uidl string) error {
	if !ValidUIDL(uidl) {
		return fmt.Errorf("mailbox: %q cannot be a unique id of POP3: %w", uidl, mail.ErrLimit)
	}
	e.tx.Set(key64(e.acct, kindUIDL, uint64(id)), []byte(uidl))
	return nil
}

// UIDLs gives the unique ids that messages brought along, by email: nil for an
// account that has none. Two emails may have the same.
func (s *Store) UIDLs(ctx context.Context, a mail.AccountID) (ids map[mail.EmailID]string, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		ids = nil
		for row, err := range r.Scan(kv.Prefix(key(a, kindUIDL))) {
			if err != nil {
				return err
			}
			if ids == nil {
				ids = map[mail.EmailID]string{}
			}
			ids[mail.EmailID(binary.BigEndian.Uint64(row.Key[kv.PrefixLen+1:]))] = string(row.Value)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("mailbox: unique ids: %w", err)
	}
	return ids, nil
}
