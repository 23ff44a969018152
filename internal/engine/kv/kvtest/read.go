package kvtest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"posthaste/internal/engine/kv"
)

func testScanOrder(t *testing.T, s kv.Store) {
	raw := []string{"", "\x00", "\x00\x00", "\x00\xff", "a", "a\x00", "ab", "b", "\x7f", "\x80", "\xfe", "\xff", "\xff\x00", "\xff\xff"}
	update(t, s, kv.Plan{Locks: []kv.Lock{lockB, lockA}}, func(tx kv.Tx) {
		for _, i := range rand.Perm(len(raw)) {
			tx.Set(key(lockA, raw[i]), []byte{1})
			tx.Set(key(lockB, raw[i]), []byte{2})
		}
	})
	var keys [][]byte
	for _, l := range []kv.Lock{lockA, lockB} {
		for _, k := range raw {
			keys = append(keys, key(l, k))
		}
	}
	view(t, s, func(r kv.Reader) {
		for _, rg := range []kv.Range{{}, {Reverse: true}} {
			i := 0
			for p, err := range r.Scan(rg) {
				if err != nil || i >= len(keys) || !bytes.Equal(p.Key, keys[i]) {
					t.Fatalf("row %d: %q, %v", i, p.Key, err)
				}
				i++
			}
			if i != len(keys) {
				t.Errorf("%d rows of %d", i, len(keys))
			}
			slices.Reverse(keys)
		}
	})
}

func testScanRanges(t *testing.T, s kv.Store) {
	put(t, s, "a=1", "b=2", "c=3", "d=4")
	update(t, s, kv.Plan{Locks: []kv.Lock{lockB}}, func(tx kv.Tx) { tx.Set(key(lockB, "z"), []byte("9")) })
	from, to := key(lockA, "b"), key(lockA, "d")
	for _, c := range []struct {
		name, want string
		r          kv.Range
	}{
		{"all", "a=1 b=2 c=3 d=4 z=9", kv.Range{}},
		{"prefix", "a=1 b=2 c=3 d=4", all(lockA)},
		{"half open", "b=2 c=3", kv.Range{Low: from, High: to}},
		{"no high", "b=2 c=3 d=4 z=9", kv.Range{Low: from}},
		{"no low", "a=1 b=2 c=3", kv.Range{High: to}},
		{"limit", "a=1 b=2", kv.Range{Limit: 2}},
		{"limit above", "z=9", kv.Range{Low: lockB.Prefix(), Limit: 7}},
		{"reverse", "c=3 b=2", kv.Range{Low: from, High: to, Reverse: true}},
		{"reverse limit", "z=9 d=4", kv.Range{Low: from, Reverse: true, Limit: 2}},
		{"empty", "", kv.Range{Low: from, High: from}},
		{"upside down", "", kv.Range{Low: to, High: from}},
		{"between keys", "c=3", kv.Range{Low: key(lockA, "bb"), High: key(lockA, "cc")}},
	} {
		view(t, s, func(r kv.Reader) { want(t, c.name, list(t, r, c.r), c.want) })
		update(t, s, planA, func(tx kv.Tx) { want(t, c.name+" in Tx", list(t, tx, c.r), c.want) })
		update(t, s, planA, func(tx kv.Tx) {
			set(tx, "a=1")
			want(t, c.name+" in Tx that writes", list(t, tx, c.r), c.want)
		})
	}
}

func testScanNested(t *testing.T, s kv.Store) {
	put(t, s, "a=1", "b=2", "c=3")
	read := func(r kv.Reader) {
		var got []string
		scan := r.Scan(all(lockA))
		for p := range scan {
			for q := range r.Scan(kv.Range{Low: p.Key, Limit: 2}) {
				v, _ := r.Get(q.Key)
				got = append(got, string(p.Value)+string(v))
			}
			if string(p.Value) == "2" {
				break
			}
		}
		for p := range scan { // a Scan can be gone over again
			got = append(got, string(p.Value))
		}
		want(t, "pairs", strings.Join(got, " "), "11 12 22 23 1 2 3")
	}
	view(t, s, read)
	update(t, s, planA, func(tx kv.Tx) { read(tx) })
}

