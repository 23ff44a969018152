package envoy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/collector"
	"posthaste/internal/agent/envoy"
	"posthaste/internal/agent/mta"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/store/outpost"
	"posthaste/internal/store/queue"
	"posthaste/internal/store/suppression"
	"posthaste/test/house"
	"posthaste/test/network"
)

// A world is a house, and a provider where ada has an account.
type world struct {
	*house.House
	t     testing.TB
	net   network.Network
	zone  zone.Zone
	far   *provider
	posts *outpost.Store
	envoy *envoy.Agent
	// collector knows how to log in.
	collector *collector.Agent
	agent     *mta.Agent
	post      outpost.Outpost
	dead      *suppression.List
}

// newWorld has ada and bob here, and ada as ada.l@far.example at smtp.far.example. It
// must be made in a bubble.
func newWorld(t testing.TB) *world {
	w := &world{House: house.New(t, "mx.a.example"), t: t, far: &provider{user: "ada.l", password: "sesame"}}
	id := w.Account(0, "ada@a.example", "bob@a.example")[0]
	cert, roots := network.Certificate("smtp.far.example")
	w.far.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
	w.zone.Address("smtp.far.example", "198.51.100.7").Address("smtp.far.example", "198.51.100.8").Address("other.far.example", "198.51.100.7")
	for _, ip := range []string{"198.51.100.7", "198.51.100.8"} {
		w.net.Listen(netip.AddrPortFrom(netip.MustParseAddr(ip), 465), func(c net.Conn) { w.far.serve(tls.Server(c, w.far.tls)) })
		w.net.Listen(netip.AddrPortFrom(netip.MustParseAddr(ip), 587), w.far.serve)
	}
	log := slog.New(slog.DiscardHandler)
	dial := w.net.From(netip.MustParseAddr("192.0.2.1"))
	w.posts = &outpost.Store{DB: w.DB}
	w.collector = &collector.Agent{Outposts: w.posts, Directory: w.Directory}
	shape := &mta.Shaper{}
	w.envoy = &envoy.Agent{Hostname: w.Hostname, Outposts: w.posts, Directory: w.Directory, DNS: &w.zone, Dial: dial, Login: w.collector.Login, Log: log, Roots: roots, Shape: shape}
	w.MSA.Errand = w.envoy.Errand
	w.MSA.Signers = w.Keys.Signers
	w.dead = &suppression.List{DB: w.DB, After: 1}
	w.Queue.Way = func(it *queue.Item) string {
		if it.Errand.Is() {
			return it.Errand.Way()
		}
		return ""
	}
	local := &mta.Local{Delivery: w.Delivery, Bodies: w.Bodies}
	w.agent = &mta.Agent{
		Hostname: w.Hostname, DB: w.DB, Bodies: w.Bodies, Queue: w.Queue, Journal: w.Journal, Log: log, Shape: shape, Suppression: w.dead,
		Route: func(ctx context.Context, it *queue.Item) (mta.Transport, error) {
			if it.Errand.Is() {
				return w.envoy.Route(ctx, it)
			}
			if it.Domain != "a.example" {
				return nil, mail.Refuse("5.4.4", "this test knows no way to "+string(it.Domain), "")
			}
			return local, nil
		},
	}
	o := outpost.Outpost{Account: id, Name: "work", Protocol: outpost.IMAP, Host: "imap.far.example", Port: "993", Security: outpost.TLS, User: "ada.l", Secret: "sesame"}
	o.SendAs = &outpost.SendAs{Address: house.Address("ada.l@far.example"), Host: "smtp.far.example", Port: "465", Security: outpost.TLS, Proven: time.Now()}
	var err error
	if w.post, err = w.posts.Add(t.Context(), o, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.envoy.Close()
		w.net.Wait()
	})
	return w
}

