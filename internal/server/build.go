package server

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"posthaste/internal/agent/auth"
	"posthaste/internal/agent/collector"
	"posthaste/internal/agent/envoy"
	"posthaste/internal/agent/filter"
	"posthaste/internal/agent/former"
	"posthaste/internal/agent/mda"
	"posthaste/internal/agent/mover"
	"posthaste/internal/agent/msa"
	"posthaste/internal/agent/mta"
	"posthaste/internal/agent/mx"
	"posthaste/internal/agent/owner"
	"posthaste/internal/agent/postmaster"
	"posthaste/internal/agent/registrar"
	"posthaste/internal/agent/reporter"
	"posthaste/internal/agent/rules"
	"posthaste/internal/agent/sts"
	"posthaste/internal/base/fetch"
	"posthaste/internal/base/mail"
	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
	"posthaste/internal/service/imapd"
	"posthaste/internal/service/pop3d"
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

// Build puts the house together. It starts nothing.
func Build(c config.Config, o Outside) (*House, error) {
	h := &House{c: c, o: o, drops: o.Drops, metrics: o.Metrics, visitors: o.Visitors, stores: open(c, o)}
	if h.drops == nil {
		h.drops = new(pop3d.Maildrops)
	}
	if h.visitors == nil {
		h.visitors = new(Visitors)
	}
	if h.metrics == nil {
		h.metrics = NewMetrics()
	}
	h.journal.Heard = h.metrics.heard
	h.o.Backup = h.metrics.backup(o.Backup)
	host, err := mail.ParseDomain(c.Hostname)
	if err != nil {
		return nil, fmt.Errorf("server: host name %q: %w", c.Hostname, err)
	}
	web := &fetch.Web{DNS: o.DNS, Dial: o.Dial, Roots: o.Roots}
	h.web = web.Client()
	h.signing = h.signers(h.keys)
	h.shape = shaper(c)
	h.deliver = &mda.Agent{
		Hostname: host, DB: o.DB, Bodies: h.bodies, Directory: h.directory, Mailboxes: h.mailboxes, Queue: h.queue,
		Journal: h.journal, Log: o.Log, Returns: h.keys.Returns, PassJunk: c.Receive.ForwardJunk,
	}
	h.deliver.Rules = &rules.Agent{
		Hostname: host, Version: o.Version, Scripts: h.scripts, Directory: h.directory, Mailboxes: h.mailboxes,
		Signers: h.keys.Signers, Log: o.Log,
	}
	h.people()
	h.receiving(host)
	h.msa = &msa.Agent{
		Hostname: c.Hostname, Delivery: h.deliver, Directory: h.directory, Bodies: h.bodies, Journal: h.journal, Log: o.Log,
		Signers: h.keys.Signers, Allowance: h.sent, Suppression: h.dead, Acquaintances: h.met,
		Filters: filters(c.Milters, true),
	}
	h.elsewhere(web.Reach)
	if err := h.sending(); err != nil {
		return nil, err
	}
	h.post = &postmaster.Agent{
		Directory: h.directory, Mailboxes: h.mailboxes, Maildrops: h.maildrops, Bodies: h.bodies, Queue: h.queue,
		Journal: h.journal, Policies: h.said, Reports: h.reports, Suppression: h.dead, Acquaintances: h.met, Keys: h.keys,
		Outposts: h.posts, Allowance: h.sent, Log: o.Log, KeepDead: time.Duration(c.Deleted.Keep),
		MaxDead: int64(c.Deleted.Limit), Full: o.Full, Opinions: h.thought, Sessions: h.signedIn, Scripts: h.scripts,
	}
	h.reporter = &reporter.Agent{
		Hostname: c.Hostname, DB: o.DB, DNS: o.DNS, Records: mx.Records{DNS: o.DNS}, Web: h.web, Directory: h.directory,
		Bodies: h.bodies, Queue: h.queue, Journal: h.journal, Reports: h.reports, Signers: h.keys.Signers, Log: o.Log,
	}
	if h.backups, err = h.scheduled(c, h.o); err != nil {
		return nil, err
	}
	h.state = h.stateMetrics()
	h.administration(host)
	return h, nil
}

