package dovecot

import (
	"slices"
	"strings"
	"testing"
)

func TestRow(t *testing.T) {
	for line, want := range map[string][]string{
		"1\t839a\t":                     {"1", "839a", ""},
		"":                              {""},
		"a\x01tb\x01n\x011t\x01r\x010c": {"a\tb\n\x01t\r\x00c"},
		"a\x01":                         {"a\x01"},
		"a\x01x\tb":                     {"a\x01x", "b"},
	} {
		if got := Row(line); !slices.Equal(got, want) {
			t.Errorf("%q is %q, want %q", line, got, want)
		}
	}
}

// FuzzRow: what is escaped comes back.
func FuzzRow(f *testing.F) {
	f.Add("a\x01\tb\n")
	escape := strings.NewReplacer("\x00", "\x010", "\x01", "\x011", "\t", "\x01t", "\r", "\x01r", "\n", "\x01n")
	f.Fuzz(func(t *testing.T, s string) {
		Row(s)
		if got := Row(escape.Replace(s) + "\tx"); len(got) != 2 || got[0] != s {
			t.Fatalf("%q became %q", s, got)
		}
	})
}
