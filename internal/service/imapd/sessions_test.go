package imapd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/serve"
	"posthaste/internal/store/mailbox"
)

// TestTwoSessions looks what one session hears of what another one does, and
// when.
func TestTwoSessions(t *testing.T) {
	srv := newServer(t)
	deliver(t, srv, mailbox.Inbox, plain, plain, plain, plain)
	a, b := newClient(t, srv), newClient(t, srv)
	a.do("SELECT INBOX")
	b.do("SELECT INBOX")
	b.do(`STORE 2 +FLAGS.SILENT (\Seen)`)
	a.want("NOOP", `* 2 FETCH (UID 2 FLAGS (\Seen))`, "OK NOOP completed")
	b.do(`STORE 1,3 +FLAGS.SILENT (\Deleted)`)
	b.want("EXPUNGE", "* 1 EXPUNGE", "* 2 EXPUNGE", "OK EXPUNGE completed")
	deliver(t, srv, mailbox.Inbox, plain)
	// Numbers must not change under the eyes of these.
	a.want("FETCH 1:4 (UID FLAGS)", `* 2 FETCH (UID 2 FLAGS (\Seen))`, "* 4 FETCH (UID 4 FLAGS ())", "* 5 EXISTS",
		"OK [EXPUNGEISSUED] FETCH completed")
	a.want("SEARCH ALL", "* SEARCH 2 4 5", "OK SEARCH completed")
	a.want(`STORE 4 +FLAGS (\Flagged)`, `* 4 FETCH (UID 4 FLAGS (\Flagged))`, "OK STORE completed")
	// This may tell.
	a.want("UID FETCH 4:5 UID", "* 4 FETCH (UID 4)", "* 5 FETCH (UID 5)", "* 1 EXPUNGE", "* 2 EXPUNGE", "OK UID FETCH completed")
	a.want("FETCH 1:3 UID", "* 1 FETCH (UID 2)", "* 2 FETCH (UID 4)", "* 3 FETCH (UID 5)", "OK FETCH completed")
	b.want("NOOP", "* 3 EXISTS", `* 2 FETCH (UID 4 FLAGS (\Flagged))`, "OK NOOP completed")
	// What happens in another mailbox is nobody's business here.
	a.do("COPY 1 Trash")
	b.want("NOOP", "OK NOOP completed")
	b.do("RENAME Trash Bin")
	a.want("STATUS Bin (MESSAGES)", `* STATUS "Bin" (MESSAGES 1)`, "OK STATUS completed")
}

// TestIdle looks that an idling client hears of everything without asking.
func TestIdle(t *testing.T) {
	srv := newServer(t)
	deliver(t, srv, mailbox.Inbox, plain, plain)
	a, b := newClient(t, srv), newClient(t, srv)
	a.do("SELECT INBOX")
	b.do("SELECT INBOX")
	a.send("i IDLE\r\n")
	expect := func(want string) {
		t.Helper()
		if got := a.line(); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	expect("+ idling")
	deliver(t, srv, mailbox.Inbox, plain)
	expect("* 3 EXISTS")
	b.do(`STORE 1 +FLAGS (\Flagged)`)
	expect(`* 1 FETCH (UID 1 FLAGS (\Flagged))`)
	b.do(`STORE 2 +FLAGS.SILENT (\Deleted)`)
	expect(`* 2 FETCH (UID 2 FLAGS (\Deleted))`)
	b.do("EXPUNGE")
	expect("* 2 EXPUNGE")
	a.send("DONE\r\n")
	expect("i OK IDLE completed")
	// Again, with what follows at once.
	a.send("j IDLE\r\ndone\r\nk NOOP\r\n")
	expect("+ idling")
	expect("j OK IDLE completed")
	expect("k OK NOOP completed")
	a.send("l IDLE\r\nNONSENSE\r\n")
	expect("+ idling")
	expect("l BAD expected DONE")
	b.do("CREATE Other")
	b.do("SELECT Other")
	a.do("SELECT Other")
	a.send("m IDLE\r\n")
	expect("+ idling")
	b.do("UNSELECT")
	b.do("DELETE Other")
	expect("* BYE [NONEXISTENT] the mailbox was deleted")
}

// TestTimeouts lets clients be silent, on a clock that costs no time.
func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		last := func(c net.Conn, after string) (string, time.Duration) {
			start := time.Now()
			r := bufio.NewReader(c)
			for {
				l, err := r.ReadString('\n')
				if err != nil {
					return after, time.Since(start)
				}
				after = strings.TrimSpace(l)
			}
		}
		if l, d := last(dial(t, srv), ""); l != "* BYE you were silent for too long" || d != loginTimeout {
			t.Errorf("before login: %q after %v", l, d)
		}
		c := clientOn(t, dial(t, srv), "ada")
		c.conn.SetReadDeadline(time.Time{})
		if l, d := last(c.conn, ""); l != "* BYE you were silent for too long" || d != idleTimeout {
			t.Errorf("after login: %q after %v", l, d)
		}
		c = clientOn(t, dial(t, srv), "ada")
		c.send("a NOOP")
		c.conn.SetReadDeadline(time.Time{})
		if l, d := last(c.conn, ""); l != "* BYE you were silent for too long" || d != commandTimeout {
			t.Errorf("within a command: %q after %v", l, d)
		}
		c = clientOn(t, dial(t, srv), "ada")
		c.send("a IDLE\r\n")
		c.conn.SetReadDeadline(time.Time{})
		start := time.Now()
		c.r.ReadString('\n')
		if l, _ := c.r.ReadString('\n'); l != "* OK still here\r\n" || time.Since(start) != keepAlive {
			t.Errorf("idling: %q after %v", l, time.Since(start))
		}
		if l, d := last(c.conn, ""); l != "* BYE you were silent for too long" || d > idleTimeout || time.Since(start) != idleTimeout {
			t.Errorf("idling: %q after %v", l, d)
		}
	})
}

