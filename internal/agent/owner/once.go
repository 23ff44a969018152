package owner

import (
	"context"
	"slices"

	"posthaste/internal/agent/mover"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
)

// A backup may have brought what was deleted before it is put back: as a new message, of
// which nothing says that it is the same but what is in it (decision 053).

// alike is what two copies of a message have in common, short of what is in them.
type alike struct {
	home    mail.MailboxID // where it is, or would be put
	name    string         // if that is not there
	size    int64
	arrived int64
}

// A copied is a message that is in its mailbox, or would be put there.
type copied struct {
	email mail.EmailID
	id    mailbox.ExpungedID // of those that would be
}

// once gives want without what would then be twice in a mailbox, because a backup has
// brought one of the two, and how many those are.
func (g *Agent) once(ctx context.Context, a mail.AccountID, want func(*mailbox.Expunged) bool) (func(*mailbox.Expunged) bool, int, error) {
	brought, err := g.Mailboxes.Brought(ctx, a, mailbox.BackupSource)
	if err != nil || len(brought) == 0 {
		return want, 0, err
	}
	back, err := g.goingBack(ctx, a, want)
	if err != nil {
		return nil, 0, err
	}
	there, err := g.there(ctx, a, back)
	if err != nil {
		return nil, 0, err
	}
	ids, err := g.messageIDs(ctx, a, back, there)
	if err != nil {
		return nil, 0, err
	}
	left := map[mailbox.ExpungedID]bool{}
	for k, list := range back {
		have := there[k]
	next:
		for _, c := range list {
			for i, h := range have {
				if h.email != c.email && (brought[h.email] || brought[c.email]) && ids[h.email] == ids[c.email] {
					have = slices.Delete(have, i, i+1) // it stands for no other one
					left[c.id] = true
					continue next
				}
			}
			have = append(have, c)
		}
	}
	return func(x *mailbox.Expunged) bool { return want(x) && !left[x.ExpungedID] }, len(left), nil
}

// goingBack gives what would be put back, what was deleted last first.
func (g *Agent) goingBack(ctx context.Context, a mail.AccountID, want func(*mailbox.Expunged) bool) (map[alike][]copied, error) {
	boxes, _, err := g.Mailboxes.Mailboxes(ctx, a)
	if err != nil {
		return nil, err
	}
	here, named := map[mail.MailboxID]bool{}, map[string]mail.MailboxID{}
	for i := range boxes {
		if !boxes[i].Placeholder {
			here[boxes[i].ID], named[boxes[i].Name] = true, boxes[i].ID
		}
	}
	back := map[alike][]copied{}
	_, err = g.Mailboxes.Expunged(ctx, a, 0, func(x *mailbox.Expunged) bool {
		if !want(x) {
			return false
		}
		k := alike{home: x.Mailbox, size: x.Size, arrived: x.Date.Unix()}
		if !here[k.home] {
			if k.home = named[x.Name]; k.home == 0 {
				k.name = x.Name
			}
		}
		back[k] = append(back[k], copied{x.Email, x.ExpungedID})
		return false
	})
	return back, err
}

// there gives the messages in the mailboxes that look like some of those.
func (g *Agent) there(ctx context.Context, a mail.AccountID, back map[alike][]copied) (map[alike][]copied, error) {
	homes := map[mail.MailboxID]bool{}
	for k := range back {
		homes[k.home] = true
	}
	delete(homes, 0)
	out := map[alike][]copied{}
	for box := range homes {
		snap, err := g.Mailboxes.Open(ctx, a, box)
		if err != nil {
			return nil, err
		}
		for _, r := range snap.Rows(0) {
			k := alike{home: box, size: r.Size, arrived: r.Date().Unix()}
			if back[k] != nil {
				out[k] = append(out[k], copied{email: r.Email})
			}
		}
	}
	return out, nil
}

// messageIDs gives those of the messages that look like another one.
func (g *Agent) messageIDs(ctx context.Context, a mail.AccountID, back, there map[alike][]copied) (map[mail.EmailID]string, error) {
	out := map[mail.EmailID]string{}
	for k, list := range back {
		if len(list)+len(there[k]) < 2 {
			continue
		}
		for _, c := range append(list[:len(list):len(list)], there[k]...) {
			if _, done := out[c.email]; done {
				continue
			}
			records, err := g.Mailboxes.Records(ctx, a, []mail.EmailID{c.email})
			if err != nil {
				return nil, err
			}
			b, _ := records[0].Fields(nil, "message-id")
			out[c.email] = mover.MessageIDOf(b)
		}
	}
	return out, nil
}
