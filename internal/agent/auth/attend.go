package auth

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// How a proof begins, and what follows.
const (
	byPassword = "p" // when the password was set
	byApp      = "a" // the device says which
	byKey      = "k" // of a certificate
	byToken    = "t"
)

const (
	// lookAgain is how often sessions are looked at though nobody said so: hints may
	// be lost.
	lookAgain = 10 * time.Minute
	// lookPause is how long the next look waits after one, whatever is said meanwhile.
	lookPause = time.Second
)

// attended are the sessions of those who have logged in.
type attended struct {
	mu       sync.Mutex
	sessions map[*attendance]struct{}
}

// An attendance is a session: whose, and what ends it.
type attendance struct {
	id  sasl.Identity
	end func()
}

// Attend looks after a session of somebody who has just logged in: when what they
// have shown opens the account no more, because it was changed or taken away, or the
// account was disabled or removed, end is called, once, perhaps at once. It must not
// block. leave must be called when the session ends. Run must run.
func (a *Agent) Attend(ctx context.Context, id sasl.Identity, end func()) (leave func()) {
	s := &attendance{id, end}
	a.attended.mu.Lock()
	if a.attended.sessions == nil {
		a.attended.sessions = map[*attendance]struct{}{}
	}
	a.attended.sessions[s] = struct{}{}
	a.attended.mu.Unlock()
	a.look(ctx, s) // it may have gone between the login and now
	return func() { a.forget(s) }
}

// forget tells whether the session was still attended.
func (a *Agent) forget(s *attendance) bool {
	a.attended.mu.Lock()
	defer a.attended.mu.Unlock()
	_, there := a.attended.sessions[s]
	delete(a.attended.sessions, s)
	return there
}

// Run ends sessions of those who are let in no more, until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	said, stop := a.Directory.Watch()
	defer stop()
	t := time.NewTicker(lookAgain)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-said:
		case <-t.C:
		}
		a.attended.mu.Lock()
		list := make([]*attendance, 0, len(a.attended.sessions))
		for s := range a.attended.sessions {
			list = append(list, s)
		}
		a.attended.mu.Unlock()
		for _, s := range list {
			a.look(ctx, s)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookPause):
		}
	}
}

// look ends a session if it must not go on. If that cannot be known it goes on, and
// is looked at again.
func (a *Agent) look(ctx context.Context, s *attendance) {
	if good, err := a.holds(ctx, s.id); err == nil && !good && a.forget(s) {
		s.end()
	}
}

// holds tells whether what somebody has shown still opens the account.
func (a *Agent) holds(ctx context.Context, id sasl.Identity) (bool, error) {
	acct, c, err := a.Directory.Credentials(ctx, id.Login)
	switch {
	case errors.Is(err, mail.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case acct.ID != id.Account || acct.Disabled:
		return false, nil
	case id.Proof == byApp:
		return slices.ContainsFunc(c.Apps, func(p directory.AppPassword) bool { return uint32(p.Device) == id.Device }), nil
	case id.Proof == byToken:
		return true, nil
	case len(id.Proof) > 1 && id.Proof[:1] == byKey:
		owner, _, err := a.Directory.ByKey(ctx, []byte(id.Proof[1:]))
		if errors.Is(err, mail.ErrNotFound) {
			return false, nil
		}
		return owner.ID == id.Account, err
	}
	return id.Proof == byPassword+strconv.FormatInt(c.Changed.UnixNano(), 10), nil
}
