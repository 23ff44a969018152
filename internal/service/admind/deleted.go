package admind

import (
	"context"
	"net/http"
	"net/url"
	"time"

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
	// the mailbox if one is named, and that went after Since.
	DeletedFilter struct {
		IDs     []string  `json:"ids,omitempty"`
		Mailbox string    `json:"mailbox,omitempty"`
		Since   time.Time `json:"since,omitzero"`
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
		return (ids == nil || ids[x.ExpungedID]) && (f.Mailbox == "" || x.Name == f.Mailbox) && !x.At.Before(f.Since)
	}, nil
}

func (s *Server) deleted(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	f := DeletedFilter{Mailbox: r.URL.Query().Get("mailbox")}
	if since := r.URL.Query().Get("since"); since != "" {
		if f.Since, err = time.Parse(time.RFC3339, since); err != nil {
			return nil, errRequest{err}
		}
	}
	want, err := f.want()
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
	want, err := f.want()
	if err != nil {
		return nil, err
	}
	n, err := s.Mailboxes.Restore(r.Context(), a.ID, want)
	if err == nil && n < len(f.IDs) {
		return nil, bad("of %d messages %d were there, and are back; the others cannot be restored", len(f.IDs), n)
	}
	return Changed{Items: n}, err
}

func deletedPath(address string) string {
	return "/v1/accounts/" + url.PathEscape(address) + "/deleted"
}

// Deleted lists what can be restored; the IDs of the filter are not looked at.
func (c *Client) Deleted(ctx context.Context, address string, f DeletedFilter) (out DeletedMail, err error) {
	q := url.Values{}
	if f.Mailbox != "" {
		q.Set("mailbox", f.Mailbox)
	}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.Format(time.RFC3339))
	}
	return out, c.do(ctx, http.MethodGet, deletedPath(address)+"?"+q.Encode(), nil, &out)
}

// Restore puts deleted messages back, and tells how many that were.
func (c *Client) Restore(ctx context.Context, address string, f DeletedFilter) (n int, err error) {
	var out Changed
	err = c.do(ctx, http.MethodPost, deletedPath(address)+"/restore", f, &out)
	return out.Items, err
}
