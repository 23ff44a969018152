package mx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/authres"
	"posthaste/internal/proto/dkim"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/spf"
	"posthaste/internal/store/body"
)

// gatherTime bounds what is asked about one message.
const gatherTime = 20 * time.Second

// gather finds out what can be known about a message. An error is ours: that
// the DNS does not answer is part of the evidence.
func (a *Agent) gather(ctx context.Context, peer mail.Peer, env mail.Envelope, header []byte, st *body.Staged) (Evidence, error) {
	ev, author := look(header)
	if !a.judges(peer) {
		return ev, nil
	}
	ev.Judged, ev.Name = true, peer.Name
	ctx, cancel := context.WithTimeout(ctx, gatherTime)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { ev.SPF = a.spf(ctx, peer, env) })
	err := a.signatures(ctx, &ev, header, st)
	wg.Wait()
	if err != nil {
		return ev, err
	}
	a.speaksFor(ctx, &ev, header, author)
	return ev, nil
}

// signed is gather for a message of which nobody knows who has brought it.
func (a *Agent) signed(ctx context.Context, header []byte, st *body.Staged) (Evidence, error) {
	ev, author := look(header)
	if a.DNS == nil {
		return ev, nil
	}
	ev.Judged = true
	ctx, cancel := context.WithTimeout(ctx, gatherTime)
	defer cancel()
	if err := a.signatures(ctx, &ev, header, st); err != nil {
		return ev, err
	}
	a.speaksFor(ctx, &ev, header, author)
	return ev, nil
}

// look finds out what can be seen; author is the domain of the author, if there is
// just one.
func look(header []byte) (ev Evidence, author mail.Domain) {
	ev.Hops = mda.Hops(header)
	var authors []message.Contact
	ev.FromFields, authors = message.Authors(header)
	ev.Authors, ev.Author = len(authors), soleAuthor(authors)
	if ev.Authors == 1 {
		author = authors[0].Address.Domain
	}
	return ev, author
}

// signatures verifies the signatures and the seals.
func (a *Agent) signatures(ctx context.Context, ev *Evidence, header []byte, st *body.Staged) error {
	var wg sync.WaitGroup
	var err, arcErr error
	rest := func() io.Reader {
		return io.NewSectionReader(st, int64(len(header)), st.Size()-int64(len(header)))
	}
	wg.Go(func() { ev.DKIM, err = dkim.Verify(ctx, header, rest(), a.key, time.Now()) })
	ev.ARC.Result = dkim.None
	if _, chained := message.Find(header, "arc-seal"); chained {
		wg.Go(func() { ev.ARC, arcErr = dkim.VerifyChain(ctx, header, rest(), a.key, time.Now()) })
	}
	wg.Wait()
	if err := errors.Join(err, arcErr); err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	return nil
}

// speaksFor asks the author's domain for its policy, and for its logo.
func (a *Agent) speaksFor(ctx context.Context, ev *Evidence, header []byte, author mail.Domain) {
	if author != "" {
		ev.DMARC = a.dmarc(ctx, author, *ev)
		ev.Logo = a.logo(ctx, header, ev.DMARC)
	}
}

// judges tells whether mail from the peer is judged.
func (a *Agent) judges(peer mail.Peer) bool {
	if a.DNS == nil || !peer.Addr.IsValid() {
		return false
	}
	return !a.trusts(peer)
}

