package body

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
)

func newStore() *Store { return &Store{DB: kv.Strict(memkv.New()), Blobs: memblob.New()} }

// noise is what does not shrink.
func noise(n int) string {
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return string(b)
}

func words(n int) string { return strings.Repeat("some words and more\r\n", n/21+1)[:n] }

// TestKeep: where a body ends, by size and holders; and that it comes back as
// it went in, from a row too, whole and in every piece.
func TestKeep(t *testing.T) {
	for _, c := range []struct {
		name    string
		text    string
		holders int
		inline  bool
	}{
		{"empty", "", 1, true},
		{"tiny", "x", 1, true},
		{"tiny for many", "x", 1000, true},
		{"small", words(4000), 1, true},
		{"small for two", noise(600), 2, false},
		{"small that does not shrink", noise(4000), 1, true},
		{"too large for a row", noise(maxInline), 1, false},
		{"tiny in the end for many", words(4 * maxTiny), 1000, true},
		{"as large as is tried", words(maxTried), 1, true},
		{"larger than is tried", words(maxTried + 1), 1, false},
		{"at the limit of memory", words(maxStaged), 1, false},
		{"above it", words(maxStaged + 1), 1, false},
		{"large", noise(300_000), 3, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore()
			st, err := s.Stage(t.Context(), iotest.HalfReader(strings.NewReader(c.text)))
			if err != nil {
				t.Fatal(err)
			}
			if st.Size() != int64(len(c.text)) || (st.Bytes() != nil) != (len(c.text) <= maxStaged) {
				t.Errorf("%d bytes, in memory %v", st.Size(), st.Bytes() != nil)
			}
			same(t, st, c.text)
			same(t, Prefixed([]byte("prefix\r\n"), st), "prefix\r\n"+c.text)
			ref, err := s.Keep(t.Context(), st, c.holders)
			if err != nil {
				t.Fatal(err)
			}
			if ref.Blob.IsZero() != c.inline || ref.Size != int64(len(c.text)) {
				t.Errorf("kept as %+v", ref)
			}
			row := append(ref.AppendBinary(nil), "rest"...)
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
			d := kv.Decode(row)
			ref = DecodeRef(d)
			if d.Err() != nil || string(d.Raw(4)) != "rest" {
				t.Error("the row is read wrong")
			}
			for _, prefix := range []string{"", "Return-Path: <>\r\n"} {
				want := prefix + c.text
				r, err := s.Open(t.Context(), ref, []byte(prefix))
				if err != nil {
					t.Fatal(err)
				}
				same(t, r, want)
				if b := r.Bytes(); c.inline && string(b) != want || !c.inline && b != nil {
					t.Errorf("in one piece: %d bytes", len(b))
				}
				same(t, r, want) // asking for it changes nothing
				r.Close()
				got, ok, err := AppendInline([]byte("before "), ref, []byte(prefix))
				if err != nil || ok != c.inline || ok && string(got) != "before "+want || !ok && string(got) != "before " {
					t.Errorf("appended: %d bytes, %v, %v", len(got), ok, err)
				}
			}
		})
	}
}

