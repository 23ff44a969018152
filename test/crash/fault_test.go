package crash

import (
	"errors"
	"flag"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
	"posthaste/internal/engine/kv"
)

var faults = flag.Int("faults", 7*scale, "how many faults of each kind the store in memory goes through")

// A faultyFS fails operations that change the disk, from the nth on for a while.
type faultyFS struct {
	vfs.FS
	ops   atomic.Int64
	at    atomic.Int64 // the first that fails; 0: none
	until atomic.Int64 // the first that does not
	fault error
	hit   atomic.Bool
}

func (f *faultyFS) ask() error {
	n := f.ops.Add(1)
	if at := f.at.Load(); at == 0 || n < at || n >= f.until.Load() {
		return nil
	}
	f.hit.Store(true)
	return f.fault
}

func (f *faultyFS) wrap(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &faultyFile{file, f}, nil
}

func (f *faultyFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.ask(); err != nil {
		return nil, err
	}
	return f.wrap(f.FS.Create(name, c))
}

func (f *faultyFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	if err := f.ask(); err != nil {
		return nil, err
	}
	return f.wrap(f.FS.OpenReadWrite(name, c, o...))
}

func (f *faultyFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.ask(); err != nil {
		return nil, err
	}
	return f.wrap(f.FS.ReuseForWrite(from, to, c))
}

func (f *faultyFS) OpenDir(name string) (vfs.File, error) { return f.wrap(f.FS.OpenDir(name)) }

func (f *faultyFS) Link(from, to string) error {
	if err := f.ask(); err != nil {
		return err
	}
	return f.FS.Link(from, to)
}

func (f *faultyFS) Rename(from, to string) error {
	if err := f.ask(); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

func (f *faultyFS) Unwrap() vfs.FS { return f.FS }

type faultyFile struct {
	vfs.File
	fs *faultyFS
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if err := f.fs.ask(); err != nil {
		n, werr := f.File.Write(p[:len(p)/2]) // it was half done
		return n, errors.Join(err, werr)
	}
	return f.File.Write(p)
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.ask(); err != nil {
		n, werr := f.File.WriteAt(p[:len(p)/2], off)
		return n, errors.Join(err, werr)
	}
	return f.File.WriteAt(p, off)
}

func (f *faultyFile) Sync() error {
	if err := f.fs.ask(); err != nil && !noSpace(err) {
		return err
	}
	return f.File.Sync()
}

func (f *faultyFile) SyncData() error {
	if err := f.fs.ask(); err != nil && !noSpace(err) {
		return err
	}
	return f.File.SyncData()
}

func (f *faultyFile) SyncTo(n int64) (bool, error) {
	if err := f.fs.ask(); err != nil && !noSpace(err) {
		return false, err
	}
	return f.File.SyncTo(n)
}

// noSpace is met when something is written, not when it is synced.
func noSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) }

// TestFullDisk runs out of room at any operation, for a few operations or for a
// while. Whoever hears OK meanwhile is not lied to, all others hear that there
// is no room, and all goes on by itself when there is.
func TestFullDisk(t *testing.T) { testFaults(t, syscall.ENOSPC) }

// TestFailingDisk fails at any operation, once or for good. Then nothing more is
// taken, and what was acknowledged is there after the restart, whether or not
// the power went too.
func TestFailingDisk(t *testing.T) { testFaults(t, syscall.EIO) }

func testFaults(t *testing.T, fault error) {
	r := rand.New(rand.NewPCG(newSeed(t), 4))
	hit := 0
	for n := range *faults {
		mem := vfs.NewCrashableMem()
		fs := &faultyFS{FS: mem, fault: fault}
		l := newLedger()
		v := begin(t, fs, l, 0)
		v.people()
		w := v.load(r)
		first := fs.ops.Load() + 1 + r.Int64N(1500)
		long := []int64{1, 1, 5, 1 << 40}[r.IntN(4)]
		fs.until.Store(first + long)
		fs.at.Store(first)
		for wait := 0; !fs.hit.Load() && wait < 2000; wait++ {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
		if fs.hit.Load() {
			hit++
		}
		if noSpace(fault) {
			v.comesBack(r, fs)
		}
		v.refusesIfFailed(r)
		l.end()
		cut := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(r.Uint64(), 5))})
		for _, err := range w.stop() {
			if !errors.Is(err, fault) && !errors.Is(err, kv.ErrReadOnly) && !errors.Is(err, blob.ErrReadOnly) {
				l.say("an error hides its reason: %v", err)
			}
			if noSpace(fault) && !errors.Is(err, mail.ErrFull) && v.failed() == nil {
				l.say("an error does not say that the disk is full: %v", err)
			}
		}
		v.close()
		l.cut.Store(false)
		v = begin(t, cut, l, 1)
		v.verify()
		v.close()
		if len(l.wrong) > 0 {
			t.Fatalf("fault %d, at operation %d, %d long:\n%s", n, first, long, lines(l.wrong))
		}
	}
	if hit < *faults/2 {
		t.Errorf("only %d of %d faults were met", hit, *faults)
	}
}

func (v *life) failed() error { return errors.Join(v.db.Failed(), v.packs.Failed()) }

// comesBack ends the fault, and waits until mail is taken again.
func (v *life) comesBack(r *rand.Rand, fs *faultyFS) {
	fs.at.Store(0)
	if err := v.failed(); err != nil {
		v.l.say("a full disk has become a failed one: %v", err)
		return
	}
	var err error
	for range 50 {
		if err = v.send(r); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	v.l.say("with room again, mail is not taken: %v", err)
}

// refusesIfFailed tries to have mail taken by a store that has failed.
func (v *life) refusesIfFailed(r *rand.Rand) {
	if v.db.Failed() == nil {
		return
	}
	if err := v.send(r); err == nil || errors.Is(err, mail.ErrFull) {
		v.l.say("on a failed disk, mail is answered with %v", err)
	}
}
