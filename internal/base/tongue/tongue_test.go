package tongue

import "testing"

var latin = Language{
	Tag:    "la",
	Words:  map[string]string{"welcome": "salve", "a word": "verbum"},
	Shapes: [][2]string{{"expected %", "deest: %"}, {"% octets", "% octeti"}},
}

func TestFind(t *testing.T) {
	for in, want := range map[string]string{"la": "la", "LA-va": "la", "la-VA-x-old": "la", "en": "en", "EN-us": "en", "i-default": "i-default", "i": "", "lat": "", "de": "", "-": "", "": "", "la-": "la", "*": ""} {
		tag, l, ok := Find(in, []*Language{&latin})
		if tag != want || ok != (want != "") || (l != nil) != (want == "la") {
			t.Errorf("%q is %q, %v, %v", in, tag, l, ok)
		}
	}
}

func TestSay(t *testing.T) {
	for in, want := range map[string]string{"welcome": "salve", "expected a word": "deest: verbum", "expected 7": "deest: 7", "12 octets": "12 octeti", "octets": "octets", "expected": "expected", "": ""} {
		if got := latin.Say(in); got != want {
			t.Errorf("%q is %q", in, got)
		}
	}
	if got := (*Language)(nil).Say("welcome"); got != "welcome" {
		t.Error(got)
	}
}
