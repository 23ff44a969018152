package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"

	"posthaste/test/s3"
)

func file(t *testing.T, path, text string) File {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return File{Path: "index/" + filepath.Base(path), From: path, Size: int64(len(text))}
}

func read(t *testing.T, r *Repository, generation string) (map[string]string, error) {
	t.Helper()
	g, err := r.Open(t.Context(), generation)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	dir := t.TempDir()
	if err := r.Restore(t.Context(), g.Manifest, dir, nil); err != nil {
		return nil, err
	}
	out := map[string]string{}
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		out[filepath.Base(p)] = string(b)
		return err
	})
	return out, err
}

// TestGenerations: each is whole, what is the same is written once, what belongs to
// none goes, and what is behind a file's size does not come.
func TestGenerations(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	at, _ := newBucket(t)
	for _, r := range []*Repository{
		{Depot: Folder(t.TempDir() + "/plain")},
		{Depot: at, Recipients: []age.Recipient{key.Recipient()}, Identities: []age.Identity{key}},
		{Depot: Folder(t.TempDir() + "/secret"), Recipients: []age.Recipient{key.Recipient()}, Identities: []age.Identity{key}},
	} {
		src := t.TempDir()
		large := strings.Repeat("0123456789abcdef", pieceSize/16+1000)
		pack := file(t, src+"/1.pk", large+"not yet")
		pack.Size = int64(len(large))
		one, known := file(t, src+"/one", "first"), Cache{}
		first, err := r.Create(t.Context(), time.Unix(1e9, 0), "v", []File{pack, one}, known)
		if err != nil || first.New != int64(len(large)+5) || first.Bytes != first.New {
			t.Fatal(first, err)
		}
		// The pack grows, the other is another; in the same second.
		large2 := large + strings.Repeat("x", 1000)
		pack = file(t, src+"/1.pk", large2)
		one = file(t, src+"/one", "other")
		if err := os.Chtimes(src+"/one", time.Unix(5, 0), time.Unix(5, 0)); err != nil {
			t.Fatal(err)
		}
		second, err := r.Create(t.Context(), time.Unix(1e9, 0), "v", []File{pack, one}, known)
		if err != nil || second.New != int64(len(large2)%pieceSize)+5 || second.Generation == first.Generation {
			t.Fatal(second, err)
		}
		for g, want := range map[string]string{first.Generation: "first", "": "other"} {
			got, err := read(t, r, g)
			if err != nil || got["one"] != want || len(got["1.pk"]) < len(large) || !strings.HasPrefix(large2, got["1.pk"]) {
				t.Fatal(g, len(got["1.pk"]), got["one"], err)
			}
		}
		if third, err := r.Create(t.Context(), time.Unix(2e9, 0), "v", []File{pack, one}, Cache{}); err != nil || third.New != 0 {
			t.Fatal(third, err)
		}
		n, freed, err := r.Prune(t.Context(), 1)
		if err != nil || n != 2 || freed < 1000 || freed > 20000+1000 {
			t.Fatal(n, freed, err)
		}
		if got, err := read(t, r, ""); err != nil || got["one"] != "other" {
			t.Fatal(err)
		}
	}
}

