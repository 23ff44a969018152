package imapd

import (
	"fmt"
	"strings"
	"testing"

	"posthaste/internal/store/mailbox"
)

// grant gives bob rights in a mailbox of ada.
func grant(t *testing.T, srv *Server, name, rights string) {
	t.Helper()
	m, err := srv.Mail.Lookup(t.Context(), ada, name)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := mailbox.ParseRights(rights)
	g := mailbox.Grant{To: mailbox.GranteeOf(bob), Rights: r}
	if err := srv.Mail.Grant(t.Context(), ada, m.ID, g, mailbox.ReplaceRights); err != nil {
		t.Fatal(err)
	}
}

const adasInbox = `"Other Users/ada@example.org/INBOX"`

// TestRights looks at what each right of RFC 4314 §4 allows, and that nothing
// else does.
func TestRights(t *testing.T) {
	const there, hidden, denied = "OK", "NO [NONEXISTENT]", "NO [NOPERM]"
	for _, c := range []struct {
		rights, command, want string
	}{
		{"", "SELECT " + adasInbox, hidden},
		{"l", "SELECT " + adasInbox, denied},
		{"r", "SELECT " + adasInbox, "OK [READ-ONLY]"},
		{"lrs", "SELECT " + adasInbox, "OK [READ-WRITE]"},
		{"lr", "EXAMINE " + adasInbox, "OK [READ-ONLY]"},
		{"l", "LIST \"\" " + adasInbox, `* LIST (\Noselect \HasNoChildren) "/" ` + adasInbox},
		{"lr", "LIST \"\" " + adasInbox, `* LIST (\HasNoChildren) "/" ` + adasInbox},
		{"l", "STATUS " + adasInbox + " (MESSAGES)", denied},
		{"s", "STATUS " + adasInbox + " (MESSAGES)", hidden},
		{"r", "STATUS " + adasInbox + " (MESSAGES)", there},
		{"lr", "APPEND " + adasInbox + " {5+}\r\na: b\n", denied},
		{"r", "APPEND " + adasInbox + " {5+}\r\na: b\n", hidden},
		{"i", "APPEND " + adasInbox + " {5+}\r\na: b\n", there},
		{"lrx", "CREATE " + adasInbox[:len(adasInbox)-1] + "/new\"", denied},
		{"x", "CREATE " + adasInbox[:len(adasInbox)-1] + "/new\"", hidden},
		{"k", "CREATE " + adasInbox[:len(adasInbox)-1] + "/a/new\"", there},
		{"lrswipkxtea", `CREATE "Other Users/ada@example.org/new"`, denied},
		{"lrk", "DELETE " + adasInbox, denied},
		{"lrx", "DELETE " + adasInbox, "NO [CANNOT]"},
		{"lrkx", "RENAME " + adasInbox + " mine", "NO [CANNOT]"},
		{"lrk", "RENAME " + adasInbox + " " + adasInbox[:len(adasInbox)-1] + `/new"`, denied},
		{"", `SELECT "Other Users/nobody@example.org/INBOX"`, hidden},
		{"lr", `SELECT "Shared Folders/ada@example.org/INBOX"`, hidden},
		{"", `SELECT "Other Users/bob@example.org/INBOX"`, hidden},
		{"lr", `SELECT "Other Users/ADA@example.org/inbox"`, "OK"},
		{"", `CREATE "Other Users/mine"`, "NO [CANNOT]"},
		{"lr", "GETQUOTAROOT " + adasInbox, "OK"},
		{"l", "GETQUOTAROOT " + adasInbox, denied},
	} {
		srv := newServer(t)
		if c.rights != "" {
			grant(t, srv, "INBOX", c.rights)
		}
		out := clientOf(t, srv, "bob").do(c.command)
		if !strings.HasPrefix(out[len(out)-1], c.want) && out[0] != c.want {
			t.Errorf("with %q: %s: %s, want %s", c.rights, c.command, out, c.want)
		}
	}
}

