// Package blobtest is the contract of blob as tests: every engine passes them.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/iotest"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
)

// Run tests the engine that open makes; open gives an empty store each time,
// which sweeps blobs of any age, and sees to its end by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, blob.Store)
	}{
		{"PutAndRead", testPutAndRead},
		{"SlowReader", testSlowReader},
		{"Ranges", testRanges},
		{"BrokenReader", testBrokenReader},
		{"NotFound", testNotFound},
		{"SameBytesTwice", testSameBytesTwice},
		{"Many", testMany},
		{"Sweep", testSweep},
		{"SweepAll", testSweepAll},
		{"SweepKeepsOpen", testSweepKeepsOpen},
		{"SweepFails", testSweepFails},
		{"SweepAndPut", testSweepAndPut},
		{"Cancelled", testCancelled},
		{"Closed", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// sizes are on both sides of where engines may change their ways.
var sizes = []int{
	0, 1, 100, 4095, 4096, 4097, 64<<10 - 1, 64 << 10, 64<<10 + 1,
	128 << 10, 256<<10 - 1, 256 << 10, 256<<10 + 1, 320 << 10, 1<<20 + 17, 3 << 20,
}

// Text makes n bytes that can be compressed, the same for the same n and seed.
func Text(n int, seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, uint64(n)))
	words := bytes.Fields([]byte("Received: from mail by with SMTP id for the of and to in that is was he it with as his on be at you"))
	b := make([]byte, 0, n+20)
	for len(b) < n {
		b = append(append(b, words[rnd.IntN(len(words))]...), ' ')
	}
	return b[:n]
}

