package dsn

import (
	"bytes"
	"fmt"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/remedy"
	"posthaste/internal/proto/message"
)

// words gives the part for people.
func (r *Report) words(worst Action, orig original) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "This is the mail system of %s.\n\n", clean(r.Host, 255))
	b.WriteString(openings[worst])
	b.WriteByte('\n')
	if s := clean(message.DecodeWords(orig.field("subject")), 200); s != "" {
		fmt.Fprintf(&b, "    Subject: %s\n", s)
	}
	if s := clean(orig.field("date"), 100); s != "" {
		fmt.Fprintf(&b, "    Date:    %s\n", s)
	}
	if id := orig.id(); id != "" {
		fmt.Fprintf(&b, "    Id:      %s\n", id)
	}
	for i := range r.Recipients {
		r.recipientWords(&b, &r.Recipients[i])
	}
	if !r.Trace.IsZero() {
		fmt.Fprintf(&b, "\nIf you ask the postmaster about this, say: %s\n", r.Trace)
	}
	return b.Bytes()
}

var openings = map[Action]string{
	Failed:    "Your message could not be delivered to everybody it was for. It will not be\ntried again.\n",
	Delayed:   "Your message has not been delivered to everybody it is for yet. You need not\nsend it again: it is being tried further.\n",
	Relayed:   "Your message has been passed on to a mail system that sends no reports.\n",
	Expanded:  "Your message has been passed on to the members of a list.\n",
	Delivered: "Your message has arrived.\n",
}

func (r *Report) recipientWords(b *bytes.Buffer, rc *Recipient) {
	o := &rc.Outcome
	fmt.Fprintf(b, "\n<%s>", clean(o.Recipient.Address.String(), 1000))
	if or := o.Recipient.Original; !or.IsZero() && or != o.Recipient.Address {
		fmt.Fprintf(b, ", to whom mail for <%s> goes", clean(or.String(), 1000))
	}
	b.WriteByte('\n')
	long, said := remedy.Tried(o.Text)
	host := clean(o.Remote, 255)
	saying := "What was in the way"
	if host != "" {
		saying = "What " + host + " said"
	}
	switch rc.action() {
	case Failed:
		switch {
		case long != "":
			fmt.Fprintf(b, "    It was tried for %s. %s at last:\n", clean(long, 100), saying)
		case o.Status.Temporary():
			fmt.Fprintf(b, "    It was tried until the time was over. %s:\n", saying)
		case host != "":
			fmt.Fprintf(b, "    It was refused. %s:\n", saying)
		default:
			b.WriteString("    It cannot be delivered. The reason:\n")
		}
	case Delayed:
		if rc.RetryUntil.IsZero() {
			fmt.Fprintf(b, "    It is tried again. %s:\n", saying)
		} else {
			fmt.Fprintf(b, "    It is tried again until %s. %s:\n", message.AppendDate(nil, rc.RetryUntil), saying)
		}
	case Delivered:
		b.WriteString("    The message is in the mailbox.\n")
		return
	case Relayed:
		if host == "" {
			host = "another system"
		}
		fmt.Fprintf(b, "    The message has been taken by %s.\n", host)
		return
	case Expanded:
		b.WriteString("    The message has been passed on to several addresses.\n")
		return
	}
	text := clean(said, maxAnswer)
	if text == "" {
		text = "nothing"
	}
	for line := range strings.SplitSeq(wrap(text, 70), "\n") {
		fmt.Fprintf(b, "        %s\n", line)
	}
	fmt.Fprintf(b, "    (status %s)\n", o.Status)
	rm, known := remedy.Of(remedy.Answer{Status: o.Status, Text: o.Text, Remote: o.Remote})
	if known {
		fmt.Fprintf(b, "    What that means: %s\n", wrap(rm.What, 56))
	}
	do := rm.Do
	if rc.action() == Failed {
		do = rm.Final()
	}
	switch {
	case known && rm.Who == remedy.Postmaster:
		fmt.Fprintf(b, "    What you can do: %s\n", wrap("send this report to the one who looks after your mail system. For him: "+do, 56))
	case known && (rc.action() == Failed || rm.Who != remedy.Nobody):
		fmt.Fprintf(b, "    What you can do: %s\n", wrap(do, 56))
	case rc.action() == Failed:
		fmt.Fprintf(b, "    What you can do: %s\n", wrap(advice(o.Status), 56))
	}
}

// advice says what a sender can do about a status. RFC 3463 §3
func advice(s mail.Status) string {
	switch {
	case s.Subject == 1 && (s.Detail == 7 || s.Detail == 8):
		return "your own address was not accepted; ask the one who looks after it."
	case s.Subject == 1 && s.Detail == 10:
		return "the domain takes no mail; look for another address."
	case s.Subject == 1:
		return "look whether the address is written as it should be."
	case s.Subject == 2 && s.Detail == 2:
		return "the mailbox is full; try later, or reach the recipient another way."
	case s.Subject == 2 && s.Detail == 3, s.Subject == 3 && s.Detail == 4:
		return "the message is too large; send it with less in it."
	case s.Subject == 2:
		return "the mailbox takes no mail now; reach the recipient another way."
	case s.Subject == 4 && s.Detail == 6:
		return "the mail goes round in a circle; tell the postmaster of the recipient."
	case s.Subject == 4:
		return "the other mail system could not be reached; look whether the domain is right, or try tomorrow."
	case s.Subject == 6:
		return "the other mail system cannot take this form of message; send it as plain text."
	case s.Subject == 7:
		return "the other mail system does not want the message; the text above should say why. Its postmaster can tell more."
	}
	return "send it again later, or ask the postmaster of the recipient."
}

// wrap breaks text at blanks; lines after the first are indented.
func wrap(text string, width int) string {
	var b strings.Builder
	col := 0
	for i, w := range strings.Fields(text) {
		switch {
		case i == 0:
		case col+1+len(w) > width:
			b.WriteString("\n        ")
			col = 0
		default:
			b.WriteByte(' ')
			col++
		}
		b.WriteString(w)
		col += len(w)
	}
	return b.String()
}
