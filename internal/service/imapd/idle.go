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

// idle is IDLE. One goroutine waits for the client to say something, while this
// one waits for that and for news, and tells them. RFC 9051 §6.3.13
func (s *session) idle(ctx context.Context, _ *imap.Command) error {
	news, stop := s.srv.Mail.Watch(s.peer.Account)
	defer stop()
	s.enc.Continue("idling")
	input := make(chan error, 1)
	started := false
	defer func() {
		if started { // it ends at once: nobody will answer
			s.conn.stop()
			<-input
		}
	}()
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for {
		if s.box != nil {
			if err := s.update(ctx, tellAll); fatal(err) {
				return err
			} else if err != nil {
				s.log.Error("tell changes", "command", "IDLE", "error", err)
				return &ending{imap.CodeUnavailable, "local error, try again later"}
			}
		}
		if err := s.enc.Flush(); err != nil {
			return &ending{"", "connection lost"}
		}
		s.enc.Release()
		if !started {
			started = true
			s.conn.patience = idleTimeout
			go func() { input <- s.dec.Wait() }()
		}
		select {
		case err := <-input:
			started = false
			if err != nil {
				return err
			}
			return s.idleDone()
		case <-news:
		case <-alive.C:
			s.enc.Status("*", imap.OK, "", "still here")
		}
	}
}

// idleDone reads what ends IDLE.
func (s *session) idleDone() error {
	s.conn.patience = commandTimeout
	line, err := s.dec.Line(1000)
	if err != nil {
		return err
	}
	if !strings.EqualFold(string(line), "DONE") {
		return bad("", "expected DONE")
	}
	return nil
}
