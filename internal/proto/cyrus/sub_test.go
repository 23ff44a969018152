package cyrus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strings"
	"testing"
)

// sample is a file of Cyrus 3.6, with one that was subscribed to no more, and one that was
// again.
func sample(t testing.TB) []byte {
	b, err := os.ReadFile("testdata/sub.twoskip")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const sampleHas = `[["INBOX"] ["INBOX" "W&APw-rk"] ["INBOX" "Work"] ["INBOX" "Work" "Sub one.x"]]`

func TestSubscriptions(t *testing.T) {
	for _, c := range []struct{ text, user, want string }{
		{string(sample(t)), "ada", sampleHas},
		{"\x1fVER\x1f\t2\nNINBOX\t\nNINBOX\x1fW&APw-rk\t\nNINBOX\x1fWork\t\nNINBOX\x1fWork\x1fSub one.x\t\nNINBOXES\t\nNuser\x1fbob\t\n", "ada", sampleHas},
		{"user.ada\t\nuser.ada.Work\t\nuser.ada.Work.Sub one^x\t\nuser.adam\t\nuser.bob.Work\t\nshared.x\t\n", "ada", `[["INBOX"] ["INBOX" "Work"] ["INBOX" "Work" "Sub one^x"]]`},
		{"example.org!user.a^da.Work\t\nexample.org!user.bob\t\n", "a.da@example.org", `[["INBOX" "Work"]]`},
		{"", "ada", "[]"},
	} {
		list, err := ParseSubscriptions([]byte(c.text), c.user)
		if got := fmt.Sprintf("%q", list); got != c.want || err != nil {
			t.Errorf("%.40q has %s, want %s: %v", c.text, got, c.want, err)
		}
	}
	for _, text := range []string{"user.ada", "user.ada\t", "user.ada\n", skiplistMagic + "\000\000\000", twoskipMagic, twoskipMagic[:4] + "other"} {
		if list, err := ParseSubscriptions([]byte(text), "ada"); !errors.Is(err, ErrSubscriptions) || list != nil {
			t.Errorf("%q has %q, %v", text, list, err)
		}
	}
}

// recordOf gives where the record begins whose key is at a place.
func recordOf(b []byte, key int) int {
	at := key - 32
	for b[at] != recordKey || at+8+8*(int(b[at+1])+1)+8 != key {
		at -= 8
	}
	return at
}

// TestTwoskip: what was not committed does not count, and what is cut or damaged is told.
func TestTwoskip(t *testing.T) {
	whole := sample(t)
	head := func(b []byte, change func()) []byte {
		change()
		binary.BigEndian.PutUint32(b[twoskipSum:], crc32.ChecksumIEEE(b[:twoskipSum]))
		return b
	}
	// As it was before the last commit, with the rest behind it: one had just been taken
	// out, which comes again.
	last := recordOf(whole, strings.LastIndex(string(whole), "NINBOX\x1fWork\x00"))
	before := head(append([]byte(nil), whole...), func() {})
	head(before, func() { binary.BigEndian.PutUint64(before[twoskipSize:], uint64(last)) })
	if list, err := ParseSubscriptions(before, "ada"); err != nil || fmt.Sprintf("%q", list) != strings.Replace(sampleHas, ` ["INBOX" "Work"]`, "", 1) {
		t.Errorf("%q, %v", list, err)
	}
	for n := range whole {
		if list, err := ParseSubscriptions(whole[:n], "ada"); n > 4 && err == nil {
			t.Fatalf("cut at %d it has %q", n, list)
		}
	}
	ring := head(append([]byte(nil), whole...), func() {})
	at := recordOf(ring, strings.Index(string(ring), "NINBOX\x00")) // points on; now to itself
	for i := range 2 {
		binary.BigEndian.PutUint64(ring[at+8+8*i:], uint64(at))
	}
	n := 8 + 8*(int(ring[at+1])+1)
	binary.BigEndian.PutUint32(ring[at+n:], crc32.ChecksumIEEE(ring[at:at+n]))
	if list, err := ParseSubscriptions(ring, "ada"); !errors.Is(err, ErrSubscriptions) || !strings.Contains(err.Error(), "do not end") {
		t.Errorf("%q, %v", list, err)
	}
	ring[at+8]++
	if _, err := ParseSubscriptions(ring, "ada"); !errors.Is(err, ErrSubscriptions) || !strings.Contains(err.Error(), "damaged") {
		t.Error(err)
	}
}

// FuzzSubscriptions: whatever is in the file, nothing panics, and levels are of a name.
func FuzzSubscriptions(f *testing.F) {
	f.Add(sample(f))
	f.Add([]byte("\x1fVER\x1f\t2\nNINBOX\x1fa\t\n"))
	f.Add([]byte("example.org!user.ada.x\t\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > twoskipHead { // or no change would get beyond
			fixed := append([]byte(nil), b...)
			binary.BigEndian.PutUint32(fixed[twoskipSum:], crc32.ChecksumIEEE(fixed[:twoskipSum]))
			_, _ = ParseSubscriptions(fixed, "ada")
		}
		list, err := ParseSubscriptions(b, "ada")
		for _, levels := range list {
			if err != nil || len(levels) == 0 || levels[0] != "INBOX" {
				t.Errorf("%q, %v", levels, err)
			}
		}
	})
}
