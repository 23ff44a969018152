package inflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

func deflate(t testing.TB, level int, text string, flushEvery int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(text); i += flushEvery {
		io.WriteString(w, text[i:min(i+flushEvery, len(text))])
		w.Flush()
	}
	w.Close()
	return b.Bytes()
}

func texts() []string {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(r.IntN(256))
	}
	return []string{"", "a", "a1 NOOP\r\n", strings.Repeat("a", 70_000), strings.Repeat("From: somebody <somebody@example.org>\r\n", 3000), string(noise)}
}

func TestAgainstFlate(t *testing.T) {
	for _, text := range texts() {
		for _, level := range []int{0, 1, 6, 9, flate.HuffmanOnly} {
			for _, every := range []int{1 << 20, 1000} {
				b := deflate(t, level, text, every)
				for name, src := range map[string]io.Reader{"whole": bytes.NewReader(b), "by byte": iotest.OneByteReader(bytes.NewReader(b)), "halves": iotest.HalfReader(bytes.NewReader(b))} {
					got, err := io.ReadAll(NewReader(src))
					if err != nil || string(got) != text {
						t.Fatalf("%s, level %d, %d bytes: %d came out, %v", name, level, len(text), len(got), err)
					}
				}
				got, err := io.ReadAll(iotest.OneByteReader(NewReader(bytes.NewReader(b))))
				if err != nil || string(got) != text {
					t.Fatalf("to small reads: %v", err)
				}
			}
		}
	}
}

// partial is what zlib writes for "a1 NOOP\r\n" and Z_PARTIAL_FLUSH: a block of
// the fixed code, and an empty one that brings its last bits out.
func partial() []byte {
	var bits []byte
	put := func(v uint32, n int) { // lowest first
		for i := range n {
			bits = append(bits, byte(v>>i)&1)
		}
	}
	code := func(v uint32, n int) { // highest first
		for i := n - 1; i >= 0; i-- {
			bits = append(bits, byte(v>>i)&1)
		}
	}
	put(0, 1)
	put(1, 2)
	for _, c := range []byte("a1 NOOP\r\n") {
		code(0x30+uint32(c), 8)
	}
	code(0, 7)
	put(0, 1)
	put(1, 2)
	code(0, 7)
	for len(bits)%8 != 0 {
		bits = append(bits, 0) // what of the next block is in the last byte would not be sent
	}
	out := make([]byte, (len(bits)-7)/8)
	for i := range out {
		for j := range 8 {
			out[i] |= bits[i*8+j] << j
		}
	}
	return out
}

// TestPartialFlush: a command is given when all of it has come, though its block
// has not ended and the client waits for the answer.
func TestPartialFlush(t *testing.T) {
	pr, pw := io.Pipe()
	defer pw.Close()
	go pw.Write(partial())
	r := NewReader(pr)
	got := make([]byte, 0, 20)
	for len(got) < 9 {
		n, err := r.Read(got[len(got):cap(got)])
		if err != nil {
			t.Fatal(err)
		}
		got = got[:len(got)+n]
	}
	if string(got) != "a1 NOOP\r\n" {
		t.Errorf("%q", got)
	}
}

func TestErrors(t *testing.T) {
	b := deflate(t, 9, strings.Repeat("hello, world ", 50), 100)
	for i := range b {
		_, err := io.ReadAll(NewReader(bytes.NewReader(b[:i])))
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut after %d of %d bytes: %v", i, len(b), err)
		}
	}
	for _, bad := range []string{"\x07", "\x01\x00\x00\x00\x00", "\x4b\x04\x02\xff\xff\xff", "GET / HTTP/1.1\r\n\r\n" + strings.Repeat("x", 1000)} {
		if _, err := io.ReadAll(NewReader(strings.NewReader(bad))); err == nil {
			t.Errorf("%q is a stream", bad)
		}
	}
	failing := errors.New("lost")
	if _, err := io.ReadAll(NewReader(iotest.ErrReader(failing))); !errors.Is(err, failing) {
		t.Error(err)
	}
}

func FuzzInflate(f *testing.F) {
	for _, s := range texts()[:4] {
		f.Add(deflate(f, 9, s, 100))
	}
	f.Add(partial())
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 1 << 20
		want, werr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), most))
		got, err := io.ReadAll(io.LimitReader(NewReader(iotest.HalfReader(bytes.NewReader(b))), most))
		if werr == nil && (err != nil || !bytes.Equal(got, want)) {
			t.Fatalf("%d bytes and %v, want %d", len(got), err, len(want))
		}
		if !bytes.HasPrefix(got, want) {
			t.Fatalf("%d bytes are not those of %d", len(got), len(want))
		}
	})
}

func BenchmarkInflate(b *testing.B) {
	text := strings.Repeat("From: somebody <somebody@example.org>\r\nSubject: hello there\r\n\r\nSome words.\r\n", 1000)
	data := deflate(b, 6, text, 1<<20)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		io.Copy(io.Discard, NewReader(bytes.NewReader(data)))
	}
}

// TestReadsNoMore: what lies behind a slice is not the Reader's.
func TestReadsNoMore(t *testing.T) {
	var packed bytes.Buffer
	w, _ := flate.NewWriter(&packed, 9)
	w.Write(bytes.Repeat([]byte("0123456789"), 100))
	w.Close()
	r := NewReader(&packed)
	buf := make([]byte, 100)
	n, err := r.Read(buf[:7])
	if n > 7 || err != nil || !bytes.Equal(buf[7:], make([]byte, 93)) {
		t.Errorf("%d bytes into 7, %q, %v", n, buf, err)
	}
}

// hesitant gives an error before each byte.
type hesitant struct {
	io.Reader
	spoke bool
}

var errLater = errors.New("later")

func (h *hesitant) Read(p []byte) (int, error) {
	if h.spoke = !h.spoke; h.spoke {
		return 0, errLater
	}
	return h.Reader.Read(p[:1])
}

// TestGoesOn: a source that has nothing for the moment ends nothing.
func TestGoesOn(t *testing.T) {
	text := strings.Repeat("From: somebody <somebody@example.org>\r\n", 30)
	for _, level := range []int{0, 1, 9} {
		r := NewReader(&hesitant{Reader: bytes.NewReader(deflate(t, level, text, 100))})
		var got []byte
		var err error
		for later := 0; err == nil || err == errLater; {
			b := make([]byte, 7)
			var n int
			if n, err = r.Read(b); err == errLater {
				if later++; later > 10_000 {
					t.Fatal("it does not go on")
				}
			}
			got = append(got, b[:n]...)
		}
		if err != io.EOF || string(got) != text {
			t.Errorf("level %d: %d bytes came out, %v", level, len(got), err)
		}
	}
}
