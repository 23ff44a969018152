package admind

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"posthaste/internal/agent/owner"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
)

// Restored tells how many messages came back, and how many were left because a backup has
// brought them to the same mailbox before.
type Restored struct {
	Messages int `json:"messages"`
	Left     int `json:"left,omitempty"`
}

// Gone are the UIDs of a mailbox that went in some time, and were not put back.
type Gone struct {
	Mailbox uint64 `json:"mailbox"`
	UIDs    string `json:"uids"` // as IMAP writes them
}

func (s *Server) deleted(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	f := owner.DeletedFilter{Mailbox: r.URL.Query().Get("mailbox")}
	if f.Since, err = timeOf(r, "since"); err != nil {
		return nil, err
	}
	if f.There, err = timeOf(r, "there"); err != nil {
		return nil, err
	}
	return s.Owner.Deleted(r.Context(), a.ID, f)
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

func (s *Server) restoreDeleted(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	f, err := decode[owner.DeletedFilter](r)
	if err != nil {
		return nil, err
	}
	done, err := s.Owner.Restore(r.Context(), a.ID, f)
	return Restored{Messages: done.Back, Left: done.Left}, err
}

func deletedPath(address string) string {
	return "/v1/accounts/" + url.PathEscape(address) + "/deleted"
}

// Deleted lists what can be restored; the IDs and the MessageID of the filter are
// not looked at.
func (c *Client) Deleted(ctx context.Context, address string, f owner.DeletedFilter) (out owner.DeletedMail, err error) {
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
func (c *Client) Restore(ctx context.Context, address string, f owner.DeletedFilter) (out Restored, err error) {
	return out, c.do(ctx, http.MethodPost, deletedPath(address)+"/restore", f, &out)
}
