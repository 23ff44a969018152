package imapd

import (
	"context"
	"errors"
	"slices"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// annotated finds what metadata is asked of: a mailbox, or the server, whose
// private entries are kept in the person's account. Who may see a mailbox and do
// anything with what is in it may have its entries. RFC 5464 §3.3
func (s *session) annotated(ctx context.Context, name string, need mailbox.Rights) (place, error) {
	if name == "" {
		return place{spot: spot{owner: s.peer.Account}, Mailbox: mailbox.Mailbox{ID: mailbox.NoMailbox}, rights: mailbox.RightLookup | mailbox.RightRead}, nil
	}
	p, err := s.lookup(ctx, name, mailbox.RightLookup)
	if err == nil && p.rights&useRights == 0 {
		err = errNoPerm
	}
	if err != nil {
		return p, err
	}
	return p, p.allow(need)
}

// useRights are those of which one is needed for metadata. RFC 5464 §3.3
const useRights = mailbox.RightRead | mailbox.RightSeen | mailbox.RightWrite | mailbox.RightInsert | mailbox.RightPost

// reader gives whose an entry is: the person's, or everybody's.
func (s *session) reader(private bool) mail.AccountID {
	if private {
		return s.peer.Account
	}
	return 0
}

// getMetadata is GETMETADATA. RFC 5464 §4.2
func (s *session) getMetadata(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.GetMetadata)
	p, err := s.annotated(ctx, a.Mailbox, mailbox.RightLookup)
	if err != nil {
		return err
	}
	longest, err := s.tellMetadata(ctx, &p, a.Entries, a.Options)
	if err == nil && longest > 0 {
		s.code = imap.CodeMetadata("LONGENTRIES", uint64(longest))
	}
	return err
}

// tellMetadata writes a METADATA response, and gives the size of the largest
// value that was too large for it. RFC 5464 §4.4.1
func (s *session) tellMetadata(ctx context.Context, p *place, entries []string, o imap.MetadataOptions) (longest int, err error) {
	begun := false
	tell := func(name string, value []byte) {
		if o.Bounded && len(value) > int(o.MaxSize) {
			longest = max(longest, len(value))
			return
		}
		if begun {
			s.enc.Raw(" ")
		} else {
			s.enc.Raw("* METADATA ").Mailbox(p.full()).Raw(" (")
			begun = true
		}
		s.enc.String(name).Raw(" ").MetadataValue(value)
	}
	of := make([]mailbox.Annotation, len(entries))
	for i, name := range entries {
		private, rest, _ := imap.SplitEntry(name)
		of[i] = mailbox.Annotation{Reader: s.reader(private), Name: rest}
	}
	// What is below many entries may be much: that is looked for one by one.
	at := len(of)
	if o.Depth != imap.DepthZero {
		at = 1
	}
	for len(of) > 0 {
		found, err := s.srv.Mail.Metadata(ctx, p.box(), of[:at], levels[o.Depth])
		if err != nil {
			return 0, err
		}
		for i, list := range found {
			name, rest := entries[i], of[i].Name
			if rest != "" && (len(list) == 0 || list[0].Name != rest) {
				tell(name, nil)
			}
			for _, n := range list {
				if n.Name == rest {
					tell(name, n.Value)
				} else {
					tell(name[:len(name)-len(rest)]+n.Name, n.Value)
				}
			}
		}
		of, entries = of[at:], entries[at:]
	}
	if begun {
		s.enc.Raw(")").CRLF()
	}
	return longest, nil
}

var levels = [...]mailbox.Levels{imap.DepthZero: mailbox.ThisEntry, imap.DepthOne: mailbox.OneBelow, imap.DepthInfinity: mailbox.AllBelow}

// setMetadata is SETMETADATA. Nobody writes what all share of the server.
// RFC 5464 §4.3
func (s *session) setMetadata(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.SetMetadata)
	need := mailbox.RightLookup
	list := make([]mailbox.Annotation, len(a.Changes))
	for i, ch := range a.Changes {
		private, rest, _ := imap.SplitEntry(ch.Entry)
		if err := usable(a.Mailbox, rest, ch.Value); err != nil {
			return err
		}
		switch {
		case private:
		case rest == mailbox.SeenEntry && a.Mailbox != "":
			need |= mailbox.RightAdmin // it is about all who have rights
		default:
			need |= mailbox.RightWrite
		}
		list[i] = mailbox.Annotation{Reader: s.reader(private), Name: rest, Value: ch.Value}
	}
	p, err := s.annotated(ctx, a.Mailbox, need)
	if err != nil {
		return err
	}
	if err := p.allow(need); err != nil { // of the server, whose place no lookup has checked
		return err
	}
	seq, err := s.srv.Mail.SetMetadata(ctx, p.box(), list)
	switch {
	case errors.Is(err, mailbox.ErrNoMode):
		return no(imap.CodeCannot, "this entry is own or common")
	case errors.Is(err, mailbox.ErrNoUse):
		return errNoUse
	case errors.Is(err, mailbox.ErrUseTaken):
		return errUseTaken
	case errors.Is(err, mailbox.ErrTooLong):
		return no(imap.CodeMetadata("MAXSIZE", mailbox.MaxAnnotation), "a value is too long")
	case errors.Is(err, mailbox.ErrTooMany):
		return no(imap.CodeMetadataTooMany, "too much is noted already")
	case err != nil:
		return err
	}
	s.noted(p.owner, seq)
	return nil
}

// noted remembers a commit of the session, which it need not be told of.
func (s *session) noted(owner mail.AccountID, seq mail.ModSeq) {
	s.notify.done(owner, seq)
}

// tellNoted tells which entries of a mailbox others have changed, as far as they
// are there for the person. RFC 5465 §5.6, §5.7
func (s *session) tellNoted(name string, t *mailbox.Touched) {
	var names []string
	for _, n := range t.Noted {
		switch {
		case n.Reader == 0:
			names = append(names, "/shared"+n.Name)
		case n.Reader == s.peer.Account:
			names = append(names, "/private"+n.Name)
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		return
	}
	s.enc.Raw("* METADATA ").Mailbox(name)
	for _, n := range names {
		s.enc.Raw(" ").String(n)
	}
	s.enc.CRLF()
}
