package message

import (
	"iter"
	"strings"
)

// A Part is a message or a body part within one. Its bytes are one range of
// the message: first its header, with the empty line that ends it, then its
// body. For the root that is the whole message; for other parts the header is
// what IMAP calls BODY[n.MIME] and the body BODY[n]. RFC 9051 §6.4.5.1
type Part struct {
	Offset     int64 // where the header begins in the message
	HeaderSize int64 // with the empty line
	BodySize   int64 // without the line break that belongs to a boundary
	Lines      int64 // line breaks in the body

	// Type and Subtype as written; where there is no Content-Type or an
	// unreadable one: text/plain, in a multipart/digest message/rfc822.
	// RFC 2045 §5.2
	Type, Subtype string
	Params        []Param // RFC 2231 forms are left as they are

	Encoding    string // Content-Transfer-Encoding as written; "" if there is none
	ID          string // Content-ID, with its brackets
	Description string
	MD5         string
	Location    string
	Language    []string

	Disposition       string // "" if there is none
	DispositionParams []Param

	Children []*Part // of a multipart; a broken one may have none
	// Message is the message within a message/rfc822 or message/global; nil
	// if it is not to be looked into. Its range is the body of this part.
	Message *Part
	// Envelope is set in the root and in each Message, and nowhere else.
	Envelope *Envelope
}

// A Param is a parameter of Content-Type or Content-Disposition: name as
// written, value without quotes.
type Param struct{ Name, Value string }

// An Envelope is what IMAP calls so: the fields of a header that lists show.
// Strings are raw: unfolded, RFC 2047 words not decoded. Several fields of one
// name are one list; of Date, Subject, In-Reply-To and Message-ID the first
// counts. RFC 9051 §7.5.2
type Envelope struct {
	Date      string
	Subject   string
	From      []Address
	Sender    []Address
	ReplyTo   []Address
	To        []Address
	Cc        []Address
	Bcc       []Address
	InReplyTo string
	MessageID string
}

// SenderOrFrom gives Sender, or From where there is none, as ENVELOPE wants it.
func (e *Envelope) SenderOrFrom() []Address {
	if len(e.Sender) == 0 {
		return e.From
	}
	return e.Sender
}

// ReplyToOrFrom gives Reply-To, or From where there is none.
func (e *Envelope) ReplyToOrFrom() []Address {
	if len(e.ReplyTo) == 0 {
		return e.From
	}
	return e.ReplyTo
}

// BodyOffset is where the body begins in the message.
func (p *Part) BodyOffset() int64 { return p.Offset + p.HeaderSize }

// End is where the body ends in the message.
func (p *Part) End() int64 { return p.Offset + p.HeaderSize + p.BodySize }

// Size is the length of header and body: for the root RFC822.SIZE.
func (p *Part) Size() int64 { return p.HeaderSize + p.BodySize }

// MediaType gives "type/subtype" in lower case.
func (p *Part) MediaType() string {
	return strings.ToLower(p.Type + "/" + p.Subtype)
}

// IsType tells whether the part's type is typ, which must be in lower case:
// "text", "multipart".
func (p *Part) IsType(typ string) bool { return equalFold(p.Type, typ) }

// Is tells whether the part is typ/subtype, both in lower case.
func (p *Part) Is(typ, subtype string) bool {
	return equalFold(p.Type, typ) && equalFold(p.Subtype, subtype)
}

// IsMultipart tells whether the part is made of Children.
func (p *Part) IsMultipart() bool { return p.IsType("multipart") }

// IsAttachment tells whether the part asks to be kept apart from the text.
// RFC 2183 §2.2
func (p *Part) IsAttachment() bool { return equalFold(p.Disposition, "attachment") }

// At gives the part that IMAP numbers so, for p the root or a Message; nil if
// there is none. The empty path is p. A message that is no multipart has
// exactly part 1, which is itself (its body) and has no parts. RFC 9051 §6.4.5.1
// A multipart without parts has an empty one nevertheless, as BODYSTRUCTURE says.
func (p *Part) At(path ...uint32) *Part {
	for i, n := range path {
		whole := i == 0
		if i > 0 && p.Message != nil {
			p, whole = p.Message, true // 2.1 of a message in part 2
		}
		switch {
		case n == 0:
			return nil
		case p.IsMultipart() && len(p.Children) == 0 && n == 1:
			p = &Part{Offset: p.End(), Type: "text", Subtype: "plain"}
		case p.IsMultipart():
			if uint64(n) > uint64(len(p.Children)) {
				return nil
			}
			p = p.Children[n-1]
		case n == 1 && whole:
		default:
			return nil
		}
	}
	return p
}

// All gives p and all parts in it, messages in messages included, in the order
// in which they stand.
func (p *Part) All() iter.Seq[*Part] {
	return func(yield func(*Part) bool) { p.each(yield) }
}

// each cannot nest deeper than MaxDepth, since trees do not.
func (p *Part) each(yield func(*Part) bool) bool {
	if !yield(p) {
		return false
	}
	if p.Message != nil && !p.Message.each(yield) {
		return false
	}
	for _, c := range p.Children {
		if !c.each(yield) {
			return false
		}
	}
	return true
}

// Param gives the raw value of a parameter of Content-Type, name in lower case.
func (p *Part) Param(name string) string { return findParam(p.Params, name) }

func findParam(list []Param, name string) string {
	for i := range list {
		if equalFold(list[i].Name, name) {
			return list[i].Value
		}
	}
	return ""
}

// equalFold compares ASCII without regard to case; lower is in lower case.
func equalFold[T string | []byte](s T, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := 0; i < len(lower); i++ {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
