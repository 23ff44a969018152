package packblob

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"posthaste/internal/base/mail"
)

// TestSnapshot: what was put before is in it, though the packs grow, are sealed
// and swept behind it; cut to its sizes it opens.
func TestSnapshot(t *testing.T) {
	fs := vfs.NewMem()
	s := openMem(t, Options{FS: fs, PackSize: 40 << 10})
	bodies := map[mail.BlobID][]byte{}
	for i := range 30 {
		b := bytes.Repeat([]byte(fmt.Sprint(i, " ")), 1500)
		bodies[put(t, s, b)] = b
	}
	if err := fs.MkdirAll("snap", 0o700); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("no rows")
	if _, err := s.Snapshot(t.Context(), "snap", func() error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	var late mail.BlobID
	files, err := s.Snapshot(t.Context(), "snap", func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	late = put(t, s, []byte("too late"))
	if _, err := s.Sweep(t.Context(), func(mail.BlobID) (bool, error) { return false, nil }); err != nil {
		t.Fatal(err)
	}
	if err := fs.MkdirAll("copy/packs", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		copyFile(t, fs, "snap/"+f.Name, "copy/packs/"+f.Name, f.Size)
	}
	again, err := Open("copy/packs", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for id, want := range bodies {
		b, err := again.Open(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
		if err != nil || !bytes.Equal(got, want) {
			t.Error("a blob came back as another", err)
		}
		b.Close()
	}
	if _, err := again.Open(t.Context(), late); err == nil {
		t.Error("what was put later is in it")
	}
}

func copyFile(t *testing.T, fs vfs.FS, from, to string, size int64) {
	t.Helper()
	in, err := fs.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	b := make([]byte, size)
	if _, err := io.ReadFull(in, b); err != nil {
		t.Fatal(err)
	}
	out, err := fs.Create(to, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = out.Write(b)
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}
