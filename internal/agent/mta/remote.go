package mta

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/mtasts"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/proto/tlsrpt"
	"posthaste/internal/store/body"
	"posthaste/internal/store/queue"
)

const (
	maxHosts     = 10 // of a domain's MX records
	maxAddresses = 12 // tried for one message
	dialTime     = 30 * time.Second
	// noMX is how long it counts that a domain has no MX record.
	noMX = time.Minute
)

// Remote carries over SMTP to the hosts that a domain's MX records name, or to
// one fixed host. Its sessions are kept for a while and used again. DNS, Dial
// and Log must be set; a Remote must not be copied after first use.
type Remote struct {
	Hostname string // what we call ourselves
	DNS      dns.Resolver
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	Log      *slog.Logger
	Buffers  *smtp.Buffers
	// TLS is for STARTTLS; nil does without. Where it verifies nobody, TLS is
	// opportunistic: a host that cannot do it is spoken to in clear.
	TLS *tls.Config
	// STS gives the MTA-STS policy of a domain, whose Mode is empty if there is
	// none, and what is wrong with the one that it says to have; nil: nobody has
	// one.
	STS func(ctx context.Context, d mail.Domain) (mtasts.Policy, tlsrpt.Result)
	// Tell is told of every session, as far as TLS goes; nil: nobody is.
	Tell func(Session)
	// Fixed is where everything goes, instead of the domain's MX.
	Fixed *Host
	// Egress are the addresses that it goes out from; nil: as the system chooses.
	Egress *Egress
	// Shape is told where domains lead; nil: nobody is.
	Shape *Shaper

	pool  pool
	atlas atlas
}

// A Host is a fixed next hop: a smarthost, or the way a domain is routed.
type Host struct {
	Name string // a domain name or an IP address
	Port string
	// LMTP speaks LMTP instead of SMTP, ImplicitTLS begins with a handshake.
	Dialect     smtp.Dialect
	ImplicitTLS bool
	// RequireTLS sends nothing in clear.
	RequireTLS bool
	// Login proves who we are, after TLS, by one of the mechanisms that the
	// host offers; nil does not.
	Login func(ctx context.Context, offered []string) (smtp.Authenticator, error)
	// Explain makes of the error for which there was no session what is told of it; nil:
	// it is told as that of any host.
	Explain func(err error) error
}

// explain tells why there was no session.
func (h *Host) explain(err error) error {
	if h == nil || h.Explain == nil {
		return unreachable(err)
	}
	return h.Explain(err)
}

// A target is one host to try, by name and address.
type target struct {
	name string
	ip   netip.Addr
	port string
	need *protection // nil: as the route says
	// sure: nobody can have put the name there but who runs the domain.
	sure bool
}

func (t target) String() string { return t.name + " [" + t.ip.String() + "]" }

// Carry sends to the recipients, all of one domain, over a session that is open
// already or a new one.
func (r *Remote) Carry(ctx context.Context, it queue.Item, b *body.Reader) ([]mail.Outcome, error) {
	key := string(it.Domain)
	if r.Fixed != nil {
		key = ""
	}
	ask := demandOf(it.Envelope)
	if ask == lax {
		key += " lax" // what may be sent over such a session does not go over others
	}
	if s := r.pool.take(key); s != nil {
		now := time.Now()
		switch {
		case !r.Egress.works(s.source, siteName(s.target.name), now):
			go quit(s)
		case !s.fresh(now) || !s.sure(now) && s.client.Reset() != nil:
			s.close()
		case ask == strict && r.unfit(s) != nil:
			go quit(s)
		default:
			out, err := r.send(ctx, s, key, it, b)
			if (!errors.Is(err, smtp.ErrUnheard) || ctx.Err() != nil) && !r.refused(s, out) {
				return out, nil
			}
		}
	}
	for {
		s, err := r.connect(ctx, &it, ask)
		if err != nil {
			return nil, err
		}
		out, _ := r.send(ctx, s, key, it, b) // what became of each is known, also of those it broke off for
		if ctx.Err() != nil || !r.refused(s, out) {
			return out, nil
		}
	}
}

