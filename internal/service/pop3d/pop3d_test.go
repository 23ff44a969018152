package pop3d

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/serve"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/proto/pop3"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/body"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/maildrop"
	"posthaste/test/network"
	"posthaste/test/script"
)

const ada mail.AccountID = 7

// people is a sasl.Verifier that knows ada, whose password is "sesame".
type people struct{}

func (people) who(user string) sasl.Identity {
	if user != "ada@example.org" {
		return sasl.Identity{}
	}
	return sasl.Identity{Account: ada, Login: mail.Address{Local: "ada", Domain: "example.org"}}
}

func (p people) Password(_ context.Context, authzid, user, password string) (sasl.Identity, error) {
	if user == "broken" {
		return sasl.Identity{}, errors.New("the directory is on fire")
	}
	if user == "hasty" {
		return sasl.Identity{}, mail.Refuse("4.7.0", "too many attempts, wait a little", "")
	}
	id := p.who(user)
	if id.Account != 0 && password == "sesame" && authzid == "" {
		return id, nil
	}
	if id.Account != 0 && password == "phone" { // an app password
		id.Device = 2
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

// newServer gives a server with one account; the store is checked at the end.
func newServer(t testing.TB) *Server {
	t.Helper()
	return newServerOn(t, kv.Strict(memkv.New()))
}

func newServerOn(t testing.TB, db kv.Store) *Server {
	t.Helper()
	st := &mailbox.Store{DB: db, Bodies: &body.Store{DB: db, Blobs: memblob.New()}}
	err := db.Update(t.Context(), kv.Plan{Locks: []kv.Lock{mailbox.Lock(ada)}}, func(tx kv.Tx) error {
		return st.Create(tx, ada, 0, 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		wrong, err := st.Check(context.Background(), ada, func(context.Context, *body.Reader) error { return nil })
		if err != nil {
			t.Error(err)
		}
		for _, w := range wrong {
			t.Error(w)
		}
	})
	return &Server{
		Mail:      st,
		Rules:     &maildrop.Store{DB: db, Mail: st},
		Drops:     new(Maildrops),
		Auth:      func(mail.Peer) sasl.Verifier { return people{} },
		ClearAuth: true,
		Log:       slog.New(slog.NewTextHandler(testLog{t}, nil)),
	}
}

// testLog fails the test for whatever we should not have failed at.
type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "level=ERROR") && !strings.Contains(string(b), "on fire") {
		l.t.Errorf("log: %s", b)
	}
	return len(b), nil
}

// dial gives the client's end of a session, and what is closed when it ends.
func dial(t testing.TB, srv *Server) (net.Conn, <-chan struct{}) {
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
	return client, done
}

func deliver(t testing.TB, srv *Server, texts ...string) {
	t.Helper()
	var all []mailbox.Incoming
	for _, text := range texts {
		p, err := srv.Mail.PrepareMessage(t.Context(), mail.NewTraceID(time.Now()), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, mailbox.Incoming{Prepared: p})
	}
	for len(all) > 0 {
		n := min(len(all), 50)
		if _, err := srv.Mail.AppendMessages(t.Context(), ada, mailbox.Inbox, all[:n]...); err != nil {
			t.Fatal(err)
		}
		all = all[n:]
	}
}

var messages = map[string]string{
	"plain": "Subject: plain\r\n\r\nHello there.\r\nSecond line.\r\nThird line.\r\n",
	"dots":  "Subject: dots\r\n\r\n.\r\n..\r\nx.\r\n.leading dot\r\nend\r\n",
	"bare":  "Subject: bare\n\none\ntwo\r\nthree",
	"intl":  "From: Zoë <zoë@bücher.example>\r\nSubject: Grüße\r\nDate: as it was\r\n\r\nGrüße auch hier.\r\n",
	"open":  "Subject: open\r\n\r\nwithout an end",
}

// TestScripts plays the dialogues in testdata. A line "# deliver plain dots"
// at the top says what is in INBOX at the beginning, "# tls" that STLS is to be
// had and login in clear is not, "# implicit" that TLS comes first, "# policy"
// gives the account one of those below, and "# delay" makes clients wait.
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
						deliver(t, srv, messages[w])
					}
				case "policy":
					setPolicy(t, srv, 0, policies[words[2]])
				case "delay":
					srv.LoginDelay = time.Minute
				case "tls", "implicit":
					srv.TLS, srv.ClearAuth, srv.ImplicitTLS = certificate(), false, words[1] == "implicit"
				}
			}
			c, _ := dial(t, srv)
			script.Run(t, c, file)
		})
	}
}

