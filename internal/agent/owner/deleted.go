package owner

import (
	"context"
	"maps"
	"slices"
	"time"

	"posthaste/internal/agent/mover"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
)

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
)

// MaxDeleted is how many deleted messages Deleted lists.
const MaxDeleted = 500

// want gives the filter for the store.
func (f DeletedFilter) want() (func(*mailbox.Expunged) bool, error) {
	var ids map[mailbox.ExpungedID]bool
	for _, s := range f.IDs {
		id, err := mailbox.ParseExpungedID(s)
		if err != nil {
			return nil, Invalid{err}
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
func (g *Agent) wanted(ctx context.Context, a mail.AccountID, f DeletedFilter) (func(*mailbox.Expunged) bool, error) {
	want, err := f.want()
	if err != nil || f.There.IsZero() && f.MessageID == "" {
		return want, err
	}
	var ids []mail.EmailID
	_, err = g.Mailboxes.Expunged(ctx, a, 0, func(x *mailbox.Expunged) bool {
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
	for part := range slices.Chunk(slices.Compact(ids), MaxDeleted) {
		if err := g.choose(ctx, a, f, part, these); err != nil {
			return nil, err
		}
	}
	return func(x *mailbox.Expunged) bool { return want(x) && these[x.Email] }, nil
}

// choose adds those emails to these that the filter means. When an email came its
// trace tells, through whatever mailboxes it went since.
func (g *Agent) choose(ctx context.Context, a mail.AccountID, f DeletedFilter, ids []mail.EmailID, these map[mail.EmailID]bool) error {
	texts, err := g.Mailboxes.Messages(ctx, a, ids)
	if err != nil {
		return err
	}
	var records []mailbox.Record
	if f.MessageID != "" {
		if records, err = g.Mailboxes.Records(ctx, a, ids); err != nil {
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

// Deleted gives what the filter means of an account's deleted mail, of which there are
// MaxDeleted at most. An Invalid says what is wrong with the filter.
func (g *Agent) Deleted(ctx context.Context, a mail.AccountID, f DeletedFilter) (DeletedMail, error) {
	want, err := g.wanted(ctx, a, f)
	if err != nil {
		return DeletedMail{}, err
	}
	list, err := g.Mailboxes.Expunged(ctx, a, MaxDeleted+1, want)
	if err != nil {
		return DeletedMail{}, err
	}
	u, err := g.Mailboxes.Usage(ctx, a)
	if err != nil {
		return DeletedMail{}, err
	}
	out := DeletedMail{Messages: []Deleted{}, More: len(list) > MaxDeleted, Bytes: u.Expunged}
	list = list[:min(len(list), MaxDeleted)]
	emails := make([]mail.EmailID, len(list))
	for i := range list {
		emails[i] = list[i].Email
	}
	letters, err := g.letters(ctx, a, emails)
	for i, l := range letters {
		x := &list[i]
		out.Messages = append(out.Messages, Deleted{ID: x.String(), Mailbox: x.Name, Deleted: x.At, Date: x.Date, Size: x.Size, From: l.from, Subject: l.subject})
	}
	return out, err
}

// DeletedFrom gives the mailboxes that something was deleted from, which may be gone, by
// name.
func (g *Agent) DeletedFrom(ctx context.Context, a mail.AccountID) ([]string, error) {
	names := map[string]bool{}
	_, err := g.Mailboxes.Expunged(ctx, a, 0, func(x *mailbox.Expunged) bool {
		names[x.Name] = true
		return false
	})
	return slices.Sorted(maps.Keys(names)), err
}

// A Restored tells how many messages came back, and how many were left because a backup
// had brought them to the same mailbox before.
type Restored struct{ Back, Left int }

// Restore puts what the filter means back where it was; what a backup has brought there
// before only by its ID. An Invalid: not all of the IDs are there any more; those that are
// came back. mail.ErrOverQuota: there was room for so many only.
func (g *Agent) Restore(ctx context.Context, a mail.AccountID, f DeletedFilter) (r Restored, err error) {
	want, err := g.wanted(ctx, a, f)
	if err == nil && len(f.IDs) == 0 {
		want, r.Left, err = g.once(ctx, a, want)
	}
	if err != nil {
		return Restored{}, err
	}
	n, err := g.Mailboxes.Restore(ctx, a, want)
	r.Back = n
	if err == nil && n < len(f.IDs) {
		return r, invalid("%d of %d could be restored, and are back; the others are not there", n, len(f.IDs))
	}
	return r, err
}
