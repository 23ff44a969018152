package packblob

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
	"posthaste/internal/engine/blob/blobtest"
)

func openMem(t testing.TB, o Options) *Store {
	t.Helper()
	if o.FS == nil {
		o.FS = vfs.NewMem()
	}
	if o.PackSize == 0 {
		o.PackSize = 512 << 10
	}
	if o.Grace == 0 {
		o.Grace = -1
	}
	s, err := Open("a/packs", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(t testing.TB, s *Store, body []byte) mail.BlobID {
	t.Helper()
	id, n, err := s.Put(t.Context(), bytes.NewReader(body))
	if err != nil || n != int64(len(body)) {
		t.Fatal(n, err)
	}
	return id
}

func TestContract(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return openMem(t, Options{}) })
}

func TestContractSmallPacks(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return openMem(t, Options{PackSize: 20 << 10, MaxOpen: 3}) })
}

func TestContractOnDisk(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		s, err := Open(t.TempDir(), Options{Grace: -1, PackSize: 4 << 20})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	})
}

// keepOnly is a keep that says yes to these.
func keepOnly[V any](live map[mail.BlobID]V) func(mail.BlobID) (bool, error) {
	return func(id mail.BlobID) (bool, error) {
		_, ok := live[id]
		return ok, nil
	}
}

