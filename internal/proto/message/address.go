package message

import (
	"posthaste/internal/base/mail"
)

// An Address is one entry of an address list as IMAP shows it. A group is a
// GroupStart entry, its members, and a GroupEnd entry. RFC 5322 §3.4
type Address struct {
	Kind   AddressKind
	Name   string // the display name without quotes, not decoded; of a GroupStart the group's
	Local  string // without quotes; where there was no @, all there was
	Domain string // as written; empty if there was none
	Route  string // obsolete: "@a,@b" of <@a,@b:local@domain>
}

// An AddressKind tells addresses from the marks around a group.
type AddressKind uint8

// The kinds of entries in an address list.
const (
	Single AddressKind = iota
	GroupStart
	GroupEnd
)

// A Contact is an address for people, with everything decoded.
type Contact struct {
	Name    string       // UTF-8, without line breaks; empty if there was none
	Address mail.Address // zero if what stood there is no address
	Raw     string       // local@domain as it was found
	Group   string       // the name of the group it was in
}

// Contact decodes a Single address.
func (a Address) Contact() Contact {
	c := Contact{Name: DecodeWords(a.Name), Raw: a.Local + "@" + a.Domain}
	if a.Domain == "" {
		c.Raw = a.Local
		return c
	}
	d, err := mail.ParseDomain(a.Domain)
	if err == nil && a.Local != "" {
		c.Address = mail.Address{Local: a.Local, Domain: d}
	}
	return c
}

// ParseAddresses reads the value of an address field for people: names are
// decoded, groups resolved; entries without an address are kept.
func ParseAddresses(value string) []Contact {
	var out []Contact
	group := ""
	for _, a := range ParseAddressList(value) {
		switch a.Kind {
		case GroupStart:
			group = DecodeWords(a.Name)
		case GroupEnd:
			group = ""
		default:
			c := a.Contact()
			c.Group = group
			out = append(out, c)
		}
	}
	return out
}
