package mta_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/agent/mta"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/service/smtpd"
	"posthaste/internal/store/queue"
	"posthaste/test/house"
	"posthaste/test/network"
)

// A world is our house, a network and a DNS around it, and hosts elsewhere.
type world struct {
	*house.House
	t      testing.TB
	net    network.Network
	zone   zone.Zone
	remote *mta.Remote
	agent  *mta.Agent
	dialed []string // addresses, in order
	mu     sync.Mutex
}

// newWorld has ada@a.example in our house. It must be made in a bubble.
func newWorld(t testing.TB) *world {
	w := newWorldOver(t, house.New(t, "mx.a.example"))
	w.Account(0, "ada@a.example")
	return w
}

func newWorldOver(t testing.TB, h *house.House) *world {
	w := &world{t: t, House: h}
	dial := w.net.From(netip.MustParseAddr("192.0.2.1"))
	w.remote = &mta.Remote{Hostname: w.Hostname, DNS: &w.zone, Log: slog.New(slog.DiscardHandler), Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		w.mu.Lock()
		w.dialed = append(w.dialed, addr)
		w.mu.Unlock()
		return dial(ctx, network, addr)
	}}
	w.agent = w.newAgent()
	return w
}

func (w *world) newAgent() *mta.Agent {
	local := &mta.Local{Delivery: w.Delivery, Bodies: w.Bodies}
	return &mta.Agent{
		Hostname: w.Hostname, DB: w.DB, Bodies: w.Bodies, Queue: w.Queue, Journal: w.Journal, Log: slog.New(slog.DiscardHandler),
		Route: func(ctx context.Context, it *queue.Item) (mta.Transport, error) {
			if it.Domain == "a.example" {
				return local, nil
			}
			return w.remote, nil
		},
	}
}

// run lets the agent work until the returned function is called, or the test
// ends.
func (w *world) run(a *mta.Agent) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := a.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
		w.remote.Close()
	})
	w.t.Cleanup(stop)
	return stop
}

const text = "From: ada@a.example\r\nSubject: hello\r\nMessage-ID: <1@a.example>\r\n\r\nHello.\r\n"

// post queues a message from ada.
func (w *world) post(to ...string) mail.TraceID { return w.postFrom("ada@a.example", text, to...) }

func (w *world) postFrom(from, text string, to ...string) mail.TraceID {
	w.t.Helper()
	return w.postAs(from, text, func(*mail.Envelope) {}, to...)
}

// postAs queues a message whose envelope it shows before.
func (w *world) postAs(from, text string, show func(*mail.Envelope), to ...string) mail.TraceID {
	w.t.Helper()
	env := mail.Envelope{Trace: mail.NewTraceID(time.Now()), EightBit: true}
	if from != "" {
		env.Sender = house.Address(from)
	}
	for _, s := range to {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: house.Address(s)})
	}
	show(&env)
	st := w.Stage(text)
	if err := w.Delivery.Deliver(w.t.Context(), mda.Mail{Envelope: env, Body: st, Trace: []byte("Received: here\r\n")}); err != nil {
		w.t.Fatal(err)
	}
	return env.Trace
}

// A host is a server elsewhere. Its fields may be changed while it works.
type host struct {
	smtpd.Server
	mu       sync.Mutex
	rcpt     func(local string) error
	data     func() error
	got      []string // "to: text"
	asked    []string // what was said beside the addresses
	attempts []time.Time
	conns    int
	open     int
}

// host puts a host on the network, with an MX of the domain that names it.
func (w *world) host(domain string, preference uint16, name, ip string) *host {
	h := &host{}
	h.Hostname, h.Receiver, h.Log = name, h, slog.New(slog.DiscardHandler)
	h.Limits.PerAddress = 1000
	w.zone.MXHost(mail.Domain(domain), preference, mail.Domain(name))
	w.zone.Address(mail.Domain(name), ip)
	w.net.Listen(netip.AddrPortFrom(netip.MustParseAddr(ip), 25), h.serve)
	return h
}

