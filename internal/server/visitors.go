package server

import (
	"sync"

	"posthaste/internal/agent/auth"
	"posthaste/internal/agent/mx"
	"posthaste/internal/base/limit"
	"posthaste/internal/base/mail"
	"posthaste/internal/server/config"
)

// Visitors are what houses that follow one another know of those who come: who has failed
// to log in or has asked for people that nobody is, and how many are in. So nobody gains
// by a reload. The zero value knows nobody.
type Visitors struct {
	auth auth.Memory

	mu       sync.Mutex
	counts   *mx.Counts
	places   map[string]*limit.Inside[limit.Place]
	accounts map[string]*limit.Inside[mail.AccountID]
}

// counted gives what goes on counting clients, by another policy.
func (v *Visitors) counted(p mx.Policy) *mx.Counts {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.counts = mx.NewCounts(p, v.counts)
	return v.counts
}

// at gives who is in at a listener, by where they come from and by account.
func (v *Visitors) at(l config.Listener) (*limit.Inside[limit.Place], *limit.Inside[mail.AccountID]) {
	v.mu.Lock()
	defer v.mu.Unlock()
	name := l.Protocol + " " + l.Address
	if v.places[name] == nil {
		if v.places == nil {
			v.places, v.accounts = map[string]*limit.Inside[limit.Place]{}, map[string]*limit.Inside[mail.AccountID]{}
		}
		v.places[name], v.accounts[name] = new(limit.Inside[limit.Place]), new(limit.Inside[mail.AccountID])
	}
	return v.places[name], v.accounts[name]
}
