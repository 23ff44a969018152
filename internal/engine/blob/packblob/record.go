package packblob

import (
	"encoding/binary"
	"hash/crc32"

	"posthaste/internal/base/mail"
)

// All numbers in a pack are little-endian. A pack is
//
//	head    64 bytes: magic, version, number, generation, crc
//	record  64 bytes of header, payload, zeros up to a multiple of 8
//	…
//	index   24 bytes for each record: id, offset/8, length/8; ordered by slot
//	tail    48 bytes, the last of the file
//
// Index and tail are there when the pack is sealed.
const (
	magicPack   = 0x4b504850 // "PHPK"
	magicRecord = 0x52424850 // "PHBR"
	magicTail   = 0x4c544850 // "PHTL"
	version     = 1

	headLen   = 64
	recLen    = 64
	entryLen  = 24
	tailLen   = 48
	align     = 8
	maxOffset = 1 << 35 // of a slot
)

// What a record's payload is.
const (
	whole  = 1 // one piece, as the codec made it
	framed = 2 // frames of 64 KB, then the index of their lengths
)

const (
	frameRaw  = 64 << 10  // raw bytes of a frame, but for the last
	frameHead = 8         // crc and length of a stored frame
	maxWhole  = 256 << 10 // raw bytes of a body in one piece
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func crc(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func aligned(n int64) int64 { return (n + align - 1) &^ (align - 1) }

// An id names the place where the record was first written. A pack that is
// rewritten keeps its number, and its index leads from the old place to the new.
//
//	4 bytes  number of the pack
//	4 bytes  offset/8, the slot
//	8 bytes  random
func makeID(num uint32, off int64, random uint64) (id mail.BlobID) {
	binary.BigEndian.PutUint32(id[0:], num)
	binary.BigEndian.PutUint32(id[4:], uint32(off/align))
	binary.BigEndian.PutUint64(id[8:], random)
	return id
}

func packOf(id mail.BlobID) uint32 { return binary.BigEndian.Uint32(id[0:]) }

func slotOf(id mail.BlobID) uint32 { return binary.BigEndian.Uint32(id[4:]) }

// A header is what stands before a payload.
type header struct {
	kind   byte
	sum    uint32 // crc of the payload, or of a framed one's index
	stored int64  // bytes of payload
	raw    int64  // bytes of the blob
	id     mail.BlobID
	key    uint32 // of encryption; 0 is none
	frames uint32
	put    int64 // when it was put, in milliseconds since 1970
}

// length is that of the whole record.
func (h *header) length() int64 { return recLen + aligned(h.stored) }

// encode fills the first recLen bytes of b.
func (h *header) encode(b []byte) {
	clear(b[:recLen])
	le := binary.LittleEndian
	le.PutUint32(b[0:], magicRecord)
	b[4], b[5] = version, h.kind
	le.PutUint32(b[12:], h.sum)
	le.PutUint64(b[16:], uint64(h.stored))
	le.PutUint64(b[24:], uint64(h.raw))
	copy(b[32:48], h.id[:])
	le.PutUint32(b[48:], h.key)
	le.PutUint32(b[52:], h.frames)
	le.PutUint64(b[56:], uint64(h.put))
	le.PutUint32(b[8:], crc(b[:recLen]))
}

// decode reads what encode wrote; false if it did not.
func (h *header) decode(b []byte) bool {
	le := binary.LittleEndian
	if len(b) < recLen || le.Uint32(b) != magicRecord || b[4] != version {
		return false
	}
	var c [recLen]byte
	copy(c[:], b)
	clear(c[8:12])
	if crc(c[:]) != le.Uint32(b[8:]) {
		return false
	}
	*h = header{
		kind:   b[5],
		sum:    le.Uint32(b[12:]),
		stored: int64(le.Uint64(b[16:])),
		raw:    int64(le.Uint64(b[24:])),
		key:    le.Uint32(b[48:]),
		frames: le.Uint32(b[52:]),
		put:    int64(le.Uint64(b[56:])),
	}
	copy(h.id[:], b[32:48])
	return h.sound()
}

// sound says that the numbers fit together.
func (h *header) sound() bool {
	if h.stored < 0 || h.stored > maxOffset || h.raw < 0 || h.raw > 1<<40 || h.key != 0 {
		return false
	}
	switch h.kind {
	case whole:
		return h.raw <= maxWhole && h.stored <= maxWhole+64
	case framed:
		n := int64(h.frames)
		return n == (h.raw+frameRaw-1)/frameRaw && h.stored >= n*(frameHead+4)
	}
	return false
}

func encodeHead(num, gen uint32) []byte {
	b := make([]byte, headLen)
	le := binary.LittleEndian
	le.PutUint32(b[0:], magicPack)
	le.PutUint32(b[4:], version)
	le.PutUint32(b[8:], num)
	le.PutUint32(b[12:], gen)
	le.PutUint32(b[60:], crc(b[:60]))
	return b
}

// An entry says where a record is now.
type entry struct {
	id     mail.BlobID
	off    int64
	length int64
}

func appendEntry(b []byte, e entry) []byte {
	b = append(b, e.id[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(e.off/align))
	return binary.LittleEndian.AppendUint32(b, uint32(e.length/align))
}

func decodeEntry(b []byte) (e entry) {
	copy(e.id[:], b)
	e.off = int64(binary.LittleEndian.Uint32(b[16:])) * align
	e.length = int64(binary.LittleEndian.Uint32(b[20:])) * align
	return e
}

// A tail ends a sealed pack.
type tail struct {
	index int64  // where the index begins
	count uint32 // of its entries
	sum   uint32 // crc of the index
	last  int64  // when the last record was put
}

func (t *tail) append(b []byte) []byte {
	start := len(b)
	le := binary.LittleEndian
	b = le.AppendUint32(b, magicTail)
	b = le.AppendUint32(b, version)
	b = le.AppendUint64(b, uint64(t.index))
	b = le.AppendUint32(b, t.count)
	b = le.AppendUint32(b, t.sum)
	b = le.AppendUint64(b, uint64(t.last))
	b = append(b, make([]byte, tailLen-4-32)...)
	return le.AppendUint32(b, crc(b[start:]))
}

// decode reads what append wrote, for a file of this size.
func (t *tail) decode(b []byte, size int64) bool {
	le := binary.LittleEndian
	if len(b) != tailLen || le.Uint32(b) != magicTail || le.Uint32(b[4:]) != version ||
		crc(b[:tailLen-4]) != le.Uint32(b[tailLen-4:]) {
		return false
	}
	*t = tail{
		index: int64(le.Uint64(b[8:])),
		count: le.Uint32(b[16:]),
		sum:   le.Uint32(b[20:]),
		last:  int64(le.Uint64(b[24:])),
	}
	return t.index >= headLen && t.index+int64(t.count)*entryLen+tailLen == size
}
