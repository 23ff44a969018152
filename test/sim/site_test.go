package sim

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"posthaste/internal/agent/registrar"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/server"
	"posthaste/internal/server/config"
	"posthaste/internal/store/directory"
	"posthaste/test/house"
)

// A site is a house with its disks, which stay when the house goes down.
type site struct {
	w      *world
	domain string
	host   string
	ip     netip.Addr
	db     kv.Store
	blobs  *memblob.Store

	mu    sync.Mutex
	house *server.House // nil while it is down
	power *power
	halt  context.CancelFunc
	done  chan struct{}
}

// A power is what a process needs to write: without it nothing that is left of
// the process reaches the disks.
type power struct{ off atomic.Bool }

var errPower = errors.New("the power is off")

func (p *power) check() error {
	if p.off.Load() {
		return errPower
	}
	return nil
}

type poweredKV struct {
	kv.Store
	*power
}

func (s poweredKV) View(ctx context.Context, fn func(kv.Reader) error) error {
	if err := s.check(); err != nil {
		return err
	}
	return s.Store.View(ctx, fn)
}

func (s poweredKV) Update(ctx context.Context, p kv.Plan, fn func(kv.Tx) error) error {
	if err := s.check(); err != nil {
		return err
	}
	return s.Store.Update(ctx, p, func(tx kv.Tx) error {
		return errors.Join(s.check(), fn(tx), s.check())
	})
}

type poweredBlobs struct {
	blob.Store
	*power
}

func (s poweredBlobs) Put(ctx context.Context, r io.Reader) (mail.BlobID, int64, error) {
	if err := s.check(); err != nil {
		return mail.BlobID{}, 0, err
	}
	return s.Store.Put(ctx, r)
}

func newSite(w *world, domain, ip string) *site {
	s := &site{w: w, domain: domain, host: "mx." + domain, ip: netip.MustParseAddr(ip), db: kv.Strict(memkv.New()), blobs: memblob.New()}
	s.blobs.Grace = 24 * time.Hour
	w.zone.MXHost(mail.Domain(domain), 10, mail.Domain(s.host))
	w.zone.Address(mail.Domain(s.host), ip)
	return s
}

// boot starts the house over its disks.
func (s *site) boot() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.house != nil {
		return
	}
	c := config.Default()
	c.Hostname, c.Queue.GiveUp = s.host, config.Duration(giveUp)
	c.Listeners = []config.Listener{
		{Address: s.ip.String() + ":25", Protocol: "smtp", TLS: "none"},
		{Address: s.ip.String() + ":587", Protocol: "submission", TLS: "none", PlaintextLogin: true},
	}
	s.power = new(power)
	h, err := server.Build(c, server.Outside{
		DB: poweredKV{s.db, s.power}, Blobs: poweredBlobs{s.blobs, s.power}, DNS: &s.w.zone, Dial: s.w.net.From(s.ip), Log: slog.New(slog.DiscardHandler),
		Listen: func(address string) (net.Listener, error) {
			return s.w.net.Listener(netip.MustParseAddrPort(address)), nil
		},
	})
	if err != nil {
		s.w.t.Fatal(err)
	}
	h.Admin.Registrar.Hash = func(context.Context, string) (directory.Credentials, error) { return s.w.credentials, nil }
	if err := h.Recover(context.Background()); err != nil {
		s.w.t.Fatal(err)
	}
	ctx, halt := context.WithCancel(context.Background())
	ready := make(chan struct{})
	s.house, s.halt, s.done = h, halt, make(chan struct{})
	done := s.done
	go func() {
		defer close(done)
		if err := h.Run(ctx, func() { close(ready) }); err != nil && !errors.Is(err, errPower) {
			s.w.t.Errorf("%s: %v", s.host, err)
		}
	}()
	<-ready
}

// stop lets the house end in order.
func (s *site) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.house == nil {
		return
	}
	s.halt()
	<-s.done
	s.house = nil
}

// crash takes the power away: nothing is written any more, and all connections
// are lost.
func (s *site) crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.house == nil {
		return
	}
	s.power.off.Store(true)
	s.w.traffic.lose(s.ip)
	s.halt()
	<-s.done
	s.house = nil
}

// people adds accounts, each with the password of all; a quota of 0 is none.
func (s *site) people(quota int64, locals ...string) {
	ctx := context.Background()
	if err := s.house.Admin.Registrar.AddDomain(ctx, mail.Domain(s.domain)); err != nil && !errors.Is(err, mail.ErrExists) {
		s.w.t.Fatal(err)
	}
	for _, l := range locals {
		n := registrar.NewAccount{Address: mail.Address{Local: l, Domain: mail.Domain(s.domain)}, Password: password, Quota: quota}
		if _, err := s.house.Admin.Registrar.AddAccount(ctx, n); err != nil {
			s.w.t.Fatal(err)
		}
		s.w.accounts[n.Address] = s
	}
}

// check looks at the stores of a house that is down, and gives what is left in
// its queue and what is in its mailboxes.
func (s *site) check() (waiting []string, boxes map[mail.Address][]string) {
	h := house.Over(s.w.t, s.host, s.db, s.blobs)
	h.Check()
	boxes = map[mail.Address][]string{}
	for a, at := range s.w.accounts {
		if at == s {
			boxes[a] = h.Inbox(a.String())
		}
	}
	return h.Waiting(), boxes
}
