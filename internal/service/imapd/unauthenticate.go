package imapd

import (
	"context"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
)

// unauthenticate is UNAUTHENTICATE: all is as it was before login, but for what
// protects the connection. RFC 8437
func (s *session) unauthenticate(context.Context, *imap.Command) error {
	s.box = nil
	s.enabled, s.notify = 0, nil
	s.attend()
	s.without = nil
	s.compare = unicodeCasemap
	s.dec.UTF8, s.enc.UTF8, s.enc.Words, s.tongue = false, false, nil, nil
	s.unwatch()
	s.srv.accounts.Leave(s.peer.Account)
	s.entered, s.admin = false, false
	s.peer.Account, s.peer.Login = 0, mail.Address{}
	s.dec.Limits = imap.LimitsBeforeLogin
	s.conn.Until = time.Now().Add(loginTimeout)
	s.log = s.anonymous
	s.code = imap.CodeCapability(s.capabilities())
	return nil
}
