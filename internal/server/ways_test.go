package server_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/server"
	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
	"posthaste/test/house"
	"posthaste/test/network"
)

// A street is a house among hosts that take note of whom they hear of.
type street struct {
	t     *testing.T
	net   network.Network
	zone  zone.Zone
	house *house.House
	admin *admind.Client

	mu     sync.Mutex
	came   []string // "host: recipient"
	closed map[string]string
	// told: it is noted, too, who brought it; banned are greeted so, and absent are
	// addresses that the machine does not have.
	told   bool
	banned map[string]string
	absent map[string]bool
}

// newStreet has a.example as its own, and MX records for b.example and c.example.
func newStreet(t *testing.T, change func(*config.Config)) *street {
	s := &street{t: t, closed: map[string]string{}, banned: map[string]string{}, absent: map[string]bool{}}
	db, blobs := memkv.New(), memblob.New()
	s.house = house.Over(t, "mx.a.example", db, blobs)
	s.house.Account(0, "ada@a.example")
	for name, ip := range map[string]string{"mx.b.example": "198.51.100.1", "mx.c.example": "198.51.100.2", "one.example": "203.0.113.1", "two.example": "203.0.113.2"} {
		s.zone.Address(mail.Domain(name), ip)
		s.net.Listen(netip.AddrPortFrom(netip.MustParseAddr(ip), 25), func(c net.Conn) { s.sink(c, name) })
	}
	s.zone.MXHost("b.example", 10, "mx.b.example").MXHost("c.example", 10, "mx.c.example")
	c := config.Default()
	c.Hostname, c.Listeners = "mx.a.example", nil
	c.Reports.Send = false
	change(&c)
	h, err := server.Build(c, server.Outside{DB: db, Blobs: blobs, DNS: &s.zone, Dial: s.net.From(netip.MustParseAddr("192.0.2.1")), DialFrom: s.dialFrom, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.admin = admind.InProcess(h.Admin.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := h.Run(ctx, func() {}); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		s.net.Wait()
	})
	return s
}

func (s *street) dialFrom(ctx context.Context, from netip.Addr, network, addr string) (net.Conn, error) {
	s.mu.Lock()
	absent := s.absent[from.String()]
	s.mu.Unlock()
	if absent {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)}
	}
	return s.net.From(from)(ctx, network, addr)
}

// sink takes mail, or says to every recipient what it is told to.
func (s *street) sink(c net.Conn, name string) {
	ip := c.RemoteAddr().(*net.TCPAddr).IP.String()
	s.mu.Lock()
	banned, told := s.banned[ip], s.told
	s.mu.Unlock()
	if banned != "" {
		fmt.Fprint(c, banned+"\r\n")
		return
	}
	fmt.Fprintf(c, "220 %s\r\n", name)
	in, rcpts, hello := false, []string{}, ""
	for sc := bufio.NewScanner(c); sc.Scan(); {
		line, answer := sc.Text(), "250 OK"
		s.mu.Lock()
		no := or(s.closed[name], s.closed[ip])
		s.mu.Unlock()
		switch {
		case in && line != ".":
			continue
		case in:
			in = false
			s.mu.Lock()
			for _, r := range rcpts {
				if told {
					r += " from " + ip + " " + hello
				}
				s.came = append(s.came, name+": "+r)
			}
			s.mu.Unlock()
		case strings.HasPrefix(line, "EHLO"):
			hello = strings.TrimPrefix(line, "EHLO ")
		case strings.HasPrefix(line, "MAIL"):
			rcpts = nil
		case strings.HasPrefix(line, "RCPT"):
			if answer = no; no == "" {
				_, to, _ := strings.Cut(line, "<")
				rcpts, answer = append(rcpts, strings.TrimSuffix(to, ">")), "250 OK"
			}
		case line == "DATA" && len(rcpts) == 0:
			answer = "503 nobody"
		case line == "DATA":
			in, answer = true, "354 go"
		}
		fmt.Fprint(c, answer+"\r\n")
	}
}

// close has a host say so to all recipients; "" opens it.
func (s *street) close(host, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed[host] = answer
}

func (s *street) post(from, to string) string {
	s.t.Helper()
	env := mail.Envelope{Trace: mail.NewTraceID(time.Now()), Recipients: []mail.Recipient{{Address: house.Address(to)}}}
	if from != "" {
		env.Sender = house.Address(from)
	}
	if err := s.house.Delivery.Deliver(s.t.Context(), mda.Mail{Envelope: env, Body: s.house.Stage("Subject: x\r\n\r\nx\r\n")}); err != nil {
		s.t.Fatal(err)
	}
	return env.Trace.String()
}

