// Package kv is the waist of the house: all state that is not a message body
// goes through this ordered, transactional key-value store.
//
// # Keys and locks
//
// The first nine bytes of a key name the Lock that guards it: a class byte and
// a number (see Lock.Prefix). An Update declares the locks it needs before it
// runs, holds them while it runs, and may write only under them. Rows of the
// class Free are guarded by nobody: they are written whole, under keys that no
// two writers choose, and an Update needs no lock for them.
//
// # Order and durability
//
// The order of commits under one lock is fixed while the lock is held; then the
// lock is released, and Update returns when the commit is on stable storage.
// What a View returns is on stable storage as well: a View that met rows of a
// commit still on its way to the disk waits for it before it returns. So
// nothing that a power cut can take back is ever shown to anybody.
package kv

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"time"
)

// Limits of what goes in, kept by Strict in all tests, so that any ordered
// transactional engine can take it.
const (
	MaxKey   = 10_000    // bytes of a key
	MaxValue = 90_000    // bytes of a value
	MaxTx    = 1_000_000 // bytes of keys and values that one Update writes
)

// Free is the class of rows that no lock guards.
const Free byte = '~'

// ErrClosed is returned by all methods of a Store after Close.
var ErrClosed = errors.New("kv: store is closed")

// ErrReadOnly is returned by Update after the disk failed a sync: what reached
// the disk is unknown from then on, and only a restart can tell.
var ErrReadOnly = errors.New("kv: store is read-only after a disk error")

// A Lock names what an Update may change: an account, a shard of the queue, the
// directory. Locks of one Update are taken in order of (Class, ID).
type Lock struct {
	Class byte
	ID    uint64
}

// PrefixLen is the length of Lock.Prefix.
const PrefixLen = 9

// Prefix gives the nine bytes that all keys under the lock begin with, with
// room for more behind them.
func (l Lock) Prefix() []byte {
	return l.AppendPrefix(make([]byte, 0, 32))
}

// AppendPrefix appends the nine bytes that all keys under the lock begin with.
func (l Lock) AppendPrefix(b []byte) []byte {
	return binary.BigEndian.AppendUint64(append(b, l.Class), l.ID)
}

// LockOf gives the lock that guards key; false if the key is too short to have
// one.
func LockOf(key []byte) (Lock, bool) {
	if len(key) < PrefixLen {
		return Lock{}, false
	}
	return Lock{Class: key[0], ID: binary.BigEndian.Uint64(key[1:])}, true
}

// A Plan is what an Update declares before it runs: the locks it needs, in any
// order, and keys that it will surely read, so that a remote engine can fetch
// them in the round trip that takes the locks.
type Plan struct {
	Locks []Lock
	Reads [][]byte
}

// A Range is a part of the key space: Low <= key < High. A nil High is the end
// of all keys. Reverse starts at the high end. A Limit above zero ends the scan
// after as many rows.
type Range struct {
	Low, High []byte
	Reverse   bool
	Limit     int
}

// Prefix gives the range of all keys that begin with p.
func Prefix(p []byte) Range {
	return Range{Low: p, High: Next(p)}
}

// Next gives the lowest key that is above all keys which begin with p; nil if
// there is none.
func Next(p []byte) []byte {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] != 0xff {
			n := append([]byte(nil), p[:i+1]...)
			n[i]++
			return n
		}
	}
	return nil
}

// A Pair is a row. Its bytes are valid until the next step of the scan; who
// keeps them makes a copy.
type Pair struct{ Key, Value []byte }

// A Store is an engine. Its methods may be called by many at a time.
type Store interface {
	// View runs fn over one consistent snapshot, and returns when all that fn
	// has read is on stable storage. fn must not keep the Reader.
	View(ctx context.Context, fn func(Reader) error) error
	// Update runs fn alone under the plan's locks and commits what it did, all
	// or nothing; when it returns nil, that is on stable storage. If fn returns
	// an error, nothing is written and Update returns that error. It may run fn
	// more than once, so fn must do nothing but read and write tx, and reset
	// what it fills outside. An error of Update that does not come from fn
	// leaves open whether the commit took place.
	Update(ctx context.Context, p Plan, fn func(Tx) error) error
	// Listen has wake called for the wake-ups of a topic until the returned function
	// is called. They are hints: one may be lost or come for nothing. Those who commit
	// wait while wake runs, so it does no more than to tell somebody; above all it
	// neither uses the Store nor ends the listening.
	Listen(topic uint64, wake func()) (end func())
	// Commits gives a number for the rows whose locks are of a class. It is another one
	// by the time that an Update which has changed some of them returns. So what a View
	// has found of them that began after the number was given is still true as long as
	// it stays the same.
	Commits(class byte) uint64
	Close() error
}

// Subscribe is Listen by a channel, which is never closed. Several wake-ups may be heard
// as one.
func Subscribe(s Store, topic uint64) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	return c, s.Listen(topic, func() {
		select {
		case c <- struct{}{}:
		default: // it is known that there is something
		}
	})
}

// A Reader reads one snapshot.
type Reader interface {
	// Get gives the value of key, nil if there is none (an empty value is not
	// nil). The bytes are the caller's.
	Get(key []byte) ([]byte, error)
	// GetMany gives the values of keys, in their order, nil where there is
	// none. It is fastest with keys in ascending order.
	GetMany(keys ...[]byte) ([][]byte, error)
	// Scan goes over the rows of r in order. After an error it ends.
	Scan(r Range) iter.Seq2[Pair, error]
}

// A Tx reads and writes; it sees its own writes. Set keeps neither key nor
// value after it returns.
type Tx interface {
	Reader
	Set(key, value []byte)
	Delete(key []byte)
	DeleteRange(low, high []byte)
	// Wake wakes the topic's subscribers after the commit.
	Wake(topic uint64)
	// Now is the store's clock: one for all nodes.
	Now() time.Time
}
