package mx

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/authres"
	"posthaste/internal/proto/dkim"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/spf"
	"posthaste/internal/store/body"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/opinion"
)

// againstDomain is how often somebody must have taken mail of a sender out of Junk until
// that outweighs what the author's domain asks for.
const againstDomain = 2

// sway has the person whom the message is for decide between the inbox and Junk, if he
// has shown what he thinks of the sender.
func (ev Evidence) sway(v Verdict) Verdict {
	o := ev.Opinion
	if o.At.IsZero() || v.Refusal != nil {
		return v
	}
	day := o.At.UTC().Format("2 January 2006")
	switch {
	case o.Junk && v.Mailbox == mailbox.NoRole:
		v.Mailbox = mailbox.JunkRole
		v.Reason = "junk, since mail of " + ev.Author.String() + " was moved to Junk or marked as junk there on " + day
	case !o.Junk && v.Mailbox == mailbox.JunkRole && (ev.DMARC.Result != dmarc.Fail || o.Times >= againstDomain):
		v.Mailbox = mailbox.NoRole
		v.Reason = "not junk, since mail of " + ev.Author.String() + " was taken out of Junk or marked as no junk there on " + day + "; else it would be " + v.Reason
	}
	return v
}

// sorter gives what says where a message goes in an account, by what its owner thinks of
// the sender; nil: as the verdict says.
func (a *Agent) sorter(j *judgement) func(context.Context, mail.AccountID) (mailbox.Role, string, error) {
	if a.Opinions == nil || !j.ev.Judged {
		return nil
	}
	names := sentBy(j.ev.Author, j.ev.Results()).names()
	if len(names) == 0 {
		return nil
	}
	return func(ctx context.Context, acct mail.AccountID) (mailbox.Role, string, error) {
		return a.swayed(ctx, acct, j.ev, j.v, j.now, names)
	}
}

// Sorter is the Sort of a mail that has waited in the queue, and of which nothing is left
// of what we found but what we wrote in front of it, and the mailbox that it was to go to.
// It is nil if we found nothing.
func (a *Agent) Sorter(front []byte, st *body.Staged, to mailbox.Role) func(context.Context, mail.AccountID) (mailbox.Role, string, error) {
	found, judged := a.found(front)
	if a.Opinions == nil || !judged {
		return nil
	}
	return func(ctx context.Context, acct mail.AccountID) (mailbox.Role, string, error) {
		header, err := mda.Header(st)
		if err != nil {
			return to, "", fmt.Errorf("mx: read the header: %w", err)
		}
		_, authors := message.Authors(header)
		ev := Evidence{Judged: true, Author: soleAuthor(authors)}
		_, results, err := authres.Parse(found)
		if err != nil {
			results = nil
		}
		for _, r := range results {
			if r.Method == "dmarc" {
				ev.DMARC.Result = dmarc.Result(r.Result)
			}
		}
		names := sentBy(ev.Author, results).names()
		if len(names) == 0 {
			return to, "", nil
		}
		return a.swayed(ctx, acct, ev, Verdict{Mailbox: to, Reason: "junk, as was found when it came"}, time.Now(), names)
	}
}

// swayed gives where a message goes in an account whose owner may think something of who
// sent it, and why if that is elsewhere than the verdict says.
func (a *Agent) swayed(ctx context.Context, acct mail.AccountID, ev Evidence, v Verdict, now time.Time, names []string) (mailbox.Role, string, error) {
	var err error
	if ev.Opinion, err = a.Opinions.Latest(ctx, now, acct, names...); err != nil {
		return v.Mailbox, "", err
	}
	swayed := ev.sway(v)
	if swayed.Mailbox == v.Mailbox {
		return v.Mailbox, "", nil
	}
	return swayed.Mailbox, swayed.Reason, nil
}

