package mx

import (
	"strings"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/authres"
	"posthaste/internal/proto/dkim"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/spf"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/opinion"
)

// Evidence is all that is known about a message when it is judged.
type Evidence struct {
	FromFields int          // how many From fields there are
	Authors    int          // how many addresses they name
	Author     mail.Address // the one author; zero: there is not exactly one
	Hops       int          // Received fields

	// Judged tells that the rest was looked for. It is not for mail from
	// networks that are trusted.
	Judged bool
	Name   string // the peer's confirmed name; how it is without one is in Client
	SPF    SPF
	DKIM   []dkim.Signature
	DMARC  dmarc.Evaluation // zero without exactly one author
	// ARC is what those who sent the message on say that they found. Nobody is
	// trusted for it: it is told, and not judged by.
	ARC    dkim.Chain
	Logo   Logo
	Client Client
	// Past is what is known from before; nil: it does not matter, or cannot be told.
	Past *Past
	// Opinion is what the person whom it is for thinks of the sender; zero: nothing.
	Opinion opinion.Opinion
}

// SPF is what the sender's domain says of the peer. RFC 7208
type SPF struct {
	Result spf.Result
	Reason string
	Domain mail.Domain
	Sender mail.Address // zero: it was the HELO name that was looked at
	// Explanation is the domain's own, of a Fail.
	Explanation string
}

// A Verdict is what is to be done with a message.
type Verdict struct {
	Refusal *mail.Refusal // nil: it is taken
	Mailbox mailbox.Role  // where it goes; NoRole is the inbox
	// Quiet tells that the sender is hardly who sent it: he is not told that it
	// arrived, whatever was asked for.
	Quiet bool
	// Reason is why it goes where it goes, in words; empty if nothing is special. A
	// Refusal has its own.
	Reason string
	// Again tells that the Refusal is a stranger's, who is to come again.
	Again bool
}

// Judge weighs the evidence. It asks nobody and forgets at once: the same
// evidence gives the same verdict.
func Judge(p Policy, ev Evidence) Verdict {
	v := judge(ev)
	if v.Refusal == nil && v.Mailbox == mailbox.NoRole {
		v = p.Admit(ev.Client)
		v.Refusal = nil // that was said at the recipients
		v = p.familiar(ev, v)
	}
	if v.Refusal == nil {
		if no := p.again(ev); no != nil {
			v = Verdict{Refusal: no, Again: true}
		}
	}
	v = ev.sway(v)
	v.Quiet = ev.Judged && (ev.SPF.Result == spf.Fail || ev.SPF.Result == spf.SoftFail || ev.DMARC.Result == dmarc.Fail)
	return v
}

func judge(ev Evidence) Verdict {
	switch {
	case ev.Hops > mda.MaxHops:
		return Verdict{Refusal: mail.Refuse("5.4.6", "the message runs in a circle: it has passed too many servers", "")}
	case ev.FromFields > 1:
		// A message with two authors' fields shows one and proves the other.
		return Verdict{Refusal: mail.Refuse("5.6.0", "the message has more than one From field", "")}
	case !ev.Judged:
		return Verdict{}
	case ev.Authors != 1:
		// So does one with two authors, or with none that can be read.
		return Verdict{Refusal: mail.Refuse("5.7.1", "the From field must name exactly one address", "")}
	case ev.DMARC.Result != dmarc.Fail || ev.DMARC.Testing:
		return Verdict{}
	}
	switch ev.DMARC.Policy {
	case dmarc.Reject:
		text := "this cannot be shown to be from " + string(ev.DMARC.Domain) + ", which asks to refuse such mail (DMARC)"
		if ev.SPF.Explanation != "" {
			text += "; " + string(ev.SPF.Domain) + " explained: " + ev.SPF.Explanation
		}
		return Verdict{Refusal: mail.Refuse("5.7.1", text, "")}
	case dmarc.Quarantine:
		return Verdict{Mailbox: mailbox.JunkRole, Reason: "junk, as its domain asks"}
	}
	return Verdict{}
}

