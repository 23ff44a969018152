package message

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The binary form: one byte for the version, then the root. Numbers are
// varints, strings have their length before them, and what a part does not
// have is a bit that is not set.
const binaryVersion = 1

// What a part has.
const (
	withParams = 1 << iota
	withEncoding
	withDisposition
	withChildren
	withMessage
	withEnvelope
	withID
	withDescription
	withMD5
	withLocation
	withLanguage
)

// ErrBinary means that bytes are not the binary form of a tree, or of a later
// version of it.
var ErrBinary = errors.New("not the binary form of a message tree")

// AppendBinary appends the tree in its binary form, which DecodePart reads. It
// has everything but the bytes of the message; for most messages it is a few
// hundred bytes, for a hostile one at most about as long as its headers.
func (p *Part) AppendBinary(dst []byte) []byte {
	return p.appendTo(append(dst, binaryVersion), 0)
}

// appendTo writes the part's offset relative to base, where it most likely is.
func (p *Part) appendTo(dst []byte, base int64) []byte {
	has := p.has()
	dst = binary.AppendUvarint(dst, has)
	dst = binary.AppendVarint(dst, p.Offset-base)
	dst = binary.AppendUvarint(dst, uint64(p.HeaderSize))
	dst = binary.AppendUvarint(dst, uint64(p.BodySize))
	dst = binary.AppendUvarint(dst, uint64(p.Lines))
	dst = appendString(dst, p.Type)
	dst = appendString(dst, p.Subtype)
	if has&withParams != 0 {
		dst = appendParams(dst, p.Params)
	}
	if has&withEncoding != 0 {
		dst = appendString(dst, p.Encoding)
	}
	if has&withDisposition != 0 {
		dst = appendString(dst, p.Disposition)
		dst = appendParams(dst, p.DispositionParams)
	}
	for i, s := range p.rare() {
		if has&(withID<<i) != 0 {
			dst = appendString(dst, *s)
		}
	}
	if has&withLanguage != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(p.Language)))
		for _, s := range p.Language {
			dst = appendString(dst, s)
		}
	}
	if has&withEnvelope != 0 {
		dst = p.Envelope.appendTo(dst)
	}
	if has&withMessage != 0 {
		dst = p.Message.appendTo(dst, p.BodyOffset())
	}
	if has&withChildren != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(p.Children)))
		base = p.BodyOffset()
		for _, c := range p.Children {
			dst = c.appendTo(dst, base)
			base = c.End()
		}
	}
	return dst
}

// rare gives the strings that few parts have, in the order of their bits.
func (p *Part) rare() [4]*string {
	return [4]*string{&p.ID, &p.Description, &p.MD5, &p.Location}
}

func (p *Part) has() (has uint64) {
	set := func(bit uint64, yes bool) {
		if yes {
			has |= bit
		}
	}
	set(withParams, len(p.Params) > 0)
	set(withEncoding, p.Encoding != "")
	set(withDisposition, p.Disposition != "" || len(p.DispositionParams) > 0)
	set(withChildren, len(p.Children) > 0)
	set(withMessage, p.Message != nil)
	set(withEnvelope, p.Envelope != nil)
	set(withLanguage, len(p.Language) > 0)
	for i, s := range p.rare() {
		set(withID<<i, *s != "")
	}
	return has
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendParams(dst []byte, list []Param) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for i := range list {
		dst = appendString(appendString(dst, list[i].Name), list[i].Value)
	}
	return dst
}

// strings and lists give what an envelope is made of, in a fixed order.
func (e *Envelope) strings() [4]*string {
	return [4]*string{&e.Date, &e.Subject, &e.InReplyTo, &e.MessageID}
}

func (e *Envelope) lists() [6]*[]Address {
	return [6]*[]Address{&e.From, &e.Sender, &e.ReplyTo, &e.To, &e.Cc, &e.Bcc}
}

// routed stands for the kind of a Single address with a route.
const routed = GroupEnd + 1

func (e *Envelope) appendTo(dst []byte) []byte {
	for _, s := range e.strings() {
		dst = appendString(dst, *s)
	}
	for _, list := range e.lists() {
		dst = binary.AppendUvarint(dst, uint64(len(*list)))
		for i := range *list {
			a := &(*list)[i]
			kind := a.Kind
			if a.Route != "" {
				kind = routed
			}
			dst = append(dst, byte(kind))
			dst = appendString(dst, a.Name)
			dst = appendString(dst, a.Local)
			dst = appendString(dst, a.Domain)
			if kind == routed {
				dst = appendString(dst, a.Route)
			}
		}
	}
	return dst
}

