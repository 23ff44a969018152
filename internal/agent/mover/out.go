package mover

import (
	"context"
	"io"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
)

// A Stored message is one of an account's.
type Stored struct {
	UID       mail.UID
	Flags     []string // with keywords, as IMAP writes them
	Date      time.Time
	Size      int64
	MessageID string // as it stands in the header
	UIDL      string // that it brought along
	Email     mail.EmailID
}

// page is how many messages are looked at in one step.
const page = 500

// List goes over the messages of a mailbox with UIDs above after.
func (a *Agent) List(ctx context.Context, acct mail.AccountID, box mail.MailboxID, after mail.UID, each func(Stored) error) error {
	return a.pages(ctx, acct, box, mail.UIDSpan(after+1, ^mail.UID(0)), func(list []Stored, ids []mail.EmailID) error {
		recs, err := a.Mailboxes.Records(ctx, acct, ids)
		if err != nil {
			return err
		}
		for i := range list {
			list[i].MessageID = messageID(&recs[i])
			if err := each(list[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Read goes over the messages of a mailbox whose UIDs are in set, with their
// bytes.
func (a *Agent) Read(ctx context.Context, acct mail.AccountID, box mail.MailboxID, set mail.UIDSet, each func(Stored, io.Reader) error) error {
	var room []byte
	return a.pages(ctx, acct, box, set, func(list []Stored, ids []mail.EmailID) error {
		texts, err := a.Mailboxes.Messages(ctx, acct, ids)
		if err != nil {
			return err
		}
		for i := range list {
			b, err := texts[i].OpenIn(ctx, room)
			if err != nil {
				return err
			}
			err = each(list[i], io.NewSectionReader(b, 0, b.Size()))
			room = b.Bytes()
			b.Close()
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *Agent) pages(ctx context.Context, acct mail.AccountID, box mail.MailboxID, set mail.UIDSet, each func([]Stored, []mail.EmailID) error) error {
	snap, err := a.Mailboxes.Open(ctx, acct, box)
	if err != nil {
		return err
	}
	uidls, err := a.Mailboxes.UIDLs(ctx, acct)
	if err != nil {
		return err
	}
	list, ids := make([]Stored, 0, page), make([]mail.EmailID, 0, page)
	flush := func() error {
		if len(list) == 0 {
			return nil
		}
		err := each(list, ids)
		list, ids = list[:0], ids[:0]
		return err
	}
	for _, r := range snap.In(set) {
		list = append(list, Stored{UID: r.UID, Flags: flagNames(snap, r.Flags), Date: r.Date(), Size: r.Size, UIDL: uidls[r.Email], Email: r.Email})
		ids = append(ids, r.Email)
		if len(list) == page {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func messageID(r *mailbox.Record) string {
	b, _ := r.Fields(nil, "message-id")
	return MessageIDOf(b)
}
