package mailbox

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/body"
)

// A Prepared message has been parsed, outside of any transaction, and is ready
// to be appended to any number of mailboxes once its Ref is set.
type Prepared struct {
	Trace  mail.TraceID
	Prefix []byte   // trace fields in front of the body
	Ref    body.Ref // set when the body is kept
	Size   int64    // of prefix and body

	ends    int64 // see Row
	ascii   int32
	record  []byte
	large   Record // the record, if it is too large for a row
	threads []uint64
}

// scratch are buffers for a message or a row in the making.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// Prepare parses the message that prefix and the staged body make. It fails
// only if the body cannot be read.
func Prepare(trace mail.TraceID, prefix []byte, st *body.Staged) (*Prepared, error) {
	p := &Prepared{Trace: trace, Prefix: prefix, Size: int64(len(prefix)) + st.Size(), ends: st.Unended()}
	if b := st.Bytes(); b != nil {
		buf := scratch.Get().(*[]byte)
		*buf = append(append((*buf)[:0], prefix...), b...)
		tree := message.ParseBytes(*buf)
		p.summarize(tree, (*buf)[:tree.HeaderSize])
		scratch.Put(buf) // what p keeps are copies
		return p, nil
	}
	return p, p.parse(body.Prefixed(prefix, st))
}

// parse is Prepare for what is not in memory.
func (p *Prepared) parse(r mail.Body) error {
	tree, err := message.Parse(r, r.Size())
	if err != nil {
		return fmt.Errorf("mailbox: read the message: %w", err)
	}
	header := make([]byte, tree.HeaderSize)
	if _, err := r.ReadAt(header, 0); err != nil && err != io.EOF {
		return fmt.Errorf("mailbox: read the header: %w", err)
	}
	p.summarize(tree, header)
	return nil
}

// RowBytes is how many bytes the message's own rows take, at most.
func (p *Prepared) RowBytes() int {
	return len(p.record) + len(p.Prefix) + len(p.Ref.Inline) + 40*len(p.threads) + 300
}

// Weight is about how many bytes one Append of the message writes, with what is
// written of it elsewhere.
func (p *Prepared) Weight() int {
	return p.RowBytes() + 400
}

// PrepareMessage stages, parses and keeps a message for one holder, as APPEND
// needs it.
func (s *Store) PrepareMessage(ctx context.Context, trace mail.TraceID, r io.Reader) (*Prepared, error) {
	st, err := s.Bodies.Stage(ctx, r)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	p, err := Prepare(trace, nil, st)
	if err != nil {
		return nil, err
	}
	p.large = Record{} // it may be large, and is not for the row
	p.Ref, err = s.Bodies.Keep(ctx, st, 1)
	return p, err
}

// A Record is what FETCH and SEARCH ask of a message without its bytes. It is
// made once, when the message comes in.
type Record struct {
	Envelope  []byte    // as ENVELOPE goes over the wire
	Structure []byte    // as BODYSTRUCTURE does
	Tree      []byte    // for message.DecodePart; without the message's own envelope
	Sent      time.Time // the Date field; zero if unreadable
	fields    []byte    // the cached fields of the header, raw, in their order
}

// cachedFields are the header fields kept in the record: what mail programs ask
// of every message when they show a list, and threading.
var cachedFields = map[string]bool{
	"date": true, "from": true, "sender": true, "reply-to": true, "to": true, "cc": true, "bcc": true, "subject": true,
	"message-id": true, "in-reply-to": true, "references": true, "newsgroups": true, "mime-version": true,
	"content-type": true, "content-transfer-encoding": true, "priority": true, "x-priority": true, "importance": true,
	"list-id": true, "list-post": true, "list-unsubscribe": true, "auto-submitted": true, "precedence": true,
	"disposition-notification-to": true, "x-label": true, "x-spam-flag": true, "x-spam-status": true,
}

const (
	recordVersion = 1
	recordAbsent  = 0xff // too large for a row: parsed again when asked for
	maxRecord     = kv.MaxValue - 1000
)