// TestSlowReader asks for much and does not read it.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		deliver(t, srv, mailbox.Inbox, plain+strings.Repeat("0123456789abcdef\r\n", 50_000))
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() { srv.ServeConn(t.Context(), server); close(done) }()
		c := &client2{client}
		c.say("a LOGIN ada@example.org sesame\r\nb SELECT INBOX\r\nc FETCH 1 BODY.PEEK[]\r\n")
		start := time.Now()
		<-done
		if d := time.Since(start); d > 2*serve.WriteTimeout {
			t.Errorf("the session went on for %v", d)
		}
		client.Close()
	})
}

type client2 struct{ net.Conn }

func (c *client2) say(text string) {
	bufio.NewReader(c).ReadString('\n') // the greeting
	io.WriteString(c, text)
}

func TestShutdown(t *testing.T) {
	srv := newServer(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, ln) }()
	var readers []*bufio.Reader
	for i := range 3 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r := bufio.NewReader(c)
		r.ReadString('\n')
		if i > 0 {
			io.WriteString(c, "a LOGIN ada@example.org sesame\r\n")
			r.ReadString('\n')
		}
		if i > 1 {
			io.WriteString(c, "b IDLE\r\n")
			r.ReadString('\n')
		}
		readers = append(readers, r)
	}
	cancel()
	for i, r := range readers {
		if l, err := r.ReadString('\n'); l != "* BYE [UNAVAILABLE] the server is shutting down\r\n" {
			t.Errorf("session %d: %q, %v", i, l, err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	srv := newServer(t)
	srv.Limits.PerAccount, srv.Limits.Connections = 2, 4
	newClient(t, srv)
	c := newClient(t, srv)
	third := &client{t: t, conn: dial(t, srv)}
	third.r = bufio.NewReader(third.conn)
	third.line()
	third.want("LOGIN ada@example.org sesame", "NO [LIMIT] too many sessions of this account")
	c.do("LOGOUT")
	for i := 0; third.do("LOGIN ada@example.org sesame")[0][:2] != "OK"; i++ {
		if i > 1000 {
			t.Fatal("a session that has ended still counts")
		}
		time.Sleep(time.Millisecond)
	}
	// Too many keywords, quota.
	var many []string
	for i := range maxKeywords + 1 {
		many = append(many, fmt.Sprint("k", i))
	}
	deliver(t, srv, mailbox.Inbox, plain)
	third.do("SELECT INBOX")
	third.want("STORE 1 FLAGS ("+strings.Join(many, " ")+")", "NO [LIMIT] too many keywords")
	third.want("STORE 1 FLAGS ("+strings.Join(many[:mailbox.MaxKeywords+1], " ")+")", "NO [LIMIT] a limit of this server is reached")
	for range 4 {
		third.send("x APPEND INBOX {1000000+}\r\n" + strings.Repeat("0123456789", 100_000) + "\r\n")
		for !strings.HasPrefix(third.line(), "x OK") {
		}
	}
	third.send("x APPEND INBOX {1000000}\r\n")
	if l := third.line(); l != "x NO [OVERQUOTA] there is no room left in this account" {
		t.Error(l)
	}
}

// A mirror is what a client makes of what it is told.
type mirror struct {
	*client
	seen []int // UID at each sequence number; 0 if not known yet
}

func (m *mirror) run(command string) {
	m.t.Helper()
	verb, _, _ := strings.Cut(command, " ")
	for _, l := range m.do(command) {
		w := strings.Fields(l)
		if len(w) < 3 || w[0] != "*" {
			continue
		}
		n, err := strconv.Atoi(w[1])
		if err != nil {
			continue
		}
		switch w[2] {
		case "EXISTS":
			if n < len(m.seen) {
				m.t.Fatalf("%s: %d EXISTS after %d", command, n, len(m.seen))
			}
			m.seen = append(m.seen, make([]int, n-len(m.seen))...)
		case "EXPUNGE":
			if verb == "FETCH" || verb == "STORE" || verb == "SEARCH" {
				m.t.Fatalf("%s: told %s", command, l)
			}
			m.seen = slices.Delete(m.seen, n-1, n)
		case "FETCH":
			var uid int
			if i := strings.Index(l, "UID "); i >= 0 {
				fmt.Sscanf(l[i:], "UID %d", &uid)
			}
			if n > len(m.seen) || uid != 0 && m.seen[n-1] != 0 && m.seen[n-1] != uid {
				m.t.Fatalf("%s: told %s, but number %d of %d has UID %d", command, l, n, len(m.seen), m.seen[min(n, len(m.seen))-1])
			}
			if uid != 0 {
				m.seen[n-1] = uid
			}
		}
	}
}

// TestSessionsModel lets sessions do random things to one mailbox; each must be
// told a story that makes sense, and in the end all must see the same.
func TestSessionsModel(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 3))
			srv := newServer(t)
			deliver(t, srv, mailbox.Inbox, plain, plain, plain)
			var ms []*mirror
			for range 3 {
				m := &mirror{client: newClient(t, srv)}
				m.run("SELECT INBOX")
				ms = append(ms, m)
			}
			for range 150 {
				m := ms[rnd.IntN(len(ms))]
				n := 1 + rnd.IntN(len(m.seen)+1)
				switch rnd.IntN(12) {
				case 0:
					deliver(t, srv, mailbox.Inbox, plain)
				case 1:
					m.run("NOOP")
				case 2, 3:
					m.run(fmt.Sprintf(`STORE %d +FLAGS (\Deleted k%d)`, n, rnd.IntN(5)))
				case 4:
					m.run(fmt.Sprintf(`STORE %d:* FLAGS.SILENT (\Seen)`, n))
				case 5:
					m.run("EXPUNGE")
				case 6:
					m.run(fmt.Sprintf("FETCH %d:* (UID FLAGS BODY[])", n))
				case 7:
					m.run("UID FETCH 1:* (FLAGS)")
				case 8:
					m.run(fmt.Sprintf("UID EXPUNGE %d:%d", n, n+2))
				case 9:
					m.run(fmt.Sprintf("COPY %d INBOX", n))
				case 10:
					m.run(fmt.Sprintf("MOVE %d INBOX", n))
				default:
					m.run("SEARCH ALL")
				}
			}
			var all []string
			for _, m := range ms {
				m.run("NOOP")
				got := m.do("FETCH 1:* (UID FLAGS)")
				if len(m.seen) == 0 {
					got = m.do("SEARCH ALL")
				}
				text := strings.Join(got, "\n") // \Recent is not the same for all
				all = append(all, strings.NewReplacer(` \Recent`, "", `\Recent`, "").Replace(text))
			}
			if all[0] != all[1] || all[1] != all[2] {
				t.Errorf("seed %d: the sessions end with\n%s\nand\n%s\nand\n%s", seed, all[0], all[1], all[2])
			}
		})
	}
}

