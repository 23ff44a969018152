package sieved

import (
	"context"
	"math"
	"strings"

	"posthaste/internal/agent/owner"
	"posthaste/internal/proto/managesieve"
	"posthaste/internal/proto/sieve"
	"posthaste/internal/store/script"
)

// haveSpace is HAVESPACE. RFC 5804 §2.5
func (s *session) haveSpace(ctx context.Context, c managesieve.Command) error {
	if err := script.CheckName(c.Name); err != nil {
		return no("", err.Error())
	}
	if err := s.srv.Owner.Store.Room(ctx, s.peer.Account, c.Name, int(min(c.Size, math.MaxInt32))); err != nil {
		return err
	}
	return s.ok("")
}

// putScript is PUTSCRIPT: a script that cannot be run is not stored. RFC 5804 §2.6
func (s *session) putScript(ctx context.Context, c managesieve.Command) error {
	if len(c.Script) > sieve.MaxScript {
		return script.ErrTooLarge
	}
	warnings, err := s.srv.Owner.SaveScript(ctx, s.peer.Account, owner.Script{Name: c.Name, Text: string(c.Script)})
	if err != nil {
		return err
	}
	return s.fine(warnings)
}

// checkScript is CHECKSCRIPT: PUTSCRIPT that stores nothing. RFC 5804 §2.12
func (s *session) checkScript(_ context.Context, c managesieve.Command) error {
	if len(c.Script) > sieve.MaxScript {
		return script.ErrTooLarge
	}
	warnings, err := owner.CheckScript(string(c.Script))
	if err != nil {
		return err
	}
	return s.fine(warnings)
}

// fine says that a script can be run.
func (s *session) fine(warnings []string) error {
	if len(warnings) == 0 {
		return s.ok("")
	}
	return s.say(managesieve.AppendWarnings(s.out, strings.Join(warnings, "\r\n")))
}

// listScripts is LISTSCRIPTS. RFC 5804 §2.7
func (s *session) listScripts(ctx context.Context, _ managesieve.Command) error {
	list, err := s.srv.Owner.Store.List(ctx, s.peer.Account)
	if err != nil {
		return err
	}
	for _, x := range list {
		s.out = managesieve.AppendListed(s.out, x.Name, x.Active)
	}
	return s.ok("")
}

// setActive is SETACTIVE; without a name no script is active then. One that cannot be run,
// as it came in another way or by an older version, is told of here and not when mail
// comes. RFC 5804 §2.8
func (s *session) setActive(ctx context.Context, c managesieve.Command) error {
	if c.Name != "" {
		text, err := s.srv.Owner.Store.Get(ctx, s.peer.Account, c.Name)
		if err != nil {
			return err
		}
		if _, err := owner.CheckScript(string(text)); err != nil {
			return err
		}
	}
	if err := s.srv.Owner.ActivateScript(ctx, s.peer.Account, c.Name); err != nil {
		return err
	}
	return s.ok("")
}

// getScript is GETSCRIPT. RFC 5804 §2.9
func (s *session) getScript(ctx context.Context, c managesieve.Command) error {
	text, err := s.srv.Owner.Store.Get(ctx, s.peer.Account, c.Name)
	if err != nil {
		return err
	}
	s.out = managesieve.AppendScript(s.out, text)
	return s.ok("")
}

// deleteScript is DELETESCRIPT. RFC 5804 §2.10
func (s *session) deleteScript(ctx context.Context, c managesieve.Command) error {
	if err := s.srv.Owner.Store.Delete(ctx, s.peer.Account, c.Name); err != nil {
		return err
	}
	return s.ok("")
}

// renameScript is RENAMESCRIPT. RFC 5804 §2.11
func (s *session) renameScript(ctx context.Context, c managesieve.Command) error {
	if err := s.srv.Owner.RenameScript(ctx, s.peer.Account, c.Name, c.NewName); err != nil {
		return err
	}
	return s.ok("")
}
