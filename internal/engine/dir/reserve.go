package dir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	reserveName  = "RESERVE"
	reserveMax   = 64 << 20
	reservePart  = 20 // of the disk, at most one in so many bytes
	reserveEvery = 250 * time.Millisecond
)

// A Reserve is room on the disk of a store that is kept for what makes things better
// when there is no more: to delete mail, to change flags, to settle what waits in the
// queue. It is a file, RESERVE, so that no other program can take it. When the disk is
// full it is removed, and made again when there is twice its room. Until then Full
// says so, and who has something new to store is to put it off, or the reserve would
// be gone in a moment.
type Reserve struct {
	log  *slog.Logger
	path string
	room func() (free, all int64, err error)
	full atomic.Bool
}

// Reserve gives the reserve of the folder. It does nothing before Run.
func (d *Dir) Reserve(log *slog.Logger) *Reserve {
	return &Reserve{log: log, path: d.Path(reserveName), room: func() (int64, int64, error) {
		u, err := vfs.Default.GetDiskUsage(d.path)
		return int64(u.AvailBytes), int64(u.TotalBytes), err
	}}
}

// Full says that there is no room for anything new. It may be called by many at a
// time.
func (r *Reserve) Full() bool { return r.full.Load() }

// Room gives how many bytes of the disk are free for us, and how many it has.
func (r *Reserve) Room() (free, all int64, err error) { return r.room() }

// Release gives the room up if the disk is full, before the store is opened: that takes
// room, too.
func (r *Reserve) Release() error {
	free, all, err := r.room()
	if err != nil || free >= sizeOf(all)/8 {
		return err
	}
	if err := os.Remove(r.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	r.say(true, free)
	return nil
}

// sizeOf gives how large the reserve is on a disk of so many bytes.
func sizeOf(disk int64) int64 { return min(reserveMax, disk/reservePart) }

// Run watches the disk until ctx ends.
func (r *Reserve) Run(ctx context.Context) {
	t := time.NewTicker(reserveEvery)
	defer t.Stop()
	said := ""
	for {
		err := r.step()
		if err == nil {
			said = ""
		} else if err.Error() != said { // once, not four times a second
			said = err.Error()
			r.log.Error("the reserve for a full disk", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// step looks how much room there is, and does what has to be done.
func (r *Reserve) step() error {
	free, all, err := r.room()
	if err != nil {
		return err
	}
	size := sizeOf(all)
	_, err = os.Stat(r.path)
	held := err == nil
	switch {
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	case held && free >= size/8:
		r.say(false, free)
	case held:
		r.say(true, free) // before there is room that others would take
		return os.Remove(r.path)
	case free >= 2*size:
		if err := r.make(size); err != nil {
			return err
		}
		r.say(false, free)
	case free < size:
		r.say(true, free)
	case free >= size+size/2:
		r.say(false, free)
	}
	return nil
}

func (r *Reserve) say(full bool, free int64) {
	if r.full.Swap(full) == full {
		return
	}
	if full {
		r.log.Error("the disk is full: what is new is put off, so that mail can still be deleted and the queue settled; make room", "free", free)
	} else {
		r.log.Info("there is room on the disk again", "free", free)
	}
}

// make writes the file, with what no file system can make smaller.
func (r *Reserve) make(size int64) error {
	tmp := r.path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	noise := rand.NewChaCha8([32]byte{})
	b := make([]byte, 1<<20)
	for left := size; left > 0 && err == nil; left -= int64(len(b)) {
		b = b[:min(left, int64(len(b)))]
		noise.Read(b) // it cannot fail
		_, err = f.Write(b)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, r.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("make %s: %w", r.path, err), os.Remove(tmp))
	}
	return nil
}
