// Package remedy knows what mail servers around the world say when they do not
// take a message, and what that means in plain words: what happened, who can do
// something about it, and what.
//
// It is a table that is looked through from its top: what a certain provider says
// stands before what everybody says. Of an answer only the first 1000 bytes are
// looked at, for fixed fragments, so that no answer takes long to look up.
package remedy

import (
	"strconv"
	"strings"

	"posthaste/internal/base/mail"
)

// A Kind is what an answer is about.
type Kind uint8

// The kinds of answers.
const (
	Other       Kind = iota
	NoUser           // the address does not exist
	Full             // the mailbox is full
	Throttled        // we send too much at a time: all that goes there has to go slower
	Greylisted       // the first attempt of a stranger is always turned away
	Blocked          // our address or domain has a bad name
	Proof            // SPF, DKIM, DMARC, reverse DNS or HELO are missing or wrong
	Content          // the message looks like spam or is harmful
	Policy           // they do not want it, for reasons of their own
	Size             // the message is too large
	Busy             // they are in trouble
	Unreachable      // no connection
	Names            // the DNS does not lead there
	Crypto           // TLS
	Loop             // mail goes round in a circle
	Login            // the relay wants us to log in, or did not let us
	Form             // they cannot take this form of message
)

// Who can do something.
type Who uint8

// Nobody has to do something where trying again will do.
const (
	Nobody     Who = iota
	Sender         // who wrote the message
	Recipient      // whom it is for
	Postmaster     // who runs this server
	Theirs         // who runs the other server
)

// String gives the word for who acts, as it stands in a sentence.
func (w Who) String() string {
	switch w {
	case Sender:
		return "the sender"
	case Recipient:
		return "the recipient"
	case Postmaster:
		return "the administrator of this server"
	case Theirs:
		return "the administrator of the other server"
	}
	return "nobody"
}

// A Remedy is what an answer means.
type Remedy struct {
	Name string // in one word, for lists and groups: "greylisted"
	Kind Kind
	Who  Who
	What string // a sentence: what happened
	Do   string // a sentence: what to do
}

// Wait is what to do where nothing is to be done.
const Wait = "It is tried again; there is nothing to do."

// again is what to do once it is not tried again.
const again = "Send it again later, or reach the recipient another way."

// Final gives what to do once it is not tried again.
func (r Remedy) Final() string {
	if !strings.HasPrefix(r.Do, "It is tried again") {
		return r.Do
	}
	_, rest, _ := strings.Cut(r.Do[strings.IndexAny(r.Do, ".;"):], " ")
	for _, p := range []string{"If it goes on, ", "there is nothing to do unless it goes on for days: then "} {
		rest = strings.TrimPrefix(rest, p)
	}
	if rest == "" || rest == "there is nothing to do." {
		return again
	}
	return strings.ToUpper(rest[:1]) + rest[1:]
}

// Tried takes the text of an outcome that was given up apart: for how long it was
// tried, in words, and what was said at last. Of another text that is all.
func Tried(text string) (long, said string) {
	if rest, ok := strings.CutPrefix(text, "tried for "); ok {
		if long, said, ok = strings.Cut(rest, given); ok {
			return long, said
		}
	}
	return "", text
}

// Answer is what a server said, or what we found out without it.
type Answer struct {
	Status mail.Status
	Text   string // as in a mail.Outcome: "550 5.1.1 no such user"
	Remote string // "host [address]"; empty if nobody answered
}

// OfAddress tells whether the answer speaks of the address that it was given to, so
// that another address of ours might hear another. What is wrong with a domain, with a
// person or with a contract is the same from everywhere.
func (r Remedy) OfAddress() bool {
	switch r.Name {
	case "outlook-banned-sender", "outlook-abuse", "outlook-tenant", "spamhaus-dbl", "zoho-activity", "free-errors":
		return false
	}
	return r.Kind == Blocked
}

// A rule is a line of the table. at is the provider that it is for, empty for
// all. match has fragments in lower case: "a&b|c" is a and b, or c. Of these
// "#421" is the code, "=7.26" are the last two numbers of the status, "~4" its
// class, "!" stands for: no server said it. A fragment does not begin within a
// word.
type rule struct {
	name      string
	kind      Kind
	who       Who
	at, match string
	what, do  string
}

// maxText is how much of an answer is looked at.
const maxText = 1000

const (
	// given begins the text of an outcome that was given up; the last answer
	// follows.
	given = "; the last answer was: "
	// last begins what was heard of the last host that was tried.
	last = "; the last one: "
)

