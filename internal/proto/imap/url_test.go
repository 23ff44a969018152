package imap

import (
	"reflect"
	"testing"
)

// urlTests are of RFC 5092 §5 and RFC 4469.
var urlTests = []struct {
	in   string
	want *URL
}{
	{"/INBOX/;UID=20", &URL{Mailbox: "INBOX", UID: 20}},
	{"/inbox/;uid=20", &URL{Mailbox: "INBOX", UID: 20}},
	{";UID=20/;SECTION=1.2.MIME", &URL{UID: 20, Section: Section{Path: []uint32{1, 2}, Text: TextMIME}}},
	{
		"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER/;PARTIAL=0.1024",
		&URL{Mailbox: "Drafts", UIDValidity: 385759045, UID: 20, Section: Section{Text: TextHeader}, Partial: true, Count: 1024},
	},
	{"/Entw%C3%BCrfe/;UID=1/;PARTIAL=7", &URL{Mailbox: "Entwürfe", UID: 1, Partial: true, Offset: 7}},
	{
		"imap://michael;AUTH=*@minbari.example.org:143/gray%20council/;UID=20/;SECTION=1.2",
		&URL{User: "michael", Host: "minbari.example.org:143", Mailbox: "gray council", UID: 20, Section: Section{Path: []uint32{1, 2}}},
	},
	{"imap://minbari.example.org/a/b/;UID=1", &URL{Host: "minbari.example.org", Mailbox: "a/b", UID: 1}},
	{"", nil},
	{"/;UID=1", nil},
	{"/INBOX", nil},
	{"INBOX/;UID=1", nil},
	{"/INBOX/;UID=0", nil},
	{"/INBOX/;UID=99999999999", nil},
	{"/INBOX/;UID=1/;SECTION=NONSENSE", nil},
	{"/INBOX/;UID=1/;PARTIAL=1.0", nil},
	{"/INBOX/;UID=1/x", nil},
	{"/a%/;UID=1", nil},
	{"/a%00/;UID=1", nil},
	{"/%ff/;UID=1", nil},
	{"/a;UIDVALIDITY=0/;UID=1", nil},
	{"http://example.org/INBOX/;UID=1", nil},
}

func TestURL(t *testing.T) {
	for _, tc := range urlTests {
		got, ok := ParseURL(tc.in)
		if ok != (tc.want != nil) || ok && !reflect.DeepEqual(got, *tc.want) {
			t.Errorf("%q: %+v, %v", tc.in, got, ok)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, tc := range urlTests {
		f.Add(tc.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if u, ok := ParseURL(in); ok && u.UID == 0 {
			t.Errorf("%q: %+v", in, u)
		}
	})
}
