package local

import (
	"slices"
	"sync"
)

// Topics hands wake-ups to those who listen. The zero Topics is ready.
type Topics struct {
	mu        sync.RWMutex
	listeners map[uint64][]*listener
}

// A listener is somebody who listens to a topic: each is another one, though two may want
// the same done.
type listener struct{ wake func() }

// Listen has wake called for a topic until the returned function is called, which
// may be called more than once; wake itself must not call it.
func (t *Topics) Listen(topic uint64, wake func()) (end func()) {
	l := &listener{wake}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listeners == nil {
		t.listeners = make(map[uint64][]*listener)
	}
	t.listeners[topic] = append(t.listeners[topic], l)
	return func() { t.remove(topic, l) }
}

func (t *Topics) remove(topic uint64, l *listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := slices.DeleteFunc(t.listeners[topic], func(other *listener) bool { return other == l })
	if len(list) == 0 {
		delete(t.listeners, topic)
	} else {
		t.listeners[topic] = list
	}
}

// Wake wakes the listeners of topics.
func (t *Topics) Wake(topics ...uint64) {
	if len(topics) == 0 {
		return
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, topic := range topics {
		for _, l := range t.listeners[topic] {
			l.wake()
		}
	}
}
