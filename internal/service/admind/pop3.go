package admind

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/maildrop"
)

// What the API says of POP3.
type (
	// A POP3Policy says what a device sees over POP3, and what becomes of it.
	POP3Policy struct {
		Device    string   `json:"device,omitempty"`    // an app password's name; none: the account's own, for all that have no other
		After     string   `json:"after"`               // of collecting: "keep", "delete", or days to keep such as "30d"
		Removal   string   `json:"removal"`             // what going means: "delete", "trash" or "hide"
		Newest    int      `json:"newest,omitempty"`    // only so many messages
		Since     string   `json:"since,omitempty"`     // only those from that day on, such as 2026-01-31
		Unread    bool     `json:"unread,omitempty"`    // only what nobody has read
		Mailboxes []string `json:"mailboxes,omitempty"` // none: INBOX
	}
	// A POP3Leaving message will go by a policy.
	POP3Leaving struct {
		Device  string    `json:"device,omitempty"`
		Mailbox string    `json:"mailbox"`
		From    string    `json:"from,omitempty"`
		Subject string    `json:"subject,omitempty"`
		Goes    time.Time `json:"goes"`
		Removal string    `json:"removal"`
	}
	// POP3Plan is all policies of an account, and what will go by them first.
	POP3Plan struct {
		Policies []POP3Policy  `json:"policies"`
		Leaving  []POP3Leaving `json:"leaving"`
		All      int           `json:"all"` // how many messages will go
		Now      int           `json:"now"` // how many of Leaving go at the keeper's next round
	}
	// A POP3Visit is what a device did in one session.
	POP3Visit struct {
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

// A reading is what the names of an account's devices and mailboxes are.
type reading struct {
	devices map[maildrop.Device]string
	boxes   map[mail.MailboxID]string
}

func (s *Server) reading(ctx context.Context, a mail.AccountID) (rd reading, err error) {
	rd = reading{map[maildrop.Device]string{0: ""}, map[mail.MailboxID]string{}}
	apps, err := s.Directory.AppPasswords(ctx, a)
	if err != nil {
		return rd, err
	}
	for _, p := range apps {
		rd.devices[maildrop.Device(p.Device)] = p.Name
	}
	list, _, err := s.Mailboxes.Mailboxes(ctx, a)
	for _, m := range list {
		rd.boxes[m.ID] = m.Name
	}
	return rd, err
}

func (rd reading) device(d maildrop.Device) string {
	if name, ok := rd.devices[d]; ok {
		return name
	}
	return fmt.Sprintf("a removed one (number %d)", d)
}

func (rd reading) box(id mail.MailboxID) string {
	if name, ok := rd.boxes[id]; ok {
		return name
	}
	return "a deleted mailbox"
}

// deviceOf gives the device of that name.
func (rd reading) deviceOf(name string) (maildrop.Device, error) {
	for d, n := range rd.devices {
		if strings.EqualFold(n, name) {
			return d, nil
		}
	}
	return 0, fmt.Errorf("app password %q: %w", name, mail.ErrNotFound)
}

func (rd reading) policy(d maildrop.Device, p maildrop.Policy) POP3Policy {
	out := POP3Policy{Device: rd.device(d), After: "keep", Removal: removals[p.Removal], Newest: p.Newest, Unread: p.Unread}
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
		out.Mailboxes = append(out.Mailboxes, rd.box(id))
	}
	return out
}

// parse reads a policy.
func (rd reading) parse(in POP3Policy) (p maildrop.Policy, err error) {
	switch in.After {
	case "", "keep":
	case "delete":
		p.After = maildrop.DeleteAtOnce
	default:
		days, ok := strings.CutSuffix(in.After, "d")
		if p.Days, err = strconv.Atoi(days); err != nil || !ok || p.Days < 1 || p.Days > maildrop.MaxDays {
			return p, bad("after collecting, mail is kept for ever (keep), not at all (delete), or for 1 to %d days (30d); %q is none of that", maildrop.MaxDays, in.After)
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
		return p, bad("to remove a message means %s, not %q", strings.Join(removals[:], ", "), in.Removal)
	}
	if p.Newest, p.Unread = in.Newest, in.Unread; p.Newest < 0 {
		return p, bad("a number of messages is not negative")
	}
	if in.Since != "" {
		if p.Since, err = time.Parse(time.DateOnly, in.Since); err != nil {
			return p, bad("%q is no day: write it like 2026-01-31", in.Since)
		}
	}
	for _, name := range in.Mailboxes {
		if name, err = mailbox.ParseName(name); err != nil {
			return p, errRequest{err}
		}
		found := false
		for id, n := range rd.boxes {
			if n == name && !slices.Contains(p.Mailboxes, id) {
				p.Mailboxes, found = append(p.Mailboxes, id), true
			}
		}
		if !found {
			return p, fmt.Errorf("mailbox %q, or it is named twice: %w", name, mail.ErrNotFound)
		}
	}
	return p, nil
}

func (s *Server) pop3Plan(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	return s.plan(r.Context(), a.ID)
}

func (s *Server) plan(ctx context.Context, a mail.AccountID) (any, error) {
	rd, err := s.reading(ctx, a)
	if err != nil {
		return nil, err
	}
	policies, err := s.Maildrops.Policies(ctx, a)
	if err != nil {
		return nil, err
	}
	leaving, all, err := s.Maildrops.Leaving(ctx, a, maxLeaving)
	if err != nil {
		return nil, err
	}
	out := POP3Plan{Policies: []POP3Policy{}, Leaving: []POP3Leaving{}, All: all}
	for d := range rd.devices {
		if p, ok := policies[d]; ok || d == 0 {
			out.Policies = append(out.Policies, rd.policy(d, p))
		}
	}
	slices.SortFunc(out.Policies, func(x, y POP3Policy) int { return strings.Compare(x.Device, y.Device) })
	emails := make([]mail.EmailID, len(leaving))
	for i := range leaving {
		emails[i] = leaving[i].Email
	}
	letters, err := s.letters(ctx, a, emails)
	now := time.Now()
	for i, l := range letters {
		x := &leaving[i]
		if !x.Goes.After(now) {
			out.Now++
		}
		out.Leaving = append(out.Leaving, POP3Leaving{
			Device: rd.device(x.Device), Mailbox: rd.box(x.Mailbox), From: l.from, Subject: l.subject, Goes: x.Goes, Removal: removals[x.Removal],
		})
	}
	return out, err
}

func (s *Server) setPOP3Policy(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[POP3Policy](r)
	if err != nil {
		return nil, err
	}
	rd, err := s.reading(r.Context(), a.ID)
	if err != nil {
		return nil, err
	}
	d, err := rd.deviceOf(in.Device)
	if err != nil {
		return nil, err
	}
	p, err := rd.parse(in)
	if err != nil {
		return nil, err
	}
	if err := s.Maildrops.SetPolicy(r.Context(), a.ID, d, p); err != nil {
		return nil, err
	}
	return s.plan(r.Context(), a.ID)
}

func (s *Server) clearPOP3Policy(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	rd, err := s.reading(r.Context(), a.ID)
	if err != nil {
		return nil, err
	}
	d, err := rd.deviceOf(r.URL.Query().Get("device"))
	if err != nil {
		return nil, err
	}
	if err := s.Maildrops.ClearPolicy(r.Context(), a.ID, d); err != nil {
		return nil, err
	}
	return s.plan(r.Context(), a.ID)
}

func (s *Server) pop3Ledger(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	rd, err := s.reading(r.Context(), a.ID)
	if err != nil {
		return nil, err
	}
	list, err := s.Maildrops.Visits(r.Context(), a.ID, maxVisits)
	out := []POP3Visit{}
	for _, v := range list {
		x := POP3Visit{Device: rd.device(v.Device), At: v.At, Collected: v.Collected, Bytes: v.Bytes, Removed: v.Removed, Removal: removals[v.Removal]}
		if v.From.IsValid() {
			x.From = v.From.String()
		}
		for _, b := range v.Boxes {
			if !b.Collected.IsEmpty() {
				x.UIDs = append(x.UIDs, rd.box(b.Mailbox)+" "+b.Collected.String())
			}
		}
		out = append(out, x)
	}
	return out, err
}

// forgetDevice forgets what POP3 knows of an app password that is going.
func (s *Server) forgetDevice(ctx context.Context, a mail.AccountID, name string) error {
	rd, err := s.reading(ctx, a)
	if err != nil {
		return err
	}
	d, err := rd.deviceOf(name)
	if errors.Is(err, mail.ErrNotFound) || d == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return s.Maildrops.Forget(ctx, a, d)
}

func pop3Path(address string) string { return "/v1/accounts/" + url.PathEscape(address) + "/pop3" }

// POP3 gives an account's policies for POP3, and what will go by them.
func (c *Client) POP3(ctx context.Context, address string) (out POP3Plan, err error) {
	return out, c.do(ctx, http.MethodGet, pop3Path(address), nil, &out)
}

// SetPOP3Policy sets a policy, and gives what will go now.
func (c *Client) SetPOP3Policy(ctx context.Context, address string, p POP3Policy) (out POP3Plan, err error) {
	return out, c.do(ctx, http.MethodPut, pop3Path(address), p, &out)
}

// ClearPOP3Policy takes a device's policy away.
func (c *Client) ClearPOP3Policy(ctx context.Context, address, device string) (out POP3Plan, err error) {
	return out, c.do(ctx, http.MethodDelete, pop3Path(address)+"?device="+url.QueryEscape(device), nil, &out)
}

// POP3Ledger gives what an account's devices have collected, the last visit first.
func (c *Client) POP3Ledger(ctx context.Context, address string) (out []POP3Visit, err error) {
	return out, c.do(ctx, http.MethodGet, pop3Path(address)+"/ledger", nil, &out)
}