var policies = map[string]maildrop.Policy{
	"delete": {After: maildrop.DeleteAtOnce},
	"days":   {After: maildrop.KeepDays, Days: 30},
	"newest": {Newest: 2},
}

func setPolicy(t testing.TB, srv *Server, d maildrop.Device, p maildrop.Policy) {
	t.Helper()
	if err := srv.Rules.SetPolicy(t.Context(), ada, d, p); err != nil {
		t.Fatal(err)
	}
}

func certificate() *tls.Config {
	cert, _ := network.Certificate("pop.example.org")
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

// A client speaks to a session for tests that a script cannot say.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	done <-chan struct{}
}

func newClient(t testing.TB, srv *Server) *client {
	t.Helper()
	conn, done := dial(t, srv)
	c := &client{t: t, conn: conn, r: bufio.NewReader(conn), done: done}
	c.want("+OK Posthaste is ready")
	return c
}

func (c *client) login() *client {
	c.t.Helper()
	c.say("USER ada@example.org")
	c.want("+OK now the password")
	c.say("PASS sesame")
	c.want("+OK welcome")
	return c
}

func (c *client) say(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, line+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) line() string {
	c.t.Helper()
	l, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read: %q, %v", l, err)
	}
	return strings.TrimSuffix(l, "\r\n")
}

func (c *client) want(line string) {
	c.t.Helper()
	if got := c.line(); got != line {
		c.t.Fatalf("got %q, want %q", got, line)
	}
}

// text gives the rest of an answer of many lines, with single dots.
func (c *client) text() string {
	c.t.Helper()
	var b strings.Builder
	for {
		l := c.line()
		if l == "." {
			return b.String()
		}
		b.WriteString(strings.TrimPrefix(l, ".") + "\r\n")
	}
}

func (c *client) hangUp() {
	c.conn.Close()
	<-c.done
}

func seen(t testing.TB, srv *Server) (out string) {
	t.Helper()
	snap, err := srv.Mail.Open(t.Context(), ada, mailbox.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range snap.Rows(0) {
		out += fmt.Sprintf("%d", r.UID)
		if r.Flags&mailbox.Seen != 0 {
			out += "s"
		}
		out += " "
	}
	return strings.TrimSpace(out)
}

// TestHangUp: a session that is lost deletes nothing, marks what it has
// retrieved, and the maildrop is free.
func TestHangUp(t *testing.T) {
	srv := newServer(t)
	deliver(t, srv, messages["plain"], messages["dots"], messages["open"])
	c := newClient(t, srv).login()
	c.say("DELE 1")
	c.line()
	c.say("RETR 2")
	c.line()
	c.text()
	c.say("TOP 3 5")
	c.line()
	c.text()
	c.hangUp()
	if got := seen(t, srv); got != "1 2s 3" {
		t.Errorf("after hanging up: %s", got)
	}
	c = newClient(t, srv).login()
	c.say("RETR 3")
	c.line()
	c.text()
	c.say("DELE 3")
	c.line()
	c.say("DELE 1")
	c.line()
	c.say("QUIT")
	c.want("+OK good-bye")
	<-c.done
	if got := seen(t, srv); got != "2s" {
		t.Errorf("after QUIT: %s", got)
	}
	// Numbers begin again, ids stay.
	c = newClient(t, srv).login()
	c.say("UIDL 1")
	if got := c.line(); !strings.HasSuffix(got, ".2") {
		t.Errorf("UIDL: %s", got)
	}
}

// TestInUse: one session at a time has the maildrop, on whichever server of the
// process; one that goes makes room for one that waits.
func TestInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		other := newServerOn(t, kv.Strict(memkv.New()))
		other.Drops, other.Mail, other.Rules = srv.Drops, srv.Mail, srv.Rules
		first := newClient(t, srv).login()
		second := newClient(t, other)
		begin := time.Now()
		second.say("AUTH PLAIN AGFkYUBleGFtcGxlLm9yZwBzZXNhbWU=")
		second.want("-ERR [IN-USE] another session has this maildrop")
		if d := time.Since(begin); d != patience {
			t.Errorf("refused after %v", d)
		}
		begin = time.Now()
		second.say("AUTH PLAIN AGFkYUBleGFtcGxlLm9yZwBzZXNhbWU=")
		time.Sleep(time.Second)
		first.hangUp()
		second.want("+OK welcome")
		if d := time.Since(begin); d != time.Second {
			t.Errorf("let in after %v", d)
		}
		second.hangUp()
	})
}

