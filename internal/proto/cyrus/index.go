package cyrus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// An Index is the beginning of cyrus.index.
type Index struct {
	Version     uint32 // of its form
	Start       uint32 // where the records begin
	RecordSize  uint32
	Records     uint32
	UIDValidity uint32
	// NewUIDL: the unique ids of POP3 are made of UIDVALIDITY and UID; else of the UID.
	NewUIDL bool
}

// HeadSize is how much of the file ParseIndex needs, if there is as much.
const HeadSize = 192

// The forms that are known. OwnSeen is the first that has what the owner has read; before
// it, that was kept elsewhere.
const (
	firstVersion = 6
	OwnSeen      = 12
	wideVersion  = 20 // has larger fields in another order
	lastVersion  = 20
)

// ErrIndex says that a file is no cyrus.index, or one of a form that is not known.
var ErrIndex = errors.New("cyrus: this is no cyrus.index")

// ErrRecord says that a record is damaged.
var ErrRecord = errors.New("cyrus: a damaged record in cyrus.index")

// ParseIndex reads the beginning of cyrus.index.
func ParseIndex(b []byte) (x Index, err error) {
	at := func(i int) uint32 { return binary.BigEndian.Uint32(b[i:]) }
	if len(b) < 64 {
		return x, ErrIndex
	}
	x = Index{Version: at(8), Start: at(12), RecordSize: at(16), Records: at(20), UIDValidity: at(44)}
	if x.Version < firstVersion || x.Version > lastVersion {
		return x, fmt.Errorf("%w of a form that is known: it is of version %d", ErrIndex, x.Version)
	}
	options, need := 60, uint32(60)
	if x.Version >= 19 {
		options = 64
	}
	if x.Version >= wideVersion {
		need = 144
	}
	if x.RecordSize < need || x.RecordSize > 4096 || x.Start < 64 || x.Start > 4096 || len(b) < options+4 {
		return x, ErrIndex
	}
	if x.Version >= wideVersion {
		if len(b) < 96 {
			return x, ErrIndex
		}
		x.UIDValidity = at(92)
	}
	x.NewUIDL = at(options)&1 != 0
	return x, nil
}

// The bits of Record.Flags.
const (
	answered = 1 << iota
	flagged
	deleted
	draft
	seen
)

var flagNames = [...]struct {
	bit  uint32
	name string
}{{answered, `\Answered`}, {flagged, `\Flagged`}, {deleted, `\Deleted`}, {draft, `\Draft`}, {seen, `\Seen`}}

// A Record is what cyrus.index says of a message.
type Record struct {
	UID   uint32
	Date  time.Time // when it came
	Flags []string  // with keywords, as IMAP writes them
	Gone  bool      // it is expunged
}

// Record reads one; keywords are those of the Header.
func (x *Index) Record(b []byte, keywords []string) (r Record, err error) {
	if len(b) < int(x.RecordSize) || x.RecordSize < 60 {
		return r, ErrRecord
	}
	at := func(i int) uint32 { return binary.BigEndian.Uint32(b[i:]) }
	r.UID = at(0)
	if end := int(x.RecordSize) - 4; r.UID == 0 || x.Version >= OwnSeen && crc32.ChecksumIEEE(b[:end]) != at(end) {
		return r, ErrRecord
	}
	flags := 32
	if x.Version >= wideVersion {
		flags = 36
		r.Date = time.Unix(0, int64(binary.BigEndian.Uint64(b[8:]))).UTC()
	} else {
		r.Date = time.Unix(int64(at(4)), 0).UTC()
	}
	bits := at(flags)
	r.Gone = x.Version >= OwnSeen && bits>>31 != 0
	for _, f := range flagNames {
		if bits&f.bit != 0 && (f.bit != seen || x.Version >= OwnSeen) {
			r.Flags = append(r.Flags, f.name)
		}
	}
	for i, k := range keywords {
		if i < 128 && k != "" && at(flags+4+i/32*4)&(1<<(i%32)) != 0 {
			r.Flags = append(r.Flags, k)
		}
	}
	return r, nil
}