// TestSelectedRights is TestRights for a mailbox that is open.
func TestSelectedRights(t *testing.T) {
	const denied = "NO [NOPERM]"
	for _, c := range []struct {
		rights, command, want, flags string // flags of message 1 after it
	}{
		{"lr", `STORE 1 +FLAGS (\Seen)`, denied, ""},
		{"lrs", `STORE 1 +FLAGS (\Seen \Flagged)`, "OK", `\Seen`},
		{"lrs", `STORE 1 +FLAGS (\Flagged)`, denied, ""},
		{"lrs", `STORE 1 +FLAGS (word)`, denied, ""},
		{"lrw", `STORE 1 +FLAGS (\Flagged word \Deleted)`, "OK", `\Flagged word`},
		{"lrt", `STORE 1 FLAGS (\Flagged word \Deleted)`, "OK", `\Deleted`},
		{"lrt", `STORE 1 +FLAGS (\Seen)`, denied, ""},
		{"lrswi", "EXPUNGE", denied, ""},
		{"lrswit", "MOVE 1 INBOX", denied, ""},
		{"lr", "COPY 1 INBOX", "OK", ""},
		{"lr", "FETCH 1 BODY[]", "OK", ""},
		{"lrs", "FETCH 1 BODY[]", "OK", `\Seen`},
		{"lrswit", "UID REPLACE 1 INBOX {5+}\r\na: b\n", denied, ""},
	} {
		srv := newServer(t)
		deliver(t, srv, mailbox.Inbox, plain)
		grant(t, srv, "INBOX", c.rights)
		b := clientOf(t, srv, "bob")
		b.do("SELECT " + adasInbox)
		out := b.do(c.command)
		if last := out[len(out)-1]; !strings.HasPrefix(last, c.want) {
			t.Errorf("with %q: %s: %s, want %s", c.rights, c.command, last, c.want)
		}
		b.want("FETCH 1 FLAGS", "* 1 FETCH (FLAGS ("+c.flags+"))", "OK FETCH completed")
	}
}

// TestRightsChange looks that rights which are given and taken while a mailbox
// is open count at once. RFC 4314 §5.1.1
func TestRightsChange(t *testing.T) {
	srv := newServer(t)
	deliver(t, srv, mailbox.Inbox, plain)
	grant(t, srv, "INBOX", "lrs")
	b := clientOf(t, srv, "bob")
	if out := strings.Join(b.do("SELECT "+adasInbox), "\n"); !strings.Contains(out, `[PERMANENTFLAGS (\Seen)]`) {
		t.Error(out)
	}
	grant(t, srv, "INBOX", "lrste")
	b.want("NOOP", `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)`,
		`* OK [PERMANENTFLAGS (\Deleted \Seen)] flags that can be changed`, "OK NOOP completed")
	b.want(`STORE 1 +FLAGS.SILENT (\Deleted)`, "OK STORE completed")
	grant(t, srv, "INBOX", "lr")
	b.do("NOOP")
	b.want("EXPUNGE", "NO [NOPERM] you may not do this with this mailbox")
	grant(t, srv, "INBOX", "l")
	b.send("x NOOP\r\n")
	if l := b.line(); !strings.HasPrefix(l, "* BYE [NOPERM]") {
		t.Error(l)
	}
}

