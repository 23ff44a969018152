package sieved

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/owner"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/serve"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/proto/managesieve"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/body"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/script"
	"posthaste/test/network"
	dialogue "posthaste/test/script"
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
	switch user {
	case "broken":
		return sasl.Identity{}, errors.New("the directory is on fire")
	case "hasty":
		return sasl.Identity{}, mail.Refuse("4.7.0", "too many attempts, wait a little", "")
	}
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

// newServer gives a server with one account; the scripts are checked at the end.
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
	scripts := &script.Store{DB: db}
	t.Cleanup(func() {
		if wrong, err := scripts.Check(context.Background(), ada); err != nil || len(wrong) > 0 {
			t.Error(wrong, err)
		}
	})
	return &Server{
		Owner: &owner.Agent{Store: scripts}, Auth: func(mail.Peer) sasl.Verifier { return people{} }, ClearAuth: true,
		Log: slog.New(slog.NewTextHandler(testLog{t}, nil)),
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

func put(t testing.TB, srv *Server, name, text string) {
	t.Helper()
	if err := srv.Owner.Store.Put(t.Context(), ada, name, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// TestScripts plays the dialogues in testdata. A line "# tls" at the top says that
// STARTTLS is to be had and login in clear is not, "# implicit" that TLS comes first,
// "# shown" that passwords must be shown, "# broken" that there is a script that cannot
// be run, and "# full" that there is room for one more.
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
				case "tls", "implicit":
					srv.TLS, srv.ClearAuth, srv.ImplicitTLS = certificate(), false, words[1] == "implicit"
				case "shown":
					srv.Shown = func() bool { return true }
				case "broken":
					put(t, srv, "broken", "frobnicate;\r\n")
				case "full":
					for i := range script.MaxScripts - 1 {
						put(t, srv, fmt.Sprint(i), "keep;")
					}
				}
			}
			c, _ := dial(t, srv)
			dialogue.Run(t, c, file)
		})
	}
}

func certificate() *tls.Config {
	cert, _ := network.Certificate("sieve.example.org")
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

// A client speaks to a session for tests that a dialogue cannot say.
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
	c.capabilities()
	return c
}

func (c *client) capabilities() (list []string) {
	c.t.Helper()
	for {
		l := c.line()
		if l == "OK" {
			return list
		}
		list = append(list, l)
	}
}

