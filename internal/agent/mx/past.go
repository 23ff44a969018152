package mx

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/dkim"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/spf"
	"posthaste/internal/store/acquaintance"
	"posthaste/internal/store/mailbox"
)

// A Greylist says which strangers are asked to come again before their mail is taken.
// The zero Greylist is never.
type Greylist string

// The choices.
const (
	GreyNever      Greylist = "never"
	GreySuspicious Greylist = "suspicious" // those whom something speaks against
	GreyAlways     Greylist = "always"
)

const (
	// GreyWait is how long a stranger must wait before he comes again. Servers wait
	// for a minute and more; most of what sends junk never comes back.
	GreyWait = time.Minute
	// askedRecipients and askedNames bound what is looked up for one message.
	askedRecipients = 10
	askedNames      = 8
)

// Past is what is known of who sends a message from before: of its author only if he
// is proven.
type Past struct {
	At      time.Time // now
	Author  mail.Address
	Known   acquaintance.Record // of the author's domain, or of the network
	Written acquaintance.Record // what people here have written to the author
	Asked   acquaintance.Record // since when the sender has been asked to come again
}

// past finds out what is known from before; nil: that cannot be told now, or does not
// matter.
func (a *Agent) past(ctx context.Context, env mail.Envelope, ev Evidence, now time.Time) *Past {
	if a.Acquaintances == nil || !ev.Client.Judged {
		return nil
	}
	p := &Past{At: now}
	var err error
	look := func(get func() (acquaintance.Record, error)) (r acquaintance.Record) {
		if err == nil {
			r, err = get()
		}
		return r
	}
	of := func(names ...string) acquaintance.Record {
		return look(func() (acquaintance.Record, error) { return a.Acquaintances.Of(ctx, now, names...) })
	}
	p.Known = of(networkName(ev.Client.Addr))
	if ev.Proven() {
		p.Author = ev.Author
		p.Known = of(networkName(ev.Client.Addr), domainName(ev.Author.Domain))
		p.Written = look(func() (acquaintance.Record, error) { return a.Acquaintances.Written(ctx, now, ev.Author) })
	}
	if p.stranger() {
		for _, who := range ev.comesAs() {
			for _, to := range env.Recipients[:min(len(env.Recipients), askedRecipients)] {
				r := look(func() (acquaintance.Record, error) {
					return a.Acquaintances.Asked(ctx, now, who, env.Sender, to.Address)
				})
				if !r.First.IsZero() && (p.Asked.First.IsZero() || r.First.Before(p.Asked.First)) {
					p.Asked = r
				}
			}
		}
	}
	if err != nil {
		a.Log.Error("what is known of a sender could not be read", "id", env.Trace.String(), "error", err)
		return nil
	}
	return p
}

// Proven tells whether the one author is shown to have sent the message: by DMARC, or
// where his domain says nothing of it, by a signature of his domain or its SPF.
func (ev Evidence) Proven() bool {
	d := ev.Author.Domain
	switch {
	case !ev.Judged || ev.Authors != 1 || d == "":
		return false
	case ev.DMARC.Result == dmarc.Pass:
		return true
	case ev.DMARC.Result == dmarc.Fail || ev.DMARC.Result == dmarc.TempError:
		return false
	}
	return ev.SPF.Result == spf.Pass && ev.SPF.Domain == d ||
		slices.ContainsFunc(ev.DKIM, func(s dkim.Signature) bool { return s.Result == dkim.Pass && s.Domain == d })
}

// The names that the store knows somebody by.
func domainName(d mail.Domain) string  { return "domain " + string(d) }
func networkName(ip netip.Addr) string { return "network " + neighbours(ip).String() }
func hostsName(host string) (string, bool) {
	labels := strings.Split(strings.ToLower(strings.TrimSuffix(host, ".")), ".")
	if len(labels) < 2 {
		return "", false
	}
	return "hosts " + strings.Join(labels[len(labels)-2:], "."), true
}

