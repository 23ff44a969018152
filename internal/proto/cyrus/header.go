// Package cyrus reads what Cyrus keeps beside the messages of a mailbox: cyrus.header,
// which has its name, its keywords and its ACL, and cyrus.index, which has the flags.
package cyrus

import (
	"bytes"
	"errors"
	"strings"
)

// A Header is what cyrus.header says.
type Header struct {
	Name     string   // "user.ada.Work", in the form of the server; "" before Cyrus 3.6
	Type     string   // "e" is mail; "" before Cyrus 3.6
	Keywords []string // by the bits of the index; "" for those that are no more
	ACL      []Entry
}

// An Entry of an ACL says what somebody may do. RFC 4314
type Entry struct{ Who, Rights string }

// ErrHeader says that a file is no cyrus.header.
var ErrHeader = errors.New("cyrus: this is no cyrus.header")

// IsMail tells whether a mailbox has mail in it, by its header and by the first level of
// its name below the user's INBOX: calendars and the like are mailboxes, too.
func (h *Header) IsMail(level string) bool {
	switch level {
	case "#calendars", "#addressbooks", "#drive", "#notifications", "#jmap", "#jmapsubmission", "#jmapnotification", "#jmappushsubscription", "#sieve":
		return false
	}
	return h.Type == "" || strings.Contains(h.Type, "e")
}

// magic begins the file; two lines of a saying follow.
const magic = "\241\002\213\015Cyrus mailbox header\n"

// ParseHeader reads cyrus.header.
func ParseHeader(text []byte) (h Header, err error) {
	rest, ok := bytes.CutPrefix(text, []byte(magic))
	lines := strings.SplitN(string(rest), "\n", 6)
	if !ok || len(lines) < 3 {
		return h, ErrHeader
	}
	lines = lines[2:]
	if strings.HasPrefix(lines[0], "%(") {
		return parsePairs(lines[0])
	}
	if len(lines) < 3 {
		return h, ErrHeader
	}
	// The older form: quota root and id, keywords, ACL.
	if lines[1] != "" {
		h.Keywords = strings.Split(strings.TrimSuffix(lines[1], " "), " ")
	}
	h.ACL = entries(strings.Split(lines[2], "\t"))
	return h, nil
}

// entries makes an ACL of names and rights in turns.
func entries(words []string) (list []Entry) {
	for i := 0; i+1 < len(words); i += 2 {
		list = append(list, Entry{words[i], words[i+1]})
	}
	return list
}

// parsePairs reads the form of a list: %(N user.ada A %(ada lrs) U (work NIL)).
func parsePairs(line string) (h Header, err error) {
	words, ok := tokens(line)
	if !ok {
		return h, ErrHeader
	}
	for i := 1; i < len(words)-1; {
		key := words[i].text
		i++
		var value []string
		if words[i].open {
			for i++; i < len(words) && !words[i].close; i++ {
				if words[i].open {
					return h, ErrHeader
				}
				value = append(value, words[i].text)
			}
			i++
		} else {
			value = []string{words[i].text}
			i++
		}
		switch key {
		case "N":
			h.Name = strings.Join(value, "")
		case "T":
			h.Type = strings.Join(value, "")
		case "U":
			h.Keywords = value
		case "A":
			h.ACL = entries(value)
		}
	}
	return h, nil
}

// A token of a list.
type token struct {
	open, close bool
	text        string // of an atom or string; NIL is empty
}

// tokens divides a line; false if it is no list, whole.
func tokens(line string) (list []token, ok bool) {
	depth := 0
	for i := 0; i < len(line); {
		switch c := line[i]; {
		case c == ' ':
			i++
			continue
		case c == '(', c == '%' && i+1 < len(line) && line[i+1] == '(':
			depth++
			i += strings.IndexByte(line[i:], '(') + 1
			list = append(list, token{open: true})
		case c == ')':
			if depth--; depth < 0 {
				return nil, false
			}
			i++
			list = append(list, token{close: true})
		case c == '"':
			text, n := quoted(line[i:])
			if n == 0 {
				return nil, false
			}
			i += n
			list = append(list, token{text: text})
		default:
			n := strings.IndexAny(line[i:], " ()")
			if n < 0 {
				return nil, false
			}
			text := line[i : i+n]
			if i += n; text == "NIL" {
				text = ""
			}
			list = append(list, token{text: text})
		}
		if depth == 0 {
			break
		}
	}
	return list, depth == 0 && len(list) > 1
}

// quoted reads a string in quotes, and tells how long it was; 0 if it does not end.
func quoted(s string) (text string, n int) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			return b.String(), i + 1
		default:
			b.WriteByte(s[i])
		}
	}
	return "", 0
}
