package imap

import (
	"encoding/base64"
)

// Login is LOGIN. RFC 9051 §6.2.3
type Login struct{ User, Password string }

func parseLogin(d *Decoder) any {
	c := new(Login)
	d.sp()
	c.User = d.astring()
	d.sp()
	c.Password = d.astring()
	return c
}

// Authenticate is AUTHENTICATE. Initial is nil if no initial response came, and
// empty but not nil if it was "=". RFC 9051 §6.2.2, RFC 4959
type Authenticate struct {
	Mechanism string // upper case
	Initial   []byte
}

func parseAuthenticate(d *Decoder) any {
	c := new(Authenticate)
	d.sp()
	c.Mechanism = upper([]byte(d.astring())) // an atom, says the RFC; some send a string
	if d.more() {
		c.Initial = d.base64([]byte(d.astring()))
	}
	return c
}

func (d *Decoder) base64(text []byte) []byte {
	if len(text) == 1 && text[0] == '=' {
		return []byte{}
	}
	out, err := base64.StdEncoding.AppendDecode([]byte{}, text)
	if err != nil {
		d.fail("not base64")
		return nil
	}
	return out
}

// Response reads the client's next line of an AUTHENTICATE. It fails with
// ErrCancelled if the client gives up, and with a *SyntaxError for tag if the
// line is not base64: both end the AUTHENTICATE and not the session.
func (d *Decoder) Response(tag string) ([]byte, error) {
	line, err := d.Line(maxResponse)
	if err != nil {
		return nil, err
	}
	if len(line) == 1 && line[0] == '*' {
		return nil, ErrCancelled
	}
	d.err = nil
	out := d.base64(line)
	return out, d.result(tag)
}

// maxResponse is the longest line of an AUTHENTICATE: tokens are long.
const maxResponse = 12 << 10

// ID is ID. Nil Fields are the client's NIL. RFC 2971 §3.1
type ID struct{ Fields []IDField }

// IDField is something the client says of itself.
type IDField struct{ Name, Value string }

// isIDValue is an atom that ends at a comma.
var isIDValue = classOf(func(c byte) bool { return isAtom[c] && c != ',' })

// maxID is how many fields an ID may have. RFC 2971 §3.3
const maxID = 30

// parseID takes more than the RFC has, since a client that has just told who it is
// should not hear that it did so wrongly: values without quotes, and commas.
func parseID(d *Decoder) any {
	c := new(ID)
	d.sp()
	if d.word("NIL") {
		return c
	}
	d.listOrNothing(func() {
		f := IDField{Name: d.str()}
		d.take(',')
		d.sp()
		if !d.word("NIL") {
			f.Value = d.stringOr(isIDValue)
		}
		d.take(',')
		if c.Fields = append(c.Fields, f); len(c.Fields) > maxID {
			d.fail("more than 30 fields")
		}
	})
	return c
}

// Enable is ENABLE. RFC 9051 §6.3.1
type Enable struct{ Capabilities []string } // upper case

func parseEnable(d *Decoder) any {
	c := new(Enable)
	d.sp()
	for d.ok() {
		c.Capabilities = append(c.Capabilities, upper(d.span(isAtom, "a capability")))
		if !d.more() {
			break
		}
	}
	return c
}
