// Package blob keeps bytes that never change: the bodies of messages. An engine
// knows nothing of who refers to a blob; the owner tells it at a sweep.
package blob

import (
	"context"
	"errors"
	"io"

	"posthaste/internal/base/mail"
)

// Errors of the engines; they come wrapped.
var (
	// ErrNotFound: no blob has this id.
	ErrNotFound = errors.New("blob: not found")
	// ErrCorrupt: the bytes on the disk are not those that were put.
	ErrCorrupt = errors.New("blob: checksum does not match")
	// ErrClosed: the store is closed.
	ErrClosed = errors.New("blob: store is closed")
	// ErrReadOnly: the disk failed a sync; nothing can be put until a restart.
	ErrReadOnly = errors.New("blob: store is read-only after a disk error")
)

// A Store is an engine. Its methods may be called by many at a time.
type Store interface {
	// Put stores all that r gives. When it returns, the bytes are on stable
	// storage. If r fails, nothing is stored and its error is returned.
	Put(ctx context.Context, r io.Reader) (id mail.BlobID, size int64, err error)
	// Open opens a blob for reading.
	Open(ctx context.Context, id mail.BlobID) (Blob, error)
	// Sweep gives back the space of blobs that nobody wants. It asks keep
	// about blobs that are old enough not to be just on their way into a row,
	// and forgets those it says no to. If keep fails, the sweep ends there.
	// An engine may leave a blob lie until it is worth the work; then the blob
	// can still be opened, and a later sweep asks about it again.
	Sweep(ctx context.Context, keep func(mail.BlobID) (bool, error)) (Swept, error)
	Close() error
}

// Swept is what a sweep did.
type Swept struct {
	Blobs int64 // blobs forgotten
	Bytes int64 // bytes of disk given back
}

// A Blob is an open blob. Its reads check the stored checksums.
type Blob interface {
	io.ReaderAt
	io.Closer
	Size() int64
}
