package owner

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/maildrop"
)

type (
	// A Policy says what a device sees over POP3, and what becomes of it.
	Policy struct {
		Device    string   `json:"device,omitempty"`    // an app password's name; none: the account's own, for all that have no other
		After     string   `json:"after"`               // of collecting: "keep", "delete", or days to keep such as "30d"
		Removal   string   `json:"removal"`             // what going means: "delete", "trash" or "hide"
		Newest    int      `json:"newest,omitempty"`    // only so many messages
		Since     string   `json:"since,omitempty"`     // only those from that day on, such as 2026-01-31
		Unread    bool     `json:"unread,omitempty"`    // only what nobody has read
		Mailboxes []string `json:"mailboxes,omitempty"` // none: INBOX
	}
	// A Leaving message will go by a policy.
	Leaving struct {
		Device  string    `json:"device,omitempty"`
		Mailbox string    `json:"mailbox"`
		From    string    `json:"from,omitempty"`
		Subject string    `json:"subject,omitempty"`
		Goes    time.Time `json:"goes"`
		Removal string    `json:"removal"`
	}
	// A Plan is all policies of an account, and what will go by them first.
	Plan struct {
		Policies []Policy  `json:"policies"`
		Leaving  []Leaving `json:"leaving"`
		All      int       `json:"all"` // how many messages will go
		Now      int       `json:"now"` // how many of Leaving go at the keeper's next round
	}
	// A Visit is what a device did in one POP3 session.
	Visit struct {
		Device    string    `json:"device,omitempty"`
		At        time.Time `json:"at"`
		From      string    `json:"from,omitempty"`
		Collected int       `json:"collected"`
		Bytes     int64     `json:"bytes"`
		Removed   int       `json:"removed"`
		Removal   string    `json:"removal"`
		UIDs      []string  `json:"uids,omitempty"` // of what was collected, by mailbox
	}
)

const (
	maxLeaving = 200
	maxVisits  = 200
)

var removals = [...]string{maildrop.Delete: "delete", maildrop.Trash: "trash", maildrop.Hide: "hide"}

// Usual is the policy of a device for which nobody has set one.
func Usual(device string) Policy {
	return Policy{Device: device, After: "keep", Removal: removals[maildrop.Delete]}
}

// Words tells a policy in a sentence.
func (p Policy) Words() string {
	how := map[string]string{"delete": "deleted", "trash": "moved to Trash", "hide": "hidden from this device"}[p.Removal]
	var b strings.Builder
	switch p.After {
	case "keep":
		b.WriteString("what is collected stays")
	case "delete":
		b.WriteString("what is collected is " + how + " when the client leaves")
	default:
		b.WriteString("what is collected is " + how + " " + p.kept() + " later")
	}
	b.WriteString("; what the client deletes is " + how + "; it sees ")
	if len(p.Mailboxes) == 0 {
		b.WriteString("INBOX")
	}
	b.WriteString(strings.Join(p.Mailboxes, " and "))
	switch {
	case p.Newest == 1:
		b.WriteString(", of that the newest message")
	case p.Newest > 1:
		fmt.Fprintf(&b, ", of that the newest %d messages", p.Newest)
	}
	if p.Since != "" {
		b.WriteString(", from " + p.Since + " on")
	}
	if p.Unread {
		b.WriteString(", what is unread")
	}
	return b.String() + "."
}

// kept tells how long that is, where it is a number of days.
func (p Policy) kept() string {
	if p.After == "1d" {
		return "1 day"
	}
	return strings.TrimSuffix(p.After, "d") + " days"
}

func (n names) policy(d maildrop.Device, p maildrop.Policy) Policy {
	out := Policy{Device: n.device(d), After: "keep", Removal: removals[p.Removal], Newest: p.Newest, Unread: p.Unread}
	switch p.After {
	case maildrop.DeleteAtOnce:
		out.After = "delete"
	case maildrop.KeepDays:
		out.After = strconv.Itoa(p.Days) + "d"
	}
	if !p.Since.IsZero() {
		out.Since = p.Since.Format(time.DateOnly)
	}
	for _, id := range p.Mailboxes {
		out.Mailboxes = append(out.Mailboxes, n.box(id))
	}
	return out
}

// parse reads a policy.
func (n names) parse(in Policy) (p maildrop.Policy, err error) {
	switch in.After {
	case "", "keep":
	case "delete":
		p.After = maildrop.DeleteAtOnce
	default:
		days, ok := strings.CutSuffix(in.After, "d")
		if p.Days, err = strconv.Atoi(days); err != nil || !ok || p.Days < 1 || p.Days > maildrop.MaxDays {
			return p, invalid("after collecting, mail is kept for ever (keep), not at all (delete), or for 1 to %d days (30d); %q is none of that", maildrop.MaxDays, in.After)
		}
		p.After = maildrop.KeepDays
	}
	known := in.Removal == ""
	for i, name := range removals {
		if in.Removal == name {
			p.Removal, known = maildrop.Removal(i), true
		}
	}
	if !known {
		return p, invalid("to remove a message means %s, not %q", strings.Join(removals[:], ", "), in.Removal)
	}
	if p.Newest, p.Unread = in.Newest, in.Unread; p.Newest < 0 {
		return p, invalid("a number of messages is not negative")
	}
	if in.Since != "" {
		if p.Since, err = time.Parse(time.DateOnly, in.Since); err != nil {
			return p, invalid("%q is no day: write it like 2026-01-31", in.Since)
		}
	}
	p.Mailboxes, err = n.boxesOf(in.Mailboxes)
	return p, err
}

