package imap

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestUTF7(t *testing.T) {
	for name, wire := range map[string]string{
		"":                        "",
		"INBOX":                   "INBOX",
		"A&B":                     "A&-B",
		"&&":                      "&-&-",
		"Entwürfe":                "Entw&APw-rfe",
		"~peter/mail/台北/日本語":      "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
		"Hi Mom -☺-!":             "Hi Mom -&Jjo--!",
		"😀":                       "&2D3eAA-",
		"ü&ü":                     "&APw-&-&APw-",
		"Entwürfe & 日本":           "Entw&APw-rfe &- &ZeVnLA-",
		"\t":                      "&AAk-",
		"\U0010ffffa\U00010000":   "&2,,f,w-a&2ADcAA-",
		"Gesendete/Übungs-Ordner": "Gesendete/&ANw-bungs-Ordner",
	} {
		if got := string(AppendUTF7(nil, name)); got != wire {
			t.Errorf("%q: got %q, want %q", name, got, wire)
		}
		if got, err := DecodeUTF7(wire); err != nil || got != name {
			t.Errorf("%q: got %q, %v; want %q", wire, got, err, name)
		}
	}
	for _, bad := range []string{"&", "a&b", "&AGE-", "&U,B-", "&U,BTFw", "&2D0-", "&3gA-", "&2D3YPQ-", "&APx-", "&AP=-", "ü", "a\n", "&APw-&APw-", "&A-", "&AAA/-"} {
		if got, err := DecodeUTF7(bad); err == nil {
			t.Errorf("%q: taken as %q", bad, got)
		}
	}
}

func FuzzUTF7(f *testing.F) {
	for _, s := range []string{"A&-B", "&U,BTFw-/&ZeVnLIqe-", "&APw-&APw-", "&2D3eAA-", "Entwürfe", "\xff&", "&AGE-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if name, err := DecodeUTF7(in); err == nil {
			if got := string(AppendUTF7(nil, name)); got != in || !utf8.ValidString(name) {
				t.Fatalf("%q reads as %q, which is written %q", in, name, got)
			}
		}
		if !utf8.ValidString(in) {
			return
		}
		if got, err := DecodeUTF7(string(AppendUTF7(nil, in))); err != nil || got != in {
			t.Fatalf("%q is written %q, which reads as %q, %v", in, AppendUTF7(nil, in), got, err)
		}
	})
}

func TestCanonicalName(t *testing.T) {
	for in, want := range map[string]string{"inbox": "INBOX", "InBox/a": "INBOX/a", "inboxes": "inboxes", "a/inbox": "a/inbox", "": "", "ıNBOX": "ıNBOX"} {
		if got := CanonicalName(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestListMatcher(t *testing.T) {
	for _, tc := range []struct{ reference, pattern, yes, no string }{
		{"", "*", "INBOX a a/b", ""},
		{"", "%", "INBOX a", "a/b INBOX/x"},
		{"", "a/%", "a/b a/", "a a/b/c b/c"},
		{"a/", "%", "a/b", "a a/b/c"},
		{"", "%/b", "a/b /b", "b a/a/b"},
		{"", "*b", "b ab a/b", "a b/a"},
		{"", "inbox", "INBOX", "inboxes INBOX/a a/INBOX"},
		{"", "in%", "INBOX", "INBOX/a x"},
		{"", "i*/A", "INBOX/A i/A inx/A", "INBOX/a in"},
		{"", "%*%", "a a/b", ""},
		{"", "a%%b", "ab axb", "a/b"},
		{"", "foo", "foo", "FOO fo fooo"},
		{"", "[NBOX", "", "INBOX"},
	} {
		m := NewListMatcher(tc.reference, tc.pattern)
		for _, name := range strings.Fields(tc.yes) {
			if !m.Match(name) {
				t.Errorf("%q %q does not match %q", tc.reference, tc.pattern, name)
			}
		}
		for _, name := range strings.Fields(tc.no) {
			if m.Match(name) {
				t.Errorf("%q %q matches %q", tc.reference, tc.pattern, name)
			}
		}
	}
}

// naiveMatch is the definition, by trying everything.
func naiveMatch(pattern, name string) bool {
	if pattern == "" {
		return name == ""
	}
	if pattern[0] == '*' || pattern[0] == '%' {
		for i := 0; ; i++ {
			if naiveMatch(pattern[1:], name[i:]) {
				return true
			}
			if i == len(name) || pattern[0] == '%' && name[i] == Separator {
				return false
			}
		}
	}
	return name != "" && name[0] == pattern[0] && naiveMatch(pattern[1:], name[1:])
}

func TestListMatcherModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func(alphabet string, n int) string {
		b := make([]byte, rnd.IntN(n))
		for i := range b {
			b[i] = alphabet[rnd.IntN(len(alphabet))]
		}
		return string(b)
	}
	for range 50_000 {
		pattern, name := random("ab/*%", 9), random("ab/", 9)
		if got, want := NewListMatcher("", pattern).Match(name), naiveMatch(pattern, name); got != want {
			t.Fatalf("%q and %q: got %v, want %v", pattern, name, got, want)
		}
	}
}

// TestListMatcherCost tries patterns with which a backtracking matcher would not
// come to its end.
func TestListMatcherCost(t *testing.T) {
	for _, pattern := range []string{strings.Repeat("*a", 40), strings.Repeat("%*", 200), strings.Repeat("*a%", 60), strings.Repeat("*a", 2000)} {
		m := NewListMatcher("", pattern)
		for range 100 {
			m.Match(strings.Repeat("a", 179) + "b")
		}
	}
}

func FuzzListMatcher(f *testing.F) {
	f.Add("a*b%", "a/b")
	f.Add("in%*", "INBOX")
	f.Add("%*%*a", "aaa")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 12 || len(name) > 24 {
			NewListMatcher("", pattern).Match(CanonicalName(name))
			return
		}
		name = CanonicalName(name)
		if isInbox(name) { // case does not matter there: not the model's affair
			return
		}
		pattern = CanonicalName(pattern)
		if got, want := NewListMatcher("", pattern).Match(name), naiveMatch(pattern, name); got != want {
			t.Fatalf("%q and %q: got %v, want %v", pattern, name, got, want)
		}
	})
}
