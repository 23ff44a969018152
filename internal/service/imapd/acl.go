package imapd

import (
	"context"
	"errors"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// A holder is whom an identifier means.
type holder struct {
	to    mailbox.Grantee
	takes bool // "-" stands before it: rights that are taken
	owner bool // of the mailbox
}

// holder finds out whom an identifier means: a login address of this server, or
// a group. RFC 4314 §2
func (s *session) holder(ctx context.Context, p *place, identifier string) (holder, error) {
	if s.srv.People == nil {
		return holder{}, no(imap.CodeCannot, "nothing can be shared here")
	}
	name, takes := strings.CutPrefix(identifier, "-")
	switch {
	case name == "":
		return holder{}, bad("", "an identifier is missing")
	case strings.EqualFold(name, "anyone"):
		return holder{to: mailbox.Anyone, takes: takes}, nil
	case strings.EqualFold(name, "authenticated"):
		return holder{to: mailbox.Authenticated, takes: takes}, nil
	}
	addr, err := mail.ParseAddress(name)
	if err != nil {
		return holder{}, no(imap.CodeCannot, "an identifier is a login address, anyone or authenticated")
	}
	a, err := s.srv.People.Known(ctx, addr)
	if errors.Is(err, mail.ErrNotFound) {
		return holder{}, no(imap.CodeCannot, "nobody here logs in with this address")
	}
	return holder{mailbox.GranteeOf(a.ID), takes, a.ID == p.owner}, err
}

// governed finds a mailbox whose rights the person may look at and change.
func (s *session) governed(ctx context.Context, name string) (place, error) {
	p, err := s.lookup(ctx, name, mailbox.RightAdmin)
	if err == nil && p.Placeholder {
		err = mail.ErrNotFound
	}
	return p, err
}

// setACL is SETACL. Owners can do everything, always: that cannot be changed.
// RFC 4314 §3.1
func (s *session) setACL(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.SetACL)
	letters, mode := a.Rights, mailbox.ReplaceRights
	switch {
	case strings.HasPrefix(letters, "+"):
		letters, mode = letters[1:], mailbox.AddRights
	case strings.HasPrefix(letters, "-"):
		letters, mode = letters[1:], mailbox.RemoveRights
	}
	rights, ok := mailbox.ParseRights(letters)
	if !ok {
		return bad("", "there is no such right")
	}
	p, err := s.governed(ctx, a.Mailbox)
	if err != nil {
		return err
	}
	h, err := s.holder(ctx, &p, a.Identifier)
	if err != nil {
		return err
	}
	if h.owner {
		if !h.takes && (mode == mailbox.AddRights || mode == mailbox.ReplaceRights && rights == mailbox.AllRights) {
			return nil
		}
		return no(imap.CodeCannot, "owners keep all rights")
	}
	return s.srv.Mail.Grant(ctx, p.owner, p.ID, mailbox.Grant{To: h.to, Takes: h.takes, Rights: rights}, mode)
}

// deleteACL is DELETEACL. RFC 4314 §3.2
func (s *session) deleteACL(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.DeleteACL)
	p, err := s.governed(ctx, a.Mailbox)
	if err != nil {
		return err
	}
	h, err := s.holder(ctx, &p, a.Identifier)
	if err != nil {
		return err
	}
	if h.owner && !h.takes {
		return no(imap.CodeCannot, "owners keep all rights")
	}
	return s.srv.Mail.Grant(ctx, p.owner, p.ID, mailbox.Grant{To: h.to, Takes: h.takes}, mailbox.ReplaceRights)
}

// getACL is GETACL. RFC 4314 §3.3
func (s *session) getACL(ctx context.Context, c *imap.Command) error {
	p, err := s.governed(ctx, c.Args.(*imap.GetACL).Mailbox)
	if err != nil {
		return err
	}
	all := append(mailbox.ACL{{To: mailbox.GranteeOf(p.owner), Rights: mailbox.AllRights}}, p.ACL...)
	names := make([]string, len(all))
	address := func(id mail.AccountID) (mail.Address, error) {
		a, err := s.srv.People.Account(ctx, id)
		return a.Address, err
	}
	if s.srv.People != nil {
		for i := range all {
			if names[i], err = all[i].Identifier(address); err != nil {
				return err
			}
		}
	}
	s.enc.Raw("* ACL ").Mailbox(p.full())
	for i, n := range names {
		if n != "" {
			s.enc.Raw(" ").String(n).Raw(" ").Raw(all[i].Rights.String())
		}
	}
	s.enc.CRLF()
	return nil
}

// listRights is LISTRIGHTS: each right can be given by itself. RFC 4314 §3.4
func (s *session) listRights(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.ListRights)
	p, err := s.governed(ctx, a.Mailbox)
	if err != nil {
		return err
	}
	h, err := s.holder(ctx, &p, a.Identifier)
	if err != nil {
		return err
	}
	s.enc.Raw("* LISTRIGHTS ").Mailbox(p.full()).Raw(" ").String(a.Identifier)
	switch all := mailbox.AllRights.String(); {
	case h.owner && !h.takes:
		s.enc.Raw(" ").Raw(all)
	case h.owner:
		s.enc.Raw(` ""`)
	default:
		s.enc.Raw(` ""`)
		for _, r := range all {
			s.enc.Raw(" ").Raw(string(r))
		}
	}
	s.enc.CRLF()
	return nil
}

// anyRight are the rights of which one is enough to ask for one's own.
// RFC 4314 §4
const anyRight = mailbox.RightLookup | mailbox.RightRead | mailbox.RightInsert | mailbox.RightCreate | mailbox.RightRemove | mailbox.RightAdmin

// myRights is MYRIGHTS. RFC 4314 §3.5
func (s *session) myRights(ctx context.Context, c *imap.Command) error {
	p, err := s.lookup(ctx, c.Args.(*imap.MyRights).Mailbox, 0)
	if err != nil {
		return err
	}
	if p.rights&anyRight == 0 || p.Placeholder {
		return mail.ErrNotFound
	}
	s.tellRights(&p)
	return nil
}

// tellRights writes a MYRIGHTS response. RFC 4314 §3.8
func (s *session) tellRights(p *place) {
	s.enc.Raw("* MYRIGHTS ").Mailbox(p.full()).Raw(" ").Raw(p.rights.String()).CRLF()
}
