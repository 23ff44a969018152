package imapd

import (
	"cmp"
	"context"
	"errors"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// writeRights are the rights of which one at least makes a mailbox READ-WRITE.
// RFC 4314 §5.2
const writeRights = mailbox.RightInsert | mailbox.RightExpunge | mailbox.RightSeen | mailbox.RightWrite | mailbox.RightMark

// selectBox is SELECT and EXAMINE. RFC 9051 §6.3.2, §6.3.3
func (s *session) selectBox(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Select)
	if a.Resync != nil && !s.has(qresync) {
		return bad(imap.CodeClientBug, "ENABLE QRESYNC first")
	}
	if s.box != nil {
		s.closed() // even if what follows fails
	}
	m, err := s.lookup(ctx, a.Mailbox, mailbox.RightRead)
	if err != nil {
		return err
	}
	if m.Placeholder {
		return no(imap.CodeNonExistent, "this name only holds other mailboxes")
	}
	snap, err := s.srv.Mail.OpenAs(ctx, m.box(), s.peer.Account)
	if err != nil {
		return err
	}
	if a.CondStore || a.Resync != nil {
		s.condStore()
	}
	s.box = &selected{
		Box:      m.box(),
		rights:   m.rights,
		readOnly: c.Name == "EXAMINE",
		view:     imap.NewView(snap.UIDs()),
		seq:      snap.ModSeq,
		flags:    snap.Mailbox.ModSeq,
		recents:  -1,
	}
	s.tellSelected(snap)
	s.tellName("()", m.full(), cmp.Or(a.Given, a.Mailbox), true)
	if a.Resync != nil {
		if err := s.resync(ctx, snap, a.Resync); err != nil {
			s.box = nil
			return err
		}
	}
	if s.code = imap.CodeReadWrite; s.box.readOnly || s.box.rights&writeRights == 0 {
		s.code = imap.CodeReadOnly
	}
	return nil
}

// closed closes the mailbox for another reason than CLOSE. Who knows the code
// CLOSED is told. RFC 7162 §3.2.11
func (s *session) closed() {
	s.box = nil
	if s.has(rev2 | condStore) {
		s.enc.Status("*", imap.OK, imap.CodeClosed, "the mailbox that was open is closed")
	}
}

// tellSelected tells what a client wants to know when it opens a mailbox.
func (s *session) tellSelected(snap *mailbox.Snapshot) {
	s.enc.Raw("* ").Num(uint64(snap.Len())).Raw(" EXISTS").CRLF()
	s.claim(snap, 1)
	s.tellRecent()
	s.tellFlags(snap)
	m := &snap.Mailbox
	if !s.has(rev2|uidOnly) && snap.Unseen() > 0 {
		for i, row := range snap.Rows(0) {
			if row.Flags&mailbox.Seen == 0 {
				s.enc.Status("*", imap.OK, imap.CodeNumber("UNSEEN", uint64(i+1)), "first unseen message")
				break
			}
		}
	}
	s.enc.Status("*", imap.OK, imap.CodeURLMech, "how URLs can be authorized") // RFC 4467 §8
	s.enc.Status("*", imap.OK, imap.CodeNumber("UIDVALIDITY", uint64(m.UIDValidity)), "UIDs are valid")
	s.enc.Status("*", imap.OK, imap.CodeNumber("UIDNEXT", uint64(m.UIDNext)), "predicted next UID")
	s.enc.Status("*", imap.OK, imap.CodeNumber("HIGHESTMODSEQ", uint64(m.ModSeq)), "highest mod-sequence")
	s.enc.Status("*", imap.OK, imap.CodeMailboxID(m.ID.Object()), "id of the mailbox")
}

// close is CLOSE: it expunges without telling. RFC 9051 §6.4.1
func (s *session) close(ctx context.Context, _ *imap.Command) error {
	b := s.box
	s.box = nil
	if b.readOnly || b.rights&mailbox.RightExpunge == 0 {
		return nil
	}
	_, _, err := s.srv.Mail.Expunge(ctx, b.Account, b.Mailbox, b.view.UIDs(), mailbox.ExpungeDeleted)
	if errors.Is(err, mail.ErrNotFound) {
		return nil // the mailbox went meanwhile
	}
	return err
}

// unselect is UNSELECT. RFC 9051 §6.4.2
func (s *session) unselect(context.Context, *imap.Command) error {
	s.box = nil
	return nil
}
