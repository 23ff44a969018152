package imap

// CancelUpdate is CANCELUPDATE: the searches with these tags are no longer to be
// kept up to date. RFC 5267 §4.4
type CancelUpdate struct{ Tags []string }

func parseCancelUpdate(d *Decoder) any {
	c := new(CancelUpdate)
	d.sp()
	for d.ok() {
		c.Tags = append(c.Tags, d.str())
		if !d.more() {
			break
		}
	}
	return c
}
