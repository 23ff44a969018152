package mailbox

import "posthaste/internal/base/mail"

// ClaimRecent gives the first UID of the mailbox that no session has been told
// of before, and notes that all up to the Snapshot's UIDNEXT are told now: these
// messages are \Recent in the session that claims them, and in no other. The
// note is written with the next change of the mailbox; if the server ends before
// that, some may be recent once more, as RFC 3501 §2.3.2 allows.
func (s *Store) ClaimRecent(a mail.AccountID, snap *Snapshot) mail.UID {
	m := &snap.Mailbox
	e := s.cache.entry(boxKey{a, m.ID})
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	first := max(e.recent, m.recent, 1)
	e.recent = max(first, m.UIDNext)
	return first
}

// FirstRecent gives what ClaimRecent would, and claims nothing.
func (s *Store) FirstRecent(a mail.AccountID, m *Mailbox) mail.UID {
	return max(s.firstRecent(a, m), 1)
}

func (s *Store) firstRecent(a mail.AccountID, m *Mailbox) mail.UID {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if e := s.cache.entries[boxKey{a, m.ID}]; e != nil {
		return max(e.recent, m.recent)
	}
	return m.recent
}
