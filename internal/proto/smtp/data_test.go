package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// naive is what DataReader does, as simply as it can be said.
func naive(stream []byte, limit int) (body, rest []byte, err error) {
	end := bytes.Index(append([]byte("\r\n"), stream...), []byte("\r\n.\r\n"))
	if end < 0 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	raw, rest := stream[:end], stream[end+3:]
	for i, c := range raw {
		if c == 0 || c == '\n' && (i == 0 || raw[i-1] != '\r') || c == '\r' && (i+1 == len(raw) || raw[i+1] != '\n') {
			return nil, rest, ErrBroken
		}
	}
	for _, line := range bytes.SplitAfter(raw, []byte("\r\n")) {
		body = append(body, bytes.TrimPrefix(line, []byte("."))...)
	}
	if len(body) > limit {
		return nil, rest, ErrTooLong
	}
	return body, rest, nil
}

// compare reads a stream in both ways. It skips which of two errors comes
// first, as both are a no.
func compare(t *testing.T, stream []byte, limit int, wrap func(io.Reader) io.Reader) {
	t.Helper()
	want, wantRest, wantErr := naive(stream, limit)
	r := NewReader(wrap(bytes.NewReader(stream)), new(Buffers))
	d := r.Data(int64(limit))
	got, err := io.ReadAll(d)
	if err == nil != (wantErr == nil) || errors.Is(err, io.ErrUnexpectedEOF) != errors.Is(wantErr, io.ErrUnexpectedEOF) {
		t.Fatalf("%q limit %d: %v, want %v", stream, limit, err, wantErr)
	}
	if err == nil && !bytes.Equal(got, want) {
		t.Fatalf("%q: %q, want %q", stream, got, want)
	}
	if !errors.Is(d.Err(), err) || !errors.Is(d.Drain(), err) {
		t.Fatalf("%q: Err is %v after %v", stream, d.Err(), err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return
	}
	rest, err := io.ReadAll(io.MultiReader(bytes.NewReader(r.window()), r.src))
	if err != nil || !bytes.Equal(rest, wantRest) {
		t.Fatalf("%q: the next command is %q, want %q", stream, rest, wantRest)
	}
}

var feeds = map[string]func(io.Reader) io.Reader{
	"whole": func(r io.Reader) io.Reader { return r },
	"bytes": iotest.OneByteReader,
	"eof":   iotest.DataErrReader,
}

// sequences are the ends of data that somebody, somewhere, believed in.
var sequences = []string{
	"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\n.\r", "\r.\n", "\r\r\n.\r\r\n", "\r\n.\r\r\n",
	"\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n. \r\n", "\r\n.\t\r\n", "\v.\v", "\f.\f", "\u0085.\u0085", "\u2028.\u2028", "\r\n\r.\r\n",
}

func TestData(t *testing.T) {
	streams := []string{
		".\r\n", "\r\n.\r\n", "a\r\n.\r\nQUIT\r\n", "..\r\n.\r\n", "..a\r\n...\r\n.b\r\n.\r\n", ".\ra\r\n.\r\n", ".", ".\r", "a\r\n.", "a\r\n.\r", "", "a",
		"\x00\r\n.\r\n", ".\x00\r\n.\r\n", "a\n.\r\n\r\n.\r\n", "\r.\r\n\r\n.\r\n", "a\r\n\r\n.\r\n.\r\n",
		strings.Repeat("0123456789\r\n", 10000) + ".\r\nNOOP\r\n", strings.Repeat("x", 100000) + "\r\n.\r\n", strings.Repeat("..\r\n", 20000) + ".\r\n",
	}
	for _, s := range sequences {
		streams = append(streams, "Subject: a\r\n\r\nbody"+s+"MAIL FROM:<x@y.example>\r\nRCPT TO:<z@y.example>\r\nDATA\r\nsecond\r\n.\r\nQUIT\r\n")
	}
	for _, s := range streams {
		for _, wrap := range feeds {
			for _, limit := range []int{1 << 20, 100, 5, 0} {
				compare(t, []byte(s), limit, wrap)
			}
		}
		if len(s) < 200 {
			for i := range s {
				compare(t, []byte(s[:i]), 1<<20, feeds["whole"])
			}
		}
	}
}

func TestDataDifferential(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"\r\n", "\r\n", "\r\n", ".", ".", "a", "bc", "\r", "\n", "\x00"}
	for range 30000 {
		var s []byte
		n := 7 + rnd.IntN(4)*rnd.IntN(2)
		for range rnd.IntN(20) {
			s = append(s, alphabet[rnd.IntN(min(n, len(alphabet)))]...)
		}
		s = append(s, "\r\n.\r\n"...)
		limit := 1 << 20
		if rnd.IntN(4) == 0 {
			limit = rnd.IntN(20)
		}
		compare(t, s, limit, feeds["whole"])
		compare(t, s, limit, feeds["bytes"])
	}
}

