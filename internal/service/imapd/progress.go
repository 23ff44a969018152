package imapd

import (
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
)

// progressEvery is how often a client that waits long for an answer hears how
// far we are: some give up, or believe the connection lost.
const progressEvery = 10 * time.Second

// A progress is how far a long command is.
type progress struct {
	tag  string
	box  *selected // in which
	next time.Time // when to tell
}

// tellProgress tells how far a search is that has come to a message, if it is
// time. RFC 9585
func (s *session) tellProgress(p *progress, at mail.UID) error {
	now := time.Now()
	if now.Before(p.next) {
		return nil
	}
	p.next = now.Add(progressEvery)
	s.enc.Status("*", imap.OK, imap.CodeInProgress(p.tag, p.box.view.Seq(at), p.box.view.Len()), "still searching")
	return s.enc.Flush()
}