func testGetMany(t *testing.T, s kv.Store) {
	const n = 300
	update(t, s, planA, func(tx kv.Tx) {
		for i := 0; i < n; i += 2 {
			tx.Set(key(lockA, fmt.Sprintf("%04d", i)), fmt.Append(nil, i))
		}
	})
	check := func(what string, r kv.Reader, order []int) {
		t.Helper()
		keys := make([][]byte, len(order))
		for i, o := range order {
			keys[i] = key(lockA, fmt.Sprintf("%04d", o))
		}
		values, err := r.GetMany(keys...)
		if err != nil || len(values) != len(keys) {
			t.Fatalf("%s: %d values, %v", what, len(values), err)
		}
		for i, v := range values {
			if o := order[i]; (o%2 == 0 && o < n) != (v != nil) || v != nil && string(v) != fmt.Sprint(o) {
				t.Fatalf("%s: %d is %q", what, o, v)
			}
		}
	}
	ascending := make([]int, n+50)
	for i := range ascending {
		ascending[i] = i
	}
	read := func(r kv.Reader) {
		check("ascending", r, ascending)
		check("shuffled", r, rand.Perm(n+50))
		check("far apart", r, []int{0, 100, 101, 298, 299, 340, 341})
		check("twice", r, []int{4, 4, 5, 5, 4})
		check("one", r, []int{8})
	}
	view(t, s, read)
	update(t, s, planA, func(tx kv.Tx) { read(tx) })
	update(t, s, planA, func(tx kv.Tx) { tx.Set(key(lockA, "0002"), []byte("2")); read(tx) })
}

func testOwnWrites(t *testing.T, s kv.Store) {
	put(t, s, "a=1", "b=2", "c=3")
	update(t, s, planA, func(tx kv.Tx) {
		set(tx, "b=x", "d=4")
		tx.Delete(key(lockA, "a"))
		want(t, "a", get(t, tx, "a"), "-")
		want(t, "b", get(t, tx, "b"), "x")
		want(t, "d", get(t, tx, "d"), "4")
		want(t, "scan", list(t, tx, all(lockA)), "b=x c=3 d=4")
		want(t, "reverse, limit", list(t, tx, kv.Range{Reverse: true, Limit: 2}), "d=4 c=3")
		set(tx, "a=5")
		tx.Delete(key(lockA, "d"))
		want(t, "scan", list(t, tx, all(lockA)), "a=5 b=x c=3")
		vs, err := tx.GetMany(key(lockA, "a"), key(lockA, "b"), key(lockA, "d"))
		if err != nil || string(vs[0]) != "5" || string(vs[1]) != "x" || vs[2] != nil {
			t.Errorf("GetMany: %q, %v", vs, err)
		}
	})
	view(t, s, func(r kv.Reader) { want(t, "scan", list(t, r, all(lockA)), "a=5 b=x c=3") })
}

func testOwnDeleteRange(t *testing.T, s kv.Store) {
	put(t, s, "a=1", "b=2", "c=3", "d=4")
	update(t, s, planA, func(tx kv.Tx) {
		set(tx, "bb=5", "cc=6")
		tx.DeleteRange(key(lockA, "b"), key(lockA, "d"))
		want(t, "bb", get(t, tx, "bb"), "-")
		want(t, "c", get(t, tx, "c"), "-")
		want(t, "d", get(t, tx, "d"), "4")
		want(t, "scan", list(t, tx, all(lockA)), "a=1 d=4")
		set(tx, "c=7")
		want(t, "c", get(t, tx, "c"), "7")
		want(t, "reverse", list(t, tx, kv.Range{Reverse: true}), "d=4 c=7 a=1")
		vs, err := tx.GetMany(key(lockA, "a"), key(lockA, "b"), key(lockA, "c"), key(lockA, "cc"))
		if err != nil || string(vs[0]) != "1" || vs[1] != nil || string(vs[2]) != "7" || vs[3] != nil {
			t.Errorf("GetMany: %q, %v", vs, err)
		}
		tx.DeleteRange(key(lockA, "d"), key(lockA, "d")) // of nothing
		tx.DeleteRange(key(lockA, "z"), key(lockA, "x"))
	})
	view(t, s, func(r kv.Reader) { want(t, "scan", list(t, r, kv.Range{}), "a=1 c=7 d=4") })
}

