package mta_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mta"
	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/store/queue"
	"posthaste/test/network"
)

// carry sends one message to x at the domain and gives what became of it, or
// the error of all.
func (w *world) carry(domain string) (string, error) {
	w.t.Helper()
	env := mail.Envelope{Trace: mail.NewTraceID(time.Now()), Sender: mail.Address{Local: "ada", Domain: "a.example"}}
	env.Recipients = []mail.Recipient{{Address: mail.Address{Local: "x", Domain: mail.Domain(domain)}}}
	st := w.Stage(text)
	ref, err := w.Bodies.Keep(w.t.Context(), st, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := w.Bodies.Open(w.t.Context(), ref, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer b.Close()
	outs, err := w.remote.Carry(w.t.Context(), queue.Item{Domain: mail.Domain(domain), Envelope: env}, b)
	if err != nil {
		return "", err
	}
	return outs[0].Status.String() + " from " + outs[0].Remote, nil
}

func statusOf(err error) string {
	if no, ok := errors.AsType[*mail.Refusal](err); ok {
		return no.Status.String()
	}
	return fmt.Sprint(err)
}

// greetWith is a host that says one thing and hangs up.
func greetWith(line string) func(net.Conn) {
	return func(c net.Conn) {
		io.WriteString(c, line+"\r\n")
		io.ReadAll(c)
	}
}

// TestRoute: which hosts are tried, in which order, and what the sender hears if
// there are none.
func TestRoute(t *testing.T) {
	at := func(ip string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(ip), 25) }
	for name, c := range map[string]struct {
		build  func(w *world)
		domain string
		want   string   // the outcome or the status of the error
		dialed []string // last parts of the addresses, in order
	}{
		"by preference": {func(w *world) {
			w.host("b.example", 20, "second.b.example", "198.51.100.2")
			w.host("b.example", 10, "first.b.example", "198.51.100.1")
			w.host("b.example", 30, "third.b.example", "198.51.100.3")
		}, "b.example", "2.0.0 from first.b.example [198.51.100.1]", []string{"1"}},
		"past those that are ill": {func(w *world) {
			w.zone.MXHost("b.example", 1, "no-address.b.example")
			w.zone.MXHost("b.example", 2, "dead.b.example").Address("dead.b.example", "198.51.100.9")
			w.zone.MXHost("b.example", 3, "nobody.b.example").Address("nobody.b.example", "198.51.100.8")
			w.zone.MXHost("b.example", 4, "busy.b.example").Address("busy.b.example", "198.51.100.7")
			w.net.Listen(at("198.51.100.7"), greetWith("421 4.3.2 too busy"))
			w.zone.MXHost("b.example", 5, "closed.b.example").Address("closed.b.example", "198.51.100.6")
			w.net.Listen(at("198.51.100.6"), greetWith("554 5.3.2 no mail here"))
			w.zone.MXHost("b.example", 6, "odd.b.example").Address("odd.b.example", "198.51.100.5")
			w.net.Listen(at("198.51.100.5"), greetWith("HTTP/1.1 400 Bad Request"))
			w.host("b.example", 7, "well.b.example", "198.51.100.1")
		}, "b.example", "2.0.0 from well.b.example [198.51.100.1]", []string{"9", "8", "7", "6", "5", "1"}},
		"all addresses of a host": {func(w *world) {
			w.zone.Address("mx.b.example", "198.51.100.9")
			w.host("b.example", 1, "mx.b.example", "198.51.100.1")
		}, "b.example", "2.0.0 from mx.b.example [198.51.100.1]", []string{"9", "1"}},
		"without MX": {func(w *world) {
			w.host("other.example", 1, "b.example", "198.51.100.1")
		}, "b.example", "2.0.0 from b.example [198.51.100.1]", []string{"1"}},
		"a literal": {func(w *world) {
			w.host("other.example", 1, "b.example", "198.51.100.1")
		}, "[198.51.100.1]", "2.0.0 from [198.51.100.1] [198.51.100.1]", []string{"1"}},
		"no such domain":           {func(w *world) {}, "b.example", "5.1.2", nil},
		"neither MX nor address":   {func(w *world) { w.zone.Text("b.example", "x") }, "b.example", "5.4.4", nil},
		"null MX":                  {func(w *world) { w.zone.MXHost("b.example", 0, dns.NullMX) }, "b.example", "5.1.10", nil},
		"MX cannot be found out":   {func(w *world) { w.zone.Fail("b.example", dns.ErrTemporary) }, "b.example", "4.4.3", nil},
		"bogus":                    {func(w *world) { w.zone.Fail("b.example", dns.ErrBogus) }, "b.example", "4.4.3", nil},
		"MX without address":       {func(w *world) { w.zone.MXHost("b.example", 1, "mx.b.example") }, "b.example", "5.4.4", nil},
		"an address not found out": {func(w *world) { w.zone.MXHost("b.example", 1, "mx.b.example").Fail("mx.b.example", dns.ErrTemporary) }, "b.example", "4.4.3", nil},
		"one not found out, one none": {func(w *world) {
			w.zone.MXHost("b.example", 1, "mx.b.example").Fail("mx.b.example", dns.ErrTemporary)
			w.zone.MXHost("b.example", 2, "gone.b.example")
		}, "b.example", "4.4.3", nil},
		"one none, one not found out": {func(w *world) {
			w.zone.MXHost("b.example", 1, "gone.b.example")
			w.zone.MXHost("b.example", 2, "mx.b.example").Fail("mx.b.example", dns.ErrTemporary)
		}, "b.example", "4.4.3", nil},
		"ourselves": {func(w *world) { w.zone.MXHost("b.example", 1, "mx.a.example").Address("mx.a.example", "192.0.2.1") }, "b.example", "5.4.6", nil},
		"we are one of several, and the next": {func(w *world) {
			w.zone.MXHost("b.example", 10, "mx.a.example")
			w.zone.MXHost("b.example", 20, "later.b.example").Address("later.b.example", "198.51.100.2")
			w.host("b.example", 5, "before.b.example", "198.51.100.1")
		}, "b.example", "2.0.0 from before.b.example [198.51.100.1]", []string{"1"}},
		"dead": {func(w *world) {
			w.zone.MXHost("b.example", 1, "dead.b.example").Address("dead.b.example", "198.51.100.9")
		}, "b.example", "4.4.1", []string{"9"}},
		"none takes mail": {func(w *world) {
			w.zone.MXHost("b.example", 4, "closed.b.example").Address("closed.b.example", "198.51.100.7")
			w.net.Listen(at("198.51.100.7"), greetWith("521 5.3.2 no mail here ever"))
		}, "b.example", "5.3.2", []string{"7"}},
		"one takes none, one is dead": {func(w *world) {
			w.zone.MXHost("b.example", 4, "closed.b.example").Address("closed.b.example", "198.51.100.7")
			w.net.Listen(at("198.51.100.7"), greetWith("521 5.3.2 no mail here ever"))
			w.zone.MXHost("b.example", 5, "dead.b.example").Address("dead.b.example", "198.51.100.9")
		}, "b.example", "4.4.1", []string{"7", "9"}},
		"one is busy, one is dead": {func(w *world) {
			w.zone.MXHost("b.example", 4, "busy.b.example").Address("busy.b.example", "198.51.100.7")
			w.net.Listen(at("198.51.100.7"), greetWith("421 4.3.2 too busy"))
			w.zone.MXHost("b.example", 5, "dead.b.example").Address("dead.b.example", "198.51.100.9")
		}, "b.example", "4.4.2", []string{"7", "9"}},
		"all say no": {func(w *world) {
			w.zone.MXHost("b.example", 4, "closed.b.example").Address("closed.b.example", "198.51.100.7")
			w.net.Listen(at("198.51.100.7"), greetWith("554 5.3.2 no mail here"))
		}, "b.example", "4.4.2", []string{"7"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.net.Fault = func(_ netip.Addr, to netip.AddrPort) network.Fault {
					return network.Fault{Dead: to.Addr() == netip.MustParseAddr("198.51.100.9")}
				}
				c.build(w)
				got, err := w.carry(c.domain)
				if err != nil {
					got = statusOf(err)
				}
				if got != c.want {
					t.Errorf("%s (%v), want %s", got, err, c.want)
				}
				var dialed []string
				for _, d := range w.dialed {
					dialed = append(dialed, strings.TrimSuffix(d[strings.LastIndexByte(d, '.')+1:], ":25"))
				}
				same(t, "dialed", dialed, c.dialed)
				w.remote.Close()
			})
		})
	}
}

