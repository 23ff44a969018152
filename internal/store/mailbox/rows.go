package mailbox

import (
	"encoding/binary"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/body"
)

// Kinds of rows under an account's lock; see the package comment.
const (
	kindRoot       = 0x00
	kindMailbox    = 0x01
	kindMessage    = 0x02
	kindEmail      = 0x03
	kindRecord     = 0x04
	kindChange     = 0x05
	kindThread     = 0x06
	kindName       = 0x07
	kindKeywords   = 0x08
	kindSubscribed = 0x09
	kindDead       = 0x0a
	kindURLKey     = 0x0c
	kindMetadata   = 0x10
	kindUIDL       = 0x20
	kindExpunged   = 0x24
	kindArrival    = 0x2c
	kindSeen       = 0x34
)

// Lock guards all rows of an account.
func Lock(a mail.AccountID) kv.Lock { return kv.Lock{Class: 'A', ID: uint64(a)} }

// topic is what sessions of the account subscribe to.
func topic(a mail.AccountID) uint64 { return uint64('A')<<56 | uint64(a) }

func key(a mail.AccountID, kind byte) []byte { return append(Lock(a).Prefix(), kind) }

func key64(a mail.AccountID, kind byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(key(a, kind), n)
}

func nameKey(a mail.AccountID, kind byte, name string) []byte {
	return append(key(a, kind), name...)
}

func messageKey(a mail.AccountID, box mail.MailboxID, uid mail.UID) []byte {
	return binary.BigEndian.AppendUint32(key64(a, kindMessage, uint64(box)), uint32(uid))
}

// messageRange is the rows of the UIDs from first to last.
func messageRange(a mail.AccountID, box mail.MailboxID, first, last mail.UID) kv.Range {
	r := kv.Range{Low: messageKey(a, box, first)}
	if last == ^mail.UID(0) {
		r.High = key64(a, kindMessage, uint64(box)+1)
	} else {
		r.High = messageKey(a, box, last+1)
	}
	return r
}

// root is row 00.
type root struct {
	modseq      mail.ModSeq
	floor       mail.ModSeq // changes up to here are no longer in the log
	nextMailbox mail.MailboxID
	nextEmail   mail.EmailID
	nextThread  mail.ThreadID
	uidValidity uint32 // the last one given
	usedBytes   int64
	usedCount   int64
	maxBytes    int64 // 0: no limit
	maxCount    int64
	deadBytes   int64  // of all messages in rows 24
	restored    uint64 // how often messages came back from there
	metadata    int64  // bytes of all annotations
	shared      bool   // nobody's own: all is below INBOX, for whom it is shared with
	counted     bool   // boxes is right; it is not in old stores until a mailbox is made
	boxes       int64  // mailboxes, with placeholders
	maxBoxes    int64  // 0: MaxMailboxes
}

const (
	rootShared = 1 << iota
	rootCounted
)

func (r root) append(b []byte) []byte {
	for _, v := range [...]uint64{
		uint64(r.modseq), uint64(r.floor), uint64(r.nextMailbox), uint64(r.nextEmail), uint64(r.nextThread),
		uint64(r.uidValidity), uint64(r.usedBytes), uint64(r.usedCount), uint64(r.maxBytes), uint64(r.maxCount),
		uint64(r.deadBytes), r.restored,
	} {
		b = binary.AppendUvarint(b, v)
	}
	flags := byte(0)
	if r.shared {
		flags |= rootShared
	}
	if r.counted {
		flags |= rootCounted
	}
	b = binary.AppendUvarint(append(b, flags), uint64(r.metadata))
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(r.boxes)), uint64(r.maxBoxes))
}

