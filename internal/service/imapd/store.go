package imapd

import (
	"context"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// store is STORE and UID STORE. RFC 9051 §6.4.6, RFC 7162 §3.1.3
func (s *session) store(ctx context.Context, c *imap.Command) error {
	if err := s.writable(); err != nil {
		return err
	}
	a := c.Args.(*imap.Store)
	uids, err := s.resolve(a.Set)
	if err != nil {
		return err
	}
	bits, keywords, err := splitFlags(a.Flags)
	if err != nil {
		return err
	}
	within, err := s.changeable(a.Op, bits, keywords)
	if err != nil {
		return err
	}
	uids = s.limited(uids)
	if a.Conditional {
		s.condStore()
	}
	done, err := s.srv.Mail.StoreFlags(ctx, s.box.Account, s.box.Mailbox, uids, mailbox.FlagChange{
		Mode:        storeModes[a.Op],
		Flags:       bits,
		Keywords:    keywords,
		Within:      within,
		Conditional: a.Conditional, UnchangedSince: a.Unchanged,
		By: s.peer.Account,
	})
	if err != nil {
		return err
	}
	if !done.Failed.IsEmpty() {
		s.code = imap.CodeModified(s.numbers(done.Failed, a.Set.UID))
	}
	return s.tellStored(ctx, a, uids.Subtract(done.Failed), done)
}

// changeable gives the flags that a STORE may change. One that may change none
// of those that it names is refused. RFC 4314 §4
func (s *session) changeable(op imap.StoreOp, bits mailbox.Flags, keywords []string) (mailbox.Flags, error) {
	may := s.box.rights.Flags()
	named := may&bits != 0 || len(keywords) > 0 && s.box.rights&mailbox.RightWrite != 0
	nothing := bits == 0 && len(keywords) == 0
	if may == 0 || op != imap.ReplaceFlags && !named && !nothing {
		return 0, errNoPerm
	}
	return may, nil
}

var storeModes = [...]mailbox.FlagMode{
	imap.ReplaceFlags: mailbox.ReplaceFlags,
	imap.AddFlags:     mailbox.AddFlags,
	imap.RemoveFlags:  mailbox.RemoveFlags,
}

// tellStored tells the flags as they are now: of all messages, or if the client
// wants to hear nothing, only the mod-sequences of those that changed, if it
// knows what that is.
func (s *session) tellStored(ctx context.Context, a *imap.Store, uids mail.UIDSet, done mailbox.Stored) error {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	if len(snap.Keywords) != s.box.keywords {
		s.tellFlags(snap)
	}
	told := uids
	if a.Silent {
		if told = done.Changed; !s.has(condStore) {
			told = mail.UIDSet{}
		}
	}
	texts := s.texts(snap)
	if s.code == "" && !a.Set.UID && snap.UIDs().Intersect(uids).Len() < uids.Len() {
		s.code = imap.CodeExpungeIssued // RFC 2180 §4.2.1
	}
	for _, row := range snap.In(told) {
		seq := s.box.view.Seq(row.UID)
		if seq == 0 {
			continue
		}
		if !a.Silent {
			s.tellMessage(&texts, seq, row)
			continue
		}
		s.beginFetch(seq, row.UID).Raw("MODSEQ (").Num(uint64(row.ModSeq)).Raw("))").CRLF()
	}
	s.box.known(done.ModSeq, done.Changed)
	return nil
}
