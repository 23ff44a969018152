package imapd

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"posthaste/internal/store/mailbox"
)

// told compares what comes by itself.
func (c *client) told(lines ...string) {
	c.t.Helper()
	for _, want := range lines {
		got := strings.ReplaceAll(strings.ReplaceAll(c.line(), ` \Recent`, ""), `\Recent`, "") // depends on who looks first
		if got != want {
			c.t.Fatalf("told %q, want %q", got, want)
		}
	}
}

// quiet looks that nothing comes by itself: another thing is told first.
func (c *client) quiet(other *client) {
	c.t.Helper()
	other.do("UNSUBSCRIBE nobody")
	c.want("NOOP", "OK NOOP completed")
}

func pair(t *testing.T) (srv *Server, c, other *client) {
	srv = newServer(t)
	return srv, newClient(t, srv), newClient(t, srv)
}

// TestNotifySelected hears of the selected mailbox without a command.
func TestNotifySelected(t *testing.T) {
	srv, c, other := pair(t)
	c.do("SELECT INBOX")
	other.do("SELECT INBOX")
	c.want("NOTIFY SET (selected (MessageNew (UID BODY.PEEK[HEADER.FIELDS (X-Own)]) MessageExpunge FlagChange))", "OK NOTIFY completed")
	deliver(t, srv, mailbox.Inbox, plain)
	c.told("* 1 EXISTS", "* 1 FETCH (UID 1 BODY[HEADER.FIELDS (X-Own)] {14}\r\nX-Own: yes\r\n\r\n)")
	other.do("NOOP")
	other.do(`STORE 1 FLAGS (\Deleted)`)
	c.told(`* 1 FETCH (UID 1 FLAGS (\Deleted))`)
	other.do("EXPUNGE")
	c.told("* 1 EXPUNGE")
	// Own messages are not told again.
	v := c.validity("INBOX")
	c.want("APPEND INBOX {5+}\r\na: b\n", "* 1 EXISTS", "OK [APPENDUID "+v+" 2] APPEND completed")
	// IDLE tells the same.
	c.send("i IDLE\r\n")
	c.told("+ idling")
	other.do("NOOP")
	other.do("STORE 1 +FLAGS.SILENT ($k)")
	c.line()
	c.line()
	c.told("* 1 FETCH (UID 2 FLAGS ($k))")
	c.send("DONE\r\n")
	c.told("i OK IDLE completed")
	other.do("UID STORE 2 -FLAGS ($k)")
	c.told("* 1 FETCH (UID 2 FLAGS ())")
}

func (c *client) validity(box string) string {
	line := c.do("STATUS " + box + " (UIDVALIDITY)")[0]
	return strings.TrimSuffix(line[strings.LastIndexByte(line, ' ')+1:], ")")
}

// TestNotifyDelayed keeps sequence numbers until a command lets them change.
func TestNotifyDelayed(t *testing.T) {
	srv, c, other := pair(t)
	deliver(t, srv, mailbox.Inbox, plain, plain)
	c.do("SELECT INBOX")
	other.do("SELECT INBOX")
	c.want("NOTIFY SET (selected-delayed (MessageNew MessageExpunge))", "OK NOTIFY completed")
	other.do(`STORE 1 FLAGS (\Deleted)`)
	other.do("EXPUNGE")
	deliver(t, srv, mailbox.Inbox, plain)
	c.told("* 3 EXISTS")
	c.want("FETCH 2 UID", "* 2 FETCH (UID 2)", "OK FETCH completed")
	c.want("NOOP", "* 1 EXPUNGE", "OK NOOP completed")
	// What SELECTED may tell at once, if a command has held it back.
	c.want("NOTIFY SET (selected (MessageNew MessageExpunge))", "OK NOTIFY completed")
	other.do("NOOP")
	other.do(`STORE 1 FLAGS (\Deleted)`)
	other.do("EXPUNGE")
	c.told("* 1 EXPUNGE")
}

