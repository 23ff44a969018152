package former

import (
	"context"
	"errors"
	"io"
	"sync"

	"posthaste/internal/agent/carrier"
	"posthaste/internal/agent/mover"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
)

// A store brings mail into an account of ours, as a carrier.Store.
type store struct {
	m      *mover.Agent
	acct   mail.AccountID
	source string
}

var roles = map[string]mailbox.Role{
	"inbox": mailbox.InboxRole, "sent": mailbox.SentRole, "drafts": mailbox.DraftsRole, "trash": mailbox.TrashRole, "junk": mailbox.JunkRole, "archive": mailbox.ArchiveRole,
}

// Open is as of carrier.Store.
func (s *store) Open(ctx context.Context, f carrier.Folder, renumbered bool) (uint64, bool, error) {
	id, err := s.m.Open(ctx, s.acct, mover.Folder{Source: s.source, Name: f.Name, Into: f.Into, Role: roles[f.Role], Subscribed: f.Subscribed, Mark: f.Mark, Renumbered: renumbered, Bare: f.Sharing != nil})
	if errors.Is(err, mover.ErrRenumbered) {
		return 0, false, nil
	}
	return uint64(id), err == nil, err
}

// Share is as of carrier.Store.
func (s *store) Share(ctx context.Context, folder string, sh carrier.Sharing, again bool) ([]carrier.Left, error) {
	var in mover.Sharing
	if sh.Rights != nil {
		in.Rights = make([]mover.Right, len(sh.Rights))
		for i, r := range sh.Rights {
			in.Rights[i] = mover.Right(r)
		}
	}
	for _, n := range sh.Notes {
		in.Notes = append(in.Notes, mover.Note(n))
	}
	left, err := s.m.Share(ctx, s.acct, s.source, folder, in, again)
	out := make([]carrier.Left, len(left))
	for i, l := range left {
		out[i] = carrier.Left(l)
	}
	return out, err
}

// Known is as of carrier.Store.
func (s *store) Known(ctx context.Context, folder string, list []carrier.Message) ([]bool, error) {
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	return s.m.Known(ctx, s.acct, s.source, folder, ids)
}

// Flags is as of carrier.Store.
func (s *store) Flags(ctx context.Context, folder string, list []carrier.Message) (int, error) {
	out := make([]mover.Message, len(list))
	for i, m := range list {
		out[i] = mover.Message{ID: m.ID, Flags: m.Flags}
	}
	return s.m.FollowFlags(ctx, s.acct, s.source, folder, out)
}

// Deletions is as of carrier.Store.
func (s *store) Deletions(ctx context.Context, folder string, here io.Reader) (int, error) {
	var ids []mailbox.ArrivalID
	for {
		var id mailbox.ArrivalID
		_, err := io.ReadFull(here, id[:])
		if err == io.EOF {
			return s.m.FollowDeletions(ctx, s.acct, s.source, folder, ids)
		}
		if err != nil {
			return 0, err
		}
		ids = append(ids, id)
	}
}

// Begin is as of carrier.Store.
func (s *store) Begin(ctx context.Context, folder string) carrier.Delivery {
	d := &delivery{in: make(chan parcel), read: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(d.done)
		d.out, d.err = s.m.Bring(ctx, s.acct, s.source, folder, d.next)
	}()
	return d
}

// A delivery hands messages to the mover, which asks for them one by one.
type delivery struct {
	in   chan parcel
	read chan struct{} // the mover has read the last one, or will read no more
	half bool          // the mover is at one
	done chan struct{}
	last sync.Once
	why  error // in place of the end
	out  mover.Brought
	err  error
}

type parcel struct {
	m    mover.Message
	body io.Reader
}

func (d *delivery) next() (mover.Message, io.Reader, error) {
	if d.half {
		d.half = false
		d.read <- struct{}{}
	}
	p, ok := <-d.in
	switch {
	case ok:
		d.half = true
		return p.m, p.body, nil
	case d.why != nil:
		return mover.Message{}, nil, d.why
	}
	return mover.Message{}, nil, io.EOF
}

// Send is as of carrier.Delivery.
func (d *delivery) Send(m *carrier.Message, box uint64, body io.Reader) error {
	p := parcel{mover.Message{Mailbox: mail.MailboxID(box), ID: m.ID, Flags: m.Flags, Date: m.Date, UIDL: m.UIDL, Size: m.Size}, body}
	select {
	case d.in <- p:
	case <-d.done:
		return d.failed()
	}
	select {
	case <-d.read:
		return nil
	case <-d.done:
		return d.failed()
	}
}

func (d *delivery) failed() error {
	if d.err != nil {
		return d.err
	}
	return io.ErrClosedPipe
}

// Done is as of carrier.Delivery.
func (d *delivery) Done() (added, dropped int, err error) {
	d.last.Do(func() { close(d.in) })
	<-d.done
	return d.out.Added, d.out.Dropped, d.err
}

// Abort is as of carrier.Delivery.
func (d *delivery) Abort(why error) {
	d.last.Do(func() {
		d.why = why
		close(d.in)
	})
	<-d.done
}
