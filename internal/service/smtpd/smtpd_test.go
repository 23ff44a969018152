package smtpd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/proto/smtp"
	"posthaste/test/network"
	"posthaste/test/script"
)

// A desk is a Receiver that does what the addresses tell it, and writes down
// what it was asked.
type desk struct {
	mu  sync.Mutex
	log []string
	lmtp
}

// lmtp tells whether the desk answers for each recipient.
type lmtp bool

func (d *desk) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, fmt.Sprintf(format, args...))
}

func (d *desk) notes() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.log)
}

var testID = mail.TraceID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}

// answerTo gives what an address asks for.
func answerTo(a mail.Address) error {
	switch a.Local {
	case "refused":
		return mail.Refuse("5.1.1", "no such user", "secret")
	case "later":
		return mail.Refuse("4.7.1", "come back later", "")
	case "broken":
		return errors.New("disk on fire")
	case "panic":
		panic("at the desk")
	}
	return nil
}

func (d *desk) Begin(_ context.Context, p mail.Peer, from mail.Address, mp smtp.MailParams) (smtp.Transaction, error) {
	front := ""
	if p.Addr.IsValid() && p.Addr.Addr() != testPeer.Addr() && !p.Addr.Addr().IsLoopback() {
		front = " from " + p.Addr.String()
	}
	d.note("begin %s hello=%s name=%s login=%s tls=%v size=%d%s", from.Path(), p.Hello, p.Name, p.Login, p.TLS != nil, mp.Size, front)
	if err := answerTo(from); err != nil {
		return nil, err
	}
	tx := &deskTx{desk: d, priority: min(mp.Priority, 3)}
	if d.lmtp {
		return lmtpTx{tx}, nil
	}
	return tx, nil
}

type deskTx struct {
	desk     *desk
	rcpts    []mail.Address
	priority int8
}

func (t *deskTx) ID() mail.TraceID { return testID }
func (t *deskTx) Priority() int8   { return t.priority }

func (t *deskTx) Rcpt(_ context.Context, to mail.Address, _ smtp.RcptParams) error {
	if err := answerTo(to); err != nil {
		return err
	}
	t.rcpts = append(t.rcpts, to)
	return nil
}

func (t *deskTx) Data(_ context.Context, body io.Reader) error {
	for _, r := range t.rcpts {
		if r.Local == "unread" {
			return nil
		}
		if r.Local == "hasty" {
			return mail.Refuse("5.7.1", "I do not want to see it", "")
		}
	}
	b, err := io.ReadAll(body)
	if err != nil {
		t.desk.note("data error %v", err)
		return err
	}
	if len(b) > 300 {
		b = fmt.Appendf(nil, "%d bytes", len(b))
	}
	t.desk.note("data %q for %d", b, len(t.rcpts))
	if bytes.Contains(b, []byte("junk")) {
		return mail.Refuse("5.7.1", "we do not like it", "")
	}
	return nil
}

func (t *deskTx) Reset(context.Context) { t.desk.note("reset") }

type lmtpTx struct{ *deskTx }

func (t lmtpTx) DataEach(ctx context.Context, body io.Reader) (outs []mail.Outcome, err error) {
	if err := t.Data(ctx, body); err != nil {
		return nil, err
	}
	for _, r := range t.rcpts {
		o := mail.Outcome{Recipient: mail.Recipient{Address: r}, Status: mail.StatusDelivered, Text: "kept"}
		if r.Local == "full" {
			o.Status, o.Text = mail.Status{Class: 4, Subject: 2, Detail: 2}, "mailbox full"
		}
		outs = append(outs, o)
	}
	return outs, nil
}

// doorman is a Verifier of one user.
type doorman struct{}

func (doorman) Password(_ context.Context, _, user, password string) (sasl.Identity, error) {
	if user == "broken" {
		return sasl.Identity{}, errors.New("disk on fire")
	}
	if user == "ada@a.example" && password == "pencil" {
		return sasl.Identity{Account: 7, Login: mail.Address{Local: "ada", Domain: "a.example"}}, nil
	}
	return sasl.Identity{}, sasl.ErrFailed
}

