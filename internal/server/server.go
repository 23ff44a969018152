// Package server puts the house together: it is the only one that knows all the
// rooms, and, with the command, the only one that knows the configuration.
//
// Build makes a House of a Config and an Outside, and starts nothing; Run runs
// it until its context ends. A reload builds a new House over the same Outside
// and sockets, and lets the old one go once its sessions have ended.
package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"posthaste/internal/agent/auth"
	"posthaste/internal/agent/backup"
	"posthaste/internal/agent/collector"
	"posthaste/internal/agent/envoy"
	"posthaste/internal/agent/former"
	"posthaste/internal/agent/keys"
	"posthaste/internal/agent/mda"
	"posthaste/internal/agent/msa"
	"posthaste/internal/agent/mta"
	"posthaste/internal/agent/mx"
	"posthaste/internal/agent/owner"
	"posthaste/internal/agent/postmaster"
	"posthaste/internal/agent/reporter"
	"posthaste/internal/agent/sts"
	"posthaste/internal/agent/urlauth"
	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/metric"
	"posthaste/internal/base/serve"
	"posthaste/internal/engine/blob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/server/config"
	"posthaste/internal/server/listen"
	"posthaste/internal/service/admind"
	"posthaste/internal/service/imapd"
	"posthaste/internal/service/pop3d"
	"posthaste/internal/service/sieved"
	"posthaste/internal/service/smtpd"
	"posthaste/internal/service/webd"
	"posthaste/internal/store/acquaintance"
	"posthaste/internal/store/allowance"
	"posthaste/internal/store/body"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/keyring"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/maildrop"
	"posthaste/internal/store/opinion"
	"posthaste/internal/store/outpost"
	"posthaste/internal/store/policies"
	"posthaste/internal/store/queue"
	"posthaste/internal/store/reports"
	"posthaste/internal/store/script"
	"posthaste/internal/store/signin"
	"posthaste/internal/store/suppression"
)

// Outside is what the house needs of the world; tests give it another world.
type Outside struct {
	DB    kv.Store
	Blobs blob.Store
	// Failed tells why the store can never again write, in this process; nil: it
	// cannot fail.
	Failed func() error
	// Full says that nothing new may be stored for the moment, as the disk is full; nil:
	// it never is.
	Full func() bool
	// Backup writes a generation of the store; nil: it cannot be done.
	Backup func(ctx context.Context, r *backup.Repository) (backup.Written, error)
	DNS    dns.Resolver
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	// DialFrom is Dial from an address of this machine; nil: it cannot be chosen.
	DialFrom func(ctx context.Context, from netip.Addr, network, addr string) (net.Conn, error)
	Log      *slog.Logger
	// Roots are the authorities whose certificates are trusted; nil: the system's.
	Roots *x509.CertPool
	// TLS is for the listeners; nil: there is no TLS.
	TLS *tls.Config
	// Listen opens a port.
	Listen  func(address string) (net.Listener, error)
	Version string
	// Metrics are what is counted, for houses that follow one another; nil: the house has
	// its own.
	Metrics *Metrics
	// Drops are the maildrops that are taken, for houses that follow one another;
	// nil: the house has its own.
	Drops *pop3d.Maildrops
	// Passed are the sessions that are passed on to former servers, likewise.
	Passed *former.Passed
	// Visitors are what is known of those who come, likewise.
	Visitors *Visitors
}

// A House is a server put together.
type House struct {
	Admin *admind.Server

	stores
	c         config.Config
	o         Outside
	deliver   *mda.Agent
	post      *postmaster.Agent
	transfer  *mta.Agent
	ways      *ways
	sts       *sts.Agent
	reporter  *reporter.Agent
	shape     *mta.Shaper
	mx        *mx.Agent
	msa       *msa.Agent
	lmtp      *mda.Door
	auth      *auth.Agent
	signing   *keys.Agent
	owner     *owner.Agent
	collector *collector.Agent
	envoy     *envoy.Agent
	web       *http.Client     // to ask others over HTTPS
	backups   *backup.Schedule // nil: none
	drops     *pop3d.Maildrops
	visitors  *Visitors
	former    *former.Agent
	metrics   *Metrics    // of all houses that follow one another
	state     *metric.Set // of this one
}

