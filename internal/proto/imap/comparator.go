package imap

// Comparator is COMPARATOR: how texts shall be compared from now on, the first
// of these patterns that fits; none: which one is in use? RFC 5255 §4.7
type Comparator struct{ Patterns []string }

// maxComparators is how many patterns a COMPARATOR may have.
const maxComparators = 30

func parseComparator(d *Decoder) any {
	c := new(Comparator)
	for d.more() && d.ok() {
		if c.Patterns = append(c.Patterns, d.comparator()); len(c.Patterns) > maxComparators {
			d.fail("too many comparators")
		}
	}
	return c
}

// comparator takes an astring, which may be a pattern without quotes.
func (d *Decoder) comparator() string { return d.stringOr(isList) }