// TestOrder: the last backup is the one that was made last, also if old ones of the
// same second are gone, or the clock was ahead once.
func TestOrder(t *testing.T) {
	r := &Repository{Depot: Folder(t.TempDir() + "/b")}
	one := file(t, t.TempDir()+"/one", "")
	for n, at := range []int64{1e9, 1e9, 1e9, 4e9, 1e9 + 5, 1e9 + 6} {
		text := fmt.Sprint(n)
		one.Size = int64(len(text))
		if err := os.WriteFile(one.From, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Create(t.Context(), time.Unix(at, 0), "v", []File{one}, Cache{}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Prune(t.Context(), 2-n%2); err != nil {
			t.Fatal(err)
		}
		if got, err := read(t, r, ""); err != nil || got["one"] != text {
			t.Errorf("after backup %d the last has %q, %v", n, got["one"], err)
		}
	}
}

// TestDamage: every byte of a backup that changes is found.
func TestDamage(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range [][]age.Recipient{nil, {key.Recipient()}} {
		r := &Repository{Depot: Folder(t.TempDir() + "/b"), Recipients: to, Identities: []age.Identity{key}}
		if _, err := r.Create(t.Context(), time.Unix(1e9, 0), "v", []File{file(t, t.TempDir()+"/x", "some text")}, Cache{}); err != nil {
			t.Fatal(err)
		}
		pieces, err := filepath.Glob(r.Depot.String() + "/data/*/*")
		if err != nil || len(pieces) != 1 {
			t.Fatal(pieces, err)
		}
		whole, err := os.ReadFile(pieces[0])
		if err != nil || bytes.Contains(whole, []byte("text")) == (to != nil) {
			t.Fatalf("%q %v", whole, err)
		}
		for i := range whole {
			bad := bytes.Clone(whole)
			bad[i] ^= 1
			if err := os.WriteFile(pieces[0], bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := read(t, r, ""); err == nil {
				t.Errorf("byte %d of %d was changed and nobody noticed", i, len(whole))
			}
		}
		if err := os.Remove(pieces[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := read(t, r, ""); !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
	}
}

func TestNotOurs(t *testing.T) {
	dir := t.TempDir()
	file(t, dir+"/x", "mine")
	r := &Repository{Depot: Folder(dir)}
	if _, err := r.Create(t.Context(), time.Unix(1, 0), "v", nil, Cache{}); err == nil {
		t.Error("a folder with other things was taken")
	}
	if _, err := ParseRecipients([]string{"age1x"}); err == nil {
		t.Error("a wrong recipient was taken")
	}
	file(t, dir+"/FORMAT", "1\n")
	file(t, dir+"/generations/20200101T000000Z", `{"files":[{"path":"../../x"}]}`)
	if _, err := r.Open(t.Context(), ""); !errors.Is(err, ErrDamaged) {
		t.Error("a path that leads out was taken:", err)
	}
}

// TestBusy: nobody prunes what another is writing, or writes beside him.
func TestBusy(t *testing.T) {
	r := &Repository{Depot: Folder(t.TempDir() + "/b")}
	f := file(t, t.TempDir()+"/x", "text")
	if _, err := r.Create(t.Context(), time.Now(), "v", []File{f}, Cache{}); err != nil {
		t.Fatal(err)
	}
	_, release, err := r.Depot.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Create(t.Context(), time.Now(), "v", []File{f}, Cache{}); !errors.Is(err, ErrBusy) {
		t.Errorf("a second writer: %v", err)
	}
	if _, _, err := r.Prune(t.Context(), 1); !errors.Is(err, ErrBusy) {
		t.Errorf("prune: %v", err)
	}
	release()
	if _, _, err := r.Prune(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if _, err := r.Create(t.Context(), time.Now(), "v", []File{f}, Cache{}); err != nil {
		t.Error(err)
	}
}

// TestWrongClock: a generation that is dated later than now does not make backups
// come one after the other without end.
func TestWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Repository{Depot: Folder(t.TempDir() + "/b")}
		if _, err := r.Create(t.Context(), time.Now().Add(365*24*time.Hour), "v", nil, Cache{}); err != nil {
			t.Fatal(err)
		}
		var made atomic.Int32
		s := &Schedule{Repository: r, Every: 24 * time.Hour, Log: slog.New(slog.DiscardHandler), Make: func(ctx context.Context, r *Repository) (Written, error) {
			if made.Add(1) > 100 {
				<-ctx.Done()
			}
			return r.Create(ctx, time.Now(), "v", nil, Cache{})
		}}
		ctx, cancel := context.WithCancel(t.Context())
		go s.Run(ctx)
		time.Sleep(3*24*time.Hour + time.Hour)
		if n := made.Load(); n != 4 {
			t.Errorf("%d backups in three days", n)
		}
		cancel()
		synctest.Wait()
	})
}

// TestSchedule: one a day, what fails is tried again soon, and told.
func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Repository{Depot: Folder(t.TempDir() + "/b")}
		var made atomic.Int32
		var works atomic.Bool
		s := &Schedule{Repository: r, Every: 24 * time.Hour, Keep: 3, Log: slog.New(slog.DiscardHandler), Make: func(ctx context.Context, r *Repository) (Written, error) {
			if !works.Load() {
				return Written{}, errors.New("no room")
			}
			made.Add(1)
			return r.Create(ctx, time.Now(), "v", nil, Cache{})
		}}
		ctx, cancel := context.WithCancel(t.Context())
		go s.Run(ctx)
		time.Sleep(time.Hour)
		if st := s.State(t.Context(), time.Now()); st.Failed != "no room" || !st.Late || !s.Newest().IsZero() {
			t.Errorf("%+v", st)
		}
		works.Store(true)
		time.Sleep(time.Hour)
		if n := s.Newest(); n.IsZero() || time.Since(n) > time.Hour {
			t.Errorf("the last is of %v", n)
		}
		if st := s.State(t.Context(), time.Now()); st.Failed != "" || st.Late || st.Kept != 1 || made.Load() != 1 {
			t.Errorf("%+v", st)
		}
		time.Sleep(10 * 24 * time.Hour)
		if st := s.State(t.Context(), time.Now()); st.Kept != 3 || made.Load() != 11 {
			t.Errorf("%d made, %+v", made.Load(), st)
		}
		cancel()
		synctest.Wait()
	})
}

