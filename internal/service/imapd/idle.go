package imapd

import (
	"context"
	"errors"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/serve"
	"posthaste/internal/proto/imap"
)

// keepAlive is how often an idling client hears that we are still there: some
// networks forget a connection that is silent for longer.
const keepAlive = 5 * time.Minute

// idle is IDLE: it begins here, waits in waitForNews and ends in idleDone.
// RFC 9051 §6.3.13
func (s *session) idle(ctx context.Context, c *imap.Command) error {
	command := *c
	s.idling = &command
	s.attend()
	s.enc.Continue("idling")
	return errAnswered // and what has changed meanwhile is told behind this
}

// attend begins to listen for news, or ceases to, as IDLE and NOTIFY want it.
func (s *session) attend() {
	if s.idling != nil || s.notify != nil && (len(s.notify.groups) > 0 || s.notify.selected.Events != 0) {
		s.listen()
	} else {
		s.ignore()
	}
}

// listen begins to listen for news: of the account, and of those of others that
// the session looks at. It tells whether there may be some already.
func (s *session) listen() (fresh bool) {
	if s.deafen == nil {
		s.deafen = s.srv.Mail.Watch(s.peer.Account, s.conn.Call)
		fresh = true
	}
	return s.others.set(s.hosts(), func(a mail.AccountID) func() { return s.srv.Mail.Watch(a, s.conn.Call) }) || fresh
}

// ignore ceases to listen.
func (s *session) ignore() {
	if s.deafen != nil {
		s.deafen()
		s.deafen = nil
	}
	s.others.set(nil, nil)
}

// waitForNews tells a client what happens, until it says something: whoever commits
// calls the goroutine that waits for that.
func (s *session) waitForNews() error {
	s.conn.Until = time.Now().Add(idleTimeout)
	s.conn.Hears = true
	err := s.apart(s.to.tellMissed)
	for err == nil {
		if err = s.dec.Wait(); err == nil {
			break
		}
		switch {
		case errors.Is(err, serve.ErrCalled):
			err = s.apart(s.to.tellNews)
		case errors.Is(err, serve.ErrSilent) && time.Now().Before(s.conn.Until):
			err = s.apart(s.to.tellAlive)
		}
	}
	s.conn.Hears = false
	s.conn.Until = time.Time{}
	return err
}

// hears is rests for a session that listens.
func (s *session) hears() error {
	s.conn.Patience = keepAlive
	if err := s.flush(); err != nil {
		return err
	}
	return s.conn.Arm()
}

// tellMissed tells what the last command was not allowed to tell.
func (s *session) tellMissed(ctx context.Context) error {
	fresh := s.listen() // the client may have gone to another mailbox
	if fresh || s.box != nil && s.box.behind && s.rest() == tellAll && s.wants()&imap.MessageExpunge != 0 {
		return s.tellNews(ctx)
	}
	return s.hears()
}

// tellAlive tells a client that it is not forgotten.
func (s *session) tellAlive() error {
	s.enc.Status("*", imap.OK, "", "still here")
	return s.hears()
}

// rest is the rule while no command but IDLE is under way. RFC 5465 §6.1
func (s *session) rest() rule {
	if s.idling == nil && s.notify != nil && s.notify.selected.Filter == imap.FilterSelectedDelayed {
		return keepNumber
	}
	return tellAll
}

// tellNews tells a client that listens what has changed.
func (s *session) tellNews(ctx context.Context) error {
	var err error
	if s.box != nil {
		err = s.update(ctx, s.rest())
	}
	if err == nil {
		err = s.tellElsewhere(ctx)
	}
	if fatal(err) {
		return err
	}
	if err != nil {
		s.log.Error("tell changes", "error", err)
		return &ending{imap.CodeUnavailable, "local error, try again later"}
	}
	return s.hears()
}

// idleDone reads what ends IDLE, and answers.
func (s *session) idleDone(ctx context.Context) error {
	line, err := s.dec.Line(1000)
	if err != nil {
		return err
	}
	if !strings.EqualFold(string(line), "DONE") {
		err = bad("", "expected DONE")
	}
	c := *s.idling
	s.idling = nil
	s.attend()
	s.code, s.text = "", "IDLE completed"
	return s.complete(ctx, &c, tellAll, err)
}
