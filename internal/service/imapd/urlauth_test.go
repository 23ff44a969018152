package imapd

import (
	"strings"
	"testing"

	"posthaste/internal/store/mailbox"
)

// genURL gives an URL that GENURLAUTH has authorized.
func (c *client) genURL(rump string) string {
	c.t.Helper()
	out := c.do(`GENURLAUTH "` + rump + `" INTERNAL`)
	url, ok := strings.CutPrefix(out[0], "* GENURLAUTH ")
	if len(out) != 2 || !ok || !strings.HasPrefix(url, `"`+rump+":INTERNAL:") {
		c.t.Fatal(out)
	}
	return url
}

// TestURLAuth looks who can use which URL, and until when. RFC 4467
func TestURLAuth(t *testing.T) {
	srv := newServer(t)
	deliver(t, srv, mailbox.Inbox, plain, mixed)
	c, other := newClient(t, srv), clientOf(t, srv, "bob")
	const at = "imap://ada%40example.org@mail.example.org/INBOX/;uid=1/;section=HEADER.FIELDS%20(X-Own)"
	for _, tc := range []struct {
		rump       string
		mine, bobs bool
	}{
		{at + ";urlauth=anonymous", true, true},
		{at + ";urlauth=authuser", true, true},
		{at + ";urlauth=user+bob%40example.org", false, true},
		{at + ";urlauth=user+BOB@example.org", false, true},
		{at + ";urlauth=user+ada", true, false},
		{at + ";urlauth=user+nobody", false, false},
		{at + ";urlauth=submit+bob", false, false},
		{at + ";expire=2000-01-01T00:00:00Z;urlauth=anonymous", false, false},
		{at + ";expire=2100-01-01T00:00:00Z;urlauth=anonymous", true, true},
		{"imap://ada@example.org:143/INBOX;uidvalidity=1/;uid=1;urlauth=anonymous", false, false},
	} {
		url := c.genURL(tc.rump)
		for i, who := range []*client{c, other} {
			want := "NIL"
			if []bool{tc.mine, tc.bobs}[i] {
				want = "{14}\r\nX-Own: yes\r\n\r\n"
			}
			who.want("URLFETCH "+url, "* URLFETCH "+url+" "+want, "OK URLFETCH completed")
		}
	}
	url := c.genURL(at + ";urlauth=authuser")
	forged := url[:len(url)-2] + "0\""
	if forged == url {
		forged = url[:len(url)-2] + "1\""
	}
	later := strings.Replace(url, "uid=1", "uid=2", 1)
	bare := url[:strings.Index(url, ":INTERNAL")] + `"`
	other.want("URLFETCH "+strings.Join([]string{forged, later, bare, `"imap://x/"`}, " "),
		"* URLFETCH "+forged+" NIL", "* URLFETCH "+later+" NIL", "* URLFETCH "+bare+" NIL", `* URLFETCH "imap://x/" NIL`, "OK URLFETCH completed")
	// Keys live until they are reset, and go with their mailbox.
	c.want("RESETKEY Archive", "OK [URLMECH INTERNAL] RESETKEY completed")
	other.want("URLFETCH "+url, "* URLFETCH "+url+" {14}\r\nX-Own: yes\r\n\r\n", "OK URLFETCH completed")
	c.want("RESETKEY INBOX INTERNAL", "OK [URLMECH INTERNAL] RESETKEY completed")
	other.want("URLFETCH "+url, "* URLFETCH "+url+" NIL", "OK URLFETCH completed")
	again := c.genURL(at + ";urlauth=authuser")
	if again == url {
		t.Error("the new key is the old one")
	}
	c.want("RESETKEY", "OK [URLMECH INTERNAL] RESETKEY completed")
	other.want("URLFETCH "+again, "* URLFETCH "+again+" NIL", "OK URLFETCH completed")
	c.do("CREATE x")
	c.genURL("imap://ada@example.org/x/;uid=1;urlauth=anonymous")
	c.do("DELETE x") // Check looks that no key stays behind
	for _, tc := range [][2]string{
		{`"imap://bob@example.org/INBOX/;uid=1;urlauth=anonymous" INTERNAL`, "BAD the URL must be into a mailbox of your own"},
		{`"imap://ada@example.org/nowhere/;uid=1;urlauth=anonymous" INTERNAL`, "BAD [NONEXISTENT] the URL names no mailbox"},
		{`"/INBOX/;uid=1;urlauth=anonymous" INTERNAL`, "BAD the URL must name a server, a user, a message, and who may use it"},
		{`"imap://ada@example.org/INBOX/;uid=1" INTERNAL`, "BAD the URL must name a server, a user, a message, and who may use it"},
		{again + " INTERNAL", "BAD the URL must name a server, a user, a message, and who may use it"},
		{`"imap://ada@example.org/INBOX/;uid=1;urlauth=anonymous" XSAMPLE`, "NO [CANNOT] only INTERNAL is known"},
	} {
		c.want("GENURLAUTH "+tc[0], tc[1])
	}
	c.want("RESETKEY INBOX XSAMPLE", "NO [CANNOT] only INTERNAL is known")
	c.want("RESETKEY nowhere", "NO [NONEXISTENT] no such mailbox")
}

// TestURLAuthBinary asks for parts as RFC 5524 lets one.
func TestURLAuthBinary(t *testing.T) {
	srv := newServer(t)
	deliver(t, srv, mailbox.Inbox, mixed)
	c := newClient(t, srv)
	url := c.genURL("imap://ada@example.org/INBOX/;uid=1/;section=2;urlauth=authuser")
	c.want("URLFETCH ("+url+" BODY BODYPARTSTRUCTURE)",
		"* URLFETCH "+url+` (BODYPARTSTRUCTURE ("application" "octet-stream" ("name" "x.bin") NIL NIL "base64" 8 NIL ("attachment" ("filename" "x.bin")) NIL NIL)) (BODY {8}`+"\r\nAAEC/w==)",
		"OK URLFETCH completed")
	c.want("URLFETCH ("+url+" BODYPARTSTRUCTURE BINARY)",
		"* URLFETCH "+url+` (BODYPARTSTRUCTURE ("application" "octet-stream" ("name" "x.bin") NIL NIL "binary" 4 NIL ("attachment" ("filename" "x.bin")) NIL NIL)) (BINARY ~{4}`+"\r\n\x00\x01\x02\xff)",
		"OK URLFETCH completed")
	c.want("URLFETCH ("+url+" BINARY)", "* URLFETCH "+url+" (BINARY ~{4}\r\n\x00\x01\x02\xff)", "OK URLFETCH completed")
	part := c.genURL("imap://ada@example.org/INBOX/;uid=1/;section=2/;partial=1.2;urlauth=authuser")
	c.want("URLFETCH ("+part+" BINARY)", "* URLFETCH "+part+" (BINARY ~{2}\r\n\x01\x02)", "OK URLFETCH completed")
	head := c.genURL("imap://ada@example.org/INBOX/;uid=1/;section=2.MIME;urlauth=authuser")
	c.want("URLFETCH ("+head+" BINARY BODYPARTSTRUCTURE)", "* URLFETCH "+head+" (BODYPARTSTRUCTURE NIL) (BINARY NIL)", "OK URLFETCH completed")
	c.want("URLFETCH (x BINARY)", `* URLFETCH "x" NIL`, "OK URLFETCH completed")
}