// boxesOf gives the mailboxes of those names, each of which there must be.
func (n names) boxesOf(list []string) (ids []mail.MailboxID, err error) {
	if len(list) > maildrop.MaxMailboxes {
		return nil, invalid("a device sees %d mailboxes at most", maildrop.MaxMailboxes)
	}
	for _, name := range list {
		if name, err = mailbox.ParseName(name); err != nil {
			return nil, Invalid{err}
		}
		found := false
		for id, have := range n.boxes {
			if have == name && !slices.Contains(ids, id) {
				ids, found = append(ids, id), true
			}
		}
		if !found {
			return nil, fmt.Errorf("mailbox %q, or it is named twice: %w", name, mail.ErrNotFound)
		}
	}
	return ids, nil
}

// POP3 gives an account's policies, and what will go by them.
func (g *Agent) POP3(ctx context.Context, a mail.AccountID) (Plan, error) {
	n, policies, err := g.policies(ctx, a)
	if err != nil {
		return Plan{}, err
	}
	return g.plan(ctx, a, n, policies)
}

// Preview gives what POP3 would give after SetPolicy; nothing is changed.
func (g *Agent) Preview(ctx context.Context, a mail.AccountID, in Policy) (Plan, error) {
	n, policies, err := g.policies(ctx, a)
	if err != nil {
		return Plan{}, err
	}
	d, p, err := n.read(in)
	if err != nil {
		return Plan{}, err
	}
	if policies == nil {
		policies = maildrop.Policies{}
	}
	policies[d] = p
	return g.plan(ctx, a, n, policies)
}

// SetPolicy sets a policy, and gives what will go now. An Invalid says what cannot be
// meant; mail.ErrNotFound: there is no such device, or mailbox.
func (g *Agent) SetPolicy(ctx context.Context, a mail.AccountID, in Policy) (Plan, error) {
	n, err := g.namesOf(ctx, a)
	if err != nil {
		return Plan{}, err
	}
	d, p, err := n.read(in)
	if err != nil {
		return Plan{}, err
	}
	if err := g.Maildrops.SetPolicy(ctx, a, d, p); err != nil {
		return Plan{}, err
	}
	return g.POP3(ctx, a)
}

// ClearPolicy takes a device's policy away: it has the account's then, and the account
// the usual one. It gives what will go now.
func (g *Agent) ClearPolicy(ctx context.Context, a mail.AccountID, device string) (Plan, error) {
	n, err := g.namesOf(ctx, a)
	if err != nil {
		return Plan{}, err
	}
	d, err := n.deviceOf(device)
	if err != nil {
		return Plan{}, err
	}
	if err := g.Maildrops.ClearPolicy(ctx, a, d); err != nil {
		return Plan{}, err
	}
	return g.POP3(ctx, a)
}

// read gives a policy and whose it is.
func (n names) read(in Policy) (d maildrop.Device, p maildrop.Policy, err error) {
	if d, err = n.deviceOf(in.Device); err == nil {
		p, err = n.parse(in)
	}
	return d, p, err
}

func (g *Agent) policies(ctx context.Context, a mail.AccountID) (n names, p maildrop.Policies, err error) {
	if n, err = g.namesOf(ctx, a); err == nil {
		p, err = g.Maildrops.Policies(ctx, a)
	}
	return n, p, err
}

// plan tells policies, and what goes by them.
func (g *Agent) plan(ctx context.Context, a mail.AccountID, n names, policies maildrop.Policies) (Plan, error) {
	leaving, all, err := g.Maildrops.Leaving(ctx, a, policies, maxLeaving)
	if err != nil {
		return Plan{}, err
	}
	out := Plan{Policies: []Policy{}, Leaving: []Leaving{}, All: all}
	for d := range n.devices {
		if p, ok := policies[d]; ok || d == 0 {
			out.Policies = append(out.Policies, n.policy(d, p))
		}
	}
	slices.SortFunc(out.Policies, func(x, y Policy) int { return strings.Compare(x.Device, y.Device) })
	emails := make([]mail.EmailID, len(leaving))
	for i := range leaving {
		emails[i] = leaving[i].Email
	}
	letters, err := g.letters(ctx, a, emails)
	now := time.Now()
	for i, l := range letters {
		x := &leaving[i]
		if !x.Goes.After(now) {
			out.Now++
		}
		out.Leaving = append(out.Leaving, Leaving{
			Device: n.device(x.Device), Mailbox: n.box(x.Mailbox), From: l.from, Subject: l.subject, Goes: x.Goes, Removal: removals[x.Removal],
		})
	}
	return out, err
}

// Ledger gives what an account's devices have collected, the last visit first.
func (g *Agent) Ledger(ctx context.Context, a mail.AccountID) ([]Visit, error) {
	n, err := g.namesOf(ctx, a)
	if err != nil {
		return nil, err
	}
	list, err := g.Maildrops.Visits(ctx, a, maxVisits)
	out := []Visit{}
	for _, v := range list {
		x := Visit{Device: n.device(v.Device), At: v.At, Collected: v.Collected, Bytes: v.Bytes, Removed: v.Removed, Removal: removals[v.Removal]}
		if v.From.IsValid() {
			x.From = v.From.String()
		}
		for _, b := range v.Boxes {
			if !b.Collected.IsEmpty() {
				x.UIDs = append(x.UIDs, n.box(b.Mailbox)+" "+b.Collected.String())
			}
		}
		out = append(out, x)
	}
	return out, err
}
