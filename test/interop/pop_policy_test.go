//go:build interop

package interop

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"posthaste/internal/agent/auth"
	"posthaste/internal/agent/registrar"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/service/pop3d"
	"posthaste/internal/store/body"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/maildrop"
)

const aDay = 24 * time.Hour

// A calendar is a store whose clock a test turns forward.
type calendar struct {
	kv.Store
	ahead atomic.Int64
}

func (c *calendar) Update(ctx context.Context, p kv.Plan, fn func(kv.Tx) error) error {
	return c.Store.Update(ctx, p, func(tx kv.Tx) error { return fn(dated{tx, c}) })
}

func (c *calendar) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

type dated struct {
	kv.Tx
	c *calendar
}

func (d dated) Now() time.Time { return d.c.now() }

// A postOffice is a POP3 server in this process, with ada and her devices.
type postOffice struct {
	t          *testing.T
	clock      *calendar
	mail       *mailbox.Store
	rules      *maildrop.Store
	registrar  *registrar.Registrar
	ada        mail.AccountID
	host, port string
	sent       int
}

var adaAddress = mail.Address{Local: "ada", Domain: "hill.example"}

func newPostOffice(t *testing.T, host string) *postOffice {
	t.Helper()
	clock := &calendar{Store: kv.Strict(memkv.New())}
	st := &mailbox.Store{DB: clock, Bodies: &body.Store{DB: clock, Blobs: memblob.New()}}
	dir := &directory.Directory{DB: clock}
	agent := &auth.Agent{Directory: dir}
	o := &postOffice{t: t, clock: clock, mail: st, rules: &maildrop.Store{DB: clock, Mail: st}}
	o.registrar = &registrar.Registrar{DB: clock, Directory: dir, Mailboxes: st, AppPassword: auth.NewAppPassword}
	ctx := t.Context()
	if err := o.registrar.AddDomain(ctx, adaAddress.Domain); err != nil {
		t.Fatal(err)
	}
	a, err := o.registrar.AddAccount(ctx, registrar.NewAccount{Address: adaAddress})
	if err != nil {
		t.Fatal(err)
	}
	o.ada = a.ID
	srv := &pop3d.Server{
		Mail: st, Rules: o.rules, Drops: new(pop3d.Maildrops), ClearAuth: true, Log: slog.New(slog.DiscardHandler),
		Auth: func(p mail.Peer) sasl.Verifier { return agent.For(p.Addr.Addr(), directory.POP3) },
	}
	ln, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	o.host, o.port = host, port(ln.Addr().String())
	serve, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(serve, ln) }()
	t.Cleanup(func() {
		stop()
		<-done
		wrong, err := st.Check(context.Background(), o.ada, nil)
		more, err2 := o.rules.Check(context.Background(), o.ada)
		if err != nil || err2 != nil || len(wrong)+len(more) > 0 {
			t.Error(wrong, more, err, err2)
		}
	})
	return o
}

// device gives a new app password with a policy.
func (o *postOffice) device(name string, p maildrop.Policy) string {
	o.t.Helper()
	password, err := o.registrar.AddAppPassword(o.t.Context(), adaAddress, name, directory.POP3)
	if err != nil {
		o.t.Fatal(err)
	}
	apps, err := o.registrar.Directory.AppPasswords(o.t.Context(), o.ada)
	if err != nil {
		o.t.Fatal(err)
	}
	if err := o.rules.SetPolicy(o.t.Context(), o.ada, maildrop.Device(apps[len(apps)-1].Device), p); err != nil {
		o.t.Fatal(err)
	}
	return password
}

func (o *postOffice) deliver() {
	o.t.Helper()
	o.sent++
	text := fmt.Sprintf("From: bob@hill.example\r\nTo: ada@hill.example\r\nDate: Mon, 2 Feb 2026 10:00:00 +0000\r\nMessage-ID: <%d@hill.example>\r\nSubject: number %d\r\n\r\nHello.\r\n", o.sent, o.sent)
	p, err := o.mail.PrepareMessage(o.t.Context(), mail.NewTraceID(time.Now()), strings.NewReader(text))
	if err == nil {
		_, err = o.mail.AppendMessages(o.t.Context(), o.ada, mailbox.Inbox, mailbox.Incoming{Prepared: p})
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *postOffice) left() string {
	o.t.Helper()
	snap, err := o.mail.Open(o.t.Context(), o.ada, mailbox.Inbox)
	if err != nil {
		o.t.Fatal(err)
	}
	set := snap.UIDs()
	return set.String()
}

// nextDay turns the clock, and lets the keeper come by.
func (o *postOffice) nextDay() {
	o.t.Helper()
	o.clock.ahead.Add(int64(aDay))
	if _, err := o.rules.Keep(o.t.Context(), o.ada, o.clock.now()); err != nil {
		o.t.Fatal(err)
	}
}

// come logs in, and gives the connection.
func (o *postOffice) come(password string) net.Conn {
	o.t.Helper()
	conn, err := net.Dial("tcp", o.host+":"+o.port)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "USER ada@hill.example\r\nPASS %s\r\n", password)
	r := bufio.NewReader(conn)
	for range 3 {
		if line, err := r.ReadString('\n'); err != nil || line[0] != '+' {
			o.t.Fatal(line, err)
		}
	}
	return conn
}

