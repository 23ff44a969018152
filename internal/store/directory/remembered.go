package directory

import (
	"sync"

	"posthaste/internal/base/mail"
)

// maxRemembered is how many addresses, and how many accounts, are remembered at a time.
const maxRemembered = 10_000

// remembered is what was found in the directory, for who asks again: every message asks twice
// for each of its recipients, and hardly ever has anything changed. It is true as long as
// the engine's number of commits stays what it was before it was read.
type remembered struct {
	mu       sync.RWMutex
	commits  uint64
	targets  map[mail.Address]Target
	accounts map[mail.AccountID]Account
}

// target gives what an address leads to, if that is remembered; the number is that which the
// engine gives now. Alias, Forward and Former are shared: nobody may change them.
func (m *remembered) target(commits uint64, a mail.Address) (Target, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.commits != commits {
		return Target{}, false
	}
	t, ok := m.targets[a]
	return t, ok
}

// account is target for an account.
func (m *remembered) account(commits uint64, id mail.AccountID) (Account, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.commits != commits {
		return Account{}, false
	}
	a, ok := m.accounts[id]
	return a, ok
}

// keep remembers what was read after the engine had given the number.
func (m *remembered) keep(commits uint64, fn func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.commits != commits || m.targets == nil || len(m.targets) >= maxRemembered || len(m.accounts) >= maxRemembered {
		m.commits, m.targets, m.accounts = commits, map[mail.Address]Target{}, map[mail.AccountID]Account{}
	}
	fn()
}
