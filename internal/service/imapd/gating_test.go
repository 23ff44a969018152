package imapd

import (
	"context"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
)

// picky is people of whom ada is not offered some capabilities.
type picky struct {
	people
	without string
}

func (p picky) Account(ctx context.Context, id mail.AccountID) (directory.Account, error) {
	a, err := p.people.Account(ctx, id)
	if id == ada {
		a.Without = p.without
	}
	return a, err
}

// TestSwitchedOff looks that what is switched off is not offered and does not
// exist, for one account and not for others.
func TestSwitchedOff(t *testing.T) {
	srv := newServer(t)
	srv.People = picky{without: "IDLE IMAP4REV1 IMAP4REV2 MOVE NOTIFY QRESYNC THREAD URLAUTH=BINARY"}
	deliver(t, srv, mailbox.Inbox, plain)
	c := newClient(t, srv)
	offered := " " + strings.TrimPrefix(c.do("CAPABILITY")[0], "* CAPABILITY ") + " "
	for word, want := range map[string]bool{
		"IDLE": false, "IMAP4rev1": true, "IMAP4rev2": false, "MOVE": false, "NOTIFY": false, "QRESYNC": false,
		"THREAD=REFERENCES": false, "THREAD=REFS": false, "URLAUTH=BINARY": false, "URLAUTH": true, "CONDSTORE": true, "SORT": true,
	} {
		if strings.Contains(offered, " "+word+" ") != want {
			t.Errorf("%s: want %v in%s", word, want, offered)
		}
	}
	c.do("SELECT INBOX")
	for _, command := range []string{"IDLE", "MOVE 1 Trash", "UID MOVE 1 Trash", "NOTIFY NONE", "THREAD REFS UTF-8 ALL"} {
		c.want(command, "BAD unknown command")
	}
	c.do("UNSELECT")
	c.want("ENABLE QRESYNC IMAP4rev2 CONDSTORE", "* ENABLED CONDSTORE", "OK ENABLE completed")
	bobs := clientOf(t, srv, "bob")
	bobs.want("NOTIFY NONE", "OK NOTIFY completed")
	// Who logs in next is asked about anew.
	c.do("UNAUTHENTICATE")
	c.do("LOGIN bob@example.org sesame")
	c.want("NOTIFY NONE", "OK NOTIFY completed")
}

// TestMisused looks that a client which has got UIDONLY wrong is not offered it
// again, and others are.
func TestMisused(t *testing.T) {
	srv := newServer(t)
	offers := func(name string) (*client, bool) {
		c := newClient(t, srv)
		c.do(`ID ("name" "` + name + `")`)
		return c, strings.Contains(c.do("CAPABILITY")[0], " UIDONLY ")
	}
	c, ok := offers("Cloud")
	if !ok {
		t.Error("UIDONLY is not offered")
	}
	c.do("ENABLE UIDONLY")
	c.do("SELECT INBOX")
	c.want("FETCH 1 UID", "BAD [UIDREQUIRED] after ENABLE UIDONLY there are no sequence numbers")
	c, ok = offers("Cloud")
	if ok {
		t.Error("UIDONLY is offered again")
	}
	c.want("ENABLE UIDONLY", "* ENABLED", "OK ENABLE completed")
	if _, ok = offers("Other"); !ok {
		t.Error("UIDONLY is not offered to another client")
	}
	// Jakarta Mail sends the low bytes of characters once UTF-8 is enabled, and no ID.
	deliver(t, srv, mailbox.Inbox, "Subject: Gr\xc3\xbc\xc3\x9fe\r\n\r\nx\r\n")
	c = newClient(t, srv)
	c.want("ENABLE UTF8=ACCEPT", "* ENABLED UTF8=ACCEPT", "OK ENABLE completed")
	c.do("SELECT INBOX")
	c.want("SEARCH SUBJECT \"gr\xfc\xdfe\" NOT BODY \"\xfc\"", "* SEARCH 1", "OK SEARCH completed")
	c.want("SEARCH SUBJECT \"gr\xc3\xbc\xc3\x9fe\"", "* SEARCH 1", "OK SEARCH completed")
	c = newClient(t, srv)
	if strings.Contains(c.do("CAPABILITY")[0], "UTF8=ACCEPT") {
		t.Error("UTF8=ACCEPT is offered again")
	}
	c.do("SELECT INBOX")
	c.want("SEARCH SUBJECT \"gr\xfc\xdfe\"", "BAD [BADCHARSET (UTF-8 US-ASCII)] the text to search for is not in the charset")
	c.want("SEARCH CHARSET ISO-8859-1 SUBJECT \"gr\xfc\xdfe\"", "* SEARCH 1", "OK SEARCH completed")
	if c, _ = offers("Other"); !strings.Contains(c.do("CAPABILITY")[0], "UTF8=ACCEPT") {
		t.Error("UTF8=ACCEPT is not offered to another client")
	}
	// Horde sends small messages, and small pieces of one, in quotes.
	for _, command := range []string{`APPEND INBOX UTF8 ("Subject: x`, `APPEND INBOX CATENATE (UTF8 ("Subject: x`} {
		name := command[:15]
		c, _ = offers(name)
		c.do("ENABLE UTF8=ACCEPT")
		c.want(command, "BAD expected a literal, not a quoted string")
		if c, _ = offers(name); strings.Contains(c.do("CAPABILITY")[0], "UTF8=ACCEPT") {
			t.Errorf("UTF8=ACCEPT is offered again after %s", command)
		}
	}
	var m misused
	for i := range maxMisused + 1 {
		m.note(misuse{account: mail.AccountID(i)})
	}
	if len(m.seen) != 1 {
		t.Error(len(m.seen), "are remembered")
	}
}
