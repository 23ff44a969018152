package mailbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// An ExpungedID names a message that was expunged: UIDs are never given again.
type ExpungedID struct {
	Mailbox mail.MailboxID
	UID     mail.UID
}

// String gives the id for people.
func (id ExpungedID) String() string { return fmt.Sprintf("%d.%d", id.Mailbox, id.UID) }

// ParseExpungedID reads what String gives.
func ParseExpungedID(s string) (id ExpungedID, err error) {
	if n, err := fmt.Sscanf(s+"\n", "%d.%d\n", &id.Mailbox, &id.UID); n != 2 || err != nil || id.String() != s {
		return ExpungedID{}, fmt.Errorf("%q is no id of a deleted message: it is two numbers with a dot between them", s)
	}
	return id, nil
}

// An Expunged message is out of sight, and can be restored until it is reaped.
type Expunged struct {
	ExpungedID
	Name     string // of the mailbox, then
	At       time.Time
	Email    mail.EmailID
	Size     int64
	Date     time.Time // INTERNALDATE
	Flags    Flags     // system flags
	Keywords []string
}

// maxGrave is about how many bytes, and graveRows how many messages, one row 24
// holds: so many one commit can restore or forget.
const (
	maxGrave  = 60_000
	graveRows = 2000
)

// A grave is row 24: messages that one commit took out of a mailbox.
type grave struct {
	name     string // of the mailbox
	keywords []string
	rows     []Row
}

func graveKey(a mail.AccountID, at time.Time, seq mail.ModSeq, box mail.MailboxID, first mail.UID) []byte {
	k := key64(a, kindExpunged, uint64(max(at.Unix(), 0)))
	k = binary.BigEndian.AppendUint64(k, uint64(seq))
	k = binary.BigEndian.AppendUint64(k, uint64(box))
	return binary.BigEndian.AppendUint32(k, uint32(first))
}

// graveOf gives when, and from which mailbox, the messages of a row went.
func graveOf(k []byte) (at time.Time, box mail.MailboxID) {
	k = k[kv.PrefixLen+1:]
	return time.Unix(int64(binary.BigEndian.Uint64(k)), 0), mail.MailboxID(binary.BigEndian.Uint64(k[16:]))
}

func (g *grave) begin(b []byte) []byte {
	b = kv.AppendBytes(b, g.name)
	b = binary.AppendUvarint(b, uint64(len(g.keywords)))
	for _, k := range g.keywords {
		b = kv.AppendBytes(b, k)
	}
	return b
}

// appendGrave appends r behind last, which is the zero Row at first.
func appendGrave(b []byte, last, r *Row) []byte {
	b = binary.AppendUvarint(b, uint64(r.UID-last.UID))
	b = binary.AppendVarint(b, int64(r.Email)-int64(last.Email))
	b = binary.AppendVarint(b, int64(r.Thread)-int64(last.Thread))
	b = binary.AppendUvarint(b, uint64(r.Flags))
	b = binary.AppendUvarint(b, uint64(r.Size))
	b = binary.AppendVarint(b, r.date-last.date)
	b = binary.AppendVarint(b, int64(r.zone))
	b = binary.AppendUvarint(b, uint64(r.ends))
	return binary.AppendVarint(b, int64(r.ascii))
}

func (g *grave) append(b []byte) []byte {
	b = g.begin(b)
	last := &Row{}
	for i := range g.rows {
		b = appendGrave(b, last, &g.rows[i])
		last = &g.rows[i]
	}
	return b
}

func decodeGrave(raw []byte) (g grave, err error) {
	d := kv.Decode(raw)
	g.name = d.String()
	n := d.Uvarint()
	if n > MaxKeywords {
		return g, kv.ErrRow
	}
	for ; n > 0; n-- {
		g.keywords = append(g.keywords, d.String())
	}
	last := Row{}
	for d.More() && len(g.rows) < graveRows {
		r := Row{
			UID:    last.UID + mail.UID(d.Uvarint()),
			Email:  mail.EmailID(int64(last.Email) + d.Varint()),
			Thread: mail.ThreadID(int64(last.Thread) + d.Varint()),
			Flags:  Flags(d.Uvarint()),
			Size:   int64(d.Uvarint()),
			date:   last.date + d.Varint(),
			zone:   int16(d.Varint()),
			ends:   int64(d.Uvarint()),
			ascii:  int32(d.Varint()),
		}
		if err := d.Err(); err != nil {
			return g, err
		}
		if r.Size < 0 || r.ends < 0 {
			return g, kv.ErrRow
		}
		g.rows = append(g.rows, r)
		last = r
	}
	if d.More() {
		return g, kv.ErrRow
	}
	return g, d.Err()
}

// bury writes down what was expunged.
func (e *Edit) bury(b *editBox, keywords []string, rows []*Row) {
	g := grave{name: b.Name}
	for _, r := range rows {
		e.root.deadBytes += r.Size
		if r.Flags&^systemFlags != 0 {
			g.keywords = keywords
		}
	}
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	for len(rows) > 0 {
		*buf = g.begin((*buf)[:0])
		last := &Row{}
		n := 0
		for n < len(rows) && n < graveRows && len(*buf) < maxGrave {
			*buf = appendGrave(*buf, last, rows[n])
			last = rows[n]
			n++
		}
		e.tx.Set(graveKey(e.acct, e.tx.Now(), e.root.modseq, b.ID, rows[0].UID), *buf)
		rows = rows[n:]
	}
}

