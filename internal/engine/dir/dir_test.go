package dir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "store")
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Error("mode is", info.Mode(), err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Error("opened twice:", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d, err = Open(path)
	if err != nil {
		t.Fatal("opened again:", err)
	}
	d.Close()
}

func TestRefusals(t *testing.T) {
	newer := t.TempDir()
	os.WriteFile(filepath.Join(newer, formatName), []byte("2\n"), 0o600)
	strange := t.TempDir()
	os.WriteFile(filepath.Join(strange, formatName), []byte("x"), 0o600)
	writable := filepath.Join(t.TempDir(), "w")
	os.Mkdir(writable, 0o700)
	os.Chmod(writable, 0o777)
	file := filepath.Join(t.TempDir(), "f")
	os.WriteFile(file, nil, 0o600)
	for path, want := range map[string]string{
		newer: "use a newer posthaste", strange: "format number", writable: "chmod go-w", file: "not a folder",
	} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, have %v", want, err)
		}
	}
	// A folder that was refused for its format is free again.
	os.WriteFile(filepath.Join(newer, formatName), []byte("1\n"), 0o600)
	d, err := Open(newer)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
}
