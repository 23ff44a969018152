package mailbox

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

const (
	// blockEmails is how many emails with neighbouring numbers share a block.
	blockEmails = 64
	// worthBlock is how many records of a block must be wanted at once for all
	// of it to be read and kept.
	worthBlock = 8
	// defaultRecordBytes is what records in memory may take, and as much again
	// what was made of them.
	defaultRecordBytes = 64 << 20
)

// A recordBlock is the records of emails first to first+blockEmails-1. Records
// never change, so a block is only ever behind: it has those below upTo.
type recordBlock struct {
	key     recordKey
	upTo    mail.EmailID
	records [blockEmails]Record
	absent  uint64 // bit i: record i is too large for a row
	bytes   int
}

type recordKey struct {
	acct  mail.AccountID
	block uint64
}

func (b *recordBlock) at(id mail.EmailID) *Record { return &b.records[id%blockEmails] }

func (b *recordBlock) isAbsent(id mail.EmailID) bool { return b.absent&(1<<(id%blockEmails)) != 0 }

// A column is what has been made of the records of a block. Much smaller than
// they are, it stays in memory when they do not: so a search or sort over a large
// mailbox reads them once.
type column struct {
	upTo    mail.EmailID
	text    []byte
	ends    [blockEmails]uint32
	present uint64 // bit i: there is an email i
}

type columnKey struct {
	recordKey
	name string
}

// at gives what was made of an email; nil if it is gone.
func (c *column) at(id mail.EmailID) []byte {
	i := id % blockEmails
	if c.present&(1<<i) == 0 {
		return nil
	}
	start := uint32(0)
	if i > 0 {
		start = c.ends[i-1]
	}
	return c.text[start:c.ends[i]:c.ends[i]]
}

func (s *Store) recordLimit() int {
	if s.RecordBytes == 0 {
		return defaultRecordBytes
	}
	return s.RecordBytes
}

// Records gives what is kept of the emails, in the order of ids. An email that
// is gone has a zero Record. The bytes of a Record are shared: they must not be
// changed.
func (s *Store) Records(ctx context.Context, a mail.AccountID, ids []mail.EmailID) ([]Record, error) {
	return s.AppendRecords(ctx, nil, a, ids)
}

// AppendRecords appends what Records gives.
func (s *Store) AppendRecords(ctx context.Context, dst []Record, a mail.AccountID, ids []mail.EmailID) ([]Record, error) {
	err := s.eachBlock(ctx, a, ids, func(b *recordBlock, ids []mail.EmailID) error {
		for _, id := range ids {
			r, err := s.record(ctx, b, id)
			if err != nil {
				return err
			}
			dst = append(dst, r)
		}
		return nil
	})
	if err != nil {
		return dst, fmt.Errorf("mailbox: records: %w", err)
	}
	return dst, nil
}

func (s *Store) record(ctx context.Context, b *recordBlock, id mail.EmailID) (Record, error) {
	if b.isAbsent(id) {
		return s.parseAgain(ctx, b.key.acct, id)
	}
	return *b.at(id), nil
}

// AppendDerived appends for each email what make has made of its record, nil if
// the email is gone. What was made is kept, so make must always make the same for
// the same name; it appends to its argument.
func (s *Store) AppendDerived(ctx context.Context, dst [][]byte, a mail.AccountID, ids []mail.EmailID, name string, make func(dst []byte, r *Record) []byte) ([][]byte, error) {
	for len(ids) > 0 {
		k, n, highest := run(a, ids)
		c, ok := s.columns.get(columnKey{k, name})
		if !ok || highest >= c.upTo {
			b, err := s.block(ctx, k, ids[:n], highest, readOnce)
			if err == nil {
				c, err = s.column(ctx, b, name, make)
			}
			if err != nil {
				return dst, fmt.Errorf("mailbox: records: %w", err)
			}
		}
		for _, id := range ids[:n] {
			dst = append(dst, c.at(id))
		}
		ids = ids[n:]
	}
	return dst, nil
}

