package imap

// StatusItems are what STATUS can tell of a mailbox, one bit each.
type StatusItems uint16

// The items of STATUS. RFC 9051 §6.3.11, RFC 7162 §3.1.7; RECENT is of RFC 3501.
const (
	StatusMessages StatusItems = 1 << iota
	StatusUIDNext
	StatusUIDValidity
	StatusUnseen
	StatusDeleted
	StatusSize
	StatusRecent
	StatusHighestModSeq
	StatusAppendLimit
	StatusMailboxID      // RFC 8474 §4.3
	StatusDeletedStorage // RFC 9208 §4.1.4
)

// statusItems has their names, in the order in which they are answered.
var statusItems = []struct {
	name string
	item StatusItems
}{
	{"MESSAGES", StatusMessages},
	{"UIDNEXT", StatusUIDNext},
	{"UIDVALIDITY", StatusUIDValidity},
	{"UNSEEN", StatusUnseen},
	{"DELETED", StatusDeleted},
	{"SIZE", StatusSize},
	{"RECENT", StatusRecent},
	{"HIGHESTMODSEQ", StatusHighestModSeq},
	{"APPENDLIMIT", StatusAppendLimit}, // RFC 7889 §3.2
	{"MAILBOXID", StatusMailboxID},
	{"DELETED-STORAGE", StatusDeletedStorage},
}

// Status is STATUS.
type Status struct {
	Mailbox string
	Items   StatusItems
}

func parseStatus(d *Decoder) any {
	c := new(Status)
	d.sp()
	c.Mailbox = d.mailbox()
	d.sp()
	c.Items = d.statusItems()
	return c
}

func (d *Decoder) statusItems() StatusItems {
	var items StatusItems
	d.list(func() {
		name := d.keyword()
		for _, it := range statusItems {
			if it.name == name {
				items |= it.item
				return
			}
		}
		d.fail("unknown STATUS item")
	})
	return items
}