func files(t *testing.T, s *Store) (names []string) {
	t.Helper()
	names, err := s.FS.List(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// Ids stay good over rewrites and restarts, and the space of the dead comes
// back.
func TestGenerations(t *testing.T) {
	fs := vfs.NewMem()
	s := openMem(t, Options{FS: fs})
	live := map[mail.BlobID][]byte{}
	for i := range 400 {
		body := blobtest.Text(1000+i*17, uint64(i))
		if i%100 == 50 {
			body = blobtest.Noise(300<<10, uint64(i))
		}
		live[put(t, s, body)] = body
	}
	rnd := rand.New(rand.NewPCG(1, 9))
	before := s.Metrics().Bytes
	for round := range 6 {
		ids := make([]mail.BlobID, 0, len(live))
		for id := range live {
			ids = append(ids, id)
		}
		for _, i := range rnd.Perm(len(ids))[:len(ids)*6/10] {
			delete(live, ids[i])
		}
		swept, err := s.Sweep(t.Context(), keepOnly(live))
		if err != nil || swept.Blobs == 0 || swept.Bytes <= 0 {
			t.Fatalf("%+v, %v", swept, err)
		}
		if round%2 == 1 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openMem(t, Options{FS: fs})
		}
		for id, body := range live {
			blobtest.Has(t, s, id, body)
		}
		m := s.Metrics()
		if m.Bytes >= before || m.Packs != len(files(t, s)) {
			t.Errorf("%+v, %d bytes before, files %v", m, before, files(t, s))
		}
		before = m.Bytes
	}
	again := func(name string) bool { return strings.Count(name, ".") == 2 }
	if names := files(t, s); len(live) == 0 || !slices.ContainsFunc(names, again) {
		t.Errorf("%d live, files %v", len(live), names)
	}
	found, err := s.Scrub(t.Context(), 0)
	if err != nil || len(found.Corrupt) > 0 || found.Blobs < int64(len(live)) {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestGrace(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := openMem(t, Options{Grace: time.Hour, Now: func() time.Time { return now }})
	for i := range 100 {
		put(t, s, blobtest.Noise(9000, uint64(i)))
	}
	asked := 0
	sweep := func() (n int) {
		asked = 0
		_, err := s.Sweep(t.Context(), func(mail.BlobID) (bool, error) { asked++; return true, nil })
		if err != nil {
			t.Error(err)
		}
		return asked
	}
	if n := sweep(); n != 0 {
		t.Errorf("asked about %d that are just put", n)
	}
	now = now.Add(30 * time.Minute)
	put(t, s, blobtest.Noise(9000, 101))
	now = now.Add(30 * time.Minute)
	if n := sweep(); n == 0 || n == 101 {
		t.Errorf("after an hour asked about %d", n)
	}
	now = now.Add(time.Hour)
	if n := sweep(); n != 101 {
		t.Errorf("after two hours asked about %d", n)
	}
	// A pack with little in it is left alone for a week.
	put(t, s, []byte("one"))
	now = now.Add(24 * time.Hour)
	if n := sweep(); n != 101 {
		t.Errorf("after a day asked about %d", n)
	}
	now = now.Add(6 * 24 * time.Hour)
	if n := sweep(); n != 102 {
		t.Errorf("after a week asked about %d", n)
	}
}

// damage flips bits of a file of the store.
func damage(t *testing.T, s *Store, name string, off int64, n int) {
	t.Helper()
	f, err := s.FS.OpenReadWrite(s.path(name), vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, off); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	for i := range b {
		b[i] ^= 0x55
	}
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s *Store, id mail.BlobID) ([]byte, error) {
	b, err := s.Open(t.Context(), id)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
}

// Damage is found wherever it is, and hurts no other blob.
func TestDamage(t *testing.T) {
	fs := vfs.NewMem()
	s := openMem(t, Options{FS: fs, PackSize: 4 << 20})
	var ids []mail.BlobID
	bodies := [][]byte{blobtest.Text(3000, 1), blobtest.Noise(3000, 2), blobtest.Text(200_000, 3), blobtest.Noise(3000, 4)}
	for _, b := range bodies {
		ids = append(ids, put(t, s, b))
	}
	large := blobtest.Noise(400<<10, 5)
	largeID := put(t, s, large)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	st, _ := fs.Stat("a/packs/00000001.pk")
	for _, c := range []struct {
		name string
		off  int64
		bad  int // index of the blob that is lost, -1 for none
	}{
		{"header", int64(slotOf(ids[1]))*align + 20, 1},
		{"magic", int64(slotOf(ids[2])) * align, 2},
		{"payload", int64(slotOf(ids[0]))*align + recLen + 100, 0},
		{"index", st.Size() - tailLen - 10, -1},
		{"tail", st.Size() - 10, -1},
		{"head", 20, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openMem(t, Options{FS: fs, PackSize: 4 << 20})
			damage(t, s, "00000001.pk", c.off, 1)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openMem(t, Options{FS: fs, PackSize: 4 << 20})
			for i, id := range ids {
				got, err := read(t, s, id)
				if i == c.bad {
					if !errors.Is(err, blob.ErrCorrupt) {
						t.Errorf("blob %d gives %d bytes, %v", i, len(got), err)
					}
				} else if err != nil || !bytes.Equal(got, bodies[i]) {
					t.Errorf("blob %d gives %d bytes, %v", i, len(got), err)
				}
			}
			found, err := s.Scrub(t.Context(), 0)
			if err != nil {
				t.Error(err)
			}
			if want := c.bad >= 0; want != (len(found.Corrupt) == 1) || want && found.Corrupt[0] != ids[c.bad] {
				t.Errorf("scrub: %+v", found)
			}
			if c.name != "tail" { // which is written afresh elsewhere
				damage(t, s, "00000001.pk", c.off, 1) // heals it
			}
		})
	}
	s = openMem(t, Options{FS: fs, PackSize: 4 << 20})
	off := int64(slotOf(largeID))*align + recLen + 3*(frameRaw+20) + 500
	damage(t, s, fmt.Sprintf("%08x.pk", packOf(largeID)), off, 1)
	b, err := s.Open(t.Context(), largeID)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p := make([]byte, frameRaw)
	if _, err := b.ReadAt(p, 0); err != nil || !bytes.Equal(p, large[:frameRaw]) {
		t.Errorf("a whole frame: %v", err)
	}
	if _, err := b.ReadAt(p, 3*frameRaw); !errors.Is(err, blob.ErrCorrupt) {
		t.Errorf("a damaged frame: %v", err)
	}
	if _, err := b.ReadAt(p, 4*frameRaw); err != nil || !bytes.Equal(p, large[4*frameRaw:5*frameRaw]) {
		t.Errorf("the frame behind it: %v", err)
	}
}

// A damaged blob that is wanted keeps its pack from being written again.
func TestSweepOfDamaged(t *testing.T) {
	fs := vfs.NewMem()
	s := openMem(t, Options{FS: fs})
	live := map[mail.BlobID][]byte{}
	var bad mail.BlobID
	for i := range 20 {
		body := blobtest.Noise(5000, uint64(i))
		id := put(t, s, body)
		if i < 3 {
			live[id] = body
			bad = id
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openMem(t, Options{FS: fs})
	damage(t, s, "00000001.pk", int64(slotOf(bad))*align+recLen+50, 1)
	if _, err := s.Sweep(t.Context(), keepOnly(live)); !errors.Is(err, blob.ErrCorrupt) {
		t.Errorf("sweep gives %v", err)
	}
	delete(live, bad)
	for id, body := range live {
		blobtest.Has(t, s, id, body)
	}
	if _, err := read(t, s, bad); !errors.Is(err, blob.ErrCorrupt) {
		t.Errorf("the damaged one gives %v", err)
	}
	if n := files(t, s); len(n) != 1 || n[0] != "00000001.pk" {
		t.Errorf("files: %v", n)
	}
}

func TestNames(t *testing.T) {
	for _, p := range []*pack{{num: 1}, {num: 0xffffffff, gen: 12}} {
		if num, gen, ok := parseName(p.name()); num != p.num || gen != p.gen || !ok {
			t.Errorf("%s: %d %d %v", p.name(), num, gen, ok)
		}
	}
	for _, name := range []string{"", "1.pk", "00000001.0.pk", "00000001.x.pk", "00000001.pk.tmp", "LOCK", "0000000g.pk"} {
		if _, _, ok := parseName(name); ok {
			t.Errorf("%q is no name of a pack", name)
		}
	}
}

func FuzzHeader(f *testing.F) {
	var b [recLen]byte
	h := header{kind: whole, stored: 10, raw: 12, id: makeID(1, 64, 5), put: 7}
	h.encode(b[:])
	f.Add(b[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		var h header
		if !h.decode(b) {
			return
		}
		var again [recLen]byte
		if h.encode(again[:]); h.length() < recLen || !h.sound() {
			t.Errorf("%+v", h)
		}
		var tl tail
		tl.decode(b, 1000)
	})
}

func TestNewerFormat(t *testing.T) {
	fs := vfs.NewMem()
	s := openMem(t, Options{FS: fs})
	put(t, s, []byte("x"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	head := encodeHead(1, 0)
	head[4] = 2
	sum := crc(head[:60])
	copy(head[60:], []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)})
	file, _ := fs.OpenReadWrite("a/packs/00000001.pk", vfs.WriteCategoryUnspecified)
	_, _ = file.WriteAt(head, 0)
	_ = file.Close()
	if _, err := Open("a/packs", Options{FS: fs}); err == nil || !strings.Contains(err.Error(), "format 2") {
		t.Error(err)
	}
}
