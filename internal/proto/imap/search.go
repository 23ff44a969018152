package imap

import (
	"math"
	"time"

	"posthaste/internal/base/mail"
)

// Search is SEARCH and UID SEARCH. RFC 9051 §6.4.4
type Search struct {
	UID     bool // the answer is in UIDs
	Return  SearchReturn
	Partial Window      // with ReturnPartial
	Fetch   []FetchItem // to tell of messages that ReturnUpdate adds; RFC 5465 §7
	Charset string      // upper case; empty if none was given
	Key     Key
}

// A Window is results by their number, from First to Last. Negative numbers
// count from the end: -1 is the last one. RFC 9394 §3.1
type Window struct{ First, Last int64 }

// Len gives how many results the window has room for.
func (w Window) Len() int64 {
	if w.First < 0 {
		return max(w.First-w.Last, w.Last-w.First) + 1
	}
	return w.Last - w.First + 1
}

// In gives which of n results the window has, from index from up to to.
func (w Window) In(n int) (from, to int) {
	first, last := w.First, w.Last
	if first < 0 {
		first, last = int64(n)+1+last, int64(n)+1+first
	}
	first, last = max(first, 1), min(last, int64(n))
	if first > last {
		return 0, 0
	}
	return int(first - 1), int(last)
}

// SearchReturn is what SEARCH is to tell, one bit each; zero if there was no
// RETURN.
type SearchReturn uint8

// The result options of SEARCH. RFC 9051 §6.4.4, RFC 4731
const (
	ReturnMin SearchReturn = 1 << iota
	ReturnMax
	ReturnAll
	ReturnCount
	ReturnSave
	ReturnPartial // RFC 9394
	ReturnUpdate  // RFC 5267
	ReturnContext // RFC 5267: a hint that the same will be asked for again
)

var searchReturns = map[string]SearchReturn{
	"MIN": ReturnMin, "MAX": ReturnMax, "ALL": ReturnAll, "COUNT": ReturnCount, "SAVE": ReturnSave, "PARTIAL": ReturnPartial,
	"UPDATE": ReturnUpdate, "CONTEXT": ReturnContext,
}

// A Key is what SEARCH looks for: one of the types below.
type Key interface{ isKey() }

// The search keys. RFC 9051 §6.4.4
type (
	// All is every message.
	All struct{}
	// And is messages for which all keys hold.
	And struct{ Keys []Key }
	// Or is messages for which one of both holds.
	Or struct{ A, B Key }
	// Not is messages for which the key does not hold.
	Not struct{ Key Key }
	// Messages is the messages of a set.
	Messages struct{ Set Set }
	// HasFlag is messages with the flag or keyword, which may be \Recent.
	HasFlag struct{ Flag string }
	// HeaderHas is messages with a field whose decoded text has Text in it, in
	// any case; an empty Text is in every field. FROM, TO, CC, BCC and SUBJECT
	// are HeaderHas too.
	HeaderHas struct{ Field, Text string }
	// BodyHas is messages with Text in the decoded body, in any case.
	BodyHas struct{ Text string }
	// TextHas is messages with Text in the header or body, in any case.
	TextHas struct{ Text string }
	// Arrived is messages by internal date, without regard to time and zone.
	Arrived struct {
		When When
		Day  time.Time
	}
	// Sent is messages by the Date field, without regard to time and zone.
	Sent struct {
		When When
		Day  time.Time
	}
	// Larger is messages of more than Size bytes.
	Larger struct{ Size uint64 }
	// Smaller is messages of less than Size bytes.
	Smaller struct{ Size uint64 }
	// Within is messages that came in less than Seconds ago, or if Older, at
	// least as long ago. RFC 5032
	Within struct {
		Older   bool
		Seconds uint64
	}
	// Saved is messages by when they came into the mailbox. RFC 8514 §4.3
	Saved struct {
		When When
		Day  time.Time
	}
	// HasEmailID is messages with the id. RFC 8474 §5.4
	HasEmailID struct{ ID string }
	// HasThreadID is messages of the thread. RFC 8474 §5.4
	HasThreadID struct{ ID string }
	// Filter is what the keys noted under a name stand for. RFC 5466 §3.1
	Filter struct{ Name string }
	// ChangedSince is messages with at least this mod-sequence. RFC 7162 §3.1.5
	ChangedSince struct{ ModSeq mail.ModSeq }
)

// When is how a date is compared.
type When uint8

// How a date is compared.
const (
	Before When = iota
	On
	Since // on that day or later
)