// open makes the stores over the engines.
func open(c config.Config, o Outside) stores {
	bodies := &body.Store{DB: o.DB, Blobs: o.Blobs, Full: o.Full}
	mailboxes := &mailbox.Store{DB: o.DB, Bodies: bodies, RecordBytes: int(cacheBytes(c) / 4), Sorted: mx.Learn}
	return stores{
		bodies:    bodies,
		directory: &directory.Directory{DB: o.DB},
		mailboxes: mailboxes,
		maildrops: &maildrop.Store{DB: o.DB, Mail: mailboxes},
		journal:   &journal.Journal{DB: o.DB},
		reports:   &reports.Store{DB: o.DB},
		met:       &acquaintance.Store{DB: o.DB},
		queue:     &queue.Queue{DB: o.DB},
		keys:      &keyring.Keyring{DB: o.DB},
		dead:      &suppression.List{DB: o.DB, After: c.Queue.SuppressAfter},
		thought:   &opinion.Store{DB: o.DB},
		signedIn:  &signin.Store{DB: o.DB},
		scripts:   &script.Store{DB: o.DB},
		posts:     &outpost.Store{DB: o.DB},
		said:      &policies.Store{DB: o.DB},
		sent:      &allowance.Store{DB: o.DB, Cap: c.Limits.RecipientsPerDay, Floor: c.Limits.UsualRecipientsPerDay, Log: o.Log},
	}
}

// people makes what knows who somebody is.
func (h *House) people() {
	c, o := h.c, h.o
	h.auth = &auth.Agent{Directory: h.directory, Trusted: c.Limits.TrustedNetworks, SHA1: c.Auth.ScramSHA1, Tried: h.metrics.tried, Memory: &h.visitors.auth}
	h.former = &former.Agent{Directory: h.directory, Mover: &mover.Agent{Mailboxes: h.mailboxes, Directory: h.directory}, Dial: o.Dial, Roots: o.Roots, Log: o.Log, Passed: o.Passed}
	h.auth.Former = h.former.Login
	if len(c.Auth.Issuers) > 0 {
		h.auth.Tokens = issuers(c.Auth.Issuers, h.web, o.Log).Whose
	}
}

// receiving makes what takes mail from others.
func (h *House) receiving(host mail.Domain) {
	c, o := h.c, h.o
	h.lmtp = &mda.Door{Hostname: c.Hostname, Agent: h.deliver}
	desk := &reporter.Desk{Door: h.deliver, Directory: h.directory, Reports: h.reports, Journal: h.journal}
	h.mx = &mx.Agent{
		Hostname: c.Hostname, Delivery: desk, Bodies: h.bodies, Journal: h.journal, Log: o.Log, Postmaster: host, DNS: o.DNS,
		Trusted: c.Receive.TrustedNetworks, Signers: h.keys.Signers, Policy: policy(c.Receive), Acquaintances: h.met,
		Opinions: h.thought, Filters: filters(c.Milters, false), Hooks: h.hooks(c.Hooks),
	}
	if c.Reports.Send && c.Reports.DMARC {
		h.mx.Saw = desk.Saw
	}
	h.mx.Counts = h.visitors.counted(h.mx.Policy)
}

// sending makes what carries mail away, and the ways that it goes by.
func (h *House) sending() error {
	c, o := h.c, h.o
	h.sts = &sts.Agent{Store: h.said, DNS: o.DNS, Fetch: sts.Policies(h.web), Log: o.Log}
	h.ways = &ways{house: h, local: &mta.Local{Delivery: h.deliver, Bodies: h.bodies, Seal: h.mx.Sealer, Sort: h.mx.Sorter}}
	if err := h.ways.build(c.Routes); err != nil {
		return err
	}
	h.queue.Way = h.ways.of
	h.transfer = &mta.Agent{
		Hostname: c.Hostname, DB: o.DB, Bodies: h.bodies, Queue: h.queue, Journal: h.journal, Log: o.Log, Route: h.ways.route, Shape: h.shape, Suppression: h.dead,
		Workers: c.Queue.Workers, PerDomain: c.Queue.PerDomain,
		GiveUp: time.Duration(c.Queue.GiveUp), WarnAfter: time.Duration(c.Queue.WarnAfter),
		FirstRetry: time.Duration(c.Queue.FirstRetry), LastRetry: time.Duration(c.Queue.LastRetry),
	}
	return nil
}

