package imap

// A Part is a piece of a message that APPEND puts together: what an URL names,
// or bytes that the client sends. RFC 4469 §3
type Part struct {
	URL  string
	Text *Literal // nil if it is an URL
}

// partState is how far the Decoder is with the pieces of a message.
type partState uint8

const (
	noParts partState = iota
	firstPart
	laterPart
	partsDone
)

// beginParts takes what stands before the first piece.
func (d *Decoder) beginParts() {
	d.sp()
	d.openList()
	if d.ok() {
		d.parts = firstPart
	}
}

// Part gives the next piece of a message with Catenate set, nil behind the last
// one. The text of the piece before must have been read to its end.
func (d *Decoder) Part(tag string) (*Part, error) {
	if l := d.stream; l != nil {
		if err := d.afterLiteral(tag); err != nil {
			d.parts = noParts
			return nil, err
		}
		if l.UTF8 {
			d.closeList()
		}
	}
	if d.parts == laterPart && !d.more() {
		if d.expect(')'); d.ok() {
			d.parts = partsDone
			return nil, nil
		}
	}
	d.parts = laterPart
	p := new(Part)
	if d.word("URL") {
		d.sp()
		p.URL = d.astring()
	} else if d.word("TEXT") {
		d.sp()
		p.Text = d.text()
	} else if d.word("UTF8") { // RFC 6855 §4
		d.sp()
		d.openUTF8()
		if p.Text = d.text(); p.Text != nil {
			p.Text.UTF8 = true
		}
	} else {
		d.fail("expected URL, TEXT or UTF8")
	}
	if err := d.result(tag); err != nil {
		d.parts = noParts
		return nil, err
	}
	return p, nil
}

// text takes the announcement of a literal that the caller is to read.
func (d *Decoder) text() *Literal {
	m, ok := d.takeMark()
	if !ok {
		return nil
	}
	if m.size < 0 {
		d.mark, d.err = m, errTooBig
		return nil
	}
	d.stream = &Literal{Size: m.size, Binary: m.binary, d: d, left: m.size, sync: m.sync}
	return d.stream
}