// DecodePart reads what AppendBinary wrote.
func DecodePart(b []byte) (*Part, error) {
	if len(b) == 0 || b[0] != binaryVersion {
		return nil, fmt.Errorf("message: %w", ErrBinary)
	}
	d := partDecoder{s: string(b[1:])}
	p := d.part(0, 0)
	if d.bad || d.s != "" {
		return nil, fmt.Errorf("message: %w", ErrBinary)
	}
	return p, nil
}

// A partDecoder eats its string; once something is wrong, all is zero.
type partDecoder struct {
	s   string
	bad bool
}

func (d *partDecoder) fail() {
	d.s, d.bad = "", true
}

func (d *partDecoder) uint() uint64 {
	var v uint64
	for i := 0; i < len(d.s) && i < binary.MaxVarintLen64; i++ {
		c := d.s[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			d.s = d.s[i+1:]
			return v
		}
	}
	d.fail()
	return 0
}

// size reads a length within a message.
func (d *partDecoder) size() int64 {
	v := d.uint()
	if v > 1<<50 {
		d.fail()
		return 0
	}
	return int64(v)
}

// count reads a number of things which take at least each bytes.
func (d *partDecoder) count(each int) int {
	v := d.uint()
	if v > uint64(len(d.s)/each) {
		d.fail()
		return 0
	}
	return int(v)
}

func (d *partDecoder) string() string {
	n := d.count(1)
	s := d.s[:n]
	d.s = d.s[n:]
	return s
}

func (d *partDecoder) params() []Param {
	n := d.count(2)
	if n == 0 {
		return nil
	}
	list := make([]Param, n)
	for i := range list {
		list[i] = Param{d.string(), d.string()}
	}
	return list
}

func (d *partDecoder) part(base int64, depth int) *Part {
	p := &Part{}
	has := d.uint()
	delta := d.uint()
	p.Offset = base + (int64(delta>>1) ^ -int64(delta&1))
	p.HeaderSize, p.BodySize, p.Lines = d.size(), d.size(), d.size()
	if p.Offset < 0 || p.Offset > 1<<50 || depth > 2*MaxDepth {
		d.fail()
	}
	p.Type, p.Subtype = d.string(), d.string()
	if has&withParams != 0 {
		p.Params = d.params()
	}
	if has&withEncoding != 0 {
		p.Encoding = d.string()
	}
	if has&withDisposition != 0 {
		p.Disposition = d.string()
		p.DispositionParams = d.params()
	}
	for i, s := range p.rare() {
		if has&(withID<<i) != 0 {
			*s = d.string()
		}
	}
	if has&withLanguage != 0 {
		p.Language = make([]string, d.count(1))
		for i := range p.Language {
			p.Language[i] = d.string()
		}
	}
	if has&withEnvelope != 0 {
		p.Envelope = d.envelope()
	}
	if has&withMessage != 0 && !d.bad {
		p.Message = d.part(p.BodyOffset(), depth+1)
	}
	if has&withChildren != 0 {
		base = p.BodyOffset()
		p.Children = make([]*Part, 0, d.count(7))
		for range cap(p.Children) {
			c := d.part(base, depth+1)
			if d.bad {
				break
			}
			p.Children = append(p.Children, c)
			base = c.End()
		}
	}
	return p
}

func (d *partDecoder) envelope() *Envelope {
	e := &Envelope{}
	for _, s := range e.strings() {
		*s = d.string()
	}
	for _, list := range e.lists() {
		n := d.count(4)
		if n == 0 {
			continue
		}
		*list = make([]Address, n)
		for i := range *list {
			kind := AddressKind(d.byte())
			a := Address{Kind: kind, Name: d.string(), Local: d.string(), Domain: d.string()}
			if kind == routed {
				a.Kind, a.Route = Single, d.string()
			} else if kind > GroupEnd {
				d.fail()
			}
			(*list)[i] = a
		}
	}
	return e
}

func (d *partDecoder) byte() byte {
	if d.s == "" {
		d.fail()
		return 0
	}
	c := d.s[0]
	d.s = d.s[1:]
	return c
}