// TestNotifyNone is a view that stands still, and goes on.
func TestNotifyNone(t *testing.T) {
	srv, c, other := pair(t)
	deliver(t, srv, mailbox.Inbox, plain, plain)
	c.do("SELECT INBOX")
	other.do("SELECT INBOX")
	c.want("NOTIFY NONE", "OK NOTIFY completed")
	deliver(t, srv, mailbox.Inbox, plain)
	other.do(`STORE 1 FLAGS (\Deleted \Seen)`)
	other.do("EXPUNGE")
	other.do(`STORE 1 FLAGS (\Seen)`)
	c.quiet(other)
	c.want("FETCH 2 FLAGS", `* 2 FETCH (FLAGS (\Seen))`, "OK FETCH completed")
	c.want("UID FETCH 3 UID", "OK UID FETCH completed")
	c.want("NOTIFY SET (selected NONE)", "* 1 EXPUNGE", "* 2 EXISTS", `* 1 FETCH (UID 2 FLAGS (\Seen))`, "OK NOTIFY completed")
	other.do(`STORE 1 FLAGS (\Deleted)`)
	c.want("EXPUNGE", "* 1 EXPUNGE", "OK EXPUNGE completed") // its own command's answer
}

// TestNotifyElsewhere hears of mailboxes that are not selected.
func TestNotifyElsewhere(t *testing.T) {
	srv, c, other := pair(t)
	deliver(t, srv, mailbox.Inbox, plain)
	c.want("NOTIFY SET (mailboxes (Archive INBOX) (MessageNew MessageExpunge FlagChange)) (subtree a (MessageNew MessageExpunge MailboxName)) (subscribed (SubscriptionChange))", "OK NOTIFY completed")
	other.do("SELECT INBOX")
	v := other.validity("INBOX")
	other.do("COPY 1 Archive")
	c.told(`* STATUS "Archive" (MESSAGES 1 UIDNEXT 2 UNSEEN 1)`)
	other.do("COPY 1 Drafts")
	other.do(`STORE 1 FLAGS (\Seen \Deleted)`)
	c.told(`* STATUS "INBOX" (UIDVALIDITY ` + v + ` UNSEEN 0)`)
	other.do("EXPUNGE")
	c.told(`* STATUS "INBOX" (MESSAGES 0 UIDNEXT 2 UNSEEN 0)`)
	other.do("CREATE a")
	c.told(`* LIST (\HasNoChildren) "/" "a"`)
	other.do("CREATE a/b/c")
	c.told(`* LIST (\HasChildren) "/" "a"`, `* LIST (\HasChildren) "/" "a/b"`, `* LIST (\HasNoChildren) "/" "a/b/c"`)
	other.do("RENAME a/b a/d")
	c.told(`* LIST (\HasChildren) "/" "a/d" ("OLDNAME" ("a/b"))`)
	other.do("APPEND a/d/c {5+}\r\na: b\n")
	c.told(`* STATUS "a/d/c" (MESSAGES 1 UIDNEXT 2)`)
	other.do("DELETE a/d")
	c.told(`* LIST (\HasChildren) "/" "a"`, `* LIST (\Noselect \HasChildren) "/" "a/d"`)
	other.do("DELETE a/d/c")
	c.told(`* LIST (\Noselect \HasNoChildren) "/" "a/d"`, `* LIST (\NonExistent) "/" "a/d/c"`)
	other.do("SUBSCRIBE a")
	c.told(`* LIST (\Subscribed \HasChildren) "/" "a"`)
	other.do("UNSUBSCRIBE a")
	c.told(`* LIST (\HasChildren) "/" "a"`)
	c.want("ENABLE CONDSTORE", "* ENABLED CONDSTORE", "OK ENABLE completed")
	other.do("APPEND Archive {5+}\r\na: b\n")
	if l := c.line(); !strings.HasPrefix(l, `* STATUS "Archive" (MESSAGES 2 UIDNEXT 3 UNSEEN 2 HIGHESTMODSEQ `) {
		t.Error(l)
	}
	c.do("SELECT Archive") // not among other mailboxes any more, and of itself not asked for
	other.do("APPEND Archive {5+}\r\na: b\n")
	c.quiet(other)
	c.do("UNSELECT")
	other.do("APPEND Archive {5+}\r\na: b\n")
	if l := c.line(); !strings.HasPrefix(l, `* STATUS "Archive" (MESSAGES 4 `) {
		t.Error(l)
	}
}

