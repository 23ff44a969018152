// Package body keeps the bytes of messages at rest, and knows who holds them.
//
// A body is staged while it comes in: small ones in memory, large ones straight
// into the blob engine. When its holders are known it is kept: a small body
// with one holder goes compressed into the holder's own row, and shares that
// row's commit, unless many come in at a time; all others become one blob that
// every holder refers to. Either way a Ref that stands in a committed row can be
// opened, for the bytes are on stable storage before the row is.
//
// Each holder has a reference row of its own, so holding twice or releasing
// twice does no harm, and no row is fought over. A blob without such rows is
// given back by Sweep.
package body

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
	"posthaste/internal/engine/blob/codec"
	"posthaste/internal/engine/kv"
)

const (
	// maxStaged is what a body may take of memory while it comes in.
	maxStaged = 64 << 10
	// maxInline is the largest compressed body that stands in a row.
	maxInline = 8 << 10
	// tries is how many times larger a body is at most that is compressed to see
	// whether it becomes small enough, and maxTried how large: hardly any mail shrinks to
	// less than a quarter, and what does not become small enough is compressed twice.
	tries    = 4
	maxTried = 16 << 10
	// maxTiny is the largest compressed body that is repeated in the rows of
	// several holders: below it, a reference row and a blob cost more.
	maxTiny = 512
	// crowd is how many bodies are staged at a time when small ones are kept as blobs,
	// too. So many share the sync of a pack, which for a few would be a second wait; and
	// what stands in rows is written twice, to the log and to where it stays.
	crowd = 24
)

// A Store keeps bodies. DB and Blobs must be set.
type Store struct {
	DB    kv.Store
	Blobs blob.Store
	// Full says that there is no room for new bodies, though there may be for rows;
	// nil: that is for the engines to say.
	Full func() bool

	staged atomic.Int64 // bodies in memory that have come in and are not closed
}

// A Ref says where a body is. It is part of the holder's row.
type Ref struct {
	Blob   mail.BlobID // zero if inline
	Inline []byte      // as the codec wrote it
	Size   int64       // of the body, in bytes
}

// AppendBinary appends what DecodeRef reads.
func (r Ref) AppendBinary(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(r.Size))
	if r.Blob.IsZero() {
		return kv.AppendBytes(append(b, 0), r.Inline)
	}
	return append(append(b, 1), r.Blob[:]...)
}

// DecodeRef reads a Ref from a row. Its Inline points into the row.
func DecodeRef(d *kv.Decoder) Ref {
	r := Ref{Size: int64(d.Uvarint())}
	if d.Byte() == 0 {
		r.Inline = d.Bytes()
	} else {
		copy(r.Blob[:], d.Raw(len(r.Blob)))
	}
	return r
}

// Staged is a body that has come in and is not yet held by anybody.
type Staged struct {
	mem    *bytes.Buffer // nil if the body is in blob
	blob   blob.Blob
	ref    Ref
	ends   lineEnds
	staged *atomic.Int64 // of the store
}

var (
	buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
	encoded = sync.Pool{New: func() any { return new([]byte) }}
)

// Stage reads all of r. The caller must Close what it gets. An error of r is
// returned as it is, and nothing is kept; mail.ErrFull if there is no room.
func (s *Store) Stage(ctx context.Context, r io.Reader) (*Staged, error) {
	buf := buffers.Get().(*bytes.Buffer)
	buf.Reset()
	n, err := buf.ReadFrom(io.LimitReader(r, maxStaged+1))
	if err != nil {
		buffers.Put(buf)
		return nil, err
	}
	if s.Full != nil && s.Full() {
		buffers.Put(buf)
		return nil, fmt.Errorf("body: %w", mail.ErrFull)
	}
	if n <= maxStaged {
		st := &Staged{mem: buf, ref: Ref{Size: n}, staged: &s.staged}
		s.staged.Add(1)
		st.ends.count(buf.Bytes())
		return st, nil
	}
	counted := &countedReader{r: io.MultiReader(bytes.NewReader(buf.Bytes()), r)}
	id, size, err := s.Blobs.Put(ctx, counted)
	buffers.Put(buf)
	if err != nil {
		return nil, err
	}
	b, err := s.Blobs.Open(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("body: open what was just put: %w", err)
	}
	return &Staged{blob: b, ref: Ref{Blob: id, Size: size}, ends: counted.ends}, nil
}

