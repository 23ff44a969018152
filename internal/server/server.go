// Package server puts the house together: it is the only one that knows all the
// rooms, and, with the command, the only one that knows the configuration.
//
// Build makes a House of a Config and an Outside, and starts nothing; Run runs
// it until its context ends. A reload builds a new House over the same Outside
// and sockets, and lets the old one go.
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
	"strings"
	"sync"
	"time"

	"posthaste/internal/agent/auth"
	"posthaste/internal/agent/backup"
	"posthaste/internal/agent/collector"
	"posthaste/internal/agent/envoy"
	"posthaste/internal/agent/filter"
	"posthaste/internal/agent/former"
	"posthaste/internal/agent/keys"
	"posthaste/internal/agent/mda"
	"posthaste/internal/agent/mover"
	"posthaste/internal/agent/msa"
	"posthaste/internal/agent/mta"
	"posthaste/internal/agent/mx"
	"posthaste/internal/agent/postmaster"
	"posthaste/internal/agent/registrar"
	"posthaste/internal/agent/reporter"
	"posthaste/internal/agent/sts"
	"posthaste/internal/agent/urlauth"
	"posthaste/internal/base/dns"
	"posthaste/internal/base/fetch"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/server/config"
	"posthaste/internal/server/listen"
	"posthaste/internal/service/admind"
	"posthaste/internal/service/imapd"
	"posthaste/internal/service/pop3d"
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
	"posthaste/internal/store/outpost"
	"posthaste/internal/store/policies"
	"posthaste/internal/store/queue"
	"posthaste/internal/store/reports"
	"posthaste/internal/store/suppression"
)

// Outside is what the house needs of the world; tests give it another world.
type Outside struct {
	DB    kv.Store
	Blobs blob.Store
	// Failed tells why the store can never again write, in this process; nil: it
	// cannot fail.
	Failed func() error
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
	// Drops are the maildrops that are taken, for houses that follow one another;
	// nil: the house has its own.
	Drops *pop3d.Maildrops
}

// A House is a server put together.
type House struct {
	Admin *admind.Server

	c         config.Config
	o         Outside
	directory *directory.Directory
	mailboxes *mailbox.Store
	maildrops *maildrop.Store
	journal   *journal.Journal
	post      *postmaster.Agent
	transfer  *mta.Agent
	ways      *ways
	sts       *sts.Agent
	reports   *reports.Store
	reporter  *reporter.Agent
	shape     *mta.Shaper
	met       *acquaintance.Store
	mx        *mx.Agent
	msa       *msa.Agent
	lmtp      *mda.Door
	auth      *auth.Agent
	keys      *keyring.Keyring
	signing   *keys.Agent
	collector *collector.Agent
	envoy     *envoy.Agent
	web       *http.Client     // to ask others over HTTPS
	backups   *backup.Schedule // nil: none
	drops     *pop3d.Maildrops
	former    *former.Agent
}