// TestNotifyContext combines what NOTIFY and a search want to know of a new
// message. RFC 5465 §7
func TestNotifyContext(t *testing.T) {
	srv, c, other := pair(t)
	c.do("SELECT INBOX")
	other.do("SELECT INBOX")
	c.want("NOTIFY SET (selected (MessageNew (UID) MessageExpunge FlagChange))", "OK NOTIFY completed")
	c.want("SEARCH RETURN (COUNT UPDATE (BODY.PEEK[HEADER.FIELDS (SUBJECT)])) FROM bob", `* ESEARCH (TAG "t4") COUNT 0`, "OK SEARCH completed")
	deliver(t, srv, mailbox.Inbox, mixed)
	c.told("* 1 EXISTS", "* 1 FETCH (UID 1 BODY[HEADER.FIELDS (SUBJECT)] {18}\r\nSubject: parts\r\n\r\n)", `* ESEARCH (TAG "t4") ADDTO (0 1)`)
	deliver(t, srv, mailbox.Inbox, plain)
	c.told("* 2 EXISTS", "* 2 FETCH (UID 2)")
	other.do("NOOP")
	other.do(`STORE 1 FLAGS (\Deleted)`)
	c.told(`* 1 FETCH (UID 1 FLAGS (\Deleted))`)
	other.do("EXPUNGE")
	c.told(`* ESEARCH (TAG "t4") REMOVEFROM (0 1)`, "* 1 EXPUNGE")
}

// TestNotifyOverflow gives up when too much has happened at once.
func TestNotifyOverflow(t *testing.T) {
	srv, c, other := pair(t)
	c.want("NOTIFY SET (personal (MailboxName))", "OK NOTIFY completed")
	// A client that has a command under way is not told meanwhile.
	c.send("x CREATE {5}\r\n")
	c.told("+ OK")
	for i := range maxTouched + 1 {
		if _, err := srv.Mail.CreateMailbox(t.Context(), ada, fmt.Sprint("n", i), mailbox.NoRole); err != nil {
			t.Fatal(err)
		}
	}
	c.send("hello\r\n")
	for l := ""; !strings.HasPrefix(l, "* OK"); {
		if l = c.line(); strings.HasPrefix(l, "* LIST") {
			t.Fatal(l)
		} else if strings.HasPrefix(l, "* OK") && l != "* OK [NOTIFICATIONOVERFLOW] too much has happened" {
			t.Fatal(l)
		}
	}
	other.do("CREATE more")
	c.quiet(other)
}

// TestNotifyVanished speaks QRESYNC and UIDONLY.
func TestNotifyVanished(t *testing.T) {
	srv, c, other := pair(t)
	deliver(t, srv, mailbox.Inbox, plain, plain)
	c.do("ENABLE QRESYNC UIDONLY")
	c.do("SELECT INBOX")
	other.do("SELECT INBOX")
	c.do("NOTIFY SET (selected (MessageNew (FLAGS) MessageExpunge FlagChange))")
	other.do(`STORE 1 FLAGS.SILENT (\Deleted)`)
	if l := c.line(); !strings.HasPrefix(l, `* 1 UIDFETCH (FLAGS (\Deleted) MODSEQ (`) {
		t.Error(l)
	}
	other.do("EXPUNGE")
	c.told("* VANISHED 1")
	deliver(t, srv, mailbox.Inbox, plain)
	c.told("* 2 EXISTS", "* 3 UIDFETCH (FLAGS ())")
	// After UNAUTHENTICATE nothing is told.
	c.do("UNAUTHENTICATE")
	deliver(t, srv, mailbox.Inbox, plain)
	time.Sleep(10 * time.Millisecond)
	c.want("NOOP", "OK NOOP completed")
}

