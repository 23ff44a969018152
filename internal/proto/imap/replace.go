package imap

// Replace is REPLACE and UID REPLACE: the message comes in the place of the one
// that Number names. RFC 8508 §3
type Replace struct {
	UID    bool // Number is a UID
	Number uint32
	Append
}

func parseReplace(d *Decoder) any {
	c := &Replace{UID: d.isUID()}
	d.sp()
	if !d.take('*') {
		c.Number = d.nz32()
	}
	d.sp()
	c.Mailbox = d.mailbox()
	d.appendMessage(&c.Message)
	return c
}
