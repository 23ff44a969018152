package packblob

import (
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob/blobtest"
)

// TestSweepFull: on a full disk what goes whole makes room for what is left of others;
// without any room nothing is swept, and nothing is wrong.
func TestSweepFull(t *testing.T) {
	room := 1 << 20 // writes that there is room for
	fs := &faultyFS{FS: vfs.NewMem()}
	half := false // a pack was half written, and goes again
	fs.hook = func(op string) error {
		switch op {
		case "remove":
			if !half {
				room += 10
			}
			half = false
		case "write":
			if half = room == 0; half {
				return syscall.ENOSPC
			}
			room--
		}
		return nil
	}
	s := openMem(t, Options{FS: fs, PackSize: 100 << 10})
	bodies := map[mail.BlobID][]byte{}
	inPack := map[int]int{}
	var order []mail.BlobID
	for i := range 45 {
		body := blobtest.Noise(10_200, uint64(i))
		id := put(t, s, body)
		bodies[id] = body
		order = append(order, id)
	}
	sweep := func(keep func(mail.BlobID) bool) (blobs int64) {
		t.Helper()
		swept, err := s.Sweep(t.Context(), func(id mail.BlobID) (bool, error) { return keep(id), nil })
		if err != nil || s.Failed() != nil {
			t.Error(err, s.Failed())
		}
		return swept.Blobs
	}
	sweep(func(mail.BlobID) bool { return true }) // seals
	for n, wants := range []map[int]int{{1: 4, 2: 1, 3: 4}, {1: 4, 2: 1, 3: 0}} {
		clear(inPack)
		keep := map[mail.BlobID]bool{}
		for _, id := range order {
			p := int(packOf(id))
			inPack[p]++
			most, part := wants[p]
			keep[id] = !part || inPack[p] <= most
		}
		room = 0
		gone := sweep(func(id mail.BlobID) bool { return keep[id] })
		if n == 0 && gone != 0 || n == 1 && gone < 20 {
			t.Errorf("step %d: %d went", n, gone)
		}
		for id, body := range bodies {
			if keep[id] {
				blobtest.Has(t, s, id, body)
			}
		}
		if room < 0 {
			t.Error(room)
		}
	}
}

// TestSizePacks: packs are small on a small disk.
func TestSizePacks(t *testing.T) {
	for disk, want := range map[uint64]int64{0: leastPack, 32 << 20: leastPack, 1 << 30: 16 << 20, 1 << 40: usualPack} {
		s, err := Open("packs", Options{FS: sizedFS{vfs.NewMem(), disk}})
		if err != nil {
			t.Fatal(err)
		}
		if s.PackSize != want {
			t.Errorf("on a disk of %d bytes a pack has %d, not %d", disk, s.PackSize, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

type sizedFS struct {
	vfs.FS
	total uint64
}

// GetDiskUsage is as of vfs.FS.
func (f sizedFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{TotalBytes: f.total}, nil
}