// underRace tells that the race detector is on, which takes memory of its own.
var underRace bool

// TestIdleMemory looks what a session costs that waits.
func TestIdleMemory(t *testing.T) {
	const n = 400
	srv := newServer(t)
	srv.Limits.PerAccount = 2 * n
	deliver(t, srv, mailbox.Inbox, plain)
	newClient(t, srv).do("SELECT INBOX") // what all share
	before := inUse()
	cs := make([]*client, n)
	for i := range cs {
		cs[i] = clientOn(t, dial(t, srv), "ada")
		cs[i].do("SELECT INBOX")
		cs[i].do("FETCH 1 (ENVELOPE BODY.PEEK[])")
		cs[i].send("i IDLE\r\n")
		cs[i].line()
		cs[i].r = nil // the client's memory is not ours
	}
	each := int(inUse()-before) / n
	t.Logf("%d bytes for each idling session, its pipe included", each)
	if each > 18<<10 && !underRace {
		t.Errorf("an idling session takes %d bytes", each)
	}
	for _, c := range cs {
		c.conn.Close()
	}
}

func inUse() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// TestResync looks that a client with QRESYNC that was away is told of what has
// changed, and of nothing else, whatever it says it knows.
func TestResync(t *testing.T) {
	srv := newServer(t)
	deliver(t, srv, mailbox.Inbox, plain, plain, plain, plain, plain)
	a, b := newClient(t, srv), newClient(t, srv)
	a.do("ENABLE QRESYNC")
	b.do("ENABLE QRESYNC")
	b.do("SELECT INBOX")
	var validity string
	for _, l := range a.do("SELECT INBOX") {
		if rest, ok := strings.CutPrefix(l, "* OK [UIDVALIDITY "); ok {
			validity, _, _ = strings.Cut(rest, "]")
		}
	}
	a.do("UNSELECT")
	b.do(`STORE 2,3 +FLAGS (\Deleted)`)
	b.do("EXPUNGE")
	b.do(`STORE 1,3 +FLAGS (\Seen)`)
	deliver(t, srv, mailbox.Inbox, plain)
	for _, tc := range []struct{ param, want string }{
		{"6", `VANISHED (EARLIER) 2:3|1 FETCH (UID 1 FLAGS (\Seen) MODSEQ (9))|3 FETCH (UID 5 FLAGS (\Seen) MODSEQ (9))|4 FETCH (UID 6 FLAGS () MODSEQ (10))`},
		{"6 1:2,9", `VANISHED (EARLIER) 2|1 FETCH (UID 1 FLAGS (\Seen) MODSEQ (9))`},
		{"8 1:5 (1,4 1,4)", `1 FETCH (UID 1 FLAGS (\Seen) MODSEQ (9))|3 FETCH (UID 5 FLAGS (\Seen) MODSEQ (9))`},
		{"9 (1 1)", `4 FETCH (UID 6 FLAGS () MODSEQ (10))`},
		{"10", ""},
	} {
		var got []string
		for _, l := range a.do("SELECT INBOX (QRESYNC (" + validity + " " + tc.param + "))") {
			if strings.Contains(l, "VANISHED") || strings.Contains(l, "FETCH") {
				got = append(got, strings.TrimPrefix(l, "* "))
			}
		}
		if g := strings.Join(got, "|"); g != tc.want {
			t.Errorf("%s: got %s, want %s", tc.param, g, tc.want)
		}
		a.do("UNSELECT")
	}
}

// TestHeavyAppend looks that messages which are more than one commit takes are
// refused, and none of them kept.
func TestHeavyAppend(t *testing.T) {
	srv := newServer(t)
	c := newClient(t, srv)
	text := "To: " + strings.Repeat("somebody@example.org, ", 100) + "x@example.org\r\n\r\n"
	var b strings.Builder
	b.WriteString("x APPEND INBOX")
	for range 900 {
		fmt.Fprintf(&b, " {%d+}\r\n%s", len(text), text)
	}
	b.WriteString("\r\n")
	go c.send(b.String())
	if l := c.line(); l != "x NO [LIMIT] too many messages at once" {
		t.Error(l)
	}
	c.want("STATUS INBOX (MESSAGES)", `* STATUS "INBOX" (MESSAGES 0)`, "OK STATUS completed")
}