// after lets time pass, and compares what has come since the last call.
func (s *street) after(d time.Duration, want ...string) {
	s.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.came)
	if slices.Sort(want); !slices.Equal(s.came, want) {
		s.t.Errorf("came\n%q\nwant\n%q", s.came, want)
	}
	s.came = nil
}

// waiting gives all that waits.
func (s *street) waiting() (all []admind.Item, err error) {
	err = s.admin.Queue(s.t.Context(), func(list []admind.Item) { all = append(all, list...) })
	return all, err
}

// TestRoutes: of the routes that fit, the narrowest counts; what is ours stays here.
func TestRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, func(c *config.Config) {
			c.Routes = []config.Route{
				{Domain: "*", From: "a.example", Host: "one.example:25", Protocol: "smtp", TLS: "none"},
				{Domain: "*", After: 2, Host: "two.example:25", Protocol: "smtp", TLS: "none"},
				{Domain: "c.example", Host: "two.example:25", Protocol: "smtp", TLS: "none"},
			}
		})
		s.post("ada@a.example", "x@b.example")
		s.post("eve@d.example", "y@b.example")
		s.post("", "z@b.example")
		s.post("ada@a.example", "x@c.example")
		s.post("ada@a.example", "ada@a.example")
		s.after(time.Second, "one.example: x@b.example", "mx.b.example: y@b.example", "mx.b.example: z@b.example", "two.example: x@c.example")
		if got := s.house.Inbox("ada@a.example"); len(got) != 1 {
			t.Errorf("%d messages came to ada", len(got))
		}
		// After two failures another way is taken, but not by mail that has one of its own.
		s.close("mx.b.example", "451 not now")
		s.close("one.example", "451 not now")
		s.post("ada@a.example", "x@b.example")
		s.post("eve@d.example", "y@b.example")
		s.after(90*time.Second, []string{}...)
		s.after(10*time.Minute, "two.example: y@b.example")
		s.close("one.example", "")
		s.after(time.Hour, "one.example: x@b.example")
	})
}