// column makes a column of a block.
func (s *Store) column(ctx context.Context, b *recordBlock, name string, make func([]byte, *Record) []byte) (*column, error) {
	c := &column{upTo: b.upTo, present: b.absent}
	for i := range b.records {
		r := &b.records[i]
		if b.absent&(1<<i) != 0 {
			large, err := s.parseAgain(ctx, b.key.acct, mail.EmailID(b.key.block*blockEmails+uint64(i)))
			if err != nil {
				return nil, err
			}
			r = &large
		}
		if r.Envelope != nil {
			c.present |= 1 << i
			c.text = make(c.text, r)
		}
		c.ends[i] = uint32(len(c.text))
	}
	c.text = slices.Clone(c.text)
	if b.upTo > 0 {
		const overhead = 600 // of the column and what keeps it
		s.columns.put(columnKey{b.key, name}, c, len(c.text)+overhead, s.recordLimit())
	}
	return c, nil
}

// run gives the block of the first id, how many ids lie in it, and the highest of
// them.
func run(a mail.AccountID, ids []mail.EmailID) (k recordKey, n int, highest mail.EmailID) {
	k = recordKey{a, uint64(ids[0]) / blockEmails}
	n, highest = 1, ids[0]
	for n < len(ids) && uint64(ids[n])/blockEmails == k.block {
		highest = max(highest, ids[n])
		n++
	}
	return k, n, highest
}

// eachBlock calls fn for each run of ids that lie in one block, in the order of
// ids. It reads what is not in memory: blocks of which much is wanted whole, of
// others single records, which fn gets in a block that is not kept.
func (s *Store) eachBlock(ctx context.Context, a mail.AccountID, ids []mail.EmailID, fn func(*recordBlock, []mail.EmailID) error) error {
	for len(ids) > 0 {
		k, n, highest := run(a, ids)
		b, err := s.block(ctx, k, ids[:n], highest, readAgain)
		if err != nil {
			return err
		}
		if err := fn(b, ids[:n]); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// A reading says whether the records of a block will be wanted again.
type reading bool

const (
	readOnce  reading = false // they push nothing else out of memory
	readAgain reading = true
)

// block gives a block that has these emails, from memory or from the rows.
func (s *Store) block(ctx context.Context, k recordKey, ids []mail.EmailID, highest mail.EmailID, how reading) (*recordBlock, error) {
	if b, ok := s.recent.get(k); ok && highest < b.upTo {
		return b, nil
	}
	var b *recordBlock
	err := s.DB.View(ctx, func(r kv.Reader) (err error) {
		b = &recordBlock{key: k}
		if len(ids) >= worthBlock {
			return b.scan(r)
		}
		return b.some(r, ids)
	})
	if err != nil {
		return nil, err
	}
	if b.upTo > 0 && (how == readAgain || s.recent.room(b.bytes, s.recordLimit())) {
		s.recent.put(k, b, b.bytes, s.recordLimit())
	}
	return b, nil
}

// scan reads all records of the block.
func (b *recordBlock) scan(r kv.Reader) error {
	rt, err := readRoot(r, b.key.acct)
	if err != nil {
		return err
	}
	first := b.key.block * blockEmails
	var text []byte
	var ids [blockEmails]uint64
	var ends [blockEmails]int
	n := 0
	rows := kv.Range{Low: key64(b.key.acct, kindRecord, first), High: key64(b.key.acct, kindRecord, first+blockEmails)}
	for row, err := range r.Scan(rows) {
		if err != nil {
			return err
		}
		ids[n] = binary.BigEndian.Uint64(row.Key[kv.PrefixLen+1:])
		text = append(text, row.Value...)
		ends[n] = len(text)
		n++
	}
	text = append([]byte(nil), text...)
	start := 0
	for i := range n {
		if err := b.set(mail.EmailID(ids[i]), text[start:ends[i]:ends[i]]); err != nil {
			return err
		}
		start = ends[i]
	}
	b.upTo = rt.nextEmail
	b.bytes = len(text) + 9<<10
	return nil
}

// some reads single records.
func (b *recordBlock) some(r kv.Reader, ids []mail.EmailID) error {
	keys := make([][]byte, len(ids))
	for i, id := range ids {
		keys[i] = key64(b.key.acct, kindRecord, uint64(id))
	}
	rows, err := r.GetMany(keys...)
	if err != nil {
		return err
	}
	for i, raw := range rows {
		if raw == nil {
			continue
		}
		if err := b.set(ids[i], raw); err != nil {
			return err
		}
	}
	return nil
}

func (b *recordBlock) set(id mail.EmailID, raw []byte) (err error) {
	if len(raw) == 1 && raw[0] == recordAbsent {
		b.absent |= 1 << (id % blockEmails)
		return nil
	}
	if *b.at(id), err = decodeRecord(raw); err != nil {
		return fmt.Errorf("email %d: %w", id, err)
	}
	return nil
}