// TestSmuggling shows that each sequence is refused or a part of the message,
// and that what follows it is never a command.
func TestSmuggling(t *testing.T) {
	for _, s := range sequences {
		in := "a" + s + "MAIL FROM:<x@y.example>\r\n.\r\n"
		r := NewReader(strings.NewReader(in), new(Buffers))
		d := r.Data(1 << 20)
		_, err := io.Copy(io.Discard, d)
		// ". " and the like are lines with a dot stuffed, VT and the rest are text.
		text := strings.ContainsAny(s, " \t\v\f\u0085\u2028")
		if text != (err == nil) || !text && !errors.Is(err, ErrBroken) {
			t.Errorf("%q: %v", s, err)
		}
		if r.Buffered() != 0 {
			t.Errorf("%q: %q is left", s, r.window())
		}
	}
}

func FuzzData(f *testing.F) {
	for _, s := range sequences {
		f.Add([]byte("a"+s+"b\r\n.\r\n"), 100)
	}
	f.Fuzz(func(t *testing.T, stream []byte, limit int) {
		limit &= 1<<16 - 1
		compare(t, stream, limit, feeds["whole"])
		compare(t, stream, limit, feeds["bytes"])
	})
}

func TestDataWriter(t *testing.T) {
	for _, c := range [][2]string{
		{"", ".\r\n"},
		{"a", "a\r\n.\r\n"},
		{"a\r\n", "a\r\n.\r\n"},
		{".", "..\r\n.\r\n"},
		{".\r\n..\r\nx.\r\n", "..\r\n...\r\nx.\r\n.\r\n"},
		{"a\nb\rc\r\rd\n\re", "a\r\nb\r\nc\r\n\r\nd\r\n\r\ne\r\n.\r\n"},
		{"a\n.\nb\r.\r\n.", "a\r\n..\r\nb\r\n..\r\n..\r\n.\r\n"},
		{"\r", "\r\n.\r\n"},
		{"a\x00b\r\n", "a\x00b\r\n.\r\n"},
		{"\r\n.\r\nMAIL", "\r\n..\r\nMAIL\r\n.\r\n"},
	} {
		for cut := 0; cut <= len(c[0]); cut++ {
			for _, size := range []int{1, 3, 100} {
				var b bytes.Buffer
				d := NewDataWriter(&b, make([]byte, size))
				d.Write([]byte(c[0][:cut]))
				d.Write([]byte(c[0][cut:]))
				if err := d.End(); err != nil || b.String() != c[1] {
					t.Errorf("%q cut at %d: %q, %v, want %q", c[0], cut, b.String(), err, c[1])
				}
			}
		}
	}
}

func FuzzDataWriter(f *testing.F) {
	f.Add([]byte(".\r\n.a\n"), uint(2))
	f.Fuzz(func(t *testing.T, p []byte, cut uint) {
		cut %= uint(len(p) + 1)
		var b bytes.Buffer
		d := NewDataWriter(&b, make([]byte, 16))
		d.Write(p[:cut])
		d.Write(p[cut:])
		d.End()
		body, rest, err := naive(b.Bytes(), 1<<30)
		if bytes.IndexByte(p, 0) >= 0 {
			return
		}
		if err != nil || len(rest) > 0 {
			t.Fatalf("%q went out as %q: %v, rest %q", p, b.Bytes(), err, rest)
		}
		if _, _, broken := naive(append(p[:len(p):len(p)], ".\r\n"...), 1<<30); broken == nil && !bytes.Contains(append([]byte("\r\n"), p...), []byte("\r\n.")) && !bytes.Equal(body, p) {
			t.Fatalf("%q came back as %q", p, body)
		}
	})
}

