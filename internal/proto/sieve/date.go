package sieve

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"posthaste/internal/proto/message"
)

// dateParts are what a date is asked for. RFC 5260 §4.2
var dateParts = map[string]func(time.Time) string{
	"year": func(t time.Time) string { return fmt.Sprintf("%04d", t.Year()) }, "month": func(t time.Time) string { return fmt.Sprintf("%02d", t.Month()) },
	"day": func(t time.Time) string { return fmt.Sprintf("%02d", t.Day()) }, "date": func(t time.Time) string { return t.Format(time.DateOnly) },
	"julian": julian, "hour": func(t time.Time) string { return fmt.Sprintf("%02d", t.Hour()) },
	"minute": func(t time.Time) string { return fmt.Sprintf("%02d", t.Minute()) }, "second": func(t time.Time) string { return fmt.Sprintf("%02d", t.Second()) },
	"time": func(t time.Time) string { return t.Format(time.TimeOnly) }, "iso8601": func(t time.Time) string { return t.Format("2006-01-02T15:04:05-07:00") },
	"std11": func(t time.Time) string { return t.Format("Mon, 02 Jan 2006 15:04:05 -0700") }, "zone": func(t time.Time) string { return t.Format("-0700") },
	"weekday": func(t time.Time) string { return strconv.Itoa(int(t.Weekday())) },
}

// julian gives the modified Julian day.
func julian(t time.Time) string {
	day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	return strconv.FormatInt(day.Unix()/86400+40587, 10)
}

// dateTest is date and currentdate. RFC 5260 §4, §5
func (c *compiler) dateTest(n *node) test {
	current := n.name == "currentdate"
	tags := with(matchTags, map[string]argKind{"zone": argText})
	kinds := []argKind{argText, argList}
	if !current {
		tags = with(tags, indexTags, map[string]argKind{"originalzone": none})
		kinds = []argKind{argText, argText, argList}
	}
	t := c.take(n, tags, kinds...)
	if t == nil {
		return nil
	}
	c.only(t, "zone", "originalzone")
	var name, zone value
	if !current {
		name = c.fieldNames(t.pos[0])[0]
		t.pos = t.pos[1:]
	}
	if a, ok := t.tags["zone"]; ok {
		zone = c.value(a)
		if s, ok := zone.constant(); ok {
			if _, err := zoneOf(s); err != nil {
				c.fail(n.line, "%v", err)
			}
		}
	}
	part := c.value(t.pos[0])
	if s, ok := part.constant(); ok && dateParts[strings.ToLower(s)] == nil {
		c.fail(n.line, "a date has no %q: it has year, month, day, date, julian, hour, minute, second, time, iso8601, std11, zone and weekday", s)
	}
	idx, x := c.index(t), c.matcher(t, t.pos[1])
	original := t.is("originalzone")
	return testFunc(func(m *machine) (bool, error) {
		of := dateParts[strings.ToLower(part.of(m))]
		if of == nil {
			return false, nil
		}
		when := m.in.Now
		if !current {
			var ok bool
			var err error
			if when, ok, err = m.dateIn(name.of(m), idx); err != nil {
				return false, err
			}
			if !ok {
				return x.match(m, nil)
			}
			if !original {
				when = when.In(m.in.Now.Location())
			}
		}
		if t.is("zone") {
			in, err := zoneOf(zone.of(m))
			if err != nil {
				return false, &Error{n.line, err.Error()}
			}
			when = when.In(in)
		}
		return x.match(m, []string{of(when)})
	})
}

// dateIn reads the date of a field: of Received what stands behind the last semicolon.
func (m *machine) dateIn(name string, idx index) (time.Time, bool, error) {
	list, err := m.rawOf(name)
	if err != nil {
		return time.Time{}, false, err
	}
	if idx.n == 0 {
		idx.n = 1
	}
	for _, s := range idx.of(list) {
		if i := strings.LastIndexByte(s, ';'); i >= 0 {
			s = s[i+1:]
		}
		if t, err := message.ParseDate(s); err == nil {
			return t, true, nil
		}
	}
	return time.Time{}, false, nil
}

// zoneOf reads a zone such as +0100.
func zoneOf(s string) (*time.Location, error) {
	t, err := time.Parse("-0700", s)
	if err != nil {
		return nil, fmt.Errorf("%q is no time zone: write it like +0100", s)
	}
	_, offset := t.Zone()
	return time.FixedZone("", offset), nil
}