// set changes ada's outpost.
func (w *world) set(change func(*outpost.Entry)) {
	w.t.Helper()
	err := w.posts.Change(context.Background(), w.post.ID, func(e *outpost.Entry) error {
		if e.SendAs != nil {
			to := *e.SendAs
			e.SendAs = &to
		}
		change(e)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// sendAs is set for what only changes how is sent.
func (w *world) sendAs(change func(*outpost.SendAs)) {
	w.t.Helper()
	w.set(func(e *outpost.Entry) { change(e.SendAs) })
}

var ada = mail.Peer{Addr: netip.MustParseAddrPort("192.0.2.99:99"), Hello: "pc", Account: 1, Login: house.Address("ada@a.example")}

// submit has ada send a message.
func (w *world) submit(from, author string, to ...string) (mail.TraceID, error) {
	w.t.Helper()
	tx, err := w.MSA.Begin(w.t.Context(), ada, house.Address(from), smtp.MailParams{})
	if err != nil {
		return mail.TraceID{}, err
	}
	for _, s := range to {
		if err := tx.Rcpt(w.t.Context(), house.Address(s), smtp.RcptParams{}); err != nil {
			return tx.ID(), err
		}
	}
	return tx.ID(), tx.Data(w.t.Context(), strings.NewReader("From: "+author+"\r\nSubject: hello\r\n\r\nHello.\r\n"))
}

// runs has the queue worked on for a time.
func (w *world) runs(d time.Duration) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if err := w.agent.Run(ctx); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// entry gives how ada's outpost stands.
func (w *world) entry() outpost.Entry {
	w.t.Helper()
	e, err := w.posts.Get(context.Background(), w.post.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// A provider is a submission server, as good or as bad as a test wants it.
type provider struct {
	user, password string
	tls            *tls.Config
	noAuth         bool
	noTLS          bool
	greeting       string            // "" is a good one
	says           map[string]string // by what a command begins with

	mu     sync.Mutex
	log    []string // MAIL and RCPT
	texts  []string
	logins int
	conns  int
	open   int
	most   int // that were open at a time
}

func (p *provider) serve(c net.Conn) {
	defer func() { c.Close() }()
	p.mu.Lock()
	p.conns++
	p.open++
	p.most = max(p.most, p.open)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.open--
	}()
	if p.greeting != "" {
		fmt.Fprint(c, p.greeting+"\r\n")
		return
	}
	fmt.Fprint(c, "220 far\r\n")
	in, text, secure, open := false, "", false, false
	_, secure = c.(*tls.Conn)
	for s := bufio.NewScanner(c); s.Scan(); {
		line := s.Text()
		if in && line != "." {
			text += line + "\n"
			continue
		}
		verb, _, _ := strings.Cut(line, " ")
		answer := "250 OK"
		switch {
		case in:
			in = false
			p.mu.Lock()
			p.texts = append(p.texts, text)
			p.mu.Unlock()
			text = ""
		case verb == "EHLO":
			answer = "250-far\r\n250-PIPELINING"
			if !secure && !p.noTLS {
				answer += "\r\n250-STARTTLS"
			}
			if secure && !p.noAuth {
				answer += "\r\n250-AUTH PLAIN XOAUTH2"
			}
			answer += "\r\n250 ENHANCEDSTATUSCODES"
		case verb == "STARTTLS":
			fmt.Fprint(c, "220 go\r\n")
			c = tls.Server(c, p.tls)
			s, secure = bufio.NewScanner(c), true
			continue
		case verb == "AUTH":
			answer = p.auth(line)
			open = strings.HasPrefix(answer, "235")
		case (verb == "MAIL" || verb == "RCPT") && !open:
			answer = "530 5.7.0 Authentication required"
		case verb == "MAIL" || verb == "RCPT":
			p.mu.Lock()
			p.log = append(p.log, line)
			p.mu.Unlock()
		case verb == "DATA":
			in, answer = true, "354 go"
		}
		for start, no := range p.says {
			if strings.HasPrefix(line, start) {
				in, answer = false, no
			}
		}
		fmt.Fprint(c, answer+"\r\n")
	}
}

func (p *provider) auth(line string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logins++
	want := base64.StdEncoding.EncodeToString([]byte("\x00" + p.user + "\x00" + p.password))
	if line == "AUTH PLAIN "+want || line == "AUTH XOAUTH2 "+base64.StdEncoding.EncodeToString([]byte("user="+p.user+"\x01auth=Bearer "+p.password+"\x01\x01")) {
		return "235 2.7.0 welcome"
	}
	return "535 5.7.8 Error: authentication failed"
}

// heard gives what was said since the last call, and the messages that came.
func (p *provider) heard() (log, texts []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, texts = slices.Clone(p.log), slices.Clone(p.texts)
	p.log, p.texts = nil, nil
	return log, texts
}

func (p *provider) tried() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logins
}