// Expunged gives messages that can be restored, those that went last first: the
// ones that want says yes to, and no more than most.
func (s *Store) Expunged(ctx context.Context, a mail.AccountID, most int, want func(*Expunged) bool) (out []Expunged, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		out = out[:0]
		rg := kv.Prefix(key(a, kindExpunged))
		rg.Reverse = true
		for row, err := range r.Scan(rg) {
			if err != nil {
				return err
			}
			g, err := decodeGrave(row.Value)
			if err != nil {
				return err
			}
			at, box := graveOf(row.Key)
			for i := len(g.rows) - 1; i >= 0; i-- {
				x := g.expunged(i, at, box)
				if !want(&x) {
					continue
				}
				if len(out) == most {
					return nil
				}
				out = append(out, x)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("mailbox: expunged: %w", err)
	}
	return out, nil
}

// Buried says how much was expunged at a time.
type Buried struct {
	At    time.Time
	Bytes int64
}

// Buried tells of mail that was expunged from one time on and before another and is
// still kept, what went first first, until it is so many bytes.
func (s *Store) Buried(ctx context.Context, a mail.AccountID, from, before time.Time, bytes int64) (list []Buried, err error) {
	rg := kv.Range{Low: key64(a, kindExpunged, uint64(max(from.Unix(), 0))), High: key64(a, kindExpunged, uint64(max(before.Unix(), 0)))}
	err = s.DB.View(ctx, func(r kv.Reader) error {
		list = list[:0]
		left := bytes
		for row, err := range r.Scan(rg) {
			if err != nil {
				return err
			}
			g, err := decodeGrave(row.Value)
			if err != nil {
				return err
			}
			b := Buried{}
			b.At, _ = graveOf(row.Key)
			for i := range g.rows {
				b.Bytes += g.rows[i].Size
			}
			list = append(list, b)
			if left -= b.Bytes; left <= 0 {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("mailbox: what is expunged: %w", err)
	}
	return list, nil
}

func (g *grave) expunged(i int, at time.Time, box mail.MailboxID) Expunged {
	r := &g.rows[i]
	return Expunged{
		ExpungedID: ExpungedID{box, r.UID}, Name: g.name, At: at, Email: r.Email, Size: r.Size, Date: r.Date(),
		Flags: r.Flags.System(), Keywords: (&Snapshot{Keywords: g.keywords}).Names(r.Flags),
	}
}

// Restore puts expunged messages back into their mailboxes under new UIDs, with
// flags and dates. A mailbox that is gone is made again. It gives how many there
// were; mail.ErrOverQuota if there is no room for more.
func (s *Store) Restore(ctx context.Context, a mail.AccountID, want func(*Expunged) bool) (n int, err error) {
	var keys [][]byte
	err = s.DB.View(ctx, func(r kv.Reader) error {
		keys = keys[:0]
		for row, err := range r.Scan(kv.Prefix(key(a, kindExpunged))) {
			if err != nil {
				return err
			}
			keys = append(keys, append([]byte(nil), row.Key...))
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("mailbox: restore: %w", err)
	}
	for _, k := range keys {
		part := 0
		err := s.update(ctx, a, func(e *Edit) (err error) {
			part, err = e.restore(k, want)
			return err
		})
		if err != nil {
			return n, fmt.Errorf("mailbox: restore: %w", err)
		}
		n += part
	}
	return n, nil
}

// restore puts messages of one row back.
func (e *Edit) restore(k []byte, want func(*Expunged) bool) (n int, err error) {
	raw, err := e.tx.Get(k)
	if err != nil || raw == nil {
		return 0, err
	}
	g, err := decodeGrave(raw)
	if err != nil {
		return 0, err
	}
	at, from := graveOf(k)
	var left []Row
	var b *editBox
	for i := range g.rows {
		x := g.expunged(i, at, from)
		if !want(&x) {
			left = append(left, g.rows[i])
			continue
		}
		if b == nil {
			if b, err = e.home(from, g.name); err != nil {
				return 0, err
			}
		}
		if err := e.revive(b, g.rows[i], x.Keywords); err != nil {
			return 0, err
		}
		n++
	}
	if n == 0 {
		return 0, nil
	}
	e.root.restored++
	if g.rows = left; len(left) == 0 {
		e.tx.Delete(k)
	} else {
		e.tx.Set(k, g.append(nil))
	}
	return n, nil
}

// home gives the mailbox that messages go back to: the one they were in, or
// another of that name, made if there is none.
func (e *Edit) home(id mail.MailboxID, name string) (*editBox, error) {
	b, err := e.messages(id)
	if err == nil || !errors.Is(err, mail.ErrNotFound) {
		return b, err
	}
	if id, err = lookup(e.tx, e.acct, name); err == nil {
		if b, err = e.messages(id); err == nil {
			return b, nil
		}
	}
	if !errors.Is(err, mail.ErrNotFound) {
		return nil, err
	}
	m, err := e.CreateMailbox(name, NoRole)
	if err != nil {
		return nil, err
	}
	e.tx.Set(nameKey(e.acct, kindSubscribed, name), []byte{})
	return e.box(m.ID)
}

// revive adds a message that was expunged to a mailbox.
func (e *Edit) revive(b *editBox, r Row, keywords []string) error {
	if err := e.charge(1, r.Size); err != nil {
		return err
	}
	bits, err := e.keywordBits(b, keywords)
	if err != nil {
		return err
	}
	if b.UIDNext == ^mail.UID(0) {
		return fmt.Errorf("mailbox: %q has no UIDs left: %w", b.Name, mail.ErrLimit)
	}
	e.root.deadBytes -= r.Size
	r.UID, r.ModSeq, r.saved = b.UIDNext, e.root.modseq, e.tx.Now().Unix()
	r.Flags = r.Flags.System()&^Deleted | bits
	e.put(b, r)
	return nil
}