// TestOtherHands: INBOX changes under a session that shows it as it was.
func TestOtherHands(t *testing.T) {
	srv := newServer(t)
	deliver(t, srv, messages["plain"], messages["dots"], messages["open"])
	c := newClient(t, srv).login()
	deliver(t, srv, messages["bare"])
	if _, _, err := srv.Mail.Expunge(t.Context(), ada, mailbox.Inbox, mail.UIDs(2), mailbox.ExpungeAll); err != nil {
		t.Fatal(err)
	}
	c.say("STAT")
	c.want("+OK 3 139")
	c.say("RETR 2")
	c.want("+OK 47 octets")
	if got := c.text(); got != messages["dots"] {
		t.Errorf("got %q", got)
	}
	for _, n := range []string{"1", "2"} {
		c.say("DELE " + n)
		c.want("+OK deleted when you QUIT")
	}
	c.say("QUIT")
	c.want("+OK good-bye")
	<-c.done
	if got := seen(t, srv); got != "3 4" {
		t.Errorf("after QUIT: %s", got)
	}
}

// TestErrors maps what the verifier says.
func TestErrors(t *testing.T) {
	c := newClient(t, newServer(t))
	for user, want := range map[string]string{
		"broken": "-ERR [SYS/TEMP] local error, try again later",
		"hasty":  "-ERR [SYS/TEMP] too many attempts, wait a little",
	} {
		c.say("USER " + user)
		c.want("+OK now the password")
		c.say("PASS x")
		c.want(want)
	}
}

// A stuckStore refuses to write when told to.
type stuckStore struct {
	kv.Store
	stuck bool
}

func (s *stuckStore) Update(ctx context.Context, p kv.Plan, fn func(kv.Tx) error) error {
	if s.stuck {
		return errors.New("the disk is on fire")
	}
	return s.Store.Update(ctx, p, fn)
}

// TestQuitFails: the client is told when its deletions did not take place.
func TestQuitFails(t *testing.T) {
	db := &stuckStore{Store: kv.Strict(memkv.New())}
	srv := newServerOn(t, db)
	deliver(t, srv, messages["plain"], messages["dots"])
	c := newClient(t, srv).login()
	c.say("DELE 1")
	c.want("+OK deleted when you QUIT")
	db.stuck = true
	c.say("QUIT")
	c.want("-ERR 1 deleted messages not removed")
	<-c.done
	db.stuck = false
	newClient(t, srv).login().say("STAT")
}

// TestLargeAndMany: sizes are those of what is sent, whatever the size, and
// however the commands come.
func TestLargeAndMany(t *testing.T) {
	srv := newServer(t)
	var want []string
	for i := range 100 {
		n := []int{1, 30, 200, 5000}[i%4]
		text := fmt.Sprintf("Subject: %d\r\n\r\n%s", i, strings.Repeat(fmt.Sprintf(".%d and so on it goes\r\n", i), n))
		want = append(want, text)
	}
	deliver(t, srv, want...)
	c := newClient(t, srv).login()
	var all strings.Builder
	for i := range want {
		fmt.Fprintf(&all, "RETR %d\r\n", i+1)
	}
	go io.WriteString(c.conn, all.String())
	for i, text := range want {
		c.want(fmt.Sprintf("+OK %d octets", len(text)))
		if got := c.text(); got != text {
			t.Fatalf("message %d: %d bytes, want %d", i+1, len(got), len(text))
		}
	}
	c.say("TOP 4 2")
	c.line()
	if got := c.text(); got != "Subject: 3\r\n\r\n.3 and so on it goes\r\n.3 and so on it goes\r\n" {
		t.Errorf("TOP: %q", got)
	}
	// Backwards, and with breaks in which all buffers are given back.
	for _, i := range []int{99, 98, 0, 1, 2, 50, 51} {
		c.say(fmt.Sprintf("RETR %d", i+1))
		c.line()
		if got := c.text(); got != want[i] {
			t.Errorf("message %d: %d bytes, want %d", i+1, len(got), len(want[i]))
		}
	}
}

