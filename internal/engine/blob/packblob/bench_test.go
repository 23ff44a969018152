package packblob

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"posthaste/internal/engine/blob/blobtest"
)

func openDisk(b *testing.B) *Store {
	b.Helper()
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{4 << 10, 50 << 10} {
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%dK/writers=%d", size>>10, writers), func(b *testing.B) {
				s := openDisk(b)
				body := blobtest.Text(size, 1)
				b.SetParallelism((writers + 1) / 2) // times GOMAXPROCS, which is 2 where this was made
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, _, err := s.Put(b.Context(), bytes.NewReader(body)); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	}
}

func BenchmarkPutLarge(b *testing.B) {
	s := openDisk(b)
	body := blobtest.Noise(10<<20, 1)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for range b.N {
		if _, _, err := s.Put(b.Context(), bytes.NewReader(body)); err != nil {
			b.Error(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	s := openDisk(b)
	body := blobtest.Text(4<<10, 1)
	id := put(b, s, body)
	buf := make([]byte, len(body))
	var n atomic.Int64
	b.ReportAllocs()
	for range b.N {
		r, err := s.Open(b.Context(), id)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.ReadAt(buf, 0); err != nil && err != io.EOF {
			b.Fatal(err)
		}
		_ = r.Close()
		n.Add(1)
	}
}

// A scrub keeps to its rate.
func TestScrubRate(t *testing.T) {
	s := openMem(t, Options{})
	for i := range 20 {
		put(t, s, blobtest.Noise(5000, uint64(i)))
	}
	begin := time.Now()
	found, err := s.Scrub(t.Context(), 1_000_000)
	if err != nil || found.Blobs != 20 {
		t.Errorf("%+v, %v", found, err)
	}
	if d := time.Since(begin); d < 70*time.Millisecond {
		t.Errorf("100 KB at 1 MB/s took %v", d)
	}
}
