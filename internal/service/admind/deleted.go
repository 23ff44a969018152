package admind

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"posthaste/internal/agent/mover"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
)

// What the API says of mail that was deleted.
type (
	// A Deleted message can be restored.
	Deleted struct {
		ID      string    `json:"id"`
		Mailbox string    `json:"mailbox"`
		Deleted time.Time `json:"deleted"`
		Date    time.Time `json:"date"`
		Size    int64     `json:"size"`
		From    string    `json:"from,omitempty"`
		Subject string    `json:"subject,omitempty"`
	}
	// DeletedMail is some of an account's, what was deleted last first.
	DeletedMail struct {
		Messages []Deleted `json:"messages"`
		More     bool      `json:"more,omitempty"` // there are others
		Bytes    int64     `json:"bytes"`          // of all there is
	}
	// DeletedFilter says which are meant: those with the IDs if there are any, of
	// the mailbox if one is named, that went after Since; that the account had at
	// the time There, and went after it; and with the MessageID if there is one.
	DeletedFilter struct {
		IDs       []string  `json:"ids,omitempty"`
		Mailbox   string    `json:"mailbox,omitempty"`
		Since     time.Time `json:"since,omitzero"`
		There     time.Time `json:"there,omitzero"`
		MessageID string    `json:"message_id,omitempty"`
	}
	// Gone are the UIDs of a mailbox that went in some time, and were not put back.
	Gone struct {
		Mailbox uint64 `json:"mailbox"`
		UIDs    string `json:"uids"` // as IMAP writes them
	}
)

// maxDeleted is how many deleted messages one answer lists.
const maxDeleted = 500

// want gives the filter for the store.
func (f DeletedFilter) want() (func(*mailbox.Expunged) bool, error) {
	var ids map[mailbox.ExpungedID]bool
	for _, s := range f.IDs {
		id, err := mailbox.ParseExpungedID(s)
		if err != nil {
			return nil, errRequest{err}
		}
		if ids == nil {
			ids = map[mailbox.ExpungedID]bool{}
		}
		ids[id] = true
	}
	return func(x *mailbox.Expunged) bool {
		return (ids == nil || ids[x.ExpungedID]) && (f.Mailbox == "" || x.Name == f.Mailbox) && !x.At.Before(f.Since) && !x.At.Before(f.There)
	}, nil
}