// TestReroute: what waits goes by the way that it is told to, keeps it, and goes by
// the usual one when told so. A host that is down holds nobody up who goes elsewhere.
func TestReroute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, func(c *config.Config) {
			c.Routes = []config.Route{
				{Domain: "c.example", Host: "one.example:25", Protocol: "smtp", TLS: "none"},
				{Name: "spare", Host: "two.example:25", Protocol: "smtp", TLS: "none"},
			}
		})
		for _, h := range []string{"mx.b.example", "mx.c.example", "one.example", "two.example"} {
			s.close(h, "451 not now")
		}
		b, c := s.post("eve@d.example", "x@b.example"), s.post("eve@d.example", "x@c.example")
		s.after(time.Second)
		for _, name := range []string{"", "nothing", "two.example", "two.example:0", "two.example:smtp", "a b:25"} {
			if _, err := s.admin.Reroute(t.Context(), b, name); err == nil || !strings.Contains(err.Error(), "host:port") {
				t.Errorf("to %q: %v", name, err)
			}
		}
		if _, err := s.admin.RerouteGroup(t.Context(), admind.Group{}, "mx"); err == nil {
			t.Error("a group that is none was rerouted")
		}
		via := func(want ...string) {
			t.Helper()
			items, err := s.waiting()
			var got []string
			for _, it := range items {
				got = append(got, it.Recipients[0]+" "+it.Via)
			}
			slices.Sort(got)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
		}
		reroute := func(n int, err error) {
			t.Helper()
			if n != 1 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		reroute(s.admin.Reroute(t.Context(), b, "Two.example:25"))
		reroute(s.admin.RerouteGroup(t.Context(), admind.Group{To: "c.example"}, "mx"))
		s.after(time.Second)
		via("x@b.example two.example:25", "x@c.example mx")
		reroute(s.admin.Reroute(t.Context(), b, "default"))
		via("x@b.example ", "x@c.example mx")
		reroute(s.admin.Reroute(t.Context(), b, "spare"))
		s.close("mx.c.example", "")
		s.close("two.example", "")
		s.after(2*time.Hour, "two.example: x@b.example", "mx.c.example: x@c.example")
		for _, id := range []string{b, c} {
			story, err := s.admin.Story(t.Context(), id)
			if err != nil || !strings.Contains(strings.Join(story.Lines, "\n"), "An administrator has it go to") {
				t.Errorf("%v\n%s", err, strings.Join(story.Lines, "\n"))
			}
		}
		// What is held stays so; what goes to a host that is down says so, and goes
		// at once when it is told to go elsewhere.
		held := s.post("eve@d.example", "held@b.example")
		s.after(time.Second)
		if _, err := s.admin.ChangeQueued(t.Context(), "hold", held); err != nil {
			s.t.Fatal(err)
		}
		reroute(s.admin.Reroute(t.Context(), held, "spare"))
		s.after(time.Hour)
		down := s.post("eve@d.example", "down@b.example")
		reroute(s.admin.Reroute(t.Context(), down, "203.0.113.99:25"))
		s.after(time.Minute)
		reroute(s.admin.Reroute(t.Context(), down, "spare"))
		s.after(time.Second, "two.example: down@b.example")
		if _, err := s.admin.ChangeQueued(t.Context(), "release", held); err != nil {
			s.t.Fatal(err)
		}
		s.after(time.Second, "two.example: held@b.example")
	})
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// TestEgress: each domain hears from one address of the pool that its sender has, and
// from another when that one is refused, at the door or at the recipient, or is not
// there; the story says which it was.
func TestEgress(t *testing.T) {
	address := func(name, ip string) config.EgressAddress {
		return config.EgressAddress{Hello: name, IPv4: netip.MustParseAddr(ip), Weight: 1}
	}
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, func(c *config.Config) {
			c.Egress = []config.Egress{
				{Name: "default", Addresses: []config.EgressAddress{address("out1.a.example", "192.0.2.11"), address("out2.a.example", "192.0.2.12"), {Hello: "out6.a.example", IPv6: netip.MustParseAddr("2001:db8::1"), Weight: 1000}}},
				{Name: "news", From: []string{"news.example"}, Addresses: []config.EgressAddress{address("news.a.example", "192.0.2.21")}},
				{Name: "relay", Addresses: []config.EgressAddress{address("relay.a.example", "192.0.2.31")}},
			}
			c.Routes = []config.Route{{Domain: "c.example", Host: "one.example:25", Protocol: "smtp", TLS: "none", Egress: "relay"}}
		})
		s.told = true
		s.post("eve@news.example", "n@b.example")
		s.post("eve@d.example", "r@c.example")
		s.after(time.Second, "mx.b.example: n@b.example from 192.0.2.21 news.a.example", "one.example: r@c.example from 192.0.2.31 relay.a.example")
		// The other address is found by banning the first, first of all.
		first, second := "192.0.2.11 out1.a.example", "192.0.2.12 out2.a.example"
		s.post("eve@d.example", "x@b.example")
		time.Sleep(time.Second)
		if s.mu.Lock(); len(s.came) == 1 && strings.HasSuffix(s.came[0], second) {
			first, second = second, first
		}
		s.mu.Unlock()
		came := func(who, from string) string { return "mx.b.example: " + who + "@b.example from " + from }
		s.after(0, came("x", first))
		for range 3 {
			s.post("eve@d.example", "y@b.example")
			time.Sleep(time.Minute) // a session of its own
		}
		s.after(0, came("y", first), came("y", first), came("y", first))
		ip := func(who string) string { return strings.Fields(who)[0] }
		ban := func(who, greeting, answer string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.banned[ip(who)], s.closed[ip(who)] = greeting, answer
		}
		ban(first, "554 5.7.1 Service unavailable; client blocked using zen.spamhaus.org", "")
		id := s.post("eve@d.example", "banned@b.example")
		s.after(time.Second, came("banned", second))
		story, err := s.admin.Story(t.Context(), id)
		if all := strings.Join(story.Lines, "\n"); err != nil || !strings.Contains(all, "we sent it from "+strings.Fields(second)[1]+" ["+ip(second)+"]") {
			t.Errorf("%v\n%s", err, all)
		}
		ban(first, "", "")
		time.Sleep(2 * time.Hour) // it is tried again
		s.post("eve@d.example", "again@b.example")
		s.after(time.Second, came("again", first))
		// A refused recipient, over the session that is open.
		ban(first, "", "550 5.7.1 your address is listed at dnsbl.example")
		s.post("eve@d.example", "listed@b.example")
		s.after(time.Second, came("listed", second))
		// What is wrong with the recipient is not the address's fault.
		ban(first, "", "")
		time.Sleep(2 * time.Hour)
		ban(first, "", "450 4.2.2 mailbox full")
		s.post("eve@d.example", "full@b.example")
		s.after(time.Second)
		ban(first, "", "")
		s.after(10*time.Minute, came("full", first))
		// The machine has lost an address; then it has both, and both are refused.
		time.Sleep(time.Minute)
		s.mu.Lock()
		s.absent[ip(first)] = true
		s.mu.Unlock()
		s.post("eve@d.example", "lost@b.example")
		s.after(time.Second, came("lost", second))
		time.Sleep(time.Hour)
		s.mu.Lock()
		s.absent[ip(first)] = false
		s.mu.Unlock()
		ban(first, "554 5.7.1 blocked using zen.spamhaus.org", "")
		ban(second, "554 5.7.1 blocked using zen.spamhaus.org", "")
		s.post("eve@d.example", "both@b.example")
		s.after(time.Hour)
		items, err := s.waiting()
		if err != nil || len(items) != 1 || items[0].Why != "spamhaus" {
			t.Errorf("%+v, %v", items, err)
		}
		// Mail of others, from another address, is not held up by that.
		s.post("eve@news.example", "free@b.example")
		s.after(time.Second, came("free", "192.0.2.21 news.a.example"))
		ban(second, "", "")
		s.after(5*time.Hour, came("both", second))
	})
}

