package mailbox

import (
	"container/list"
	"sync"
)

// An lru keeps values by recency, up to a number of bytes. The zero lru is
// empty.
type lru[K comparable, V any] struct {
	mu    sync.Mutex
	m     map[K]*list.Element // of kept[K, V]
	order list.List           // the last used in front
	bytes int
}

type kept[K comparable, V any] struct {
	key   K
	value V
	bytes int
}

func (c *lru[K, V]) get(k K) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.m[k]
	if e == nil {
		return v, false
	}
	c.order.MoveToFront(e)
	return e.Value.(kept[K, V]).value, true
}

// put keeps a value, in place of an older one.
func (c *lru[K, V]) put(k K, v V, bytes, limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.m[k]; old != nil {
		c.drop(old)
	}
	if c.m == nil {
		c.m = map[K]*list.Element{}
	}
	c.m[k] = c.order.PushFront(kept[K, V]{k, v, bytes})
	c.bytes += bytes
	for c.bytes > limit {
		c.drop(c.order.Back())
	}
}

func (c *lru[K, V]) drop(e *list.Element) {
	v := c.order.Remove(e).(kept[K, V])
	delete(c.m, v.key)
	c.bytes -= v.bytes
}

// room tells whether something of that size would push nothing out.
func (c *lru[K, V]) room(bytes, limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes+bytes <= limit
}