// wanted is want, where the emails must be looked at, too.
func (s *Server) wanted(ctx context.Context, a mail.AccountID, f DeletedFilter) (func(*mailbox.Expunged) bool, error) {
	want, err := f.want()
	if err != nil || f.There.IsZero() && f.MessageID == "" {
		return want, err
	}
	var ids []mail.EmailID
	_, err = s.Mailboxes.Expunged(ctx, a, 0, func(x *mailbox.Expunged) bool {
		if want(x) {
			ids = append(ids, x.Email)
		}
		return false
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(ids)
	these := map[mail.EmailID]bool{}
	for part := range slices.Chunk(slices.Compact(ids), maxDeleted) {
		if err := s.choose(ctx, a, f, part, these); err != nil {
			return nil, err
		}
	}
	return func(x *mailbox.Expunged) bool { return want(x) && these[x.Email] }, nil
}

// choose adds those emails to these that the filter means. When an email came its
// trace tells, through whatever mailboxes it went since.
func (s *Server) choose(ctx context.Context, a mail.AccountID, f DeletedFilter, ids []mail.EmailID, these map[mail.EmailID]bool) error {
	texts, err := s.Mailboxes.Messages(ctx, a, ids)
	if err != nil {
		return err
	}
	var records []mailbox.Record
	if f.MessageID != "" {
		if records, err = s.Mailboxes.Records(ctx, a, ids); err != nil {
			return err
		}
	}
	for i, id := range ids {
		there := f.There.IsZero() || !texts[i].Trace.Time().After(f.There)
		if there && records != nil {
			b, _ := records[i].Fields(nil, "message-id")
			there = mover.MessageIDOf(b) == f.MessageID
		}
		if there {
			these[id] = true
		}
	}
	return nil
}

func (s *Server) deleted(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	f := DeletedFilter{Mailbox: r.URL.Query().Get("mailbox")}
	if f.Since, err = timeOf(r, "since"); err != nil {
		return nil, err
	}
	if f.There, err = timeOf(r, "there"); err != nil {
		return nil, err
	}
	want, err := s.wanted(r.Context(), a.ID, f)
	if err != nil {
		return nil, err
	}
	list, err := s.Mailboxes.Expunged(r.Context(), a.ID, maxDeleted+1, want)
	if err != nil {
		return nil, err
	}
	u, err := s.Mailboxes.Usage(r.Context(), a.ID)
	if err != nil {
		return nil, err
	}
	out := DeletedMail{Messages: []Deleted{}, More: len(list) > maxDeleted, Bytes: u.Expunged}
	list = list[:min(len(list), maxDeleted)]
	emails := make([]mail.EmailID, len(list))
	for i := range list {
		emails[i] = list[i].Email
	}
	letters, err := s.letters(r.Context(), a.ID, emails)
	for i, l := range letters {
		x := &list[i]
		out.Messages = append(out.Messages, Deleted{ID: x.String(), Mailbox: x.Name, Deleted: x.At, Date: x.Date, Size: x.Size, From: l.from, Subject: l.subject})
	}
	return out, err
}

// timeOf reads a time that a request may have in its query.
func timeOf(r *http.Request, name string) (t time.Time, err error) {
	if s := r.URL.Query().Get(name); s != "" {
		if t, err = time.Parse(time.RFC3339, s); err != nil {
			return t, errRequest{err}
		}
	}
	return t, nil
}

// gone gives what went from ?since= on and before ?before=.
func (s *Server) gone(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	since, err := timeOf(r, "since")
	if err != nil {
		return nil, err
	}
	before, err := timeOf(r, "before")
	if err != nil {
		return nil, err
	}
	boxes := map[mail.MailboxID]*mail.UIDSet{}
	_, err = s.Mailboxes.Expunged(r.Context(), a.ID, 0, func(x *mailbox.Expunged) bool {
		if !x.At.Before(since) && x.At.Before(before) {
			if boxes[x.Mailbox] == nil {
				boxes[x.Mailbox] = &mail.UIDSet{}
			}
			boxes[x.Mailbox].Add(x.UID)
		}
		return false
	})
	out := []Gone{}
	for id, uids := range boxes {
		out = append(out, Gone{uint64(id), uids.String()})
	}
	return out, err
}

// A letter is what a list shows of an email.
type letter struct{ from, subject string }

// letters gives what a list shows of emails, in their order.
func (s *Server) letters(ctx context.Context, a mail.AccountID, emails []mail.EmailID) ([]letter, error) {
	out := make([]letter, len(emails))
	records, err := s.Mailboxes.Records(ctx, a, emails)
	for i := range records {
		header, _ := records[i].Fields(nil, "from", "subject")
		out[i] = letterOf(header)
	}
	return out, err
}

func (s *Server) restoreDeleted(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	f, err := decode[DeletedFilter](r)
	if err != nil {
		return nil, err
	}
	want, err := s.wanted(r.Context(), a.ID, f)
	if err != nil {
		return nil, err
	}
	n, err := s.Mailboxes.Restore(r.Context(), a.ID, want)
	if err == nil && n < len(f.IDs) {
		return nil, bad("%d of %d could be restored, and are back; the others are not there", n, len(f.IDs))
	}
	return Changed{Items: n}, err
}

func deletedPath(address string) string {
	return "/v1/accounts/" + url.PathEscape(address) + "/deleted"
}

// Deleted lists what can be restored; the IDs and the MessageID of the filter are
// not looked at.
func (c *Client) Deleted(ctx context.Context, address string, f DeletedFilter) (out DeletedMail, err error) {
	q := url.Values{}
	if f.Mailbox != "" {
		q.Set("mailbox", f.Mailbox)
	}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.Format(time.RFC3339))
	}
	if !f.There.IsZero() {
		q.Set("there", f.There.Format(time.RFC3339))
	}
	return out, c.do(ctx, http.MethodGet, deletedPath(address)+"?"+q.Encode(), nil, &out)
}

// Gone gives what went from one time on and before another, and was not put back.
func (c *Client) Gone(ctx context.Context, address string, since, before time.Time) (out []Gone, err error) {
	q := url.Values{"since": {since.Format(time.RFC3339)}, "before": {before.Format(time.RFC3339)}}
	return out, c.do(ctx, http.MethodGet, deletedPath(address)+"/gone?"+q.Encode(), nil, &out)
}

// Restore puts deleted messages back, and tells how many that were.
func (c *Client) Restore(ctx context.Context, address string, f DeletedFilter) (n int, err error) {
	var out Changed
	err = c.do(ctx, http.MethodPost, deletedPath(address)+"/restore", f, &out)
	return out.Items, err
}
