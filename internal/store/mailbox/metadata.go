package mailbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// Limits of what people note about mailboxes.
const (
	MaxAnnotation  = 32 << 10 // bytes of a value
	MaxEntryName   = 255      // bytes of a name
	MaxAnnotations = 100      // that one person has of one mailbox, and as many that all share
	MaxMetadata    = 16 << 20 // bytes of all names and values of an account
)

// NoMailbox is what annotations of an account as a whole belong to.
const NoMailbox mail.MailboxID = 0

// SeenEntry is the name of a shared entry that each mailbox has: its SeenMode. It
// is written with SetMetadata and takes effect by that.
const SeenEntry = "/vendor/posthaste/seen"

// ErrNoMode: the value of SeenEntry is no SeenMode.
var ErrNoMode = errors.New("mailbox: the value is own or common")

// An Annotation is something that is noted about a mailbox, or about an account.
// RFC 5464 §3
type Annotation struct {
	Reader mail.AccountID // whose it is; 0: all who see the mailbox share it
	Name   string         // in lower case, with the slash in front
	Value  []byte         // nil: there is none
}

// Errors of SetMetadata.
var (
	ErrTooLong = fmt.Errorf("mailbox: the value is too long: %w", mail.ErrLimit)
	ErrTooMany = fmt.Errorf("mailbox: too much is noted: %w", mail.ErrLimit)
)

func metadataKey(a mail.AccountID, box mail.MailboxID, reader mail.AccountID, name string) []byte {
	return append(binary.BigEndian.AppendUint64(key64(a, kindMetadata, uint64(box)), uint64(reader)), name...)
}

// Levels is how far below an entry others are wanted. RFC 5464 §4.2.2
type Levels byte

// The levels.
const (
	ThisEntry Levels = iota
	OneBelow
	AllBelow
)

// Metadata gives for each of the annotations that are asked for (by reader and
// name) what there is: itself, and as many levels below it as are wanted.
func (s *Store) Metadata(ctx context.Context, b Box, of []Annotation, levels Levels) (found [][]Annotation, err error) {
	keys := make([][]byte, len(of))
	for i, n := range of {
		keys[i] = metadataKey(b.Account, b.Mailbox, n.Reader, n.Name)
	}
	err = s.DB.View(ctx, func(r kv.Reader) error {
		found = make([][]Annotation, len(of))
		values, err := r.GetMany(keys...)
		if err != nil {
			return err
		}
		for i, v := range values {
			if v != nil {
				found[i] = append(found[i], Annotation{of[i].Reader, of[i].Name, v})
			}
			if levels == ThisEntry {
				continue
			}
			if found[i], err = below(r, found[i], keys[i], &of[i], levels); err != nil {
				return err
			}
		}
		if err := withUse(r, b, of, found, levels); err != nil {
			return err
		}
		return withSeenMode(r, b, of, found, levels)
	})
	if err != nil {
		return nil, fmt.Errorf("mailbox: metadata: %w", err)
	}
	return found, nil
}

// below appends what is below the annotation n, whose row has the key k.
func below(r kv.Reader, list []Annotation, k []byte, n *Annotation, levels Levels) ([]Annotation, error) {
	skip := len(k) - len(n.Name)
	for row, err := range r.Scan(kv.Prefix(append(k[:len(k):len(k)], '/'))) {
		if err != nil {
			return nil, err
		}
		name := string(row.Key[skip:])
		if levels == OneBelow && strings.Contains(name[len(n.Name)+1:], "/") {
			continue
		}
		list = append(list, Annotation{n.Reader, name, append([]byte{}, row.Value...)})
	}
	return list, nil
}

// withSeenMode adds SeenEntry where it is asked for.
func withSeenMode(r kv.Reader, b Box, of []Annotation, found [][]Annotation, levels Levels) error {
	for i := range of {
		rest, ok := strings.CutPrefix(SeenEntry, of[i].Name)
		switch {
		case !ok || of[i].Reader != 0 || b.Mailbox == NoMailbox,
			rest != "" && (rest[0] != '/' || levels == ThisEntry),
			levels == OneBelow && strings.Count(rest, "/") > 1:
			continue
		}
		m, err := readMailbox(r, b.Account, b.Mailbox)
		if err != nil {
			return err
		}
		found[i] = append(found[i], Annotation{Name: SeenEntry, Value: []byte(m.SeenMode())})
	}
	return nil
}

// isSeenMode tells whether an annotation is SeenEntry of a mailbox.
func (n *Annotation) isSeenMode(b Box) bool {
	return n.Reader == 0 && n.Name == SeenEntry && b.Mailbox != NoMailbox
}