// administration makes what operators and the commands speak to.
func (h *House) administration(host mail.Domain) {
	c, o := h.c, h.o
	reg := &registrar.Registrar{
		DB: o.DB, Directory: h.directory, Mailboxes: h.mailboxes, Keys: h.keys, Outposts: h.posts,
		Quota: int64(c.Limits.AccountQuota), Hash: h.hash, AppPassword: h.auth.NewAppPassword,
		APOPPassword: auth.NewAPOPPassword, KeyOf: auth.KeyOf, Prefix: imapd.PrefixOf,
	}
	h.post.Removals = reg.FinishRemovals
	h.owner = &owner.Agent{Directory: h.directory, Registrar: reg, Mailboxes: h.mailboxes, Maildrops: h.maildrops, Store: h.scripts, Rules: h.deliver.Rules}
	h.Admin = &admind.Server{
		Backup: o.Backup, Backups: h.backups, Depot: h.depot, Full: o.Full, SHA1: c.Auth.ScramSHA1, CanWithhold: imapd.CanWithhold,
		Registrar: reg, Owner: h.owner,
		Directory: h.directory, Mailboxes: h.mailboxes, Queue: h.queue, Transfer: h.transfer,
		Journal: h.journal, Postmaster: h.post, Reports: h.reports, Delivery: h.deliver, Suppression: h.dead,
		Forecast: &mx.Forecast{Hostname: c.Hostname, DNS: o.DNS, Mailboxes: h.mailboxes}, Version: o.Version, Log: o.Log,
		Keys: h.signing, Allowance: h.sent, Metrics: h.metricsHandler(),
		Mover: h.former.Mover, Former: h.former, Way: h.ways.named, Collector: h.collector, Envoy: h.envoy,
		Settings: h.settingsOf, AccountPage: h.accountPage(),
		Records: func(ctx context.Context, d mail.Domain, o admind.RecordOptions) ([]admind.Record, error) {
			return h.records(ctx, h.keys, host, d, o)
		},
	}
}

// elsewhere makes what collects and sends mail by accounts that people have elsewhere.
func (h *House) elsewhere(reach func(ctx context.Context, network, addr string) (net.Conn, error)) {
	c, o := h.c, h.o
	h.collector = &collector.Agent{
		Outposts: h.posts, Directory: h.directory, Bodies: h.bodies, MX: h.mx, Try: h.deliver.Try, Dial: reach, Log: o.Log, Roots: o.Roots, Web: h.web,
		AnyClear: c.Collect.Clear, AtOnce: c.Collect.AtOnce, MaxSize: int64(c.Limits.MessageSize), Visited: h.metrics.visited,
	}
	h.envoy = &envoy.Agent{
		Hostname: c.Hostname, Outposts: h.posts, Directory: h.directory, DNS: o.DNS, Dial: o.Dial, Login: h.collector.Login, Log: o.Log, Roots: o.Roots,
		AnyClear: c.Collect.Clear, Shape: h.shape,
	}
	h.msa.Errand = h.envoy.Errand
}

// policy makes what speaks against those who bring mail.
func policy(c config.Receive) mx.Policy {
	p := mx.Policy{
		NoName: c.NoNamePoints, BadHello: c.BadHelloPoints, Junk: c.JunkPoints, Refuse: c.RefusePoints,
		PerHour: c.MessagesPerHour, Unknown: c.UnknownRecipients, Greylist: mx.Greylist(c.Greylist),
	}
	for _, l := range c.Lists {
		p.Lists = append(p.Lists, mx.List{Zone: mail.Domain(l.Zone), Points: l.Points, Codes: l.Codes})
	}
	return p
}

// filters makes the filters outside, for mail from others or for what people here
// send. They are near, so they are reached directly.
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
