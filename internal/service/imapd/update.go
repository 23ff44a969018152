package imapd

import (
	"context"
	"errors"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// selected is the mailbox that a session has open, and how much of it the
// client has been told.
type selected struct {
	mailbox.Box
	rights   mailbox.Rights // of the person, as the last snapshot gave them
	told     mailbox.Rights // those that PERMANENTFLAGS told
	readOnly bool
	view     *imap.View
	seq      mail.ModSeq      // of the account: told up to here
	flags    mail.ModSeq      // of the mailbox: flags are told up to here
	behind   bool             // messages are gone that the client still counts
	keywords int              // so many are told
	saved    mail.UIDSet      // "$", RFC 9051 §6.4.4.1
	recent   mail.UIDSet      // UIDs that are recent in this session
	recents  int              // so many are told
	contexts []*searchContext // searches to keep up to date
	own      []change         // flag changes that the client knows of already
	made     mail.UIDSet      // messages that the session has put here, to be told
	searched mail.ModSeq      // of the mailbox: contexts are right up to here
}

// A change is flags that a commit of ours has changed.
type change struct {
	seq  mail.ModSeq
	uids mail.UIDSet
}

// known notes that the client need not be told of what a commit did.
func (b *selected) known(seq mail.ModSeq, uids mail.UIDSet) {
	if !uids.IsEmpty() {
		b.own = append(b.own, change{seq, uids})
	}
}

func (b *selected) knows(r *mailbox.Row) bool {
	for _, c := range b.own {
		if c.seq == r.ModSeq && c.uids.Contains(r.UID) {
			return true
		}
	}
	return false
}

// snapshot gives the selected mailbox as it is now, for the person logged in. A mailbox that somebody has
// deleted ends the session: there is no other way to say so.
func (s *session) snapshot(ctx context.Context) (*mailbox.Snapshot, error) {
	snap, err := s.srv.Mail.OpenAs(ctx, s.box.Box, s.peer.Account)
	if errors.Is(err, mail.ErrNotFound) {
		return nil, &ending{imap.CodeNonExistent, "the mailbox was deleted"}
	}
	if err != nil {
		return nil, err
	}
	s.box.rights = snap.Mailbox.RightsOf(s.peer.Account, s.box.Account)
	if s.box.rights&mailbox.RightRead == 0 { // RFC 4314 §5.1.1
		return nil, &ending{imap.CodeNoPerm, "you may no longer read this mailbox"}
	}
	return snap, nil
}

// update tells the client what has changed in its mailbox, as far as the rule
// lets it.
func (s *session) update(ctx context.Context, r rule) error {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	if s.box.rights != s.box.told {
		s.tellFlags(snap)
	}
	first := s.box.view.MaxUID() + 1
	s.tell(snap, r)
	added := s.box.view.Known(mail.UIDSpan(first, ^mail.UID(0)).Subtract(s.box.made))
	s.box.made = mail.UIDSet{}
	if len(s.box.contexts) > 0 && snap.Mailbox.ModSeq != s.box.searched {
		changed, ok := snap.ChangedSince(s.box.searched)
		if !ok {
			changed = mail.UIDSpan(1, ^mail.UID(0))
		}
		changed.AddRange(first, ^mail.UID(0))
		s.box.searched = snap.Mailbox.ModSeq
		told, err := s.refresh(ctx, snap, changed, added)
		if err != nil {
			return err
		}
		added = added.Subtract(told)
	}
	if s.notify == nil || s.notify.selected.Fetch == nil {
		return nil
	}
	return s.tellItems(ctx, snap, added, s.notify.selected.Fetch)
}

// tell is update to a snapshot. RFC 9051 §7.4.1, §7.5, RFC 5465 §5
func (s *session) tell(snap *mailbox.Snapshot, r rule) {
	b, wants := s.box, s.wants()
	if r == tellResult {
		r = tellAll
	} else if wants&imap.MessageExpunge == 0 {
		r = keepNumber
	}
	if snap.ModSeq == b.seq && !(b.behind && r == tellAll) {
		return
	}
	b.seq = snap.ModSeq
	if snap.Mailbox.ModSeq == b.flags && !b.behind {
		b.own = b.own[:0]
		return // the change was elsewhere in the account
	}
	s.tellGone(snap, r)
	if len(snap.Keywords) != b.keywords {
		s.tellFlags(snap)
	}
	// New messages are above all that are known; only the others can have new
	// flags to tell.
	first, _ := snap.Index(b.view.MaxUID() + 1)
	if first < snap.Len() && wants&imap.MessageNew != 0 {
		for _, row := range snap.Rows(first) {
			b.view.Append(row.UID)
		}
		s.claim(snap, snap.At(first).UID)
		s.enc.Raw("* ").Num(uint64(b.view.Len())).Raw(" EXISTS").CRLF()
		s.tellRecent()
	}
	if snap.Mailbox.ModSeq > b.flags && wants&imap.FlagChange != 0 {
		s.tellChanged(snap, first)
		b.flags = snap.Mailbox.ModSeq
	}
	b.own = b.own[:0]
}

// tellGone tells which messages are gone, or notes that it could not.
func (s *session) tellGone(snap *mailbox.Snapshot, r rule) {
	b := s.box
	here, _ := snap.Index(b.view.MaxUID() + 1)
	if b.behind = here != int(b.view.Len()); !b.behind || r != tellAll {
		return
	}
	b.behind = false
	gone := b.view.UIDs().Subtract(snap.UIDs())
	s.forget(gone)
	if s.has(qresync | uidOnly) { // RFC 7162 §3.2.10, RFC 9586 §3.3
		b.view.ExpungeAll(gone, func(uint32) {})
		s.enc.Raw("* VANISHED ").UIDs(gone).CRLF()
		return
	}
	b.view.ExpungeAll(gone, func(seq uint32) {
		s.enc.Raw("* ").Num(uint64(seq)).Raw(" EXPUNGE").CRLF()
	})
}

// tellChanged tells the flags that have changed among the first n messages.
func (s *session) tellChanged(snap *mailbox.Snapshot, n int) {
	texts := s.texts(snap)
	rows := snap.Rows(0)
	if changed, ok := snap.ChangedSince(s.box.flags); ok {
		rows = snap.In(changed)
	}
	for i, row := range rows {
		if i >= n {
			return
		}
		if row.ModSeq <= s.box.flags || s.box.knows(row) {
			continue
		}
		if seq := s.box.view.Seq(row.UID); seq != 0 {
			s.tellMessage(&texts, seq, row)
		}
	}
}

// tellMessage tells the flags of one message.
func (s *session) tellMessage(texts *flagTexts, seq uint32, row *mailbox.Row) {
	s.beginFetch(seq, row.UID).Bytes(texts.text(row))
	if s.has(condStore) {
		s.enc.Raw(" MODSEQ (").Num(uint64(row.ModSeq)).Raw(")")
	}
	s.enc.Raw(")").CRLF()
}

// resolve turns what the client wrote into UIDs that it knows.
func (s *session) resolve(set imap.Set) (mail.UIDSet, error) { return s.box.resolve(set) }

func (b *selected) resolve(set imap.Set) (mail.UIDSet, error) {
	if set.Saved {
		return b.view.Known(b.saved), nil
	}
	return b.view.Resolve(set)
}

// numbers gives UIDs as the client wants them: as they are, or as sequence
// numbers.
func (s *session) numbers(uids mail.UIDSet, asUIDs bool) mail.UIDSet {
	if asUIDs {
		return uids
	}
	return s.box.view.Numbers(uids)
}