// Build puts the house together. It starts nothing.
func Build(c config.Config, o Outside) (*House, error) {
	h := &House{c: c, o: o, drops: o.Drops}
	if h.drops == nil {
		h.drops = new(pop3d.Maildrops)
	}
	host, err := mail.ParseDomain(c.Hostname)
	if err != nil {
		return nil, fmt.Errorf("server: host name %q: %w", c.Hostname, err)
	}
	bodies := &body.Store{DB: o.DB, Blobs: o.Blobs}
	h.directory = &directory.Directory{DB: o.DB}
	h.mailboxes = &mailbox.Store{DB: o.DB, Bodies: bodies, RecordBytes: int(cacheBytes(c) / 4)}
	h.maildrops = &maildrop.Store{DB: o.DB, Mail: h.mailboxes}
	h.journal = &journal.Journal{DB: o.DB}
	h.reports = &reports.Store{DB: o.DB}
	h.met = &acquaintance.Store{DB: o.DB}
	q := &queue.Queue{DB: o.DB}
	keys := &keyring.Keyring{DB: o.DB}
	dead := &suppression.List{DB: o.DB, After: c.Queue.SuppressAfter}
	deliver := &mda.Agent{Hostname: host, DB: o.DB, Bodies: bodies, Directory: h.directory, Mailboxes: h.mailboxes, Queue: q, Journal: h.journal, Log: o.Log, Returns: keys.Returns, PassJunk: c.Receive.ForwardJunk}
	h.lmtp = &mda.Door{Hostname: c.Hostname, Agent: deliver}
	h.mx = &mx.Agent{Hostname: c.Hostname, Delivery: deliver, Bodies: bodies, Journal: h.journal, Log: o.Log, Postmaster: host, DNS: o.DNS, Trusted: c.Receive.TrustedNetworks, Signers: keys.Signers, Policy: policy(c.Receive), Acquaintances: h.met}
	desk := &reporter.Desk{Door: deliver, Directory: h.directory, Reports: h.reports, Journal: h.journal}
	h.mx.Delivery = desk
	if c.Reports.Send && c.Reports.DMARC {
		h.mx.Saw = desk.Saw
	}
	h.mx.Counts = mx.NewCounts(h.mx.Policy)
	h.mx.Filters, h.mx.Hooks = filters(c.Milters, false), h.hooks(c.Hooks)
	sent := &allowance.Store{DB: o.DB, Cap: c.Limits.RecipientsPerDay, Floor: c.Limits.UsualRecipientsPerDay}
	h.msa = &msa.Agent{Hostname: c.Hostname, Delivery: deliver, Directory: h.directory, Bodies: bodies, Journal: h.journal, Log: o.Log, Signers: keys.Signers, Allowance: sent, Suppression: dead, Acquaintances: h.met}
	h.msa.Filters = filters(c.Milters, true)
	h.auth = &auth.Agent{Directory: h.directory, Trusted: c.Limits.TrustedNetworks, SHA1: c.Auth.ScramSHA1}
	h.former = &former.Agent{Directory: h.directory, Mover: &mover.Agent{Mailboxes: h.mailboxes}, Dial: o.Dial, Roots: o.Roots, Log: o.Log}
	h.auth.Former = h.former.Login
	web := &fetch.Web{DNS: o.DNS, Dial: o.Dial, Roots: o.Roots}
	h.keys, h.web = keys, web.Client()
	h.signing = h.signers(keys)
	if len(c.Auth.Issuers) > 0 {
		h.auth.Tokens = issuers(c.Auth.Issuers, h.web, o.Log).Whose
	}
	h.shape = shaper(c)
	posts := &outpost.Store{DB: o.DB}
	h.elsewhere(posts, deliver, web.Reach)
	said := &policies.Store{DB: o.DB}
	h.sts = &sts.Agent{Store: said, DNS: o.DNS, Fetch: sts.Policies(h.web), Log: o.Log}
	h.ways = &ways{house: h, local: &mta.Local{Delivery: deliver, Bodies: bodies, Seal: h.mx.Sealer}}
	if err := h.ways.build(c.Routes); err != nil {
		return nil, err
	}
	q.Way = h.ways.of
	h.transfer = &mta.Agent{
		Hostname: c.Hostname, DB: o.DB, Bodies: bodies, Queue: q, Journal: h.journal, Log: o.Log, Route: h.ways.route, Shape: h.shape, Suppression: dead,
		Workers: c.Queue.Workers, PerDomain: c.Queue.PerDomain,
		GiveUp: time.Duration(c.Queue.GiveUp), WarnAfter: time.Duration(c.Queue.WarnAfter),
		FirstRetry: time.Duration(c.Queue.FirstRetry), LastRetry: time.Duration(c.Queue.LastRetry),
	}
	h.post = &postmaster.Agent{Directory: h.directory, Mailboxes: h.mailboxes, Maildrops: h.maildrops, Bodies: bodies, Queue: q, Journal: h.journal, Policies: said, Reports: h.reports, Suppression: dead, Acquaintances: h.met, Keys: keys, Outposts: posts, Allowance: sent, Log: o.Log, KeepDead: time.Duration(c.Deleted.Keep), MaxDead: int64(c.Deleted.Limit)}
	h.reporter = &reporter.Agent{Hostname: c.Hostname, DB: o.DB, DNS: o.DNS, Records: mx.Records{DNS: o.DNS}, Web: h.web, Directory: h.directory, Bodies: bodies, Queue: q, Reports: h.reports, Signers: keys.Signers, Log: o.Log}
	if h.backups, err = h.scheduled(c, o); err != nil {
		return nil, err
	}
	h.Admin = &admind.Server{
		Backup: o.Backup, Backups: h.backups, Depot: h.depot, SHA1: c.Auth.ScramSHA1,
		Registrar: &registrar.Registrar{DB: o.DB, Directory: h.directory, Mailboxes: h.mailboxes, Keys: keys, Outposts: posts, Quota: int64(c.Limits.AccountQuota), Hash: h.hash, AppPassword: h.auth.NewAppPassword, APOPPassword: auth.NewAPOPPassword, KeyOf: auth.KeyOf},
		Directory: h.directory, Mailboxes: h.mailboxes, Maildrops: h.maildrops, Queue: q, Transfer: h.transfer, Journal: h.journal, Postmaster: h.post, Reports: h.reports, Delivery: deliver, Suppression: dead, Forecast: &mx.Forecast{Hostname: c.Hostname, DNS: o.DNS, Mailboxes: h.mailboxes}, Version: o.Version, Log: o.Log,
		Keys: h.signing, Allowance: sent,
		Mover: h.former.Mover, Former: h.former, Way: h.ways.named, Collector: h.collector, Envoy: h.envoy,
		Records: func(ctx context.Context, d mail.Domain, o admind.RecordOptions) ([]admind.Record, error) {
			return h.records(ctx, keys, host, d, o)
		},
	}
	return h, nil
}

