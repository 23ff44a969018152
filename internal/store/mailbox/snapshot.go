package mailbox

import (
	"iter"
	"slices"
	"sort"

	"posthaste/internal/base/mail"
)

// blockRows is the most rows in a block. A change copies the blocks it touches
// and shares the rest.
const blockRows = 256

// A Snapshot is a mailbox at one moment. It never changes, and may be shared.
// Messages are numbered from 0 in the order of their UIDs.
type Snapshot struct {
	Mailbox  Mailbox
	Keywords []string    // Keywords[i] is the name of flag bit 5+i
	ModSeq   mail.ModSeq // of the account
	blocks   [][]Row     // none empty
	starts   []int       // number of the first row of each block
	n        int
	state    *readState // what a reader has of its own over the rows; nil: nothing

	latest []logged    // the last changes of flags, oldest first
	since  mail.ModSeq // latest has all that came after this
}

// A logged change is messages whose flags a commit has changed.
type logged struct {
	seq  mail.ModSeq
	uids mail.UIDSet
}

// maxLatest is how many changes a Snapshot remembers.
const maxLatest = 64

// ChangedSince gives the messages whose flags were changed after seq; false if
// that is too long ago for the Snapshot to know. Some may be gone since.
func (s *Snapshot) ChangedSince(seq mail.ModSeq) (changed mail.UIDSet, ok bool) {
	if seq < s.since {
		return changed, false
	}
	if s.state != nil {
		changed = s.state.changedSince(seq)
	}
	for i := len(s.latest) - 1; i >= 0 && s.latest[i].seq > seq; i-- {
		changed = changed.Union(s.latest[i].uids)
	}
	return changed, true
}

// Len is how many messages there are.
func (s *Snapshot) Len() int { return s.n }

// At gives message i, 0 <= i < Len. The row must not be changed.
func (s *Snapshot) At(i int) *Row {
	b := sort.SearchInts(s.starts, i+1) - 1
	return s.state.over(&s.blocks[b][i-s.starts[b]])
}

// Index gives the number of the message with this UID; if there is none, the
// number of the first message above it and false.
func (s *Snapshot) Index(u mail.UID) (int, bool) {
	b := sort.Search(len(s.blocks), func(i int) bool { return s.blocks[i][len(s.blocks[i])-1].UID >= u })
	if b == len(s.blocks) {
		return s.n, false
	}
	i, ok := slices.BinarySearchFunc(s.blocks[b], u, func(r Row, u mail.UID) int {
		return int(int64(r.UID) - int64(u))
	})
	return s.starts[b] + i, ok
}

// Find gives the message with this UID, nil if there is none.
func (s *Snapshot) Find(u mail.UID) *Row {
	if i, ok := s.Index(u); ok {
		return s.At(i)
	}
	return nil
}

// Rows goes over the messages from number i on.
func (s *Snapshot) Rows(i int) iter.Seq2[int, *Row] {
	return func(yield func(int, *Row) bool) {
		if i >= s.n {
			return
		}
		b := sort.SearchInts(s.starts, i+1) - 1
		for ; b < len(s.blocks); b++ {
			blk := s.blocks[b]
			for j := i - s.starts[b]; j < len(blk); j++ {
				if !yield(s.starts[b]+j, s.state.over(&blk[j])) {
					return
				}
			}
			i = s.starts[b] + len(blk)
		}
	}
}

// In goes over the messages whose UIDs are in the set.
func (s *Snapshot) In(set mail.UIDSet) iter.Seq2[int, *Row] {
	return func(yield func(int, *Row) bool) {
		for _, rg := range set.Ranges() {
			i, _ := s.Index(rg.First)
			for n, r := range s.Rows(i) {
				if r.UID > rg.Last {
					break
				}
				if !yield(n, r) {
					return
				}
			}
		}
	}
}

// UIDs is the set of all UIDs.
func (s *Snapshot) UIDs() mail.UIDSet {
	var set mail.UIDSet
	for _, rows := range s.blocks {
		first, last := rows[0].UID, rows[len(rows)-1].UID
		if int(last-first) == len(rows)-1 { // no gap in the block
			set.AddRange(first, last)
			continue
		}
		for i := range rows {
			set.Add(rows[i].UID)
		}
	}
	return set
}

// Keyword gives the bit of a keyword, 0 if the mailbox does not know it.
// Keywords are compared without regard to the case of ASCII letters.
func (s *Snapshot) Keyword(name string) Flags { return keywordBit(s.Keywords, name) }

// Names gives the names of the keywords that are set in f.
func (s *Snapshot) Names(f Flags) []string {
	var out []string
	for i, k := range s.Keywords {
		if f&(1<<(firstKeyword+i)) != 0 {
			out = append(out, k)
		}
	}
	return out
}

