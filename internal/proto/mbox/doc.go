// Package mbox reads and writes files of messages one behind the other, each
// behind a line that begins with "From ". RFC 4155
//
// There are dialects: in mboxrd, lines of a message that begin with "From ",
// whatever number of ">" stands before it, get one ">" more; in mboxo only those
// that begin with "From " itself, so that one cannot know what a ">From " was. We
// write mboxrd.
//
// Mail programs keep what they know of a message in fields of its header: Status
// and X-Status have flags as letters, X-Keywords has words, X-Gmail-Labels what
// Gmail's labels were. They are no part of the message: they are taken out when a
// file is read.
//
// MBXReader reads UW imapd's mbx, which is another form of the same.
package mbox

import (
	"strings"
	"time"
)

// A Quoting is how lines are told from separators.
type Quoting byte

// The dialects.
const (
	RD Quoting = iota
	O
)

// The fields that are taken out, in lower case.
var kept = map[string]bool{
	"status": true, "x-status": true, "x-keywords": true, "x-uid": true, "x-imap": true, "x-imapbase": true,
	"x-gmail-labels": true, "x-gm-thrid": true, "content-length": true, "x-mozilla-status": true, "x-mozilla-status2": true, "x-mozilla-keys": true,
}

// Flags gives the flags and keywords that the kept fields say a message has, as
// IMAP writes them.
func Flags(fields map[string]string) []string {
	var out []string
	add := func(f string) {
		for _, have := range out {
			if strings.EqualFold(have, f) {
				return
			}
		}
		out = append(out, f)
	}
	for _, c := range fields["status"] + fields["x-status"] {
		switch c {
		case 'R':
			add(`\Seen`)
		case 'A':
			add(`\Answered`)
		case 'F':
			add(`\Flagged`)
		case 'D':
			add(`\Deleted`)
		case 'T':
			add(`\Draft`)
		}
	}
	if bits := mozilla(fields["x-mozilla-status"]); bits != 0 {
		for i, f := range [...]string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`} {
			if bits&(1<<i) != 0 {
				add(f)
			}
		}
	}
	for _, k := range strings.Fields(fields["x-keywords"] + " " + fields["x-mozilla-keys"]) {
		add(k)
	}
	return out
}

// mozilla reads the flags of Thunderbird: four hexadecimal digits.
func mozilla(s string) (n int) {
	if len(s) != 4 {
		return 0
	}
	for _, c := range s {
		d := strings.IndexRune("0123456789abcdef", c|0x20)
		if d < 0 {
			return 0
		}
		n = n<<4 | d
	}
	return n
}

// fromDates are the forms of the date in a separator that are met.
var fromDates = [...]string{
	"Mon Jan _2 15:04:05 2006", "Mon Jan _2 15:04:05 -0700 2006", "Mon Jan _2 15:04:05 2006 -0700",
	"Mon Jan _2 15:04:05 MST 2006", "Mon Jan _2 15:04 2006", "Mon, _2 Jan 2006 15:04:05 -0700",
}

// parseFrom takes a separator apart, behind "From "; false if it is none.
func parseFrom(line string) (sender string, date time.Time, ok bool) {
	line = strings.TrimRight(line, "\r\n ")
	i := strings.LastIndexAny(line, ":")
	if i < 0 {
		return "", date, false
	}
	sender, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimLeft(rest, " ")
	for range 3 { // a sender may have spaces in it
		for _, form := range fromDates {
			if t, err := time.Parse(form, rest); err == nil {
				return sender, t, true
			}
		}
		word, more, found := strings.Cut(rest, " ")
		if !found {
			break
		}
		sender, rest = sender+" "+word, strings.TrimLeft(more, " ")
	}
	return "", date, false
}