// Restage gives a body that is held as one that has come in, for further holders; Keep
// writes nothing anew if it need not. Whoever holds it must do so until they do. All of it
// is read, so that nobody is given what is damaged. mail.ErrFull if there is no room.
func (s *Store) Restage(ctx context.Context, ref Ref) (*Staged, error) {
	if s.Full != nil && s.Full() {
		return nil, fmt.Errorf("body: %w", mail.ErrFull)
	}
	held, err := s.Open(ctx, ref, nil)
	if err != nil {
		return nil, err
	}
	if held.blob == nil {
		buf := buffers.Get().(*bytes.Buffer)
		buf.Reset()
		buf.Write(held.mem)
		s.staged.Add(1)
		st := &Staged{mem: buf, ref: Ref{Inline: bytes.Clone(ref.Inline), Size: ref.Size}, staged: &s.staged}
		st.ends.count(held.mem)
		return st, nil
	}
	counted := &countedReader{r: io.NewSectionReader(held.blob, 0, held.size)}
	if _, err := io.Copy(io.Discard, counted); err != nil {
		held.Close()
		return nil, fmt.Errorf("body: %w", err)
	}
	return &Staged{blob: held.blob, ref: ref, ends: counted.ends}, nil
}

// Size is the length of the body in bytes.
func (st *Staged) Size() int64 { return st.ref.Size }

// Unended is how many bytes longer the body is once every line ends in CRLF,
// the last one included: what protocols make of it that send lines.
func (st *Staged) Unended() int64 { return st.ends.missing() }

// Bytes gives the whole body if it is in memory, else nil.
func (st *Staged) Bytes() []byte {
	if st.mem == nil {
		return nil
	}
	return st.mem.Bytes()
}

// ReadAt reads as io.ReaderAt does.
func (st *Staged) ReadAt(p []byte, off int64) (int, error) {
	if st.mem == nil {
		return st.blob.ReadAt(p, off)
	}
	return readAt(st.mem.Bytes(), p, off)
}

// Close gives the memory back. Refs made by Keep stay good.
func (st *Staged) Close() error {
	if st.mem != nil {
		if st.mem.Cap() <= 4*maxStaged {
			buffers.Put(st.mem)
		}
		st.mem = nil
		st.staged.Add(-1)
		return nil
	}
	if st.blob == nil {
		return nil
	}
	b := st.blob
	st.blob = nil
	return b.Close()
}

// Keep gives the Ref for as many holders as will refer to the body. It may be
// called again with more holders. What is not inline is on stable storage when
// Keep returns.
func (s *Store) Keep(ctx context.Context, st *Staged, holders int) (Ref, error) {
	if !st.ref.Blob.IsZero() {
		return st.ref, nil
	}
	most := maxInline
	if holders > 1 || st.ref.Inline == nil && s.staged.Load() >= crowd {
		most = maxTiny
	}
	if st.ref.Inline == nil && st.mem.Len() <= min(tries*most, maxTried) {
		buf := encoded.Get().(*[]byte)
		*buf = codec.Encode((*buf)[:0], st.mem.Bytes())
		if len(*buf) <= maxInline {
			st.ref.Inline = bytes.Clone(*buf) // it outlives st
		}
		encoded.Put(buf)
	}
	if st.ref.Inline != nil && len(st.ref.Inline) <= most {
		return st.ref, nil
	}
	id, size, err := s.Blobs.Put(ctx, bytes.NewReader(st.mem.Bytes()))
	if err != nil {
		return Ref{}, fmt.Errorf("body: %w", err)
	}
	return Ref{Blob: id, Size: size}, nil
}