func decodeRoot(raw []byte) (root, error) {
	d := kv.Decode(raw)
	r := root{
		modseq:      mail.ModSeq(d.Uvarint()),
		floor:       mail.ModSeq(d.Uvarint()),
		nextMailbox: mail.MailboxID(d.Uvarint()),
		nextEmail:   mail.EmailID(d.Uvarint()),
		nextThread:  mail.ThreadID(d.Uvarint()),
		uidValidity: uint32(d.Uvarint()),
		usedBytes:   int64(d.Uvarint()),
		usedCount:   int64(d.Uvarint()),
		maxBytes:    int64(d.Uvarint()),
		maxCount:    int64(d.Uvarint()),
	}
	if d.More() {
		r.deadBytes, r.restored = int64(d.Uvarint()), d.Uvarint()
	}
	if d.More() {
		flags := d.Byte()
		r.shared, r.counted = flags&rootShared != 0, flags&rootCounted != 0
		if d.More() {
			r.metadata = int64(d.Uvarint())
		}
		if d.More() {
			r.boxes, r.maxBoxes = int64(d.Uvarint()), int64(d.Uvarint())
		}
	}
	return r, d.Err()
}

const (
	mailboxPlaceholder = 1 << iota
	mailboxChosen
)

func (m *Mailbox) append(b []byte) []byte {
	b = kv.AppendBytes(b, m.Name)
	flags := byte(0)
	if m.Placeholder {
		flags |= mailboxPlaceholder
	}
	if m.chosen {
		flags |= mailboxChosen
	}
	b = append(b, byte(m.Role), flags)
	for _, v := range [...]uint64{
		uint64(m.UIDValidity), uint64(m.UIDNext), uint64(m.Total), uint64(m.Unseen), uint64(m.Deleted),
		uint64(m.Size), uint64(m.ModSeq), uint64(m.Created), uint64(m.folded), uint64(m.vanished), uint64(m.recent),
	} {
		b = binary.AppendUvarint(b, v)
	}
	if len(m.ACL) > 0 || m.own > 0 {
		b = m.ACL.append(b)
	}
	if m.own > 0 {
		b = binary.AppendUvarint(b, uint64(m.own))
	}
	return b
}

func decodeMailbox(id mail.MailboxID, raw []byte) (Mailbox, error) {
	d := kv.Decode(raw)
	m := Mailbox{ID: id, Name: d.String(), Role: Role(d.Byte())}
	flags := d.Byte()
	m.Placeholder, m.chosen = flags&mailboxPlaceholder != 0, flags&mailboxChosen != 0
	m.UIDValidity = uint32(d.Uvarint())
	m.UIDNext = mail.UID(d.Uvarint())
	m.Total = uint32(d.Uvarint())
	m.Unseen = uint32(d.Uvarint())
	m.Deleted = uint32(d.Uvarint())
	m.Size = int64(d.Uvarint())
	m.ModSeq = mail.ModSeq(d.Uvarint())
	m.Created = mail.ModSeq(d.Uvarint())
	m.folded = mail.ModSeq(d.Uvarint())
	m.vanished = mail.ModSeq(d.Uvarint())
	if d.More() {
		m.recent = mail.UID(d.Uvarint())
	}
	if d.More() {
		m.ACL = decodeACL(d)
	}
	if d.More() {
		m.own = mail.ModSeq(d.Uvarint())
	}
	return m, d.Err()
}

// A Row is a message in a mailbox, as a Snapshot shows it.
type Row struct {
	UID    mail.UID
	Flags  Flags
	ModSeq mail.ModSeq
	Email  mail.EmailID
	Thread mail.ThreadID
	Size   int64
	date   int64 // INTERNALDATE, seconds
	zone   int16 // its zone, minutes east
	ascii  int32 // 0, or what LinedASCII is above Lined, times two and one
	saved  int64 // SAVEDATE, seconds
	ends   int64 // bytes that lack to have every line end in CRLF
}

// Date is when the message came in, or what APPEND said of it (INTERNALDATE).
func (r *Row) Date() time.Time {
	t := time.Unix(r.date, 0)
	if r.zone == 0 {
		return t.UTC()
	}
	return t.In(time.FixedZone("", int(r.zone)*60))
}

// Saved is when the message came into this mailbox. RFC 8514
func (r *Row) Saved() time.Time { return time.Unix(r.saved, 0).UTC() }