// bare puts a server at an address that offers STARTTLS, if it can, and what it is
// told to, and takes everything. It gives what it was told.
func (w *world) bare(ip string, cfg *tls.Config, offers ...string) (said func() []string) {
	var mu sync.Mutex
	var all []string
	w.net.Listen(netip.AddrPortFrom(netip.MustParseAddr(ip), 25), func(c net.Conn) {
		defer func() { c.Close() }()
		fmt.Fprint(c, "220 bare\r\n")
		in := false
		for s := bufio.NewScanner(c); s.Scan(); {
			line, answer := s.Text(), "250 OK"
			mu.Lock()
			all = append(all, line)
			mu.Unlock()
			switch {
			case in && line != ".":
				continue
			case strings.HasPrefix(line, "EHLO"):
				answer = "250-" + strings.Join(append([]string{"bare", "STARTTLS"}, offers...), "\r\n250-") + "\r\n250 HELP"
				if cfg == nil {
					answer = strings.Replace(answer, "STARTTLS", "NOOP", 1)
				}
			case line == "STARTTLS":
				fmt.Fprint(c, "220 go\r\n")
				c = tls.Server(c, cfg)
				s = bufio.NewScanner(c)
				continue
			case line == "DATA":
				in, answer = true, "354 go"
			default:
				in = false
			}
			fmt.Fprint(c, answer+"\r\n")
		}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

func (h *host) serve(c net.Conn) {
	h.mu.Lock()
	h.conns++
	h.open++
	h.mu.Unlock()
	h.ServeConn(context.Background(), c)
	h.mu.Lock()
	h.open--
	h.mu.Unlock()
}

func (h *host) Begin(_ context.Context, _ mail.Peer, _ mail.Address, p smtp.MailParams) (smtp.Transaction, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	asked := fmt.Sprintf("ENVID=%s RET=%d", p.EnvelopeID, p.Return)
	if p.RequireTLS {
		asked += " REQUIRETLS"
	}
	if p.By.Asked {
		asked += fmt.Sprintf(" BY=%v,%v,%v", p.By.Within, p.By.Return, p.By.Trace)
	}
	h.asked = append(h.asked, asked)
	return &hostTx{h: h}, nil
}

// sessions gives how many connections there have been, and how many are open.
func (h *host) sessions() (conns, open int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conns, h.open
}

// heard gives what was said to it beside the addresses, and how many recipients were
// named.
func (h *host) heard() (asked []string, attempts int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked), len(h.attempts)
}

func (h *host) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.got)
}

type hostTx struct {
	h  *host
	to []string
}

func (t *hostTx) ID() mail.TraceID      { return mail.TraceID{} }
func (t *hostTx) Reset(context.Context) {}

func (t *hostTx) Rcpt(_ context.Context, to mail.Address, p smtp.RcptParams) error {
	t.h.mu.Lock()
	t.h.asked = append(t.h.asked, fmt.Sprintf("NOTIFY=%d ORCPT=%s", p.Notify, p.Original))
	rcpt := t.h.rcpt
	t.h.attempts = append(t.h.attempts, time.Now())
	t.h.mu.Unlock()
	if rcpt != nil {
		if err := rcpt(to.Local); err != nil {
			return err
		}
	}
	t.to = append(t.to, to.Local)
	return nil
}

func (t *hostTx) Data(_ context.Context, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if t.h.data != nil {
		if err := t.h.data(); err != nil {
			return err
		}
	}
	t.h.mu.Lock()
	defer t.h.mu.Unlock()
	for _, to := range t.to {
		t.h.got = append(t.h.got, to+": "+string(b))
	}
	return nil
}

// reports gives the subject lines of what ada got, with what each report says
// of whom: "Subject | recipient status | …".
func (w *world) reports() (out []string) {
	w.t.Helper()
	for _, m := range w.Inbox("ada@a.example") {
		var parts []string
		for line := range strings.Lines(m) {
			line = strings.TrimRight(line, "\r\n")
			for _, f := range []string{"Subject: ", "Final-Recipient: rfc822;", "Final-Recipient: rfc822; ", "Action: ", "Status: "} {
				if v, ok := strings.CutPrefix(line, f); ok && (f != "Subject: " || len(parts) == 0) {
					parts = append(parts, strings.TrimSpace(v))
					break
				}
			}
		}
		out = append(out, strings.Join(parts, " | "))
	}
	return out
}

// claimAll claims what is due.
func (w *world) claimAll(hold time.Duration) []queue.Claim {
	w.t.Helper()
	claims, err := w.Queue.Claim(w.t.Context(), hold, 100, queue.Pick{})
	if err != nil {
		w.t.Fatal(err)
	}
	return claims
}

func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}
