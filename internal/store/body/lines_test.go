package body

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv/memkv"
)

// lined is the text with every line ending in CRLF, done the plain way.
func lined(s string) string {
	if s == "" {
		return ""
	}
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
	switch {
	case strings.HasSuffix(s, "\n"):
		return s
	case strings.HasSuffix(s, "\r"):
		return s + "\n"
	}
	return s + "\r\n"
}

// TestUnended compares with the plain way, in memory and in a blob, and however
// the body comes in.
func TestUnended(t *testing.T) {
	s := &Store{DB: memkv.New(), Blobs: memblob.New()}
	texts := []string{"", "\n", "\r", "\r\n", "\n\n", "\n\r", "a", "a\n", "a\r\n", "a\r", "\r\r\n", "a\nb\r\nc", strings.Repeat("a\n\r\n", 40_000)}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		b := make([]byte, rnd.IntN(12))
		for i := range b {
			b[i] = "\r\na"[rnd.IntN(3)]
		}
		texts = append(texts, string(b))
	}
	for _, text := range texts {
		want := int64(len(lined(text)) - len(text))
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(text), "in halves": iotest.HalfReader(strings.NewReader(text)), "byte by byte": iotest.OneByteReader(strings.NewReader(text))} {
			st, err := s.Stage(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got := st.Unended(); got != want {
				t.Errorf("%s, %.40q: %d bytes lack, want %d", name, text, got, want)
			}
			st.Close()
		}
		c := &countedReader{r: iotest.OneByteReader(strings.NewReader(text))}
		if b, err := io.ReadAll(c); err != nil || !bytes.Equal(b, []byte(text)) || c.ends.missing() != want {
			t.Errorf("%.40q: counted %d, want %d", text, c.ends.missing(), want)
		}
	}
}