// TestBetween copies and moves between the mailboxes of two people.
func TestBetween(t *testing.T) {
	srv := newServer(t)
	deliver(t, srv, mailbox.Inbox, plain, mixed, plain)
	grant(t, srv, "INBOX", "lrswite")
	b := clientOf(t, srv, "bob")
	b.do("SELECT " + adasInbox)
	b.do(`STORE 1:2 +FLAGS.SILENT (\Seen word)`)
	out := b.do("UID COPY 1:3 INBOX")
	if last := out[len(out)-1]; !strings.Contains(last, " 1:3 1:3] UID COPY") {
		t.Error(last)
	}
	out = b.do("UID MOVE 2:3 INBOX")
	if len(out) != 4 || !strings.Contains(out[0], " 2:3 4:5] moved") || out[1] != "* 2 EXPUNGE" || out[2] != "* 2 EXPUNGE" {
		t.Error(out)
	}
	b.do("SELECT INBOX")
	b.want("FETCH 1:* FLAGS", `* 1 FETCH (FLAGS (\Seen word \Recent))`, `* 2 FETCH (FLAGS (\Seen word \Recent))`, `* 3 FETCH (FLAGS (\Recent))`,
		`* 4 FETCH (FLAGS (\Seen word \Recent))`, `* 5 FETCH (FLAGS (\Recent))`, "OK FETCH completed")
	if text := strings.Join(b.do("FETCH 4 BODY.PEEK[]"), ""); !strings.Contains(text, mixed) {
		t.Error("the message has changed:", text)
	}
	// Threads are found in the other account, too.
	ids := b.do("FETCH 1,3 THREADID")
	if strings.SplitAfter(ids[0], "THREADID")[1] != strings.SplitAfter(ids[1], "THREADID")[1] {
		t.Error("two threads:", ids)
	}
	// And back, where not all flags may be set.
	grant(t, srv, "INBOX", "lrisa")
	b.do("SETMETADATA " + adasInbox + ` (/shared/vendor/posthaste/seen "common")`)
	grant(t, srv, "INBOX", "lris")
	b.do("COPY 1 " + adasInbox)
	a := newClient(t, srv)
	a.do("SELECT INBOX")
	a.want("FETCH * FLAGS", `* 2 FETCH (FLAGS (\Seen \Recent))`, "OK FETCH completed")
	out = b.do("UID REPLACE 1 " + adasInbox + " {5+}\r\na: b\n")
	if last := out[len(out)-1]; !strings.HasPrefix(last, "OK") {
		t.Error(out)
	}
	a.want("NOOP", "* 3 EXISTS", "OK NOOP completed")
}

// TestOverQuota looks that the room is taken of the account that a message goes
// to, and that a MOVE which does not fit leaves all where it is.
func TestOverQuota(t *testing.T) {
	srv := newServer(t)
	deliver(t, srv, mailbox.Inbox, "Subject: large\r\n\r\n"+strings.Repeat("0123456789abcdef\r\n", 50_000))
	grant(t, srv, "INBOX", "lrswite")
	b := clientOf(t, srv, "bob")
	b.do("SELECT " + adasInbox)
	for range 4 {
		b.do("COPY 1 INBOX")
	}
	out := b.do("MOVE 1 INBOX")
	if last := out[len(out)-1]; !strings.HasPrefix(last, "NO [OVERQUOTA]") {
		t.Error(out)
	}
	b.want("STATUS INBOX (MESSAGES)", `* STATUS "INBOX" (MESSAGES 4)`, "OK STATUS completed")
	b.want("STATUS "+adasInbox+" (MESSAGES)", "* STATUS "+adasInbox+" (MESSAGES 1)", "OK STATUS completed")
}

