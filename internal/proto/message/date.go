package message

import (
	"errors"
	"strings"
	"time"
)

// ErrDate means that a value says no time.
var ErrDate = errors.New("not a date")

// maxDate is how much of a value is looked at.
const maxDate = 256

// ParseDate reads the value of a Date field, and what people write instead:
// no seconds, years of two digits, names of zones, the order of ctime, no zone
// (UTC then). The time keeps its zone. RFC 5322 §3.3, §4.3
func ParseDate(value string) (time.Time, error) {
	if len(value) > maxDate {
		value = value[:maxDate]
	}
	p := dateParser{zone: time.UTC, month: -1, day: -1, year: -1}
	for {
		word, ok := p.next(&value)
		if !ok {
			break
		}
		if !p.take(word) {
			return time.Time{}, ErrDate
		}
	}
	return p.time()
}

type dateParser struct {
	day, month, year int
	hour, min, sec   int
	hasTime, hasZone bool
	zone             *time.Location
	meridiem         int // 1 AM, 2 PM
}

// next takes the next word off s; commas, hyphens between words and comments
// only separate.
func (p *dateParser) next(s *string) (string, bool) {
	v := *s
	i := 0
	for i < len(v) {
		if v[i] == '(' {
			i = skipComment(v, i)
		} else if strings.IndexByte(" \t\r\n,", v[i]) >= 0 || v[i] == '-' && !p.hasTime {
			i++
		} else {
			break
		}
	}
	start := i
	for i < len(v) && strings.IndexByte(" \t\r\n,(", v[i]) < 0 {
		if v[i] == '-' && !p.hasTime && i > start || (v[i] == '+' || v[i] == '-') && i > start && strings.IndexByte(v[start:i], ':') >= 0 {
			break // 01-Jan-2024, 10:00:00+0100
		}
		i++
	}
	*s = v[i:]
	return v[start:i], i > start
}

// take finds out what a word is by its looks.
func (p *dateParser) take(w string) bool {
	switch c := w[0]; {
	case c == '+' || c == '-':
		return p.offset(w)
	case '0' <= c && c <= '9' && strings.IndexByte(w, ':') > 0:
		return p.clock(w)
	case '0' <= c && c <= '9':
		return p.number(w)
	}
	return p.name(w)
}

func (p *dateParser) number(w string) bool {
	n := digits(w)
	switch {
	case n < 0:
		// "1st", "10.30.00" and such mean nothing to us.
		return false
	case p.day < 0 && len(w) <= 2:
		p.day = n
	case p.year < 0:
		p.year = n
		switch { // RFC 5322 §4.3
		case len(w) == 2 && n < 50:
			p.year += 2000
		case len(w) <= 3:
			p.year += 1900
		}
	case p.hasTime && !p.hasZone && len(w) == 4:
		return p.offset("+" + w)
	default:
		return false
	}
	return true
}

// clock reads hh:mm, hh:mm:ss, and hh:mm:ss.fraction.
func (p *dateParser) clock(w string) bool {
	if p.hasTime {
		return false
	}
	p.hasTime = true
	h, rest, _ := strings.Cut(w, ":")
	m, s, hasSec := strings.Cut(rest, ":")
	s, _, _ = strings.Cut(s, ".")
	p.hour, p.min, p.sec = digits(h), digits(m), 0
	if hasSec {
		p.sec = digits(s)
	}
	return p.hour >= 0 && p.hour < 24 && p.min >= 0 && p.min < 60 && p.sec >= 0 && p.sec <= 60
}

// offset reads +hhmm, and +hh:mm and +hh, which are wrong.
func (p *dateParser) offset(w string) bool {
	d := strings.Replace(w[1:], ":", "", 1)
	n := digits(d)
	if len(d) <= 2 {
		n *= 100
	}
	if n < 0 || len(d) > 4 || len(d) == 0 || n%100 >= 60 {
		return false
	}
	if p.hasZone {
		return true // "GMT+0100": the name came first; see name
	}
	sec := (n/100*60 + n%100) * 60
	if w[0] == '-' {
		sec = -sec
	}
	p.hasZone = true
	if sec != 0 {
		p.zone = time.FixedZone("", sec)
	}
	return true
}

const (
	monthNames = "janfebmaraprmayjunjulaugsepoctnovdec"
	dayNames   = "sunmontuewedthufrisat"
)

func (p *dateParser) name(w string) bool {
	var low [3]byte
	if len(w) >= 3 {
		copy(low[:], appendLower(nil, w[:3]))
	}
	key := string(low[:])
	if len(w) >= 3 {
		if i := strings.Index(monthNames, key); i >= 0 && i%3 == 0 && p.month < 0 {
			p.month = i / 3
			return true
		}
		if i := strings.Index(dayNames, key); i >= 0 && i%3 == 0 && !p.hasTime {
			return true
		}
	}
	switch strings.ToUpper(w) {
	case "AM":
		p.meridiem = 1
	case "PM":
		p.meridiem = 2
	default:
		if !p.hasTime || !isLetters(w) && !strings.ContainsAny(w, "+-") {
			return false
		}
		if !p.hasZone {
			p.zoneName(w)
		}
	}
	return true
}

// zoneName reads an obsolete zone. One that is unknown is -0000, which is UTC,
// as RFC 5322 §4.3 has it for the military ones; of "GMT+0100" the number
// counts.
func (p *dateParser) zoneName(w string) {
	if i := strings.IndexAny(w, "+-"); i >= 0 {
		p.offset(w[i:])
		return
	}
	hours, ok := 0, true
	switch strings.ToUpper(w) {
	case "EDT":
		hours = -4
	case "EST", "CDT":
		hours = -5
	case "CST", "MDT":
		hours = -6
	case "MST", "PDT":
		hours = -7
	case "PST":
		hours = -8
	case "UT", "UTC", "GMT", "Z":
	default:
		ok = false
	}
	if ok {
		p.hasZone = true
		if hours != 0 {
			p.zone = time.FixedZone("", hours*3600)
		}
	}
}

func (p *dateParser) time() (time.Time, error) {
	if p.meridiem != 0 && p.hour <= 12 {
		p.hour %= 12
		p.hour += 12 * (p.meridiem - 1)
	}
	if p.day < 1 || p.month < 0 || p.year < 1 || p.year > 9999 {
		return time.Time{}, ErrDate
	}
	month := time.Month(p.month + 1)
	if p.day > 31 || p.day > time.Date(p.year, month+1, 0, 0, 0, 0, 0, time.UTC).Day() {
		return time.Time{}, ErrDate
	}
	return time.Date(p.year, month, p.day, p.hour, p.min, p.sec, 0, p.zone), nil
}

// digits gives the value of up to four digits, else -1.
func digits(s string) int {
	if s == "" || len(s) > 4 {
		return -1
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

func isLetters(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}