// send sends over a session, which is kept or closed. Its error is that of the
// session.
func (r *Remote) send(ctx context.Context, s *session, key string, it queue.Item, b *body.Reader) ([]mail.Outcome, error) {
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	outcomes, err := s.client.Send(it.Envelope, tunnel(it.Envelope, s.client.Extensions()), b)
	for i := range outcomes {
		if outcomes[i].Remote != "" {
			outcomes[i].TLS, outcomes[i].From = s.tls, s.source.from(s.target.ip)
		}
	}
	if !stop() || err != nil {
		s.close()
		return outcomes, err
	}
	r.pool.put(key, s, r.Shape.perConnection(queue.Bound{Domain: it.Domain, Way: it.Way}))
	return outcomes, nil
}

// tunnel gives the field that asks of a host what it does not know to be asked in
// RCPT. Only of a recipient alone: others would read of him. RFC 7293 §5.2.1
func tunnel(env mail.Envelope, x smtp.Extensions) []byte {
	if x.RRVS || len(env.Recipients) != 1 {
		return nil
	}
	if r := env.Recipients[0]; !r.ValidSince.IsZero() && !r.ValidOnly && (r.Address.IsASCII() || env.UTF8) {
		return mda.AppendValidSince(nil, r)
	}
	return nil
}

// connect opens a session with the first host that will speak to us, as safely as
// is asked.
func (r *Remote) connect(ctx context.Context, it *queue.Item, ask demand) (*session, error) {
	d := it.Domain
	targets, err := r.targets(ctx, d, ask)
	if err != nil && r.Fixed != nil && r.Fixed.Explain != nil {
		err = r.Fixed.Explain(err)
	}
	if err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		return nil, unreachable(nil)
	}
	a := approach{r: r, it: it, ask: ask, targets: r.atlas.order(targets, time.Now()), closed: r.Fixed == nil, never: true}
	sources := r.Egress.order(d, siteName(targets[0].name), time.Now())
	bound := queue.Bound{Domain: d, Way: it.Way}
	for _, source := range sources {
		if why := r.Shape.learn(bound, targets[0].name, source.or(bound.Person()), time.Now()); why != nil {
			return nil, why
		}
		s, again := a.from(ctx, source)
		if s != nil {
			return s, nil
		}
		if !again || ctx.Err() != nil {
			break
		}
	}
	switch {
	case a.last == nil:
		return nil, mail.Refuse("4.4.1", "no host could be reached: the addresses that mail goes out from are not of a kind with theirs (IPv4, IPv6)", "")
	case a.closed:
		return nil, &mail.Refusal{Status: mail.Status{Class: 5, Subject: 3, Detail: 2}, Text: "no host takes mail; the last one: " + a.last.Error()}
	case a.never:
		return nil, &mail.Refusal{Status: requireTLS, Text: "no host can be trusted with a message that must travel protected (REQUIRETLS); the last one: " + a.last.Error()}
	}
	return nil, r.Fixed.explain(a.last)
}

// An approach is the search for a host that will speak to us.
type approach struct {
	r       *Remote
	it      *queue.Item
	ask     demand
	targets []target

	tried  int
	last   error // what is told: of those that may take it another time and were reached, or else of all
	hope   bool  // last is of one of those
	closed bool  // all say that they take no mail at all
	never  bool  // all were reached, and none may have it
}

