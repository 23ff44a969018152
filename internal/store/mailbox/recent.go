package mailbox

import (
	"container/list"
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

const (
	// blockEmails is how many emails with neighbouring numbers share a block.
	blockEmails = 64
	// worthBlock is how many records of a block must be wanted at once for all
	// of it to be read and kept.
	worthBlock = 8
	// defaultRecordBytes is what records in memory may take.
	defaultRecordBytes = 64 << 20
)

// A recordBlock is the records of emails first to first+blockEmails-1, and what
// has been derived from them. Records never change, so a block is only ever
// behind: it has those below upTo.
type recordBlock struct {
	key     recordKey
	upTo    mail.EmailID
	records [blockEmails]Record
	absent  uint64 // bit i: record i is too large for a row

	mu      sync.Mutex
	derived map[string]*[blockEmails][]byte
	elem    *list.Element
	bytes   int // as counted in recent.bytes
}

type recordKey struct {
	acct  mail.AccountID
	block uint64
}

func (b *recordBlock) at(id mail.EmailID) *Record { return &b.records[id%blockEmails] }

func (b *recordBlock) isAbsent(id mail.EmailID) bool { return b.absent&(1<<(id%blockEmails)) != 0 }

// recent keeps blocks of records by recency.
type recent struct {
	mu     sync.Mutex
	blocks map[recordKey]*recordBlock
	order  list.List // of *recordBlock, the last used in front
	bytes  int
}

func (c *recent) block(k recordKey) *recordBlock {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.blocks[k]
	if b != nil {
		c.order.MoveToFront(b.elem)
	}
	return b
}

// put keeps a block, in place of an older one.
func (c *recent) put(b *recordBlock, limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.blocks[b.key]; old != nil {
		if old.upTo >= b.upTo {
			return
		}
		c.drop(old)
	}
	if c.blocks == nil {
		c.blocks = map[recordKey]*recordBlock{}
	}
	c.blocks[b.key] = b
	b.elem = c.order.PushFront(b)
	c.bytes += b.bytes
	c.shrink(limit)
}

// grow notes that a block has become larger.
func (c *recent) grow(b *recordBlock, n, limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocks[b.key] == b {
		b.bytes += n
		c.bytes += n
		c.shrink(limit)
	}
}

func (c *recent) shrink(limit int) {
	for c.bytes > limit {
		c.drop(c.order.Back().Value.(*recordBlock))
	}
}

func (c *recent) drop(b *recordBlock) {
	c.order.Remove(b.elem)
	delete(c.blocks, b.key)
	c.bytes -= b.bytes
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
// the email is gone. It is made once and kept as long as the record is in
// memory, so make must always make the same for the same name; it appends to
// its argument.
func (s *Store) AppendDerived(ctx context.Context, dst [][]byte, a mail.AccountID, ids []mail.EmailID, name string, make func(dst []byte, r *Record) []byte) ([][]byte, error) {
	err := s.eachBlock(ctx, a, ids, func(b *recordBlock, ids []mail.EmailID) error {
		values, err := s.derive(ctx, b, name, make)
		if err != nil {
			return err
		}
		for _, id := range ids {
			dst = append(dst, values[id%blockEmails])
		}
		return nil
	})
	if err != nil {
		return dst, fmt.Errorf("mailbox: records: %w", err)
	}
	return dst, nil
}

// maxDerived is how many kinds of things a block keeps.
const maxDerived = 24

func (s *Store) derive(ctx context.Context, b *recordBlock, name string, make func([]byte, *Record) []byte) (*[blockEmails][]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := b.derived[name]; v != nil {
		return v, nil
	}
	var text []byte
	var ends [blockEmails]int
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
			text = make(text, r)
		}
		ends[i] = len(text)
	}
	text = append([]byte{}, text...)
	values := new([blockEmails][]byte)
	start := 0
	for i, end := range ends {
		if b.records[i].Envelope != nil || b.absent&(1<<i) != 0 {
			values[i] = text[start:end:end]
		}
		start = end
	}
	if b.derived == nil {
		b.derived = map[string]*[blockEmails][]byte{}
	} else if len(b.derived) >= maxDerived {
		clear(b.derived)
	}
	b.derived[name] = values
	s.recent.grow(b, len(text)+len(values)*24, s.recordLimit())
	return values, nil
}

// eachBlock calls fn for each run of ids that lie in one block, in the order of
// ids. It reads what is not in memory: blocks of which much is wanted whole, of
// others single records, which fn gets in a block that is not kept.
func (s *Store) eachBlock(ctx context.Context, a mail.AccountID, ids []mail.EmailID, fn func(*recordBlock, []mail.EmailID) error) error {
	for len(ids) > 0 {
		k := recordKey{a, uint64(ids[0]) / blockEmails}
		n, highest := 1, ids[0]
		for n < len(ids) && uint64(ids[n])/blockEmails == k.block {
			highest = max(highest, ids[n])
			n++
		}
		b := s.recent.block(k)
		if b == nil || highest >= b.upTo {
			var err error
			if b, err = s.readBlock(ctx, k, ids[:n]); err != nil {
				return err
			}
		}
		if err := fn(b, ids[:n]); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// readBlock reads a block from the rows.
func (s *Store) readBlock(ctx context.Context, k recordKey, ids []mail.EmailID) (*recordBlock, error) {
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
	if b.upTo > 0 {
		s.recent.put(b, s.recordLimit())
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
