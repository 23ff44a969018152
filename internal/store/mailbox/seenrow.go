package mailbox

import (
	"encoding/binary"
	"slices"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// seenBlock is how many neighbouring UIDs share a row 34: a message that is read
// writes a row of at most 4 KB, and a mailbox whose messages are all read takes
// some bytes for each row.
const seenBlock = 512

// blockNumber is the number of the row 34 that has a UID.
func blockNumber(u mail.UID) uint32 { return uint32(u) / seenBlock }

// inBlock is the UIDs that a row 34 may have.
func inBlock(n uint32) mail.UIDSet {
	first := mail.UID(n) * seenBlock
	return mail.UIDSpan(max(first, 1), first+seenBlock-1)
}

// blocksOf gives the numbers of the rows 34 that have a set of UIDs. The set must
// be of messages that exist, for there are many UIDs.
func blocksOf(set mail.UIDSet) (out []uint32) {
	for _, rg := range set.Ranges() {
		for n := blockNumber(rg.First); n <= blockNumber(rg.Last); n++ {
			if len(out) == 0 || out[len(out)-1] != n {
				out = append(out, n)
			}
		}
	}
	return out
}

func seenPrefix(a mail.AccountID, box mail.MailboxID, reader mail.AccountID) []byte {
	return binary.BigEndian.AppendUint64(key64(a, kindSeen, uint64(box)), uint64(reader))
}

func seenKey(a mail.AccountID, box mail.MailboxID, reader mail.AccountID, block uint32) []byte {
	return binary.BigEndian.AppendUint32(seenPrefix(a, box, reader), block)
}

// decodeSeenKey gives the reader and the block of a key's end.
func decodeSeenKey(k []byte) (reader mail.AccountID, block uint32) {
	k = k[len(k)-12:]
	return mail.AccountID(binary.BigEndian.Uint64(k)), binary.BigEndian.Uint32(k[8:])
}

// A seenRun is messages of which a reader has changed \Seen in one commit, to the
// same. A UID that no run has is not seen.
type seenRun struct {
	first, last mail.UID
	seq         mail.ModSeq // of that commit; 0: before the mailbox kept own states
	seen        bool
}

// runs are those of one block, in order.
type runs []seenRun

// at gives what is known of a message.
func (l runs) at(u mail.UID) (seen bool, seq mail.ModSeq) {
	i, _ := slices.BinarySearchFunc(l, u, func(r seenRun, u mail.UID) int {
		if r.last < u {
			return -1
		}
		return 1
	})
	if i < len(l) && l[i].first <= u {
		return l[i].seen, l[i].seq
	}
	return false, 0
}

// highest gives the last commit of all.
func (l runs) highest() (seq mail.ModSeq) {
	for i := range l {
		seq = max(seq, l[i].seq)
	}
	return seq
}

// set gives the runs after a change of messages in the block n, without those of
// messages that are no longer there.
func (l runs) set(n uint32, uids mail.UIDSet, seen bool, seq mail.ModSeq, there mail.UIDSet) runs {
	base := mail.UID(n) * seenBlock
	var cells [seenBlock]seenRun
	for _, r := range l {
		for u := r.first; ; u++ {
			cells[u-base] = r
			if u == r.last {
				break
			}
		}
	}
	for u := range uids.Intersect(inBlock(n)).All() {
		cells[u-base] = seenRun{1, 1, seq, seen}
	}
	var out runs
	for i := range cells {
		c, u := &cells[i], base+mail.UID(i)
		if c.first == 0 || !there.Contains(u) {
			continue
		}
		if k := len(out) - 1; k >= 0 && out[k].last+1 == u && out[k].seq == c.seq && out[k].seen == c.seen {
			out[k].last = u
		} else {
			out = append(out, seenRun{u, u, c.seq, c.seen})
		}
	}
	return out
}

func (l runs) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(l)))
	at, seq := uint64(0), mail.ModSeq(0)
	for i, r := range l {
		if i == 0 {
			at = uint64(r.first) / seenBlock * seenBlock
		}
		flags := uint64(r.last-r.first) << 1
		if r.seen {
			flags |= 1
		}
		b = binary.AppendUvarint(b, uint64(r.first)-at)
		b = binary.AppendUvarint(b, flags)
		b = binary.AppendVarint(b, int64(r.seq-seq))
		at, seq = uint64(r.last)+1, r.seq
	}
	return b
}

// decodeRuns reads the row of a block.
func decodeRuns(block uint32, raw []byte) (runs, error) {
	d := kv.Decode(raw)
	n := d.Uvarint()
	if n > seenBlock {
		return nil, kv.ErrRow
	}
	l := make(runs, 0, n)
	at, seq := uint64(block)*seenBlock, mail.ModSeq(0)
	end := at + seenBlock
	for ; n > 0 && d.Err() == nil; n-- {
		gap, flags := d.Uvarint(), d.Uvarint()
		if gap >= seenBlock || flags>>1 >= seenBlock || at+gap+flags>>1 >= end {
			return nil, kv.ErrRow
		}
		r := seenRun{first: mail.UID(at + gap), last: mail.UID(at + gap + flags>>1), seen: flags&1 != 0}
		seq += mail.ModSeq(d.Varint())
		r.seq = seq
		if r.first == 0 {
			return nil, kv.ErrRow
		}
		l = append(l, r)
		at = uint64(r.last) + 1
	}
	return l, d.Err()
}
