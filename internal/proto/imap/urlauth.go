package imap

// GenURLAuth is GENURLAUTH: URLs to authorize. RFC 4467 §7
type GenURLAuth struct{ URLs []ToAuthorize }

// ToAuthorize is an URL, and how it is to be authorized.
type ToAuthorize struct{ URL, Mechanism string }

// maxURLs is how many URLs a command may have.
const maxURLs = 100

func parseGenURLAuth(d *Decoder) any {
	c := new(GenURLAuth)
	d.sp()
	for d.ok() {
		u := ToAuthorize{URL: d.astring()}
		d.sp()
		u.Mechanism = d.keyword()
		if c.URLs = append(c.URLs, u); len(c.URLs) > maxURLs {
			d.fail("too many URLs")
		}
		if !d.more() {
			break
		}
	}
	return c
}

// URLFetch is URLFETCH. RFC 4467 §7
type URLFetch struct{ URLs []ToFetch }

// ToFetch is an URL, and what to tell of what it names.
type ToFetch struct {
	URL   string
	Items URLItems // zero: its bytes, as RFC 4467 has it
}

// URLItems are what URLFETCH can tell, one bit each. RFC 5524 §3
type URLItems uint8

// The items of URLFETCH.
const (
	URLBody URLItems = 1 << iota
	URLBodyPartStructure
	URLBinary
)

var urlItems = map[string]URLItems{"BODY": URLBody, "BODYPARTSTRUCTURE": URLBodyPartStructure, "BINARY": URLBinary}

func parseURLFetch(d *Decoder) any {
	c := new(URLFetch)
	d.sp()
	for d.ok() {
		var u ToFetch
		if d.take('(') {
			d.spaces()
			u.URL = d.astring()
			for d.more() {
				item := urlItems[d.keyword()]
				if item == 0 {
					d.fail("unknown item")
				}
				u.Items |= item
			}
			d.expect(')')
		} else {
			u.URL = d.astring()
		}
		if c.URLs = append(c.URLs, u); len(c.URLs) > maxURLs {
			d.fail("too many URLs")
		}
		if !d.more() {
			break
		}
	}
	return c
}

// ResetKey is RESETKEY. RFC 4467 §7
type ResetKey struct {
	Mailbox    string   // empty: all
	Mechanisms []string // none: all
}

func parseResetKey(d *Decoder) any {
	c := new(ResetKey)
	if !d.more() {
		return c
	}
	c.Mailbox = d.mailbox()
	for d.more() {
		c.Mechanisms = append(c.Mechanisms, d.keyword())
	}
	return c
}