// stores are what the house keeps.
type stores struct {
	bodies    *body.Store
	directory *directory.Directory
	mailboxes *mailbox.Store
	maildrops *maildrop.Store
	journal   *journal.Journal
	reports   *reports.Store
	met       *acquaintance.Store
	queue     *queue.Queue
	keys      *keyring.Keyring
	dead      *suppression.List
	posts     *outpost.Store
	thought   *opinion.Store
	signedIn  *signin.Store
	scripts   *script.Store
	said      *policies.Store
	sent      *allowance.Store
}

// Run listens, serves and transfers until ctx ends, or one of its parts fails.
// ready is called once all ports answer.
func (h *House) Run(ctx context.Context, ready func()) error {
	return h.RunUntil(ctx, ctx, ready)
}

// RunUntil is Run for a house that another may follow. When leave ends it takes no
// more connections and does nothing by itself any more; the sessions that there are go
// on, until they end or ctx does. It returns when the last has ended.
func (h *House) RunUntil(ctx, leave context.Context, ready func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	leave, left := context.WithCancel(leave)
	defer left()
	defer context.AfterFunc(ctx, left)()
	if err := h.former.Load(ctx); err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			return nil // it was stopped before it began
		}
		return err
	}
	var services []func(context.Context) error
	for _, l := range h.c.Listeners {
		ln, err := h.o.Listen(l.Address)
		if err != nil {
			return err
		}
		if len(l.ProxyFrom) > 0 {
			ln = listen.Proxied(ln, l.ProxyFrom, h.o.Log)
		}
		defer ln.Close()
		these, err := h.services(leave, l, ln)
		if err != nil {
			return err
		}
		services = append(services, these...)
	}
	var sessions, support sync.WaitGroup
	start := func(ctx context.Context, wg *sync.WaitGroup, list []func(context.Context) error) {
		for _, run := range list {
			wg.Go(func() {
				if err := run(ctx); err != nil {
					cancel(err)
				}
			})
		}
	}
	// What sessions need goes on as long as they do, also when ctx has ended.
	needed, done := context.WithCancel(context.WithoutCancel(ctx))
	start(needed, &support, h.needed())
	start(ctx, &sessions, services)
	start(leave, &sessions, h.alone())
	ready()
	sessions.Wait()
	done()
	support.Wait()
	h.ways.close()
	h.envoy.Close()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// needed gives what must run as long as there are sessions.
func (h *House) needed() []func(context.Context) error {
	report := func(err error) { h.o.Log.Error("in the background", "error", err) }
	return []func(context.Context) error{
		h.auth.Run, h.former.Run,
		func(ctx context.Context) error { return h.journal.Run(ctx, report) },
		func(ctx context.Context) error { return h.reports.Run(ctx, report) },
		func(ctx context.Context) error { return h.met.Run(ctx, report) },
		func(ctx context.Context) error { return h.mailboxes.Run(ctx, report) },
	}
}

// alone gives what the house does by itself: of houses that follow one another, only
// the last does it.
func (h *House) alone() []func(context.Context) error {
	out := []func(context.Context) error{h.transfer.Run, h.post.Run, h.watch, h.sts.Run, h.signing.Run}
	if h.c.Reports.Send {
		out = append(out, h.reporter.Run)
	}
	if h.c.Collect.Enabled {
		out = append(out, h.collector.Run)
	}
	if h.backups != nil {
		out = append(out, h.backups.Run)
	}
	return out
}

const (
	watchEvery = 250 * time.Millisecond
	// failGrace is how long clients still hear "try again later" from a house
	// whose disk has failed, before it ends.
	failGrace = 2 * time.Second
)

// watch ends the house when its store has failed: what is on the disk is known
// only to who reads it anew.
func (h *House) watch(ctx context.Context) error {
	if h.o.Failed == nil {
		return nil
	}
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		err := h.o.Failed()
		if err == nil {
			continue
		}
		h.o.Log.Error("the disk has failed: nothing more is taken, and the server ends; look at the disk before you start it again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(failGrace):
		}
		return fmt.Errorf("server: the disk has failed: %w", err)
	}
}

// Recover takes over what a process that is no more has left undone. Only the
// sole user of the engine may call it, before Run.
func (h *House) Recover(ctx context.Context) error {
	return errors.Join(h.transfer.Recover(ctx), h.former.Recover(ctx))
}