// TestIdle: buffers are given back soon, and the session ends after ten minutes
// without a word; before login, after two.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		deliver(t, srv, messages["plain"])
		begin := time.Now()
		c := newClient(t, srv)
		if _, err := c.r.ReadByte(); err != io.EOF {
			t.Errorf("read: %v", err)
		}
		if d := time.Since(begin); d != loginTimeout {
			t.Errorf("without login ended after %v", d)
		}
		c = newClient(t, srv).login()
		c.say("RETR 1")
		c.line()
		c.text()
		begin = time.Now()
		if _, err := c.r.ReadByte(); err != io.EOF {
			t.Errorf("read: %v", err)
		}
		if d := time.Since(begin); d != idleTimeout {
			t.Errorf("ended after %v", d)
		}
		<-c.done
		if got := seen(t, srv); got != "1s" {
			t.Errorf("after the time was up: %s", got)
		}
	})
}

// TestSlowReader: a client that does not take its mail is left.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		deliver(t, srv, "Subject: x\r\n\r\n"+strings.Repeat("many words\r\n", 100_000))
		c := newClient(t, srv).login()
		begin := time.Now()
		c.say("RETR 1")
		<-c.done
		if d := time.Since(begin); d != serve.WriteTimeout {
			t.Errorf("left after %v", d)
		}
	})
}

// TestStop: an idle session is told when the server stops.
func TestStop(t *testing.T) {
	srv := newServer(t)
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.ServeConn(ctx, theirs)
	}()
	r := bufio.NewReader(ours)
	r.ReadString('\n')
	cancel()
	if l, err := r.ReadString('\n'); l != "-ERR [SYS/TEMP] the server is shutting down\r\n" {
		t.Errorf("%q, %v", l, err)
	}
	<-done
}

// TestLimits: too many connections are refused.
func TestLimits(t *testing.T) {
	srv := newServer(t)
	srv.Limits.Connections = 1
	refused := 0
	srv.Refused = func() { refused++ }
	newClient(t, srv)
	conn, _ := dial(t, srv)
	if l, err := bufio.NewReader(conn).ReadString('\n'); l != "-ERR [SYS/TEMP] too many connections\r\n" || refused != 1 {
		t.Errorf("%q, %v; %d are known of", l, err, refused)
	}
}

// TestScram logs in with our own client, over TLS.
func TestScram(t *testing.T) {
	srv := newServer(t)
	srv.TLS, srv.ImplicitTLS, srv.ClearAuth = certificate(), true, false
	for _, mech := range []string{sasl.ScramPlus, sasl.Scram, sasl.Plain, sasl.Login} {
		if srv.Offer = sasl.Unbound; mech == sasl.ScramPlus {
			srv.Offer = sasl.Bound
		}
		raw, done := dial(t, srv)
		tc := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		c := &client{t: t, conn: tc, r: bufio.NewReader(tc), done: done}
		c.want("+OK Posthaste is ready")
		c.say("CAPA")
		if offered := c.text(); strings.Contains(offered, sasl.ScramPlus) != (srv.Offer == sasl.Bound) {
			t.Errorf("offered %s", offered)
		}
		cs := tc.ConnectionState()
		key, err := cs.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
		if err != nil {
			t.Fatal(err)
		}
		a, err := sasl.NewClient(mech, sasl.Credentials{User: "ada@example.org", Password: "sesame"}, sasl.ChannelBinding{Exporter: key})
		if err != nil {
			t.Fatal(err)
		}
		c.say("AUTH " + mech)
		for {
			l := c.line()
			challenge, ok := strings.CutPrefix(l, "+ ")
			if !ok {
				if l != "+OK welcome" {
					t.Errorf("%s: %s", mech, l)
				}
				break
			}
			raw, err := pop3.ParseResponse([]byte(challenge))
			if err != nil {
				t.Fatal(err)
			}
			response, err := a.Next(raw)
			if err != nil {
				t.Fatal(err)
			}
			c.say(strings.TrimSpace(string(pop3.AppendChallenge(nil, response))[2:]))
		}
		c.say("QUIT")
		c.want("+OK good-bye")
		io.Copy(io.Discard, tc) // TLS says good-bye, too
		c.hangUp()
	}
}

// TestEveryCommand looks that what is parsed is done.
func TestEveryCommand(t *testing.T) {
	for _, v := range []pop3.Verb{pop3.AUTH, pop3.CAPA, pop3.DELE, pop3.LANG, pop3.LIST, pop3.NOOP, pop3.PASS, pop3.QUIT, pop3.RETR, pop3.RSET, pop3.STAT, pop3.STLS, pop3.TOP, pop3.UIDL, pop3.USER, pop3.UTF8} {
		if commands[v] == nil {
			t.Errorf("%s is parsed and not done", v)
		}
	}
}

