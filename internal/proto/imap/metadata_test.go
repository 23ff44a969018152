package imap

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// FuzzMetadata looks that a value comes back as it was sent, and that names of
// entries are what the store takes.
func FuzzMetadata(f *testing.F) {
	f.Add("/private/comment", []byte("a\x00b"))
	f.Add("/shared/Vendor/x/y", []byte("caf\xc3\xa9 \"\\\r\n"))
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		private, rest, ok := SplitEntry(name)
		if ok && (!strings.HasPrefix(rest, "/") || strings.ToLower(rest) != rest) {
			t.Errorf("%q: %q", name, rest)
		}
		if validEntry(name) && !ok {
			t.Errorf("%q is valid and neither private nor shared", name)
		}
		if !validEntry(name) || isVendor(rest) || len(value) > 60_000 {
			return
		}
		var b bytes.Buffer
		e := NewEncoder(&b)
		e.Raw("a SETMETADATA x (").String(name).Raw(" ").MetadataValue(value).Raw(")").CRLF().Flush()
		d, _ := dec(b.String(), false)
		c, err := d.Command()
		if err != nil {
			t.Fatalf("%q: %v", b.String(), err)
		}
		got := c.Args.(*SetMetadata).Changes
		if len(got) != 1 || got[0].Entry != name || string(got[0].Value) != string(value) || private != strings.HasPrefix(strings.ToLower(name), "/private") {
			t.Errorf("%q became %v", b.String(), fmt.Sprint(got))
		}
	})
}
