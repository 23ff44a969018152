package imap

// Language is LANGUAGE: in which language texts for people shall be, the first of
// these ranges that fits; none: which are there? RFC 5255 §3.2
type Language struct{ Ranges []string }

// maxLanguages is how many ranges a LANGUAGE may have.
const maxLanguages = 30

func parseLanguage(d *Decoder) any {
	c := new(Language)
	for d.more() && d.ok() {
		if c.Ranges = append(c.Ranges, d.stringOr(isList)); len(c.Ranges) > maxLanguages {
			d.fail("too many languages")
		}
	}
	return c
}