// TestEqualPreference: hosts that are as good as each other share the work, and
// those as good as ourselves are left out, however they are drawn.
func TestEqualPreference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.host("b.example", 10, "a.b.example", "198.51.100.1")
		b := w.host("b.example", 10, "b.b.example", "198.51.100.2")
		c := w.host("b.example", 20, "c.b.example", "198.51.100.3")
		w.zone.MXHost("b.example", 20, "MX.a.example") // as some configure it
		for range 60 {
			if _, err := w.carry("b.example"); err != nil {
				t.Fatal(err)
			}
			w.remote.Close()
		}
		if a.count() < 10 || b.count() < 10 || a.count()+b.count() != 60 || c.count() != 0 {
			t.Errorf("%d, %d and %d messages", a.count(), b.count(), c.count())
		}
		// The two that are better than ourselves are away: the third is no way out.
		w.net.Fault = func(_ netip.Addr, to netip.AddrPort) network.Fault {
			return network.Fault{Refused: to.Addr() != netip.MustParseAddr("198.51.100.3")}
		}
		for range 20 {
			if _, err := w.carry("b.example"); statusOf(err) != "4.4.1" {
				t.Fatalf("%v", err)
			}
		}
	})
}

// TestPool: one connection takes many messages, one after the other, and goes
// when it has nothing to do.
func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
		for range 250 {
			if got, err := w.carry("b.example"); err != nil || !strings.HasPrefix(got, "2.") {
				t.Fatalf("%s, %v", got, err)
			}
			time.Sleep(time.Second)
		}
		if conns, _ := h.sessions(); conns != 3 || h.count() != 250 {
			t.Errorf("%d connections for %d messages, want one a hundred", conns, h.count())
		}
		time.Sleep(18 * time.Second) // and one in the loop
		synctest.Wait()
		if _, open := h.sessions(); open != 1 {
			t.Errorf("%d connections are open", open)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, open := h.sessions(); open != 0 {
			t.Errorf("%d connections are open after 21 seconds", open)
		}
		// Together: all wait for what may come next, and ten of them for longer.
		h.data = func() error { time.Sleep(time.Second); return nil }
		done := make(chan error)
		for range 30 {
			go func() {
				_, err := w.carry("b.example")
				done <- err
			}()
		}
		for range 30 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		conns, together := h.sessions()
		if together <= 10 {
			t.Errorf("%d connections wait", together)
		}
		for range 30 {
			go func() {
				_, err := w.carry("b.example")
				done <- err
			}()
		}
		for range 30 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if now, _ := h.sessions(); now > conns+30-together {
			t.Errorf("%d connections were opened while %d waited", now-conns, together)
		}
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if _, open := h.sessions(); open > 10 {
			t.Errorf("%d connections wait", open)
		}
		w.remote.Close()
		synctest.Wait()
		if _, open := h.sessions(); open != 0 {
			t.Errorf("%d connections are open after Close", open)
		}
	})
}

