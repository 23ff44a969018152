package bimi

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"v=BIMI1; l=https://b.example/logo.svg":                                       "https://b.example/logo.svg ",
		"v=BIMI1;l=https://b.example/logo.svg;a=https://b.example/vmc.pem;avp=brand;": "https://b.example/logo.svg https://b.example/vmc.pem",
		" v = BIMI1 ; L = https://b.example/x":                                        "https://b.example/x ",
		"v=BIMI1; l=; a=;":                                                            "declined",
		"v=BIMI1; l=":                                                                 "declined",
		"v=BIMI1; a=https://b.example/vmc.pem":                                        "wrong",
		"v=BIMI1; l=http://b.example/logo.svg":                                        "wrong",
		"v=BIMI1; l=https://user@b.example/logo.svg":                                  "wrong",
		"v=BIMI1; l=https:///logo.svg":                                                "wrong",
		"v=BIMI1; l=https://b.example/" + strings.Repeat("x", maxURI):                 "wrong",
		"v=BIMI2; l=": "other", "l=https://b.example/x; v=BIMI1": "other", "v=spf1 -all": "other", "": "other", "v=BIMI1; l=\x00": "other", "v=bimi1; l=": "other",
	} {
		r, err := Parse(in)
		got := r.Location + " " + r.Evidence
		switch {
		case err == ErrNotBIMI:
			got = "other"
		case err != nil:
			got = "wrong"
		case r.Declined():
			got = "declined"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		" v=BIMI1; s=Brand": "brand", "v=BIMI1;\r\n\ts=a.b_c-1;": "a.b_c-1", "v=BIMI1": "", "s=x": "", "v=BIMI1; s=": "", "v=BIMI1; s=a b": "", "v=BIMI1; s=a..b": "", "v=BIMI1; s=-a": "",
	} {
		if got, ok := Selector(in); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v", in, got, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("v=BIMI1; l=https://b.example/logo.svg; a=; s=x")
	f.Fuzz(func(t *testing.T, in string) {
		if r, err := Parse(in); err == nil {
			again, err := Parse("v=BIMI1; l=" + r.Location + "; a=" + r.Evidence)
			if err != nil || again != r {
				t.Errorf("%q: %+v and %+v, %v", in, r, again, err)
			}
		}
		if s, ok := Selector(in); ok {
			if again, ok := Selector("v=BIMI1; s=" + s); !ok || again != s {
				t.Errorf("%q: %q and %q", in, s, again)
			}
		}
	})
}