// A popper is a real client that fetches what it has not got, and leaves it on
// the server; it tells how many messages it has.
type popper func(t *testing.T, home, port, password string) int

const poplibScript = `
import json, os, poplib, sys
port, password, home = int(sys.argv[1]), sys.argv[2], sys.argv[3]
known = os.path.join(home, "known")
have = json.load(open(known)) if os.path.exists(known) else {}
p = poplib.POP3("127.0.0.1", port)
p.user("ada@hill.example"); p.pass_(password)
for line in p.uidl()[1]:
    n, uid = line.decode().split()
    if uid not in have:
        have[uid] = b"\n".join(p.retr(int(n))[1]).decode()
p.quit()
json.dump(have, open(known, "w"))
print(len(have))
`

var poppers = map[string]popper{
	"poplib": func(t *testing.T, home, port, password string) int {
		var n int
		fmt.Sscan(job{name: "python3", home: home, args: []string{"-c", poplibScript, port, password, home}}.ok(t), &n)
		return n
	},
	"fetchmail": func(t *testing.T, home, port, password string) int {
		into := theDrop(t, home)
		store := write(t, filepath.Join(home, "store"), fmt.Sprintf("#!/bin/sh\nf=$(mktemp %s/tmp/XXXXXXXX) && cat > $f && mv $f %s/new/\n", into, into))
		if err := os.Chmod(store, 0o700); err != nil {
			t.Fatal(err)
		}
		rc := write(t, filepath.Join(home, "fetchmailrc"), fmt.Sprintf("set invisible\npoll 127.0.0.1 service %s protocol pop3 uidl auth password\nuser \"ada@hill.example\" password %q sslproto '' keep mda %q\n", port, password, store))
		out, code := job{name: "fetchmail", home: home, args: []string{"-f", rc, "-i", filepath.Join(home, "ids"), "--pidfile", filepath.Join(home, "pid"), "--nosyslog", "-v"}}.run(t)
		if code > 1 { // 1: no new mail
			t.Fatalf("fetchmail ended with %d\n%s", code, out)
		}
		return len(into.texts(t))
	},
	"mpop": func(t *testing.T, home, port, password string) int {
		into := theDrop(t, home)
		rc := write(t, filepath.Join(home, "mpoprc"), fmt.Sprintf("account a\nhost 127.0.0.1\nport %s\ntls off\nauth user\nuser ada@hill.example\npassword %s\nkeep on\nuidls_file %s/uidls\ndelivery maildir %s\n", port, password, home, into))
		job{name: "mpop", home: home, args: []string{"-C", rc, "a"}}.ok(t)
		return len(into.texts(t))
	},
	"getmail": func(t *testing.T, home, port, password string) int {
		into := theDrop(t, home)
		rc := write(t, filepath.Join(home, "getmailrc"), fmt.Sprintf("[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = %s\nusername = ada@hill.example\npassword = %s\n[destination]\ntype = Maildir\npath = %s/\n[options]\ndelete = false\nread_all = false\n", port, password, into))
		give(t, home)
		for range 5 { // see getmail for why it may hang
			out, code := job{name: "timeout", home: home, uid: nobody, args: []string{"10", need(t, "getmail"), "--getmaildir", home, "--rcfile", rc}}.run(t)
			if code == 0 {
				return len(into.texts(t))
			}
			if code != 124 {
				t.Fatalf("getmail ended with %d\n%s", code, out)
			}
		}
		t.Fatal("getmail hangs")
		return 0
	},
}

func theDrop(t *testing.T, home string) drop {
	t.Helper()
	if _, err := os.Stat(filepath.Join(home, "got")); err == nil {
		return drop(filepath.Join(home, "got"))
	}
	return newDrop(t, home)
}

// What a policy leaves on the server, told by UIDs, each day after the client has
// been there, and at last, days after it was there for the last time. A message
// comes each day.
type remains struct {
	name   string
	policy maildrop.Policy
	left   []string
	last   string
}

