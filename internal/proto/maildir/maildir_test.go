package maildir

import (
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	words := []string{"work", "", "home"}
	for name, want := range map[string]string{
		"1.M2P3.host":                "1.M2P3.host",
		"1.M2P3.host,S=10,W=11:2,RS": `1.M2P3.host,S=10,W=11 \Answered \Seen`,
		"x:2,Sac":                    `x \Seen work home`,
		"x:2,bdT":                    `x \Deleted`,
		"x:2,DFP,SIZE":               `x \Draft \Flagged $Forwarded`,
		"x:1,experimental":           "x",
		"x:2,":                       "x",
	} {
		base, flags := Split(name, words)
		if got := strings.Join(append([]string{base}, flags...), " "); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

func TestInfo(t *testing.T) {
	info, use, dropped := Info([]string{"home", `\seen`, "new", `\Answered`, `\Recent`, "WORK"}, []string{"work", "home"})
	if info != ":2,RSabc" || !slices.Equal(use, []string{"work", "home", "new"}) || dropped != 0 {
		t.Error(info, use, dropped)
	}
	if info, _, _ := Info([]string{"$Forwarded"}, []string{"$forwarded"}); info != ":2,Pa" {
		t.Error(info)
	}
	if _, flags := Split("x:2,Pa", []string{"$Forwarded"}); !slices.Equal(flags, []string{"$Forwarded"}) {
		t.Error(flags)
	}
	full := make([]string, MaxKeywords)
	for i := range full {
		full[i] = strings.Repeat("k", i+1)
	}
	if info, use, dropped := Info([]string{"x"}, full); info != ":2," || len(use) != MaxKeywords || dropped != 1 {
		t.Error(info, use, dropped)
	}
}

func TestUIDList(t *testing.T) {
	for line, want := range map[string]uint32{"3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n": 1275660208, "1 77 12": 77, "2 V1 N1": 0, "": 0, "3": 0, "3 Vx": 0} {
		if v, ok := ParseListHeader(line); v != want || ok != (want != 0) {
			t.Errorf("%q: %d %v", line, v, ok)
		}
	}
	for line, want := range map[string]Listed{
		"25006 W2736 P99.x :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,\n": {25006, "1276528487.M364837P9451.kurkku,S=1355,W=1394", "99.x"},
		"1 :a:2,S":               {1, "a", ""},
		"7 1276528487.M36.h:2,S": {7, "1276528487.M36.h", ""},
		"0 :a":                   {}, "x :a": {UID: 0}, "1": {}, "1 W2": {UID: 1}, "1 :": {UID: 1},
	} {
		if l, ok := ParseListed(line); l != want || ok != (want.Base != "") {
			t.Errorf("%q: %+v %v", line, l, ok)
		}
	}
}

func TestFolders(t *testing.T) {
	for dir, name := range map[string]string{"": "INBOX", ".Sent": "Sent", ".Work.Lists": "Work/Lists", ".Entw&APw-rfe": "Entwürfe", ".Bücher": "Bücher", ".R&D": "R&D"} {
		if got, ok := FolderName(dir); got != name || !ok {
			t.Errorf("%q is %q", dir, got)
		}
	}
	for _, dir := range []string{"x", ".", "..", ".a..b", ".a."} {
		if name, ok := FolderName(dir); ok {
			t.Errorf("%q is %q", dir, name)
		}
	}
	if dir := FolderDir("A.b/ü"); dir != ".A_b.&APw-" {
		t.Error(dir)
	}
}

func TestKeywords(t *testing.T) {
	words := ParseKeywords("0 work\n2 home now\nx y\n99 z\n-1 q\n3\n")
	if !slices.Equal(words, []string{"work", "", "home now"}) {
		t.Errorf("%q", words)
	}
	if again := ParseKeywords(FormatKeywords(words)); !slices.Equal(again, words) {
		t.Error(again)
	}
}

func FuzzMaildir(f *testing.F) {
	f.Add("25006 W2736 P99.x :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,RSa", ".A.B&APw-")
	f.Fuzz(func(t *testing.T, line, dir string) {
		ParseListHeader(line)
		ParseListed(line)
		words := ParseKeywords(line)
		_, flags := Split(line, words)
		info, _, _ := Info(flags, words)
		if _, again := Split("x"+info, words); len(again) > len(flags) {
			t.Fatal(flags, again)
		}
		if name, ok := FolderName(dir); ok && strings.HasPrefix(name, "/") {
			t.Fatal(name)
		}
		FolderDir(dir)
	})
}