// A service serves a listener until its context ends.
type service interface {
	Serve(ctx context.Context, ln net.Listener) error
}

// alpn are the names of protocols in ALPN. That of SMTP is not registered, but is what
// programs ask for. RFC 7301 §6
var alpn = map[string]string{"imap": "imap", "pop3": "pop3", "sieve": "managesieve", "submission": "smtp"}

// services gives what serves a port: one service, or several that share it by ALPN. They
// take no more connections once leave has ended.
func (h *House) services(leave context.Context, l config.Listener, ln net.Listener) (out []func(context.Context) error, err error) {
	add := func(l config.Listener, ln net.Listener, name string) {
		ln = listen.Metered(ln, h.metrics.meter(l.Protocol))
		s, bad := h.service(l, name)
		err = errors.Join(err, bad)
		out = append(out, func(ctx context.Context) error {
			if l.Protocol == "https" || l.Protocol == "metrics" { // a request, no session
				return s.Serve(leave, ln)
			}
			return s.Serve(ctx, serve.Leaving(leave, ln))
		})
	}
	if len(l.ALPN) == 0 {
		add(l, ln, "")
		return out, err
	}
	var names []string
	for _, p := range l.ALPN {
		names = append(names, alpn[p])
	}
	parts := listen.Split(ln, names...)
	for i, p := range l.ALPN {
		mail := l
		mail.Protocol = p
		add(mail, parts[i], names[i])
	}
	add(l, parts[len(names)], "")
	return out, err
}