// TestStale: a connection that died while it waited is not noticed by anybody.
func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
		var last *network.Connection
		w.net.Opened = func(c *network.Connection) { last = c }
		if _, err := w.carry("b.example"); err != nil {
			t.Fatal(err)
		}
		last.Lose()
		if got, err := w.carry("b.example"); err != nil || !strings.HasPrefix(got, "2.") {
			t.Errorf("%s, %v", got, err)
		}
		if conns, _ := h.sessions(); conns != 2 {
			t.Errorf("%d connections", conns)
		}
		w.remote.Close()
	})
}

// TestGoodbye: a host that takes one message a session, and says so when the next
// begins, gets that one over another session at once.
func TestGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.zone.MXHost("b.example", 10, "mx.b.example")
		w.zone.Address("mx.b.example", "198.51.100.1")
		var said atomic.Int32
		w.net.Listen(netip.MustParseAddrPort("198.51.100.1:25"), func(c net.Conn) {
			defer c.Close()
			said.Add(oneMessage(c))
		})
		for range 3 {
			if got, err := w.carry("b.example"); err != nil || got != "2.0.0 from mx.b.example [198.51.100.1]" {
				t.Errorf("%s, %v", got, err)
			}
		}
		w.remote.Close()
		synctest.Wait()
		if n := said.Load(); n != 2 {
			t.Errorf("421 was said %d times", n)
		}
	})
}

