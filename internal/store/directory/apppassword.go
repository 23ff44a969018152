package directory

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// Protocols are those that a password opens; none means all.
type Protocols uint8

// The protocols that people log in to.
const (
	Submission Protocols = 1 << iota
	IMAP
	POP3
	Sieve // ManageSieve
)

// Web stands for the pages that people sign in to. Only the account's own password opens
// them: whoever finds an app password could make others there.
const Web Protocols = 1 << 7

// protocolNames are in the order of the bits.
var protocolNames = [...]string{"submission", "imap", "pop3", "sieve"}

// ParseProtocols reads names divided by commas; "" or "all" is all.
func ParseProtocols(s string) (Protocols, error) {
	var p Protocols
	if s == "" || s == "all" {
		return 0, nil
	}
next:
	for name := range strings.SplitSeq(s, ",") {
		for i, known := range protocolNames {
			if strings.EqualFold(strings.TrimSpace(name), known) {
				p |= 1 << i
				continue next
			}
		}
		return 0, fmt.Errorf("%q is no protocol that people log in to: there are %s", name, strings.Join(protocolNames[:], ", "))
	}
	return p, nil
}

// String gives the names, divided by commas.
func (p Protocols) String() string {
	var names []string
	for i, n := range protocolNames {
		if p&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	if names == nil {
		return "all"
	}
	return strings.Join(names, ",")
}

// Opens tells whether a password with these protocols opens want.
func (p Protocols) Opens(want Protocols) bool { return want != Web && (p == 0 || p&want != 0) }

// A Device numbers the passwords of an account: what each device or program of a
// person has. 0 is the account's own password. A number is never given again.
type Device uint32

// An AppPassword is a password besides the account's own, made by us for one
// device or program.
type AppPassword struct {
	Device    Device
	Name      string
	Protocols Protocols
	Created   time.Time
	Hash      []byte // see auth
	StoredKey []byte // SCRAM, with the salt and the rounds of the account's credentials
	ServerKey []byte
	// StoredKey1 and ServerKey1 are those of SCRAM-SHA-1; nil if there are none.
	StoredKey1 []byte
	ServerKey1 []byte
	// APOP is the password itself if it is for APOP, which needs it, and then there is
	// nothing else: it opens the account by APOP only (decision 023).
	APOP string
}

// Limits of app passwords.
const (
	MaxAppPasswords = 50  // of an account
	MaxAppName      = 100 // bytes
)

func appKey(id mail.AccountID, d Device) []byte {
	return binary.BigEndian.AppendUint32(idKey(kindAppPassword, id), uint32(d))
}

func apopKey(id mail.AccountID, d Device) []byte {
	return binary.BigEndian.AppendUint32(idKey(kindAPOP, id), uint32(d))
}

// HasAPOP tells whether anybody has an app password for APOP.
func (d *Directory) HasAPOP(ctx context.Context) (has bool, err error) {
	err = d.DB.View(ctx, func(r kv.Reader) error {
		has = false
		for _, err := range r.Scan(kv.Prefix(key(kindAPOP))) {
			has = err == nil
			return err
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("directory: APOP: %w", err)
	}
	return has, nil
}

// PutAppPassword adds an app password under a new number. Its keys were made
// with the salt and rounds of c: if the account has none yet, it gets them, and
// if it has others by now, that is mail.ErrInUse. mail.ErrExists if the name is
// taken. The transaction needs Lock.
func (d *Directory) PutAppPassword(tx kv.Tx, id mail.AccountID, p AppPassword, c Credentials) (AppPassword, error) {
	if _, err := readAccount(tx, id); err != nil {
		return p, err
	}
	now, err := readCredentials(tx, id)
	if err != nil {
		return p, err
	}
	switch {
	case len(now.Salt) == 0:
		d.writeCredentials(tx, id, Credentials{Salt: c.Salt, Iterations: c.Iterations})
	case !bytes.Equal(now.Salt, c.Salt) || now.Iterations != c.Iterations:
		return p, fmt.Errorf("directory: the password was changed at the same moment: %w", mail.ErrInUse)
	}
	if len(now.Apps) >= MaxAppPasswords {
		return p, fmt.Errorf("directory: an account has at most %d app passwords: %w", MaxAppPasswords, mail.ErrLimit)
	}
	for _, other := range now.Apps {
		if strings.EqualFold(other.Name, p.Name) {
			return p, fmt.Errorf("directory: app password %q: %w", p.Name, mail.ErrExists)
		}
	}
	raw, err := tx.Get(appKey(id, 0))
	if err != nil {
		return p, err
	}
	p.Device, p.Created = 1, tx.Now()
	if raw != nil {
		p.Device = Device(kv.Decode(raw).Uvarint())
	}
	tx.Set(appKey(id, 0), binary.AppendUvarint(nil, uint64(p.Device)+1))
	b := kv.AppendBytes(nil, p.Name)
	b = append(b, byte(p.Protocols))
	b = binary.AppendVarint(b, p.Created.Unix())
	b = kv.AppendBytes(b, p.Hash)
	b = kv.AppendBytes(b, p.StoredKey)
	b = kv.AppendBytes(b, p.ServerKey)
	if p.APOP != "" {
		b = appendSHA1(b, []byte{}, nil) // none
		b = kv.AppendBytes(b, p.APOP)
		tx.Set(apopKey(id, p.Device), nil)
	} else {
		b = appendSHA1(b, p.StoredKey1, p.ServerKey1)
	}
	tx.Set(appKey(id, p.Device), b)
	return p, nil
}

// DeleteAppPassword removes the app password of that name; mail.ErrNotFound if
// there is none.
func (d *Directory) DeleteAppPassword(tx kv.Tx, id mail.AccountID, name string) error {
	apps, err := readApps(tx, id)
	if err != nil {
		return err
	}
	for _, p := range apps {
		if strings.EqualFold(p.Name, name) {
			tx.Delete(appKey(id, p.Device))
			tx.Delete(apopKey(id, p.Device))
			tx.Wake(topic)
			return nil
		}
	}
	return fmt.Errorf("directory: app password %q: %w", name, mail.ErrNotFound)
}

// AppPasswords gives an account's app passwords, the oldest first.
func (d *Directory) AppPasswords(ctx context.Context, id mail.AccountID) (apps []AppPassword, err error) {
	err = d.DB.View(ctx, func(r kv.Reader) (err error) {
		apps, err = readApps(r, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("directory: app passwords: %w", err)
	}
	return apps, nil
}

func readApps(r kv.Reader, id mail.AccountID) (apps []AppPassword, err error) {
	for row, err := range r.Scan(kv.Range{Low: appKey(id, 1), High: kv.Next(idKey(kindAppPassword, id))}) {
		if err != nil {
			return nil, err
		}
		dec := kv.Decode(row.Value)
		p := AppPassword{
			Device:    Device(binary.BigEndian.Uint32(row.Key[len(row.Key)-4:])),
			Name:      dec.String(),
			Protocols: Protocols(dec.Byte()),
			Created:   time.Unix(dec.Varint(), 0),
			Hash:      bytes.Clone(dec.Bytes()),
			StoredKey: bytes.Clone(dec.Bytes()),
			ServerKey: bytes.Clone(dec.Bytes()),
		}
		p.StoredKey1, p.ServerKey1 = readSHA1(dec)
		if dec.More() {
			p.APOP = dec.String()
		}
		if err := dec.Err(); err != nil {
			return nil, fmt.Errorf("directory: app password %d of account %d: %w", p.Device, id, err)
		}
		apps = append(apps, p)
	}
	return apps, nil
}

// checkAPOP verifies that what is for APOP is known to be.
func checkAPOP(r kv.Reader) (wrong []string, err error) {
	known := map[string]bool{}
	p := key(kindAPOP)
	for row, err := range r.Scan(kv.Prefix(p)) {
		if err != nil {
			return nil, err
		}
		known[string(row.Key[len(p):])] = true
	}
	p = key(kindAppPassword)
	last := mail.AccountID(0)
	for row, err := range r.Scan(kv.Prefix(p)) {
		if err != nil {
			return nil, err
		}
		id := mail.AccountID(binary.BigEndian.Uint64(row.Key[len(p):]))
		if id == last {
			continue
		}
		last = id
		apps, err := readApps(r, id)
		if err != nil {
			wrong = append(wrong, err.Error())
		}
		for _, a := range apps {
			k := string(apopKey(id, a.Device)[len(p):])
			if known[k] != (a.APOP != "") {
				wrong = append(wrong, fmt.Sprintf("directory: whether app password %q of account %d is for APOP is not known", a.Name, id))
			}
			delete(known, k)
		}
	}
	for k := range known {
		wrong = append(wrong, fmt.Sprintf("directory: an app password for APOP is not there: %x", k))
	}
	return wrong, nil
}
