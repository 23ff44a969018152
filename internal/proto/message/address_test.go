package message

import (
	"strings"
	"testing"
)

// show prints a list compactly: name|local|domain, with [group: ... ].
func show(list []Address) string {
	var b strings.Builder
	for _, a := range list {
		switch a.Kind {
		case GroupStart:
			b.WriteString("[" + a.Name + ":")
		case GroupEnd:
			b.WriteString("]")
		default:
			b.WriteString("(" + a.Name + "|" + a.Local + "|" + a.Domain + ")")
		}
	}
	return b.String()
}

var addressLists = []struct{ in, want string }{
	{``, ``},
	{`a@b.c`, `(|a|b.c)`},
	{`<a@b.c>`, `(|a|b.c)`},
	{`Joe <a@b.c>`, `(Joe|a|b.c)`},
	{`Joe  Q. Public <a@b.c>`, `(Joe Q. Public|a|b.c)`},
	{`"Public, Joe" <a@b.c>, x@y`, `(Public, Joe|a|b.c)(|x|y)`},
	{`"a \"q\" \\ b" <a@b.c>`, `(a "q" \ b|a|b.c)`},
	{`"a"b c <a@b.c>`, `(ab c|a|b.c)`},
	{`a@b.c (Joe (the one) Public)`, `(Joe (the one) Public|a|b.c)`},
	{`(c1) a (c2) @ (c3) b.c`, `(c3|a|b.c)`},
	{`"two words"@b.c`, `(|two words|b.c)`},
	{`a . b @ c . d`, `(|a.b|c.d)`},
	{`<@x,@y:a@b>`, `(|a|b)`},
	{`<@x:a@b>`, `(|a|b)`},
	{`Friends: a@b, Joe <c@d>; e@f`, `[Friends:(|a|b)(Joe|c|d)](|e|f)`},
	{`undisclosed-recipients:;`, `[undisclosed-recipients:]`},
	{`Friends: a@b`, `[Friends:(|a|b)]`},
	{`A: B: c@d;;`, `[A:(|c|d)]`},
	{`a@b, , ,c@d,`, `(|a|b)(|c|d)`},
	{`a@b; c@d`, `(|a|b)(|c|d)`},
	{`a@b c@d`, `(|a|b)(|c|d)`},
	{`a@b <c@d>`, `(a@b|c|d)`},
	{`<a@b`, `(|a|b)`},
	{`<a@b, <c@d>`, `(|a|b)(|c|d)`},
	{`a@b>`, `(|a|b)`},
	{`a@[192.0.2.1]`, `(|a|[192.0.2.1])`},
	{`a@[IPv6:2001:db8::1] x`, `(|a|[IPv6:2001:db8::1])(|x|)`},
	{`root`, `(|root|)`},
	{`root (Charlie)`, `(Charlie|root|)`},
	{`<>`, ``},
	{`Nobody <>`, `(Nobody||)`},
	{`@b`, `(||b)`},
	{`a@b@c`, `(|a@b|c)`},
	{`<a@b@c>`, `(|a@b|c)`},
	{`Joe Q a@b`, `(Joe Q|a|b)`},
	{`[list] Joe <a@b>`, `([list] Joe|a|b)`},
	{"Jörg <jö@exämple>", "(Jörg|jö|exämple)"},
	{`=?utf-8?q?J=C3=B6rg?= <a@b>`, `(=?utf-8?q?J=C3=B6rg?=|a|b)`},
	{"a@b,\r\n c@d", "(|a|b)(|c|d)"},
	{"\"a\r\n b\" <a@b>", "(a b|a|b)"},
	{`"unclosed <a@b>, c@d`, `(|unclosed <a@b>, c@d|)`},
	{`"" <a@b>`, `(|a|b)`},
	{`a@b.c.`, `(|a|b.c)`},
}

func TestAddressLists(t *testing.T) {
	for _, tt := range addressLists {
		if got := show(ParseAddressList(tt.in)); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestContacts(t *testing.T) {
	list := ParseAddresses(`=?utf-8?q?J=C3=B6rg?= <j@EXAMPLE.com>, Team: a@b;, "x y"@z, nobody, d@exämple`)
	want := []struct{ name, addr, raw, group string }{
		{"Jörg", "j@example.com", "j@EXAMPLE.com", ""},
		{"", "a@b", "a@b", "Team"},
		{"", `"x y"@z`, "x y@z", ""},
		{"", "", "nobody", ""},
		{"", "d@xn--exmple-cua", "d@exämple", ""},
	}
	if len(list) != len(want) {
		t.Fatalf("%d contacts: %+v", len(list), list)
	}
	for i, w := range want {
		c := list[i]
		if c.Name != w.name || c.Address.String() != w.addr || c.Raw != w.raw || c.Group != w.group {
			t.Errorf("%d: %+v, want %+v", i, c, w)
		}
	}
}

func TestAuthors(t *testing.T) {
	for _, tt := range []struct {
		in               string
		fields, contacts int
	}{
		{"From: a@b\r\n\r\n", 1, 1},
		{"From: a@b, c@d\r\n\r\n", 1, 2},
		{"From: a@b\r\nFrom: c@d\r\n\r\n", 2, 2},
		{"From : a@b\r\n\r\n", 1, 1},
		{"From:\r\n a@b\r\n\r\n", 1, 1},
		{"To: a@b\r\n\r\nFrom: c@d\r\n", 0, 0},
		{"From:\r\n\r\n", 1, 0},
		{"FROM: <>\r\n\r\n", 1, 0},
		{"From: Team: a@b, c@d;\r\n\r\n", 1, 2},
		{"From: \"x@y\" <a@b>\r\n\r\n", 1, 1},
		{"From: x@y <a@b>\r\n\r\n", 1, 1},
		{"\r\nFrom: a@b\r\n\r\n", 0, 0},
	} {
		fields, authors := Authors([]byte(tt.in))
		if fields != tt.fields || len(authors) != tt.contacts {
			t.Errorf("%q: %d fields, %+v", tt.in, fields, authors)
		}
	}
}