// A listener is a client that only listens to NOTIFY.
type listener struct {
	model
	seqs []int // UIDs by their number
}

func (l *listener) hear(t *testing.T, lines []string) {
	for _, line := range lines {
		w := strings.Fields(line)
		switch n, _ := strconv.Atoi(w[1]); {
		case len(w) < 3 || w[0] != "*":
		case w[2] == "EXPUNGE":
			delete(l.flags, l.seqs[n-1])
			l.seqs = slices.Delete(l.seqs, n-1, n)
		case w[2] == "FETCH":
			var uid int
			if _, err := fmt.Sscanf(strings.Join(w[3:5], " "), "(UID %d", &uid); err != nil {
				t.Fatal(line, err)
			}
			if n == len(l.seqs)+1 {
				l.seqs = append(l.seqs, uid)
			}
			if l.seqs[n-1] != uid {
				t.Fatalf("%q, but message %d is UID %d", line, n, l.seqs[n-1])
			}
			_, list, _ := strings.Cut(line, "FLAGS (")
			list, _, _ = strings.Cut(list, ")")
			l.flags[uid] = slices.DeleteFunc(strings.Fields(list), func(f string) bool { return f == `\Recent` })
		}
	}
}

// TestNotifyModel runs random commands in one session, while another that has
// the mailbox selected, a third that has not, and one of somebody with whom it is
// shared, only listen: they must know in the end what the model knows.
func TestNotifyModel(t *testing.T) {
	for seed := range uint64(6) {
		if seed >= 3 {
			seed += uint64(time.Now().UnixNano())
		}
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			notifyModel(t, rand.New(rand.NewPCG(seed, 5)))
		})
	}
}

func notifyModel(t *testing.T, rnd *rand.Rand) {
	srv := newServer(t)
	m := newModel()
	busy, near, far := newClient(t, srv), newClient(t, srv), newClient(t, srv)
	busy.do("SELECT INBOX")
	near.do("SELECT INBOX")
	near.do("NOTIFY SET (selected (MessageNew (FLAGS) MessageExpunge FlagChange))")
	far.do("NOTIFY SET (inboxes (MessageNew MessageExpunge FlagChange))")
	grant(t, srv, "INBOX", "lr")
	busy.do(`SETMETADATA INBOX (/shared/vendor/posthaste/seen "common")`)
	foreign := clientOf(t, srv, "bob")
	foreign.do(`NOTIFY SET (subtree "Other Users" (MessageNew MessageExpunge FlagChange))`)
	l := &listener{model: model{flags: map[int][]string{}}}
	for range 40 {
		next := m.next
		was := m.status()
		for range 1 + rnd.IntN(4) {
			modelStep(t, rnd, busy, m)
		}
		l.hear(t, near.do("NOOP"))
		if got, want := l.String(), m.of(0).String(); got != want {
			t.Fatalf("by NOTIFY\n%swant\n%s", got, want)
		}
		// What they hear last is how it is.
		for _, c := range []*client{far, foreign} {
			for now := m.status(); next != m.next || was != now; {
				if line := c.line(); strings.Contains(line, now) || strings.Contains(line, m.unseen()) && !strings.Contains(line, "MESSAGES") {
					break
				}
			}
		}
	}
}

func (m *model) unseen() string {
	n := 0
	for u := range m.flags {
		if !m.seen[0][u] {
			n++
		}
	}
	return fmt.Sprintf("UNSEEN %d)", n)
}

func (m *model) status() string {
	return fmt.Sprintf("(MESSAGES %d UIDNEXT %d ", len(m.flags), m.next)
}