func (doorman) ScramKeys(context.Context, string) (sasl.ScramKeys, error) {
	k, err := sasl.NewScramKeys("pencil", []byte("0123456789"), 4096)
	k.Identity = sasl.Identity{Account: 7, Login: mail.Address{Local: "ada", Domain: "a.example"}}
	return k, err
}

func (doorman) ScramProved(_ context.Context, _, _ string, k sasl.ScramKeys) (sasl.Identity, error) {
	return k.Identity, nil
}
func (doorman) ScramFailed(context.Context, string) {}

var testTLS = sync.OnceValue(func() *tls.Config {
	cert, _ := network.Certificate("mx.example")
	return &tls.Config{Certificates: []tls.Certificate{cert}}
})

// newServer makes a server of the kind that the name of a dialogue asks for.
func newServer(kind string) (*Server, *desk, *bytes.Buffer) {
	d := &desk{}
	var log bytes.Buffer
	s := &Server{
		Hostname: "mx.example", Receiver: d, TLS: testTLS(),
		Log:    slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Limits: Limits{Size: 100000, Recipients: 100},
	}
	switch kind {
	case "burl":
		s.Policy = Policy{ClearAuth: true, RequireAuth: true}
		s.TLS = nil
		s.Auth = func(mail.Peer) sasl.Verifier { return doorman{} }
		s.Open = func(_ context.Context, who mail.Peer, url string) (io.ReadCloser, int64, error) {
			text, ok := strings.CutPrefix(url, "imap://"+who.Login.String()+"/")
			text = strings.NewReplacer("%0D", "\r", "%0A", "\n").Replace(text)
			size := int64(len(text))
			switch {
			case text == "broken":
				return nil, 0, errors.New("disk on fire")
			case text == "short":
				size++
			case !ok:
				return nil, 0, mail.Refuse("5.6.6", "nothing there", "")
			}
			d.note("open %q", text)
			return closing{strings.NewReader(text), d}, size, nil
		}
	case "submission":
		s.Policy = Policy{RequireAuth: true, HoldMax: 24 * time.Hour}
		s.Auth = func(mail.Peer) sasl.Verifier { return doorman{} }
	case "front":
		s.Policy = Policy{ClearAuth: true}
		s.TLS, s.Fronts = nil, []netip.Prefix{netip.PrefixFrom(testPeer.Addr(), 32)}
		s.Auth = func(mail.Peer) sasl.Verifier { return doorman{} }
		s.Account = func(_ context.Context, a mail.Address) (mail.AccountID, mail.Address, error) {
			if a.Local != "ada" {
				return 0, mail.Address{}, mail.ErrNotFound
			}
			return 7, a, nil
		}
	case "clear":
		s.Policy = Policy{ClearAuth: true}
		s.TLS = nil
		s.Auth = func(mail.Peer) sasl.Verifier { return doorman{} }
	case "tls":
		s.Policy = Policy{ImplicitTLS: true, RequireAuth: true}
		s.Auth = func(mail.Peer) sasl.Verifier { return doorman{} }
	case "lmtp":
		s.Policy.Dialect = smtp.LMTP
		d.lmtp = true
	}
	return s, d, &log
}

type closing struct {
	io.Reader
	d *desk
}

func (c closing) Close() error {
	c.d.note("close")
	return nil
}

// testPeer is where clients come from.
var testPeer = netip.MustParseAddrPort("192.0.2.77:7777")

type fromPeer struct{ net.Conn }

func (fromPeer) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(testPeer) }

// start serves one end of a pipe and gives the other; stop waits for the end.
func start(t testing.TB, s *Server) (conn net.Conn, stop func()) {
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); s.ServeConn(context.Background(), fromPeer{theirs}) }()
	return ours, func() {
		ours.Close()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("the session does not end")
		}
	}
}

// TestDialogues plays testdata/KIND-*.txt. What the desk must have heard stands
// in lines that begin with "# desk: ".
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			kind, _, _ := strings.Cut(filepath.Base(f), "-")
			s, d, log := newServer(kind)
			conn, stop := start(t, s)
			script.Run(t, conn, f)
			stop()
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(text)) {
				if w, ok := strings.CutPrefix(strings.TrimSpace(line), "# desk: "); ok {
					want = append(want, w)
				}
			}
			if got := d.notes(); !slices.Equal(got, want) {
				t.Errorf("the desk heard\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
			}
			if t.Failed() {
				t.Log(log.String())
			}
		})
	}
}

