package mover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// A Right is what somebody may do with a mailbox. RFC 4314 §2
type Right struct {
	Who    string // an address, "anyone" or "authenticated"; "-" before it takes rights
	Rights string // letters
}

// A Note is an entry of METADATA. RFC 5464 §3
type Note struct {
	Name  string // "/shared/..." or "/private/...": the owner's
	Value []byte
}

// Sharing is who may do what with a mailbox beside its owner, and what is noted
// about it.
type Sharing struct {
	Rights []Right // nil, in what is brought: it is not known
	Notes  []Note
}

// Left is a part of a Sharing that could not be brought.
type Left struct{ What, Why string }

// Whole is, as a folder that is shared, the account as a whole: it has only notes, of its
// owner.
const Whole = ""

// Share brings the sharing of a folder that Open knows, or of Whole, once: what is changed here
// later stays. With again, it takes the place of the rights that are here, if all who
// have some there are known here: else theirs, which came under another name, would be
// lost. What cannot come is left out and told.
func (a *Agent) Share(ctx context.Context, acct mail.AccountID, source, folder string, s Sharing, again bool) ([]Left, error) {
	if folder == Whole {
		return a.shareWhole(ctx, acct, source, s.Notes, again)
	}
	m, err := a.Mailboxes.FindMove(ctx, acct, source, folder)
	if err != nil || m.Shared && !again {
		return nil, err
	}
	left, err := a.notes(ctx, mailbox.Box{Account: acct, Mailbox: m.Mailbox}, s.Notes)
	if err != nil {
		return left, err
	}
	var grants []mailbox.Grant
	only := again && s.Rights != nil
	for _, r := range s.Rights {
		g, why, err := a.grant(ctx, r)
		switch {
		case err != nil:
			return left, err
		case why != "":
			left = append(left, Left{"rights of " + r.Who, why})
			only = false
		case g.To == mailbox.GranteeOf(acct) || g.Rights == 0: // owners may do all
		case len(grants) == mailbox.MaxGrants:
			left = append(left, Left{"rights of " + r.Who, fmt.Sprintf("a mailbox is shared with %d at most", mailbox.MaxGrants)})
		default:
			grants = append(grants, g)
		}
	}
	err = a.Mailboxes.ShareMove(ctx, acct, source, folder, grants, only)
	if errors.Is(err, mail.ErrLimit) {
		return append(left, Left{"rights", err.Error()}), nil
	}
	return left, err
}

// shareWhole brings what is noted about the account. That it has come is remembered as of
// a folder that goes to INBOX, which every account has.
func (a *Agent) shareWhole(ctx context.Context, acct mail.AccountID, source string, list []Note, again bool) ([]Left, error) {
	m, err := a.Mailboxes.OpenMove(ctx, acct, mailbox.Move{Source: source, Folder: Whole}, false, func(*mailbox.Edit) (mail.MailboxID, error) { return mailbox.Inbox, nil })
	if err != nil || m.Shared && !again {
		return nil, err
	}
	var left []Left
	list = slices.DeleteFunc(slices.Clone(list), func(n Note) bool {
		private, _, ok := imap.SplitEntry(n.Name)
		if ok && !private {
			left = append(left, Left{n.Name, "what all share of a server is not an account's"})
		}
		return ok && !private
	})
	more, err := a.notes(ctx, mailbox.Box{Account: acct, Mailbox: mailbox.NoMailbox}, list)
	if left = append(left, more...); err != nil {
		return left, err
	}
	return left, a.Mailboxes.ShareMove(ctx, acct, source, Whole, nil, false)
}

// notes writes notes, and gives those that cannot come.
func (a *Agent) notes(ctx context.Context, b mailbox.Box, list []Note) (left []Left, err error) {
	for _, n := range list {
		if err := a.note(ctx, b, n); err != nil {
			if !errors.Is(err, mail.ErrLimit) && !errors.Is(err, mailbox.ErrNoMode) && !errors.Is(err, mailbox.ErrNoUse) && !errors.Is(err, mailbox.ErrUseTaken) && !errors.Is(err, errEntry) {
				return left, err
			}
			left = append(left, Left{n.Name, err.Error()})
		}
	}
	return left, nil
}

// errEntry: a note has a name that METADATA does not have.
var errEntry = errors.New("there is no such entry")

func (a *Agent) note(ctx context.Context, b mailbox.Box, n Note) error {
	private, name, ok := imap.SplitEntry(n.Name)
	if !ok {
		return errEntry
	}
	if n.Value == nil {
		n.Value = []byte{} // there, and empty
	}
	out := mailbox.Annotation{Name: name, Value: n.Value}
	if private {
		out.Reader = b.Account
	}
	_, err := a.Mailboxes.SetMetadata(ctx, b, []mailbox.Annotation{out})
	return err
}

// grant finds out who is meant; why says it if nobody is.
func (a *Agent) grant(ctx context.Context, r Right) (g mailbox.Grant, why string, err error) {
	var ok bool
	if g.Rights, ok = mailbox.ParseRights(r.Rights); !ok {
		return g, fmt.Sprintf("%q are no rights", r.Rights), nil
	}
	who, takes := strings.CutPrefix(r.Who, "-")
	g.Takes = takes
	switch strings.ToLower(who) {
	case "anyone":
		g.To = mailbox.Anyone
		return g, "", nil
	case "authenticated":
		g.To = mailbox.Authenticated
		return g, "", nil
	}
	addr, err := mail.ParseAddress(who)
	if err != nil {
		return g, "it is no address", nil
	}
	person, err := a.Directory.Known(ctx, addr)
	if errors.Is(err, mail.ErrNotFound) {
		return g, "no account here has this address", nil
	}
	g.To = mailbox.GranteeOf(person.ID)
	return g, "", err
}

// Sharing gives that of a mailbox: what all have noted about it, and its owner. Of
// mailbox.NoMailbox it is that of Whole.
func (a *Agent) Sharing(ctx context.Context, acct mail.AccountID, box mail.MailboxID) (s Sharing, err error) {
	if box == mailbox.NoMailbox {
		found, err := a.Mailboxes.Metadata(ctx, mailbox.Box{Account: acct}, []mailbox.Annotation{{Reader: acct}}, mailbox.AllBelow)
		if err != nil {
			return s, err
		}
		for _, n := range found[0] {
			s.Notes = append(s.Notes, Note{"/private" + n.Name, n.Value})
		}
		return s, nil
	}
	m, err := a.Mailboxes.Mailbox(ctx, acct, box)
	if err != nil {
		return s, err
	}
	for _, g := range m.ACL {
		who, err := g.Identifier(func(id mail.AccountID) (mail.Address, error) { return a.Directory.AddressOf(ctx, id) })
		if err != nil {
			return s, err
		}
		if who == "" {
			continue
		}
		s.Rights = append(s.Rights, Right{who, g.Rights.String()})
	}
	found, err := a.Mailboxes.Metadata(ctx, mailbox.Box{Account: acct, Mailbox: box}, []mailbox.Annotation{{}, {Reader: acct}}, mailbox.AllBelow)
	if err != nil {
		return s, err
	}
	for i, top := range [...]string{"/shared", "/private"} {
		for _, n := range found[i] {
			if n.Reader == 0 && n.Name == mailbox.SeenEntry && len(m.ACL) == 0 {
				continue // each mailbox has it; it is of use to who shares
			}
			if n.Reader == acct && n.Name == mailbox.UseEntry {
				continue // LIST tells it, and so does every target
			}
			s.Notes = append(s.Notes, Note{top + n.Name, n.Value})
		}
	}
	slices.SortFunc(s.Notes, func(a, b Note) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}
