package imap

import "posthaste/internal/base/mail"

// Store is STORE and UID STORE. RFC 9051 §6.4.6, RFC 7162 §3.1.3
type Store struct {
	Set         Set
	Op          StoreOp
	Silent      bool
	Flags       []string
	Conditional bool // UNCHANGEDSINCE was given, and Unchanged is its number
	Unchanged   mail.ModSeq
}

// A StoreOp is what STORE does with its flags.
type StoreOp uint8

// What STORE does with its flags.
const (
	ReplaceFlags StoreOp = iota
	AddFlags
	RemoveFlags
)

func parseStore(d *Decoder) any {
	c := new(Store)
	d.sp()
	c.Set = d.set(d.isUID())
	d.sp()
	if d.peek() == '(' {
		d.list(func() {
			if !d.word("UNCHANGEDSINCE") {
				d.fail("unknown modifier")
				return
			}
			d.sp()
			c.Conditional, c.Unchanged = true, mail.ModSeq(d.number63())
		})
		d.sp()
	}
	switch {
	case d.take('+'):
		c.Op = AddFlags
	case d.take('-'):
		c.Op = RemoveFlags
	}
	switch d.keyword() {
	case "FLAGS":
	case "FLAGS.SILENT":
		c.Silent = true
	default:
		d.fail("only FLAGS can be stored")
	}
	d.sp()
	if d.peek() == '(' {
		c.Flags = d.flagList()
		return c
	}
	for d.ok() {
		c.Flags = d.appendFlag(c.Flags)
		if !d.more() {
			break
		}
	}
	return c
}