func (All) isKey()          {}
func (And) isKey()          {}
func (Or) isKey()           {}
func (Not) isKey()          {}
func (Messages) isKey()     {}
func (HasFlag) isKey()      {}
func (HeaderHas) isKey()    {}
func (BodyHas) isKey()      {}
func (TextHas) isKey()      {}
func (Arrived) isKey()      {}
func (Sent) isKey()         {}
func (Larger) isKey()       {}
func (Smaller) isKey()      {}
func (ChangedSince) isKey() {}
func (Filter) isKey()       {}
func (Within) isKey()       {}
func (Saved) isKey()        {}
func (HasEmailID) isKey()   {}
func (HasThreadID) isKey()  {}

// searchKeys has every key that begins with a word. It is a function and not a
// map, since NOT and OR come back to it.
func searchKeys(name string) func(*Decoder) Key {
	switch name {
	case "NOT":
		return func(d *Decoder) Key { d.sp(); return Not{d.key()} }
	case "OR":
		return func(d *Decoder) Key {
			d.sp()
			a := d.key()
			d.sp()
			return Or{a, d.key()}
		}
	}
	return plainKeys[name]
}

// plainKeys has the keys that hold no other keys.
var plainKeys = map[string]func(*Decoder) Key{
	"ALL":        func(*Decoder) Key { return All{} },
	"ANSWERED":   flagKey(FlagAnswered),
	"DELETED":    flagKey(FlagDeleted),
	"DRAFT":      flagKey(FlagDraft),
	"FLAGGED":    flagKey(FlagFlagged),
	"SEEN":       flagKey(FlagSeen),
	"RECENT":     flagKey(FlagRecent),
	"UNANSWERED": noFlagKey(FlagAnswered),
	"UNDELETED":  noFlagKey(FlagDeleted),
	"UNDRAFT":    noFlagKey(FlagDraft),
	"UNFLAGGED":  noFlagKey(FlagFlagged),
	"UNSEEN":     noFlagKey(FlagSeen),
	"OLD":        noFlagKey(FlagRecent),
	"NEW":        func(*Decoder) Key { return And{[]Key{HasFlag{FlagRecent}, Not{HasFlag{FlagSeen}}}} },
	"KEYWORD":    func(d *Decoder) Key { d.sp(); return HasFlag{d.flag()} },
	"UNKEYWORD":  func(d *Decoder) Key { d.sp(); return Not{HasFlag{d.flag()}} },
	"FROM":       headerKey("From"),
	"TO":         headerKey("To"),
	"CC":         headerKey("Cc"),
	"BCC":        headerKey("Bcc"),
	"SUBJECT":    headerKey("Subject"),
	"HEADER": func(d *Decoder) Key {
		d.sp()
		field := d.astring()
		d.sp()
		return HeaderHas{field, d.searched()}
	},
	"BODY":       func(d *Decoder) Key { d.sp(); return BodyHas{d.searched()} },
	"TEXT":       func(d *Decoder) Key { d.sp(); return TextHas{d.searched()} },
	"BEFORE":     func(d *Decoder) Key { d.sp(); return Arrived{Before, d.date()} },
	"ON":         func(d *Decoder) Key { d.sp(); return Arrived{On, d.date()} },
	"SINCE":      func(d *Decoder) Key { d.sp(); return Arrived{Since, d.date()} },
	"SENTBEFORE": func(d *Decoder) Key { d.sp(); return Sent{Before, d.date()} },
	"SENTON":     func(d *Decoder) Key { d.sp(); return Sent{On, d.date()} },
	"SENTSINCE":  func(d *Decoder) Key { d.sp(); return Sent{Since, d.date()} },
	"LARGER":     func(d *Decoder) Key { d.sp(); return Larger{d.number63()} },
	"SMALLER":    func(d *Decoder) Key { d.sp(); return Smaller{d.number63()} },
	"UID":        func(d *Decoder) Key { d.sp(); return Messages{d.set(true)} },
	"UIDAFTER":   func(d *Decoder) Key { d.sp(); return between(uint64(d.nz32())+1, math.MaxUint32) },
	"UIDBEFORE":  func(d *Decoder) Key { d.sp(); return between(1, uint64(d.nz32())-1) },
	"MODSEQ":     modSeqKey,
	"FILTER":     func(d *Decoder) Key { d.sp(); return Filter{d.filterName()} },
	"YOUNGER":    func(d *Decoder) Key { d.sp(); return Within{false, uint64(d.nz32())} },
	"OLDER":      func(d *Decoder) Key { d.sp(); return Within{true, uint64(d.nz32())} },

	"SAVEDBEFORE":       func(d *Decoder) Key { d.sp(); return Saved{Before, d.date()} },
	"SAVEDON":           func(d *Decoder) Key { d.sp(); return Saved{On, d.date()} },
	"SAVEDSINCE":        func(d *Decoder) Key { d.sp(); return Saved{Since, d.date()} },
	"SAVEDATESUPPORTED": func(*Decoder) Key { return All{} },
	"EMAILID":           func(d *Decoder) Key { d.sp(); return HasEmailID{d.objectID()} },
	"THREADID":          func(d *Decoder) Key { d.sp(); return HasThreadID{d.objectID()} },
}

