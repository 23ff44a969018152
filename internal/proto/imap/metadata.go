package imap

import (
	"bytes"
	"strings"
)

// GetMetadata is GETMETADATA. RFC 5464 §4.2
type GetMetadata struct {
	Mailbox string // empty: of the server
	Options MetadataOptions
	Entries []string // as the client wrote them
}

// MetadataOptions bound what GETMETADATA gives. RFC 5464 §4.2.1, §4.2.2
type MetadataOptions struct {
	Bounded bool
	MaxSize uint32 // larger values are left out, if Bounded
	Depth   MetadataDepth
}

// MetadataDepth is how far below an entry others are wanted.
type MetadataDepth uint8

// The depths.
const (
	DepthZero MetadataDepth = iota
	DepthOne
	DepthInfinity
)

// MetadataChange is an entry that SETMETADATA writes; a nil Value removes it.
type MetadataChange struct {
	Entry string
	Value []byte
}

// SetMetadata is SETMETADATA. RFC 5464 §4.3
type SetMetadata struct {
	Mailbox string // empty: of the server
	Changes []MetadataChange
}

// maxEntries is how many entries one command may name.
const maxEntries = 100

// maxEntry is how long the name of an entry may be.
const maxEntry = 200

func parseGetMetadata(d *Decoder) any {
	c := new(GetMetadata)
	d.sp()
	if d.peek() == '(' {
		d.metadataOptions(&c.Options)
		d.sp()
	}
	c.Mailbox = d.mailbox()
	d.sp()
	// The syntax has the options before the mailbox, the examples have them behind.
	if d.peek() == '(' && d.metadataOption() {
		d.metadataOptions(&c.Options)
		d.sp()
	}
	c.Entries = d.entries()
	return c
}

// metadataOption tells whether options come next, and not a list of entries, all
// of which begin with a slash.
func (d *Decoder) metadataOption() bool {
	next := bytes.TrimLeft(d.line[d.pos+1:], " ")
	return len(next) > 0 && next[0] != '/' && next[0] != '"' && next[0] != '{'
}

func (d *Decoder) metadataOptions(o *MetadataOptions) {
	d.list(func() {
		switch d.keyword() {
		case "MAXSIZE":
			d.sp()
			o.Bounded, o.MaxSize = true, d.number32()
		case "DEPTH":
			d.sp()
			switch d.keyword() {
			case "0":
				o.Depth = DepthZero
			case "1":
				o.Depth = DepthOne
			case "INFINITY":
				o.Depth = DepthInfinity
			default:
				d.fail("unknown depth")
			}
		default:
			d.fail("unknown option")
		}
	})
}

// entries takes one entry, or a list of them.
func (d *Decoder) entries() []string {
	if d.peek() != '(' {
		return []string{d.wanted()}
	}
	var list []string
	d.list(func() {
		if list = append(list, d.wanted()); len(list) > maxEntries {
			d.fail("too many entries")
		}
	})
	return list
}

// wanted takes the name of an entry that is asked for: it may also be "/private" or
// "/shared", below which all entries are. These are none themselves, but with a depth
// they are how one asks what there is. RFC 5464 §4.2.2
func (d *Decoder) wanted() string {
	name := d.astring()
	if d.ok() && !validEntry(name) && !isTree(name) {
		d.fail("this is no name of an entry")
	}
	return name
}

// isTree tells whether a name is that of all private or all shared entries.
func isTree(name string) bool {
	return strings.EqualFold(name, privateTree) || strings.EqualFold(name, sharedTree)
}

const (
	privateTree = "/private"
	sharedTree  = "/shared"
)

// entry takes the name of an entry. RFC 5464 §3.2.1
func (d *Decoder) entry() string {
	name := d.astring()
	if d.ok() && !validEntry(name) {
		d.fail("this is no name of an entry")
	}
	if _, rest, _ := SplitEntry(name); isVendor(rest) {
		d.fail("an entry of a vendor has a name behind that of the vendor")
	}
	return name
}

// isVendor tells whether what is behind /private or /shared is all that a vendor has
// there, and no entry. RFC 5464 §3.2
func isVendor(rest string) bool {
	return strings.HasPrefix(rest, "/vendor/") && strings.Count(rest, "/") < 3
}

func validEntry(name string) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; c < ' ' || c >= 0x7f || c == '*' || c == '%' {
			return false
		}
	}
	_, rest, _ := SplitEntry(name)
	return rest != "" && len(name) <= maxEntry && rest[len(rest)-1] != '/' && !strings.Contains(name, "//")
}

// SplitEntry divides the name of an entry: whether it is private or shared, and
// what is behind that, in lower case with the slash in front. It gives false for
// what is neither, and for "/private" and "/shared", behind which is nothing.
func SplitEntry(name string) (private bool, rest string, ok bool) {
	lower := strings.ToLower(name)
	if rest, private = strings.CutPrefix(lower, privateTree); !private {
		if rest, ok = strings.CutPrefix(lower, sharedTree); !ok {
			return false, "", false
		}
	}
	if rest != "" && rest[0] != '/' {
		return false, "", false // "/privately"
	}
	return private, rest, len(rest) > 1
}

func parseSetMetadata(d *Decoder) any {
	c := new(SetMetadata)
	d.sp()
	c.Mailbox = d.mailbox()
	d.sp()
	d.list(func() {
		ch := MetadataChange{Entry: d.entry()}
		d.sp()
		ch.Value = d.metadataValue()
		if c.Changes = append(c.Changes, ch); len(c.Changes) > maxEntries {
			d.fail("too many entries")
		}
	})
	return c
}

// metadataValue takes a value, nil for NIL. RFC 5464 §5
func (d *Decoder) metadataValue() []byte {
	switch {
	case d.word("NIL"):
		return nil
	case d.peek() == '~':
		return append([]byte{}, d.literal8()...)
	}
	return append([]byte{}, d.str()...)
}

// MetadataValue writes a value of METADATA; nil is NIL. RFC 5464 §5
func (e *Encoder) MetadataValue(v []byte) *Encoder {
	if v == nil {
		return e.Raw("NIL")
	}
	for _, c := range v {
		if c == 0 {
			e.buf = appendMark(append(e.buf, '~'), int64(len(v)))
			return e.set(append(e.buf, v...))
		}
	}
	return e.String(string(v))
}

// CodeMetadata makes a response code of METADATA: LONGENTRIES and MAXSIZE with
// their number. RFC 5464 §4.2.1, §4.3
func CodeMetadata(word string, n uint64) Code { return CodeNumber("METADATA "+word, n) }

// CodeMetadataTooMany tells that no more entries can be added. RFC 5464 §4.3
const CodeMetadataTooMany Code = "METADATA TOOMANY"
