package imapd

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/body"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
	"posthaste/test/network"
	"posthaste/test/script"
)

const (
	ada mail.AccountID = 7
	bob mail.AccountID = 8
	eve mail.AccountID = 9

	team mail.AccountID = 10 // a shared folder
)

// people is a sasl.Verifier that knows ada, bob and eve, whose password is
// "sesame".
type people struct{}

var accounts = map[mail.AccountID]string{ada: "ada", bob: "bob", eve: "eve", team: "team"}

func (people) who(user string) sasl.Identity {
	for id, name := range accounts {
		if id != team && user == name+"@example.org" {
			return sasl.Identity{Account: id, Login: mail.Address{Local: name, Domain: "example.org"}}
		}
	}
	return sasl.Identity{}
}

func (people) Account(_ context.Context, id mail.AccountID) (directory.Account, error) {
	if accounts[id] == "" {
		return directory.Account{}, mail.ErrNotFound
	}
	return directory.Account{ID: id, Address: mail.Address{Local: accounts[id], Domain: "example.org"}, Shared: id == team, Admin: id == eve}, nil
}

func (p people) Known(ctx context.Context, a mail.Address) (directory.Account, error) {
	if a.Local == "team" {
		return p.Account(ctx, team)
	}
	return p.Account(ctx, p.who(strings.ToLower(a.String())).Account)
}

func (p people) Password(_ context.Context, authzid, user, password string) (sasl.Identity, error) {
	if id := p.who(user); id.Account != 0 && password == "sesame" && authzid == "" {
		return id, nil
	}
	return sasl.Identity{}, sasl.ErrFailed
}

func (p people) ScramKeys(_ context.Context, user string) (sasl.ScramKeys, error) {
	k, err := sasl.NewScramKeys("sesame", []byte("0123456789abcdef"), 4096)
	k.Identity = p.who(user)
	return k, err
}

func (people) ScramProved(_ context.Context, _, _ string, k sasl.ScramKeys) (sasl.Identity, error) {
	if k.Identity.Account == 0 {
		return sasl.Identity{}, sasl.ErrFailed
	}
	return k.Identity, nil
}

func (people) ScramFailed(context.Context, string) {}

// newServer gives a server with three accounts; the store is checked at the end.
func newServer(t testing.TB) *Server {
	t.Helper()
	db := kv.Strict(memkv.New())
	st := &mailbox.Store{DB: db, Bodies: &body.Store{DB: db, Blobs: memblob.New()}}
	for id := range accounts {
		err := db.Update(t.Context(), kv.Plan{Locks: []kv.Lock{mailbox.Lock(id)}}, func(tx kv.Tx) error {
			if id == team {
				return st.CreateShared(tx, id, 4<<20, 1000)
			}
			return st.Create(tx, id, 4<<20, 1000)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for id := range accounts {
			wrong, err := st.Check(context.Background(), id, func(context.Context, *body.Reader) error { return nil })
			if err != nil {
				t.Error(err)
			}
			for _, w := range wrong {
				t.Error(w)
			}
		}
	})
	return &Server{
		Mail:      st,
		Auth:      func(mail.Peer) sasl.Verifier { return people{} },
		People:    people{},
		ClearAuth: true,
		Log:       slog.New(slog.NewTextHandler(testLog{t}, nil)),
		Limits:    Limits{Message: 1 << 20},
	}
}

// testLog fails the test for whatever we should not have failed at.
type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "level=ERROR") {
		l.t.Errorf("log: %s", b)
	}
	return len(b), nil
}

// dial gives the client's end of a session.
func dial(t testing.TB, srv *Server) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		srv.ServeConn(ctx, server)
	}()
	t.Cleanup(func() {
		client.Close()
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("the session does not end")
		}
	})
	return client
}

// A socket is the end of a pipe that takes what is written to it though nobody reads, as
// the machine's do: a client may send a command while it is told news.
type socket struct {
	net.Conn
	in   chan []byte
	rest []byte
}

func newSocket(c net.Conn) *socket {
	s := &socket{Conn: c, in: make(chan []byte, 1000)}
	go func() {
		defer close(s.in)
		for {
			b := make([]byte, 4<<10)
			n, err := c.Read(b)
			if err != nil {
				return
			}
			s.in <- b[:n]
		}
	}()
	return s
}

func (s *socket) SetReadDeadline(time.Time) error { return nil }