// oneMessage takes one message, and gives how often it then said 421.
func oneMessage(c net.Conn) (goodbyes int32) {
	io.WriteString(c, "220 hello\r\n")
	taken := false
	for r := bufio.NewScanner(c); r.Scan(); {
		answer := "250 OK"
		switch line := r.Text(); {
		case strings.HasPrefix(line, "MAIL") && taken:
			io.WriteString(c, "421 4.7.0 that was enough\r\n")
			return 1
		case line == "DATA":
			io.WriteString(c, "354 go on\r\n")
			for r.Scan() && r.Text() != "." {
			}
			taken = true
		}
		io.WriteString(c, answer+"\r\n")
	}
	return 0
}

// TestCut: wherever the connection is lost, there is an outcome, and the message
// is sent again until it has arrived; it may arrive twice if only the answer was
// lost.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, down := range []bool{false, true} {
			for n := int64(1); n < 700; n += 17 {
				w := newWorld(t)
				h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
				first := true
				w.net.Fault = func(netip.Addr, netip.AddrPort) network.Fault {
					if !first {
						return network.Fault{}
					}
					first = false
					if down {
						return network.Fault{CutDown: n}
					}
					return network.Fault{CutUp: n}
				}
				stop := w.run(w.agent)
				w.post("x@b.example")
				time.Sleep(time.Hour)
				synctest.Wait()
				stop()
				if got := h.count(); got < 1 || got > 2 || got == 2 && !down {
					t.Errorf("cut after %d bytes (down: %v): delivered %d times", n, down, got)
				}
				same(t, "waiting", w.Waiting(), nil)
				same(t, "reports", w.reports(), nil)
			}
		}
	})
}

// people is a sasl.Verifier that knows ada, whose password is "sesame".
type people struct{}

var errAuth = sasl.ErrFailed

func (people) Password(_ context.Context, authzid, user, password string) (sasl.Identity, error) {
	if user == "ada" && password == "sesame" {
		return sasl.Identity{Account: 1}, nil
	}
	return sasl.Identity{}, errAuth
}

func (people) ScramKeys(_ context.Context, user string) (sasl.ScramKeys, error) {
	k, err := sasl.NewScramKeys("sesame", []byte("0123456789abcdef"), 4096)
	k.Identity = sasl.Identity{Account: 1}
	return k, err
}

func (people) ScramProved(_ context.Context, _, _ string, k sasl.ScramKeys) (sasl.Identity, error) {
	return k.Identity, nil
}

func (people) ScramFailed(context.Context, string) {}