func (p *Prepared) summarize(tree *message.Part, header []byte) {
	if message.NeedsUTF8(header) {
		p.ascii = int32(message.Lined(message.Downgrade(nil, header))-message.Lined(header))<<1 | 1
	}
	var sent int64
	var fields []byte
	var refs string
	for f := range message.Fields(header) {
		name := strings.ToLower(string(f.Name))
		if !cachedFields[name] {
			continue
		}
		fields = append(fields, f.Raw...)
		switch name {
		case "references":
			if refs == "" {
				refs = f.Text()
			}
		case "date":
			if t, err := message.ParseDate(f.Text()); err == nil && sent == 0 {
				sent = t.Unix()
			}
		}
	}
	p.threads = threadKeys(tree.Envelope, refs)
	b := make([]byte, 0, 1024)
	b = append(b, recordVersion)
	b = binary.AppendVarint(b, sent)
	b = appendSized(b, func(b []byte) []byte { return imap.AppendEnvelope(b, tree.Envelope) })
	b = appendSized(b, func(b []byte) []byte { return imap.AppendBodyStructure(b, tree, imap.Extended) })
	bare := *tree
	bare.Envelope = nil // stands in front of it
	b = appendSized(b, bare.AppendBinary)
	b = kv.AppendBytes(b, fields)
	if len(b) > maxRecord {
		p.large, _ = decodeRecord(b)
		b = []byte{recordAbsent}
	}
	p.record = b
}

// appendSized appends what fn appends, behind its length in four bytes.
func appendSized(b []byte, fn func([]byte) []byte) []byte {
	at := len(b)
	b = fn(append(b, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

func sized(d *kv.Decoder) []byte {
	h := d.Raw(4)
	if h == nil {
		return nil
	}
	return d.Raw(int(binary.BigEndian.Uint32(h)))
}

func decodeRecord(raw []byte) (Record, error) {
	d := kv.Decode(raw)
	if v := d.Byte(); v != recordVersion {
		return Record{}, fmt.Errorf("record version %d: %w", v, kv.ErrRow)
	}
	var r Record
	if sent := d.Varint(); sent != 0 {
		r.Sent = time.Unix(sent, 0).UTC()
	}
	r.Envelope, r.Structure, r.Tree, r.fields = sized(d), sized(d), sized(d), d.Bytes()
	return r, d.Err()
}

// Fields appends the raw header fields that have one of the names (in lower
// case), in the order in which they stand. It gives false, and appends nothing,
// if one of the names is not kept in the record.
func (r *Record) Fields(dst []byte, names ...string) ([]byte, bool) {
	for _, n := range names {
		if !cachedFields[n] {
			return dst, false
		}
	}
	for f := range message.Fields(r.fields) {
		for _, n := range names {
			if f.Is(n) {
				dst = append(dst, f.Raw...)
				break
			}
		}
	}
	return dst, true
}

// maxThreadKeys bounds how many Message-IDs of one message are looked up.
const maxThreadKeys = 24

// threadKeys gives a hash for each Message-ID that ties the message to others,
// with the base subject in it: the parent's first, the own one last.
func threadKeys(env *message.Envelope, refs string) []uint64 {
	ids := message.MessageIDs(env.InReplyTo)
	parents := message.MessageIDs(refs)
	for i := len(parents) - 1; i >= 0; i-- {
		ids = append(ids, parents[i])
	}
	if len(ids) > maxThreadKeys-1 {
		ids = ids[:maxThreadKeys-1]
	}
	if own := message.MessageIDs(env.MessageID); len(own) > 0 {
		ids = append(ids, own[0])
	}
	if len(ids) == 0 {
		return nil
	}
	base, _ := message.BaseSubject(message.DecodeWords(env.Subject))
	base = strings.ToLower(base)
	keys := make([]uint64, 0, len(ids))
next:
	for _, id := range ids {
		k := fnv(id, base)
		for _, have := range keys {
			if have == k {
				continue next
			}
		}
		keys = append(keys, k)
	}
	return keys
}

// fnv is FNV-1a over both strings, with a zero byte between them.
func fnv(a, b string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(a); i++ {
		h = (h ^ uint64(a[i])) * 1099511628211
	}
	h *= 1099511628211
	for i := 0; i < len(b); i++ {
		h = (h ^ uint64(b[i])) * 1099511628211
	}
	return h
}
