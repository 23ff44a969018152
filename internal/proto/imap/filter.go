package imap

import (
	"strings"
	"unicode/utf8"
)

// filterName takes the name of a filter. RFC 5466 §4
func (d *Decoder) filterName() string {
	name := d.atom()
	if strings.IndexByte(name, '/') >= 0 {
		d.fail("the name of a filter has no /")
	}
	return name
}

// ParseFilter reads the keys of a filter, which are in UTF-8 and without
// literals; false if they are none. RFC 5466 §3.2
func ParseFilter(text string) (Key, bool) {
	if !utf8.ValidString(text) || len(text) > LimitsAfterLogin.Command {
		return nil, false
	}
	d := Decoder{line: []byte(text)}
	d.mark.at = -1
	k := d.keyList()
	d.end()
	return k, d.ok()
}

// CodeUndefinedFilter tells which filter is not there.
func CodeUndefinedFilter(name string) Code { return Code("UNDEFINED-FILTER " + name) }