// TestSmarthost: everything goes to one host, over TLS, after login; and nothing
// goes at all if that does not succeed.
func TestSmarthost(t *testing.T) {
	type setup struct {
		password  string
		mechs     []string // that we choose from
		tls       bool     // the host has it
		implicit  bool
		wrongName bool
		want      string
	}
	for name, c := range map[string]setup{
		"STARTTLS and LOGIN":  {"sesame", []string{sasl.Login}, true, false, false, "2.0.0 from smart.c.example [198.51.100.1]"},
		"STARTTLS and PLAIN":  {"sesame", []string{sasl.Plain}, true, false, false, "2.0.0 from smart.c.example [198.51.100.1]"},
		"STARTTLS and SCRAM":  {"sesame", []string{sasl.Scram}, true, false, false, "2.0.0 from smart.c.example [198.51.100.1]"},
		"implicit TLS":        {"sesame", []string{sasl.Login}, true, true, false, "2.0.0 from smart.c.example [198.51.100.1]"},
		"wrong password":      {"open", []string{sasl.Login}, true, false, false, "4.4.2"},
		"no TLS":              {"sesame", []string{sasl.Login}, false, false, false, "4.4.1"},
		"another certificate": {"sesame", []string{sasl.Login}, true, false, true, "4.4.1"},
		"another, implicit":   {"sesame", []string{sasl.Login}, true, true, true, "4.4.1"},
		"no mechanism":        {"sesame", []string{"GSSAPI"}, true, false, false, "4.4.1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				h := w.host("unused.example", 1, "smart.c.example", "198.51.100.1")
				cn := "smart.c.example"
				if c.wrongName {
					cn = "evil.example"
				}
				cert, roots := network.Certificate(cn)
				if c.tls {
					h.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
				}
				h.Auth = func(mail.Peer) sasl.Verifier { return people{} }
				h.Policy.RequireAuth, h.Policy.ImplicitTLS = true, c.implicit
				w.net.Listen(netip.MustParseAddrPort("198.51.100.1:587"), h.serve)
				var clear []string
				w.net.Opened = func(conn *network.Connection) { conn.Sent = func(b []byte) { clear = append(clear, string(b)) } }
				w.remote.TLS = &tls.Config{RootCAs: roots}
				w.remote.Fixed = &mta.Host{Name: "smart.c.example", Port: "587", RequireTLS: true, ImplicitTLS: c.implicit, Login: func(_ context.Context, offered []string) (smtp.Authenticator, error) {
					for _, m := range c.mechs {
						if slices.Contains(offered, m) {
							return sasl.NewClient(m, sasl.Credentials{User: "ada", Password: c.password}, sasl.ChannelBinding{})
						}
					}
					return nil, errors.New("no mechanism in common")
				}}
				for _, domain := range []string{"b.example", "nowhere.example"} { // one way for all
					got, err := w.carry(domain)
					if err != nil {
						got = statusOf(err)
					}
					if got != c.want {
						t.Errorf("%s (%v), want %s", got, err, c.want)
					}
				}
				conns, _ := h.sessions()
				if ok := strings.HasPrefix(c.want, "2."); (h.count() == 2) != ok || ok && conns != 1 {
					t.Errorf("%d messages over %d connections", h.count(), conns)
				}
				for _, b := range clear {
					if strings.Contains(b, "Subject:") || strings.Contains(b, "MAIL FROM") || strings.Contains(b, "AUTH") {
						t.Errorf("in clear: %q", b)
					}
				}
				w.remote.Close()
				w.net.Wait()
			})
		})
	}
}

// TestOpportunistic: TLS where it can be had, with whatever certificate; in
// clear where it fails.
func TestOpportunistic(t *testing.T) {
	for name, c := range map[string]struct {
		config func(tls.Certificate) *tls.Config
		secure bool
		conns  int
	}{
		"offered":     {func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }, true, 1},
		"not offered": {func(tls.Certificate) *tls.Config { return nil }, false, 1},
		"broken":      {func(tls.Certificate) *tls.Config { return &tls.Config{} }, false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
				cert, _ := network.Certificate("whatever")
				h.TLS = c.config(cert)
				w.remote.TLS = &tls.Config{InsecureSkipVerify: true}
				var clear strings.Builder
				w.net.Opened = func(conn *network.Connection) { conn.Sent = func(b []byte) { clear.Write(b) } }
				if got, err := w.carry("b.example"); err != nil || !strings.HasPrefix(got, "2.") {
					t.Fatalf("%s, %v", got, err)
				}
				conns, _ := h.sessions()
				if secure := !strings.Contains(clear.String(), "Subject:"); secure != c.secure || conns != c.conns {
					t.Errorf("secure: %v, over %d connections", secure, conns)
				}
				w.remote.Close()
				w.net.Wait()
			})
		})
	}
}
