package pop3d

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/maildrop"
)

// phone logs in with an app password.
func (c *client) phone() *client {
	c.t.Helper()
	c.say("USER ada@example.org")
	c.want("+OK now the password")
	c.say("PASS phone")
	c.want("+OK welcome")
	return c
}

// collect retrieves messages.
func (c *client) collect(numbers ...int) {
	c.t.Helper()
	for _, n := range numbers {
		c.say(fmt.Sprintf("RETR %d", n))
		if l := c.line(); !strings.HasPrefix(l, "+OK") {
			c.t.Fatalf("RETR %d: %s", n, l)
		}
		c.text()
	}
}

func (c *client) stat() string {
	c.t.Helper()
	c.say("STAT")
	n, _, _ := strings.Cut(strings.TrimPrefix(c.line(), "+OK "), " ")
	return n
}

func (c *client) quit() {
	c.t.Helper()
	c.say("QUIT")
	c.want("+OK good-bye")
	<-c.done
}

func has(t testing.TB, srv *Server, box mail.MailboxID, want string) {
	t.Helper()
	snap, err := srv.Mail.Open(t.Context(), ada, box)
	if err != nil {
		t.Fatal(err)
	}
	if got := snap.UIDs(); got.String() != want {
		t.Errorf("mailbox %d has %q, want %q", box, got.String(), want)
	}
}

// boxOf gives the mailbox of that name.
func boxOf(t testing.TB, srv *Server, name string) mail.MailboxID {
	t.Helper()
	m, err := srv.Mail.Lookup(t.Context(), ada, name)
	if err != nil {
		t.Fatal(err)
	}
	return m.ID
}

// TestDeleteAtOnce: what was collected goes at QUIT; with a client that hangs up
// it stays.
func TestDeleteAtOnce(t *testing.T) {
	srv := newServer(t)
	setPolicy(t, srv, 0, maildrop.Policy{After: maildrop.DeleteAtOnce, Removal: maildrop.Trash})
	deliver(t, srv, messages["plain"], messages["dots"], messages["open"])
	c := newClient(t, srv).login()
	c.collect(1)
	c.hangUp()
	has(t, srv, mailbox.Inbox, "1:3")
	c = newClient(t, srv).login()
	c.collect(1, 2)
	c.quit()
	has(t, srv, mailbox.Inbox, "3")
	has(t, srv, boxOf(t, srv, "Trash"), "1:2")
}

// TestTop: a look at the top is no collecting, TOP without an end is, and marks
// nothing as read.
func TestTop(t *testing.T) {
	srv := newServer(t)
	setPolicy(t, srv, 0, maildrop.Policy{After: maildrop.DeleteAtOnce, Removal: maildrop.Hide})
	deliver(t, srv, messages["plain"], messages["dots"])
	c := newClient(t, srv).login()
	for _, cmd := range []string{"TOP 1 1000", "TOP 2 99999999"} {
		c.say(cmd)
		c.line()
		c.text()
	}
	c.quit()
	if got := seen(t, srv); got != "1 2" {
		t.Errorf("seen are %s", got)
	}
	c = newClient(t, srv).login()
	c.say("LIST")
	c.line()
	if got := c.text(); got != "1 59\r\n" {
		t.Errorf("left are %q", got)
	}
	c.quit()
}

// TestKeepDays: a device that keeps mail for a week, one that keeps it for ever,
// over weeks.
func TestKeepDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		setPolicy(t, srv, 2, maildrop.Policy{After: maildrop.KeepDays, Days: 7})
		deliver(t, srv, messages["plain"], messages["dots"], messages["open"])
		left := []string{"1:3", "1:3", "1:3", "1:3", "1:3", "1:3", "1:3", "2:3", "2:3", "3", "3"}
		for day, want := range left {
			if n, err := srv.Rules.Keep(t.Context(), ada, time.Now()); err != nil {
				t.Fatal(n, err)
			}
			has(t, srv, mailbox.Inbox, want)
			c := newClient(t, srv)
			switch day {
			case 0:
				c.phone().collect(1)
			case 2:
				c.phone().collect(2, 1)
			case 3:
				c.login().collect(1, 2, 3)
			default:
				c.phone()
			}
			c.quit()
			time.Sleep(24 * time.Hour)
		}
	})
}

// TestHide: DELE takes a message from the sight of one device alone.
func TestHide(t *testing.T) {
	srv := newServer(t)
	setPolicy(t, srv, 2, maildrop.Policy{Removal: maildrop.Hide})
	deliver(t, srv, messages["plain"], messages["dots"], messages["open"])
	c := newClient(t, srv).phone()
	c.say("DELE 2")
	c.line()
	c.quit()
	has(t, srv, mailbox.Inbox, "1:3")
	c = newClient(t, srv).phone()
	if n := c.stat(); n != "2" {
		t.Errorf("the device sees %s", n)
	}
	c.say("UIDL 2")
	if l := c.line(); !strings.HasSuffix(l, ".3") {
		t.Errorf("message 2 is %s", l)
	}
	c.collect(2)
	c.quit()
	if got := seen(t, srv); got != "1 2 3s" {
		t.Errorf("seen are %s", got)
	}
	c = newClient(t, srv).login()
	if n := c.stat(); n != "3" {
		t.Errorf("another sees %s", n)
	}
	c.quit()
}

