package maildir

import (
	"slices"
	"strings"
	"testing"
)

func TestPOP3List(t *testing.T) {
	for text, want := range map[string]string{
		"/2 9 77\n1.M2.h:2,S 812 5:77\nnew one 3 6:77\nold 1 0:0\nv1 1 7\n": "1.M2.h=UID5-77 new one=UID6-77 old=old v1=UID7",
		"/3 9 77\na 1 5:77:0\nb+'\x01\xff 1 0:0:1":                          "a=UID5-77 b+'\x01\xff=b+2B+27+01+FF",
		"/2 9 77\n\n \nx\nx 1\nx y z\n:2,S 1 5:77\nx 1 5:y\n":               "",
		"/9 9 77\na 1 5:77\n": "", "a 1 5:77\nb 1 6:77\n": "", "": "",
	} {
		var p POP3List
		var got []string
		for line := range strings.Lines(text) {
			if base, uidl, ok := p.Line(line); ok {
				got = append(got, base+"="+uidl)
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%q: %q, want %q", text, s, want)
		}
	}
}

func TestCourierKeywords(t *testing.T) {
	for text, want := range map[string]string{
		"work\n$Label 1\n\na.h:0 1\nb:1\nc:\nd:7 x -1\ne\n:0\n": "a.h=work,$Label 1 b=$Label 1",
		"work\na:0": "", "\na:0": "", "": "",
	} {
		var k CourierKeywords
		var got []string
		for line := range strings.Lines(text) {
			if base, words, ok := k.Line(line); ok {
				got = append(got, base+"="+strings.Join(words, ","))
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%q: %q, want %q", text, s, want)
		}
	}
	for name, want := range map[string]string{"a.h": "a.h", ".17.a.h": "a.h", ":list": "", "": "", ".tmp.17.x": "", ".0.x": "", ".5.": "", ".x": ""} {
		if base, _, ok := CourierUpdate(name); ok != (want != "") || ok && base != want {
			t.Errorf("%q is %q %v", name, base, ok)
		}
	}
}

// FuzzCourier: whatever is in the files, nothing panics, and what is given is whole.
func FuzzCourier(f *testing.F) {
	f.Add("/2 9 77\n1.M2.h:2,S 812 5:77\n")
	f.Add("work\n\na:0 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		var p POP3List
		var k CourierKeywords
		list, _ := ParseACL(text, true)
		for _, e := range list {
			if e.Who == "" || strings.Contains(e.Rights, " ") {
				t.Fatal("rights of nobody, or no rights")
			}
		}
		for line := range strings.Lines(text) {
			if base, uidl, ok := p.Line(line); ok && (base == "" || uidl == "") {
				t.Fatal("an id of nothing")
			}
			if base, words, ok := k.Line(line); ok && (base == "" || slices.Contains(words, "")) {
				t.Fatal("a keyword of nothing")
			}
			if base, _, ok := CourierUpdate(line); ok && base == "" {
				t.Fatal("an update of nothing")
			}
		}
	})
}

func TestParseACL(t *testing.T) {
	list, odd := ParseACL("owner lrswipkxtea\nuser=bob lrs\n-user=eve i\n\"group=a b\" l\n# no x\n\nanyone :lookup\nuser=x\n x\n", false)
	want := []Entry{{"owner", "lrswipkxtea"}, {"user=bob", "lrs"}, {"-user=eve", "i"}, {"group=a b", "l"}}
	if !slices.Equal(list, want) || !slices.Equal(odd, []string{"anyone"}) {
		t.Error(list, odd)
	}
	if list, _ := ParseACL("user=bob aceilrstwxd\n", true); list[0].Rights != "akeilrstwxxte" {
		t.Error(list)
	}
}