// from tries the targets from one of our addresses. again tells that another address
// may fare better.
func (a *approach) from(ctx context.Context, source *Source) (s *session, again bool) {
	again = true
	for _, t := range a.targets {
		if source != nil && !source.ip(t.ip).IsValid() {
			continue
		}
		if a.tried++; a.tried > maxAddresses {
			return nil, false
		}
		again = false
		s, err := a.r.open(ctx, t, source)
		a.r.tell(a.it.Domain, t, s, err)
		if err == nil && a.ask == strict {
			if err = a.r.unfit(s); err != nil {
				go quit(s)
			}
		}
		if err == nil {
			return s, false
		}
		a.r.Log.Debug("no session", "domain", string(a.it.Domain), "remote", t.String(), "error", err)
		_, unfit := errors.AsType[*unfit](err)
		if hope := !unfit && !takesNone(err) && !notReached(err); hope || !a.hope {
			a.hope = hope
			if a.last = fmt.Errorf("%s: %w", t, err); source != nil {
				a.last = fmt.Errorf("%s, asked from %s: %w", t, source.from(t.ip), err)
			}
		}
		a.closed = a.closed && takesNone(err)
		a.never = a.never && unfit
		if _, known := errors.AsType[*rejected](err); known || ctx.Err() != nil {
			return nil, false
		}
		if a.r.blame(source, t, err) {
			return nil, true
		}
	}
	return nil, again
}

