package imap

import (
	"reflect"
	"strings"
	"testing"
	"time"
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
	{
		"imap://joe@example.com/INBOX/;uid=20/;section=1.2;expire=2006-10-21T12:00:00Z;urlauth=submit+fred:internal:91354a473744909de610943775f92038",
		&URL{User: "joe", Host: "example.com", Mailbox: "INBOX", UID: 20, Section: Section{Path: []uint32{1, 2}}, Auth: URLAuth{
			Access: AccessSubmit, User: "fred", Expire: time.Date(2006, 10, 21, 12, 0, 0, 0, time.UTC),
			Mechanism: "INTERNAL", Verifier: "91354a473744909de610943775f92038",
			Rump: "imap://joe@example.com/INBOX/;uid=20/;section=1.2;expire=2006-10-21T12:00:00Z;urlauth=submit+fred",
		}},
	},
	{
		"imap://joe@example.com/INBOX/;uid=20;URLAUTH=User+fr%65d", &URL{User: "joe", Host: "example.com", Mailbox: "INBOX", UID: 20, Auth: URLAuth{
			Access: AccessUser, User: "fred", Rump: "imap://joe@example.com/INBOX/;uid=20;URLAUTH=User+fr%65d",
		}},
	},
	{
		"/INBOX/;uid=20;urlauth=anonymous", &URL{Mailbox: "INBOX", UID: 20, Auth: URLAuth{
			Access: AccessAnonymous, Rump: "/INBOX/;uid=20;urlauth=anonymous",
		}},
	},
	{"/INBOX/;uid=20;urlauth=", nil},
	{"/INBOX/;uid=20;urlauth=user+", nil},
	{"/INBOX/;uid=20;urlauth=root", nil},
	{"/INBOX/;uid=20;urlauth=authuser:internal", nil},
	{"/INBOX/;uid=20;urlauth=authuser:internal:12", nil},
	{"/INBOX/;uid=20;urlauth=authuser:internal:91354a473744909de610943775f9203g", nil},
	{"/INBOX/;uid=20;expire=tomorrow;urlauth=authuser", nil},
	{"/INBOX/;uid=20;expire=2006-10-21T12:00:00Z", nil},
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
		u, ok := ParseURL(in)
		if ok && (u.UID == 0 || !strings.HasPrefix(in, u.Auth.Rump) || (u.Auth.Access == 0) != (u.Auth.Rump == "")) {
			t.Errorf("%q: %+v", in, u)
		}
		if !ok || u.Auth.Rump == "" {
			return
		}
		again, ok := ParseURL(u.Auth.Rump)
		u.Auth.Mechanism, u.Auth.Verifier = "", ""
		if !ok || !reflect.DeepEqual(again, u) {
			t.Errorf("%q: its rump is %+v, %v", in, again, ok)
		}
	})
}
