package backup

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// A Depot is where a repository lies: a folder, or a bucket of S3. Names have
// slashes in them, and are ours.
type Depot interface {
	// String is how people name it.
	String() string
	// Put writes a file, whole or not at all; when it returns, the file is safe.
	Put(ctx context.Context, name string, b []byte) error
	// Get reads a file that has at most max bytes; fs.ErrNotExist if there is none.
	Get(ctx context.Context, name string, max int64) ([]byte, error)
	// List gives all files whose names begin with prefix, which is "" or ends with
	// a slash, and ends with the first error of each.
	List(ctx context.Context, prefix string, each func(Item) error) error
	// Delete removes a file; that there is none is no error.
	Delete(ctx context.Context, name string) error
	// Hold keeps others from writing until release is called; ErrBusy if somebody
	// else does. The context that it gives ends when it can no longer.
	Hold(ctx context.Context) (held context.Context, release func() error, err error)
	// Reading lets Readers know that somebody reads a generation, until release is
	// called. Where that cannot be noted because nothing may be written, it does
	// nothing.
	Reading(ctx context.Context, generation string) (release func() error, err error)
	// Readers gives those of the generations that somebody reads.
	Readers(ctx context.Context, generations []string) ([]string, error)
}

// An Item is a file in a Depot.
type Item struct {
	Name string
	Size int64
	Time time.Time // it was written
}

// ErrBusy says that somebody else writes to the repository, or prunes it: what one
// has just written and not yet named in a generation, the other would let go.
var ErrBusy = errors.New("backup: another backup or prune is at work there; try again when it is done")

// errTooLarge says that a file is larger than anything of ours.
var errTooLarge = fmt.Errorf("%w: it is too large", ErrDamaged)

const scheme = "s3://"

// IsBucket says that where names a bucket and not a folder.
func IsBucket(where string) bool { return strings.HasPrefix(where, scheme) }

// CheckPlace says what is wrong with where, which is a folder that is named whole or
// "s3://bucket/prefix".
func CheckPlace(where string) error {
	if IsBucket(where) {
		_, _, err := splitBucket(where)
		return err
	}
	if !filepath.IsAbs(where) {
		return fmt.Errorf("a backup goes to a folder that is named whole, or to s3://bucket/prefix, not to %q", where)
	}
	return nil
}

// OpenDepot gives the depot at where: a folder, or "s3://bucket/prefix". It asks
// nothing of it yet.
func OpenDepot(where string, o S3) (Depot, error) {
	if IsBucket(where) {
		return openBucket(where, o)
	}
	return Folder(where), nil
}