func testWriteWhileScanning(t *testing.T, s kv.Store) {
	put(t, s, "a=1", "b=2", "c=3")
	update(t, s, planA, func(tx kv.Tx) {
		n := 0
		for p, err := range tx.Scan(all(lockA)) {
			if n++; err != nil || n > 3 {
				t.Fatalf("row %d: %q %v", n, p.Key, err)
			}
			tx.Set(append(p.Key, 'x'), p.Value)
			tx.Delete(key(lockA, "c"))
		}
		if n != 3 {
			t.Errorf("the scan met %d rows, though it began with 3", n)
		}
		want(t, "after", list(t, tx, all(lockA)), "a=1 ax=1 b=2 bx=2 cx=3")
	})
	view(t, s, func(r kv.Reader) { want(t, "after", list(t, r, all(lockA)), "a=1 ax=1 b=2 bx=2 cx=3") })
}

// The last lock of all has no key above it, so its range has no high end.
func testDeleteRangeToTheEnd(t *testing.T, s kv.Store) {
	last := kv.Lock{Class: 0xff, ID: 1<<64 - 1}
	p := kv.Plan{Locks: []kv.Lock{last}}
	update(t, s, p, func(tx kv.Tx) { tx.Set(key(last, "\xff\xff"), nil); tx.Set(key(last, ""), nil) })
	put(t, s, "a=1")
	update(t, s, p, func(tx kv.Tx) {
		tx.DeleteRange(last.Prefix(), kv.Next(last.Prefix()))
		want(t, "own", list(t, tx, kv.Range{}), "a=1")
	})
	view(t, s, func(r kv.Reader) { want(t, "rows", list(t, r, kv.Range{}), "a=1") })
}

// Random transactions do what a map and a sort would do.
func testModel(t *testing.T, s kv.Store) {
	rnd := rand.New(rand.NewPCG(7, 7))
	model := map[string]string{}
	for i := range 300 {
		seed := rnd.Uint64()
		var next map[string]string
		update(t, s, planA, func(tx kv.Tx) {
			rnd := rand.New(rand.NewPCG(seed, 0)) // each run does the same
			next = maps.Clone(model)
			for j := range 1 + rnd.IntN(6) {
				change(tx, rnd, next, fmt.Sprint(i, j))
				checkModel(t, tx, rnd, next)
			}
		})
		model = next
		view(t, s, func(r kv.Reader) { checkModel(t, r, rnd, model) })
	}
}

func randomWord(rnd *rand.Rand) string {
	return string([]byte{byte('a' + rnd.IntN(8)), byte('a' + rnd.IntN(8))})
}

func change(tx kv.Tx, rnd *rand.Rand, model map[string]string, value string) {
	switch k := randomWord(rnd); rnd.IntN(8) {
	case 0:
		high := randomWord(rnd)
		tx.DeleteRange(key(lockA, k), key(lockA, high))
		maps.DeleteFunc(model, func(w, _ string) bool { return w >= k && w < high })
	case 1, 2:
		tx.Delete(key(lockA, k))
		delete(model, k)
	default:
		tx.Set(key(lockA, k), []byte(value))
		model[k] = value
	}
}

func checkModel(t *testing.T, r kv.Reader, rnd *rand.Rand, model map[string]string) {
	t.Helper()
	low, high, limit, back := randomWord(rnd), randomWord(rnd), rnd.IntN(4), rnd.IntN(2) == 0
	var words []string
	for _, k := range slices.Sorted(maps.Keys(model)) {
		if k >= low && k < high {
			words = append(words, k+"="+model[k])
		}
	}
	if back {
		slices.Reverse(words)
	}
	if limit > 0 {
		words = words[:min(limit, len(words))]
	}
	rg := kv.Range{Low: key(lockA, low), High: key(lockA, high), Limit: limit, Reverse: back}
	if got, want := list(t, r, rg), strings.Join(words, " "); got != want {
		t.Fatalf("scan from %s to %s, limit %d, reverse %v:\n got %s\nwant %s", low, high, limit, back, got, want)
	}
	var keys [][]byte
	var names []string
	for range rnd.IntN(12) {
		w := randomWord(rnd)
		names, keys = append(names, w), append(keys, key(lockA, w))
	}
	values, err := r.GetMany(keys...)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range names {
		if v, ok := model[w]; ok != (values[i] != nil) || v != string(values[i]) {
			t.Fatalf("%s is %q, want %q", w, values[i], v)
		}
	}
}
