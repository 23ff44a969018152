package imapd

import (
	"context"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// resync tells a client that opens a mailbox again what has changed since it
// was there. RFC 7162 §3.2.5
func (s *session) resync(ctx context.Context, snap *mailbox.Snapshot, r *imap.Resync) error {
	if r.UIDValidity != snap.Mailbox.UIDValidity {
		return nil
	}
	known := mail.UIDSpan(1, ^mail.UID(0))
	if len(r.Known.Ranges) > 0 {
		known = r.Known.UIDSet(0)
	}
	if err := s.tellVanished(ctx, snap, known, r.ModSeq, matched(snap, r)); err != nil {
		return err
	}
	texts := s.texts(snap)
	for i, row := range snap.In(known) {
		if row.ModSeq > r.ModSeq {
			s.tellMessage(&texts, uint32(i+1), row)
		}
	}
	return nil
}

// tellEarlier is VANISHED of UID FETCH. RFC 7162 §3.2.6
func (s *session) tellEarlier(ctx context.Context, snap *mailbox.Snapshot, a *imap.Fetch) error {
	wanted := s.box.saved
	if !a.Set.Saved {
		// Here "*" is the highest UID that there ever was: a client that asks for 1:*
		// is to hear of the last message, too, if that is what has gone.
		wanted = a.Set.UIDSet(max(s.box.view.MaxUID(), snap.Mailbox.UIDNext-1))
	}
	// What the client still counts among the messages is told when that ends.
	return s.tellVanished(ctx, snap, wanted.Subtract(s.box.view.UIDs()), a.Since, 0)
}

// tellVanished tells which of the wanted UIDs have gone after since. If that is
// too long ago, it tells all that are not there, but for those up to sure.
func (s *session) tellVanished(ctx context.Context, snap *mailbox.Snapshot, wanted mail.UIDSet, since mail.ModSeq, sure mail.UID) error {
	if snap.Mailbox.UIDNext == 1 {
		return nil
	}
	gone, ok, err := s.srv.Mail.Vanished(ctx, s.box.Account, snap.Mailbox.ID, since)
	if err != nil {
		return err
	}
	there := mail.UIDSpan(1, snap.Mailbox.UIDNext-1)
	if !ok {
		gone = there
		if sure > 0 {
			gone = gone.Subtract(mail.UIDSpan(1, sure))
		}
	}
	gone = gone.Intersect(wanted).Intersect(there).Subtract(snap.UIDs())
	if !gone.IsEmpty() {
		s.enc.Raw("* VANISHED (EARLIER) ").UIDs(gone).CRLF()
	}
	return nil
}

// matched gives the highest UID up to which, by the pairs that the client has
// sent, it knows of everything that is gone. RFC 7162 §3.2.5.2
func matched(snap *mailbox.Snapshot, r *imap.Resync) (sure mail.UID) {
	seqs, uids := r.MatchSeq.UIDSet(0), r.MatchUID.UIDSet(0)
	if seqs.Len() != uids.Len() || seqs.Len() > snap.Len() {
		return 0
	}
	var at []mail.UID
	for u := range uids.All() {
		at = append(at, u)
	}
	i := 0
	for n := range seqs.All() {
		if int(n) > snap.Len() || snap.At(int(n)-1).UID != at[i] {
			break
		}
		sure = at[i]
		i++
	}
	return sure
}