// elsewhere makes what collects and sends mail by accounts that people have elsewhere.
func (h *House) elsewhere(posts *outpost.Store, deliver *mda.Agent, reach func(ctx context.Context, network, addr string) (net.Conn, error)) {
	c, o := h.c, h.o
	h.collector = &collector.Agent{
		Outposts: posts, Directory: h.directory, Bodies: deliver.Bodies, MX: h.mx, Try: deliver.Try, Dial: reach, Log: o.Log, Roots: o.Roots, Web: h.web,
		AnyClear: c.Collect.Clear, AtOnce: c.Collect.AtOnce, MaxSize: int64(c.Limits.MessageSize),
	}
	h.envoy = &envoy.Agent{
		Hostname: c.Hostname, Outposts: posts, Directory: h.directory, DNS: o.DNS, Dial: o.Dial, Login: h.collector.Login, Log: o.Log, Roots: o.Roots,
		AnyClear: c.Collect.Clear, Shape: h.shape,
	}
	h.msa.Errand = h.envoy.Errand
}

// policy makes what speaks against those who bring mail.
func policy(c config.Receive) mx.Policy {
	p := mx.Policy{NoName: c.NoNamePoints, BadHello: c.BadHelloPoints, Junk: c.JunkPoints, Refuse: c.RefusePoints, PerHour: c.MessagesPerHour, Unknown: c.UnknownRecipients, Greylist: mx.Greylist(c.Greylist)}
	for _, l := range c.Lists {
		p.Lists = append(p.Lists, mx.List{Zone: mail.Domain(l.Zone), Points: l.Points, Codes: l.Codes})
	}
	return p
}

// filters makes the filters outside, for mail from others or for what people here send. They are near, so they are reached directly.
func filters(list []config.Milter, submissions bool) (out []filter.Filter) {
	for _, m := range list {
		if submissions && !m.Submissions {
			continue
		}
		network, addr := "tcp", m.Address
		if path, ok := strings.CutPrefix(addr, "unix:"); ok {
			network, addr = "unix", path
		}
		out = append(out, filter.Filter{
			Address: m.Address, Timeout: time.Duration(m.Timeout), Optional: m.OnFailure == "accept",
			Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, network, addr) },
		})
	}
	return out
}

// shaper makes what says how much goes where at a time.
func shaper(c config.Config) *mta.Shaper {
	s := &mta.Shaper{PerSite: c.Queue.PerDomain, Hands: c.Queue.Workers, FirstPause: time.Duration(c.Queue.FirstRetry), Limits: map[string]mta.Limit{}}
	for _, d := range c.Destinations {
		s.Limits[strings.ToLower(d.Match)] = mta.Limit{Connections: d.Connections, PerConnection: d.MessagesPerConnection, PerMinute: d.MessagesPerMinute}
	}
	return s
}

func (h *House) hash(_ context.Context, password string, now directory.Credentials) (directory.Credentials, error) {
	return h.auth.NewCredentials(password, now)
}