func TestChunks(t *testing.T) {
	for _, c := range []struct {
		chunks []string
		want   string
		err    error
	}{
		{[]string{""}, "", nil},
		{[]string{"a\r\n"}, "a\r\n", nil},
		{[]string{"a"}, "a\r\n", nil},
		{[]string{"a\r", "\nb\r\n"}, "a\r\nb\r\n", nil},
		{[]string{"a\r\n", ""}, "a\r\n", nil},
		{[]string{".\r\n", ".\r\nMAIL FROM:<x@y.example>\r\n"}, ".\r\n.\r\nMAIL FROM:<x@y.example>\r\n", nil},
		{[]string{"a\r", "b"}, "", ErrBroken},
		{[]string{"a\r"}, "", ErrBroken},
		{[]string{"a\n"}, "", ErrBroken},
		{[]string{"a\x00b"}, "", ErrBroken},
		{[]string{strings.Repeat("x", 60000), strings.Repeat("y", 60000)}, strings.Repeat("x", 60000) + strings.Repeat("y", 60000) + "\r\n", nil},
		{[]string{strings.Repeat("x", 60000), strings.Repeat("y", 150000)}, "", ErrTooLong},
	} {
		for name, wrap := range feeds {
			for elsewhere := range 4 { // which of the chunks come from elsewhere
				chunksFrom(t, fmt.Sprintf("%s/%d", name, elsewhere), wrap, c.chunks, elsewhere, c.want, c.err)
			}
		}
	}
	r := NewReader(strings.NewReader("abc"), new(Buffers))
	if _, err := io.ReadAll(r.Chunks(Chunk{Size: 10, Last: true}, 100, nil)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a chunk cut off: %v", err)
	}
	b := r.Chunks(Chunk{Size: 10, Last: true, From: strings.NewReader("abc")}, 100, nil)
	if _, err := io.ReadAll(b); !Fetching(err) || !Fetching(b.Err()) {
		t.Errorf("a chunk cut off elsewhere: %v", err)
	}
}

func chunksFrom(t *testing.T, name string, wrap func(io.Reader) io.Reader, chunks []string, elsewhere int, want string, wantErr error) {
	var in []byte
	for i, s := range chunks {
		if elsewhere&(1<<i) == 0 {
			in = append(in, s...)
		}
	}
	r := NewReader(wrap(bytes.NewReader(append(in, "QUIT"...))), new(Buffers))
	chunk := func(i int) Chunk {
		ch := Chunk{Size: int64(len(chunks[i])), Last: i == len(chunks)-1}
		if elsewhere&(1<<i) != 0 {
			ch.From = wrap(strings.NewReader(chunks[i]))
		}
		return ch
	}
	next := 0
	b := r.Chunks(chunk(0), 200000, func() (Chunk, error) {
		next++
		return chunk(next), nil
	})
	got, err := io.ReadAll(b)
	if !errors.Is(err, wantErr) || err == nil && string(got) != want {
		t.Errorf("%s %.50q: %.50q, %v", name, chunks, got, err)
	}
	if next < len(chunks)-1 {
		return // it ended before the last chunk
	}
	rest, _ := io.ReadAll(io.MultiReader(bytes.NewReader(r.window()), r.src))
	if string(rest) != "QUIT" {
		t.Errorf("%s %.50q: %.50q is left", name, chunks, rest)
	}
}

func TestLine(t *testing.T) {
	in := "one\r\n\r\nbare\n" + strings.Repeat("x", 3000) + "\r\nafter\r\n" + strings.Repeat("y", 100000) + "\r\nlast\r\ncut"
	for name, wrap := range feeds {
		r := NewReader(wrap(strings.NewReader(in)), new(Buffers))
		for _, want := range []string{"one <nil>", " <nil>", "bare " + ErrBareLF.Error(), " " + ErrLineTooLong.Error(), "after <nil>", " " + ErrFlood.Error()} {
			line, err := r.Line(100)
			if got := fmt.Sprintf("%s %v", line, err); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
	r := NewReader(strings.NewReader("cut"), new(Buffers))
	if _, err := r.Line(100); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func BenchmarkData(b *testing.B) {
	msg := []byte(strings.Repeat("The quick brown fox jumps over the lazy dog, and then over another.\r\n", 750) + ".\r\n")
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	src := bytes.NewReader(msg)
	r := NewReader(src, new(Buffers))
	for b.Loop() {
		src.Reset(msg)
		if _, err := r.Data(1 << 20).WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
