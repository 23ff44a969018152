package packblob

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
	"posthaste/internal/engine/blob/blobtest"
)

// A world is what is outside the store: the blobs that were acknowledged and
// are wanted, and those no longer wanted.
type world struct {
	mu   sync.Mutex
	live map[mail.BlobID][]byte
	dead map[mail.BlobID]bool
}

func newWorld() *world {
	return &world{live: map[mail.BlobID][]byte{}, dead: map[mail.BlobID]bool{}}
}

func (w *world) add(id mail.BlobID, body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.live[id] = body
}

// kill makes some blobs unwanted.
func (w *world) kill(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.live {
		if n--; n < 0 {
			break
		}
		delete(w.live, id)
		w.dead[id] = true
	}
}

// keep also keeps what has just been put and is not known yet.
func (w *world) keep(id mail.BlobID) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.dead[id], nil
}

var cutFor = flag.Duration("cutfor", time.Second, "how long to go on with power cuts")

func TestPowerCut(t *testing.T) {
	cuts, blobs := 0, 0
	for begin, round := time.Now(), uint64(0); time.Since(begin) < *cutFor; round++ {
		const each = 10
		blobs += powerCuts(t, round, each)
		if cuts += each; t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	t.Logf("%d cuts, %d blobs", cuts, blobs)
}

// powerCuts runs writers and a sweeper, and cuts the power of copies of their
// disk.
func powerCuts(t *testing.T, seed uint64, cuts int) int {
	mem := vfs.NewCrashableMem()
	s := openMem(t, Options{FS: mem, PackSize: 64 << 10})
	w := newWorld()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(g)))
			for i := 0; ctx.Err() == nil && i < 60; i++ {
				body := anyBody(rnd)
				id, _, err := s.Put(ctx, bytes.NewReader(body))
				if err == nil {
					w.add(id, body)
				} else if ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			w.kill(10)
			if _, err := s.Sweep(ctx, w.keep); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
	})
	rnd := rand.New(rand.NewPCG(seed, 99))
	for i := range cuts {
		time.Sleep(time.Duration(rnd.IntN(4000)) * time.Microsecond)
		w.mu.Lock()
		live := maps.Clone(w.live)
		cut := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: i % 2 * 50, RNG: rnd})
		w.mu.Unlock()
		checkCut(t, cut, live, rnd)
	}
	cancel()
	wg.Wait()
	return len(w.live) + len(w.dead)
}

func anyBody(rnd *rand.Rand) []byte {
	n := rnd.IntN(6000)
	if rnd.IntN(12) == 0 {
		n = maxWhole + rnd.IntN(100_000)
	}
	if rnd.IntN(2) == 0 {
		return blobtest.Noise(n, rnd.Uint64())
	}
	return blobtest.Text(n, rnd.Uint64())
}

// checkCut opens what a power cut has left, checks it, goes on with it, and
// cuts the power again.
func checkCut(t *testing.T, fs *vfs.MemFS, live map[mail.BlobID][]byte, rnd *rand.Rand) {
	for again := range 2 {
		s, err := Open("a/packs", Options{FS: fs, PackSize: 64 << 10, Grace: -1})
		if err != nil {
			t.Errorf("open after the cut: %v", err)
			return
		}
		for id, body := range live {
			blobtest.Has(t, s, id, body)
		}
		for range 3 {
			body := anyBody(rnd)
			live[put(t, s, body)] = body
		}
		if again == 0 {
			if _, err := s.Sweep(t.Context(), keepOnly(live)); err != nil {
				t.Error(err)
			}
			fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rnd})
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A faultyFS asks hook before each operation that changes the disk.
type faultyFS struct {
	vfs.FS
	ops  atomic.Int64
	hook func(op string) error
}

func (f *faultyFS) ask(op string) error {
	f.ops.Add(1)
	if f.hook == nil {
		return nil
	}
	return f.hook(op)
}

func (f *faultyFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.ask("create"); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name, c)
	return &faultyFile{file, f}, err
}

func (f *faultyFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	if err := f.ask("create"); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenReadWrite(name, c, o...)
	return &faultyFile{file, f}, err
}

func (f *faultyFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	return &faultyFile{file, f}, err
}

