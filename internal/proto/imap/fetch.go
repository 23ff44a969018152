package imap

import (
	"slices"

	"posthaste/internal/base/mail"
)

// Fetch is FETCH and UID FETCH. RFC 9051 §6.4.5, RFC 7162 §3.1.4
type Fetch struct {
	Set     Set
	Items   []FetchItem
	Changed bool // CHANGEDSINCE was given, and Since is its number
	Since   mail.ModSeq
	// Window is which of the messages are wanted, by their number among those of
	// the set; zero is all. RFC 9394 §3.2
	Window Window
	// Vanished asks for the UIDs that are gone since then. RFC 7162 §3.2.6
	Vanished bool
}

// An ItemKind is what a FetchItem asks for.
type ItemKind uint8

// The items of FETCH. ItemBodySection, ItemBinary and ItemBinarySize have a
// Section.
const (
	ItemFlags ItemKind = iota + 1
	ItemUID
	ItemInternalDate
	ItemSize // RFC822.SIZE
	ItemEnvelope
	ItemBody // BODY without a section: BODYSTRUCTURE without extensions
	ItemBodyStructure
	ItemBodySection
	ItemBinary     // RFC 3516
	ItemBinarySize // RFC 3516
	ItemModSeq     // RFC 7162
	ItemRFC822     // RFC 3501
	ItemRFC822Header
	ItemRFC822Text
	ItemEmailID  // RFC 8474
	ItemThreadID // RFC 8474
	ItemSaveDate // RFC 8514
	ItemPreview  // RFC 8970
)

// A FetchItem is one thing a client wants to know of each message.
type FetchItem struct {
	Kind    ItemKind
	Peek    bool // do not set \Seen
	Section Section
	Partial bool // only Count bytes from Offset
	Offset  uint64
	Count   uint64
}

// SetsSeen tells whether fetching the item marks the message as seen.
func (f *FetchItem) SetsSeen() bool {
	switch f.Kind {
	case ItemBodySection, ItemBinary:
		return !f.Peek
	case ItemRFC822, ItemRFC822Text:
		return true
	}
	return false
}

// maxItems is how many items a FETCH may have.
const maxItems = 200

// fetchItems has what may stand in FETCH.
var fetchItems = map[string]func(*Decoder, *FetchItem){
	"FLAGS":         kind(ItemFlags),
	"UID":           kind(ItemUID),
	"INTERNALDATE":  kind(ItemInternalDate),
	"RFC822.SIZE":   kind(ItemSize),
	"ENVELOPE":      kind(ItemEnvelope),
	"BODYSTRUCTURE": kind(ItemBodyStructure),
	"MODSEQ":        kind(ItemModSeq),
	"RFC822":        kind(ItemRFC822),
	"RFC822.HEADER": kind(ItemRFC822Header),
	"RFC822.TEXT":   kind(ItemRFC822Text),
	"EMAILID":       kind(ItemEmailID),
	"THREADID":      kind(ItemThreadID),
	"SAVEDATE":      kind(ItemSaveDate),
	"PREVIEW":       parsePreview,
	"BODY":          parseBody,
	"BODY.PEEK":     parseBodyPeek,
	"BINARY":        parseBinary,
	"BINARY.PEEK":   parseBinaryPeek,
	"BINARY.SIZE":   parseBinarySize,
}

// fetchMacros are words for several items. RFC 9051 §6.4.5
var fetchMacros = map[string][]ItemKind{
	"ALL":  {ItemFlags, ItemInternalDate, ItemSize, ItemEnvelope},
	"FAST": {ItemFlags, ItemInternalDate, ItemSize},
	"FULL": {ItemFlags, ItemInternalDate, ItemSize, ItemEnvelope, ItemBody},
}

// fetchModifiers has what may stand in parentheses behind the items.
// RFC 4466 §2.4
var fetchModifiers = map[string]func(*Decoder, *Fetch){
	"CHANGEDSINCE": func(d *Decoder, c *Fetch) {
		d.sp()
		c.Changed, c.Since = true, mail.ModSeq(d.number63())
	},
	"PARTIAL": func(d *Decoder, c *Fetch) {
		d.sp()
		if c.Window != (Window{}) {
			d.fail("PARTIAL comes once")
		}
		c.Window = d.window() // of FETCH, too, where the RFC has it for UID FETCH only
	},
	"VANISHED": func(_ *Decoder, c *Fetch) { c.Vanished = true },
}

func kind(k ItemKind) func(*Decoder, *FetchItem) {
	return func(_ *Decoder, f *FetchItem) { f.Kind = k }
}

func parseFetch(d *Decoder) any {
	c := new(Fetch)
	d.sp()
	c.Set = d.set(d.isUID())
	d.sp()
	if d.peek() == '(' {
		d.list(func() { d.fetchItem(c) })
	} else {
		d.fetchItem(c)
	}
	if d.more() {
		d.list(func() {
			modifier := fetchModifiers[d.keyword()]
			if modifier == nil {
				d.fail("unknown modifier")
				return
			}
			modifier(d, c)
		})
	}
	return c
}

// isUID tells whether the command begins with UID.
func (d *Decoder) isUID() bool { return len(d.name) > 4 && d.name[:4] == "UID " }

// fetchItem takes one item, or a macro, which the RFC has by itself and some clients
// put into parentheses.
func (d *Decoder) fetchItem(c *Fetch) {
	var f FetchItem
	name := d.keyword()
	if macro := fetchMacros[name]; macro != nil {
		for _, k := range macro {
			c.Items = append(c.Items, FetchItem{Kind: k})
		}
		return
	}
	item := fetchItems[name]
	if item == nil {
		d.fail("unknown FETCH item")
		return
	}
	item(d, &f)
	if c.Items = append(c.Items, f); len(c.Items) > maxItems {
		d.fail("too many FETCH items")
	}
}

// Has tells whether one of the items is of kind k.
func (c *Fetch) Has(k ItemKind) bool {
	return slices.ContainsFunc(c.Items, func(f FetchItem) bool { return f.Kind == k })
}

func parseBody(d *Decoder, f *FetchItem) {
	if d.peek() != '[' {
		f.Kind = ItemBody
		return
	}
	f.Kind = ItemBodySection
	d.section(&f.Section)
	d.partial(f)
}

func parseBodyPeek(d *Decoder, f *FetchItem) {
	f.Kind, f.Peek = ItemBodySection, true
	d.section(&f.Section)
	d.partial(f)
}

func parseBinary(d *Decoder, f *FetchItem) {
	f.Kind = ItemBinary
	d.binarySection(&f.Section)
	d.partial(f)
}

func parseBinaryPeek(d *Decoder, f *FetchItem) {
	parseBinary(d, f)
	f.Peek = true
}

func parseBinarySize(d *Decoder, f *FetchItem) {
	f.Kind, f.Peek = ItemBinarySize, true
	d.binarySection(&f.Section)
}

// partial takes <offset.count>.
func (d *Decoder) partial(f *FetchItem) {
	if !d.take('<') {
		return
	}
	f.Partial = true
	f.Offset = d.number63()
	d.expect('.')
	if f.Count = d.number63(); d.ok() && f.Count == 0 {
		d.fail("zero is not allowed here")
	}
	d.expect('>')
}

// parsePreview takes PREVIEW and PREVIEW (LAZY): both are the same to us, since
// a preview is made at once. RFC 8970 §3.1
func parsePreview(d *Decoder, f *FetchItem) {
	f.Kind = ItemPreview
	if d.optionalList() {
		d.list(func() {
			if !d.word("LAZY") {
				d.fail("unknown modifier of PREVIEW")
			}
		})
	}
}