// Noise makes n bytes that cannot be compressed.
func Noise(n int, seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// bodies gives bodies of all sizes and kinds.
func bodies() (all [][]byte) {
	for _, n := range sizes {
		all = append(all, Text(n, 1), Noise(n, 1))
	}
	mixed := append(Text(300<<10, 2), Noise(100<<10, 2)...)
	return append(all, append(mixed, Text(200<<10, 3)...))
}

func put(t *testing.T, s blob.Store, body []byte) mail.BlobID {
	t.Helper()
	id, size, err := s.Put(t.Context(), bytes.NewReader(body))
	if err != nil || size != int64(len(body)) || id.IsZero() {
		t.Fatalf("put of %d bytes: %s, %d, %v", len(body), id, size, err)
	}
	return id
}

func open(t *testing.T, s blob.Store, id mail.BlobID) blob.Blob {
	t.Helper()
	b, err := s.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Has checks that the blob has these bytes.
func Has(t testing.TB, s blob.Store, id mail.BlobID, body []byte) {
	t.Helper()
	b, err := s.Open(t.Context(), id)
	if err != nil {
		t.Errorf("%d bytes: %v", len(body), err)
		return
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	is(t, b, body)
}

func is(t testing.TB, b blob.Blob, body []byte) {
	t.Helper()
	if b.Size() != int64(len(body)) {
		t.Errorf("size is %d instead of %d", b.Size(), len(body))
	}
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes are not those that were put: %d, %v", len(body), len(got), err)
	}
}

func missing(t *testing.T, s blob.Store, id mail.BlobID) {
	t.Helper()
	if b, err := s.Open(t.Context(), id); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("open of %s gives %v, %v", id, b, err)
	}
}

func testPutAndRead(t *testing.T, s blob.Store) {
	var ids []mail.BlobID
	all := bodies()
	for _, body := range all {
		ids = append(ids, put(t, s, body))
	}
	for i, body := range all {
		Has(t, s, ids[i], body)
	}
}

func testSlowReader(t *testing.T, s blob.Store) {
	body := Text(300<<10, 5)
	for name, r := range map[string]io.Reader{
		"half":     iotest.HalfReader(bytes.NewReader(body)),
		"data+EOF": iotest.DataErrReader(bytes.NewReader(body)),
		"bytes":    io.MultiReader(iotest.OneByteReader(bytes.NewReader(body[:2000])), bytes.NewReader(body[2000:])),
	} {
		id, size, err := s.Put(t.Context(), r)
		if err != nil || size != int64(len(body)) {
			t.Fatalf("%s: %d, %v", name, size, err)
		}
		Has(t, s, id, body)
	}
}

func testRanges(t *testing.T, s blob.Store) {
	rnd := rand.New(rand.NewPCG(3, 3))
	for _, body := range [][]byte{Text(5000, 1), Noise(5000, 1), Text(700<<10, 1), Noise(700<<10, 1)} {
		b := open(t, s, put(t, s, body))
		for range 60 {
			off := rnd.IntN(len(body) + 10)
			p := make([]byte, rnd.IntN(100_000))
			n, err := b.ReadAt(p, int64(off))
			want := body[min(off, len(body)):min(off+len(p), len(body))]
			if !bytes.Equal(p[:n], want) || n < len(p) && err != io.EOF || n == len(p) && err != nil && err != io.EOF {
				t.Fatalf("%d bytes from %d of %d: %d, %v", len(p), off, len(body), n, err)
			}
		}
		if _, err := b.ReadAt(make([]byte, 1), -1); err == nil {
			t.Error("a negative offset is no error")
		}
		var wg sync.WaitGroup
		for range 4 { // many at a time, as io.ReaderAt says
			wg.Go(func() { is(t, b, body) })
		}
		wg.Wait()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

func testBrokenReader(t *testing.T, s blob.Store) {
	broken := errors.New("the peer is gone")
	for _, n := range []int{0, 100, 100 << 10, 400 << 10} {
		r := io.MultiReader(bytes.NewReader(Text(n, 1)), iotest.ErrReader(broken))
		if _, _, err := s.Put(t.Context(), r); err != broken {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	body := []byte("after that")
	Has(t, s, put(t, s, body), body)
	seen := 0
	_, err := s.Sweep(t.Context(), func(mail.BlobID) (bool, error) { seen++; return true, nil })
	if seen > 1 || err != nil {
		t.Errorf("%d blobs are there, %v", seen, err)
	}
}

func testNotFound(t *testing.T, s blob.Store) {
	missing(t, s, mail.BlobID{})
	missing(t, s, mail.BlobID{0: 9, 15: 9})
	id := put(t, s, []byte("something"))
	for i := range id {
		other := id
		other[i] ^= 0x11
		missing(t, s, other)
	}
}

func testSameBytesTwice(t *testing.T, s blob.Store) {
	a, b := put(t, s, []byte("same")), put(t, s, []byte("same"))
	if a == b {
		t.Fatal("two blobs have one id")
	}
	forget(t, s, a)
	missing(t, s, a)
	Has(t, s, b, []byte("same"))
}

// forget sweeps the blobs in ids away.
func forget(t *testing.T, s blob.Store, ids ...mail.BlobID) blob.Swept {
	t.Helper()
	swept, err := s.Sweep(t.Context(), func(id mail.BlobID) (bool, error) { return !slices.Contains(ids, id), nil })
	if err != nil {
		t.Fatal(err)
	}
	return swept
}

func testMany(t *testing.T, s blob.Store) {
	var wg sync.WaitGroup
	for g := range 12 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 2))
			for i := range 12 {
				body := Text(rnd.IntN(9000), rnd.Uint64())
				if i == 6 {
					body = Text(300<<10+g, rnd.Uint64())
				}
				id, _, err := s.Put(t.Context(), bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				Has(t, s, id, body)
			}
		})
	}
	wg.Wait()
}

// gone checks that a blob that was swept cannot be opened, or, if the engine
// has let it lie, is as it was.
func gone(t *testing.T, s blob.Store, id mail.BlobID, body []byte) (left bool) {
	t.Helper()
	b, err := s.Open(t.Context(), id)
	if err == nil {
		is(t, b, body)
		err = b.Close()
		left = true
	}
	if err != nil && !errors.Is(err, blob.ErrNotFound) {
		t.Error(err)
	}
	return left
}

func testSweep(t *testing.T, s blob.Store) {
	live, dead := map[mail.BlobID][]byte{}, map[mail.BlobID][]byte{}
	for round := range 3 {
		for i, body := range bodies() {
			if id := put(t, s, body); i%5 == round {
				live[id] = body
			} else {
				dead[id] = body
			}
		}
	}
	for range 3 {
		asked := map[mail.BlobID]bool{}
		swept, err := s.Sweep(t.Context(), func(id mail.BlobID) (bool, error) {
			if _, ok := dead[id]; !ok && live[id] == nil || asked[id] {
				t.Errorf("asked about %s, which is unknown, or again", id)
			}
			asked[id] = true
			return live[id] != nil, nil
		})
		if err != nil || len(asked) != len(live)+len(dead) {
			t.Errorf("%+v, %v, asked about %d of %d", swept, err, len(asked), len(live)+len(dead))
		}
		n := int64(0)
		for id, body := range dead {
			if !gone(t, s, id, body) {
				delete(dead, id)
				n++
			}
		}
		if swept.Blobs != n || n > 0 && swept.Bytes <= 0 {
			t.Errorf("%+v, but %d are gone", swept, n)
		}
		for id, body := range live {
			Has(t, s, id, body)
		}
		for id, body := range live { // a part of them dies for the next round
			if dead[id] = body; len(dead) > len(live) {
				break
			}
			delete(live, id)
		}
		for id := range dead {
			delete(live, id)
		}
	}
}

func testSweepAll(t *testing.T, s blob.Store) {
	for range 3 {
		var ids []mail.BlobID
		for i := range 10 {
			ids = append(ids, put(t, s, Text(5000, uint64(i))))
		}
		if swept := forget(t, s, ids...); swept.Blobs != 10 || swept.Bytes == 0 {
			t.Errorf("%+v", swept)
		}
		for _, id := range ids {
			missing(t, s, id)
		}
	}
}

func testSweepKeepsOpen(t *testing.T, s blob.Store) {
	small, large := Text(5000, 1), Noise(700<<10, 1)
	a, b := put(t, s, small), put(t, s, large)
	openA, openB := open(t, s, a), open(t, s, b)
	forget(t, s, a, b)
	is(t, openA, small)
	is(t, openB, large)
	if err := errors.Join(openA.Close(), openB.Close()); err != nil {
		t.Error(err)
	}
	missing(t, s, a)
}

func testSweepFails(t *testing.T, s blob.Store) {
	body := Text(5000, 1)
	for range 5 {
		put(t, s, body)
	}
	id := put(t, s, body)
	stop := errors.New("the database is away")
	n := 0
	_, err := s.Sweep(t.Context(), func(mail.BlobID) (bool, error) {
		if n++; n == 3 {
			return false, stop
		}
		return true, nil
	})
	if !errors.Is(err, stop) || n != 3 {
		t.Errorf("asked %d times, %v", n, err)
	}
	Has(t, s, id, body)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Sweep(ctx, func(mail.BlobID) (bool, error) { return false, nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	Has(t, s, id, body)
}

// Sweeps and puts at the same time do no harm to each other.
func testSweepAndPut(t *testing.T, s blob.Store) {
	var mu sync.Mutex
	live := map[mail.BlobID][]byte{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 30 {
					body := Text(2000+i, uint64(g))
					// The sweep here knows no grace: what it may meet must be
					// known before, so it waits for the put.
					mu.Lock()
					id, _, err := s.Put(t.Context(), bytes.NewReader(body))
					live[id] = body
					if i%2 == 0 {
						delete(live, id)
					}
					mu.Unlock()
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		_, err := s.Sweep(t.Context(), func(id mail.BlobID) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			_, ok := live[id]
			return ok, nil
		})
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		for id, body := range live {
			Has(t, s, id, body)
			break
		}
		mu.Unlock()
	}
	for id, body := range live {
		Has(t, s, id, body)
	}
}

func testCancelled(t *testing.T, s blob.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Put(ctx, bytes.NewReader(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("Put gives %v", err)
	}
	id := put(t, s, nil)
	if _, err := s.Open(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("Open gives %v", err)
	}
}

func testClosed(t *testing.T, s blob.Store) {
	id := put(t, s, []byte("body"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, _, perr := s.Put(t.Context(), bytes.NewReader(nil))
	_, oerr := s.Open(t.Context(), id)
	_, serr := s.Sweep(t.Context(), func(mail.BlobID) (bool, error) { return true, nil })
	for what, err := range map[string]error{"Put": perr, "Open": oerr, "Sweep": serr, "Close": s.Close()} {
		if !errors.Is(err, blob.ErrClosed) {
			t.Errorf("%s gives %v", what, err)
		}
	}
}