// TestListShared lists mailboxes of others.
func TestListShared(t *testing.T) {
	srv := newServer(t)
	a, b := newClient(t, srv), clientOf(t, srv, "bob")
	for _, n := range []string{"Work/Plans/New", "Hidden"} {
		a.do("CREATE " + n)
	}
	b.want(`LIST "" "Other*"`, "OK LIST completed")
	grant(t, srv, "INBOX", "lr")
	grant(t, srv, "Hidden", "r")
	grant(t, srv, "Work/Plans/New", "l")
	const pre = `"/" "Other Users/ada@example.org`
	b.want(`LIST "" "Other Users*"`, `* LIST (\HasNoChildren) `+pre+`/INBOX"`, `* LIST (\Noselect \HasNoChildren) `+pre+`/Work/Plans/New"`, "OK LIST completed")
	b.want(`LIST "" "Other%"`, `* LIST (\Noselect \HasChildren) "/" "Other Users"`, "OK LIST completed")
	b.want(`LIST "Other Users/" %`, `* LIST (\Noselect \HasChildren) `+pre+`"`, "OK LIST completed")
	b.want(`LIST "Other Users/" %/%`, `* LIST (\HasNoChildren) `+pre+`/INBOX"`, `* LIST (\Noselect \HasChildren) `+pre+`/Work"`, "OK LIST completed")
	b.want(`LIST "" "Other Users/%/%" RETURN (STATUS (MESSAGES))`, `* LIST (\HasNoChildren) `+pre+`/INBOX"`,
		`* STATUS "Other Users/ada@example.org/INBOX" (MESSAGES 0)`, `* LIST (\Noselect \HasChildren) `+pre+`/Work"`, "OK LIST completed")
	b.do("SUBSCRIBE " + `"Other Users/ada@example.org/Work/Plans/New"`)
	b.want(`LIST (SUBSCRIBED) "Other Users" *`, `* LIST (\Noselect \Subscribed \HasNoChildren) `+pre+`/Work/Plans/New"`, "OK LIST completed")
	b.want(`LSUB "Other Users" *`, `* LSUB () `+pre+`/Work/Plans/New"`, "OK LSUB completed")
	b.want(`LIST (SUBSCRIBED RECURSIVEMATCH) "" "Other%"`, `* LIST (\Noselect \HasChildren) "/" "Other Users" ("CHILDINFO" ("SUBSCRIBED"))`, "OK LIST completed")
	grant(t, srv, "Work/Plans/New", "")
	b.want(`LIST (SUBSCRIBED) "Other Users" *`, `* LIST (\NonExistent \Subscribed) `+pre+`/Work/Plans/New"`, "OK LIST completed")
	// The owner's programs do not see anything of it.
	a.want(`LIST "" "Other*"`, "OK LIST completed")
}