// NeedsUTF8 tells whether the header has what message.Downgrade takes out.
func (r *Row) NeedsUTF8() bool { return r.ascii != 0 }

// LinedASCII is Lined of the message with a header of ASCII only.
func (r *Row) LinedASCII() int64 { return r.Lined() + int64(r.ascii>>1) }

// Lined is the size of the message once every line ends in CRLF, the last one
// included: what POP3 sends of it. RFC 1939 §11
func (r *Row) Lined() int64 { return r.Size + r.ends }

func (r *Row) append(b []byte) []byte {
	for _, v := range [...]uint64{uint64(r.Flags), uint64(r.ModSeq), uint64(r.Email), uint64(r.Thread), uint64(r.Size)} {
		b = binary.AppendUvarint(b, v)
	}
	b = binary.AppendVarint(b, r.date)
	b = binary.AppendVarint(b, int64(r.zone))
	b = binary.AppendVarint(b, r.saved-r.date)
	if r.ends > 0 || r.ascii != 0 { // hardly ever
		b = binary.AppendUvarint(b, uint64(r.ends))
	}
	if r.ascii != 0 {
		b = binary.AppendVarint(b, int64(r.ascii))
	}
	return b
}

func decodeRow(uid mail.UID, raw []byte) (Row, error) {
	d := kv.Decode(raw)
	r := Row{
		UID:    uid,
		Flags:  Flags(d.Uvarint()),
		ModSeq: mail.ModSeq(d.Uvarint()),
		Email:  mail.EmailID(d.Uvarint()),
		Thread: mail.ThreadID(d.Uvarint()),
		Size:   int64(d.Uvarint()),
		date:   d.Varint(),
		zone:   int16(d.Varint()),
	}
	r.saved = r.date + d.Varint()
	if d.More() {
		if r.ends = int64(d.Uvarint()); r.ends < 0 {
			return r, kv.ErrRow
		}
	}
	if d.More() {
		r.ascii = int32(d.Varint())
	}
	return r, d.Err()
}

// rowEmail is decodeRow for the email alone.
func rowEmail(raw []byte) (mail.EmailID, error) {
	d := kv.Decode(raw)
	d.Uvarint() // flags
	d.Uvarint() // modseq
	id := mail.EmailID(d.Uvarint())
	return id, d.Err()
}

// email is row 03.
type email struct {
	trace  mail.TraceID
	prefix []byte // trace fields of this copy, in front of the body
	ref    body.Ref
}

func (e *email) append(b []byte) []byte {
	b = append(b, e.trace[:]...)
	b = kv.AppendBytes(b, e.prefix)
	return e.ref.AppendBinary(b)
}

func decodeEmail(raw []byte) (email, error) {
	var e email
	d := kv.Decode(raw)
	copy(e.trace[:], d.Raw(len(e.trace)))
	e.prefix = d.Bytes()
	e.ref = body.DecodeRef(d)
	return e, d.Err()
}

func holder(a mail.AccountID, e mail.EmailID) body.Holder {
	return body.Holder{Lock: Lock(a), Row: uint64(e)}
}

func appendUIDs(b []byte, s mail.UIDSet) []byte {
	ranges := s.Ranges()
	b = binary.AppendUvarint(b, uint64(len(ranges)))
	last := mail.UID(0)
	for _, r := range ranges {
		b = binary.AppendUvarint(b, uint64(r.First-last))
		b = binary.AppendUvarint(b, uint64(r.Last-r.First))
		last = r.Last
	}
	return b
}

func decodeUIDs(d *kv.Decoder) mail.UIDSet {
	var s mail.UIDSet
	last := uint64(0)
	for n := d.Uvarint(); n > 0 && d.Err() == nil; n-- {
		first := last + d.Uvarint()
		last = first + d.Uvarint()
		if last > uint64(^mail.UID(0)) {
			break
		}
		s.AddRange(mail.UID(first), mail.UID(last))
	}
	return s
}