// A tape is a connection whose other end has said all there is to say.
type tape struct {
	net.Conn
	in  io.Reader
	out strings.Builder
}

func (c *tape) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *tape) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *tape) Close() error                     { return nil }
func (c *tape) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }
func (c *tape) SetDeadline(time.Time) error      { return nil }
func (c *tape) SetReadDeadline(time.Time) error  { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }

// FuzzSession says whatever comes to mind. Every answer must begin with a
// status, nothing in it may be a bare CR or LF, and the session must end.
func FuzzSession(f *testing.F) {
	f.Add("USER ada@example.org\r\nPASS sesame\r\nSTAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nTOP 2 1\r\nDELE 1\r\nRSET\r\nQUIT\r\n")
	f.Add("AUTH PLAIN AGFkYUBleGFtcGxlLm9yZwBzZXNhbWU=\r\nRETR 2\nRETR 3\r\nDELE 3\r\nLIST 3\r\n")
	f.Add("AUTH LOGIN\r\neA==\r\n*\r\nCAPA\r\nAUTH\r\nSTLS\r\nUSER x\r\nPASS y\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		srv := newServer(t)
		deliver(t, srv, messages["plain"], messages["dots"])
		c := &tape{in: strings.NewReader(in)}
		srv.ServeConn(context.Background(), c)
		if srv.Drops.held[ada] != nil {
			t.Errorf("%q: the maildrop is still held", in)
		}
		for _, l := range strings.SplitAfter(c.out.String(), "\r\n") {
			if strings.Count(l, "\r") > 1 || strings.Count(l, "\n") > 1 || l != "" && !strings.HasSuffix(l, "\r\n") {
				t.Errorf("%q: answered %q", in, l)
			}
		}
	})
}

// BenchmarkDrain retrieves messages of 4 KB, pipelined, over TCP.
func BenchmarkDrain(b *testing.B) {
	srv := newServerOn(b, memkv.New())
	text := "Subject: x\r\n\r\n" + strings.Repeat("Some words that are in the line, about as many as usual.\r\n", 70)
	texts := make([]string, 1000)
	for i := range texts {
		texts[i] = text
	}
	deliver(b, srv, texts...)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Skip(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, ln) }()
	defer func() {
		cancel()
		<-done
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	c := &client{t: b, conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	c.want("+OK Posthaste is ready")
	c.login()
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	b.ResetTimer()
	go func() {
		w := bufio.NewWriterSize(conn, 16<<10)
		for i := range b.N {
			fmt.Fprintf(w, "RETR %d\r\n", i%1000+1)
		}
		w.WriteString("NOOP\r\n")
		w.Flush()
	}()
	want := int64(b.N) * int64(len(text)+len("+OK 4074 octets\r\n.\r\n"))
	if _, err := io.CopyN(io.Discard, c.r, want); err != nil {
		b.Fatal(err)
	}
	c.want("+OK")
}

// TestDowngradedSizes: what LIST says is what RETR sends, for a large message
// and one with bare LF too.
func TestDowngradedSizes(t *testing.T) {
	srv := newServer(t)
	deliver(t, srv,
		"Subject: Grüße\nX: é\n\nbare\n.\n",
		"To: ü@example.org\r\n\r\n"+strings.Repeat("a line of it\r\n", 50_000),
		"Subject: "+strings.Repeat("ü", 100_000)+"\r\n\r\n",
		"Subject: ü")
	c := newClient(t, srv).login()
	for i := range 4 {
		c.say(fmt.Sprintf("LIST %d", i+1))
		_, size, _ := strings.Cut(strings.TrimPrefix(c.line(), "+OK "), " ")
		c.say(fmt.Sprintf("RETR %d", i+1))
		c.want("+OK " + size + " octets")
		text := c.text()
		if fmt.Sprint(len(text)) != size {
			t.Errorf("message %d: LIST says %s, %d came", i+1, size, len(text))
		}
		if head, _, _ := strings.Cut(text, "\r\n\r\n"); strings.ContainsFunc(head, func(r rune) bool { return r >= 0x80 }) {
			t.Errorf("message %d: %.100q", i+1, head)
		}
	}
}