// TestReader: who reads a generation can read it to its end though it is let go
// meanwhile, and what it used goes the next time.
func TestReader(t *testing.T) {
	bucket, _ := newBucket(t)
	for _, d := range []Depot{Folder(t.TempDir() + "/b"), bucket} {
		r := &Repository{Depot: d}
		src := t.TempDir()
		first, err := r.Create(t.Context(), time.Unix(1e9, 0), "v", []File{file(t, src+"/a", "old")}, Cache{})
		if err == nil {
			_, err = r.Create(t.Context(), time.Unix(2e9, 0), "v", []File{file(t, src+"/b", "newer")}, Cache{})
		}
		if err != nil {
			t.Fatal(err)
		}
		g, err := r.Open(t.Context(), first.Generation)
		if err != nil {
			t.Fatal(err)
		}
		if n, freed, err := r.Prune(t.Context(), 1); n != 1 || freed != 0 || err != nil {
			t.Fatal(n, freed, err)
		}
		if err := r.Restore(t.Context(), g.Manifest, t.TempDir(), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Open(t.Context(), first.Generation); err == nil {
			t.Error("what was let go was opened again")
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if n, freed, err := r.Prune(t.Context(), 1); n != 0 || freed != 3 || err != nil {
			t.Error(n, freed, err)
		}
		if got, err := read(t, r, ""); err != nil || got["b"] != "newer" {
			t.Error(got, err)
		}
		n := 0
		if err := d.List(t.Context(), "", func(Item) error { n++; return nil }); n != 4 || err != nil {
			t.Errorf("%d files are left, %v", n, err)
		}
	}
}

// TestReadOnly: whoever may only read can do so.
func TestReadOnly(t *testing.T) {
	d, s := newBucket(t)
	r := &Repository{Depot: d}
	if _, err := r.Create(t.Context(), time.Unix(1e9, 0), "v", []File{file(t, t.TempDir()+"/a", "text")}, Cache{}); err != nil {
		t.Fatal(err)
	}
	s.Fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return false
		}
		s3.Fail(w, http.StatusForbidden, "AccessDenied")
		return true
	}
	if got, err := read(t, r, ""); err != nil || got["a"] != "text" {
		t.Error(got, err)
	}
}

// TestKilledReader: a reader of a bucket that was killed keeps nothing for long.
func TestKilledReader(t *testing.T) {
	d, s := newBucket(t)
	r := &Repository{Depot: d}
	ahead := time.Duration(0)
	s.Now = func() time.Time { return time.Now().Add(ahead) }
	for i := range int64(2) {
		if _, err := r.Create(t.Context(), time.Unix(1e9+i, 0), "v", []File{file(t, t.TempDir()+"/a", fmt.Sprint("text", i))}, Cache{}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := r.Generations(t.Context())
	if err == nil {
		err = d.Put(t.Context(), readDir+all[0]+"/x", []byte("somebody"))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int64{0, 0, 5} {
		if _, freed, err := r.Prune(t.Context(), 1); freed != want || err != nil {
			t.Errorf("%v later: freed %d, %v", ahead, freed, err)
		}
		ahead += staleAfter * 2 / 3
	}
}
