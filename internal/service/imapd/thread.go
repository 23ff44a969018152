package imapd

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/mailbox"
)

// thread is THREAD and UID THREAD. RFC 5256 §3
func (s *session) thread(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Thread)
	m, found, err := s.find(ctx, c.Tag, &a.Search)
	if err == nil {
		err = s.unlimited()
	}
	if err != nil {
		return err
	}
	o := &ordering{s: s, box: s.box, compare: m.compare, rows: rowsOf(m.snap, found)}
	t := &threader{}
	if t.sent, err = o.sent(ctx); err != nil {
		return err
	}
	if a.Algorithm != imap.Refs {
		if t.subjects, err = o.derived(ctx, o.compare.column("thread subject"), o.compare.noteThreadSubject); err != nil {
			return err
		}
	}
	var roots []int
	if a.Algorithm == imap.OrderedSubject {
		roots = t.orderedSubject()
	} else {
		refs, err := o.derived(ctx, "thread refs", noteReferences)
		if err != nil {
			return err
		}
		roots = t.references(refs)
		if a.Algorithm == imap.References {
			roots = t.joinSubjects(roots)
		}
		roots = t.arrange(roots, a.Algorithm, o.rows)
	}
	s.enc.Raw("* THREAD")
	if len(roots) > 0 {
		s.enc.Raw(" ")
	}
	for _, r := range roots {
		t.tell(s.enc, r, func(n int) uint32 { return s.number(o.rows[n].UID, a.UID) })
	}
	s.enc.CRLF()
	return nil
}

// noteThreadSubject notes the base subject behind a byte that tells whether it
// was an answer.
func (by comparator) noteThreadSubject(dst []byte, r *mailbox.Record) []byte {
	base, reply := baseSubject(r)
	if reply {
		return by.fold(append(dst, 1), []byte(base))
	}
	return by.fold(append(dst, 0), []byte(base))
}

// noteReferences notes the Message-ID and those of the messages that it refers
// to, oldest first, each with a line end. RFC 5256 §3, REFERENCES step 1
func noteReferences(dst []byte, r *mailbox.Record) []byte {
	fields, _ := r.Fields(nil, "message-id", "references", "in-reply-to")
	var own, refs, replied []string
	for f := range message.Fields(fields) {
		switch ids := message.MessageIDs(f.Text()); {
		case len(ids) == 0:
		case f.Is("message-id") && own == nil:
			own = ids[:1]
		case f.Is("references") && refs == nil:
			refs = ids
		case f.Is("in-reply-to") && replied == nil:
			replied = ids[:1]
		}
	}
	if own != nil {
		dst = append(dst, own[0]...)
	}
	dst = append(dst, '\n')
	if refs == nil {
		refs = replied
	}
	for _, id := range refs[max(0, len(refs)-maxReferences):] {
		dst = append(append(dst, id...), '\n')
	}
	return dst
}

const (
	// maxReferences is how many of a message's references count.
	maxReferences = 100
	// maxDepth is how deep a conversation may go: what would come below begins
	// another one.
	maxDepth = 1000
)

// A threader makes trees of messages. Nodes 0 to n-1 are the messages, those
// above are dummies: messages that are referred to and are not there.
type threader struct {
	sent     []int64
	subjects [][]byte // of the messages
	nodes    []node
}

type node struct {
	parent   int // -1: none
	children []int
}

const none = -1

// isDummy tells whether a node is no message.
func (t *threader) isDummy(n int) bool { return n >= len(t.sent) }

// begin makes a node for every message.
func (t *threader) begin() {
	t.nodes = make([]node, len(t.sent), 2*len(t.sent))
	for i := range t.nodes {
		t.nodes[i].parent = none
	}
}

func (t *threader) dummy() int {
	t.nodes = append(t.nodes, node{parent: none})
	return len(t.nodes) - 1
}

