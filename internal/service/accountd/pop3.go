package accountd

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"posthaste/internal/agent/owner"
	"posthaste/internal/base/mail"
)

type (
	// post is what the page of POP3 shows.
	post struct {
		Rules   []rule // of all devices
		Leaving leaving
		Last    []owner.Visit
	}
	// A rule is a device's policy.
	rule struct {
		Device string // "": all that have none of their own
		Own    bool
		Words  string
	}
	// leaving is what goes by policies.
	leaving struct {
		owner.Plan
		More int // how many are not listed
	}
	// form is a policy as the page asks for it.
	form struct {
		Device    string
		Own       bool
		After     string // keep, delete or days
		Days      string
		Removal   string
		Newest    string
		Since     string
		Unread    bool
		Boxes     []box
		Look      bool // what it would do is shown
		Words     string
		Leaving   leaving
		Usual     bool // it is what everybody has
		AllDevice bool
	}
	box struct {
		Name   string
		Chosen bool
	}
)

// usualDays is what stands in the form before somebody writes something else.
const usualDays = "30"

// lastVisits is how many visits the page of POP3 shows.
const lastVisits = 5

func leavingOf(p owner.Plan) leaving { return leaving{p, p.All - len(p.Leaving)} }

func (s *Server) pop3(v *visit) (view, error) {
	plan, err := s.Owner.POP3(v.Context(), v.acct.ID)
	if err != nil {
		return view{}, err
	}
	visits, err := s.Owner.Ledger(v.Context(), v.acct.ID)
	if err != nil {
		return view{}, err
	}
	out := post{Leaving: leavingOf(plan), Last: visits[:min(len(visits), lastVisits)]}
	apps, err := s.Owner.Directory.AppPasswords(v.Context(), v.acct.ID)
	if err != nil {
		return view{}, err
	}
	devices := []string{""}
	for _, p := range apps {
		devices = append(devices, p.Name)
	}
	for _, d := range devices {
		p, own := policyOf(plan, d)
		r := rule{Device: d, Own: own, Words: sentence(p.Words())}
		if !own {
			r.Words = "As all others."
		}
		out.Rules = append(out.Rules, r)
	}
	return sees("pop3", "Mail collected by POP3", out)
}

// policyOf gives a device's policy, its own or that of the account.
func policyOf(plan owner.Plan, device string) (p owner.Policy, own bool) {
	p = owner.Usual("")
	for _, x := range plan.Policies {
		if strings.EqualFold(x.Device, device) {
			return x, true
		}
		if x.Device == "" {
			p = x
		}
	}
	p.Device = device
	return p, false
}

func (s *Server) policy(v *visit) (view, error) {
	plan, err := s.Owner.POP3(v.Context(), v.acct.ID)
	if err != nil {
		return view{}, err
	}
	p, own := policyOf(plan, v.Form.Get("device"))
	return s.asks(v, p, own, nil, "")
}

// asks shows the form with a policy in it, with what it would do if there is a plan.
func (s *Server) asks(v *visit, p owner.Policy, own bool, plan *owner.Plan, wrong string) (view, error) {
	list, _, err := s.Owner.Mailboxes.Mailboxes(v.Context(), v.acct.ID)
	if err != nil {
		return view{}, err
	}
	f := form{Device: p.Device, Own: own && p.Device != "", After: p.After, Days: usualDays, Removal: p.Removal, Since: p.Since, Unread: p.Unread}
	if days, ok := strings.CutSuffix(p.After, "d"); ok {
		f.After, f.Days = "days", days
	}
	if p.Newest > 0 {
		f.Newest = strconv.Itoa(p.Newest)
	}
	for _, m := range list {
		f.Boxes = append(f.Boxes, box{m.Name, slices.Contains(p.Mailboxes, m.Name) || len(p.Mailboxes) == 0 && m.Name == "INBOX"})
	}
	if plan != nil {
		f.Look, f.Words, f.Leaving = true, sentence(p.Words()), leavingOf(*plan)
	}
	title := "What programs collect"
	if p.Device != "" {
		title = "What " + p.Device + " collects"
	}
	return view{page: "policy", title: title, data: f, wrong: wrong}, nil
}

// read gives the policy that a form has.
func read(q url.Values) (p owner.Policy, err error) {
	p = owner.Policy{Device: q.Get("device"), After: q.Get("after"), Removal: q.Get("removal"), Since: strings.TrimSpace(q.Get("since")), Unread: q.Get("unread") != "", Mailboxes: q["mailbox"]}
	if p.After == "days" {
		p.After = strings.TrimSpace(q.Get("days")) + "d"
	}
	if n := strings.TrimSpace(q.Get("newest")); n != "" {
		if p.Newest, err = strconv.Atoi(n); err != nil || p.Newest < 1 {
			return p, errNewest
		}
	}
	if len(p.Mailboxes) == 1 && p.Mailboxes[0] == "INBOX" {
		p.Mailboxes = nil
	}
	return p, nil
}

var errNewest = errors.New("the number of newest messages is 1 or more; leave it empty to see all")

// changePolicy first shows what a policy would do, and sets it when it is said again.
func (s *Server) changePolicy(v *visit) (view, error) {
	ctx, id, device := v.Context(), v.acct.ID, v.PostForm.Get("device")
	if v.PostForm.Get("do") == "clear" {
		if _, err := s.Owner.ClearPolicy(ctx, id, device); err != nil {
			return view{}, err
		}
		return goes("pop3?done=cleared")
	}
	now, err := s.Owner.POP3(ctx, id)
	if err != nil {
		return view{}, err
	}
	_, own := policyOf(now, device)
	p, err := read(v.PostForm)
	if err != nil {
		return s.asks(v, p, own, nil, sentence(err.Error())+".")
	}
	plan, err := s.Owner.Preview(ctx, id, p)
	if wrong, ok := meant(err); ok {
		return s.asks(v, p, own, nil, wrong)
	}
	if err != nil {
		return view{}, err
	}
	if v.PostForm.Get("do") != "save" {
		return s.asks(v, p, own, &plan, "")
	}
	if _, err := s.Owner.SetPolicy(ctx, id, p); err != nil {
		return view{}, err
	}
	return goes("pop3?done=saved")
}

// meant gives the sentence for an error that the visitor can do something about.
func meant(err error) (string, bool) {
	if e, ok := errors.AsType[owner.Invalid](err); ok {
		return sentence(e.Error()) + ".", true
	}
	switch {
	case errors.Is(err, mail.ErrOverQuota):
		return "There is no room left in your account for more. Delete something for good, or ask who runs the server for more room.", true
	case errors.Is(err, mail.ErrFull):
		return full, true // what was typed stays in the form
	case errors.Is(err, mail.ErrExists):
		return "There is one of that name already.", true
	case errors.Is(err, mail.ErrLimit):
		return limitWords(err), true
	}
	return "", false
}

func (s *Server) ledger(v *visit) (view, error) {
	list, err := s.Owner.Ledger(v.Context(), v.acct.ID)
	if err != nil {
		return view{}, err
	}
	return sees("ledger", "What was collected", list)
}

// soon tells what goes at the next round.
func (l leaving) Soon(t time.Time) bool { return !t.After(time.Now()) }
