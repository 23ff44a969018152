package imap

import "posthaste/internal/base/mail"

// A Resync is what a client knows of a mailbox that it opens again. RFC 7162
// §3.2.5
type Resync struct {
	UIDValidity uint32
	ModSeq      mail.ModSeq
	// Known has the UIDs that the client knows; no Ranges if it did not say.
	Known Set
	// MatchSeq and MatchUID are pairs of numbers that once belonged to each
	// other.
	MatchSeq, MatchUID Set
}

func parseResync(d *Decoder, c *Select) {
	r := new(Resync)
	d.sp()
	d.openList()
	r.UIDValidity = d.nz32()
	d.sp()
	r.ModSeq = mail.ModSeq(d.number63())
	more := d.more()
	if more && d.peek() != '(' {
		r.Known = d.plainSet()
		more = d.more()
	}
	if more {
		d.openList()
		r.MatchSeq = d.plainSet()
		d.sp()
		r.MatchUID = d.plainSet()
		d.closeList()
	}
	d.closeList()
	c.Resync = r
}

// plainSet takes a set of UIDs that does not depend on what is in the mailbox.
func (d *Decoder) plainSet() Set {
	s := d.set(true)
	for _, r := range s.Ranges {
		if r.First == Star || r.Last == Star {
			d.fail("no * here")
		}
	}
	if s.Saved {
		d.fail("no $ here")
	}
	return s
}