// adopt makes child a child of parent, which it must not be already.
func (t *threader) adopt(parent, child int) {
	t.nodes[child].parent = parent
	t.nodes[parent].children = append(t.nodes[parent].children, child)
}

func (t *threader) orphan(child int) {
	if p := t.nodes[child].parent; p != none {
		i := slices.Index(t.nodes[p].children, child)
		t.nodes[p].children = slices.Delete(t.nodes[p].children, i, i+1)
		t.nodes[child].parent = none
	}
}

// fits tells whether child may come below parent: there must be no loop, and an
// end to it.
func (t *threader) fits(parent, child int) bool {
	for n, depth := parent, 0; n != none; n, depth = t.nodes[n].parent, depth+1 {
		if n == child || depth == maxDepth {
			return false
		}
	}
	return true
}

// orderedSubject groups by base subject. RFC 5256 §3, ORDEREDSUBJECT
func (t *threader) orderedSubject() []int {
	t.begin()
	order := make([]int, len(t.sent))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(bytes.Compare(t.subjects[a][1:], t.subjects[b][1:]), cmp.Compare(t.sent[a], t.sent[b]), cmp.Compare(a, b))
	})
	var roots []int
	for i, n := range order {
		if i > 0 && bytes.Equal(t.subjects[n][1:], t.subjects[order[i-1]][1:]) {
			t.adopt(roots[len(roots)-1], n)
			continue
		}
		roots = append(roots, n)
	}
	slices.SortFunc(roots, t.bySent)
	return roots
}

func (t *threader) bySent(a, b int) int {
	a, b = t.first(a), t.first(b)
	return cmp.Or(cmp.Compare(t.sent[a], t.sent[b]), cmp.Compare(a, b))
}

// first gives the message that a node stands for: the first one below a dummy.
func (t *threader) first(n int) int {
	for t.isDummy(n) {
		n = t.nodes[n].children[0]
	}
	return n
}

// references links messages by what they refer to, and gives the roots. RFC 5256
// §3, REFERENCES steps 1 to 3
func (t *threader) references(refs [][]byte) []int {
	t.begin()
	ids := make(map[string]int, len(refs))
	for i, text := range refs {
		own, _, _ := bytes.Cut(text, []byte{'\n'})
		if _, taken := ids[string(own)]; len(own) > 0 && !taken {
			ids[string(own)] = i
		}
	}
	for i, text := range refs {
		t.link(i, text, ids)
	}
	var roots []int
	for n := range t.nodes {
		if t.nodes[n].parent == none {
			roots = append(roots, n)
		}
	}
	return t.prune(roots)
}

// link is step 1 for one message.
func (t *threader) link(n int, text []byte, ids map[string]int) {
	_, text, _ = bytes.Cut(text, []byte{'\n'})
	last := none
	for len(text) > 0 {
		var id []byte
		id, text, _ = bytes.Cut(text, []byte{'\n'})
		at, ok := ids[string(id)]
		if !ok {
			at = t.dummy()
			ids[string(id)] = at
		}
		if last != none && t.nodes[at].parent == none && t.fits(last, at) {
			t.adopt(last, at)
		}
		last = at
	}
	// What others said of its parent was perhaps cut short.
	t.orphan(n)
	if last != none && t.fits(last, n) {
		t.adopt(last, n)
	}
}

// prune takes out dummies: those without children, and those below which
// children can go one level up. Deep trees first come to their leaves.
func (t *threader) prune(roots []int) []int {
	var out []int
	for _, r := range roots {
		kept := t.pruned(r)
		if t.isDummy(r) && len(kept) > 1 {
			t.nodes[r].children = kept
			for _, k := range kept {
				t.nodes[k].parent = r
			}
			kept = []int{r}
		} else {
			for _, k := range kept {
				t.nodes[k].parent = none
			}
		}
		out = append(out, kept...)
	}
	return out
}