// TestInherit looks that new mailboxes are shared as the one above them, and
// that rights follow renames.
func TestInherit(t *testing.T) {
	srv := newServer(t)
	a, b := newClient(t, srv), clientOf(t, srv, "bob")
	a.do("CREATE Team")
	grant(t, srv, "Team", "lrk")
	b.do(`CREATE "Other Users/ada@example.org/Team/New"`)
	a.do("CREATE Team/Other/Deep")
	a.do("RENAME Team Group")
	b.want(`LIST "" "Other Users/*"`, `* LIST (\HasChildren) "/" "Other Users/ada@example.org/Group"`,
		`* LIST (\HasNoChildren) "/" "Other Users/ada@example.org/Group/New"`, `* LIST (\HasChildren) "/" "Other Users/ada@example.org/Group/Other"`,
		`* LIST (\HasNoChildren) "/" "Other Users/ada@example.org/Group/Other/Deep"`, "OK LIST completed")
	a.do("DELETE Group/New")
	b.want(`LIST "" "Other Users/*/New"`, "OK LIST completed")
	if err := srv.Mail.Retire(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	b.want(`LIST "" "Other Users/*"`, "OK LIST completed")
	if list, err := srv.Mail.SharedWith(t.Context(), bob); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
}

// TestIdleShared looks that who waits in somebody's mailbox hears of it.
func TestIdleShared(t *testing.T) {
	srv := newServer(t)
	grant(t, srv, "INBOX", "lr")
	b := clientOf(t, srv, "bob")
	b.do("SELECT " + adasInbox)
	b.send("x IDLE\r\n")
	b.line()
	deliver(t, srv, mailbox.Inbox, plain)
	if l := b.line(); l != "* 1 EXISTS" {
		t.Error(l)
	}
	b.send("DONE\r\n")
	if l := b.line(); !strings.HasPrefix(l, "x OK") {
		t.Error(l)
	}
}

// TestNotifyShared looks that NOTIFY tells of the selected mailbox whoever owns
// it.
func TestNotifyShared(t *testing.T) {
	srv := newServer(t)
	grant(t, srv, "INBOX", "lr")
	b := clientOf(t, srv, "bob")
	b.do("NOTIFY SET (selected (MessageNew MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge))")
	b.do("SELECT " + adasInbox)
	deliver(t, srv, mailbox.Inbox, plain)
	if l := b.line(); l != "* 1 EXISTS" {
		t.Error(l)
	}
}

// TestShareOverIMAP shares a mailbox as people do, and takes it back.
func TestShareOverIMAP(t *testing.T) {
	srv := newServer(t)
	a, b, e := newClient(t, srv), clientOf(t, srv, "bob"), clientOf(t, srv, "eve")
	const drafts = `"Other Users/ada@example.org/Drafts"`
	b.want("GETACL "+drafts, "NO [NONEXISTENT] no such mailbox")
	b.want("MYRIGHTS "+drafts, "NO [NONEXISTENT] no such mailbox")
	a.do("SETACL Drafts anyone lr")
	a.do("SETACL Drafts bob@example.org swa")
	a.do("SETACL Drafts -bob@example.org w")
	b.want("MYRIGHTS "+drafts, "* MYRIGHTS "+drafts+" lrsa", "OK MYRIGHTS completed")
	e.want("MYRIGHTS "+drafts, "* MYRIGHTS "+drafts+" lr", "OK MYRIGHTS completed")
	e.want("GETACL "+drafts, "NO [NOPERM] you may not do this with this mailbox")
	e.want("SETACL "+drafts+" eve@example.org a", "NO [NOPERM] you may not do this with this mailbox")
	e.want("LISTRIGHTS "+drafts+" eve@example.org", "NO [NOPERM] you may not do this with this mailbox")
	b.want("SETACL "+drafts+" eve@example.org t", "OK SETACL completed")
	b.want("SETACL "+drafts+" ada@example.org r", "NO [CANNOT] owners keep all rights")
	e.want("MYRIGHTS "+drafts, "* MYRIGHTS "+drafts+" lrtd", "OK MYRIGHTS completed")
	e.want(`LIST "" "Other Users/*" RETURN (MYRIGHTS)`, `* LIST (\HasNoChildren) "/" `+drafts, "* MYRIGHTS "+drafts+" lrtd", "OK LIST completed")
	a.do("DELETEACL Drafts anyone")
	a.do("DELETEACL Drafts eve@example.org")
	e.want(`LIST "" "Other Users/*"`, "OK LIST completed")
	a.do("DELETE Drafts")
	b.want(`LIST "" "Other Users/*"`, "OK LIST completed")
}

// TestSharedFolder works in a folder that is nobody's own.
func TestSharedFolder(t *testing.T) {
	srv := newServer(t)
	a, b := newClient(t, srv), clientOf(t, srv, "bob")
	for who, rights := range map[mailbox.Grantee]string{mailbox.GranteeOf(ada): "lrswipkxtea", mailbox.Authenticated: "lrs"} {
		r, _ := mailbox.ParseRights(rights)
		if err := srv.Mail.Grant(t.Context(), team, mailbox.Inbox, mailbox.Grant{To: who, Rights: r}, mailbox.ReplaceRights); err != nil {
			t.Fatal(err)
		}
	}
	const folder = `"Shared Folders/team@example.org"`
	const plans = `"Shared Folders/team@example.org/Plans"`
	b.want(`LIST "" "Shared*"`, `* LIST (\HasNoChildren) "/" `+folder, "OK LIST completed")
	b.want("CREATE "+plans, "NO [NOPERM] you may not do this with this mailbox")
	a.do("CREATE " + plans)
	b.want(`LIST "" "Shared*"`, `* LIST (\HasChildren) "/" `+folder, `* LIST (\HasNoChildren) "/" `+plans, "OK LIST completed")
	b.want(`LIST "" "Shared%"`, `* LIST (\Noselect \HasChildren) "/" "Shared Folders"`, "OK LIST completed")
	a.do("APPEND " + plans + " {5+}\r\na: b\n")
	b.want("STATUS "+plans+" (MESSAGES)", "* STATUS "+plans+" (MESSAGES 1)", "OK STATUS completed")
	a.want("RENAME "+plans+` "Shared Folders/team@example.org/Old"`, "OK RENAME completed")
	a.want("RENAME "+folder+` "Shared Folders/team@example.org/Old/x"`, "NO [CANNOT] a mailbox stays with its owner: copy the messages")
	a.want("DELETE "+folder, "NO [CANNOT] INBOX cannot be deleted")
	b.do("SELECT " + folder)
	a.do("SELECT " + folder)
	a.do("APPEND " + folder + " {5+}\r\na: b\n")
	b.want("NOOP", "* 1 EXISTS", "OK NOOP completed")
	b.want(`STORE 1 +FLAGS (\Seen)`, `* 1 FETCH (UID 1 FLAGS (\Seen \Recent))`, "OK STORE completed")
	b.want("GETQUOTAROOT "+folder, `* QUOTAROOT `+folder+` `+folder, `* QUOTA `+folder+` (STORAGE 1 4096 MESSAGE 2 1000 MAILBOX 2 20000)`, "OK GETQUOTAROOT completed")
	b.want("SELECT "+`"Shared Folders/team@example.org/INBOX"`, "NO [NONEXISTENT] no such mailbox")
	b.want("SELECT "+`"Other Users/team@example.org/INBOX"`, "NO [NONEXISTENT] no such mailbox")
}

// TestMetadataShared looks who may read and write what is noted about a mailbox
// that two people use. RFC 5464 §3.3
func TestMetadataShared(t *testing.T) {
	srv := newServer(t)
	a, b := newClient(t, srv), clientOf(t, srv, "bob")
	a.do(`SETMETADATA INBOX (/shared/comment "ours" /private/comment "mine")`)
	const denied, hidden = "NO [NOPERM] you may not do this with this mailbox", "NO [NONEXISTENT] no such mailbox"
	both := func(private string) string {
		return "* METADATA " + adasInbox + ` ("/shared/comment" "ours" "/private/comment" ` + private + `)`
	}
	get := "GETMETADATA " + adasInbox + " (/shared/comment /private/comment)"
	b.want(get, hidden)
	grant(t, srv, "INBOX", "l")
	b.want(get, denied)
	b.want("SETMETADATA "+adasInbox+" (/private/comment \"x\")", denied)
	for _, rights := range []string{"li", "lp", "ls", "lw", "lr"} { // RFC 5464 §3.3
		grant(t, srv, "INBOX", rights)
		b.want(get, both("NIL"), "OK GETMETADATA completed")
	}
	b.want("SETMETADATA "+adasInbox+" (/private/comment \"his\" /shared/comment \"x\")", denied)
	b.want("SETMETADATA "+adasInbox+` (/private/comment "his")`, "OK SETMETADATA completed")
	b.want(get, both(`"his"`), "OK GETMETADATA completed")
	a.do("NOTIFY SET (personal (MailboxMetadataChange ServerMetadataChange))")
	grant(t, srv, "INBOX", "lrw")
	b.want("SETMETADATA "+adasInbox+` (/private/x "his" /shared/color "red")`, "OK SETMETADATA completed")
	if l := a.line(); l != `* METADATA "INBOX" "/shared/color"` {
		t.Error(l)
	}
	a2 := newClient(t, srv)
	a2.do(`SETMETADATA "" (/private/comment "mine")`)
	if l := a.line(); l != `* METADATA "" "/private/comment"` {
		t.Error(l)
	}
	// Limits
	a2.want("SETMETADATA INBOX (/private/large {33000+}\r\n"+strings.Repeat("x", 33000)+")", "NO [METADATA MAXSIZE 32768] a value is too long")
	for i := range 4 {
		var list []string
		for j := range 30 {
			list = append(list, fmt.Sprintf(`/private/n%d-%d "x"`, i, j))
		}
		out := a2.do("SETMETADATA Drafts (" + strings.Join(list, " ") + ")")
		if want := map[bool]string{false: "OK", true: "NO [METADATA TOOMANY]"}[i == 3]; !strings.HasPrefix(out[len(out)-1], want) {
			t.Error(i, out)
		}
	}
	if err := srv.Mail.Retire(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	grant(t, srv, "INBOX", "lr")
	b.want(get, both("NIL"), "OK GETMETADATA completed")
}