// TestSmuggling ends a message in every way but the right one, with a second
// transaction behind it, and counts the replies.
func TestSmuggling(t *testing.T) {
	for _, seq := range []string{
		"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\n.\r", "\r.\n", "\r\r\n.\r\r\n", "\r\n.\r\r\n",
		"\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n. \r\n", "\r\n.\t\r\n", "\v.\v", "\f.\f", "\u0085.\u0085", "\u2028.\u2028", "\r\n\r.\r\n",
	} {
		s, d, _ := newServer("mx")
		conn, stop := start(t, s)
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if err := script.Play(conn, "x", "S~ 220 .*\nC: HELO x\nS~ 250 .*\nC: MAIL FROM:<a@a.example>\nC: RCPT TO:<b@b.example>\nC: DATA\nS~ 250 .*\nS~ 250 .*\nS~ 354 .*"); err != nil {
			t.Fatalf("%q: %v", seq, err)
		}
		go io.WriteString(conn, "Subject: x\r\n\r\nbody"+seq+
			"MAIL FROM:<evil@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\nsecond\r\n.\r\nQUIT\r\n")
		all, err := io.ReadAll(conn)
		if err != nil {
			t.Fatalf("%q: %v", seq, err)
		}
		stop()
		after := string(all)
		refused := after == "554 5.6.0 message has a bare CR, a bare LF or a NUL (id "+testID.String()+")\r\n"
		taken := after == "250 2.0.0 OK, id "+testID.String()+"\r\n221 2.0.0 bye\r\n"
		if !refused && !taken {
			t.Errorf("%q: %q", seq, after)
		}
		begun := 0
		for _, n := range d.notes() {
			if strings.HasPrefix(n, "begin") {
				begun++
			}
		}
		if begun != 1 {
			t.Errorf("%q: %q", seq, d.notes())
		}
	}
}

func TestStartTLSInjection(t *testing.T) {
	s, d, _ := newServer("mx")
	conn, stop := start(t, s)
	if err := script.Play(conn, "x", "S~ 220 .*\nC: EHLO x\nS* 250 STARTTLS\nC: STARTTLS\nC: EHLO injected\nC: NOOP\nEOF"); err != nil {
		t.Error(err)
	}
	stop()
	if n := d.notes(); len(n) > 0 {
		t.Error(n)
	}
}

// TestTimes lets clients be slow, on a clock that does not wait.
func TestTimes(t *testing.T) {
	in := func(f func(t *testing.T, s *Server, conn net.Conn)) {
		synctest.Test(t, func(t *testing.T) {
			s, _, _ := newServer("mx")
			conn, stop := start(t, s)
			f(t, s, conn)
			stop()
		})
	}
	talk := func(conn net.Conn, say string) string {
		go io.WriteString(conn, say)
		b := make([]byte, 1000)
		n, _ := io.ReadAtLeast(conn, b, 1)
		return string(b[:n])
	}
	in(func(t *testing.T, _ *Server, conn net.Conn) {
		talk(conn, "")
		began := time.Now()
		if got := talk(conn, ""); got != "421 4.4.2 mx.example waited too long\r\n" || time.Since(began) != 5*time.Minute {
			t.Errorf("idle: %q after %v", got, time.Since(began))
		}
	})
	in(func(t *testing.T, _ *Server, conn net.Conn) {
		talk(conn, "")
		for i := 0; ; i++ {
			time.Sleep(4 * time.Minute)
			if got := talk(conn, "NOOP\r\n"); strings.HasPrefix(got, "421") {
				if i < 14 || i > 15 {
					t.Errorf("sent away after %d times 4 minutes", i)
				}
				return
			}
		}
	})
	in(func(t *testing.T, _ *Server, conn net.Conn) {
		talk(conn, "")
		time.Sleep(time.Minute)
		talk(conn, "NOOP\r\n")
		began := time.Now()
		go func() {
			for range 1000 {
				time.Sleep(7 * time.Second)
				if _, err := io.WriteString(conn, "x"); err != nil {
					return
				}
			}
		}()
		if got := talk(conn, ""); got != "421 4.4.2 mx.example waited too long\r\n" || time.Since(began) != 5*time.Minute {
			t.Errorf("a command in drips: %q after %v", got, time.Since(began))
		}
		conn.Close()
		synctest.Wait()
		time.Sleep(8 * time.Second)
	})
	in(func(t *testing.T, _ *Server, conn net.Conn) {
		talk(conn, "")
		for _, c := range []string{"EHLO x\r\n", "MAIL FROM:<a@a.example>\r\n", "RCPT TO:<b@b.example>\r\n", "DATA\r\n"} {
			talk(conn, c)
		}
		began := time.Now()
		go func() {
			for {
				time.Sleep(time.Second)
				if _, err := io.WriteString(conn, "drip\r\n"); err != nil {
					return
				}
			}
		}()
		if got := talk(conn, ""); got != "421 4.4.2 mx.example too slow\r\n" || time.Since(began) > 62*time.Second {
			t.Errorf("drips: %q after %v", got, time.Since(began))
		}
		conn.Close()
		synctest.Wait()
		time.Sleep(2 * time.Second)
	})
}