// TestEgressRecords: SPF has all addresses that a domain's mail goes out from, and each
// name and address is looked up.
func TestEgressRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, func(c *config.Config) {
			c.Egress = []config.Egress{
				{Name: "default", Addresses: []config.EgressAddress{{Hello: "out1.a.example", IPv4: netip.MustParseAddr("192.0.2.11"), IPv6: netip.MustParseAddr("2001:db8::b"), Weight: 1}}},
				{Name: "news", From: []string{"news.example"}, Addresses: []config.EgressAddress{{Hello: "news.a.example", IPv4: netip.MustParseAddr("192.0.2.21"), Weight: 1}}},
			}
		})
		s.zone.Address("out1.a.example", "192.0.2.11").Address("elsewhere.example", "192.0.2.21")
		records := func(d string) string {
			list, err := s.admin.Records(t.Context(), d, admind.RecordOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			for _, r := range list {
				fmt.Fprintf(&out, "%s %s %s (%s)\n", r.Name, r.Type, r.Value, r.Wrong)
			}
			return out.String()
		}
		if err := s.admin.AddDomain(t.Context(), "news.example"); err != nil {
			t.Fatal(err)
		}
		for d, want := range map[string][]string{
			"a.example": {
				`"v=spf1 mx ip4:192.0.2.11 ip6:2001:db8::b -all"`, "out1.a.example A 192.0.2.11 ()", "11.2.0.192.in-addr.arpa PTR out1.a.example. ()",
				"out1.a.example AAAA 2001:db8::b (out1.a.example leads to [192.0.2.11] only)", "b.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR out1.a.example. (2001:db8::b has no name)",
				`out1.a.example TXT "v=spf1 a -all"`,
			},
			"news.example": {`"v=spf1 mx ip4:192.0.2.21 -all"`, "news.a.example A 192.0.2.21 (news.a.example has no address)", "21.2.0.192.in-addr.arpa PTR news.a.example. (192.0.2.21 leads to [elsewhere.example] only)"},
		} {
			got := records(d)
			for _, w := range want {
				if !strings.Contains(got, w) {
					t.Errorf("%q is not in\n%s", w, got)
				}
			}
		}
	})
}

// TestPages: a long queue is listed in pages, each item once.
func TestPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, func(c *config.Config) { c.Queue.Workers = 1 })
		s.close("mx.b.example", "451 not now")
		const many = 2500
		for range many {
			s.post("eve@d.example", "x@b.example")
		}
		ids, pages := map[string]bool{}, 0
		err := s.admin.Queue(t.Context(), func(list []admind.Item) {
			pages++
			for _, it := range list {
				ids[it.ID] = true
			}
			if !slices.IsSortedFunc(list, func(a, b admind.Item) int { return a.Queued.Compare(b.Queued) }) {
				t.Error("a page is not in order")
			}
		})
		if err != nil || len(ids) != many || pages < 2 || pages > 3 {
			t.Errorf("%d items on %d pages, %v", len(ids), pages, err)
		}
	})
}