// trusts tells whether the peer is in a network whose mail is not judged.
func (a *Agent) trusts(peer mail.Peer) bool {
	ip := peer.Addr.Addr().Unmap()
	return slices.ContainsFunc(a.Trusted, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// spf asks the sender's domain, or for reports the domain of HELO, whether the
// peer may send for it. RFC 7208 §2.4
func (a *Agent) spf(ctx context.Context, peer mail.Peer, env mail.Envelope) SPF {
	out := SPF{Domain: env.Sender.Domain, Sender: env.Sender}
	if env.Sender.IsZero() {
		d, err := mail.ParseDomain(peer.Hello)
		if err != nil {
			return SPF{Result: spf.None}
		}
		out.Domain = d
	}
	q := spf.Query{IP: peer.Addr.Addr(), Domain: string(out.Domain), Local: env.Sender.Local, Helo: peer.Hello, Receiver: a.Hostname, Now: time.Now()}
	out.Result, out.Reason = spf.Check(ctx, spfDNS{a.DNS}, q)
	if out.Result == spf.Fail {
		out.Explanation = spf.Explain(ctx, spfDNS{a.DNS}, q) // from the resolver's cache, but for one question
	}
	return out
}

// key looks a DKIM key up.
func (a *Agent) key(ctx context.Context, name string) ([]string, error) {
	ans, err := a.DNS.TXT(ctx, name)
	if dns.IsAbsent(err) {
		return nil, dkim.ErrNoKey
	}
	return ans.Records, err
}

func (a *Agent) dmarc(ctx context.Context, author mail.Domain, ev Evidence) dmarc.Evaluation {
	from := dmarc.Authenticated{Domain: ev.SPF.Domain, Pass: ev.SPF.Result == spf.Pass, TempError: ev.SPF.Result == spf.TempError}
	var signed []dmarc.Authenticated
	for _, s := range ev.DKIM {
		signed = append(signed, dmarc.Authenticated{Domain: s.Domain, Pass: s.Result == dkim.Pass, TempError: s.Result == dkim.TempError})
	}
	return dmarc.Evaluate(ctx, Records{a.DNS}, author, from, signed)
}

// spfDNS asks for spf.
type spfDNS struct{ r dns.Resolver }

func spfError(err error) error {
	if dns.IsAbsent(err) {
		return spf.ErrNoRecord
	}
	return err
}

// TXT is as of spf.Resolver.
func (s spfDNS) TXT(ctx context.Context, name string) ([]string, error) {
	ans, err := s.r.TXT(ctx, name)
	return ans.Records, spfError(err)
}

// A is as of spf.Resolver.
func (s spfDNS) A(ctx context.Context, name string) ([]netip.Addr, error) {
	return s.addresses(ctx, name, netip.Addr.Is4)
}

// AAAA is as of spf.Resolver.
func (s spfDNS) AAAA(ctx context.Context, name string) ([]netip.Addr, error) {
	return s.addresses(ctx, name, netip.Addr.Is6)
}

func (s spfDNS) addresses(ctx context.Context, name string, kind func(netip.Addr) bool) ([]netip.Addr, error) {
	ans, err := s.r.Addresses(ctx, mail.Domain(strings.ToLower(name)))
	var out []netip.Addr
	for _, ip := range ans.Records {
		if ip = ip.Unmap(); kind(ip) {
			out = append(out, ip)
		}
	}
	return out, spfError(err)
}

// MX is as of spf.Resolver.
func (s spfDNS) MX(ctx context.Context, name string) ([]string, error) {
	ans, err := s.r.MX(ctx, mail.Domain(strings.ToLower(name)))
	var out []string
	for _, m := range ans.Records {
		if m.Host != dns.NullMX {
			out = append(out, string(m.Host))
		}
	}
	return out, spfError(err)
}

// PTR is as of spf.Resolver.
func (s spfDNS) PTR(ctx context.Context, ip netip.Addr) ([]string, error) {
	ans, err := s.r.PTR(ctx, ip)
	var out []string
	for _, d := range ans.Records {
		out = append(out, string(d))
	}
	return out, spfError(err)
}

// clean gives the message without Authentication-Results fields that claim to be
// ours, and without those that say which logo is proven: only receivers write those.
// RFC 8601 §5
func (a *Agent) clean(ctx context.Context, header []byte, st *body.Staged) (*body.Staged, error) {
	forged := message.CutFields(header, a.forged)
	if len(forged) == 0 {
		return st, nil
	}
	edit := message.Edit{Cut: forged}
	return a.Bodies.Stage(ctx, edit.Reader(st, st.Size()))
}

// forged tells whether a field claims to be one that only we write.
func (a *Agent) forged(f message.Field) bool {
	return f.Is("authentication-results") && strings.EqualFold(authres.Host(string(f.Value)), a.Hostname) || f.Is("bimi-location") || f.Is("bimi-indicator")
}
