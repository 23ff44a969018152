package local

import (
	"sync/atomic"

	"posthaste/internal/engine/kv"
)

// Commits counts commits by the classes of the locks under which they wrote. The zero
// Commits is ready.
type Commits struct{ n [256]atomic.Uint64 }

// Of gives the number of a class.
func (c *Commits) Of(class byte) uint64 { return c.n[class].Load() }

// Add counts a commit that wrote under locks. It must come when the commit's rows can be
// seen, and before Update returns: who took a number before it, and has not seen them,
// finds another one then.
func (c *Commits) Add(locks ...kv.Lock) {
	for _, l := range locks {
		c.n[l.Class].Add(1)
	}
}

// AddRange counts a commit that removed rows of all classes from first to last.
func (c *Commits) AddRange(first, last byte) {
	for i := int(first); i <= int(last); i++ {
		c.n[i].Add(1)
	}
}