// Words tells what was found, for the story.
func (ev Evidence) Words() string {
	parts := []string{"SPF " + string(ev.SPF.Result)}
	if ev.SPF.Domain != "" {
		parts[0] += " for " + string(ev.SPF.Domain)
	}
	if ev.SPF.Result == "" { // nobody knows who has brought it
		parts = nil
	}
	if len(ev.DKIM) == 0 {
		parts = append(parts, "no DKIM signature")
	}
	for _, s := range ev.DKIM {
		p := "DKIM " + string(s.Result) + " by " + string(s.Domain)
		if s.Reason != "" {
			p += " (" + s.Reason + ")"
		}
		parts = append(parts, p)
	}
	p := "DMARC " + string(ev.DMARC.Result)
	if ev.DMARC.Result == "" {
		p = "DMARC cannot be asked"
	}
	if ev.DMARC.Result == dmarc.Fail {
		p += ", " + string(ev.DMARC.Domain) + " asks for " + string(ev.DMARC.Policy)
	}
	parts = append(parts, p)
	if ev.ARC.Result != dkim.None && ev.ARC.Result != "" {
		p := "sent on by others (ARC " + string(ev.ARC.Result) + ")"
		if n := len(ev.ARC.Sets); n > 0 {
			p = "sent on by " + string(ev.ARC.Sets[n-1].Domain) + " (ARC " + string(ev.ARC.Result) + ")"
		}
		parts = append(parts, p)
	}
	return strings.Join(parts, "; ")
}

// Results gives what was found for an Authentication-Results field.
func (ev Evidence) Results() []authres.Result {
	var out []authres.Result
	if ev.Name != "" {
		out = append(out, authres.Result{Method: "iprev", Result: string(IprevPass), Props: []authres.Prop{{Name: "policy.iprev", Value: ev.Name}}})
	} else if ev.Client.Iprev != "" {
		out = append(out, authres.Result{Method: "iprev", Result: string(ev.Client.Iprev), Props: []authres.Prop{{Name: "policy.iprev", Value: ev.Client.Addr.String()}}})
	}
	spf := authres.Result{Method: "spf", Result: string(ev.SPF.Result), Props: []authres.Prop{{Name: "smtp.helo", Value: string(ev.SPF.Domain)}}}
	if !ev.SPF.Sender.IsZero() {
		spf.Props[0] = authres.Prop{Name: "smtp.mailfrom", Value: ev.SPF.Sender.String()}
	}
	if ev.SPF.Result != "" {
		out = append(out, spf)
	}
	if len(ev.DKIM) == 0 {
		out = append(out, authres.Result{Method: "dkim", Result: "none"})
	}
	for _, s := range ev.DKIM {
		out = append(out, authres.Result{Method: "dkim", Result: string(s.Result), Reason: s.Reason, Props: []authres.Prop{
			{Name: "header.d", Value: string(s.Domain)}, {Name: "header.s", Value: s.Selector}, {Name: "header.b", Value: s.Value},
		}})
	}
	if ev.DMARC.Result != "" {
		out = append(out, authres.Result{Method: "dmarc", Result: string(ev.DMARC.Result), Props: []authres.Prop{{Name: "header.from", Value: string(ev.DMARC.Domain)}}})
	}
	if ev.Logo.Result != "" && ev.Logo.Result != "none" {
		out = append(out, ev.Logo.result())
	}
	if ev.ARC.Result != dkim.None && ev.ARC.Result != "" {
		arc := authres.Result{Method: "arc", Result: string(ev.ARC.Result), Reason: ev.ARC.Reason}
		if ev.ARC.Result == dkim.TempError { // which arc has not: RFC 8617 §4.4
			arc.Result = string(dkim.None)
		}
		if ip := ev.Client.Addr; ip.IsValid() {
			arc.Props = []authres.Prop{{Name: "smtp.remote-ip", Value: ip.String()}}
		}
		out = append(out, arc)
	}
	return out
}
