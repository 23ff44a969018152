package mailbox

import (
	"reflect"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

func TestACLRights(t *testing.T) {
	parse := func(s string) Rights {
		r, ok := ParseRights(s)
		if !ok {
			t.Fatal(s)
		}
		return r
	}
	l := ACL{
		{To: GranteeOf(3), Rights: parse("rw")},
		{To: Anyone, Rights: parse("lp")},
		{To: Authenticated, Rights: parse("s")},
		{To: GranteeOf(3), Takes: true, Rights: parse("ps")},
		{To: Anyone, Takes: true, Rights: parse("a")},
		{To: GranteeOf(4), Rights: parse("la")},
	}
	for who, want := range map[mail.AccountID]string{3: "lrw", 4: "lsp", 5: "lsp", 0: "lp"} {
		if got := l.Rights(who); got != parse(want) {
			t.Errorf("%d has %v, want %s", who, got, want)
		}
	}
	for text, want := range map[string]string{
		"": "", "lrs": "lrs", "c": "kxc", "d": "ted", "lrswipkxteacd": "lrswipkxteacd", "k": "kc", "e": "ed", "aal": "la",
	} {
		if got := parse(text).String(); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{"L", "lrq", "l r", "0", "é"} {
		if _, ok := ParseRights(text); ok {
			t.Errorf("%q are rights", text)
		}
	}
	if AllRights.Flags() != ^Flags(0) || parse("lripkxea").Flags() != 0 {
		t.Error("flags of rights")
	}
}

// FuzzACL: rights and rows come back as they were written, and nothing given
// makes more of somebody than everything.
func FuzzACL(f *testing.F) {
	f.Add("lrswid", ACL{{To: 3, Rights: 3}, {To: Anyone, Takes: true, Rights: 1}}.append(nil))
	f.Fuzz(func(t *testing.T, text string, raw []byte) {
		if r, ok := ParseRights(text); ok {
			// RFC 4314 §2.1.1: those of RFC 2086 stand for all that they have become.
			if again, ok := ParseRights(strings.Trim(r.String(), "cd")); !ok || again != r || r&^AllRights != 0 {
				t.Errorf("%q: %v became %v", text, r, again)
			}
		}
		d := kv.Decode(raw)
		l := decodeACL(d)
		if d.Err() != nil {
			return
		}
		if again := decodeACL(kv.Decode(l.append(nil))); !reflect.DeepEqual(again, l) || len(l) > MaxGrants {
			t.Errorf("%v became %v", l, again)
		}
		for _, g := range l {
			for _, mode := range []RightsMode{ReplaceRights, AddRights, RemoveRights} {
				if next := l.with(g, mode); mode == RemoveRights && len(l) == 1 && len(next) != 0 {
					t.Errorf("%v without %v is %v", l, g, next)
				}
			}
		}
	})
}

// TestCountOld: a store from before mailboxes were counted.
func TestCountOld(t *testing.T) {
	old := root{modseq: 1, maxCount: 3, deadBytes: 7}
	var raw []byte
	for _, v := range []uint64{1, 0, 0, 0, 0, 0, 0, 0, 0, 3, 7, 0} {
		raw = append(raw, byte(v))
	}
	for _, b := range [][]byte{raw, old.append(nil)} {
		if got, err := decodeRoot(b); err != nil || got != old || got.counted {
			t.Errorf("%+v, %v", got, err)
		}
	}
}
