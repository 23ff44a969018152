package imapd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// TestDesks: what is shared among several is done once each; an error ends it, and a
// panic is one of who asked, whose session alone ends.
func TestDesks(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	for _, n := range []int{0, 1, 31, 32, 100, 256} {
		m := new(search)
		done := make([]atomic.Int32, n)
		if err := m.share(n, func(_ *desk, i int) error { done[i].Add(1); return nil }); err != nil {
			t.Error(err)
		}
		for i := range done {
			if got := done[i].Load(); got != 1 {
				t.Errorf("of %d, %d was done %d times", n, i, got)
			}
		}
		if want := max(1, min(3, n/worthDesk)); len(m.desks) != want {
			t.Errorf("%d desks for %d, want %d", len(m.desks), n, want)
		}
	}
	wrong := errors.New("wrong")
	for _, at := range []int{3, 99} { // at the first desk, and at the last
		m := new(search)
		if err := m.share(100, func(_ *desk, i int) error {
			if i == at {
				return wrong
			}
			return nil
		}); err != wrong {
			t.Error(err)
		}
		func() {
			defer func() {
				if p := fmt.Sprint(recover()); !strings.HasPrefix(p, "boom") {
					t.Error(p)
				}
			}()
			m.share(100, func(_ *desk, i int) error {
				if i == at {
					panic("boom")
				}
				return nil
			})
		}()
	}
}

// TestSearchMany looks for texts in so many messages that they are read several at a
// time.
func TestSearchMany(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	srv := newServer(t)
	c := newClient(t, srv)
	const n = 300
	want := "* SEARCH"
	for i := range n {
		word := "hay"
		if i%7 == 3 {
			word = "n\u00e9edle"
			want += fmt.Sprint(" ", i+1)
		}
		text := fmt.Sprintf("From: ada@example.org\r\nContent-Type: text/plain; charset=utf-8\r\nX-Word: %s\r\n\r\n%s %s\r\n", word, strings.Repeat("straw ", i), word)
		c.do(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(text), text))
	}
	c.do("SELECT INBOX")
	for _, key := range []string{"BODY", "TEXT", "HEADER X-Word"} {
		c.want(fmt.Sprintf("SEARCH CHARSET UTF-8 %s {7+}\r\nN\u00c9EDLE", key), want, "OK SEARCH completed")
	}
}

// noise is text that cannot be compressed much, so that it is a blob if it is large.
func noise(size int) string {
	random := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for b.Len() < size {
		fmt.Fprintf(&b, "%016x%016x\r\n", random.Uint64(), random.Uint64())
	}
	return b.String()
}

// TestSearchFileNames finds the names of files, however they are encoded, in messages
// that are read whole and in those that are too large for it.
func TestSearchFileNames(t *testing.T) {
	srv := newServer(t)
	c := newClient(t, srv)
	for i, name := range []string{
		`attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe.pdf`,
		`attachment; filename="=?utf-8?q?Gr=C3=BC=C3=9Fe=2Epdf?="`,
		"attachment; filename*0*=utf-8''Gr%C3%BC;\r\n filename*1*=%C3%9Fe.pdf",
		`attachment; filename=Wiesen.pdf`,
	} {
		for _, size := range []int{1, 200 << 10} {
			text := "From: ada@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
				"--b\r\nContent-Type: application/pdf\r\nContent-Disposition: " + name + "\r\n\r\n" + noise(size) + "\r\n--b--\r\n"
			if size > 1 && i > 0 {
				continue
			}
			c.do(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(text), text))
		}
	}
	c.do("SELECT INBOX")
	c.want("SEARCH CHARSET UTF-8 TEXT {11+}\r\ngr\u00dc\u00dfe.PDF", "* SEARCH 1 2 3 4", "OK SEARCH completed")
	c.want("SEARCH CHARSET UTF-8 BODY {11+}\r\ngr\u00dc\u00dfe.PDF", "* SEARCH", "OK SEARCH completed")
	c.want("SEARCH TEXT wiesen NOT TEXT nowhere", "* SEARCH 5", "OK SEARCH completed")
}