func (c *client) login() *client {
	c.t.Helper()
	c.say(`AUTHENTICATE "PLAIN" "AGFkYUBleGFtcGxlLm9yZwBzZXNhbWU="`)
	c.want(`OK`)
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

func (c *client) hangUp() {
	c.conn.Close()
	<-c.done
}

// TestSizes: scripts to the largest go there and back, and what is larger does no harm.
func TestSizes(t *testing.T) {
	c := newClient(t, newServer(t)).login()
	for _, n := range []int{0, 1, 4096, 60_000, 256 << 10} {
		text := strings.Repeat("#", n)
		c.say(fmt.Sprintf("PUTSCRIPT \"x\" {%d+}\r\n%s", n, text))
		c.want(`OK`)
		c.say("GETSCRIPT \"x\"")
		c.want(fmt.Sprintf("{%d}", n))
		c.want(text)
		c.want("OK")
	}
	const refused = `NO (QUOTA/MAXSIZE) "a script has 262144 bytes at most"`
	for _, n := range []int{256<<10 + 1, 256<<10 + 5<<10, 1 << 20, 16 << 20} {
		for _, verb := range []string{`PUTSCRIPT "x"`, `CHECKSCRIPT`} {
			c.say(fmt.Sprintf("%s {%d+}", verb, n))
			c.say(strings.Repeat("LOGOUT\r\n", n/8) + strings.Repeat("x", n%8))
			c.want(refused)
		}
		c.say(fmt.Sprintf(`HAVESPACE "x" %d`, n))
		c.want(refused)
	}
	c.say(`HAVESPACE "x" 18446744073709551615`)
	c.want(refused)
	for i := range 3 {
		c.say(fmt.Sprintf("PUTSCRIPT \"x%d\" {%d+}\r\n%s", i, 256<<10, strings.Repeat("#", 256<<10)))
		c.want(`OK`)
	}
	c.say("PUTSCRIPT \"y\" {1+}\r\n#")
	c.want(`NO (QUOTA) "all scripts together have 1048576 bytes at most"`)
	c.say(`HAVESPACE "y" 1`)
	c.want(`NO (QUOTA) "all scripts together have 1048576 bytes at most"`)
	c.say(fmt.Sprintf("PUTSCRIPT \"x\" {%d+}", 16<<20+1))
	c.want(`BYE "this is much too large"`)
	<-c.done
}

// TestAway: what is answered while somebody is away goes on to include their rules when
// these have another name.
func TestAway(t *testing.T) {
	srv := newServer(t)
	put(t, srv, "main", "keep;")
	c := newClient(t, srv).login()
	c.say(`SETACTIVE "main"`)
	c.want("OK")
	if err := srv.Owner.SetAway(t.Context(), ada, owner.Away{On: true, Text: "Not here."}); err != nil {
		t.Fatal(err)
	}
	c.say(`RENAMESCRIPT "main" "rules"`)
	c.want("OK")
	text, err := srv.Owner.Store.Get(t.Context(), ada, owner.AwayName)
	if err != nil || !strings.Contains(string(text), `include :personal :optional "rules";`) {
		t.Errorf("%s %v", text, err)
	}
}

// TestErrors maps what the verifier says.
func TestErrors(t *testing.T) {
	c := newClient(t, newServer(t))
	for user, want := range map[string]string{
		"broken": `NO (TRYLATER) "local error, try again later"`,
		"hasty":  `NO (TRYLATER) "too many attempts, wait a little"`,
		"other":  `NO "authentication failed"`,
	} {
		c.say(`AUTHENTICATE "PLAIN" "` + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00x")) + `"`)
		c.want(want)
	}
}

// A stuckStore refuses to write when told to.
type stuckStore struct {
	kv.Store
	err error
}

func (s *stuckStore) Update(ctx context.Context, p kv.Plan, fn func(kv.Tx) error) error {
	if s.err != nil {
		return s.err
	}
	return s.Store.Update(ctx, p, fn)
}

// TestDisk: a client hears that a script was not stored.
func TestDisk(t *testing.T) {
	db := &stuckStore{Store: kv.Strict(memkv.New())}
	c := newClient(t, newServerOn(t, db)).login()
	for err, want := range map[error]string{
		errors.New("the disk is on fire"): `NO (TRYLATER) "local error, try again later"`,
		mail.ErrFull:                      `NO (TRYLATER) "no room on this server for the moment, try again later"`,
	} {
		db.err = err
		c.say(`PUTSCRIPT "a" "keep;"`)
		c.want(want)
	}
	db.err = nil
	c.say(`PUTSCRIPT "a" "keep;"`)
	c.want(`OK`)
}

// TestTimes: who does not log in has two minutes, and then half an hour for a command,
// which comes whole within five minutes.
func TestTimes(t *testing.T) {
	const late = `BYE "I have waited too long"`
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		took := func(begin time.Time, want time.Duration) {
			t.Helper()
			if d := time.Since(begin); d != want {
				t.Errorf("it took %v", d)
			}
		}
		drip := func(c *client, every time.Duration) {
			for {
				time.Sleep(every)
				if _, err := io.WriteString(c.conn, "x"); err != nil {
					return
				}
			}
		}
		begin := time.Now()
		c := newClient(t, srv)
		c.want(late)
		took(begin, loginTimeout)
		c = newClient(t, srv)
		begin = time.Now()
		go drip(c, 7*time.Second)
		c.want(late)
		took(begin, loginTimeout)
		c.hangUp()
		c = newClient(t, srv).login()
		time.Sleep(29 * time.Minute)
		c.say("NOOP")
		c.want(`OK`)
		begin = time.Now()
		c.want(late)
		took(begin, idleTimeout)
		c = newClient(t, srv).login()
		c.say(`PUTSCRIPT "a" {1000+}`)
		begin = time.Now()
		c.want(late)
		took(begin, readTimeout)
		c = newClient(t, srv).login()
		c.say(`PUTSCRIPT "a" {1000+}`)
		begin = time.Now()
		go drip(c, 7*time.Second)
		c.want(late)
		took(begin, commandTimeout)
		c.hangUp()
		c = newClient(t, srv).login() // after UNAUTHENTICATE, it is as before login
		c.say("UNAUTHENTICATE")
		c.want(`OK`)
		begin = time.Now()
		c.want(late)
		took(begin, loginTimeout)
		time.Sleep(8 * time.Second)
	})
}

// TestShutdown: who waits is told.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		conn, server := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			srv.ServeConn(ctx, server)
		}()
		c := &client{t: t, conn: conn, r: bufio.NewReader(conn), done: done}
		c.capabilities()
		cancel()
		c.want(`BYE (TRYLATER) "the server is shutting down"`)
		c.hangUp()
	})
}

// TestAttend: a session ends when what opened it opens the account no more, and nobody
// attends one that is over.
func TestAttend(t *testing.T) {
	srv := newServer(t)
	var end func()
	attended := 0
	srv.Attend = func(_ context.Context, id sasl.Identity, fn func()) func() {
		if end = fn; id.Account != ada {
			t.Error("somebody else is attended")
		}
		attended++
		return func() { attended-- }
	}
	c := newClient(t, srv).login()
	c.say("UNAUTHENTICATE")
	c.want(`OK`)
	c.say("NOOP")
	c.want(`OK`)
	if attended != 0 {
		t.Errorf("%d are attended", attended)
	}
	c.login()
	end()
	c.want(`BYE "what you have logged in with is no longer good"`)
	<-c.done
	if attended != 0 {
		t.Errorf("%d are attended", attended)
	}
}

// TestAtOnce: too many connections, or sessions of an account, are turned away.
func TestAtOnce(t *testing.T) {
	srv := newServer(t)
	refused := 0
	srv.Refused = func() { refused++ }
	srv.Limits = Limits{Connections: 3, PerAccount: 1}
	a := newClient(t, srv).login()
	b := newClient(t, srv)
	b.say(`AUTHENTICATE "PLAIN" "AGFkYUBleGFtcGxlLm9yZwBzZXNhbWU="`)
	b.want(`NO (TRYLATER) "too many sessions of this account"`)
	newClient(t, srv)
	conn, _ := dial(t, srv)
	if l, err := bufio.NewReader(conn).ReadString('\n'); l != "BYE (TRYLATER) \"too many connections\"\r\n" || refused != 1 {
		t.Errorf("%q, %v; %d are known of", l, err, refused)
	}
	a.say("UNAUTHENTICATE")
	a.line()
	b.login()
	b.hangUp()
	a.login()
}

// TestFormer: who is still at a former server is not let in.
func TestFormer(t *testing.T) {
	srv := newServer(t)
	there, _ := net.Pipe()
	srv.Auth = func(mail.Peer) sasl.Verifier { return elsewhere{there: there} }
	c := newClient(t, srv)
	c.say(`AUTHENTICATE "PLAIN" "AGFkYUBleGFtcGxlLm9yZwBzZXNhbWU="`)
	c.want(`NO "the account is still at its former server"`)
	if _, err := there.Write([]byte("x")); err != io.ErrClosedPipe {
		t.Error("the session there is still open:", err)
	}
	c.say("LISTSCRIPTS")
	c.want(`NO "this command cannot come now"`)
}

type elsewhere struct {
	people
	there net.Conn
}

func (e elsewhere) Password(ctx context.Context, authzid, user, password string) (sasl.Identity, error) {
	id, err := e.people.Password(ctx, authzid, user, password)
	id.Elsewhere = former{e.there}
	return id, err
}

type former struct{ net.Conn }

func (former) Capabilities() string { return "" }

// TestScram logs in with our own client, over TLS. What the server has to say at the end
// goes with the OK.
func TestScram(t *testing.T) {
	srv := newServer(t)
	srv.TLS, srv.ImplicitTLS, srv.ClearAuth = certificate(), true, false
	for _, mech := range []string{sasl.ScramPlus, sasl.Scram, sasl.Plain, sasl.Login} {
		for _, initial := range []bool{true, false} {
			if srv.Offer = sasl.Unbound; mech == sasl.ScramPlus {
				srv.Offer = sasl.Bound
			}
			raw, done := dial(t, srv)
			tc := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
			c := &client{t: t, conn: tc, r: bufio.NewReader(tc), done: done}
			offered := strings.Join(c.capabilities(), "\n")
			if strings.Contains(offered, sasl.ScramPlus) != (srv.Offer == sasl.Bound) {
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
			c.exchange(a, initial)
			c.say("LOGOUT")
			c.want(`OK`)
			io.Copy(io.Discard, tc) // TLS says good-bye, too
			c.hangUp()
		}
	}
}

// exchange logs in, and says what it has to say at first with the command or behind it.
func (c *client) exchange(a sasl.Client, initial bool) {
	c.t.Helper()
	first, err := a.Next(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	enc := func(b []byte) string { return `"` + base64.StdEncoding.EncodeToString(b) + `"` }
	dec := func(s string) []byte {
		s, err := strconv.Unquote(s)
		if err != nil {
			c.t.Fatal(err)
		}
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			c.t.Fatal(err)
		}
		return b
	}
	line := fmt.Sprintf("AUTHENTICATE %q", a.Mechanism())
	if initial && first != nil {
		c.say(line + " " + enc(first))
	} else {
		c.say(line)
		if first != nil {
			c.want(`""`)
			c.say(enc(first))
		}
	}
	for {
		l := c.line()
		if last, ok := strings.CutPrefix(l, "OK (SASL "); ok {
			last, _, _ = strings.Cut(last, ")")
			if _, err := a.Next(dec(last)); err != nil {
				c.t.Error(err)
			}
			break
		}
		if l == `OK` {
			break
		}
		response, err := a.Next(dec(l))
		if err != nil {
			c.t.Fatal(l, err)
		}
		c.say(enc(response))
	}
	if err := a.Done(); err != nil {
		c.t.Errorf("%s: %v", a.Mechanism(), err)
	}
}

// TestEveryCommand looks that what is parsed is done.
func TestEveryCommand(t *testing.T) {
	for _, v := range []managesieve.Verb{
		managesieve.Authenticate, managesieve.Capability, managesieve.CheckScript, managesieve.DeleteScript, managesieve.GetScript,
		managesieve.HaveSpace, managesieve.ListScripts, managesieve.Logout, managesieve.Noop, managesieve.PutScript, managesieve.RenameScript,
		managesieve.SetActive, managesieve.StartTLS, managesieve.Unauthenticate,
	} {
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

// TestHostile: what must end, ends soon, and costs little.
func TestHostile(t *testing.T) {
	for name, c := range map[string]struct{ in, last string }{
		"endless line":          {strings.Repeat("x", 10<<20), `BYE "this is much too large"`},
		"endless string":        {`NOOP "` + strings.Repeat("x", 10<<20), `BYE "this is much too large"`},
		"2^63":                  {"PUTSCRIPT \"a\" {9223372036854775808+}\r\n" + strings.Repeat("x", 1<<20), `BYE "this is much too large"`},
		"2^63-1":                {"AUTHENTICATE {9223372036854775807+}\r\n", `BYE "this is much too large"`},
		"2^31":                  {"NOOP {2147483648}\r\n", `BYE "this is much too large"`},
		"many digits":           {"NOOP {" + strings.Repeat("9", 10_000) + "+}\r\n", `BYE "this is much too large"`},
		"many literals":         {"NOOP" + strings.Repeat(" {0+}\r\n", 1000), `BYE "this is much too large"`},
		"many commands":         {strings.Repeat("NOOP\r\n", 10_000), `BYE "log in: this is too much talk before it"`},
		"many capabilities":     {strings.Repeat("CAPABILITY\r\n", 10_000), `BYE "log in: this is too much talk before it"`},
		"much nonsense":         {strings.Repeat("x\r\n", 10_000), `BYE "too many bad commands"`},
		"empty lines":           {strings.Repeat("\r\n", 10_000), `BYE "too many bad commands"`},
		"guessing":              {strings.Repeat("AUTHENTICATE \"PLAIN\" \"AGFkYUBleGFtcGxlLm9yZwB3cm9uZw==\"\r\n", 100), `BYE "authentication failed"`},
		"scripts before login":  {strings.Repeat("PUTSCRIPT \"a\" {5+}\r\nkeep;\r\n", 1000), `BYE "too many bad commands"`},
		"a script before login": {"PUTSCRIPT \"a\" {40000+}\r\n" + strings.Repeat("LOGOUT\r\n", 5000) + "\r\n", `NO "this command cannot come now"`},
		"HTTP":                  {"POST / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 100) + "\r\n", `BYE "too many bad commands"`},
	} {
		srv := newServer(t)
		tp := &tape{in: strings.NewReader(c.in)}
		srv.ServeConn(t.Context(), tp)
		lines := strings.Split(strings.TrimSpace(tp.out.String()), "\r\n")
		if last := lines[len(lines)-1]; last != c.last {
			t.Errorf("%s: the last is %q", name, last)
		}
	}
}

// FuzzSession says whatever comes to mind. What is answered must be of the protocol, and
// the session must end.
func FuzzSession(f *testing.F) {
	const in = "AUTHENTICATE \"PLAIN\" \"AGFkYUBleGFtcGxlLm9yZwBzZXNhbWU=\"\r\n"
	f.Add(in + "PUTSCRIPT \"a\" {5+}\r\nkeep;\r\nSETACTIVE \"a\"\r\nLISTSCRIPTS\r\nGETSCRIPT \"a\"\r\nDELETESCRIPT \"a\"\r\nRENAMESCRIPT \"a\" \"b\"\r\n")
	f.Add(in + "CHECKSCRIPT \"require \\\"x\\\";\"\r\nHAVESPACE \"a\" 7\r\nNOOP {2}\r\n\r\n\r\nUNAUTHENTICATE\r\nLOGOUT\r\n")
	f.Add("AUTHENTICATE \"LOGIN\"\r\n\"eA==\"\r\n\"*\"\r\nCAPABILITY\r\nSTARTTLS\r\nNOOP \"x\"\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		srv := newServer(t)
		c := &tape{in: strings.NewReader(in)}
		srv.ServeConn(context.Background(), c)
		if srv.accounts.Len() != 0 || srv.places.Len() != 0 {
			t.Errorf("%q: somebody is still in", in)
		}
		r := bufio.NewReader(strings.NewReader(c.out.String()))
		for {
			l, err := r.ReadString('\n')
			if err == io.EOF && l == "" {
				return
			}
			line, ok := strings.CutSuffix(l, "\r\n")
			if !ok || strings.ContainsAny(line, "\r\n") {
				t.Fatalf("%q: answered %q", in, c.out.String())
			}
			if i := strings.LastIndexByte(line, '{'); i >= 0 && strings.HasSuffix(line, "}") {
				n, err := strconv.Atoi(line[i+1 : len(line)-1])
				if _, skip := io.CopyN(io.Discard, r, int64(n)); err != nil || skip != nil {
					t.Fatalf("%q: answered %q", in, c.out.String())
				}
			} else if word, _, _ := strings.Cut(line, " "); !slices.Contains([]string{"OK", "NO", "BYE", ""}, word) && !strings.HasPrefix(line, `"`) && !strings.HasPrefix(line, ")") {
				t.Fatalf("%q: answered %q", in, line)
			}
		}
	})
}

// TestStop: Serve waits for its sessions.
func TestStop(t *testing.T) {
	srv := newServer(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, serve.Leaving(ctx, ln)) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &client{t: t, conn: conn, r: bufio.NewReader(conn)}
	c.capabilities()
	c.login()
	cancel()
	c.want(`BYE (TRYLATER) "the server is shutting down"`)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
