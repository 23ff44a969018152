package imap

import (
	"slices"
	"strings"
)

// Notify is NOTIFY. Without Groups it is NOTIFY NONE. RFC 5465 §3.1
type Notify struct {
	Status bool // tell first how the mailboxes are
	Groups []NotifyGroup
}

// A NotifyGroup is mailboxes and what the client wants to hear of them. A later
// group adds to what an earlier one says of a mailbox. RFC 5465 §6
type NotifyGroup struct {
	Filter    MailboxFilter
	Mailboxes []string // of FilterSubtree, FilterSubtreeOne and FilterMailboxes
	Events    NotifyEvents
	Fetch     []FetchItem // to tell of each new message
}

// A MailboxFilter says which mailboxes are meant. RFC 5465 §6, RFC 7377 §2.2
type MailboxFilter uint8

// The mailbox filters.
const (
	FilterSelected MailboxFilter = iota + 1
	FilterSelectedDelayed
	FilterInboxes
	FilterPersonal
	FilterSubscribed
	FilterSubtree
	FilterSubtreeOne
	FilterMailboxes
)

var mailboxFilters = map[string]MailboxFilter{
	"SELECTED": FilterSelected, "SELECTED-DELAYED": FilterSelectedDelayed, "INBOXES": FilterInboxes, "PERSONAL": FilterPersonal,
	"SUBSCRIBED": FilterSubscribed, "SUBTREE": FilterSubtree, "SUBTREE-ONE": FilterSubtreeOne, "MAILBOXES": FilterMailboxes,
}

// NotifyEvents are events, one bit each. RFC 5465 §5
type NotifyEvents uint16

// The events.
const (
	MessageNew NotifyEvents = 1 << iota
	MessageExpunge
	FlagChange
	AnnotationChange
	MailboxName
	SubscriptionChange
	MailboxMetadataChange
	ServerMetadataChange
	OtherEvent // one that nobody knows

	MessageEvents = MessageNew | MessageExpunge | FlagChange | AnnotationChange
)

// notifyEvents has their names.
var notifyEvents = []struct {
	name  string
	event NotifyEvents
}{
	{"MessageNew", MessageNew},
	{"MessageExpunge", MessageExpunge},
	{"FlagChange", FlagChange},
	{"AnnotationChange", AnnotationChange},
	{"MailboxName", MailboxName},
	{"SubscriptionChange", SubscriptionChange},
	{"MailboxMetadataChange", MailboxMetadataChange},
	{"ServerMetadataChange", ServerMetadataChange},
}

// Has tells whether one of the events is wanted of one of the groups.
func (c *Notify) Has(e NotifyEvents) bool {
	return slices.ContainsFunc(c.Groups, func(g NotifyGroup) bool { return g.Events&e != 0 })
}

// maxNotifyNames is how many mailboxes a NOTIFY or ESEARCH may name.
const maxNotifyNames = 1000

func parseNotify(d *Decoder) any {
	c := new(Notify)
	d.sp()
	if d.word("NONE") {
		return c
	}
	if !d.word("SET") {
		d.fail("expected SET or NONE")
	}
	d.sp()
	if d.word("STATUS") {
		c.Status = true
		d.sp()
	}
	names, selected := 0, 0
	for d.ok() {
		g := d.notifyGroup()
		if names += len(g.Mailboxes) + 1; names > maxNotifyNames {
			d.fail("too many mailboxes")
		}
		if g.Filter == FilterSelected || g.Filter == FilterSelectedDelayed {
			if selected++; selected > 1 {
				d.fail("the selected mailbox can be named once")
			}
		}
		c.Groups = append(c.Groups, g)
		if !d.more() {
			break
		}
	}
	return c
}

func (d *Decoder) notifyGroup() (g NotifyGroup) {
	d.openList()
	g.Filter, g.Mailboxes = d.mailboxFilter()
	d.sp()
	if !d.word("NONE") {
		d.list(func() { d.notifyEvent(&g) })
	}
	d.closeList()
	d.checkEvents(&g)
	return g
}

// mailboxFilter takes a filter and, if it has any, its mailboxes.
func (d *Decoder) mailboxFilter() (f MailboxFilter, names []string) {
	if f = mailboxFilters[d.keyword()]; f == 0 {
		d.fail("unknown filter")
	}
	if f < FilterSubtree || !d.ok() {
		return f, nil
	}
	d.sp()
	one := func() {
		if names = append(names, d.mailbox()); len(names) > maxNotifyNames {
			d.fail("too many mailboxes")
		}
	}
	if d.peek() == '(' {
		d.list(one)
	} else {
		one()
	}
	return f, names
}

func (d *Decoder) notifyEvent(g *NotifyGroup) {
	word := d.atom()
	event := OtherEvent
	for _, e := range notifyEvents {
		if strings.EqualFold(e.name, word) {
			event = e.event
		}
	}
	g.Events |= event
	if event == MessageNew {
		g.Fetch = d.optionalItems()
	}
}

// optionalItems takes what FETCH may ask for, if that comes in parentheses.
func (d *Decoder) optionalItems() []FetchItem {
	if !d.optionalList() {
		return nil
	}
	var c Fetch
	d.list(func() { d.fetchItem(&c) })
	return c.Items
}

// checkEvents refuses events that cannot stand together. What nobody supports is
// refused in another way. RFC 5465 §5, §6.1, §8
func (d *Decoder) checkEvents(g *NotifyGroup) {
	const news = MessageNew | MessageExpunge
	selected := g.Filter == FilterSelected || g.Filter == FilterSelectedDelayed
	switch e := g.Events; {
	case e&OtherEvent != 0:
	case e&MessageEvents != 0 && e&news != news:
		d.fail("MessageNew and MessageExpunge come together, and other events of messages with them")
	case selected && e&^MessageEvents != 0:
		d.fail("only events of messages are for the selected mailbox")
	case !selected && g.Fetch != nil:
		d.fail("items of messages are for the selected mailbox")
	}
}

// CodeBadEvent tells which events are supported. RFC 5465 §3.1
func CodeBadEvent(supported NotifyEvents) Code {
	b := []byte("BADEVENT ")
	sep := byte('(')
	for _, e := range notifyEvents {
		if supported&e.event != 0 {
			b = append(append(b, sep), e.name...)
			sep = ' '
		}
	}
	return Code(append(b, ')'))
}
