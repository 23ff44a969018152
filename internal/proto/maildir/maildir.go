// Package maildir knows how Maildir and Maildir++ write what they know of a
// message and of a folder into names: flags behind ":2,", folders as ".A.B", and
// the files that Dovecot and Courier keep beside them.
package maildir

import (
	"slices"
	"sort"
	"strconv"
	"strings"

	"posthaste/internal/proto/imap"
)

// MaxKeywords is how many keywords a folder can have: a letter for each.
const MaxKeywords = 26

// flagLetters are in the order of their letters, as they must stand in a name.
var flagLetters = [...]struct {
	letter byte
	flag   string
}{{'D', `\Draft`}, {'F', `\Flagged`}, {'P', "$Forwarded"}, {'R', `\Answered`}, {'S', `\Seen`}, {'T', `\Deleted`}}

// Split gives the unique part of a file's name, and the flags in it as IMAP
// writes them. keywords are those of the letters a to z.
func Split(name string, keywords []string) (base string, flags []string) {
	base, info, ok := strings.Cut(name, ":2,")
	if !ok {
		base, _, _ = strings.Cut(name, ":")
		return base, nil
	}
	for i := range len(info) {
		c := info[i]
		if c == ',' {
			break // what others have added
		}
		if i := int(c) - 'a'; i >= 0 && i < len(keywords) && keywords[i] != "" {
			if !slices.Contains(flags, keywords[i]) {
				flags = append(flags, keywords[i])
			}
			continue
		}
		for _, l := range flagLetters {
			if l.letter == c {
				flags = append(flags, l.flag)
			}
		}
	}
	return base, flags
}

// Info gives what stands behind the unique part of a name. Keywords that have no
// letter get one as long as there are some; use gives the list as it is then, and
// dropped how many found none.
func Info(flags, keywords []string) (info string, use []string, dropped int) {
	var letters []byte
next:
	for _, f := range flags {
		for _, l := range flagLetters {
			if strings.EqualFold(l.flag, f) {
				letters = append(letters, l.letter)
				if l.letter == 'P' {
					break // Dovecot has it as a keyword
				}
				continue next
			}
		}
		if f == "" || f[0] == '\\' {
			continue
		}
		at := -1
		for i, k := range keywords {
			if strings.EqualFold(k, f) {
				at = i
			}
		}
		if at < 0 && len(keywords) < MaxKeywords {
			at, keywords = len(keywords), append(keywords, f)
		}
		if at < 0 {
			dropped++
			continue
		}
		letters = append(letters, byte('a'+at))
	}
	sort.Slice(letters, func(i, j int) bool { return letters[i] < letters[j] })
	return ":2," + string(letters), keywords, dropped
}

// ParseKeywords reads dovecot-keywords: lines of a number and a keyword.
func ParseKeywords(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		number, word, ok := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 0 || n >= MaxKeywords || word == "" {
			continue
		}
		for len(out) <= n {
			out = append(out, "")
		}
		out[n] = word
	}
	return out
}

// FormatKeywords writes dovecot-keywords.
func FormatKeywords(keywords []string) string {
	var b strings.Builder
	for i, k := range keywords {
		if k != "" {
			b.WriteString(strconv.Itoa(i) + " " + k + "\n")
		}
	}
	return b.String()
}

// A Listed message is a line of dovecot-uidlist.
type Listed struct {
	UID  uint32
	Base string // unique part of its name
	UIDL string // unique id of POP3, if it has one of its own
}

// ParseListHeader reads the first line of dovecot-uidlist: "3 V1275660208 N22 G…".
// The first version of the file had "1 validity next".
func ParseListHeader(line string) (validity uint32, ok bool) {
	words := strings.Fields(line)
	if len(words) == 3 && words[0] == "1" {
		v, err := strconv.ParseUint(words[1], 10, 32)
		return uint32(v), err == nil
	}
	if len(words) < 2 || words[0] != "3" {
		return 0, false
	}
	for _, w := range words[1:] {
		if w[0] == 'V' {
			v, err := strconv.ParseUint(w[1:], 10, 32)
			return uint32(v), err == nil
		}
	}
	return 0, false
}

// ParseListed reads a line of dovecot-uidlist: "25006 W2736 P25006 :1276528487.M…".
func ParseListed(line string) (l Listed, ok bool) {
	number, rest, ok := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
	uid, err := strconv.ParseUint(number, 10, 32)
	if !ok || err != nil || uid == 0 {
		return l, false
	}
	l.UID = uint32(uid)
	for rest != "" && rest[0] != ':' {
		field, more, ok := strings.Cut(rest, " ")
		if !ok {
			if len(rest) > 0 && strings.ContainsAny(rest, ".") { // version 1: the name alone
				l.Base, _ = Split(rest, nil)
				return l, true
			}
			return l, false
		}
		if field != "" && field[0] == 'P' {
			l.UIDL = field[1:]
		}
		rest = more
	}
	if len(rest) < 2 {
		return l, false
	}
	l.Base, _ = Split(rest[1:], nil)
	return l, l.Base != ""
}

// FolderName gives the name of a folder of Maildir++, such as ".Work.Lists", with
// "/" between its levels; INBOX has the name "". Names are in modified UTF-7, or
// in UTF-8.
func FolderName(dir string) (name string, ok bool) {
	if dir == "" {
		return imap.Inbox, true
	}
	if dir[0] != '.' || len(dir) < 2 {
		return "", false
	}
	levels := strings.Split(dir[1:], ".")
	for i, l := range levels {
		if l == "" {
			return "", false
		}
		levels[i] = strings.ReplaceAll(Decode(l), "/", "_")
	}
	return strings.Join(levels, "/"), true
}

// Decode undoes modified UTF-7, if it is that.
func Decode(name string) string {
	if s, err := imap.DecodeUTF7(name); err == nil {
		return s
	}
	return name
}

// FolderDir gives the folder of a name with "/" between its levels. Dots in a
// level become "_": Maildir++ has no way to write them.
func FolderDir(name string) string {
	if name == imap.Inbox {
		return ""
	}
	levels := strings.Split(name, "/")
	for i, l := range levels {
		levels[i] = string(imap.AppendUTF7(nil, strings.ReplaceAll(l, ".", "_")))
	}
	return "." + strings.Join(levels, ".")
}
