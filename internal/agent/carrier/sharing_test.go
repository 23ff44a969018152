package carrier

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
)

// TestIMAPSharing: who may do what comes along, in our words; groups are told, owners
// and who runs the server are not people. One folder does not tell.
func TestIMAPSharing(t *testing.T) {
	src, err := NewIMAP(t.Context(), script(t, map[string]string{
		"CAPABILITY":                            "* CAPABILITY IMAP4rev1 ACL RIGHTS=texk METADATA\r\nTAG OK\r\n",
		`LIST "" "*"`:                           "* LIST () \".\" INBOX\r\n* LIST () \".\" Work\r\nTAG OK\r\n",
		`EXAMINE "INBOX"`:                       "* OK [UIDVALIDITY 77] ok\r\nTAG OK\r\n",
		`EXAMINE "Work"`:                        "* OK [UIDVALIDITY 78] ok\r\nTAG OK\r\n",
		`GETACL "INBOX"`:                        "* ACL INBOX ada lrswipkxtea owner lr administrators a user=bob lrskcn -#eve@x {1}\r\nr anyone \"\" $staff l anonymous l authenticated p\r\nTAG OK\r\n",
		`GETACL "Work"`:                         "TAG NO not for you\r\n",
		getMeta + ` "INBOX" (/private /shared)`: "* METADATA INBOX (/shared/comment {4}\r\na\r\nb /private/none NIL /private/comment \"mine\")\r\n* METADATA INBOX /shared/x\r\nTAG OK\r\n",
		getMeta + ` "Work" (/private /shared)`:  "TAG BAD what?\r\n",
		getMeta + ` "" (/private /private/comment /private/vendor)`: "* METADATA \"\" (/private/vendor/x/sig \"-- \" /private/none NIL)\r\n* METADATA \"\" (/private/vendor/x/sig {3}\r\n--  /PRIVATE/comment \"me\" /shared/admin \"mailto:x\")\r\nTAG OK\r\n",
	}), "")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	s := newShelf()
	r := s.take(t, src, func(im *Import) { im.Who, im.FollowRights = InDomain("example.org"), true })
	equal(t, s.rights, []string{
		`true /private/vendor/x/sig="-- " /PRIVATE/comment="me"`,
		`INBOXtrue bob@example.org:lrsk -eve@x:r authenticated:p /shared/comment="a\r\nb" /private/comment="mine"`, "Worktrue",
	})
	var left []string
	for _, p := range r.Left {
		left = append(left, p.String())
	}
	equal(t, left, []string{
		"the account, message rights of eve: who is that?",
		"INBOX, message rights of $staff: there are no groups here", "INBOX, message rights of anonymous: there is nobody who has not logged in",
		"INBOX, message rights of eve: who is that?",
		"Work, message rights: the server refuses: NO not for you", "Work, message metadata: the server refuses: BAD what?", "Work, message rights of eve: who is that?",
	})
	if len(r.Problems) != 0 {
		t.Error(r.Problems)
	}
}

const getMeta = "GETMETADATA (DEPTH infinity)"

// TestPerson: whom servers mean.
func TestPerson(t *testing.T) {
	for identifier, want := range map[string]string{
		"bob": "bob", "user=bob": "bob", "-user=bob": "-bob", "#bob": "bob", "-#bob": "-bob", "Anyone": "anyone", "#authenticated": "authenticated", "bob@x.org": "bob@x.org",
		"owner": "", "#owner": "", "administrators": "", "group=administrators": "",
		"anonymous": "!", "$staff": "!", "!$staff": "!", "#$staff": "!", "group=a": "!", "group:a": "!", "": "!", "-": "!", "user=": "!",
	} {
		who, why := person(identifier)
		if why != "" {
			who += "!"
		}
		if who != want {
			t.Errorf("%q is %q, want %q", identifier, who, want)
		}
	}
}

// TestOldRights: c and d are what they stand for at servers that know no better.
func TestOldRights(t *testing.T) {
	old, modern := &session{caps: map[string]bool{"ACL": true}}, &session{caps: map[string]bool{"ACL": true, "RIGHTS=KXTE": true}}
	for _, c := range []struct{ there, old, modern string }{{"lrswipcda", "lrswipcda", "lrswipa"}, {"lrkc09", "lrkc", "lrk"}, {"", "", ""}} {
		if got := old.letters(c.there); got != c.old {
			t.Errorf("%q is %q of old", c.there, got)
		}
		if got := modern.letters(c.there); got != c.modern {
			t.Errorf("%q is %q now", c.there, got)
		}
	}
	courier := &session{caps: map[string]bool{"ACL": true, "ACL2=UNION": true}}
	if got := courier.letters("lrc") + " " + courier.letters("acdilrsw"); got != "lrk akxteilrsw" {
		t.Error(got)
	}
	if got := old.lettersThere("lrkxtecd") + " " + modern.lettersThere("lrkxtecd"); got != "lrcd lrkxte" {
		t.Error(got)
	}
}

// TestTargetSharing: rights and notes are set as the server names people; what it
// does not take is told, and the mail comes all the same.
func TestTargetSharing(t *testing.T) {
	srv := script(t, map[string]string{
		"CAPABILITY":                          "* CAPABILITY IMAP4rev1 LITERAL+ ACL METADATA\r\nTAG OK\r\n",
		`LIST "" "*"`:                         "* LIST () \".\" INBOX\r\nTAG OK\r\n",
		`LIST "" ""`:                          "* LIST (\\Noselect) \".\" \"\"\r\nTAG OK\r\n",
		`SETACL "Work.&AMQ-_b" "-anyone" "i"`: "TAG NO no such right\r\n",
	})
	dial := srv.Dial
	var sent bytes.Buffer
	srv.Dial = func(ctx context.Context, n, a string) (net.Conn, error) {
		c, err := dial(ctx, n, a)
		return tee{c, &sent}, err
	}
	target, err := NewIMAPTarget(t.Context(), srv)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := (&Export{Account: newAlbum(), Target: target, Who: func(here string) string { return strings.TrimSuffix(here, "@example.org") }}).Run(t.Context())
	if err != nil || rep.Added != 4 {
		t.Fatal(rep, err)
	}
	if len(rep.Left) != 1 || rep.Left[0].ID != "rights of -anyone" {
		t.Error(rep.Left)
	}
	for _, want := range []string{`SETACL "Work.&AMQ-_b" "bob" "lrscd"`, `SETMETADATA "Work.&AMQ-_b" ("/shared/comment" {10+}` + "\r\nall\r\nof us)\r\n", `SETMETADATA "" ("/private/x" {1+}` + "\r\n1)\r\n"} {
		if !strings.Contains(sent.String(), want) {
			t.Errorf("%q was not sent, but\n%s", want, sent.String())
		}
	}
}
