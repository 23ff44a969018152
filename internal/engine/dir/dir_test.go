package dir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "store")
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if b, err := os.ReadFile(d.Path("FORMAT")); string(b) != "1\n" || err != nil {
		t.Errorf("FORMAT is %q, %v", b, err)
	}
	if d.Path("index", "x") != filepath.Join(path, "index", "x") || d.Path() != path {
		t.Error(d.Path("index", "x"))
	}
	_, err = Open(path)
	var use *InUseError
	if !errors.As(err, &use) || use.PID != os.Getpid() || use.Path != path {
		t.Errorf("the second to open gets %v", err)
	}
	if !strings.Contains(err.Error(), "is in use by process ") {
		t.Error(err)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(filepath.Join(path, "something"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err = Open(path)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	defer d.Close()
}

func TestRefused(t *testing.T) {
	write := func(name, text string) func(string) error {
		return func(path string) error { return os.WriteFile(filepath.Join(path, name), []byte(text), 0o600) }
	}
	for _, c := range []struct {
		name, want string
		prepare    func(path string) error
	}{
		{"group", "can be written by others (mode 0770)", func(p string) error { return os.Chmod(p, 0o770) }},
		{"world", "can be written by others (mode 0702)", func(p string) error { return os.Chmod(p, 0o702) }},
		{"newer", "has format 2, this program knows 1: use a newer posthaste", write("FORMAT", "2\n")},
		{"nonsense", "does not say the format", write("FORMAT", "x")},
		{"empty", "does not say the format", write("FORMAT", "")},
		{"not empty", "is no store, and is not empty: letters is in it", write("letters", "")},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := t.TempDir()
			if err := errors.Join(os.Chmod(path, 0o700), c.prepare(path)); err != nil {
				t.Fatal(err)
			}
			d, err := Open(path)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, %v", d, err)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); err == nil || !strings.Contains(err.Error(), "must be a folder") {
		t.Error(err)
	}
}

func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give a folder away")
	}
	path := t.TempDir()
	if err := errors.Join(os.Chmod(path, 0o700), os.Chown(path, 12345, 0)); err != nil {
		t.Skip(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
		t.Error(err)
	}
}

// A crash may have come at any point of the first Open.
func TestHalfMade(t *testing.T) {
	for _, left := range [][]string{{}, {"LOCK"}, {"LOCK", "FORMAT.tmp"}} {
		path := t.TempDir()
		if err := os.Chmod(path, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range left {
			if err := os.WriteFile(filepath.Join(path, name), []byte("99999999999\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		d, err := Open(path)
		if err != nil {
			t.Fatalf("%v: %v", left, err)
		}
		if b, err := os.ReadFile(d.Path("FORMAT")); string(b) != "1\n" || err != nil {
			t.Errorf("%v: %q, %v", left, b, err)
		}
		_ = d.Close()
	}
}