// Prefixed gives prefix and the staged body as one.
func Prefixed(prefix []byte, st *Staged) *Reader {
	r := &Reader{prefix: prefix, size: int64(len(prefix)) + st.Size()}
	if st.mem != nil {
		r.mem = st.mem.Bytes()
	} else {
		r.blob = st.blob
	}
	return r
}

// A Reader is an open body, with what stands before it in this holder's copy of
// the message (its trace fields) in front.
type Reader struct {
	prefix []byte
	mem    []byte    // an inline body
	blob   blob.Blob // any other
	size   int64
}

// Open opens the body that r refers to, behind prefix.
func (s *Store) Open(ctx context.Context, r Ref, prefix []byte) (*Reader, error) {
	rd := &Reader{prefix: prefix, size: int64(len(prefix)) + r.Size}
	if r.Blob.IsZero() {
		b, err := codec.Decode(nil, r.Inline, r.Size)
		if err != nil {
			return nil, fmt.Errorf("body: inline: %w", err)
		}
		if int64(len(b)) != r.Size {
			return nil, fmt.Errorf("body: inline: %w", kv.ErrRow)
		}
		rd.mem = b
		return rd, nil
	}
	b, err := s.Blobs.Open(ctx, r.Blob)
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	if b.Size() != r.Size {
		b.Close()
		return nil, fmt.Errorf("body: blob %v has %d bytes, its holder expects %d: %w", r.Blob, b.Size(), r.Size, blob.ErrCorrupt)
	}
	rd.blob = b
	return rd, nil
}

// OpenIn is Open that uses the memory of buf for an inline body, if it is
// enough: Bytes gives it back. No more than one Reader may use it at a time.
func (s *Store) OpenIn(ctx context.Context, buf []byte, r Ref, prefix []byte) (*Reader, error) {
	b, ok, err := AppendInline(buf[:0], r, prefix)
	if err != nil {
		return nil, err
	}
	if !ok {
		return s.Open(ctx, r, prefix)
	}
	return &Reader{mem: b, size: int64(len(b))}, nil
}

// AppendInline appends prefix and body if the body stands in its holder's row;
// else it gives false and appends nothing.
func AppendInline(dst []byte, r Ref, prefix []byte) ([]byte, bool, error) {
	if !r.Blob.IsZero() {
		return dst, false, nil
	}
	start := len(dst)
	out, err := codec.Decode(append(dst, prefix...), r.Inline, r.Size)
	if err == nil && int64(len(out)-start-len(prefix)) != r.Size {
		err = kv.ErrRow
	}
	if err != nil {
		return dst, true, fmt.Errorf("body: inline: %w", err)
	}
	return out, true, nil
}

// Size is the length of prefix and body in bytes.
func (r *Reader) Size() int64 { return r.size }

// Close closes the blob, if there is one.
func (r *Reader) Close() error {
	if r.blob == nil {
		return nil
	}
	return r.blob.Close()
}

// Bytes gives prefix and body in one piece if the body is in memory, else nil.
func (r *Reader) Bytes() []byte {
	if r.blob != nil {
		return nil
	}
	if len(r.prefix) > 0 {
		r.mem = append(r.prefix[:len(r.prefix):len(r.prefix)], r.mem...)
		r.prefix = nil
	}
	return r.mem
}

// ReadAt reads as io.ReaderAt does.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("body: negative offset")
	}
	n := 0
	if off < int64(len(r.prefix)) {
		n = copy(p, r.prefix[off:])
		if n == len(p) {
			return n, nil
		}
	}
	off += int64(n) - int64(len(r.prefix))
	var m int
	var err error
	if r.blob == nil {
		m, err = readAt(r.mem, p[n:], off)
	} else {
		m, err = r.blob.ReadAt(p[n:], off)
	}
	return n + m, err
}

func readAt(b, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("body: negative offset")
	}
	if off >= int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
