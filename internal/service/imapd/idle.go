package imapd

import (
	"context"
	"strings"
	"time"

	"posthaste/internal/proto/imap"
)

// keepAlive is how often an idling client hears that we are still there: some
// networks forget a connection that is silent for longer.
const keepAlive = 5 * time.Minute

// idling is an IDLE that is under way.
type idling struct {
	command imap.Command
	news    <-chan struct{}
	stop    func()
}

// idle is IDLE: it begins here, waits in waitIdling and ends in idleDone.
// RFC 9051 §6.3.13
func (s *session) idle(ctx context.Context, c *imap.Command) error {
	news, stop := s.srv.Mail.Watch(s.peer.Account)
	s.idling = &idling{command: *c, news: news, stop: stop}
	s.enc.Continue("idling")
	return errAnswered // and what has changed meanwhile is told behind this
}

// waitIdling tells an idling client what happens, until it says something. One
// goroutine waits for that, while this one waits for it and for news.
func (s *session) waitIdling(ctx context.Context) error {
	input := make(chan error, 1)
	go func() { input <- s.dec.Wait() }()
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for {
		var err error
		select {
		case err = <-input:
			return err
		case <-s.idling.news:
			err = s.apart(func() error { return s.tellNews(ctx) })
		case <-alive.C:
			s.enc.Status("*", imap.OK, "", "still here")
			err = s.flush()
		}
		if err != nil {
			s.conn.stop() // what waits for input ends at once
			<-input
			return err
		}
	}
}

// tellNews tells an idling client what has changed.
func (s *session) tellNews(ctx context.Context) error {
	if s.box != nil {
		if err := s.update(ctx, tellAll); fatal(err) {
			return err
		} else if err != nil {
			s.log.Error("tell changes", "command", "IDLE", "error", err)
			return &ending{imap.CodeUnavailable, "local error, try again later"}
		}
	}
	return s.flush()
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
	c := s.idling.command
	s.idling.stop()
	s.idling = nil
	s.code, s.text = "", "IDLE completed"
	return s.complete(ctx, &c, tellAll, err)
}