func flagKey(flag string) func(*Decoder) Key {
	return func(*Decoder) Key { return HasFlag{flag} }
}

func noFlagKey(flag string) func(*Decoder) Key {
	return func(*Decoder) Key { return Not{HasFlag{flag}} }
}

func headerKey(field string) func(*Decoder) Key {
	return func(d *Decoder) Key { d.sp(); return HeaderHas{field, d.searched()} }
}

// modSeqKey takes MODSEQ ["/flags/\\Seen" all|shared|priv] n. We keep one
// mod-sequence per message, so name and type make no difference.
// RFC 7162 §3.1.5
func modSeqKey(d *Decoder) Key {
	d.sp()
	if d.peek() == '"' {
		d.quoted()
		d.sp()
		if !d.word("all") && !d.word("shared") && !d.word("priv") {
			d.fail("expected all, shared or priv")
		}
		d.sp()
	}
	return ChangedSince{mail.ModSeq(d.number63())}
}

// maxKeys is how many keys a SEARCH may have.
const maxKeys = 1000

func parseSearch(d *Decoder) any {
	c := &Search{UID: d.isUID()}
	d.sp()
	d.searchReturn(c)
	d.searchProgram(c)
	return c
}

// searchProgram takes the charset, if one comes, and the keys.
func (d *Decoder) searchProgram(c *Search) {
	if d.word("CHARSET") {
		d.sp()
		c.Charset = upper([]byte(d.astring()))
		d.sp()
	}
	d.keys = 0
	c.Key = d.keyList()
}

// searchReturn takes RETURN and its options, if they come.
func (d *Decoder) searchReturn(c *Search) {
	if !d.word("RETURN") {
		return
	}
	d.sp()
	d.listOrNothing(func() {
		r, ok := searchReturns[d.keyword()]
		if !ok {
			d.fail("unknown return option")
		}
		if r == ReturnPartial {
			if c.Return&ReturnPartial != 0 {
				d.fail("PARTIAL comes once")
			}
			d.sp()
			c.Partial = d.window()
		}
		if r == ReturnUpdate {
			c.Fetch = d.optionalItems()
		}
		c.Return |= r
	})
	if c.Return&^(ReturnUpdate|ReturnContext) == 0 {
		c.Return |= ReturnAll
	}
	if c.Return&ReturnPartial != 0 && c.Return&ReturnAll != 0 {
		d.fail("either ALL or PARTIAL")
	}
	d.sp()
}

// window takes a range of PARTIAL; its ends may come in either order.
func (d *Decoder) window() Window {
	negative := d.peek() == '-'
	end := func() int64 {
		if negative {
			d.expect('-')
			return -int64(d.nz32())
		}
		return int64(d.nz32())
	}
	w := Window{First: end()}
	d.expect(':')
	w.Last = end()
	if negative == (w.First < w.Last) {
		w.First, w.Last = w.Last, w.First
	}
	return w
}

// keyList takes keys with spaces between them.
func (d *Decoder) keyList() Key {
	var keys []Key
	for d.ok() {
		keys = append(keys, d.key())
		if !d.more() {
			break
		}
	}
	if len(keys) == 1 {
		return keys[0]
	}
	return And{keys}
}

// key takes one key.
func (d *Decoder) key() Key {
	d.enter()
	defer d.leave()
	if d.keys++; d.keys > maxKeys {
		d.fail("too many search keys")
	}
	if !d.ok() {
		return All{}
	}
	switch c := d.peek(); {
	case c == '(':
		d.openList()
		k := d.keyList()
		d.expect(')')
		return k
	case isDigit[c] || c == '*' || c == '$':
		return Messages{d.set(false)}
	}
	parse := searchKeys(d.keyword())
	if parse == nil {
		d.fail("unknown search key")
		return All{}
	}
	return parse(d)
}

// objectID takes the id of something. RFC 8474 §7
func (d *Decoder) objectID() string { return d.atom() }

// between is UIDAFTER or UIDBEFORE. RFC 9738 §3.2
func between(first, last uint64) Key {
	if first > last || first > math.MaxUint32 {
		return Not{All{}}
	}
	return Messages{Set{UID: true, Ranges: []Range{{uint32(first), uint32(last)}}}}
}