// TestWindows: only what is unread, what came since a day, or a mailbox that is
// no more.
func TestWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		deliver(t, srv, messages["plain"], messages["dots"])
		time.Sleep(48 * time.Hour)
		deliver(t, srv, messages["open"])
		for _, tt := range []struct {
			policy maildrop.Policy
			want   string
		}{
			{maildrop.Policy{Unread: true}, "3"},
			{maildrop.Policy{Unread: true}, "2"}, // one was collected
			{maildrop.Policy{Since: time.Now().Add(-24 * time.Hour)}, "1"},
			{maildrop.Policy{Unread: true, Newest: 5}, "0"},
			{maildrop.Policy{Mailboxes: []mail.MailboxID{99}}, "0"},
			{maildrop.Policy{Mailboxes: []mail.MailboxID{99, 1}}, "3"},
		} {
			setPolicy(t, srv, 0, tt.policy)
			c := newClient(t, srv).login()
			if n := c.stat(); n != tt.want {
				t.Errorf("%+v: %s messages, want %s", tt.policy, n, tt.want)
			}
			if tt.want != "0" {
				c.collect(1)
			}
			c.quit()
		}
	})
}

// TestTwoMailboxes: INBOX and Sent as one maildrop.
func TestTwoMailboxes(t *testing.T) {
	srv := newServer(t)
	sent := boxOf(t, srv, "Sent")
	deliver(t, srv, messages["plain"], messages["dots"], messages["open"], messages["bare"])
	if _, err := srv.Mail.Move(t.Context(), ada, mailbox.Inbox, sent, mail.UIDs(2, 4)); err != nil {
		t.Fatal(err)
	}
	setPolicy(t, srv, 0, maildrop.Policy{Mailboxes: []mail.MailboxID{mailbox.Inbox, sent}})
	c := newClient(t, srv).login()
	c.say("LIST")
	c.line()
	if got := c.text(); got != "1 59\r\n2 33\r\n3 47\r\n4 34\r\n" {
		t.Errorf("LIST: %q", got)
	}
	for i, want := range []string{"plain", "open", "dots"} {
		c.say(fmt.Sprintf("RETR %d", i+1))
		c.line()
		if got := c.text(); got != messages[want] && got != messages[want]+"\r\n" {
			t.Errorf("message %d: %q", i+1, got)
		}
	}
	c.say("UIDL")
	c.line()
	ids := map[string]bool{}
	for l := range strings.Lines(c.text()) {
		_, id, _ := strings.Cut(l, " ")
		ids[id] = true
	}
	if len(ids) != 4 {
		t.Errorf("unique ids %v", ids)
	}
	for _, n := range []string{"1", "4"} {
		c.say("DELE " + n)
		c.line()
	}
	c.quit()
	has(t, srv, mailbox.Inbox, "3")
	has(t, srv, sent, "1")
	if got := seen(t, srv); got != "3s" {
		t.Errorf("seen are %s", got)
	}
	list, err := srv.Rules.Visits(t.Context(), ada, 10)
	if err != nil || len(list) != 1 || list[0].Collected != 3 || list[0].Removed != 2 || len(list[0].Boxes) != 2 || list[0].Bytes != 59+33+47 {
		t.Errorf("the ledger has %+v, %v", list, err)
	}

	setPolicy(t, srv, 0, maildrop.Policy{Mailboxes: []mail.MailboxID{mailbox.Inbox, sent}, Newest: 1})
	c = newClient(t, srv).login()
	if n := c.stat(); n != "1" {
		t.Errorf("the newest one of both are %s", n)
	}
	c.quit()
}

// TestLoginDelay: each device waits for itself.
func TestLoginDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		srv.LoginDelay = time.Minute
		newClient(t, srv).login().quit()
		newClient(t, srv).phone().quit()
		time.Sleep(time.Minute - time.Second)
		c := newClient(t, srv)
		c.say("USER ada@example.org")
		c.want("+OK now the password")
		c.say("PASS sesame")
		c.want("-ERR [LOGIN-DELAY] you may come once in 1m0s")
		time.Sleep(time.Second)
		c.login().quit()
	})
}

// TestBroughtIDs: messages that moved in keep the unique ids that clients know,
// one for each.
func TestBroughtIDs(t *testing.T) {
	srv := newServer(t)
	m, err := srv.Mail.Lookup(t.Context(), ada, mailbox.InboxName)
	if err != nil {
		t.Fatal(err)
	}
	third := fmt.Sprintf("%d.3", m.UIDValidity)
	for _, id := range []string{"000000015f2c9b4e", "", third, "000000015f2c9b4e", third} {
		p, err := srv.Mail.PrepareMessage(t.Context(), mail.NewTraceID(time.Now()), strings.NewReader(messages["plain"]))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := srv.Mail.AppendMessages(t.Context(), ada, mailbox.Inbox, mailbox.Incoming{Prepared: p, UIDL: id}); err != nil {
			t.Fatal(err)
		}
	}
	own := func(uid int) string { return fmt.Sprintf("%d.%d", m.UIDValidity, uid) }
	c := newClient(t, srv).login()
	c.say("UIDL")
	c.line()
	want := fmt.Sprintf("1 000000015f2c9b4e\r\n2 %s\r\n3 %s\r\n4 %s\r\n5 %s\r\n", own(2), third, own(4), own(5))
	if got := c.text(); got != want {
		t.Errorf("ids are\n%s, want\n%s", got, want)
	}
	c.say("UIDL 1")
	c.want("+OK 1 000000015f2c9b4e")
	c.quit()
}