// Run listens, serves and transfers until ctx ends, or one of its parts fails.
// ready is called once all ports answer.
func (h *House) Run(ctx context.Context, ready func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := h.former.Load(ctx); err != nil {
		return err
	}
	var serve []func(context.Context) error
	for _, l := range h.c.Listeners {
		ln, err := h.o.Listen(l.Address)
		if err != nil {
			return err
		}
		if len(l.ProxyFrom) > 0 {
			ln = listen.Proxied(ln, l.ProxyFrom, h.o.Log)
		}
		defer ln.Close()
		s, err := h.service(l)
		if err != nil {
			return err
		}
		serve = append(serve, func(ctx context.Context) error { return s.Serve(ctx, ln) })
	}
	serve = append(serve, h.auth.Run, h.former.Run, h.transfer.Run, h.post.Run, h.watch, h.sts.Run, h.signing.Run)
	if h.c.Reports.Send {
		serve = append(serve, h.reporter.Run)
	}
	if h.c.Collect.Enabled {
		serve = append(serve, h.collector.Run)
	}
	if h.backups != nil {
		serve = append(serve, h.backups.Run)
	}
	report := func(err error) { h.o.Log.Error("in the background", "error", err) }
	serve = append(serve,
		func(ctx context.Context) error { return h.journal.Run(ctx, report) },
		func(ctx context.Context) error { return h.reports.Run(ctx, report) },
		func(ctx context.Context) error { return h.met.Run(ctx, report) },
		func(ctx context.Context) error { return h.mailboxes.Run(ctx, report) })
	var wg sync.WaitGroup
	for _, run := range serve {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	ready()
	wg.Wait()
	h.ways.close()
	h.envoy.Close()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
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

func (h *House) service(l config.Listener) (service, error) {
	var cfg *tls.Config
	if l.TLS != "none" {
		cfg = h.o.TLS
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
	opens := map[string]directory.Protocols{"submission": directory.Submission, "imap": directory.IMAP, "pop3": directory.POP3}[l.Protocol]
	verify := func(p mail.Peer) sasl.Verifier { return h.auth.For(p.Addr.Addr(), opens) }
	offer := h.offer()
	implicit := l.TLS == "implicit"
	size := int64(h.c.Limits.MessageSize)
	switch l.Protocol {
	case "imap":
		return &imapd.Server{
			Mail: h.mailboxes, People: h.directory, Auth: verify, Attend: h.auth.Attend, Offer: offer, Shown: h.former.Any, TLS: cfg, ImplicitTLS: implicit, ClearAuth: l.PlaintextLogin, Version: h.o.Version, Log: h.o.Log,
			Limits: imapd.Limits{Connections: h.c.Limits.Connections, PerAddress: h.c.Limits.ConnectionsPerAddress, Trusted: h.c.Limits.TrustedNetworks, PerAccount: h.c.Limits.SessionsPerAccount, Message: size, Messages: h.c.Limits.IMAPMessagesPerCommand, Saved: h.c.Limits.IMAPMessagesPerSave},
		}, nil
	case "https":
		return &webd.Server{Policy: h.policyFor, TLS: cfg, Log: h.o.Log, Connections: h.c.Limits.Connections}, nil
	case "pop3":
		return &pop3d.Server{
			Mail: h.mailboxes, Rules: h.maildrops, Drops: h.drops, LoginDelay: time.Duration(h.c.POP3.LoginDelay), Auth: verify, Attend: h.auth.Attend, Offer: offer, Shown: h.former.Any, TLS: cfg, ImplicitTLS: implicit, ClearAuth: l.PlaintextLogin, Version: h.o.Version, Log: h.o.Log,
			Limits: pop3d.Limits{Connections: h.c.Limits.Connections, PerAddress: h.c.Limits.ConnectionsPerAddress, Trusted: h.c.Limits.TrustedNetworks},
		}, nil
	}
	s := &smtpd.Server{
		Hostname: h.c.Hostname, Receiver: h.mx, TLS: cfg, Log: h.o.Log, Policy: smtpd.Policy{ImplicitTLS: implicit}, Fronts: l.XClientFrom, Account: h.enabled,
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
		s.Open = (&urlauth.Agent{Mail: h.mailboxes, Account: h.directory.AccountOf}).Submit
		s.Policy.RequireAuth, s.Policy.ClearAuth, s.Policy.HoldMax = true, l.PlaintextLogin, msa.MaxHold
	case "lmtp":
		s.Receiver, s.Policy.Dialect = h.lmtp, smtp.LMTP
	}
	return s, nil
}

// enabled gives the account that logs in by an address; mail.ErrNotFound if nobody
// may.
func (h *House) enabled(ctx context.Context, login mail.Address) (mail.AccountID, error) {
	a, err := h.directory.AccountOf(ctx, login)
	if err == nil && (a.Disabled || a.Shared) {
		return 0, fmt.Errorf("server: %s may not log in: %w", login, mail.ErrNotFound)
	}
	return a.ID, err
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
