package memkv

import (
	"bytes"
	"hash/maphash"
	"iter"

	"posthaste/internal/engine/kv"
)

// A node is a row in a treap: a search tree by key, and a heap by rank, which
// is random and so keeps it balanced. Nodes never change, so a root is a
// snapshot of everything below it.
type node struct {
	left, right *node
	key, value  []byte
	rank        uint64
}

// with gives n with other children.
func (n *node) with(left, right *node) *node {
	if n.left == left && n.right == right {
		return n
	}
	return &node{left: left, right: right, key: n.key, value: n.value, rank: n.rank}
}

func (n *node) get(key []byte) (value []byte, ok bool) {
	for n != nil {
		switch c := bytes.Compare(key, n.key); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n.value, true
		}
	}
	return nil, false
}

// set gives n with the row x in it.
func (n *node) set(x *node) *node {
	if n == nil {
		return x
	}
	c := bytes.Compare(x.key, n.key)
	switch {
	case c == 0: // the rank hangs on the key and is the same
		return &node{left: n.left, right: n.right, key: n.key, value: x.value, rank: n.rank}
	case x.rank > n.rank:
		l, r := n.split(x.key)
		r = r.cutLow(x.key)
		return x.with(l, r)
	case c < 0:
		return n.with(n.left.set(x), n.right)
	default:
		return n.with(n.left, n.right.set(x))
	}
}

// split parts n into the keys below key and those from key on.
func (n *node) split(key []byte) (below, from *node) {
	if n == nil {
		return nil, nil
	}
	if bytes.Compare(n.key, key) < 0 {
		b, f := n.right.split(key)
		return n.with(n.left, b), f
	}
	b, f := n.left.split(key)
	return b, n.with(f, n.right)
}

// cutLow gives n, all of whose keys are at or above key, without key.
func (n *node) cutLow(key []byte) *node {
	if n == nil {
		return nil
	}
	if n.left != nil {
		return n.with(n.left.cutLow(key), n.right)
	}
	if bytes.Equal(n.key, key) {
		return n.right
	}
	return n
}

// join makes one tree of two; all keys of l are below those of r.
func join(l, r *node) *node {
	switch {
	case l == nil:
		return r
	case r == nil:
		return l
	case l.rank > r.rank:
		return l.with(l.left, join(l.right, r))
	default:
		return r.with(join(l, r.left), r.right)
	}
}

// remove gives n without key.
func (n *node) remove(key []byte) *node {
	if n == nil {
		return nil
	}
	switch c := bytes.Compare(key, n.key); {
	case c < 0:
		return n.with(n.left.remove(key), n.right)
	case c > 0:
		return n.with(n.left, n.right.remove(key))
	default:
		return join(n.left, n.right)
	}
}

// removeRange gives n without the keys from low to below high; a nil high is
// the end.
func (n *node) removeRange(low, high []byte) *node {
	below, rest := n.split(low)
	if high == nil {
		return below
	}
	if bytes.Compare(low, high) >= 0 {
		return n
	}
	_, above := rest.split(high)
	return join(below, above)
}

// scan goes over the rows of r.
func (n *node) scan(r kv.Range) iter.Seq2[kv.Pair, error] {
	return func(yield func(kv.Pair, error) bool) {
		left := r.Limit
		n.walk(r, func(x *node) bool {
			if !yield(kv.Pair{Key: x.key, Value: x.value}, nil) {
				return false
			}
			left--
			return left != 0
		})
	}
}

// walk visits the rows of r in order until visit says no, and then says no
// itself.
func (n *node) walk(r kv.Range, visit func(*node) bool) bool {
	if n == nil {
		return true
	}
	above := bytes.Compare(n.key, r.Low) >= 0
	below := r.High == nil || bytes.Compare(n.key, r.High) < 0
	first, second := n.left, n.right
	toFirst, toSecond := above, below
	if r.Reverse {
		first, second = second, first
		toFirst, toSecond = toSecond, toFirst
	}
	if toFirst && !first.walk(r, visit) {
		return false
	}
	if above && below && !visit(n) {
		return false
	}
	return !toSecond || second.walk(r, visit)
}

// rank gives a key its place in the heap.
func rank(seed maphash.Seed, key []byte) uint64 { return maphash.Bytes(seed, key) }