// TestCrowd: while many come in at a time, small ones are kept as blobs, but tiny ones
// are not; and what has been told about one stays true.
func TestCrowd(t *testing.T) {
	s := newStore()
	stage := func(text string) *Staged {
		t.Helper()
		st, err := s.Stage(t.Context(), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	inline := func(st *Staged) bool {
		t.Helper()
		ref, err := s.Keep(t.Context(), st, 1)
		if err != nil {
			t.Fatal(err)
		}
		return ref.Blob.IsZero()
	}
	first := stage(noise(2000))
	if !inline(first) {
		t.Error("alone, it is not in its row")
	}
	var all []*Staged
	for range crowd - 1 {
		all = append(all, stage(noise(2000)))
	}
	if inline(all[0]) || !inline(first) || !inline(stage("x")) {
		t.Error("in a crowd")
	}
	for _, st := range all {
		st.Close()
		st.Close()
	}
	if !inline(stage(noise(2000))) {
		t.Error("after the crowd has gone")
	}
}

// same reads a body whole and in pieces.
func same(t *testing.T, b mail.Body, want string) {
	t.Helper()
	if b.Size() != int64(len(want)) {
		t.Errorf("%d bytes, want %d", b.Size(), len(want))
	}
	rnd := rand.New(rand.NewPCG(2, 3))
	for range 50 {
		off := rnd.IntN(len(want) + 2)
		p := make([]byte, rnd.IntN(100))
		n, err := b.ReadAt(p, int64(off))
		exp := want[min(off, len(want)):min(off+len(p), len(want))]
		if string(p[:n]) != exp || n < len(p) && err != io.EOF || n == len(p) && err != nil && err != io.EOF {
			t.Fatalf("at %d: %q, %v; want %q", off, p[:n], err, exp)
		}
	}
	if _, err := b.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("read before the beginning")
	}
	if err := iotest.TestReader(io.NewSectionReader(b, 0, b.Size()), []byte(want)); err != nil && len(want) < 1000 {
		t.Error(err)
	}
}

// TestKeepAgain: more holders than thought of first.
func TestKeepAgain(t *testing.T) {
	s := newStore()
	st, err := s.Stage(t.Context(), strings.NewReader(noise(1000)))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	one, err := s.Keep(t.Context(), st, 1)
	two, err2 := s.Keep(t.Context(), st, 2)
	if err != nil || err2 != nil || !one.Blob.IsZero() || two.Blob.IsZero() {
		t.Fatalf("%+v %v, %+v %v", one, err, two, err2)
	}
	for _, ref := range []Ref{one, two} {
		r, err := s.Open(t.Context(), ref, nil)
		if err != nil {
			t.Fatal(err)
		}
		same(t, r, noise(1000))
		r.Close()
	}
}

// TestBuffersAreNotShared: a body kept inline does not change when the memory
// it was staged in is used again.
func TestBuffersAreNotShared(t *testing.T) {
	s := newStore()
	refs := map[string]Ref{}
	for i := range 20 {
		text := strings.Repeat(string(rune('a'+i)), 50)
		st, err := s.Stage(t.Context(), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if refs[text], err = s.Keep(t.Context(), st, 1); err != nil {
			t.Fatal(err)
		}
		st.Close()
		st.Close() // twice does no harm
	}
	for text, ref := range refs {
		r, err := s.Open(t.Context(), ref, nil)
		if err != nil || string(r.Bytes()) != text {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestErrors: the reader's error comes back as it is; and what is damaged, or
// not there, cannot be opened.
func TestErrors(t *testing.T) {
	s := newStore()
	broken := errors.New("the client went away")
	for _, n := range []int{0, 10, maxStaged, maxStaged + 1, 200_000} {
		st, err := s.Stage(t.Context(), io.MultiReader(strings.NewReader(words(n)), iotest.ErrReader(broken)))
		if err != broken || st != nil {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	if _, err := s.Open(t.Context(), Ref{Blob: mail.BlobID{1}, Size: 3}, nil); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("no such blob: %v", err)
	}
	id, size, err := s.Blobs.Put(t.Context(), strings.NewReader("abc"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), Ref{Blob: id, Size: size + 1}, nil); !errors.Is(err, blob.ErrCorrupt) {
		t.Errorf("a blob of another size: %v", err)
	}
	st, _ := s.Stage(t.Context(), strings.NewReader("some words"))
	ref, err := s.Keep(t.Context(), st, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []Ref{{Inline: nil, Size: 1}, {Inline: ref.Inline[1:], Size: ref.Size}, {Inline: ref.Inline, Size: ref.Size + 1}, {Inline: ref.Inline, Size: ref.Size - 1}} {
		if _, err := s.Open(t.Context(), bad, nil); err == nil {
			t.Errorf("%+v can be opened", bad)
		}
		if got, _, err := AppendInline([]byte("x"), bad, nil); err == nil || string(got) != "x" {
			t.Errorf("%+v can be appended: %q", bad, got)
		}
	}
}

// TestHold: a blob lives as long as somebody holds it; holding and releasing
// twice does no harm.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		st, err := s.Stage(t.Context(), strings.NewReader(noise(10_000)))
		if err != nil {
			t.Fatal(err)
		}
		ref, err := s.Keep(t.Context(), st, 2)
		if err != nil {
			t.Fatal(err)
		}
		st.Close()
		a, b := Holder{Lock: kv.Lock{Class: 'A', ID: 1}, Row: 1}, Holder{Lock: kv.Lock{Class: 'Q', ID: 1}, Row: 1}
		update := func(fn func(kv.Tx)) {
			t.Helper()
			if err := s.DB.Update(t.Context(), kv.Plan{}, func(tx kv.Tx) error { fn(tx); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		there := func(want bool) {
			t.Helper()
			time.Sleep(48 * time.Hour) // whatever is young to the engine is not any more
			if held, err := s.Held(t.Context(), ref.Blob); held != want || err != nil {
				t.Errorf("held: %v, %v", held, err)
			}
			if _, err := s.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			r, err := s.Open(t.Context(), ref, nil)
			if (err == nil) != want {
				t.Errorf("open: %v", err)
			}
			if err == nil {
				r.Close()
			}
		}
		heldBy := func(h Holder) (yes bool) {
			s.DB.View(t.Context(), func(r kv.Reader) (err error) { yes, err = HeldBy(r, ref, h); return err })
			return yes
		}
		update(func(tx kv.Tx) { Hold(tx, ref, a); Hold(tx, ref, a); Hold(tx, ref, b) })
		if !heldBy(a) || !heldBy(b) || heldBy(Holder{Lock: a.Lock, Row: 2}) {
			t.Error("held by others than those who do")
		}
		there(true)
		update(func(tx kv.Tx) { Release(tx, ref, a); Release(tx, ref, a) })
		there(true)
		update(func(tx kv.Tx) { Release(tx, ref, b) })
		there(false)
		// What stands in a row needs no reference.
		inline := Ref{Inline: []byte{0, 1, 'x'}, Size: 1}
		update(func(tx kv.Tx) { Hold(tx, inline, a); Release(tx, inline, a) })
		s.DB.View(t.Context(), func(r kv.Reader) error {
			if yes, err := HeldBy(r, inline, a); !yes || err != nil {
				t.Errorf("inline: %v, %v", yes, err)
			}
			for p := range r.Scan(kv.Range{}) {
				t.Errorf("a row is left: %q", p.Key)
			}
			return nil
		})
	})
}

// FuzzDecodeRef: whatever stands in a row, nothing breaks, and what can be
// opened has the size it says.
func FuzzDecodeRef(f *testing.F) {
	s := newStore()
	for _, text := range []string{"", "x", words(500), noise(100)} {
		st, err := s.Stage(context.Background(), strings.NewReader(text))
		if err != nil {
			f.Fatal(err)
		}
		ref, err := s.Keep(context.Background(), st, 1)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ref.AppendBinary(nil))
		f.Add(Ref{Blob: mail.BlobID{1}, Size: 5}.AppendBinary(nil))
	}
	f.Fuzz(func(t *testing.T, row []byte) {
		d := kv.Decode(row)
		ref := DecodeRef(d)
		if d.Err() != nil {
			return
		}
		r, err := s.Open(t.Context(), ref, nil)
		if err != nil {
			return
		}
		b, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		if err != nil || int64(len(b)) != ref.Size || !bytes.Equal(b, r.Bytes()) {
			t.Errorf("%x: %d bytes, %v; want %d", row, len(b), err, ref.Size)
		}
	})
}

// TestRestage: a body that is held is given to others as it is, and written anew only if
// a row that was one holder's would have to be several.
func TestRestage(t *testing.T) {
	for _, c := range []struct {
		name    string
		text    string
		holders int
		same    bool
	}{
		{"empty", "", 1, true},
		{"small", words(4000), 1, true},
		{"small, for two", noise(600), 2, false},
		{"tiny, for many", "x", 1000, true},
		{"in a blob", words(maxTried + 1), 7, true},
		{"large", noise(300_000) + "\n", 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore()
			st, err := s.Stage(t.Context(), strings.NewReader(c.text))
			if err != nil {
				t.Fatal(err)
			}
			unended := st.Unended()
			ref, err := s.Keep(t.Context(), st, 1)
			if err != nil {
				t.Fatal(err)
			}
			st.Close()
			again, err := s.Restage(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			other, err := s.Keep(t.Context(), again, c.holders)
			if err != nil || again.Unended() != unended || again.Size() != ref.Size {
				t.Fatalf("%v; %d unended of %d", err, again.Unended(), again.Size())
			}
			if same := other.Blob == ref.Blob && bytes.Equal(other.Inline, ref.Inline); same != c.same {
				t.Errorf("it is %+.100v, and was %+.100v", other, ref)
			}
			again.Close()
			r, err := s.Open(t.Context(), other, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size())); err != nil || string(got) != c.text {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	s := newStore()
	if _, err := s.Restage(t.Context(), Ref{Blob: mail.BlobID{1}, Size: 1}); err == nil {
		t.Error("what is not there is restaged")
	}
	s.Full = func() bool { return true }
	if _, err := s.Restage(t.Context(), Ref{}); !errors.Is(err, mail.ErrFull) {
		t.Error(err)
	}
}
