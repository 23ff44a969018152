package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestOutput: whoever reads no more ends a command quietly, and after it has done what it
// was to do; a full disk is an error.
func TestOutput(t *testing.T) {
	data := "--data=" + filepath.Join(t.TempDir(), "data")
	must(t, "", "domain", "add", "example.org", data)
	into := func(out *os.File, args ...string) (said string, err error) {
		t.Helper()
		c := command(append(args, data)...)
		var b bytes.Buffer
		c.Stdin, c.Stdout, c.Stderr = strings.NewReader("secret password"), out, &b
		err = c.Run()
		return b.String(), err
	}
	r, gone, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer gone.Close()
	for _, args := range [][]string{{"account", "add", "ada@example.org", "--password-stdin"}, {"account", "list"}, {"domain", "list"}, {"config", "example"}, {"--help"}} {
		if said, err := into(gone, args...); err != nil || said != "" {
			t.Errorf("%q with nobody who reads: %v, and says %q", args, err, said)
		}
	}
	if out := must(t, "", "account", "list", data); !strings.Contains(out, "ada@example.org") {
		t.Errorf("it was not added: %s", out)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no disk that is always full here: ", err)
	}
	defer full.Close()
	for _, args := range [][]string{{"account", "list"}, {"domain", "list"}, {"config", "example"}, {"domain", "dns", "example.org"}, {"--help"}} {
		said, err := into(full, args...)
		if err == nil || strings.Count(said, syscall.ENOSPC.Error()) != 1 || !strings.HasPrefix(said, "posthaste: ") {
			t.Errorf("%q with a full disk: %v, and says %q", args, err, said)
		}
	}
	if said, err := into(full, "account", "remove", "bob@example.org", "--yes"); err == nil || !strings.Contains(said, "not found") {
		t.Errorf("what has failed is hidden: %v, %q", err, said)
	}
}

// TestVerdict: what counts when both fail.
func TestVerdict(t *testing.T) {
	other := errors.New("other")
	for _, c := range []struct {
		write, command error
		want           string
	}{
		{nil, nil, ""},
		{nil, other, "other"},
		{syscall.EPIPE, nil, ""},
		{syscall.EPIPE, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}, ""},
		{syscall.EPIPE, other, "other"},
		{&os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC}, nil, "not all that it says could be written: no space left on device"},
		{syscall.ENOSPC, errSaid, "not all that it says could be written: no space left on device"},
		{syscall.ENOSPC, other, "other\nnot all that it says could be written: no space left on device"},
	} {
		o := &output{err: c.write}
		got := ""
		if err := o.verdict(c.command); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%v and %v are %q", c.write, c.command, got)
		}
	}
}

// TestAllPrintThere: nobody prints where errors are not seen.
func TestAllPrintThere(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	past := regexp.MustCompile(`\bfmt\.Print|\bos\.Stdout\b|\bprintln\(`)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(f, "_test.go") && f != "stdout.go" && past.Match(text) {
			t.Errorf("%s prints past stdout.go", f)
		}
	}
}
