package imapd

import (
	"fmt"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
)

const seenEntry = "/shared/vendor/posthaste/seen"

// TestSeenMode chooses whose \Seen is, and looks who may.
func TestSeenMode(t *testing.T) {
	srv := newServer(t)
	deliver(t, srv, mailbox.Inbox, plain, plain, plain)
	a, b := newClient(t, srv), clientOf(t, srv, "bob")
	a.do("SELECT INBOX")
	a.do(`STORE 1 +FLAGS (\Seen)`)
	a.want("GETMETADATA INBOX "+seenEntry, `* METADATA "INBOX" ("`+seenEntry+`" "own")`, "OK GETMETADATA completed")
	grant(t, srv, "INBOX", "lrsw")
	set := func(mode string) string { return "SETMETADATA " + adasInbox + " (" + seenEntry + " " + mode + ")" }
	b.want(set(`"common"`), "NO [NOPERM] you may not do this with this mailbox")
	grant(t, srv, "INBOX", "lrswa")
	b.want(set(`"mine"`), "NO [CANNOT] this entry is own or common")
	// Who has not been there has read nothing.
	b.want("STATUS "+adasInbox+" (UNSEEN)", "* STATUS "+adasInbox+" (UNSEEN 3)", "OK STATUS completed")
	b.do("SELECT " + adasInbox)
	b.do("FETCH 3 BODY.PEEK[TEXT]")
	b.do("FETCH 2 BODY[TEXT]")
	a.want("FETCH 1:* FLAGS", `* 1 FETCH (FLAGS (\Seen))`, "* 2 FETCH (FLAGS ())", "* 3 FETCH (FLAGS ())", "OK FETCH completed")
	b.want("FETCH 1:* FLAGS", "* 1 FETCH (FLAGS ())", `* 2 FETCH (FLAGS (\Seen))`, "* 3 FETCH (FLAGS ())", "OK FETCH completed")
	b.want("SEARCH SEEN", "* SEARCH 2", "OK SEARCH completed")
	b.want("ESEARCH IN (subtree "+adasInbox+") RETURN (COUNT) UNSEEN", `* ESEARCH (TAG "t`+fmt.Sprint(b.tag+1)+`" MAILBOX `+adasInbox+` UIDVALIDITY `+validityOf(t, srv)+`) UID COUNT 2`, "OK ESEARCH completed")
	// Common again: what the owner has read is read.
	b.do(set(`"common"`))
	b.want("FETCH 1:* FLAGS", `* 1 FETCH (FLAGS (\Seen))`, "* 2 FETCH (FLAGS ())", "* 3 FETCH (FLAGS ())", "OK FETCH completed")
	a.do("NOOP")
	b.do(`STORE 3 +FLAGS.SILENT (\Seen)`)
	a.want("NOOP", `* 3 FETCH (UID 3 FLAGS (\Seen))`, "OK NOOP completed")
	// And own again, which changes nothing for anybody.
	a.do("SETMETADATA INBOX (" + seenEntry + ` "own")`)
	b.want("NOOP", "OK NOOP completed")
	b.want("STATUS "+adasInbox+" (UNSEEN)", "* STATUS "+adasInbox+" (UNSEEN 1)", "OK STATUS completed")
	a.do(`STORE 3 -FLAGS.SILENT (\Seen)`)
	b.do("NOOP")
	b.want("SEARCH UNSEEN", "* SEARCH 2", "OK SEARCH completed")
	b.want("UNSELECT", "OK UNSELECT completed")
	// Who has lost all rights, or the account, begins anew.
	grant(t, srv, "INBOX", "")
	grant(t, srv, "INBOX", "lrs")
	c := clientOf(t, srv, "bob")
	c.want("STATUS "+adasInbox+" (UNSEEN)", "* STATUS "+adasInbox+" (UNSEEN 1)", "OK STATUS completed")
	c.do("SELECT " + adasInbox)
	c.do(`STORE 1:* +FLAGS.SILENT (\Seen)`)
	if err := srv.Mail.Retire(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	grant(t, srv, "INBOX", "lrs")
	d := clientOf(t, srv, "bob")
	d.want("STATUS "+adasInbox+" (UNSEEN)", "* STATUS "+adasInbox+" (UNSEEN 1)", "OK STATUS completed")
}

func validityOf(t *testing.T, srv *Server) string {
	m, err := srv.Mail.Lookup(t.Context(), ada, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(m.UIDValidity)
}

// TestSeenOfOthers looks that what somebody reads is told to their own sessions,
// with a mod-sequence, and disturbs nobody else.
func TestSeenOfOthers(t *testing.T) {
	srv := newServer(t)
	deliver(t, srv, mailbox.Inbox, plain, plain)
	grant(t, srv, "INBOX", "lrsi")
	if err := srv.Mail.Grant(t.Context(), ada, mailbox.Inbox, mailbox.Grant{To: mailbox.GranteeOf(eve), Rights: mailbox.RightLookup | mailbox.RightRead | mailbox.RightSeen}, mailbox.ReplaceRights); err != nil {
		t.Fatal(err)
	}
	b, b2, e := clientOf(t, srv, "bob"), clientOf(t, srv, "bob"), clientOf(t, srv, "eve")
	for _, c := range []*client{b, b2, e} {
		c.do("ENABLE CONDSTORE")
		c.do("SELECT " + adasInbox)
	}
	before := modSeqOf(t, e)
	e.send("x IDLE\r\n")
	e.line()
	b2.send("x IDLE\r\n")
	b2.line()
	b.do(`STORE 2 +FLAGS (\Seen)`)
	if l := b2.line(); !strings.HasPrefix(l, `* 2 FETCH (UID 2 FLAGS (\Seen`) || !strings.Contains(l, "MODSEQ (") {
		t.Error(l)
	}
	e.send("DONE\r\n")
	if l := e.line(); !strings.HasPrefix(l, "x OK") {
		t.Error("somebody else hears", l)
	}
	if now := modSeqOf(t, e); now != before {
		t.Errorf("HIGHESTMODSEQ of somebody else went from %s to %s", before, now)
	}
	b.want("SEARCH MODSEQ "+modSeqOf(t, b), "* SEARCH 2 (MODSEQ "+modSeqOf(t, b)+")", "OK SEARCH completed")
	if out := b.do(`STORE 2 (UNCHANGEDSINCE 1) -FLAGS (\Seen)`); !strings.HasPrefix(out[len(out)-1], "OK [MODIFIED 2]") {
		t.Error(out)
	}
	// What somebody puts there or copies has been seen by them only.
	b.do("APPEND " + adasInbox + ` (\Seen) {5+}` + "\r\na: b\n")
	b.do("COPY 2 " + adasInbox)
	a := newClient(t, srv)
	a.want("STATUS INBOX (MESSAGES UNSEEN)", `* STATUS "INBOX" (MESSAGES 4 UNSEEN 4)`, "OK STATUS completed")
	b.want("STATUS "+adasInbox+" (UNSEEN)", "* STATUS "+adasInbox+" (UNSEEN 1)", "OK STATUS completed")
	e.do("NOOP")
	e.want("STATUS "+adasInbox+" (UNSEEN)", "* STATUS "+adasInbox+" (UNSEEN 4)", "OK STATUS completed")
	// What is expunged and restored is a new message to all but its owner.
	a.do("SELECT INBOX")
	a.do(`STORE 2 +FLAGS (\Seen \Deleted)`)
	a.do("EXPUNGE")
	if n, err := srv.Mail.Restore(t.Context(), ada, func(*mailbox.Expunged) bool { return true }); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	a.do("NOOP")
	b.do("NOOP")
	a.want("STATUS INBOX (UNSEEN)", `* STATUS "INBOX" (UNSEEN 3)`, "OK STATUS completed")
	b.want("STATUS "+adasInbox+" (UNSEEN)", "* STATUS "+adasInbox+" (UNSEEN 2)", "OK STATUS completed")
}

func modSeqOf(t *testing.T, c *client) string {
	t.Helper()
	out := c.do("STATUS " + adasInbox + " (HIGHESTMODSEQ)")
	_, rest, ok := strings.Cut(out[len(out)-2], "(HIGHESTMODSEQ ")
	if !ok {
		t.Fatal(out)
	}
	return strings.TrimSuffix(rest, ")")
}

// TestSeenFolder looks at a shared folder: what is below it is as it is, and when
// it becomes common, what anybody has read is read.
func TestSeenFolder(t *testing.T) {
	srv := newServer(t)
	for _, who := range []mail.AccountID{ada, bob, eve} {
		g := mailbox.Grant{To: mailbox.GranteeOf(who), Rights: mailbox.AllRights}
		if err := srv.Mail.Grant(t.Context(), team, mailbox.Inbox, g, mailbox.ReplaceRights); err != nil {
			t.Fatal(err)
		}
	}
	const folder, below = `"Shared Folders/team@example.org"`, `"Shared Folders/team@example.org/Plans"`
	a, b, e := newClient(t, srv), clientOf(t, srv, "bob"), clientOf(t, srv, "eve")
	a.do("CREATE " + below)
	for range 600 { // more than a row has
		a.do("APPEND " + below + " {5+}\r\na: b\n")
	}
	a.do("SELECT " + below)
	b.do("SELECT " + below)
	e.do("SELECT " + below)
	a.do(`STORE 1:200 +FLAGS.SILENT (\Seen)`)
	b.do(`STORE 400:* +FLAGS.SILENT (\Seen)`)
	e.want("SEARCH RETURN (COUNT) SEEN", `* ESEARCH (TAG "t`+fmt.Sprint(e.tag+1)+`") COUNT 0`, "OK SEARCH completed")
	// What moves is the same message for all.
	e.do("MOVE 1:2,599:600 " + folder)
	for c, n := range map[*client]string{a: "2", b: "2", e: "4"} {
		c.do("NOOP")
		c.want("STATUS "+folder+" (UNSEEN)", "* STATUS "+folder+" (UNSEEN "+n+")", "OK STATUS completed")
	}
	if err := srv.Mail.Fold(t.Context(), team); err != nil {
		t.Fatal(err)
	}
	e.do("SETMETADATA " + below + " (" + seenEntry + ` "common")`)
	for _, c := range []*client{a, b, e} {
		c.do("NOOP")
		c.want("STATUS "+below+" (UNSEEN)", "* STATUS "+below+" (UNSEEN 199)", "OK STATUS completed")
	}
	e.do("STORE 1:* +FLAGS.SILENT (\\Deleted)")
	e.do("EXPUNGE")
	e.do("DELETE " + below)
}
