package message

import (
	"bytes"
	"io"
)

// A Range is a run of bytes of a message.
type Range struct{ Offset, Size int64 }

// RemoveFields gives the header without the fields that drop wants gone. All
// other bytes stay as they are; header itself is not changed.
func RemoveFields(header []byte, drop func(Field) bool) []byte {
	cut := CutFields(header, drop)
	if len(cut) == 0 {
		return header
	}
	out := make([]byte, 0, len(header))
	at := int64(0)
	for _, r := range cut {
		out = append(out, header[at:r.Offset]...)
		at = r.Offset + r.Size
	}
	return append(out, header[at:]...)
}

// CutFields gives the ranges in header of the fields that drop wants gone, in
// their order, those that touch as one.
func CutFields(header []byte, drop func(Field) bool) []Range {
	var cut []Range
	for f := range Fields(header) {
		if !drop(f) {
			continue
		}
		off, size := int64(f.Offset), int64(len(f.Raw))
		if n := len(cut); n > 0 && cut[n-1].Offset+cut[n-1].Size == off {
			cut[n-1].Size += size
			continue
		}
		cut = append(cut, Range{off, size})
	}
	return cut
}

// An Edit is a change to a stored message that leaves its other bytes alone:
// fields put before it, and ranges left out.
type Edit struct {
	Prefix []byte
	Cut    []Range // in order, not overlapping
}

// Size gives the length of what Reader gives, for a message of size bytes.
func (e Edit) Size(size int64) int64 {
	for _, r := range e.Cut {
		size -= r.Size
	}
	return size + int64(len(e.Prefix))
}

// Reader reads the message of size bytes in r as the edit makes it.
func (e Edit) Reader(r io.ReaderAt, size int64) io.Reader {
	parts := make([]io.Reader, 0, len(e.Cut)+2)
	parts = append(parts, bytes.NewReader(e.Prefix))
	at := int64(0)
	for _, c := range e.Cut {
		if c.Offset > at {
			parts = append(parts, io.NewSectionReader(r, at, c.Offset-at))
		}
		at = c.Offset + c.Size
	}
	return io.MultiReader(append(parts, io.NewSectionReader(r, at, size-at))...)
}