// neighbours gives the network of a host and of those that stand beside it: large
// senders try again from another of them.
func neighbours(ip netip.Addr) netip.Prefix {
	bits := 24
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// comesAs gives the names by which somebody is known again who was asked to come
// again: his network, the domain of his host names, and the domains that stand for
// the message. A large sender comes from another host, but has one of these.
func (ev Evidence) comesAs() []string {
	names := []string{networkName(ev.Client.Addr)}
	if n, ok := hostsName(ev.Name); ok {
		names = append(names, n)
	}
	if ev.SPF.Result == spf.Pass {
		names = append(names, domainName(ev.SPF.Domain))
	}
	for _, s := range ev.DKIM {
		if n := domainName(s.Domain); s.Result == dkim.Pass && len(names) < askedNames && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// stranger tells whether nothing speaks for the sender.
func (p *Past) stranger() bool { return p.Known.Count == 0 && p.Written.Count == 0 }

// came tells whether he was asked to come again, and has.
func (p *Past) came() bool { return !p.Asked.First.IsZero() && p.At.Sub(p.Asked.First) >= GreyWait }

// suspicion tells what speaks against who brings a message and against the message
// itself, without being enough to refuse it.
func (p Policy) suspicion(ev Evidence) string {
	var words []string
	if _, why := p.Weigh(ev.Client); why != "" {
		words = append(words, why)
	}
	if s := ev.SPF.Result; (s == spf.Fail || s == spf.SoftFail) && !ev.Proven() {
		words = append(words, "mail of "+string(ev.SPF.Domain)+" is not sent from there (SPF)")
	}
	return strings.Join(words, ", and ")
}

// again refuses a stranger's message for now; nil: there is no need. A private address
// is no stranger's, and who comes back proves nothing there.
func (p Policy) again(ev Evidence) *mail.Refusal {
	if p.Greylist != GreySuspicious && p.Greylist != GreyAlways || ev.Past == nil {
		return nil
	}
	ip := ev.Client.Addr
	if ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || !ev.Past.stranger() || ev.Past.came() {
		return nil
	}
	why := p.suspicion(ev)
	if why == "" && p.Greylist == GreySuspicious {
		return nil
	}
	text := "greylisted: nothing has come from " + ip.String() + " before"
	if why != "" {
		text += ", and " + why
	}
	return mail.Refuse("4.7.1", text+"; send it again in a minute, and it will be looked at anew", "")
}

// familiar changes what was found about a client by what is known of the author.
func (p Policy) familiar(ev Evidence, v Verdict) Verdict {
	past := ev.Past
	if past == nil {
		return v
	}
	junk := v.Mailbox == mailbox.JunkRole
	switch {
	case junk && past.Written.Count > 0:
		return Verdict{Reason: "not junk, since somebody here has written to " + past.Author.String() + " before, though it is brought by a host of which this is known: " + p.suspicion(ev)}
	case !junk && past.came() && past.stranger():
		return Verdict{Reason: "a stranger's, who has sent it again as we asked him to"}
	}
	return v
}

// asked notes that a sender was asked to come again; false: that could not be noted.
func (t *transaction) asked(ev Evidence, now time.Time) bool {
	ok := false
	for _, who := range ev.comesAs() {
		for _, to := range t.env.Recipients[:min(len(t.env.Recipients), askedRecipients)] {
			ok = t.a.Acquaintances.Tried(now, who, t.env.Sender, to.Address) || ok
		}
	}
	return ok
}

// took notes that mail has been taken which is not junk.
func (t *transaction) took(ev Evidence, v Verdict, now time.Time) {
	if t.a.Acquaintances == nil || !ev.Client.Judged || v.Mailbox != mailbox.NoRole {
		return
	}
	names := []string{networkName(ev.Client.Addr)}
	if ev.Proven() {
		names = append(names, domainName(ev.Author.Domain))
	}
	t.a.Acquaintances.Took(now, names...)
}

// soleAuthor gives the one author of a message; zero: there is none, or are several.
func soleAuthor(authors []message.Contact) mail.Address {
	if len(authors) != 1 {
		return mail.Address{}
	}
	return authors[0].Address
}
