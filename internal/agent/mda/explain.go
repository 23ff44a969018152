package mda

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/directory"
)

// maxExplained is how many addresses an explanation follows.
const maxExplained = 100

// Explain tells in sentences where mail to an address goes, and why. Each step
// that follows from one before it is moved in. It also tells whether somebody gets it.
func (a *Agent) Explain(ctx context.Context, to mail.Address) (lines []string, taken bool, err error) {
	e := explainer{a: a, seen: map[mail.Address]bool{}}
	if err := e.follow(ctx, to, 0); err != nil {
		return nil, false, fmt.Errorf("mda: explain %s: %w", to, err)
	}
	if !e.taken && len(e.lines) > 1 {
		e.say(0, "So nobody gets it: mail to %s is refused.", to.Unicode())
	}
	return e.lines, e.taken, nil
}

type explainer struct {
	a     *Agent
	lines []string
	seen  map[mail.Address]bool // aliases and accounts
	named int                   // so deep an account is still the one that was named
	more  bool                  // than is told of
	taken bool                  // somebody gets it
}

func (e *explainer) say(depth int, format string, args ...any) {
	e.lines = append(e.lines, strings.Repeat("  ", depth)+fmt.Sprintf(format, args...))
}

func (e *explainer) follow(ctx context.Context, to mail.Address, depth int) error {
	if len(e.lines) >= maxExplained {
		if !e.more {
			e.more = true
			e.taken = true // or that is not known
			e.say(0, "And so on: there are more addresses than can be told.")
		}
		return nil
	}
	t, err := e.a.resolve(ctx, to)
	switch {
	case errors.Is(err, errForeign) && depth == 0:
		e.say(depth, "%s is not served here: we take mail for it only from people who have logged in, and pass it on.", to.Domain.Unicode())
		return nil
	case errors.Is(err, errForeign):
		e.say(depth, "%s is elsewhere: the mail is sent on to the server of %s.", to.Unicode(), to.Domain.Unicode())
		e.taken = true
		return nil
	case errors.Is(err, mail.ErrNotFound):
		e.say(depth, "There is nobody called %s here: mail to it is refused.", to.Unicode())
		return nil
	case err != nil:
		return err
	}
	if err := e.found(ctx, to, t, depth); err != nil {
		return err
	}
	name := directory.Canonical(t.Found)
	if t.Alias != nil {
		name = directory.Canonical(t.Alias.Address)
	}
	if e.seen[name] && (t.Alias != nil || t.Forward != nil) {
		e.say(depth, "This has been told already; nobody gets the mail twice.")
		return nil
	}
	e.seen[name] = true
	if t.Alias != nil {
		if t.Alias.Of != 0 && depth == e.named {
			e.named++
		}
		return e.targets(ctx, t.Alias.Targets, depth)
	}
	return e.account(ctx, t, depth)
}

// found tells how the address led to its entry.
func (e *explainer) found(ctx context.Context, to mail.Address, t directory.Target, depth int) error {
	if t.Found.IsZero() {
		e.say(depth, "%s is always taken, for whoever is in charge: nobody has been named for it.", to.Unicode())
		return nil
	}
	if t.Found.Domain != to.Domain {
		e.say(depth, "%s is another name of %s.", to.Domain.Unicode(), t.Found.Domain.Unicode())
	}
	d, err := e.a.Directory.Domain(ctx, t.Found.Domain)
	if err != nil {
		return err
	}
	switch {
	case t.Found.Local == "":
		e.say(depth, "Nobody is called %s: it goes where all such mail of %s goes.", to.Unicode(), t.Found.Domain.Unicode())
	case t.Detail != "" || len(t.Found.Local) < len(to.Local):
		e.say(depth, "%s is %s with the detail %q, which one of %q divides off.", to.Unicode(), t.Found.Unicode(), t.Detail, d.Separators)
	}
	if t.Alias == nil {
		return nil
	}
	what := "the one address behind it"
	if n := len(t.Alias.Targets); n > 1 {
		what = fmt.Sprintf("the %d addresses behind it", n)
	}
	switch {
	case t.Alias.Of != 0:
		e.say(depth, "%s was the address of an account that has another one now.", t.Found.Unicode())
	case t.Found.Local != "":
		e.say(depth, "%s is an alias: its mail goes to %s.", t.Found.Unicode(), what)
	}
	return nil
}

func (e *explainer) targets(ctx context.Context, list []mail.Address, depth int) error {
	if depth >= maxAliasDepth {
		e.say(depth, "Here it ends: more than %d aliases in a row are not followed.", maxAliasDepth)
		return nil
	}
	for _, to := range list {
		if err := e.follow(ctx, to, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (e *explainer) account(ctx context.Context, t directory.Target, depth int) error {
	acct, err := e.a.Directory.Account(ctx, t.Account)
	if err != nil {
		return err
	}
	if acct.Shared {
		e.taken = true
		e.say(depth, "It is put into the shared folder %s.", acct.Address.Unicode())
		if err := e.a.mayPost(ctx, 0, acct.ID); errors.Is(err, errPost) && depth <= e.named {
			e.say(depth, "Mail from outside is refused: not anyone may send to the folder.")
		} else if err != nil && !errors.Is(err, errPost) {
			return err
		}
		return nil
	}
	e.taken = true // what cannot be sent on is kept
	if t.Forward == nil {
		e.say(depth, "It is put into the mailbox of %s.", acct.Address.Unicode())
		return nil
	}
	if t.Forward.Keep {
		e.say(depth, "It is put into the mailbox of %s, who also has it sent on; junk is not.", acct.Address.Unicode())
	} else {
		e.say(depth, "%s has it sent on, and keeps only junk and what cannot be sent on.", acct.Address.Unicode())
	}
	return e.targets(ctx, t.Forward.To, depth)
}
