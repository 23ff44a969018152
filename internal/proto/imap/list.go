package imap

// ListSelect is which mailboxes LIST is to show, one bit each. RFC 9051 §6.3.9.1
type ListSelect uint8

// The selection options of LIST.
const (
	SelectSubscribed ListSelect = 1 << iota
	SelectRemote
	SelectRecursiveMatch
	SelectSpecialUse // RFC 6154 §2
)

// ListReturn is what LIST is to tell of them, one bit each. RFC 9051 §6.3.9.2
type ListReturn uint8

// The return options of LIST.
const (
	ReturnSubscribed ListReturn = 1 << iota
	ReturnChildren
	ReturnSpecialUse
	ReturnStatus   // with the items of List.Status
	ReturnMetadata // the entries of List.Entries, RFC 9590
	ReturnMyRights // RFC 8440
)

// List is LIST. RFC 9051 §6.3.9
type List struct {
	Reference string
	Patterns  []string
	Extended  bool // the client used the extended syntax
	Select    ListSelect
	Return    ListReturn
	Status    StatusItems
	Entries   []string
}

// maxPatterns is how many patterns a LIST may have.
const maxPatterns = 100

var listSelects = map[string]ListSelect{
	"SUBSCRIBED":     SelectSubscribed,
	"REMOTE":         SelectRemote,
	"RECURSIVEMATCH": SelectRecursiveMatch,
	"SPECIAL-USE":    SelectSpecialUse,
}

var listReturns = map[string]func(*Decoder, *List){
	"SUBSCRIBED":  func(_ *Decoder, c *List) { c.Return |= ReturnSubscribed },
	"CHILDREN":    func(_ *Decoder, c *List) { c.Return |= ReturnChildren },
	"SPECIAL-USE": func(_ *Decoder, c *List) { c.Return |= ReturnSpecialUse },
	"METADATA": func(d *Decoder, c *List) {
		d.sp()
		c.Return |= ReturnMetadata
		c.Entries = d.entries()
	},
	"MYRIGHTS": func(_ *Decoder, c *List) { c.Return |= ReturnMyRights },
	"STATUS": func(d *Decoder, c *List) { // RFC 5819 §2
		d.sp()
		c.Return |= ReturnStatus
		c.Status |= d.statusItems()
	},
}

func parseList(d *Decoder) any {
	c := new(List)
	d.sp()
	if d.peek() == '(' {
		c.Extended = true
		d.listSelect(c)
		d.sp()
	}
	c.Reference = CanonicalName(d.name7(d.astring()))
	d.sp()
	if d.peek() == '(' {
		c.Extended = true
		d.list(func() {
			c.Patterns = append(c.Patterns, d.listMailbox())
			if len(c.Patterns) > maxPatterns {
				d.fail("too many patterns")
			}
		})
	} else {
		c.Patterns = []string{d.listMailbox()}
	}
	if d.more() {
		c.Extended = true
		if !d.word("RETURN") {
			d.fail("expected RETURN")
		}
		d.sp()
		d.listOrNothing(func() {
			ret := listReturns[d.keyword()]
			if ret == nil {
				d.fail("unknown return option")
				return
			}
			ret(d, c)
		})
	}
	return c
}

func (d *Decoder) listSelect(c *List) {
	d.listOrNothing(func() {
		o, ok := listSelects[d.keyword()]
		if !ok {
			d.fail("unknown selection option")
		}
		c.Select |= o
	})
	// RFC 9051 §6.3.9.1: RECURSIVEMATCH needs another one, REMOTE does not count.
	if c.Select&SelectRecursiveMatch != 0 && c.Select&(SelectSubscribed|SelectSpecialUse) == 0 {
		d.fail("RECURSIVEMATCH alone selects nothing")
	}
}

// Lsub is LSUB. RFC 3501 §6.3.9
type Lsub struct{ Reference, Pattern string }

func parseLsub(d *Decoder) any {
	c := new(Lsub)
	d.sp()
	c.Reference = CanonicalName(d.name7(d.astring()))
	d.sp()
	c.Pattern = d.listMailbox()
	return c
}