// notReached tells whether there was not even a connection.
func notReached(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// takesNone tells whether a host says that it never takes any mail. RFC 7504 §4
func takesNone(err error) bool {
	re, ok := errors.AsType[*smtp.ReplyError](err)
	return ok && (re.Reply.Code == 521 || re.Reply.Code == 556)
}

// unreachable tells the sender why no host would speak to us.
func unreachable(err error) error {
	if _, ok := errors.AsType[*insecure](err); ok {
		return &mail.Refusal{Status: mail.Status{Class: 4, Subject: 7, Detail: 5}, Text: "no host could be spoken to safely; the last one: " + err.Error()}
	}
	if _, ok := errors.AsType[*unfit](err); ok {
		return &mail.Refusal{Status: mail.Status{Class: 4, Subject: 7, Detail: 5}, Text: "not all hosts could be asked for protection (REQUIRETLS); the last one: " + err.Error()}
	}
	if re, ok := errors.AsType[*smtp.ReplyError](err); ok {
		return &mail.Refusal{Status: mail.Status{Class: 4, Subject: 4, Detail: 2}, Text: "no host would speak to us; the last one: " + re.Error()}
	}
	if err == nil {
		err = errors.New("it has no address")
	}
	return &mail.Refusal{Status: mail.Status{Class: 4, Subject: 4, Detail: 1}, Text: "no host could be reached; the last one: " + plain(err)}
}

// plain says what a network error means without what only programmers need. Who it
// was with stays in front.
func plain(err error) string {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Err == nil {
		return err.Error()
	}
	whom, _, _ := strings.Cut(err.Error(), op.Error())
	return whom + op.Err.Error()
}

// targets gives the addresses to try, in order. RFC 5321 §5.1
func (r *Remote) targets(ctx context.Context, d mail.Domain, ask demand) ([]target, error) {
	if r.Fixed != nil {
		return r.fixed(ctx)
	}
	if ip, ok := d.IP(); ok {
		return []target{{name: string(d), ip: ip, port: "25", sure: true}}, nil
	}
	hosts, err := r.hosts(ctx, d)
	if err != nil {
		return nil, err
	}
	var out []target
	var last, unsafe error
	sts := r.policy(ctx, d)
	for _, h := range hosts.Records {
		ans, err := r.DNS.Addresses(ctx, h)
		if err != nil {
			if last == nil || dns.IsAbsent(last) {
				last = err // one that cannot be found out just now counts more
			}
			continue
		}
		need, err := r.protect(ctx, d, h, hosts, ans, sts)
		if need != nil && ask == lax {
			need.lax, need.wrong, err = true, err, nil
		}
		if err != nil {
			t := target{name: string(h), ip: ans.Records[0], need: need}
			r.tell(d, t, nil, err)
			unsafe = fmt.Errorf("%s: %w", t, err)
			continue
		}
		for _, ip := range ans.Records {
			out = append(out, target{name: string(h), ip: ip, port: "25", need: need, sure: hosts.Secure})
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	if unsafe != nil {
		return nil, unreachable(unsafe)
	}
	if dns.IsAbsent(last) {
		return nil, mail.Refuse("5.4.4", "the hosts that should take mail for "+string(d)+" have no address", "")
	}
	return nil, mail.Refuse("4.4.3", "the addresses of the hosts for "+string(d)+" cannot be found out just now", fmt.Sprint(last))
}

func (r *Remote) fixed(ctx context.Context) ([]target, error) {
	if r.Fixed.Name == "localhost" { // RFC 6761 §6.3
		return []target{
			{name: r.Fixed.Name, ip: netip.AddrFrom4([4]byte{127, 0, 0, 1}), port: r.Fixed.Port, sure: true},
			{name: r.Fixed.Name, ip: netip.IPv6Loopback(), port: r.Fixed.Port, sure: true},
		}, nil
	}
	if ip, err := netip.ParseAddr(r.Fixed.Name); err == nil {
		return []target{{name: r.Fixed.Name, ip: ip, port: r.Fixed.Port, sure: true}}, nil
	}
	d, err := mail.ParseDomain(r.Fixed.Name)
	if err != nil {
		return nil, fmt.Errorf("mta: route to %q: %w", r.Fixed.Name, err)
	}
	ans, err := r.DNS.Addresses(ctx, d)
	if err != nil && r.Fixed.Explain == nil {
		err = mail.Refuse("4.4.3", "the address of "+r.Fixed.Name+" cannot be found out just now", err.Error())
	}
	if err != nil {
		return nil, err
	}
	var out []target
	for _, ip := range ans.Records {
		out = append(out, target{name: r.Fixed.Name, ip: ip, port: r.Fixed.Port, sure: true})
	}
	return out, nil
}

// hosts gives the names of the hosts that take mail for d, in the order to try
// them: by preference, at random among equals. Hosts as preferred as ourselves
// or less are left out, or mail would run in a circle.
func (r *Remote) hosts(ctx context.Context, d mail.Domain) (dns.Answer[mail.Domain], error) {
	var none dns.Answer[mail.Domain]
	ans, err := r.DNS.MX(ctx, d)
	switch {
	case errors.Is(err, dns.ErrNoName):
		return none, mail.Refuse("5.1.2", "there is no domain called "+string(d), "")
	case dns.IsAbsent(err):
		// The implicit MX. There is no other name that somebody could have put there.
		return dns.Answer[mail.Domain]{Records: []mail.Domain{d}, Secure: true, TTL: noMX}, nil
	case errors.Is(err, dns.ErrBogus):
		return none, mail.Refuse("4.4.3", "the DNS answers for "+string(d)+" are not properly signed", err.Error())
	case err != nil:
		return none, mail.Refuse("4.4.3", "the hosts for "+string(d)+" cannot be found out just now", err.Error())
	}
	out := dns.Answer[mail.Domain]{Secure: ans.Secure, TTL: ans.TTL}
	mx := slices.Clone(ans.Records)
	if len(mx) == 1 && mx[0].Host == dns.NullMX {
		return none, mail.Refuse("5.1.10", string(d)+" takes no mail", "") // RFC 7505 §4.2
	}
	ours := uint32(1 << 16)
	for _, m := range mx {
		if strings.EqualFold(string(m.Host), r.Hostname) {
			ours = min(ours, uint32(m.Preference))
		}
	}
	rand.Shuffle(len(mx), func(i, j int) { mx[i], mx[j] = mx[j], mx[i] })
	sort.SliceStable(mx, func(i, j int) bool { return mx[i].Preference < mx[j].Preference })
	for _, m := range mx {
		if m.Host != dns.NullMX && uint32(m.Preference) < ours && len(out.Records) < maxHosts {
			out.Records = append(out.Records, m.Host)
		}
	}
	if len(out.Records) == 0 {
		return none, mail.Refuse("5.4.6", "mail for "+string(d)+" comes back to us, and we do not serve it", "")
	}
	return out, nil
}

// open opens a session: TCP, greeting, TLS, login. Where TLS is opportunistic
// and fails, it begins anew in clear.
func (r *Remote) open(ctx context.Context, t target, source *Source) (*session, error) {
	s, err := r.greet(ctx, t, source)
	if err != nil {
		return nil, err
	}
	must := r.Fixed != nil && r.Fixed.RequireTLS
	if r.TLS != nil && !s.secure {
		err := r.secure(ctx, s)
		_, unsafe := errors.AsType[*insecure](err)
		switch {
		case err == nil:
		case must || unsafe:
			s.close()
			return nil, err
		case errors.Is(err, smtp.ErrNoTLS):
		default:
			r.Log.Info("TLS failed, sending in clear", "remote", t.String(), "error", err)
			s.close()
			failed := err
			if s, err = r.greet(ctx, t, source); err != nil {
				return nil, err
			}
			s.doubt = failed
		}
	}
	if must && !s.secure {
		s.close()
		return nil, smtp.ErrNoTLS
	}
	s.tls = tlsWords(s)
	if r.Fixed != nil && r.Fixed.Login != nil {
		if err := r.login(ctx, s); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// A rejected login is for good, and is not tried at the host's other addresses: it would
// look as if we were guessing.
type rejected struct{ error }

func (e *rejected) Unwrap() error { return e.error }

func (r *Remote) login(ctx context.Context, s *session) error {
	auth, err := r.Fixed.Login(ctx, s.client.Extensions().Auth)
	if err == nil {
		err = s.client.Auth(auth)
	}
	if no, ok := errors.AsType[*smtp.ReplyError](err); ok && no.Reply.Code/100 == 5 {
		if t, ok := auth.(interface{ Refused() }); ok { // an access token
			t.Refused()
		}
		return &rejected{err}
	}
	return err
}

// Try opens a session with a fixed host as Carry does, and ends it.
func (r *Remote) Try(ctx context.Context) error {
	s, err := r.connect(ctx, &queue.Item{}, asAsked)
	if err != nil {
		return err
	}
	quit(s)
	return nil
}

// greet dials and says hello.
func (r *Remote) greet(ctx context.Context, t target, source *Source) (*session, error) {
	dctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	hello, at := r.Hostname, net.JoinHostPort(t.ip.String(), t.port)
	var conn net.Conn
	var err error
	if source == nil {
		conn, err = r.Dial(dctx, "tcp", at)
	} else {
		hello = source.Hello
		conn, err = r.Egress.Dial(dctx, source.ip(t.ip), "tcp", at)
	}
	if ctx.Err() == nil && !isUnbound(err) {
		r.atlas.note(t.ip, err, time.Now())
	}
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, target: t, source: source}
	var stream io.ReadWriter = conn
	dialect := smtp.SMTP
	if r.Fixed != nil {
		dialect = r.Fixed.Dialect
		if r.Fixed.ImplicitTLS {
			tc, err := handshake(ctx, conn, r.TLS, t.name)
			if err != nil {
				conn.Close()
				return nil, err
			}
			stream, s.conn, s.secure = tc, tc, true
		}
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	s.client = smtp.NewClient(stream, smtp.ClientOptions{
		Dialect: dialect, Hello: hello, Remote: t.String(), Buffers: r.Buffers,
		Wait: func(d time.Duration) { conn.SetDeadline(time.Now().Add(d)) }, Now: time.Now,
	})
	if err := s.client.Greet(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// tlsWords says how a session is protected: "TLS 1.3 TLS_AES_128_GCM_SHA256,
// verified by DANE".
func tlsWords(s *session) string {
	tc, ok := s.conn.(*tls.Conn)
	if !ok {
		return ""
	}
	cs := tc.ConnectionState()
	words := tls.VersionName(cs.Version) + " " + tls.CipherSuiteName(cs.CipherSuite)
	if s.proof != "" {
		words += ", " + s.proof
	}
	return words
}

func handshake(ctx context.Context, conn net.Conn, cfg *tls.Config, name string) (*tls.Conn, error) {
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg = cfg.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = name
	}
	tc := tls.Client(conn, cfg)
	hctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	if err := tc.HandshakeContext(hctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return tc, nil
}
