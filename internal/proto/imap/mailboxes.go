package imap

import "strings"

// Select is SELECT and EXAMINE. RFC 9051 §6.3.2, RFC 7162 §3.1.8
type Select struct {
	Mailbox   string
	Given     string // the name as it came, if INBOX was not in upper case; else ""
	CondStore bool
	Resync    *Resync // nil if QRESYNC was not given
}

// selectParams has the parameters of SELECT and EXAMINE. RFC 4466 §2.1
var selectParams = map[string]func(*Decoder, *Select){
	"CONDSTORE": func(_ *Decoder, c *Select) { c.CondStore = true },
	"QRESYNC":   parseResync,
}

func parseSelect(d *Decoder) any {
	c := new(Select)
	d.sp()
	c.Mailbox, c.Given = d.mailboxAs()
	if d.more() {
		d.list(func() {
			param := selectParams[d.keyword()]
			if param == nil {
				d.fail("unknown parameter")
				return
			}
			param(d, c)
		})
	}
	return c
}

// Create is CREATE. Use has the special uses wanted, as attributes: "\Sent".
// RFC 9051 §6.3.4, RFC 6154 §3
type Create struct {
	Mailbox string
	Given   string // as of Select
	Use     []string
}

func parseCreate(d *Decoder) any {
	c := new(Create)
	d.sp()
	c.Mailbox, c.Given = d.newMailbox()
	if d.more() {
		d.list(func() {
			if !d.word("USE") {
				d.fail("unknown parameter")
				return
			}
			d.sp()
			d.listOrNothing(func() { c.Use = append(c.Use, d.flag()) })
		})
	}
	return c
}

// newMailbox is mailbox for a name that is to come into being: a separator at
// its end, which says that there will be others below, is not part of it.
// RFC 9051 §6.3.4
func (d *Decoder) newMailbox() (name, given string) {
	name, given = d.mailboxAs()
	if n := len(name); n > 1 && name[n-1] == Separator {
		name, given = name[:n-1], strings.TrimSuffix(given, string(Separator))
	}
	return name, given
}

// Delete is DELETE. RFC 9051 §6.3.5
type Delete struct {
	Mailbox string
	Given   string // as of Select
}

func parseDelete(d *Decoder) any {
	c := new(Delete)
	d.sp()
	c.Mailbox, c.Given = d.mailboxAs()
	return c
}

// Rename is RENAME. RFC 9051 §6.3.6
type Rename struct {
	From, To string
	Given    string // To, as of Select
}

func parseRename(d *Decoder) any {
	c := new(Rename)
	d.sp()
	c.From = d.mailbox()
	d.sp()
	c.To, c.Given = d.newMailbox()
	return c
}

// Subscribe is SUBSCRIBE and UNSUBSCRIBE. RFC 9051 §6.3.7, §6.3.8
type Subscribe struct{ Mailbox string }

func parseSubscribe(d *Decoder) any {
	d.sp()
	return &Subscribe{Mailbox: d.mailbox()}
}
