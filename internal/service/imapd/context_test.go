package imapd

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// applied does to sorted results what ESEARCH responses say. RFC 5267 §4.3.2
func applied(t *testing.T, have []string, lines []string, tag string) []string {
	for _, l := range lines {
		head := `* ESEARCH (TAG "` + tag + `") UID `
		what, ok := strings.CutPrefix(l, head)
		if !ok {
			continue
		}
		verb, list, _ := strings.Cut(what, " (")
		w := strings.Fields(strings.TrimSuffix(list, ")"))
		for i := 0; i+1 < len(w); i += 2 {
			at, err := strconv.Atoi(w[i])
			if err != nil || at < 1 {
				t.Fatal(l)
			}
			uids := spelled(t, w[i+1])
			if verb == "ADDTO" {
				have = slices.Insert(have, at-1, uids...)
				continue
			}
			if !slices.Equal(have[at-1:at-1+len(uids)], uids) {
				t.Fatalf("%s: of %v", l, have)
			}
			have = slices.Delete(have, at-1, at-1+len(uids))
		}
	}
	return have
}

// spelled gives the numbers of a set in the order in which they stand.
func spelled(t *testing.T, set string) (out []string) {
	for r := range strings.SplitSeq(set, ",") {
		a, b, isRange := strings.Cut(r, ":")
		first, err := strconv.Atoi(a)
		last := first
		if isRange && err == nil {
			last, err = strconv.Atoi(b)
		}
		if err != nil {
			t.Fatal(set)
		}
		for n := first; n <= last; n++ {
			out = append(out, strconv.Itoa(n))
		}
	}
	return out
}

// TestSortContext keeps sorted results by what is told of them, through random
// changes, and compares with what SORT gives anew.
func TestSortContext(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 9))
			srv, c, other := pair(t)
			c.do("SELECT INBOX")
			other.do("SELECT INBOX")
			by := []string{"(SUBJECT REVERSE SIZE)", "(REVERSE ARRIVAL)", "(SIZE)", "(FROM REVERSE DATE)"}[seed]
			tag := fmt.Sprint("t", c.tag+1)
			c.do("UID SORT RETURN (UPDATE COUNT) " + by + " UTF-8 UNFLAGGED")
			var have []string
			room := 700
			for range 60 {
				switch n := 1 + rnd.IntN(3); rnd.IntN(4) {
				case 0:
					for range min(n*n*n*(1+4*rnd.IntN(2)), room) { // at times more than are put in one by one
						room--
						deliver(t, srv, 1, fmt.Sprintf("From: %c@x\r\nSubject: %c\r\n\r\n%*d\r\n", 'a'+rnd.IntN(5), 'a'+rnd.IntN(3), rnd.IntN(9)+1, 0))
					}
				case 1:
					other.do("NOOP")
					other.do(fmt.Sprintf(`UID STORE %d:%d %sFLAGS.SILENT (\Flagged)`, rnd.IntN(200), rnd.IntN(200), []string{"+", "-"}[rnd.IntN(2)]))
				case 2:
					other.do("NOOP")
					other.do(fmt.Sprintf(`UID STORE %d:%d +FLAGS.SILENT (\Deleted)`, rnd.IntN(200), rnd.IntN(200)))
				default:
					other.do("EXPUNGE")
				}
				have = applied(t, have, c.do("NOOP"), tag)
				fresh := c.do("UID SORT " + by + " UTF-8 UNFLAGGED")
				want := strings.Fields(fresh[len(fresh)-2])[2:]
				if !slices.Equal(have, want) {
					t.Fatalf("kept %v\nfresh %v", have, want)
				}
			}
		})
	}
}