// pruned gives what stands in the place of n: itself, or if it is a dummy its
// children.
func (t *threader) pruned(n int) []int {
	var children []int
	for _, c := range t.nodes[n].children {
		children = append(children, t.pruned(c)...)
	}
	if t.isDummy(n) {
		return children
	}
	for _, c := range children {
		t.nodes[c].parent = n
	}
	t.nodes[n].children = children
	return []int{n}
}

// joinSubjects joins conversations that have one base subject. RFC 5256 §3,
// REFERENCES steps 4 and 5
func (t *threader) joinSubjects(roots []int) []int {
	t.sortChildren(roots)
	slices.SortFunc(roots, t.bySent)
	table := make(map[string]int, len(roots))
	for _, r := range roots {
		subject := t.subjects[t.first(r)]
		if len(subject) == 1 {
			continue
		}
		have, ok := table[string(subject[1:])]
		if !ok || t.isDummy(r) && !t.isDummy(have) || t.isReply(have) && !t.isReply(r) {
			table[string(subject[1:])] = r
		}
	}
	gone := map[int]bool{}
	var made []int
	for _, r := range roots {
		subject := t.subjects[t.first(r)]
		to, ok := table[string(subject[1:])]
		if !ok || to == r {
			continue
		}
		gone[r] = true
		switch {
		case t.isDummy(to) && t.isDummy(r):
			for _, c := range t.nodes[r].children {
				t.adopt(to, c)
			}
			t.nodes[r].children = nil
		case t.isDummy(to), t.isReply(r) && !t.isReply(to):
			t.adopt(to, r)
		default:
			both := t.dummy()
			gone[to] = true
			t.adopt(both, to)
			t.adopt(both, r)
			table[string(subject[1:])] = both
			made = append(made, both)
		}
	}
	return append(slices.DeleteFunc(roots, func(r int) bool { return gone[r] }), made...)
}

// isReply tells whether the subject of a message says that it is an answer; a
// dummy is none.
func (t *threader) isReply(n int) bool { return !t.isDummy(n) && t.subjects[n][0] == 1 }

// arrange puts siblings in order, and conversations: by when they began, or for
// Refs by when their last message came in.
func (t *threader) arrange(roots []int, a imap.ThreadAlgorithm, rows []*mailbox.Row) []int {
	t.sortChildren(roots)
	if a != imap.Refs {
		slices.SortFunc(roots, t.bySent)
		return roots
	}
	latest := make(map[int]int64, len(roots))
	for _, r := range roots {
		latest[r] = t.latest(r, rows)
	}
	slices.SortFunc(roots, func(a, b int) int {
		return cmp.Or(cmp.Compare(latest[a], latest[b]), cmp.Compare(t.first(a), t.first(b)))
	})
	return roots
}

func (t *threader) latest(n int, rows []*mailbox.Row) (last int64) {
	if !t.isDummy(n) {
		last = rows[n].Date().Unix()
	}
	for _, c := range t.nodes[n].children {
		last = max(last, t.latest(c, rows))
	}
	return last
}

func (t *threader) sortChildren(nodes []int) {
	for _, n := range nodes {
		if kids := t.nodes[n].children; len(kids) > 0 {
			t.sortChildren(kids)
			slices.SortFunc(kids, t.bySent)
		}
	}
}

// tell writes a conversation: what follows one another in a row, and
// parentheses where it parts. RFC 5256 §4
func (t *threader) tell(e *imap.Encoder, n int, number func(int) uint32) {
	e.Raw("(")
	for {
		if !t.isDummy(n) {
			e.Num(uint64(number(n)))
		}
		kids := t.nodes[n].children
		if len(kids) == 0 {
			break
		}
		if !t.isDummy(n) {
			e.Raw(" ")
		}
		if len(kids) == 1 {
			n = kids[0]
			continue
		}
		for _, k := range kids {
			t.tell(e, k, number)
		}
		break
	}
	e.Raw(")")
}