// service makes what serves a listener; name is its protocol's in ALPN, "" that it does
// not matter.
func (h *House) service(l config.Listener, name string) (service, error) {
	var cfg *tls.Config
	if l.TLS != "none" {
		cfg = h.o.TLS
	}
	if name != "" && cfg != nil {
		cfg = cfg.Clone()
		cfg.NextProtos = []string{name}
	}
	if l.ClientCertificates && cfg != nil {
		// Whose key it is says the directory, not who has signed the certificate. The
		// copy has tickets of its own: none of a session that was not asked.
		cfg = cfg.Clone()
		cfg.ClientAuth = tls.RequestClientCert
	}
	if l.TLS == "implicit" && cfg == nil {
		return nil, fmt.Errorf("server: listener %s has implicit TLS and there is no certificate: add one as [[tls]]", l.Address)
	}
	opens := map[string]directory.Protocols{"submission": directory.Submission, "imap": directory.IMAP, "pop3": directory.POP3, "sieve": directory.Sieve}[l.Protocol]
	verify := func(p mail.Peer) sasl.Verifier { return h.auth.For(p.Addr.Addr(), opens) }
	offer := h.offer()
	implicit := l.TLS == "implicit"
	refused := h.metrics.refused.Of(l.Protocol).Inc
	size := int64(h.c.Limits.MessageSize)
	places, accounts := h.visitors.at(l)
	switch l.Protocol {
	case "imap":
		return &imapd.Server{
			Mail: h.mailboxes, People: h.directory, Auth: verify, Attend: h.auth.Attend, Offer: offer, Shown: h.former.Any,
			TLS: cfg, ImplicitTLS: implicit, ClearAuth: l.PlaintextLogin, Version: h.o.Version, Log: h.o.Log, Refused: refused, Places: places, Accounts: accounts,
			Limits: imapd.Limits{
				Connections: h.c.Limits.Connections, PerAddress: h.c.Limits.ConnectionsPerAddress,
				Trusted: h.c.Limits.TrustedNetworks, PerAccount: h.c.Limits.SessionsPerAccount, Message: size,
				Messages: h.c.Limits.IMAPMessagesPerCommand, Saved: h.c.Limits.IMAPMessagesPerSave,
			},
		}, nil
	case "https":
		return &webd.Server{
			Policy: h.policyFor, Settings: h.settingsOf, Account: h.accountPages(), TLS: cfg, Log: h.o.Log,
			Limits: webd.Limits{Connections: h.c.Limits.Connections, PerAddress: h.c.Limits.ConnectionsPerAddress, Trusted: h.c.Limits.TrustedNetworks},
		}, nil
	case "metrics":
		return &webd.Metrics{Handler: h.metricsHandler(), TLS: cfg, Log: h.o.Log}, nil
	case "pop3":
		return &pop3d.Server{
			Mail: h.mailboxes, Rules: h.maildrops, Drops: h.drops, LoginDelay: time.Duration(h.c.POP3.LoginDelay), Auth: verify,
			Attend: h.auth.Attend, Offer: offer, Shown: h.former.Any, TLS: cfg, ImplicitTLS: implicit,
			ClearAuth: l.PlaintextLogin, Version: h.o.Version, Log: h.o.Log, Refused: refused, Places: places,
			Limits: pop3d.Limits{Connections: h.c.Limits.Connections, PerAddress: h.c.Limits.ConnectionsPerAddress, Trusted: h.c.Limits.TrustedNetworks},
		}, nil
	case "sieve":
		return &sieved.Server{
			Owner: h.owner, Auth: verify, Attend: h.auth.Attend, Offer: offer, Shown: h.former.Any,
			TLS: cfg, ImplicitTLS: implicit, ClearAuth: l.PlaintextLogin, Version: h.o.Version, Log: h.o.Log, Refused: refused, Places: places, Accounts: accounts,
			Limits: sieved.Limits{
				Connections: h.c.Limits.Connections, PerAddress: h.c.Limits.ConnectionsPerAddress,
				Trusted: h.c.Limits.TrustedNetworks, PerAccount: h.c.Limits.SessionsPerAccount,
			},
		}, nil
	}
	s := &smtpd.Server{
		Hostname: h.c.Hostname, Receiver: h.mx, TLS: cfg, Log: h.o.Log, Policy: smtpd.Policy{ImplicitTLS: implicit},
		Fronts: l.XClientFrom, Account: h.enabled, Refused: refused, Places: places,
		Limits: smtpd.Limits{
			Connections: h.c.Limits.Connections, PerAddress: h.c.Limits.ConnectionsPerAddress, Trusted: slices.Concat(h.c.Limits.TrustedNetworks, l.XClientFrom),
			Recipients: h.c.Limits.Recipients, Size: size,
		},
	}
	switch l.Protocol {
	case "smtp":
		s.Name = h.name
	case "submission":
		s.Receiver, s.Auth, s.Attend, s.Offer, s.Shown = h.msa, verify, h.auth.Attend, offer, h.former.Any
		s.Open = (&urlauth.Agent{Mail: h.mailboxes, Account: h.directory.Known}).Submit
		s.Policy.RequireAuth, s.Policy.ClearAuth, s.Policy.HoldMax = true, l.PlaintextLogin, msa.MaxHold
	case "lmtp":
		s.Receiver, s.Policy.Dialect = h.lmtp, smtp.LMTP
	}
	return s, nil
}

// enabled gives the account that logs in by an address, and its own; mail.ErrNotFound if
// nobody may.
func (h *House) enabled(ctx context.Context, login mail.Address) (mail.AccountID, mail.Address, error) {
	a, err := h.directory.Known(ctx, login)
	if err == nil && (a.Disabled || a.Shared) {
		return 0, mail.Address{}, fmt.Errorf("server: %s may not log in: %w", login, mail.ErrNotFound)
	}
	return a.ID, a.Address, err
}

// nameTime bounds how long a stranger waits for our reverse DNS.
const nameTime = 2 * time.Second

// name gives the name of an address if the name also leads to the address.
// RFC 8601 §2.7.3
func (h *House) name(ctx context.Context, ip netip.Addr) string {
	ip = ip.Unmap()
	if ip.IsLoopback() || ip.IsPrivate() {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	names, err := h.o.DNS.PTR(ctx, ip)
	if err != nil {
		return ""
	}
	for i, n := range names.Records {
		if i == 3 {
			break
		}
		back, err := h.o.DNS.Addresses(ctx, n)
		if err != nil {
			continue
		}
		for _, a := range back.Records {
			if a.Unmap() == ip {
				return string(n)
			}
		}
	}
	return ""
}

// Mailboxes gives the store of people's mail.
func (h *House) Mailboxes() *mailbox.Store { return h.mailboxes }

// Directory gives the store of who is here.
func (h *House) Directory() *directory.Directory { return h.directory }
