package cyrus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
)

const saying = "\"The best thing about this system was that it had lots of goals.\"\n\t--Jim Morris on Andrew\n"

func TestParseHeader(t *testing.T) {
	for text, want := range map[string]string{
		"%(T e N \"user.ada.Sub \\\"one^x\" I u60z A %(ada lrswipkxtecdan bob lrs) U (work NIL $Label1))\n": `{user.ada.Sub "one^x e [work  $Label1] [{ada lrswipkxtecdan} {bob lrs}]}`,
		"%(N user.ada)\n": "{user.ada  [] []}",
		"user.ada\t3f2a\nwork  $Label1 \nada\tlrswipcda\t-bob\tr\t\n": "{  [work  $Label1] [{ada lrswipcda} {-bob r}]}",
		"\tid\n\n\n": "{  [] []}",
	} {
		h, err := ParseHeader([]byte(magic + saying + text))
		if got := fmt.Sprint(h); err != nil || got != want {
			t.Errorf("%q is %s, want %s: %v", text, got, want, err)
		}
	}
	for _, text := range []string{"", magic, magic + saying, magic + saying + "x\n", magic + saying + "%(N", magic + saying + "%(N \"x)", magic + saying + "%(N (a (b)))", magic + saying + "%())", "x" + magic} {
		if h, err := ParseHeader([]byte(text)); !errors.Is(err, ErrHeader) && len(h.ACL)+len(h.Keywords) > 0 {
			t.Errorf("%q is %v", text, h)
		}
	}
}

func TestIsMail(t *testing.T) {
	for _, c := range []struct {
		kind, level string
		want        bool
	}{{"e", "", true}, {"", "Work", true}, {"", "#1", true}, {"", "#calendars", false}, {"c", "Work", false}, {"e", "#sieve", false}} {
		h := Header{Type: c.kind}
		if h.IsMail(c.level) != c.want {
			t.Error(c)
		}
	}
}

// index makes the beginning of a file, and a record.
func index(version uint32, record func(put func(int, uint32))) (head, rec []byte) {
	head, rec = make([]byte, HeadSize), make([]byte, 144)
	put := func(b []byte) func(int, uint32) {
		return func(i int, n uint32) { binary.BigEndian.PutUint32(b[i:], n) }
	}
	h := put(head)
	h(8, version)
	h(12, 160)
	h(16, 144)
	h(20, 1)
	if version < 20 {
		h(44, 77)
	} else {
		h(92, 77)
	}
	h(60, 1)
	h(64, 1)
	record(put(rec))
	put(rec)(140, crc32.ChecksumIEEE(rec[:140]))
	return head, rec
}

func TestIndex(t *testing.T) {
	words := []string{"work", "", "home", "gone"}
	for version, want := range map[uint32]string{
		8:  `5 2020-02-03 04:05:06 +0000 UTC [\Answered work home] false`,
		17: `5 2020-02-03 04:05:06 +0000 UTC [\Answered \Seen work home] true`,
		19: `5 2020-02-03 04:05:06 +0000 UTC [\Answered \Seen work home] true`,
		20: `5 2020-02-03 04:05:06.5 +0000 UTC [\Answered \Seen work home] true`,
	} {
		head, rec := index(version, func(put func(int, uint32)) {
			put(0, 5)
			flags := 32
			if version < 20 {
				put(4, 1580702706)
			} else {
				ns := uint64(1580702706_500_000_000)
				put(8, uint32(ns>>32))
				put(12, uint32(ns))
				flags = 36
			}
			put(flags, 1<<31|answered|seen)
			put(flags+4, 7)
		})
		x, err := ParseIndex(head)
		if err != nil || x.UIDValidity != 77 || !x.NewUIDL || x.Records != 1 {
			t.Fatal(version, x, err)
		}
		r, err := x.Record(rec, words)
		if got := fmt.Sprint(r.UID, r.Date, r.Flags, r.Gone); err != nil || got != want {
			t.Errorf("version %d: %s, want %s: %v", version, got, want, err)
		}
		rec[4]++
		if _, err := x.Record(rec, words); version >= OwnSeen && !errors.Is(err, ErrRecord) {
			t.Error("a damaged record is read:", err)
		}
		for i := range head {
			ParseIndex(head[:i])
		}
	}
	head, _ := index(21, func(func(int, uint32)) {})
	if _, err := ParseIndex(head); !errors.Is(err, ErrIndex) {
		t.Error(err)
	}
}

// FuzzCyrus: whatever is in the files, nothing panics.
func FuzzCyrus(f *testing.F) {
	f.Add([]byte(magic + saying + "%(N user.ada A %(ada lrs) U (work NIL))\n"))
	f.Add([]byte(magic + saying + "user.ada\t3f2a\nwork\nada\tlr\t\n"))
	head, rec := index(17, func(put func(int, uint32)) { put(0, 5) })
	f.Add(slices.Concat(head, rec))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, _ := ParseHeader(b)
		x, err := ParseIndex(b)
		if err == nil && len(b) > int(x.Start) {
			x.Record(b[x.Start:], h.Keywords)
		}
	})
}