func TestStop(t *testing.T) {
	s, d, _ := newServer("mx")
	ctx, cancel := context.WithCancel(context.Background())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	dial := func(say string) net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := script.Play(c, "x", "S~ 220 .*\n"+say); err != nil {
			t.Fatal(err)
		}
		return c
	}
	idle := dial("")
	busy := dial("C: EHLO x\nS* 250 STARTTLS\nC: MAIL FROM:<a@a.example>\nC: RCPT TO:<b@b.example>\nC: DATA\nS~ 250 .*\nS~ 250 .*\nS~ 354 .*\nC: half\n")
	time.Sleep(20 * time.Millisecond)
	cancel()
	if err := script.Play(idle, "idle", "S: 421 4.3.2 mx.example going down, come back soon\nEOF"); err != nil {
		t.Error(err)
	}
	if err := script.Play(busy, "busy", "C: whole\nC: .\nS~ 250 2.0.0 OK, id .*\nS~ 421 .*\nEOF"); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := d.notes(); len(n) != 2 || n[1] != `data "half\r\nwhole\r\n" for 1` {
		t.Error(n)
	}
}

func TestConnections(t *testing.T) {
	s, _, _ := newServer("mx")
	s.Limits.PerAddress = 2
	refused := 0
	s.Refused = func() { refused++ }
	var stops []func()
	for range 2 {
		conn, stop := start(t, s)
		if err := script.Play(conn, "x", "S~ 220 .*"); err != nil {
			t.Fatal(err)
		}
		stops = append(stops, stop)
	}
	conn, stop := start(t, s)
	if err := script.Play(conn, "x", "S: 421 4.7.0 too many connections\nEOF"); err != nil {
		t.Error(err)
	}
	for _, f := range append(stops, stop) {
		f()
	}
	if s.places.Len() != 0 || refused != 1 {
		t.Errorf("%d places are still taken, %d connections were refused", s.places.Len(), refused)
	}
}

// TestEndless sends commands without end. The server must go away, and the
// memory must stay where it is.
func TestEndless(t *testing.T) {
	for name, piece := range map[string]string{"line": strings.Repeat("x", 1<<16), "lines": strings.Repeat("x", 4000) + "\r\n", "commands": strings.Repeat("FOO\r\n", 1000)} {
		s, _, _ := newServer("mx")
		conn, stop := start(t, s)
		go io.Copy(io.Discard, conn)
		sent := 0
		conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
		for sent < 64<<20 {
			n, err := io.WriteString(conn, piece)
			if sent += n; err != nil {
				break
			}
		}
		if sent > 1<<20 {
			t.Errorf("%s: %d bytes were read", name, sent)
		}
		stop()
	}
}

