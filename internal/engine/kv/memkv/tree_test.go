package memkv

import (
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"posthaste/internal/engine/kv"
)

// The tree does what a map and a sort would do.
func TestTree(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	seed := maphash.MakeSeed()
	var root *node
	model := map[string]string{}
	key := func() string { return fmt.Sprintf("%03d", rnd.IntN(400)) }
	for i := range 20_000 {
		before, was := root, list(root, kv.Range{})
		switch k := key(); rnd.IntN(20) {
		case 0:
			low, high := k, key()
			root = root.removeRange([]byte(low), []byte(high))
			maps.DeleteFunc(model, func(k, _ string) bool { return k >= low && k < high })
		case 1, 2, 3, 4, 5:
			root = root.remove([]byte(k))
			delete(model, k)
		default:
			v := fmt.Sprint(i)
			root = root.set(&node{key: []byte(k), value: []byte(v), rank: rank(seed, []byte(k))})
			model[k] = v
		}
		if i%50 != 0 {
			continue
		}
		if !slices.Equal(list(before, kv.Range{}), was) {
			t.Fatal("a snapshot has changed")
		}
		check(t, root, model, kv.Range{})
		r := kv.Range{Low: []byte(key()), High: []byte(key()), Reverse: rnd.IntN(2) == 0, Limit: rnd.IntN(5)}
		check(t, root, model, r)
	}
}

func list(n *node, r kv.Range) []string {
	var l []string
	for p := range n.scan(r) {
		l = append(l, string(p.Key)+"="+string(p.Value))
	}
	return l
}

func check(t *testing.T, n *node, model map[string]string, r kv.Range) {
	t.Helper()
	var want []string
	for _, k := range slices.Sorted(maps.Keys(model)) {
		if k >= string(r.Low) && (r.High == nil || k < string(r.High)) {
			want = append(want, k+"="+model[k])
		}
	}
	if r.Reverse {
		slices.Reverse(want)
	}
	if r.Limit > 0 && len(want) > r.Limit {
		want = want[:r.Limit]
	}
	if got := list(n, r); !slices.Equal(got, want) {
		t.Fatalf("scan of %+v:\n got %v\nwant %v", r, got, want)
	}
}