func (s *socket) Read(p []byte) (int, error) {
	for ok := true; len(s.rest) == 0; {
		select {
		case s.rest, ok = <-s.in:
		case <-time.After(10 * time.Second):
			return 0, os.ErrDeadlineExceeded
		}
		if !ok {
			return 0, io.EOF
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// deliver puts messages into a mailbox as the mda does.
func deliver(t testing.TB, srv *Server, box mail.MailboxID, texts ...string) {
	t.Helper()
	for _, text := range texts {
		p, err := srv.Mail.PrepareMessage(t.Context(), mail.NewTraceID(time.Now()), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		date := time.Date(2026, 11, 21, 10, 20, 30, 0, time.FixedZone("", 3600))
		if _, err := srv.Mail.AppendMessages(t.Context(), ada, box, mailbox.Incoming{Prepared: p, Date: date}); err != nil {
			t.Fatal(err)
		}
		snap, err := srv.Mail.Open(t.Context(), ada, box)
		if err != nil {
			t.Fatal(err)
		}
		srv.Mail.ClaimRecent(ada, snap) // as if a session had been told
	}
}

const plain = "From: Ada <ada@example.org>\r\nTo: bob@example.net\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n" +
	"Date: Tue, 3 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nX-Own: yes\r\n\r\nHello there.\r\nSecond line.\r\n"

const mixed = "From: Bob <bob@example.net>\r\nSubject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n" +
	"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=CE=93=CE=B5=CE=B9=CE=AC soft=\r\n break\r\n" +
	"--b\r\nContent-Type: application/octet-stream; name=x.bin\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=x.bin\r\n\r\nAAEC/w==\r\n" +
	"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nInner body.\r\n--b--\r\n"

// TestScripts plays the dialogues in testdata. A line "# deliver plain mixed"
// at the top says what is in INBOX at the beginning, "# tls" that STARTTLS is
// to be had and login in clear is not, "# messages 3" how many messages a command
// may be about, "# saved 3" how many it may save.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogues", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			srv := newServer(t)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				words := strings.Fields(line)
				if len(words) < 2 || words[0] != "#" {
					break
				}
				switch words[1] {
				case "deliver":
					for _, w := range words[2:] {
						deliver(t, srv, mailbox.Inbox, map[string]string{"plain": plain, "mixed": mixed}[w])
					}
				case "messages":
					srv.Limits.Messages, _ = strconv.Atoi(words[2])
				case "saved":
					srv.Limits.Saved, _ = strconv.Atoi(words[2])
				case "tls":
					srv.TLS, srv.ClearAuth = certificate(), false
				}
			}
			script.Run(t, dial(t, srv), file)
		})
	}
}

func certificate() *tls.Config {
	cert, _ := network.Certificate("imap.example.org")
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

// A client speaks to a session for tests that a script cannot say.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	tag  int
	box  string // what the client calls ada's INBOX
}

func newClient(t testing.TB, srv *Server) *client { return clientOf(t, srv, "ada") }

func clientOf(t testing.TB, srv *Server, who string) *client {
	t.Helper()
	return clientOn(t, newSocket(dial(t, srv)), who)
}

func clientOn(t testing.TB, conn net.Conn, who string) *client {
	t.Helper()
	c := &client{t: t, conn: conn, box: "INBOX"}
	c.r = bufio.NewReader(c.conn)
	c.line()
	c.do("LOGIN " + who + "@example.org sesame")
	return c
}

func (c *client) line() string {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	l, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read: %q, %v", l, err)
	}
	l = strings.TrimSuffix(l, "\r\n")
	if strings.HasPrefix(l, "* ") && strings.HasSuffix(l, " RECENT") {
		// To whom messages are recent depends on who looks first, and deliver is
		// one of them; the dialogues in testdata look at it.
		return c.line()
	}
	// A literal belongs to the line.
	if i := strings.LastIndexByte(l, '{'); i >= 0 && strings.HasSuffix(l, "}") {
		var n int
		if _, err := fmt.Sscanf(l[i:], "{%d}", &n); err == nil {
			b := make([]byte, n)
			if _, err := io.ReadFull(c.r, b); err != nil {
				c.t.Fatal(err)
			}
			return l + "\r\n" + string(b) + c.line()
		}
	}
	return l
}

func (c *client) send(text string) {
	c.t.Helper()
	c.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// do sends a command and gives its untagged answers; the last is the tagged one
// without its tag.
func (c *client) do(command string) []string {
	c.t.Helper()
	c.tag++
	tag := fmt.Sprintf("t%d", c.tag)
	c.send(tag + " " + command + "\r\n")
	var out []string
	for {
		l := c.line()
		if rest, ok := strings.CutPrefix(l, tag+" "); ok {
			return append(out, rest)
		}
		out = append(out, l)
	}
}

// want sends a command and compares all that comes back.
func (c *client) want(command string, answers ...string) {
	c.t.Helper()
	if got := c.do(command); strings.Join(got, "\n") != strings.Join(answers, "\n") {
		c.t.Errorf("%s: got\n%s\nwant\n%s", command, strings.Join(got, "\n"), strings.Join(answers, "\n"))
	}
}

// TestEveryCommand looks that the Decoder and the session know the same names.
func TestEveryCommand(t *testing.T) {
	for name := range commands {
		if !imap.Names(name) {
			t.Errorf("%s is not read by the Decoder", name)
		}
	}
	if len(commands) != imap.Commands() {
		t.Errorf("the Decoder reads %d commands, we do %d", imap.Commands(), len(commands))
	}
}
