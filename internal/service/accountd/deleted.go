package accountd

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"time"

	"posthaste/internal/agent/owner"
	"posthaste/internal/base/mail"
)

// bin is what the page of deleted mail shows.
type bin struct {
	owner.DeletedMail
	Boxes   []box // that something was deleted from
	Mailbox string
	Days    string
	Spans   []span
}

type span struct {
	Days, Words string
	Chosen      bool
}

// spans are how far back people look.
var spans = []span{{Days: "", Words: "at any time"}, {Days: "1", Words: "within a day"}, {Days: "7", Words: "within a week"}}

func filterOf(q url.Values) (f owner.DeletedFilter) {
	f.Mailbox = q.Get("mailbox")
	if days, err := strconv.Atoi(q.Get("days")); err == nil && days > 0 && days < 1000 {
		f.Since = time.Now().Add(-time.Duration(days) * 24 * time.Hour)
	}
	return f
}

func (s *Server) deleted(v *visit) (view, error) { return s.bin(v, "") }

func (s *Server) bin(v *visit, wrong string) (view, error) {
	list, err := s.Owner.Deleted(v.Context(), v.acct.ID, filterOf(v.Form))
	if err != nil {
		return view{}, err
	}
	out := bin{DeletedMail: list, Mailbox: v.Form.Get("mailbox"), Days: v.Form.Get("days")}
	boxes, err := s.Owner.DeletedFrom(v.Context(), v.acct.ID)
	if err != nil {
		return view{}, err
	}
	if out.Mailbox != "" && !slices.Contains(boxes, out.Mailbox) {
		boxes = append(boxes, out.Mailbox)
	}
	for _, name := range boxes {
		out.Boxes = append(out.Boxes, box{name, name == out.Mailbox})
	}
	for _, x := range spans {
		x.Chosen = x.Days == out.Days
		out.Spans = append(out.Spans, x)
	}
	return view{page: "deleted", title: "Deleted mail", data: out, wrong: wrong}, nil
}

// restore brings back what was chosen, or all that the filter means.
func (s *Server) restore(v *visit) (view, error) {
	f := owner.DeletedFilter{IDs: v.PostForm["id"]}
	if v.PostForm.Get("do") == "all" {
		f = filterOf(v.PostForm)
	} else if len(f.IDs) == 0 {
		return s.bin(v, "Choose what is to come back first.")
	}
	r, err := s.Owner.Restore(v.Context(), v.acct.ID, f)
	if wrong, ok := meant(err); ok {
		if errors.Is(err, mail.ErrOverQuota) && r.Back > 0 {
			wrong = sentence(mail.Many(r.Back, "message")) + " came back. " + wrong
		}
		return s.bin(v, wrong)
	}
	if err != nil {
		return view{}, err
	}
	q := url.Values{"done": {"restored"}, "n": {strconv.Itoa(r.Back)}}
	for _, name := range []string{"mailbox", "days"} {
		if x := v.PostForm.Get(name); x != "" {
			q.Set(name, x)
		}
	}
	return goes("deleted?" + q.Encode())
}

// done tells what a page before has done.
func done(q url.Values) string {
	n, _ := strconv.Atoi(q.Get("n"))
	if n == 0 && q.Get("done") == "restored" {
		return "There was nothing to bring back."
	}
	return cmp.Or(map[string]string{
		"saved":    "Saved.",
		"cleared":  "That has no rules of its own any more.",
		"restored": mail.Many(n, "message") + " came back.",
		"gone":     "Removed.",
		"away":     "Whoever writes to you is answered.",
		"back":     "Nobody is answered any more.",
		"removed":  "Removed. That program is shut out now.",
		"password": "The password is changed. Programs that have used the old one ask for the new one; app passwords stay as they are.",
		"ended":    "Signed out there.",
	}[q.Get("done")])
}
