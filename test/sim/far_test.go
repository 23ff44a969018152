package sim

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/service/smtpd"
)

// A far is a host elsewhere, which is not a house.
type far struct {
	smtpd.Server
	w    *world
	mood mood

	mu    sync.Mutex
	first map[string]time.Time // when a greylisting host was first asked
	tries int
	// minute is when the minute began that count counts in.
	minute time.Time
	count  int
	got    map[mail.Address][]string
}

// A mood is how a host treats mail.
type mood byte

const (
	kind   mood = iota
	grey        // takes a recipient five minutes after it was first asked
	moody       // says "later" half of the time
	slow        // takes three minutes for each message
	wall        // refuses everybody
	strict      // takes ten messages a minute from one address, and says so
)

func newFar(w *world, domain, ip string, m mood) *far {
	f := &far{w: w, mood: m, first: map[string]time.Time{}, got: map[mail.Address][]string{}}
	host := mail.Domain("mail." + domain)
	f.Hostname, f.Receiver, f.Log = string(host), f, slog.New(slog.DiscardHandler)
	w.zone.MXHost(mail.Domain(domain), 5, host)
	w.zone.Address(host, ip)
	w.net.Listen(netip.AddrPortFrom(netip.MustParseAddr(ip), 25), func(c net.Conn) { f.ServeConn(context.Background(), c) })
	return f
}

func (f *far) Begin(_ context.Context, _ mail.Peer, from mail.Address, _ smtp.MailParams) (smtp.Transaction, error) {
	return &farTx{f: f, from: from}, nil
}

type farTx struct {
	f    *far
	from mail.Address
	to   []mail.Address
}

func (t *farTx) ID() mail.TraceID      { return mail.TraceID{} }
func (t *farTx) Reset(context.Context) {}

func (t *farTx) Rcpt(_ context.Context, to mail.Address, _ smtp.RcptParams) error {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	switch t.f.mood {
	case strict:
		if now := time.Now(); now.Sub(t.f.minute) >= time.Minute {
			t.f.minute, t.f.count = now, 0
		}
		if t.f.count++; t.f.count > 10 {
			return mail.Refuse("4.7.1", "too many messages from you, slow down", "")
		}
	case wall:
		return mail.Refuse("5.7.1", "go away", "")
	case grey:
		k := t.from.String() + " " + to.String()
		if t.f.first[k].IsZero() {
			t.f.first[k] = time.Now()
		}
		if time.Since(t.f.first[k]) < 5*time.Minute {
			return mail.Refuse("4.7.1", "greylisted", "")
		}
	}
	t.to = append(t.to, to)
	return nil
}

func (t *farTx) Data(_ context.Context, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if t.f.mood == slow {
		time.Sleep(3 * time.Minute)
	}
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	if t.f.tries++; t.f.mood == moody && t.f.tries%2 == 1 {
		return mail.Refuse("4.3.2", "not in the mood", "")
	}
	for _, a := range t.to {
		t.f.got[a] = append(t.f.got[a], string(b))
	}
	return nil
}
