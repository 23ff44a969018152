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

// A Certificate is a TLS certificate that opens an account. What counts is its key:
// a new certificate for the same key is the same.
type Certificate struct {
	Key       []byte // SHA-256 of the public key (SubjectPublicKeyInfo)
	Name      string
	Protocols Protocols
	Created   time.Time
}

// MaxCertificates is how many an account may have.
const MaxCertificates = 50

// keyLen is the length of Certificate.Key.
const keyLen = 32

func certificateKey(id mail.AccountID, key []byte) []byte {
	return append(idKey(kindCertificate, id), key...)
}

func ownerKey(k []byte) []byte { return append(key(kindKeyOwner), k...) }

// PutCertificate adds a certificate to an account. mail.ErrExists if the account
// has one of that name, or somebody has that key. The transaction needs Lock.
func (d *Directory) PutCertificate(tx kv.Tx, id mail.AccountID, c Certificate) error {
	if len(c.Key) != keyLen {
		return fmt.Errorf("directory: the key of a certificate has %d bytes", len(c.Key))
	}
	if _, err := readAccount(tx, id); err != nil {
		return err
	}
	list, err := readCertificates(tx, id)
	if err != nil {
		return err
	}
	if len(list) >= MaxCertificates {
		return fmt.Errorf("directory: an account has at most %d certificates: %w", MaxCertificates, mail.ErrLimit)
	}
	for _, other := range list {
		if strings.EqualFold(other.Name, c.Name) {
			return fmt.Errorf("directory: certificate %q: %w", c.Name, mail.ErrExists)
		}
	}
	if raw, err := tx.Get(ownerKey(c.Key)); err != nil || raw != nil {
		if err == nil {
			err = fmt.Errorf("directory: the key of this certificate opens an account already: %w", mail.ErrExists)
		}
		return err
	}
	b := kv.AppendBytes(nil, c.Name)
	b = append(b, byte(c.Protocols))
	b = binary.AppendVarint(b, tx.Now().Unix())
	tx.Set(certificateKey(id, c.Key), b)
	tx.Set(ownerKey(c.Key), binary.BigEndian.AppendUint64(nil, uint64(id)))
	return nil
}

// DeleteCertificate removes the certificate of that name; mail.ErrNotFound if there
// is none.
func (d *Directory) DeleteCertificate(tx kv.Tx, id mail.AccountID, name string) error {
	list, err := readCertificates(tx, id)
	if err != nil {
		return err
	}
	for _, c := range list {
		if strings.EqualFold(c.Name, name) {
			deleteCertificate(tx, id, c)
			tx.Wake(topic)
			return nil
		}
	}
	return fmt.Errorf("directory: certificate %q: %w", name, mail.ErrNotFound)
}

func deleteCertificate(tx kv.Tx, id mail.AccountID, c Certificate) {
	tx.Delete(certificateKey(id, c.Key))
	tx.Delete(ownerKey(c.Key))
}

// Certificates gives an account's certificates.
func (d *Directory) Certificates(ctx context.Context, id mail.AccountID) (list []Certificate, err error) {
	err = d.DB.View(ctx, func(r kv.Reader) (err error) {
		list, err = readCertificates(r, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("directory: certificates: %w", err)
	}
	return list, nil
}

// ByKey gives the account that a certificate's key opens; mail.ErrNotFound if there
// is none.
func (d *Directory) ByKey(ctx context.Context, key []byte) (a Account, c Certificate, err error) {
	err = d.DB.View(ctx, func(r kv.Reader) error {
		raw, err := r.Get(ownerKey(key))
		if err != nil {
			return err
		}
		if len(raw) != 8 {
			return fmt.Errorf("directory: certificate: %w", mail.ErrNotFound)
		}
		id := mail.AccountID(binary.BigEndian.Uint64(raw))
		if a, err = readAccount(r, id); err != nil {
			return err
		}
		list, err := readCertificates(r, id)
		if err != nil {
			return err
		}
		for _, c = range list {
			if bytes.Equal(c.Key, key) {
				return nil
			}
		}
		return fmt.Errorf("directory: certificate: %w", mail.ErrNotFound)
	})
	return a, c, err
}

func readCertificates(r kv.Reader, id mail.AccountID) (list []Certificate, err error) {
	p := idKey(kindCertificate, id)
	for row, err := range r.Scan(kv.Prefix(p)) {
		if err != nil {
			return nil, err
		}
		dec := kv.Decode(row.Value)
		c := Certificate{Key: bytes.Clone(row.Key[len(p):]), Name: dec.String(), Protocols: Protocols(dec.Byte()), Created: time.Unix(dec.Varint(), 0)}
		if err := dec.Err(); err != nil {
			return nil, fmt.Errorf("directory: certificate %x of account %d: %w", c.Key, id, err)
		}
		list = append(list, c)
	}
	return list, nil
}

// checkCertificates verifies that each key leads to an account that has it.
func checkCertificates(r kv.Reader) (wrong []string, err error) {
	owners := map[string]mail.AccountID{}
	p := key(kindKeyOwner)
	for row, err := range r.Scan(kv.Prefix(p)) {
		if err != nil {
			return nil, err
		}
		if len(row.Value) != 8 {
			wrong = append(wrong, fmt.Sprintf("directory: the owner of key %x cannot be read", row.Key[len(p):]))
			continue
		}
		id := mail.AccountID(binary.BigEndian.Uint64(row.Value))
		owners[string(row.Key[len(p):])] = id
		if raw, err := r.Get(certificateKey(id, row.Key[len(p):])); err != nil {
			return nil, err
		} else if raw == nil {
			wrong = append(wrong, fmt.Sprintf("directory: key %x leads to account %d, which does not have it", row.Key[len(p):], id))
		}
	}
	p = key(kindCertificate)
	for row, err := range r.Scan(kv.Prefix(p)) {
		if err != nil {
			return nil, err
		}
		rest := row.Key[len(p):]
		if len(rest) != 8+keyLen {
			wrong = append(wrong, fmt.Sprintf("directory: certificate %x is none", rest))
			continue
		}
		if id := mail.AccountID(binary.BigEndian.Uint64(rest)); owners[string(rest[8:])] != id {
			wrong = append(wrong, fmt.Sprintf("directory: certificate %x of account %d cannot be found by its key", rest[8:], id))
		}
	}
	return wrong, nil
}