// The client leaves its mail on the server, and the server does what the policy of
// its password says.
var policies = []remains{
	{"keep", maildrop.Policy{}, []string{"1", "1:2", "1:3", "1:4"}, "1:4"},
	{"delete", maildrop.Policy{After: maildrop.DeleteAtOnce}, []string{"", "", "", ""}, ""},
	{"keep two days", maildrop.Policy{After: maildrop.KeepDays, Days: 2}, []string{"1", "1:2", "2:3", "3:4"}, ""},
}

// days lets some days pass, on each of which the client fetches, and tells how many
// messages it has.
func (o *postOffice) days(c remains, fetch func() int) {
	t := o.t
	t.Helper()
	for day, want := range c.left {
		o.deliver()
		if n := fetch(); n != day+1 {
			t.Fatalf("on day %d it has %d messages", day, n)
		}
		eventually(t, func() error { // the ledger is written when the client has left
			visits, err := o.rules.Visits(t.Context(), o.ada, 100)
			if err == nil && len(visits) != day+1 {
				err = fmt.Errorf("the ledger has %d visits on day %d", len(visits), day)
			}
			return err
		})
		if left := o.left(); left != want {
			t.Errorf("on day %d the server has %q, want %q", day, left, want)
		}
		o.nextDay()
	}
	for range 3 { // nobody comes any more
		o.nextDay()
	}
	if left := o.left(); left != c.last {
		t.Errorf("at last the server has %q, want %q", left, c.last)
	}
}

// TestPOPPolicies has each client fetch over some days.
func TestPOPPolicies(t *testing.T) {
	t.Parallel()
	for name, fetch := range poppers {
		for _, c := range policies {
			t.Run(name+", "+c.name, func(t *testing.T) {
				t.Parallel()
				o := newPostOffice(t, "127.0.0.1")
				home, password := t.TempDir(), o.device("laptop", c.policy)
				o.days(c, func() int { return fetch(t, home, o.port, password) })
			})
		}
	}
}

// TestPOPInUse: a second device hears [IN-USE] while the first is there, and is
// let in when it has crashed.
func TestPOPInUse(t *testing.T) {
	t.Parallel()
	o := newPostOffice(t, "127.0.0.1")
	one, two := o.device("one", maildrop.Policy{}), o.device("two", maildrop.Policy{})
	out := job{name: "python3", args: []string{"-c", `
import poplib, sys
port, one, two = int(sys.argv[1]), sys.argv[2], sys.argv[3]
def come(password):
    p = poplib.POP3("127.0.0.1", port)
    p.user("ada@hill.example")
    try:
        print(p.pass_(password).decode())
    except poplib.error_proto as e:
        print(e.args[0].decode())
    return p
first = come(one)
come(two).quit()
first.sock.close(); first.file.close()
come(two).quit()
`, o.port, one, two}}.ok(t)
	if want := "+OK welcome\n-ERR [IN-USE] another session has this maildrop\n+OK welcome\n"; out != want {
		t.Errorf("they hear\n%s", out)
	}
}

// TestPOPCommands sets a policy with the operator's command while the server runs,
// collects with an app password, and reads plan and ledger.
func TestPOPCommands(t *testing.T) {
	t.Parallel()
	ada := small.person(t)
	received(t, ada, compose("Invoice", "", "One.\n"))
	tool := func(args ...string) string {
		t.Helper()
		out, err := small.tool(args...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return out
	}
	password := strings.TrimSpace(tool("account", "password", "add", ada.address, "scanner", "--protocols", "pop3"))
	contains(t, tool("pop3", "policy", "set", ada.address, "--device", "scanner", "--after", "30d", "--dele", "trash"), "moved to Trash 30 days later", "No message is about to go")
	out := job{name: "python3", args: []string{"-c", `
import imaplib, poplib, ssl, sys
pop, imap, user, password, ca = sys.argv[1:]
ctx = ssl.create_default_context(cafile=ca)
p = poplib.POP3_SSL("localhost", int(pop), context=ctx)
print(p.capa()["EXPIRE"])
p.user(user); p.pass_(password)
print(p.capa()["EXPIRE"])
p.retr(1)
p.quit()
try:
    imaplib.IMAP4_SSL("localhost", int(imap), ssl_context=ctx).login(user, password)
    print("let in over IMAP")
except imaplib.IMAP4.error:
    print("POP3 only")
`, port(small.POP3S), port(small.IMAPS), ada.address, password, small.CA}}.ok(t)
	if want := "['0', 'USER']\n['30']\nPOP3 only\n"; out != want {
		t.Errorf("the client says\n%s", out)
	}
	eventually(t, func() error {
		if out := tool("pop3", "ledger", ada.address); !strings.Contains(out, "scanner") || !strings.Contains(out, "INBOX 1") {
			return fmt.Errorf("the ledger is\n%s", out)
		}
		return nil
	})
	contains(t, tool("pop3", "policy", "show", ada.address), "1 message will go, 0 within the hour", "Invoice", "trash")
}
