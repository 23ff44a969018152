package directory

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// A Former server is where an account was before it came here.
type Former struct {
	State FormerState
	IMAP  FormerHost
	POP3  FormerHost // no Address: it has none
	CA    []byte     // PEM of the authorities to trust there; none: those that all trust
	User  string     // the account's name there
	// Master logs in for others, with Password; "": there is none.
	Master, Password string
	Learn            bool   // what opens the account there will open it here
	UIDL             string // how its ids of POP3 are made; "" if that is not known
	Began            time.Time
	Failed           string // why the last flip did not come to its end; "" is well
}

// A FormerHost is a server and how it is reached.
type FormerHost struct {
	Address  string // host:port
	Security string // tls, starttls or none
}

// FormerState is who answers for an account.
type FormerState byte

// The states.
const (
	FormerAnswers FormerState = 1 // sessions are passed on to the former server
	Flipping      FormerState = 2 // nobody, for the moment: the last mail is being brought
	Flipped       FormerState = 3 // we do
)

// Ours tells whether we answer for the account.
func (a *Account) Ours() bool { return a.Former == nil || a.Former.State == Flipped }

// formerVersion is the first byte of what row writes.
const formerVersion = 1

func (f *Former) row() []byte {
	b := []byte{formerVersion, byte(f.State), 0}
	if f.Learn {
		b[2] = 1
	}
	for _, s := range []string{f.IMAP.Address, f.IMAP.Security, f.POP3.Address, f.POP3.Security, string(f.CA), f.User, f.Master, f.Password, f.UIDL, f.Failed} {
		b = kv.AppendBytes(b, s)
	}
	return binary.AppendVarint(b, f.Began.Unix())
}

func decodeFormer(raw []byte) (*Former, error) {
	dec := kv.Decode(raw)
	version, state, learn := dec.Byte(), dec.Byte(), dec.Byte()
	f := &Former{
		State: FormerState(state), Learn: learn == 1,
		IMAP: FormerHost{dec.String(), dec.String()}, POP3: FormerHost{dec.String(), dec.String()},
		CA: bytes.Clone(dec.Bytes()), User: dec.String(), Master: dec.String(), Password: dec.String(), UIDL: dec.String(), Failed: dec.String(),
		Began: time.Unix(dec.Varint(), 0),
	}
	if err := dec.Err(); err != nil {
		return nil, err
	}
	if version != formerVersion || f.State < FormerAnswers || f.State > Flipped {
		return nil, errors.New("it is not as it should be")
	}
	return f, nil
}

// SetFormer says where an account was before, and who answers for it; nil: it was
// nowhere else. Who watches is told.
func (d *Directory) SetFormer(ctx context.Context, id mail.AccountID, f *Former) error {
	return d.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{Lock}}, func(tx kv.Tx) error {
		tx.Wake(topic)
		return d.change(tx, id, func(a *Account) { a.Former = f })
	})
}
