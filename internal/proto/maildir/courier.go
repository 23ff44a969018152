package maildir

import (
	"fmt"
	"strconv"
	"strings"
)

// What Courier keeps beside the messages of a Maildir: courierimapuiddb, which is as
// the first version of dovecot-uidlist, the folder courierimapkeywords, and in the
// first Maildir courierpop3dsizelist.

// POP3List reads courierpop3dsizelist, line by line: which ids Courier gave messages
// over POP3.
type POP3List struct{ begun, known bool }

// Line gives the unique part of the name of a message, and its id. It gives false for
// the headline, and for what it does not understand.
func (p *POP3List) Line(line string) (base, uidl string, ok bool) {
	line = strings.TrimRight(line, "\r\n")
	if !p.begun { // "/2 4711 1580702706": version, last id, and what they are good for
		p.begun = true
		v, _, ok := strings.Cut(line, " ")
		p.known = ok && (v == "/1" || v == "/2" || v == "/3")
		return "", "", false
	}
	// "1580702706.M1P2.host:2,S 812 17:1580702706", in the third version with ":0" more.
	name, numbers, ok := cutLast(line)
	name, _, ok2 := cutLast(name)
	if !p.known || !ok || !ok2 || name == "" {
		return "", "", false
	}
	base, _ = Split(name, nil)
	n := strings.Split(numbers, ":")
	uid, err := strconv.ParseUint(n[0], 10, 64)
	validity := uint64(0)
	if len(n) > 1 && err == nil {
		validity, err = strconv.ParseUint(n[1], 10, 64)
	}
	switch {
	case err != nil || base == "":
		return "", "", false
	case uid == 0:
		return base, nameID(base), true
	case validity == 0:
		return base, fmt.Sprintf("UID%d", uid), true
	}
	return base, fmt.Sprintf("UID%d-%d", uid, validity), true
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// nameID is the id of a message that was there before Courier numbered them: its name.
func nameID(base string) string {
	var b strings.Builder
	for i := range len(base) {
		if c := base[i]; c < 0x21 || c > 0x7e || c == '\'' || c == '"' || c == '+' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// CourierKeywords reads the file ":list" in courierimapkeywords, line by line:
// keywords, an empty line, then messages with numbers of these.
type CourierKeywords struct {
	words []string
	index bool // of keywords has been read
}

// maxIndex is how many different keywords a folder may have.
const maxIndex = 10_000

// Line gives the unique part of the name of a message, and its keywords; false for a
// line that says of none.
func (k *CourierKeywords) Line(line string) (base string, keywords []string, ok bool) {
	line = strings.TrimRight(line, "\r\n")
	if !k.index {
		if k.index = line == ""; !k.index && len(k.words) < maxIndex {
			k.words = append(k.words, line)
		}
		return "", nil, false
	}
	base, numbers, ok := strings.Cut(line, ":")
	if !ok || base == "" {
		return "", nil, false
	}
	for _, w := range strings.Fields(numbers) {
		if n, err := strconv.Atoi(w); err == nil && n >= 0 && n < len(k.words) && len(keywords) < maxIndex {
			keywords = append(keywords, k.words[n])
		}
	}
	return base, keywords, len(keywords) > 0
}

// CourierUpdate tells of a file in courierimapkeywords whose keywords, one in a line,
// count instead of those in ":list": of the files for a message, that with the highest
// age. It gives false for other files.
func CourierUpdate(name string) (base string, age uint64, ok bool) {
	if name == "" || name[0] == ':' {
		return "", 0, false
	}
	if name[0] != '.' {
		return name, ^uint64(0), true
	}
	number, base, ok := strings.Cut(name[1:], ".")
	age, err := strconv.ParseUint(number, 10, 64)
	return base, age, ok && err == nil && age > 0 && base != ""
}

// courierRights are those that Courier has other letters for: it makes folders with c,
// and writes d for x, t and e together.
var courierRights = strings.NewReplacer("c", "k", "d", "xte")

// CourierRights gives the rights of RFC 4314 for those of Courier.
func CourierRights(letters string) string { return courierRights.Replace(letters) }

// An Entry of an ACL says what somebody may do. RFC 4314
type Entry struct{ Who, Rights string }

// ParseACL reads dovecot-acl, or courierimapacl: in a line somebody and letters.
// odd tells of lines with rights that are no letters, by whom they are for.
func ParseACL(text string, courier bool) (list []Entry, odd []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' && !courier {
			continue
		}
		who, rights, ok := cutLast(line)
		if who = strings.TrimSpace(strings.Trim(who, `"`)); !ok || who == "" {
			continue
		}
		if strings.Trim(rights, "abcdefghijklmnopqrstuvwxyz") != "" {
			odd = append(odd, who)
			continue
		}
		if courier {
			rights = CourierRights(rights)
		}
		list = append(list, Entry{who, rights})
	}
	return list, odd
}