// A by is who has sent a message, as far as opinions go. Who is not proven is known by
// what he claims and, where that is to be believed, by what has brought it as well.
type by struct {
	proven  string   // "": nobody is
	claimed string   // who he says that he is
	through []string // the claim, with each domain or network that stands for the way
}

// sentBy finds that out from what was found when the message came.
func sentBy(author mail.Address, results []authres.Result) by {
	if author.IsZero() {
		return by{}
	}
	addr := strings.ToLower(author.Local) + "@" + string(author.Domain)
	out := by{claimed: "claimed " + addr}
	if proves(author.Domain, results) {
		out.proven = "author " + addr
		return out
	}
	for _, r := range results {
		via := ""
		switch {
		case r.Method == "spf" && r.Result == string(spf.Pass):
			via = domainName(sender(r))
		case r.Method == "dkim" && r.Result == string(dkim.Pass):
			via = domainName(mail.Domain(r.Prop("header.d")))
		case r.Method == "iprev" && r.Result == string(IprevPass):
			via, _ = hostsName(r.Prop("policy.iprev"))
		case r.Method == "iprev":
			if ip, err := netip.ParseAddr(r.Prop("policy.iprev")); err == nil {
				via = networkName(ip)
			}
		}
		if via != "" && len(out.through) < askedNames && !slices.Contains(out.through, via) {
			out.through = append(out.through, via)
		}
	}
	for i, via := range out.through {
		out.through[i] = out.claimed + " by " + via
	}
	return out
}

// sender gives the domain that an SPF result is about.
func sender(r authres.Result) mail.Domain {
	who := cmp.Or(r.Prop("smtp.mailfrom"), r.Prop("smtp.helo"))
	return mail.Domain(who[strings.LastIndexByte(who, '@')+1:])
}

// proves is Evidence.Proven for what stands in an Authentication-Results field.
func proves(author mail.Domain, results []authres.Result) bool {
	own := false
	for _, r := range results {
		switch {
		case r.Method == "dmarc" && r.Result == string(dmarc.Pass):
			return true
		case r.Method == "dmarc" && (r.Result == string(dmarc.Fail) || r.Result == string(dmarc.TempError)):
			return false
		case r.Method == "spf" && r.Result == string(spf.Pass):
			own = own || sender(r) == author
		case r.Method == "dkim" && r.Result == string(dkim.Pass):
			own = own || mail.Domain(r.Prop("header.d")) == author
		}
	}
	return own
}

// names gives the names by which what is thought of him is looked up.
func (b by) names() []string {
	switch {
	case b.claimed == "":
		return nil
	case b.proven != "":
		return []string{b.proven}
	}
	return append(b.through[:len(b.through):len(b.through)], b.claimed)
}

// Learn writes down what somebody thinks of who has sent a message that he sorts; it is
// mailbox.Store.Sorted. That his mail is junk counts against all who claim to be him, that
// it is wanted only for who comes as he did.
func Learn(tx kv.Tx, m mailbox.Sorted) error {
	_, authors := message.Authors(append(m.From[:len(m.From):len(m.From)], "\r\n"...))
	f, found := message.Find(append(m.Prefix[:len(m.Prefix):len(m.Prefix)], "\r\n"...), "authentication-results")
	if !found { // nobody has judged it
		return nil
	}
	_, results, err := authres.Parse(f.Text())
	if err != nil {
		results = nil // it is not ours after all: then only the claim counts
	}
	who := sentBy(soleAuthor(authors), results)
	if who.claimed == "" {
		return nil
	}
	names := who.through
	if who.proven != "" {
		names = []string{who.proven}
	}
	note := opinion.Note
	if m.Marked {
		note = opinion.Confirm // the mark has said it already
	}
	for _, n := range names {
		if err := note(tx, m.Account, n, m.Junk); err != nil {
			return err
		}
	}
	if m.Junk {
		return note(tx, m.Account, who.claimed, true)
	}
	return opinion.Forget(tx, m.Account, who.claimed)
}
