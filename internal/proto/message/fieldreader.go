package message

import "strings"

// A fieldReader takes the fields that the tree keeps out of one header.
type fieldReader struct {
	*walker
	part *Part

	contentType string
	disposition string
	has         uint8 // of the fields of which the first counts
}

// Fields of which only the first counts.
const (
	hasType = 1 << iota
	hasDisposition
	hasEncoding
	hasLanguage
)

// first tells whether this is the first time for bit.
func (f *fieldReader) first(bit uint8) bool {
	if f.has&bit != 0 {
		return false
	}
	f.has |= bit
	return true
}

func (f *fieldReader) field(fd Field) {
	n := len(fd.Name)
	if n < 2 {
		return
	}
	if fd.Name[0]|0x20 == 'c' && n > len("content-") && equalFold(fd.Name[:8], "content-") {
		f.content(fd)
		return
	}
	if f.part.Envelope != nil {
		f.envelope(fd)
	}
}

func (f *fieldReader) content(fd Field) {
	p := f.part
	switch rest := fd.Name[len("content-"):]; {
	case equalFold(rest, "type"):
		if f.first(hasType) {
			f.contentType = fd.Text()
		}
	case equalFold(rest, "transfer-encoding"):
		if f.first(hasEncoding) {
			p.Encoding = encodingToken(fd.Text())
		}
	case equalFold(rest, "disposition"):
		if f.first(hasDisposition) {
			f.disposition = fd.Text()
		}
	case equalFold(rest, "id"):
		once(&p.ID, fd)
	case equalFold(rest, "description"):
		once(&p.Description, fd)
	case equalFold(rest, "md5"):
		once(&p.MD5, fd)
	case equalFold(rest, "location"):
		once(&p.Location, fd)
	case equalFold(rest, "language"):
		if f.first(hasLanguage) {
			p.Language = f.languages(fd.Text())
		}
	}
}

func once(s *string, fd Field) {
	if *s == "" {
		*s = fd.Text()
	}
}

func (f *fieldReader) envelope(fd Field) {
	e := f.part.Envelope
	switch n := fd.Name; n[0] | 0x20 {
	case 'd':
		if equalFold(n, "date") {
			once(&e.Date, fd)
		}
	case 's':
		if equalFold(n, "subject") {
			once(&e.Subject, fd)
		} else if equalFold(n, "sender") {
			f.addresses(&e.Sender, fd)
		}
	case 'f':
		if equalFold(n, "from") {
			f.addresses(&e.From, fd)
		}
	case 'r':
		if equalFold(n, "reply-to") {
			f.addresses(&e.ReplyTo, fd)
		}
	case 't':
		if equalFold(n, "to") {
			f.addresses(&e.To, fd)
		}
	case 'c':
		if equalFold(n, "cc") {
			f.addresses(&e.Cc, fd)
		}
	case 'b':
		if equalFold(n, "bcc") {
			f.addresses(&e.Bcc, fd)
		}
	case 'i':
		if equalFold(n, "in-reply-to") {
			once(&e.InReplyTo, fd)
		}
	case 'm':
		if equalFold(n, "message-id") {
			once(&e.MessageID, fd)
		}
	}
}

func (f *fieldReader) addresses(list *[]Address, fd Field) {
	before := len(*list)
	*list = appendAddresses(*list, fd.Text(), max(0, MaxAddresses-f.walker.addresses))
	if f.walker.addresses += len(*list) - before; len(*list) == 0 {
		*list = nil
	}
}

// finish reads the structured fields. Without the whole header and a type in
// what there is of it, nobody knows what the part is.
func (f *fieldReader) finish(whole bool) {
	p := f.part
	if f.contentType != "" {
		if typ, subtype, rest, ok := parseType(f.contentType); ok {
			p.Type, p.Subtype = typ, subtype
			p.Params = f.parameters(rest)
		} else {
			p.Type, p.Subtype = "text", "plain"
		}
	} else if !whole {
		f.opaque(p)
	}
	if f.disposition != "" {
		d, rest, _ := strings.Cut(f.disposition, ";")
		p.Disposition = encodingToken(d)
		p.DispositionParams = f.parameters(rest)
	}
}

func (f *fieldReader) parameters(s string) []Param {
	if s == "" {
		return nil
	}
	list := parseParams(nil, s, MaxParams-f.params)
	f.params += len(list)
	return list
}

// languages reads a list of tags; they count as parameters do. RFC 3282
func (f *fieldReader) languages(s string) []string {
	var out []string
	for tag := range strings.SplitSeq(s, ",") {
		if tag = encodingToken(tag); tag != "" && f.params < MaxParams {
			out = append(out, tag)
			f.params++
		}
	}
	return out
}

// encodingToken gives the first token of a value, without comments around it.
func encodingToken(s string) string {
	i := skipSpace(s, 0)
	start := i
	for i < len(s) && isToken(s[i]) {
		i++
	}
	return s[start:i]
}