func (f *faultyFS) Rename(from, to string) error {
	if err := f.ask("rename"); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

func (f *faultyFS) Remove(name string) error {
	if err := f.ask("remove"); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

type faultyFile struct {
	vfs.File
	fs *faultyFS
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.ask("write"); err != nil {
		n := len(p) / 2 // it was half done
		if n, werr := f.File.WriteAt(p[:n], off); werr != nil {
			return n, werr
		}
		return n, err
	}
	return f.File.WriteAt(p, off)
}

func (f *faultyFile) Sync() error {
	if err := f.fs.ask("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultyFile) SyncData() error {
	if err := f.fs.ask("sync"); err != nil {
		return err
	}
	return f.File.SyncData()
}

// A script puts, kills and sweeps; it gives the errors it met.
func script(t *testing.T, s *Store, w *world) (errs []error) {
	rnd := rand.New(rand.NewPCG(4, 4))
	for range 4 {
		for range 12 {
			body := anyBody(rnd)
			id, _, err := s.Put(t.Context(), bytes.NewReader(body))
			if err == nil {
				w.add(id, body)
			} else {
				errs = append(errs, err)
			}
		}
		w.kill(9)
		if _, err := s.Sweep(t.Context(), w.keep); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// The nth operation fails, and perhaps all after it; then the power fails.
// What was acknowledged is there all the same.
func TestEveryFault(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		once bool
	}{
		{"EIO", syscall.EIO, false},
		{"EIO once", syscall.EIO, true},
		{"ENOSPC", syscall.ENOSPC, false},
		{"ENOSPC once", syscall.ENOSPC, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			step := int64(8)
			if testing.Short() {
				step = 29
			}
			for n := int64(1); ; n += step {
				ended := oneFault(t, n, c.err, c.once)
				if t.Failed() {
					t.Fatalf("at operation %d", n)
				}
				if ended {
					t.Logf("%d operations in all", n)
					return
				}
			}
		})
	}
}

func oneFault(t *testing.T, n int64, fault error, once bool) (ended bool) {
	mem := vfs.NewCrashableMem()
	fs := &faultyFS{FS: mem}
	s := openMem(t, Options{FS: fs, PackSize: 48 << 10})
	at := fs.ops.Load() + n
	synced := true
	fs.hook = func(op string) error {
		if now := fs.ops.Load(); now < at || once && now > at {
			return nil
		}
		if op == "sync" {
			synced = false
		}
		return fault
	}
	w := newWorld()
	errs := script(t, s, w)
	ended = fs.ops.Load() < at
	for _, err := range errs {
		if !errors.Is(err, fault) || errors.Is(err, mail.ErrFull) && fault != syscall.ENOSPC {
			t.Errorf("an error hides its reason: %v", err)
		}
	}
	if failed := s.Failed(); (failed == nil) != synced || failed != nil && !errors.Is(failed, blob.ErrReadOnly) {
		t.Errorf("a sync failed: %v, but the store says %v", !synced, failed)
	}
	for id, body := range w.live { // as long as this store lives
		blobtest.Has(t, s, id, body)
	}
	if synced { // with a healthy disk all goes on
		fs.hook = nil
		if errs := script(t, s, w); len(errs) > 0 {
			t.Errorf("after the fault: %v", errs)
		}
	} else if _, _, err := s.Put(t.Context(), bytes.NewReader(nil)); !errors.Is(err, blob.ErrReadOnly) {
		t.Errorf("a put after a failed sync gives %v", err)
	}
	cut := mem.CrashClone(vfs.CrashCloneCfg{})
	_ = s.Close()
	for _, fs := range []vfs.FS{cut, mem} {
		again := openMem(t, Options{FS: fs})
		for id, body := range w.live {
			blobtest.Has(t, again, id, body)
		}
	}
	return ended
}

// TestRewriteAfterFailed: what a rewrite has left behind that could neither be finished nor
// removed is no part of the next one.
func TestRewriteAfterFailed(t *testing.T) {
	mem := vfs.NewCrashableMem()
	fs := &faultyFS{FS: mem}
	s := openMem(t, Options{FS: fs, Grace: -1})
	w := newWorld()
	var ids []mail.BlobID
	for i := range uint64(10) {
		body := blobtest.Noise(1000, i)
		id := put(t, s, body)
		w.add(id, body)
		ids = append(ids, id)
	}
	kill := func(n int) {
		for _, id := range ids[:n] {
			delete(w.live, id)
			w.dead[id] = true
		}
		ids = ids[n:]
	}
	kill(6)
	fs.hook = func(op string) error {
		if op == "rename" || op == "remove" {
			return syscall.EIO
		}
		return nil
	}
	if _, err := s.Sweep(t.Context(), w.keep); !errors.Is(err, syscall.EIO) {
		t.Fatalf("a rename that fails gives %v", err)
	}
	fs.hook = nil
	kill(2)
	if swept, err := s.Sweep(t.Context(), w.keep); err != nil || swept.Blobs != 8 {
		t.Fatalf("%+v, %v", swept, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := openMem(t, Options{FS: mem})
	for id, body := range w.live {
		blobtest.Has(t, again, id, body)
	}
}
