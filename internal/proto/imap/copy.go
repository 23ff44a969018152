package imap

// Copy is COPY, UID COPY, MOVE and UID MOVE. RFC 9051 §6.4.7, §6.4.8
type Copy struct {
	Set     Set
	Mailbox string
}

func parseCopy(d *Decoder) any {
	c := new(Copy)
	d.sp()
	c.Set = d.set(d.isUID())
	d.sp()
	c.Mailbox = d.mailbox()
	return c
}

// UIDExpunge is UID EXPUNGE. RFC 9051 §6.4.9
type UIDExpunge struct{ Set Set }

func parseUIDExpunge(d *Decoder) any {
	d.sp()
	return &UIDExpunge{Set: d.set(true)}
}
