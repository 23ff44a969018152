package imap

import (
	"strings"
	"time"
)

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// dateTime takes `"17-Jul-1996 02:44:25 -0700"`. RFC 9051 §9, date-time
func (d *Decoder) dateTime() time.Time {
	text := d.quoted()
	if d.err != nil {
		return time.Time{}
	}
	t, ok := ParseDateTime(text)
	if !ok {
		d.fail("not a date with time and zone")
	}
	return t
}

// ParseDateTime reads a date-time without its quotes.
func ParseDateTime(text string) (time.Time, bool) {
	// dd-Mon-yyyy hh:mm:ss +zzzz
	if len(text) == 25 && text[1] == '-' {
		text = "0" + text // the leading space was forgotten
	}
	if len(text) != 26 || text[11] != ' ' || text[14] != ':' || text[17] != ':' || text[20] != ' ' {
		return time.Time{}, false
	}
	day, ok := parseDate(strings.TrimPrefix(text[:11], " "))
	hour, ok1 := digits(text[12:14])
	minute, ok2 := digits(text[15:17])
	second, ok3 := digits(text[18:20])
	zone, ok4 := digits(text[22:26])
	if !ok || !ok1 || !ok2 || !ok3 || !ok4 || hour > 23 || minute > 59 || second > 60 || zone%100 > 59 || zone/100 > 23 {
		return time.Time{}, false
	}
	offset := (zone/100*60 + zone%100) * 60
	switch text[21] {
	case '-':
		offset = -offset
	case '+':
	default:
		return time.Time{}, false
	}
	loc := time.UTC
	if offset != 0 {
		loc = time.FixedZone("", offset)
	}
	return time.Date(day.Year(), day.Month(), day.Day(), hour, minute, second, 0, loc), true
}

// date takes a date of SEARCH, with or without quotes: midnight in UTC stands
// for the whole day. RFC 9051 §9, date
func (d *Decoder) date() time.Time {
	text := ""
	if d.peek() == '"' {
		text = d.quoted()
	} else {
		text = d.atom()
	}
	t, ok := parseDate(text)
	if !ok {
		d.fail("not a date")
	}
	return t
}

// parseDate reads 1-Feb-1994 and 01-Feb-1994.
func parseDate(s string) (time.Time, bool) {
	dayText, rest, ok := strings.Cut(s, "-")
	if !ok || len(dayText) < 1 || len(dayText) > 2 || len(rest) != 8 || rest[3] != '-' {
		return time.Time{}, false
	}
	day, ok1 := digits(dayText)
	year, ok2 := digits(rest[4:])
	month := monthOf(rest[:3])
	if !ok1 || !ok2 || month == 0 || day < 1 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	return t, t.Day() == day
}

func monthOf(s string) int {
	for i := 0; i < len(months); i += 3 {
		if strings.EqualFold(months[i:i+3], s) {
			return i/3 + 1
		}
	}
	return 0
}

func digits(s string) (int, bool) {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

// AppendDateTime appends t as `"17-Jul-1996 02:44:25 -0700"`, in its own zone.
func AppendDateTime(dst []byte, t time.Time) []byte {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	_, offset := t.Zone()
	offset /= 60
	sign := byte('+')
	if offset < 0 {
		sign, offset = '-', -offset
	}
	year = min(max(year, 0), 9999)
	dst = append(dst, '"')
	dst = append2(dst, day)
	dst = append(dst, '-')
	dst = append(dst, months[3*(month-1):3*month]...)
	dst = append(dst, '-')
	dst = append2(append2(dst, year/100), year%100)
	dst = append2(append(dst, ' '), hour)
	dst = append2(append(dst, ':'), minute)
	dst = append2(append(dst, ':'), second)
	dst = append(dst, ' ', sign)
	dst = append2(append2(dst, offset/60), offset%60)
	return append(dst, '"')
}

// append2 appends n with two digits.
func append2(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/10), byte('0'+n%10))
}
