package codec

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// message makes a small mail with n lines of text.
func message(n int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(n), 5))
	words := strings.Fields("the of and with mail server order number please Friday which their about invoice contact would there attached question report week project after team meeting thanks notes draft plan update")
	var b bytes.Buffer
	fmt.Fprintf(&b, "Received: from mail.%x.test (mail.%x.test [192.0.2.77])\r\n\tby mx.here.test with ESMTPS id %x\r\n\tfor <user@here.test>; Tue, 04 Nov 2025 10:11:12 +0100\r\n", rnd.Uint32(), rnd.Uint32(), rnd.Uint64())
	fmt.Fprintf(&b, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=there.test; s=mail;\r\n h=From:To:Subject:Date; bh=%x%x%x; b=%x%x%x%x\r\n", rnd.Uint64(), rnd.Uint64(), rnd.Uint64(), rnd.Uint64(), rnd.Uint64(), rnd.Uint64(), rnd.Uint64())
	fmt.Fprintf(&b, "From: Some One <someone@there.test>\r\nTo: user@here.test\r\nSubject: Re: report for week %d\r\nMessage-ID: <%x@there.test>\r\nDate: Tue, 04 Nov 2025 10:11:10 +0100\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", n, rnd.Uint64())
	for range n {
		for range 11 {
			b.WriteString(words[rnd.IntN(len(words))])
			b.WriteByte(' ')
		}
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

func noise(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	for name, raw := range map[string][]byte{
		"nothing": nil,
		"a byte":  {7},
		"tiny":    []byte("Subject: hi\r\n\r\nhello\r\n"),
		"tiny-1":  bytes.Repeat([]byte("a"), tiny-1),
		"tiny 0":  bytes.Repeat([]byte("a"), tiny),
		"mail":    message(20),
		"small-1": message(1200)[:small-1],
		"small 0": message(1200)[:small],
		"long":    message(5000),
		"zeros":   make([]byte, 3<<20),
		"noise":   noise(1 << 20),
		"short n": noise(500),
		"mixed":   append(message(100), noise(200<<10)...),
	} {
		checkRoundTrip(t, name, raw, Encode)
		checkRoundTrip(t, name+" squeezed", raw, Squeeze)
	}
}

func checkRoundTrip(t *testing.T, name string, raw []byte, encode func(dst, raw []byte) []byte) {
	t.Helper()
	enc := encode([]byte("before"), raw)
	if !bytes.HasPrefix(enc, []byte("before")) {
		t.Fatalf("%s: what stood before is gone", name)
	}
	enc = enc[len("before"):]
	if len(enc) > len(raw)+6 {
		t.Errorf("%s: %d bytes have become %d", name, len(raw), len(enc))
	}
	if n, err := RawLen(enc); n != int64(len(raw)) || err != nil {
		t.Errorf("%s: RawLen %d, %v", name, n, err)
	}
	for _, dst := range [][]byte{nil, []byte("x"), make([]byte, 1, 2<<20)} {
		got, err := Decode(dst, enc, int64(len(raw)))
		if err != nil || !bytes.Equal(got[:len(dst)], dst) || !bytes.Equal(got[len(dst):], raw) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if _, err := Decode(nil, enc, int64(len(raw))-1); len(raw) > 0 && !errors.Is(err, ErrMalformed) {
		t.Errorf("%s: larger than allowed: %v", name, err)
	}
	t.Logf("%-8s %8d -> %8d, kind %#x", name, len(raw), len(enc), enc[0])
}

// A mail of ordinary size must become much smaller.
func TestRatio(t *testing.T) {
	raw := message(8)
	if enc := Encode(nil, raw); len(enc)*3 > len(raw)*2 {
		t.Errorf("%d bytes have become %d", len(raw), len(enc))
	}
	if enc := Squeeze(nil, raw); len(enc)*2 > len(raw) {
		t.Errorf("%d bytes have been squeezed to %d", len(raw), len(enc))
	}
}

// Bytes that a former release has written can be read.
func TestV1(t *testing.T) {
	want := message(3)
	for _, x := range []struct {
		name   string
		kind   byte
		encode func(dst, raw []byte) []byte
	}{{"s2-v1.golden", s2V1, Encode}, {"zstd-v1.golden", zstdV1, Squeeze}} {
		name := filepath.Join("testdata", x.name)
		if os.Getenv("GOLDEN") != "" {
			if err := os.WriteFile(name, x.encode(nil, want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		enc, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if enc[0] != x.kind {
			t.Errorf("%s is of kind %#x", name, enc[0])
		}
		got, err := Decode(nil, enc, 1<<20)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestConcurrent(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 30 {
				raw := message(g*7 + i)
				got, err := Decode(nil, Encode(nil, raw), 1<<20)
				if err != nil || !bytes.Equal(got, raw) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzDecode(f *testing.F) {
	for _, raw := range [][]byte{nil, message(0), message(30), make([]byte, 100_000), noise(300)} {
		f.Add(Encode(nil, raw))
		f.Add(Squeeze(nil, raw))
	}
	f.Add([]byte{0x11, 0xff, 0xff, 0xff, 0x7f, 1})
	f.Add([]byte{0x22, 3, 1, 2, 3})
	f.Fuzz(func(t *testing.T, enc []byte) {
		const limit = 1 << 20
		raw, err := Decode(nil, enc, limit)
		if err != nil {
			if raw != nil {
				t.Error("bytes and an error")
			}
			return
		}
		if len(raw) > limit {
			t.Errorf("%d bytes", len(raw))
		}
		again, err := Decode(nil, Encode(nil, raw), limit)
		if err != nil || !bytes.Equal(raw, again) {
			t.Errorf("not stable: %v", err)
		}
	})
}

func FuzzEncode(f *testing.F) {
	f.Add(message(2))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := Decode(nil, Encode(nil, raw), int64(len(raw)))
		if err != nil || !bytes.Equal(got, raw) {
			t.Error(err)
		}
	})
}

// samples gives real messages, if they are there.
func samples(tb testing.TB) (all [][]byte) {
	dir := "shared/testdata"
	for range 8 {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Join("..", dir)
	}
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(p, ".eml") || strings.HasSuffix(p, ".txt") || strings.HasSuffix(p, ".raw")) {
			if b, err := os.ReadFile(p); err == nil && len(b) > 300 && len(b) < small {
				all = append(all, b)
			}
		}
		return nil
	})
	if len(all) == 0 {
		tb.Skip("no messages in shared/testdata")
	}
	return all
}

func BenchmarkSamples(b *testing.B) {
	all := samples(b)
	raw, packed := 0, 0
	for _, m := range all {
		raw += len(m)
		packed += len(Encode(nil, m))
	}
	b.Logf("%d messages, %d bytes each, ratio %.2f", len(all), raw/len(all), float64(raw)/float64(packed))
	var buf []byte
	b.ReportAllocs()
	for i := range b.N {
		buf = Encode(buf[:0], all[i%len(all)])
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, lines := range []int{5, 45, 200, 800} {
		raw := message(lines)
		var buf []byte
		b.Run(fmt.Sprint(len(raw)), func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for range b.N {
				buf = Encode(buf[:0], raw)
			}
			b.ReportMetric(float64(len(raw))/float64(len(buf)), "ratio")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	enc := Encode(nil, message(45))
	var buf []byte
	b.ReportAllocs()
	for range b.N {
		buf, _ = Decode(buf[:0], enc, 1<<20)
	}
}