// SetMetadata writes annotations, all or none, and gives the sequence of that.
// ErrNoUse and ErrUseTaken are about UseEntry, and it is
// ErrNoMode if SeenEntry would get another value than a SeenMode or none, which
// makes it SeenOwn.
func (s *Store) SetMetadata(ctx context.Context, b Box, list []Annotation) (seq mail.ModSeq, err error) {
	for i := range list {
		if !list[i].isSeenMode(b) {
			continue
		}
		mode, ok := ParseSeenMode(string(list[i].Value))
		if !ok && list[i].Value != nil {
			return 0, ErrNoMode
		}
		if err := s.gatherSeen(ctx, b, mode); err != nil {
			return 0, err
		}
	}
	err = s.update(ctx, b.Account, func(e *Edit) error {
		if b.Mailbox != NoMailbox {
			if _, err := e.box(b.Mailbox); err != nil {
				return err
			}
		}
		o := op{kind: opMetadata, box: b.Mailbox}
		for _, n := range list {
			changed, err := e.setEntry(b, n)
			if err != nil {
				return err
			}
			if changed {
				o.entries = append(o.entries, noted{n.Reader, n.Name})
			}
		}
		if len(o.entries) > 0 {
			e.note(o)
		}
		seq = e.root.modseq
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("mailbox: set metadata: %w", err)
	}
	return seq, nil
}

// setEntry is annotate, also for SeenEntry and UseEntry.
func (e *Edit) setEntry(b Box, n Annotation) (changed bool, err error) {
	if n.isUse(b) {
		return e.setUse(b, n.Value)
	}
	if !n.isSeenMode(b) {
		return e.annotate(b.Mailbox, n)
	}
	box, err := e.messages(b.Mailbox)
	if err != nil {
		return false, err
	}
	if n.Value != nil {
		return e.setSeenMode(box, SeenMode(n.Value))
	}
	changed, err = e.setSeenMode(box, SeenOwn)
	box.chosen = false
	return changed, err
}

// annotate writes one annotation, and tells whether that changed anything.
func (e *Edit) annotate(box mail.MailboxID, n Annotation) (changed bool, err error) {
	if len(n.Value) > MaxAnnotation || len(n.Name) > MaxEntryName {
		return false, ErrTooLong
	}
	k := metadataKey(e.acct, box, n.Reader, n.Name)
	old, err := e.tx.Get(k)
	if err != nil {
		return false, err
	}
	if old != nil {
		e.root.metadata -= int64(len(n.Name) + len(old))
	}
	if n.Value == nil {
		e.tx.Delete(k)
		return old != nil, nil
	}
	e.root.metadata += int64(len(n.Name) + len(n.Value))
	if e.root.metadata > MaxMetadata {
		return false, ErrTooMany
	}
	e.tx.Set(k, n.Value)
	if old != nil {
		return string(old) != string(n.Value), nil
	}
	count := 0
	for _, err := range e.tx.Scan(kv.Prefix(metadataKey(e.acct, box, n.Reader, ""))) {
		if err != nil {
			return false, err
		}
		if count++; count > MaxAnnotations {
			return false, ErrTooMany
		}
	}
	return true, nil
}

// forgetMetadata removes what is noted about a mailbox: by all, or by one reader.
func (e *Edit) forgetMetadata(prefix []byte) error {
	skip := len(metadataKey(e.acct, 0, 0, ""))
	found := false
	for row, err := range e.tx.Scan(kv.Prefix(prefix)) {
		if err != nil {
			return err
		}
		e.root.metadata -= int64(len(row.Key) - skip + len(row.Value))
		found = true
	}
	if found {
		e.tx.DeleteRange(prefix, kv.Next(prefix))
		e.changed = true
	}
	return nil
}

// forgetReader removes what somebody has noted about, and seen of, an account's
// mailboxes that are no longer shared with them for good.
func (s *Store) forgetReader(ctx context.Context, b Box, reader mail.AccountID) error {
	err := s.update(ctx, b.Account, func(e *Edit) error {
		if box, err := e.box(b.Mailbox); err != nil {
			return err
		} else if box.own > 0 {
			e.forgetSeenBy(box, reader)
		}
		return e.forgetMetadata(metadataKey(b.Account, b.Mailbox, reader, ""))
	})
	if errors.Is(err, mail.ErrNotFound) {
		return nil
	}
	return err
}

// A noted entry is the name of an annotation that has changed.
type noted struct {
	reader mail.AccountID
	name   string
}

func appendEntries(b []byte, list []noted) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, n := range list {
		b = kv.AppendBytes(binary.AppendUvarint(b, uint64(n.reader)), n.name)
	}
	return b
}

func decodeEntries(d *kv.Decoder) (list []noted) {
	for n := d.Uvarint(); n > 0 && d.Err() == nil; n-- {
		list = append(list, noted{mail.AccountID(d.Uvarint()), d.String()})
	}
	return list
}

// metadata looks that what is noted belongs to something, and is counted.
func (c *checker) metadata(r kv.Reader) error {
	size := int64(0)
	err := c.scan(r, kindMetadata, func(k, v []byte) error {
		size += int64(len(k) - 16 + len(v))
		if id := mail.MailboxID(binary.BigEndian.Uint64(k)); id != NoMailbox && c.boxes[id].ID == 0 {
			c.say("%q is noted about mailbox %d, which does not exist", k[16:], id)
		}
		return nil
	})
	if err == nil && size != c.root.metadata {
		c.say("what is noted is counted as %d bytes, there are %d", c.root.metadata, size)
	}
	return err
}
