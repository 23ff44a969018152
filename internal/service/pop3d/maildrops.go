package pop3d

import (
	"context"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/maildrop"
)

// Maildrops says which accounts have a session. All servers of a process share
// one, so that a maildrop is locked however the client came. RFC 1939 §4. The
// zero Maildrops is ready for use.
type Maildrops struct {
	mu   sync.Mutex
	held map[mail.AccountID]chan struct{} // closed when the session ends
	last map[visitor]time.Time            // the last logins, while they matter
}

// A visitor is one device of an account.
type visitor struct {
	account mail.AccountID
	device  maildrop.Device
}

// maxVisitors is how many logins are remembered.
const maxVisitors = 100_000

// mayCome tells whether a device has waited long enough since its last login.
func (m *Maildrops) mayCome(a mail.AccountID, d maildrop.Device, delay time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	last, ok := m.last[visitor{a, d}]
	return !ok || time.Since(last) >= delay
}

// came remembers a login for as long as it matters.
func (m *Maildrops) came(a mail.AccountID, d maildrop.Device, delay time.Duration) {
	if delay == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.last) >= maxVisitors {
		for v, at := range m.last {
			if time.Since(at) >= delay {
				delete(m.last, v)
			}
		}
	}
	if m.last == nil || len(m.last) >= maxVisitors {
		m.last = map[visitor]time.Time{}
	}
	m.last[visitor{a, d}] = time.Now()
}

// patience is how long a login waits for another session to end: a client that
// hangs up and calls again at once may be quicker than we are.
const patience = 2 * time.Second

// enter takes an account's maildrop; mail.ErrInUse if somebody has it, and does
// not go.
func (m *Maildrops) enter(ctx context.Context, a mail.AccountID) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		gone := m.try(a)
		if gone == nil {
			return nil
		}
		select {
		case <-gone:
		case <-late.C:
			return mail.ErrInUse
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// try takes the maildrop if it is free; else it gives what tells when to try
// again.
func (m *Maildrops) try(a mail.AccountID) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if gone := m.held[a]; gone != nil {
		return gone
	}
	if m.held == nil {
		m.held = map[mail.AccountID]chan struct{}{}
	}
	m.held[a] = make(chan struct{})
	return nil
}

// leave gives the maildrop back.
func (m *Maildrops) leave(a mail.AccountID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.held[a])
	delete(m.held, a)
}
