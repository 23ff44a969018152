package imapd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// threads gives how the messages are threaded: each is a line of its id and
// what it refers to; "~" before it makes its subject an answer, and what follows
// "/" is the subject.
func threads(a imap.ThreadAlgorithm, lines ...string) string {
	t := &threader{}
	var refs [][]byte
	for i, l := range lines {
		l, subject, _ := strings.Cut(l, "/")
		mark := "\x00"
		if strings.HasPrefix(subject, "~") {
			mark, subject = "\x01", subject[1:]
		}
		t.subjects = append(t.subjects, []byte(mark+subject))
		t.sent = append(t.sent, int64(i))
		refs = append(refs, []byte(strings.ReplaceAll(l, " ", "\n")+"\n"))
	}
	rows := make([]*mailbox.Row, len(lines))
	for i := range rows {
		rows[i] = new(mailbox.Row)
	}
	roots := t.references(refs)
	if a == imap.References {
		roots = t.joinSubjects(roots)
	}
	var b bytes.Buffer
	e := imap.NewEncoder(&b)
	for _, r := range t.arrange(roots, a, rows) {
		t.tell(e, r, func(n int) uint32 { return uint32(n + 1) })
	}
	e.Flush()
	return b.String()
}

func TestThreads(t *testing.T) {
	for _, tc := range []struct {
		in   []string
		want string
	}{
		{[]string{"a", "b a", "c a b", "d a"}, "(1 (2 3)(4))"},
		{[]string{"c a b", "b a", "a"}, "(3 2 1)"},
		{[]string{"a x", "b x"}, "((1)(2))"},
		{[]string{"a x y"}, "(1)"},
		{[]string{"a b", "b a"}, "(2 1)"}, // a loop
		{[]string{"a", "b a c", "c b"}, "(1)(3 2)"},
		{[]string{"a a"}, "(1)"},
		{[]string{"a", "a", "b a"}, "(1 3)(2)"}, // an id twice
		{[]string{"", "", ""}, "(1)(2)(3)"},
		{[]string{"a/x", "b/~x", "c/x", "d/y"}, "((1 2)(3))(4)"},
		{[]string{"a/~x", "b/x"}, "(2 1)"},
		{[]string{"a q/x", "b q/x", "c r/x", "d r/x"}, "((1)(2)(3)(4))"},
		{[]string{"a q/x", "b q/x", "c/x"}, "((1)(2)(3))"},
	} {
		if got := threads(imap.References, tc.in...); got != tc.want {
			t.Errorf("%q: %s, want %s", tc.in, got, tc.want)
		}
	}
}

// TestThreadsWhole looks that whatever messages refer to, each comes out once,
// and quickly.
func TestThreadsWhole(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		n := r.IntN(40)
		lines := make([]string, n)
		for i := range lines {
			lines[i] = strconv.Itoa(r.IntN(30))
			for range r.IntN(5) {
				lines[i] += " " + strconv.Itoa(r.IntN(30))
			}
			lines[i] += []string{"", "/x", "/~x", "/y"}[r.IntN(4)]
		}
		for _, a := range []imap.ThreadAlgorithm{imap.References, imap.Refs} {
			got := threads(a, lines...)
			seen := map[string]int{}
			for _, w := range strings.FieldsFunc(got, func(c rune) bool { return c == '(' || c == ')' || c == ' ' }) {
				seen[w]++
			}
			for i := range n {
				if seen[strconv.Itoa(i+1)] != 1 || len(seen) != n {
					t.Fatalf("seed %d: %q: %s", seed, lines, got)
				}
			}
		}
	}
	long := make([]string, 20_000)
	for i := range long {
		long[i] = fmt.Sprintf("%d %d", i, i+1)
	}
	start := time.Now()
	threads(imap.References, long...)
	t.Logf("a chain of %d messages takes %v", len(long), time.Since(start))
}
