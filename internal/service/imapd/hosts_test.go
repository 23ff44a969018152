package imapd

import (
	"strings"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
)

// TestNotifyOthers hears of mailboxes that others share, as far as they let one.
func TestNotifyOthers(t *testing.T) {
	srv := newServer(t)
	a := newClient(t, srv)
	a.do("CREATE Work")
	a.do("CREATE Secret")
	grant(t, srv, "INBOX", "lr")
	grant(t, srv, "Secret", "l")
	b := clientOf(t, srv, "bob")
	const work = `"Other Users/ada@example.org/Work"`
	b.want(`NOTIFY SET (subtree "Other Users" (MessageNew MessageExpunge FlagChange MailboxName MailboxMetadataChange)) (personal (MessageNew MessageExpunge))`, "OK NOTIFY completed")
	a.do("SELECT INBOX")
	v := a.validity("INBOX")
	deliver(t, srv, mailbox.Inbox, plain)
	b.told("* STATUS " + adasInbox + " (MESSAGES 1 UIDNEXT 2 UNSEEN 1)")
	a.do("NOOP")
	a.do(`STORE 1 FLAGS (\Flagged)`)
	b.told("* STATUS " + adasInbox + " (UIDVALIDITY " + v + " UNSEEN 1)")
	// What bob has no right to read, or does not know of, is not told.
	a.do("APPEND Secret {5+}\r\na: b\n")
	a.do("APPEND Work {5+}\r\na: b\n")
	a.do(`SETMETADATA INBOX (/private/comment "mine")`)
	a.do(`SETMETADATA INBOX (/shared/comment "ours")`)
	b.told("* METADATA " + adasInbox + ` "/shared/comment"`)
	// What is shared from now on is there at once, with what happens in it.
	grant(t, srv, "Work", "lr")
	b.told(`* LIST (\Noselect \HasChildren) "/" "Other Users/ada@example.org"`, `* LIST (\HasNoChildren) "/" `+work)
	a.do("APPEND Work {5+}\r\na: b\n")
	b.told("* STATUS " + work + " (MESSAGES 2 UIDNEXT 3 UNSEEN 2)")
	a.do("RENAME Work Play")
	b.told(`* LIST (\HasNoChildren) "/" "Other Users/ada@example.org/Play" ("OLDNAME" (` + work + `))`)
	a.do("RENAME Play Work")
	b.line()
	grant(t, srv, "Work", "")
	b.told(`* LIST (\Noselect \HasChildren) "/" "Other Users/ada@example.org"`, `* LIST (\NonExistent) "/" `+work)
	a.do("APPEND Work {5+}\r\na: b\n")
	// When the last is gone, so is she; and she may come back.
	grant(t, srv, "Secret", "")
	b.line()
	b.line()
	grant(t, srv, "INBOX", "")
	for range 2 { // and the level above it
		if l := b.line(); !strings.HasPrefix(l, `* LIST (\NonExistent) "/" "Other Users`) {
			t.Error(l)
		}
	}
	deliver(t, srv, mailbox.Inbox, plain)
	grant(t, srv, "INBOX", "lr")
	b.line()
	b.line()
	deliver(t, srv, mailbox.Inbox, plain)
	b.told("* STATUS " + adasInbox + " (MESSAGES 3 UIDNEXT 4 UNSEEN 3)")
}

// TestNotifyOthersOwn: what a session does itself in mailboxes of others is not told
// to it, and what is its reader's own state is told to that reader's other sessions.
func TestNotifyOthersOwn(t *testing.T) {
	srv := newServer(t)
	grant(t, srv, "INBOX", "lrswite")
	newClient(t, srv).do(`SETMETADATA INBOX (/shared/vendor/posthaste/seen "own")`)
	a, b, c := newClient(t, srv), clientOf(t, srv, "bob"), clientOf(t, srv, "bob")
	b.do("SUBSCRIBE " + adasInbox)
	const set = "NOTIFY SET STATUS (subscribed (MessageNew MessageExpunge FlagChange))"
	a.want("NOTIFY SET (personal (MessageNew MessageExpunge FlagChange))", "OK NOTIFY completed")
	v := a.validity("INBOX")
	for _, x := range []*client{b, c} {
		for _, l := range x.do(set) {
			if strings.Contains(l, "Other Users") && !strings.HasPrefix(l, "* STATUS "+adasInbox+" (MESSAGES 0 UIDNEXT 1 UIDVALIDITY "+v) {
				t.Error(l)
			}
		}
	}
	b.do("APPEND " + adasInbox + " (\\Seen) {5+}\r\na: b\n")
	a.told(`* STATUS "INBOX" (MESSAGES 1 UIDNEXT 2 UNSEEN 1)`)
	c.told("* STATUS " + adasInbox + " (MESSAGES 1 UIDNEXT 2 UIDVALIDITY " + v + " UNSEEN 0)")
	b.want("NOOP", "OK NOOP completed")
	b.do("SELECT " + adasInbox)
	b.do(`STORE 1 -FLAGS (\Seen)`)
	c.told("* STATUS " + adasInbox + " (UIDVALIDITY " + v + " UNSEEN 1)")
	a.want("NOOP", "OK NOOP completed")
}

// TestNotifyPersonal: the mailboxes of others are no personal ones, and who hears of
// nobody else listens to nobody else.
func TestNotifyPersonal(t *testing.T) {
	srv := newServer(t)
	b := clientOf(t, srv, "bob")
	grant(t, srv, "INBOX", "lr")
	b.want("NOTIFY SET (personal (MessageNew MessageExpunge))", "OK NOTIFY completed")
	deliver(t, srv, mailbox.Inbox, plain) // of another: not a personal mailbox
	b.want("NOOP", "OK NOOP completed")
	var e ears
	watch := func(a mail.AccountID) func() { return srv.Mail.Watch(a, func() {}) }
	if !e.set([]mail.AccountID{ada, bob}, watch) || e.set([]mail.AccountID{bob}, watch) {
		t.Error("who is new, and who is not")
	}
	if len(e) != 1 {
		t.Error(len(e))
	}
	e.set(nil, watch)
}
