package smtp

import (
	"strconv"
	"strings"
	"time"
)

// Extensions is what a server offers. RFC 5321 §4.1.1.1
type Extensions struct {
	Pipelining bool  // RFC 2920
	EightBit   bool  // RFC 6152
	UTF8       bool  // RFC 6531
	StartTLS   bool  // RFC 3207
	Chunking   bool  // RFC 3030
	Binary     bool  // RFC 3030: BINARYMIME
	Enhanced   bool  // RFC 2034
	DSN        bool  // RFC 3461
	RequireTLS bool  // RFC 8689
	Priority   bool  // RFC 6710
	RRVS       bool  // RFC 7293
	Burl       bool  // RFC 4468; not looked for in what others offer
	XClient    bool  // Postfix's; not looked for in what others offer
	Sized      bool  // RFC 1870
	Size       int64 // the largest message, 0 if it does not say
	RcptMax    int   // RFC 9422: recipients per transaction, 0 if it does not say
	MailMax    int   // RFC 9422: transactions per session, 0 if it does not say
	// HoldMax is how long a message may be held back, HoldUntil when that ends:
	// FUTURERELEASE, RFC 4865 §4. 0 if it is not offered.
	HoldMax   time.Duration
	HoldUntil time.Time
	// DeliverBy is RFC 2852, MinBy the least that a message may be given to be
	// delivered in, 0 if there is none.
	DeliverBy bool
	MinBy     time.Duration
	Auth      []string // RFC 4954: mechanisms in upper case
}

// ParseExtensions reads the text of the reply to EHLO or LHLO.
func ParseExtensions(text string) Extensions {
	var x Extensions
	_, rest, more := strings.Cut(text, "\n")
	for more {
		var line string
		line, rest, more = strings.Cut(rest, "\n")
		word, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch strings.ToUpper(word) {
		case "PIPELINING":
			x.Pipelining = true
		case "8BITMIME":
			x.EightBit = true
		case "SMTPUTF8":
			x.UTF8 = true
		case "STARTTLS":
			x.StartTLS = true
		case "CHUNKING":
			x.Chunking = true
		case "BINARYMIME":
			x.Binary = true
		case "ENHANCEDSTATUSCODES":
			x.Enhanced = true
		case "DSN":
			x.DSN = true
		case "REQUIRETLS":
			x.RequireTLS = true
		case "SIZE":
			x.Sized = true
			if n, ok := parseSize(strings.TrimSpace(args)); ok {
				x.Size = n
			}
		case "AUTH":
			x.Auth = strings.Fields(strings.ToUpper(args))
		case "RRVS":
			x.RRVS = true
		case "MT-PRIORITY":
			x.Priority = true
		case "DELIVERBY":
			x.DeliverBy = true
			if d, err := parseHoldFor(strings.TrimSpace(args)); err == nil {
				x.MinBy = d
			}
		case "FUTURERELEASE":
			x.HoldMax, x.HoldUntil = parseFutureRelease(args)
		case "LIMITS":
			for _, f := range strings.Fields(strings.ToUpper(args)) {
				name, v, _ := strings.Cut(f, "=")
				n, ok := parseSize(v)
				if !ok || n == 0 || n >= 1<<20 {
					continue
				}
				switch name {
				case "RCPTMAX":
					x.RcptMax = int(n)
				case "MAILMAX":
					x.MailMax = int(n)
				}
			}
		}
	}
	return x
}

// parseFutureRelease reads how long, and until when, a message may be held back;
// nothing if it cannot be read. RFC 4865 §4
func parseFutureRelease(args string) (time.Duration, time.Time) {
	interval, until, ok := strings.Cut(strings.TrimSpace(args), " ")
	d, err := parseHoldFor(interval)
	t, err2 := time.Parse(time.RFC3339, strings.TrimSpace(until))
	if !ok || err != nil || err2 != nil {
		return 0, time.Time{}
	}
	return d, t.UTC()
}

// Text gives the lines of the reply to EHLO or LHLO: greeting, then a line for
// each extension.
func (x Extensions) Text(greeting string) string {
	var b strings.Builder
	b.WriteString(greeting)
	line := func(offered bool, s string) {
		if offered {
			b.WriteString("\n" + s)
		}
	}
	line(x.Pipelining, "PIPELINING")
	line(x.Sized, "SIZE"+number(x.Size))
	line(x.EightBit, "8BITMIME")
	line(x.UTF8, "SMTPUTF8")
	line(x.Enhanced, "ENHANCEDSTATUSCODES")
	line(x.DSN, "DSN")
	line(x.Chunking, "CHUNKING")
	line(x.Binary, "BINARYMIME")
	line(x.RcptMax > 0, "LIMITS RCPTMAX="+strings.TrimSpace(number(int64(x.RcptMax))))
	line(x.HoldMax > 0, "FUTURERELEASE"+number(int64(x.HoldMax/time.Second))+" "+x.HoldUntil.UTC().Format(time.RFC3339))
	line(x.DeliverBy, "DELIVERBY"+number(int64(x.MinBy/time.Second)))
	line(x.Priority, "MT-PRIORITY MIXER")
	line(x.RRVS, "RRVS")
	line(x.Burl, "BURL imap")
	line(x.XClient, "XCLIENT "+XClientNames)
	line(x.StartTLS, "STARTTLS")
	line(x.RequireTLS, "REQUIRETLS")
	line(len(x.Auth) > 0, "AUTH "+strings.Join(x.Auth, " "))
	return b.String()
}

// number gives " n", or nothing for 0.
func number(n int64) string {
	if n == 0 {
		return ""
	}
	return " " + strconv.FormatInt(n, 10)
}
