package imapd

import (
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
)

// limited gives those messages that a command may be about: as many as the
// operator allows, of those that it names the ones with the highest UIDs. What
// is left out, its answer tells. RFC 9738 §3.1
func (s *session) limited(uids mail.UIDSet) mail.UIDSet {
	n := s.srv.limits.Messages
	if n == 0 || uids.Len() <= n {
		return uids
	}
	uids = slice(uids, uids.Len()-n, uids.Len())
	s.lowest = uids.Min()
	return uids
}

// unlimited refuses a command that was to be about more messages than the
// operator allows.
func (s *session) unlimited() error {
	if s.lowest == 0 {
		return nil
	}
	return no(imap.CodeMessageLimit(s.srv.limits.Messages, s.lowest), "too many messages, try fewer")
}

// tellLimit tells which of a command's messages it has been about, if those are
// not all: in its OK, or if that has something else to say, before it.
// RFC 9738 §3.1
func (s *session) tellLimit() {
	if s.lowest == 0 {
		return
	}
	code := imap.CodeMessageLimit(s.srv.limits.Messages, s.lowest)
	if s.code == "" {
		s.code = code
		return
	}
	s.enc.Status("*", imap.NO, code, "there are more messages than that")
}

// among narrows messages to those among which a SEARCH looks: those that the
// sets allow which every match must be in.
func (m *search) among(k imap.Key, uids mail.UIDSet) (mail.UIDSet, error) {
	switch k := k.(type) {
	case imap.And:
		for _, k := range k.Keys {
			var err error
			if uids, err = m.among(k, uids); err != nil {
				return uids, err
			}
		}
	case imap.Messages:
		set, err := m.messages(k.Set)
		return uids.Intersect(set), err
	}
	return uids, nil
}