func keywordBit(names []string, name string) Flags {
	for i, k := range names {
		if equalFold(k, name) {
			return 1 << (firstKeyword + i)
		}
	}
	return 0
}

// equalFold compares keywords, which are ASCII.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// A builder makes the next Snapshot out of one, copying blocks as it writes.
type builder struct {
	s     Snapshot
	owned []bool // block i is ours to change
}

func newBuilder(s *Snapshot) *builder {
	b := &builder{s: *s}
	b.s.blocks = slices.Clone(s.blocks)
	b.owned = make([]bool, len(b.s.blocks))
	return b
}

// own makes block i ours.
func (b *builder) own(i int) []Row {
	if !b.owned[i] {
		b.s.blocks[i] = append(make([]Row, 0, max(blockRows, len(b.s.blocks[i]))), b.s.blocks[i]...)
		b.owned[i] = true
	}
	return b.s.blocks[i]
}

// push adds a row behind all others; a row that is there already is left out.
func (b *builder) push(r Row) {
	last := len(b.s.blocks) - 1
	if last >= 0 && b.s.blocks[last][len(b.s.blocks[last])-1].UID >= r.UID {
		return
	}
	if last < 0 || len(b.s.blocks[last]) >= blockRows {
		b.s.blocks = append(b.s.blocks, make([]Row, 0, blockRows))
		b.owned = append(b.owned, true)
		last++
	}
	b.s.blocks[last] = append(b.own(last), r)
}

// flags applies a change that commit seq made to the rows in the set, unless
// they hold it already. (A row of the same commit is no exception: to apply all
// changes of one commit once more, in order, ends in the same flags.)
func (b *builder) flags(set mail.UIDSet, seq mail.ModSeq, add, remove Flags) {
	blk := 0
	for _, rg := range set.Ranges() {
		blk += sort.Search(len(b.s.blocks)-blk, func(i int) bool {
			rows := b.s.blocks[blk+i]
			return rows[len(rows)-1].UID >= rg.First
		})
		for i := blk; i < len(b.s.blocks) && b.s.blocks[i][0].UID <= rg.Last; i++ {
			rows := b.s.blocks[i]
			j := sort.Search(len(rows), func(j int) bool { return rows[j].UID >= rg.First })
			for ; j < len(rows) && rows[j].UID <= rg.Last; j++ {
				if rows[j].ModSeq <= seq {
					rows = b.own(i)
					rows[j].Flags = rows[j].Flags&^remove | add
					rows[j].ModSeq = seq
				}
			}
		}
	}
}

// log remembers that commit seq changed flags.
func (b *builder) log(set mail.UIDSet, seq mail.ModSeq) {
	l := b.s.latest
	if n := len(l); n >= maxLatest {
		b.s.since = l[n/2].seq
		l = slices.Clone(l[n/2+1:])
	}
	b.s.latest = append(slices.Clip(l), logged{seq, set})
}

// expunge takes the rows in the set out.
func (b *builder) expunge(set mail.UIDSet) {
	blocks, owned := b.s.blocks[:0:0], b.owned[:0:0]
	for i, rows := range b.s.blocks {
		if set.Intersect(mail.UIDSpan(rows[0].UID, rows[len(rows)-1].UID)).IsEmpty() {
			blocks, owned = append(blocks, rows), append(owned, b.owned[i])
			continue
		}
		kept := make([]Row, 0, blockRows)
		for _, r := range rows {
			if !set.Contains(r.UID) {
				kept = append(kept, r)
			}
		}
		if len(kept) > 0 {
			blocks, owned = append(blocks, kept), append(owned, true)
		}
	}
	b.s.blocks, b.owned = blocks, owned
}

// done gives the Snapshot; the builder must not be used after it.
func (b *builder) done() *Snapshot {
	s := b.s
	b.compact(&s)
	s.starts = make([]int, len(s.blocks))
	s.n = 0
	for i, rows := range s.blocks {
		s.starts[i] = s.n
		s.n += len(rows)
	}
	return &s
}

// compact joins small neighbours, so that a mailbox that shrinks does not end
// as many blocks of one row.
func (b *builder) compact(s *Snapshot) {
	out := s.blocks[:0:0]
	for _, rows := range s.blocks {
		if n := len(out) - 1; n >= 0 && len(out[n])+len(rows) <= blockRows/2 {
			out[n] = append(append(make([]Row, 0, blockRows), out[n]...), rows...)
			continue
		}
		out = append(out, rows)
	}
	s.blocks = out
}
