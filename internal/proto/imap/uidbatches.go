package imap

// UIDBatches is UIDBATCHES: where to cut the UIDs into batches of Size messages.
// RFC 10022 §3.1
type UIDBatches struct {
	Size        uint32
	First, Last uint32 // of the batches wanted, from 1; zero: all
}

func parseUIDBatches(d *Decoder) any {
	c := new(UIDBatches)
	d.sp()
	c.Size = d.nz32()
	if d.more() {
		c.First = d.nz32()
		d.expect(':')
		c.Last = d.nz32()
	}
	return c
}
