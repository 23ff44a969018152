package local

import "sync"

// Topics hands wake-ups to those who subscribed. The zero Topics is ready.
type Topics struct {
	mu   sync.RWMutex
	subs map[uint64]map[chan struct{}]struct{}
}

// Subscribe hears wake-ups for topic until the returned function is called,
// which may be called more than once.
func (t *Topics) Subscribe(topic uint64) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.subs == nil {
		t.subs = make(map[uint64]map[chan struct{}]struct{})
	}
	if t.subs[topic] == nil {
		t.subs[topic] = make(map[chan struct{}]struct{})
	}
	t.subs[topic][c] = struct{}{}
	return c, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.subs[topic], c)
		if len(t.subs[topic]) == 0 {
			delete(t.subs, topic)
		}
	}
}

// Wake wakes the subscribers of topics; it never blocks. A subscriber that has
// not yet heard the former wake-up hears both as one.
func (t *Topics) Wake(topics ...uint64) {
	if len(topics) == 0 {
		return
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, topic := range topics {
		for c := range t.subs[topic] {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}
}
