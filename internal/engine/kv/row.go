package kv

import (
	"encoding/binary"
	"errors"
)

// ErrRow is what a Decoder says of a row that is not as it was written.
var ErrRow = errors.New("kv: malformed row")

// A Decoder reads the fields of a row in the order they were appended with
// encoding/binary. After an error all its methods give zero values, so Err need
// be looked at only once, at the end.
type Decoder struct {
	b   []byte
	bad bool
}

// Decode starts reading a row. The byte slices that the Decoder gives point
// into row.
func Decode(row []byte) *Decoder { return &Decoder{b: row} }

// Err tells whether all fields so far could be read.
func (d *Decoder) Err() error {
	if d.bad {
		return ErrRow
	}
	return nil
}

// More tells whether fields are left.
func (d *Decoder) More() bool { return !d.bad && len(d.b) > 0 }

// Uvarint reads what binary.AppendUvarint wrote.
func (d *Decoder) Uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

// Varint reads what binary.AppendVarint wrote.
func (d *Decoder) Varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

// Uint64 reads eight bytes, big-endian.
func (d *Decoder) Uint64() uint64 {
	if b := d.Raw(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Byte reads one byte.
func (d *Decoder) Byte() byte {
	if b := d.Raw(1); b != nil {
		return b[0]
	}
	return 0
}

// Raw reads n bytes.
func (d *Decoder) Raw(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

// Bytes reads what AppendBytes wrote.
func (d *Decoder) Bytes() []byte {
	n := d.Uvarint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	return d.Raw(int(n))
}

// String reads what AppendBytes wrote, as a string.
func (d *Decoder) String() string { return string(d.Bytes()) }

// AppendBytes appends the length of v and v.
func AppendBytes[T ~string | ~[]byte](b []byte, v T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}