// Of gives what an answer means; false if it is in no table.
func Of(a Answer) (Remedy, bool) {
	q, site := newQuery(a)
	whole := q
	whole.own = a.Remote == ""
	whole.text = strings.ToLower(a.Text[:min(len(a.Text), maxText)])
	for i, t := range [...][]rule{ours, giants, houses, lists, everybody, rest} {
		if i == 0 && !q.own {
			continue
		}
		if i == 5 {
			q = whole
		}
		for i := range t {
			r := &t[i]
			if (r.at == "" || r.at == site) && q.matches(r.match) {
				return Remedy{Name: r.name, Kind: r.kind, Who: r.who, What: r.what, Do: r.do}, true
			}
		}
	}
	return Remedy{}, false
}

// newQuery takes an answer apart: what we say of a host that we could not speak
// to has the host's own words in it.
func newQuery(a Answer) (q query, site string) {
	_, text := Tried(a.Text)
	host, _, _ := strings.Cut(a.Remote, " ")
	st := a.Status
	q = query{own: a.Remote == "", class: st.Class}
	if _, t, ok := strings.Cut(text, last); ok && q.own {
		host, text, _ = strings.Cut(t, " ")
		if _, t, ok := strings.Cut(text, "]: "); ok {
			text = t
		}
		if _, t, ok := strings.Cut(text, " with "); ok && (strings.HasPrefix(text, "greeted") || strings.Contains(text, " answered with ")) {
			text, q.own = t, false
		}
	}
	if !q.own && len(text) > 2 {
		if code, err := strconv.Atoi(text[:3]); err == nil && code >= 200 && code < 600 {
			q.number, q.class = text[:3], uint16(code/100)
			st = statusIn(text, st)
		}
	}
	q.text = strings.ToLower(text[:min(len(text), maxText)])
	q.detail = strconv.Itoa(int(st.Subject)) + "." + strconv.Itoa(int(st.Detail))
	return q, Site(host)
}

// statusIn gives the status that stands behind the code of a reply, or else st.
func statusIn(text string, st mail.Status) mail.Status {
	if len(text) > 4 {
		word, _, _ := strings.Cut(text[4:], " ")
		if s, err := mail.ParseStatus(word); err == nil {
			return s
		}
	}
	return st
}

// A query is an answer as the table is asked about it.
type query struct {
	text   string // in lower case
	number string // the code; "" if none was said
	detail string // the last two numbers of the status
	class  uint16
	own    bool // no server said it
}

func (q *query) matches(spec string) bool {
	for more := true; more; {
		var alt string
		alt, spec, more = strings.Cut(spec, "|")
		if q.all(alt) {
			return true
		}
	}
	return false
}

func (q *query) all(alt string) bool {
	for more := true; more; {
		var f string
		f, alt, more = strings.Cut(alt, "&")
		ok := false
		switch f[0] {
		case '#':
			ok = q.number == f[1:]
		case '~':
			ok = '0'+byte(q.class) == f[1]
		case '=':
			ok = q.detail == f[1:]
		case '!':
			ok = q.own
		default:
			ok = q.says(f)
		}
		if !ok {
			return false
		}
	}
	return true
}

// says tells whether the text has the fragment, not within a word before it.
func (q *query) says(f string) bool {
	for from := 0; ; {
		i := strings.Index(q.text[from:], f)
		if i < 0 {
			return false
		}
		i += from
		if i == 0 || !isLetter(f[0]) || !isLetter(q.text[i-1]) {
			return true
		}
		from = i + 1
	}
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' }

// Words gives what the answer means in one or two sentences, and who has to act;
// "" if it is not known.
func Words(a Answer) string {
	r, ok := Of(a)
	if !ok {
		return ""
	}
	return r.What + " " + r.Do
}

// sure are rules that leave no doubt about the status of RFC 3463 that fits what they
// match.
var sure = map[string][2]uint16{
	"no-user":   {1, 1},
	"inactive":  {2, 1},
	"full":      {2, 2},
	"too-large": {3, 4},
}

// Refine gives the status of an answer that came without one, such as "550 unknown
// user", where it is sure what the answer means; else the one that it has. What a
// server says itself stands.
func Refine(a Answer) mail.Status {
	st := a.Status
	_, text := Tried(a.Text)
	if a.Remote == "" || st.Class != 4 && st.Class != 5 || st.Subject != 0 || st.Detail != 0 || strings.Contains(text, st.String()) {
		return st
	}
	r, _ := Of(a)
	if s, ok := sure[r.Name]; ok {
		st.Subject, st.Detail = s[0], s[1]
	}
	return st
}
