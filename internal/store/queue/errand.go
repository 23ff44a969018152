package queue

import (
	"encoding/binary"
	"strconv"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// An Errand is that a message goes out through the submission server of an account that
// its author has elsewhere, for all its recipients at once: such an item has recipients
// of several domains, and its Domain is that of the author's address there. The zero
// Errand is none.
type Errand struct {
	Outpost uint64       // the number of that account; never 0
	As      mail.Address // the author's address there
	For     mail.Address // who hears of it if it fails: the account here
}

// Is tells whether there is one.
func (e Errand) Is() bool { return e.Outpost != 0 }

// errandWay begins the ways of errands.
const errandWay = "outpost "

// Way names the way of an errand, as no operator can call one.
func (e Errand) Way() string { return errandWay + strconv.FormatUint(e.Outpost, 10) }

// Person gives a name of whom alone the way serves: what goes by it are errands. "" is
// everybody.
func (b Bound) Person() string {
	if strings.HasPrefix(b.Way, errandWay) {
		return b.Way
	}
	return ""
}

func (e Errand) row() string {
	return string(appendAddress(appendAddress(binary.AppendUvarint(nil, e.Outpost), e.As), e.For))
}

func decodeErrand(b []byte) (e Errand) {
	d := kv.Decode(b)
	e.Outpost, e.As, e.For = d.Uvarint(), decodeAddress(d), decodeAddress(d)
	if d.Err() != nil {
		return Errand{}
	}
	return e
}

// name gives a recipient's name in the rows: the item's domain goes without saying.
func (it *Item) name(a mail.Address) string {
	if it.Errand.Is() {
		return a.Local + "@" + string(a.Domain)
	}
	return a.Local
}

// named gives the recipient of a name. whole tells that its domain is in it.
func named(name string, d mail.Domain, whole bool) mail.Address {
	if i := strings.LastIndexByte(name, '@'); whole && i >= 0 {
		return mail.Address{Local: name[:i], Domain: mail.Domain(name[i+1:])}
	}
	return mail.Address{Local: name, Domain: d}
}
