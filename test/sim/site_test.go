package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
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
	"posthaste/internal/store/mailbox"
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
	read   map[mail.Address][]string // what people have read and deleted

	// one is held by who starts or stops the house. (A sync.Mutex would stop the
	// clock of the bubble for those who wait.)
	one chan struct{}
	// patience is how long mail is tried, if it is more than giveUp.
	patience time.Duration
	house    *server.House // nil while it is down
	power    *power
	halt     context.CancelFunc
	done     chan struct{}
}

// A power is what a process needs to write: without it nothing that is left of
// the process reaches the disks.
type power struct {
	off   atomic.Bool
	full  atomic.Bool   // the disk is, for a while
	fuse  atomic.Int64  // the power goes after so many writes; 0 is never
	blown chan struct{} // closed when it has
}

var errPower = errors.New("the power is off")

func (p *power) check() error {
	if p.off.Load() {
		return errPower
	}
	return nil
}

func (p *power) checkWrite() error {
	if p.full.Load() {
		return fmt.Errorf("write: %w", mail.ErrFull)
	}
	return p.check()
}

// wrote counts a write.
func (p *power) wrote() {
	if p.fuse.Load() > 0 && p.fuse.Add(-1) == 0 {
		p.off.Store(true)
		close(p.blown)
	}
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
	if err := s.checkWrite(); err != nil {
		return err
	}
	err := s.Store.Update(ctx, p, func(tx kv.Tx) error {
		return errors.Join(s.check(), fn(tx), s.check())
	})
	if err == nil {
		s.wrote()
	}
	return err
}

type poweredBlobs struct {
	blob.Store
	*power
}

func (s poweredBlobs) Put(ctx context.Context, r io.Reader) (mail.BlobID, int64, error) {
	if err := s.checkWrite(); err != nil {
		return mail.BlobID{}, 0, err
	}
	id, n, err := s.Store.Put(ctx, r)
	if err == nil {
		s.wrote()
	}
	return id, n, err
}

func newSite(w *world, domain, ip string) *site {
	s := &site{w: w, domain: domain, host: "mx." + domain, ip: netip.MustParseAddr(ip), db: kv.Strict(memkv.New()), blobs: memblob.New(), one: make(chan struct{}, 1), read: map[mail.Address][]string{}}
	s.blobs.Grace = 24 * time.Hour
	w.zone.MXHost(mail.Domain(domain), 10, mail.Domain(s.host))
	w.zone.Address(mail.Domain(s.host), ip)
	return s
}

func (s *site) lock() (unlock func()) {
	s.one <- struct{}{}
	return func() { <-s.one }
}

// boot starts the house over its disks.
func (s *site) boot() {
	defer s.lock()()
	if s.house != nil {
		return
	}
	c := config.Default()
	c.Hostname, c.Queue.GiveUp = s.host, config.Duration(max(giveUp, s.patience))
	c.Receive.Greylist = "always"
	c.Listeners = []config.Listener{
		{Address: s.ip.String() + ":25", Protocol: "smtp", TLS: "none"},
		{Address: s.ip.String() + ":587", Protocol: "submission", TLS: "none", PlaintextLogin: true},
	}
	s.power = &power{blown: make(chan struct{})}
	h, err := server.Build(c, server.Outside{
		DB: poweredKV{s.db, s.power}, Blobs: poweredBlobs{s.blobs, s.power}, DNS: &s.w.zone, Dial: s.w.net.From(s.ip), Log: slog.New(slog.DiscardHandler),
		Listen: func(address string) (net.Listener, error) {
			return s.w.net.Listener(netip.MustParseAddrPort(address)), nil
		},
	})
	if err != nil {
		s.w.t.Fatal(err)
	}
	h.Admin.Registrar.Hash = func(context.Context, string, directory.Credentials) (directory.Credentials, error) {
		return s.w.credentials, nil
	}
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
	defer s.lock()()
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
	defer s.lock()()
	if s.house == nil {
		return
	}
	s.power.off.Store(true)
	s.w.traffic.lose(s.ip)
	s.halt()
	<-s.done
	s.house = nil
}

// burn takes the power away after so many writes, wherever that is.
func (s *site) burn(writes int) {
	unlock := s.lock()
	up, p := s.house != nil, s.power
	if up && p.fuse.Load() == 0 {
		p.fuse.Store(int64(writes))
	}
	unlock()
	if !up {
		return
	}
	select {
	case <-p.blown:
	case <-time.After(6 * time.Hour):
	}
	s.crash()
}

// fill has the disk full for a while. Nobody stops the house meanwhile: what
// waits to be written is forgotten then.
func (s *site) fill(d time.Duration) {
	defer s.lock()()
	if s.house == nil {
		return
	}
	s.power.full.Store(true)
	time.Sleep(d)
	s.power.full.Store(false)
	time.Sleep(10 * time.Second)
}

// tidy lets the owner of a mailbox read and delete what is in it, which makes
// room.
func (s *site) tidy(local string) {
	defer s.lock()()
	if s.house == nil {
		return
	}
	a := mail.Address{Local: local, Domain: mail.Domain(s.domain)}
	h := house.Over(s.w.t, s.host, s.db, s.blobs)
	ctx := context.Background()
	ac, err := h.Directory.AccountOf(ctx, a)
	if err != nil {
		s.w.t.Error(err)
		return
	}
	snap, err := s.house.Admin.Mailboxes.Open(ctx, ac.ID, mailbox.Inbox)
	if err != nil {
		return // the power has gone meanwhile
	}
	texts := h.Inbox(a.String())
	if len(texts) != snap.Len() {
		return // more has come meanwhile
	}
	if _, _, err := s.house.Admin.Mailboxes.Expunge(ctx, ac.ID, mailbox.Inbox, snap.UIDs(), mailbox.ExpungeAll); err == nil {
		s.read[a] = append(s.read[a], texts...)
	}
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
			boxes[a] = append(s.read[a], h.Inbox(a.String())...)
		}
	}
	return h.Waiting(), boxes
}