func TestName(t *testing.T) {
	s, d, _ := newServer("mx")
	s.Name = func(context.Context, netip.Addr) string { return "client.example" }
	conn, stop := start(t, s)
	if err := script.Play(conn, "x", "S~ 220 .*\nC: HELO x\nS: 250 mx.example\nC: MAIL FROM:<>\nS~ 250 .*\nCLOSE"); err != nil {
		t.Error(err)
	}
	stop()
	if n := d.notes(); len(n) != 2 || n[0] != "begin <> hello=x name=client.example login= tls=false size=0" || n[1] != "reset" {
		t.Error(n)
	}
}

func TestPanicEndsOneSession(t *testing.T) {
	s, d, log := newServer("mx")
	conn, stop := start(t, s)
	if err := script.Play(conn, "x", "S~ 220 .*\nC: HELO x\nS: 250 mx.example\nC: MAIL FROM:<a@a.example>\nC: RCPT TO:<panic@b.example>\nEOF"); err != nil {
		t.Error(err)
	}
	stop()
	if !strings.Contains(log.String(), "at the desk") || !slices.Contains(d.notes(), "reset") || s.places.Len() != 0 {
		t.Error(log.String(), d.notes())
	}
}

// nobody is a Receiver that costs nothing.
type nobody struct{}

func (nobody) Begin(context.Context, mail.Peer, mail.Address, smtp.MailParams) (smtp.Transaction, error) {
	return nobody{}, nil
}
func (nobody) ID() mail.TraceID                                          { return testID }
func (nobody) Rcpt(context.Context, mail.Address, smtp.RcptParams) error { return nil }
func (nobody) Data(_ context.Context, b io.Reader) error {
	_, err := io.Copy(io.Discard, b)
	return err
}
func (nobody) Reset(context.Context) {}

func BenchmarkMessages(b *testing.B) {
	s := &Server{Hostname: "mx.example", Receiver: nobody{}, Log: slog.New(slog.DiscardHandler)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	cl := smtp.NewClient(conn, smtp.ClientOptions{Hello: "x"})
	if err := cl.Greet(); err != nil {
		b.Fatal(err)
	}
	body := memBody(strings.Repeat("The quick brown fox jumps over the lazy dog, and then over another.\r\n", 60))
	a := mail.Address{Local: "a", Domain: "a.example"}
	env := mail.Envelope{Sender: a, Recipients: []mail.Recipient{{Address: a}}}
	b.ReportAllocs()
	for b.Loop() {
		if outs, err := cl.Send(env, nil, body); err != nil || outs[0].Status.Class != 2 {
			b.Fatal(outs, err)
		}
	}
	conn.Close()
	cancel()
	<-done
}

type memBody string

func (b memBody) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
func (b memBody) Size() int64 { return int64(len(b)) }

// BenchmarkIdle measures what a session takes while its client waits, with the client's
// end of the connection: of the heap, and of that what stacks are; after EHLO, and after a
// message.
func BenchmarkIdle(b *testing.B) {
	for _, what := range []string{"hello", "message"} {
		b.Run(what, func(b *testing.B) {
			for b.Loop() {
				idleMemory(b, what == "message")
			}
		})
	}
}

func idleMemory(b *testing.B, message bool) {
	const n = 300
	s := &Server{Hostname: "mx.example", Receiver: nobody{}, Log: slog.New(slog.DiscardHandler)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go s.Serve(b.Context(), ln)
	inUse := func() (heap, stack uint64) {
		runtime.GC()
		for range 4 { // each time a stack may become half as large
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, m.StackInuse
	}
	heap, stack := inUse()
	body := memBody(strings.Repeat("The quick brown fox jumps over the lazy dog, and then over another.\r\n", 60))
	a := mail.Address{Local: "a", Domain: "a.example"}
	for range n {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		cl := smtp.NewClient(conn, smtp.ClientOptions{Hello: "x"})
		if err := cl.Greet(); err != nil {
			b.Fatal(err)
		}
		if message {
			if _, err := cl.Send(mail.Envelope{Sender: a, Recipients: []mail.Recipient{{Address: a}}}, nil, body); err != nil {
				b.Fatal(err)
			}
		}
	}
	nowHeap, nowStack := inUse()
	b.ReportMetric(float64(nowHeap-heap+nowStack-stack)/n, "B/session")
	b.ReportMetric(float64(nowStack-stack)/n, "stack-B/session")
}
