package imap

import (
	"errors"
	"slices"
	"sort"

	"posthaste/internal/base/mail"
)

// A View is the mailbox as one session has been told of it: sequence number n
// is the nth UID in it. It changes only when the session says so to its client,
// which is why two sessions may see one mailbox differently. RFC 9051 §7.4.1
//
// It is kept as runs of UIDs that follow each other, 12 bytes each: a mailbox
// that nothing was ever expunged from is one run, however large.
type View struct{ runs []run }

// A run is the UIDs from first to last; seq is the sequence number of first.
type run struct {
	first, last mail.UID
	seq         uint32
}

// ErrNoSuchNumber is returned for a sequence number above the highest, which is
// an error of the client: BAD. RFC 9051 §9, seq-number
var ErrNoSuchNumber = errors.New("imap: no message has this sequence number")

// NewView makes a view of the UIDs in uids.
func NewView(uids mail.UIDSet) *View {
	v := new(View)
	for _, r := range uids.Ranges() {
		v.runs = append(v.runs, run{r.First, r.Last, v.Len() + 1})
	}
	return v
}

// Len gives how many messages there are, which is the highest sequence number.
func (v *View) Len() uint32 {
	if len(v.runs) == 0 {
		return 0
	}
	r := v.runs[len(v.runs)-1]
	return r.seq + uint32(r.last-r.first)
}

// MaxUID gives the highest UID, zero if the mailbox is empty.
func (v *View) MaxUID() mail.UID {
	if len(v.runs) == 0 {
		return 0
	}
	return v.runs[len(v.runs)-1].last
}

// UIDs gives all UIDs.
func (v *View) UIDs() mail.UIDSet {
	var s mail.UIDSet
	for _, r := range v.runs {
		s.AddRange(r.first, r.last)
	}
	return s
}

// find gives the index of the first run that does not end below u.
func (v *View) find(u mail.UID) int {
	return sort.Search(len(v.runs), func(i int) bool { return v.runs[i].last >= u })
}

// Seq gives the sequence number of u; zero if the client has not heard of it.
func (v *View) Seq(u mail.UID) uint32 {
	i := v.find(u)
	if i == len(v.runs) || u < v.runs[i].first {
		return 0
	}
	return v.runs[i].seq + uint32(u-v.runs[i].first)
}

// UID gives the UID at a sequence number; zero if there is no such number.
func (v *View) UID(seq uint32) mail.UID {
	if seq == 0 || seq > v.Len() {
		return 0
	}
	r := v.runs[v.findSeq(seq)]
	return r.first + mail.UID(seq-r.seq)
}

// findSeq gives the index of the run that has seq, which must exist.
func (v *View) findSeq(seq uint32) int {
	return sort.Search(len(v.runs), func(i int) bool { return v.runs[i].seq > seq }) - 1
}

// Resolve turns what the client wrote into UIDs. UIDs that it has not heard of
// are left out; a sequence number that it has not heard of is an error. Of a
// Saved set the caller knows more than the View: it is empty here.
func (v *View) Resolve(set Set) (mail.UIDSet, error) {
	highest := v.Len()
	if set.UID {
		if highest == 0 || set.Saved {
			return mail.UIDSet{}, nil
		}
		return v.Known(set.UIDSet(v.MaxUID())), nil
	}
	var ranges []mail.UIDRange
	for _, r := range set.Ranges {
		first, last := r.within(highest)
		if first == 0 || last > highest {
			return mail.UIDSet{}, ErrNoSuchNumber
		}
		for i := v.findSeq(first); i < len(v.runs) && v.runs[i].seq <= last; i++ {
			run := v.runs[i]
			low := run.first + mail.UID(max(first, run.seq)-run.seq)
			high := min(run.last, run.first+mail.UID(last-run.seq))
			ranges = append(ranges, mail.UIDRange{First: low, Last: high})
		}
	}
	return mail.UIDSetOf(ranges), nil
}

// Known gives those of uids that the client has heard of.
func (v *View) Known(uids mail.UIDSet) mail.UIDSet {
	var out mail.UIDSet
	for _, r := range uids.Ranges() {
		for i := v.find(r.First); i < len(v.runs) && v.runs[i].first <= r.Last; i++ {
			out.AddRange(max(r.First, v.runs[i].first), min(r.Last, v.runs[i].last))
		}
	}
	return out
}

// Numbers gives the sequence numbers of uids as a set of its own: those the
// client has not heard of are left out.
func (v *View) Numbers(uids mail.UIDSet) mail.UIDSet {
	var out mail.UIDSet
	for _, r := range uids.Ranges() {
		for i := v.find(r.First); i < len(v.runs) && v.runs[i].first <= r.Last; i++ {
			run := v.runs[i]
			low, high := max(r.First, run.first), min(r.Last, run.last)
			out.AddRange(mail.UID(run.seq)+low-run.first, mail.UID(run.seq)+high-run.first)
		}
	}
	return out
}

// Append tells the client of u, the highest yet; of any other it does nothing.
func (v *View) Append(u mail.UID) {
	if u <= v.MaxUID() {
		return
	}
	if n := len(v.runs); n > 0 && v.runs[n-1].last == u-1 {
		v.runs[n-1].last = u
		return
	}
	v.runs = append(v.runs, run{u, u, v.Len() + 1})
}

// Expunge takes u out, and gives the number it had; zero if it was not there.
func (v *View) Expunge(u mail.UID) uint32 {
	seq := v.Seq(u)
	if seq != 0 {
		v.ExpungeAll(mail.UIDs(u), func(uint32) {})
	}
	return seq
}

// ExpungeAll takes uids out and calls told with the number that each has at its
// turn: what EXPUNGE responses say, one after the other. RFC 9051 §7.5.1
func (v *View) ExpungeAll(uids mail.UIDSet, told func(seq uint32)) {
	gone := v.Known(uids)
	if gone.IsEmpty() {
		return
	}
	taken := uint32(0)
	for u := range gone.All() {
		told(v.Seq(u) - taken)
		taken++
	}
	left := v.UIDs().Subtract(gone)
	v.runs = slices.Clip(NewView(left).runs)
}
