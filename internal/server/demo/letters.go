package demo

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/mailbox"
)

// cast is who is here.
var cast = []struct {
	local  string
	domain mail.Domain
	name   string
}{
	{"ada", "hill.example", "Ada Hill"},
	{"bob", "hill.example", "Bob Okafor"},
	{"chloe", "vale.example", "Chloé Müller"},
	{"dmitri", "vale.example", "Дмитрий Волков"},
}

// A letter is sample mail.
type letter struct {
	subject  string
	body     message.Content
	from     message.Contact
	ago      time.Duration
	flags    mailbox.Flags
	keywords []string
	folder   string // "" is the inbox
	id       string
	refs     []string
}

func contact(i int) message.Contact {
	return message.Contact{Name: cast[i].name, Address: mail.Address{Local: cast[i].local, Domain: cast[i].domain}}
}

func plain(text string) message.Content {
	return message.Content{Type: "text/plain", Data: []byte(text)}
}

const hour, day = time.Hour, 24 * time.Hour

// letters gives the mail that a person finds at the first start.
func letters() []letter {
	out := []letter{
		{
			subject: "Welcome to your demonstration mailbox", from: contact(1), ago: 5 * time.Minute,
			body: plain(`Hello!

This is a whole mail server on your own machine. Everything in it is real: what
you send to people at hill.example and vale.example arrives, what you send to
outside.example leaves through the queue.

Try this first: write to later@outside.example. It will be put off once and
taken at the second try; "posthaste why ID" tells the story, with the ID that
stands in the Received field of your copy.

Then write to refuse@outside.example, and see what a report looks like.
`),
		},
		{subject: "Lunch on Thursday?", from: contact(2), ago: 3 * hour, flags: mailbox.Flagged, body: plain("The place by the river has a new cook. Half past twelve?\n\nChloé\n")},
		{subject: "Entwürfe für die Einladung", from: contact(2), ago: 2 * day, flags: mailbox.Seen, body: plain("Hallo,\n\nanbei drei Vorschläge für die Einladung. Der mittlere gefällt mir am besten, aber die Umlaute in der Überschrift sind zu eng.\n\nSchöne Grüße\nChloé\n")},
		{subject: "Расписание поездов", from: contact(3), ago: 4 * day, flags: mailbox.Seen | mailbox.Answered, body: plain("Привет!\n\nПоезд уходит в 8:40 с третьего пути. Встретимся у часов.\n\nДмитрий\n")},
		{subject: "資料を送ります", from: message.Contact{Name: "佐藤 花子", Address: mail.Address{Local: "hanako", Domain: outsideDomain}}, ago: 9 * day, flags: mailbox.Seen, body: plain("こんにちは。\n\n先日お話しした資料をお送りします。ご確認ください。\n\n佐藤\n")},
		{subject: "رسالة تجريبية", from: message.Contact{Name: "ليلى", Address: mail.Address{Local: "layla", Domain: outsideDomain}}, ago: 12 * day, flags: mailbox.Seen, body: plain("مرحبا،\n\nهذه رسالة قصيرة من اليمين إلى اليسار.\n\nليلى\n")},
		{subject: "The week in the valley", from: message.Contact{Name: "Valley News", Address: mail.Address{Local: "news", Domain: outsideDomain}}, ago: 6 * hour, keywords: []string{"$Label1"}, body: newsletter()},
		{subject: "Photos and the list of parts", from: contact(1), ago: 26 * hour, body: attachments()},
		{subject: "Fwd: the old contract", from: contact(3), ago: 30 * day, flags: mailbox.Seen, folder: "Archive", body: forwarded()},
		{subject: "You have won!!!", from: message.Contact{Name: "Lucky", Address: mail.Address{Local: "lucky", Domain: outsideDomain}}, ago: 8 * hour, folder: "Junk", body: plain("Send us your shoe size to claim a boat.\n")},
	}
	return append(out, thread()...)
}

// thread is a long conversation.
func thread() []letter {
	lines := []string{
		"Shall we repaint the boat before the summer?", "Yes. Which colour?", "Blue, as it always was.", "It was green until 1998!",
		"Green is out of the question, the jetty is green.", "Then blue with a green line.", "Dmitri says red.", "Dmitri says many things.",
		"I can hear you, you know. Red is fastest.", "Blue with a green line it is.", "Who has the brushes?", "I lent them to the museum.",
		"Then we need brushes first.", "And paint.", "And a dry weekend.", "The forecast is good for the 14th.",
		"I have a wedding on the 14th.", "The 21st?", "The 21st. I bring the brushes, Chloé the paint.", "And Dmitri brings lunch. It is settled.",
	}
	var out []letter
	var refs []string
	for i, l := range lines {
		subject := "The boat"
		if i > 0 {
			subject = "Re: The boat"
		}
		id := fmt.Sprintf("<boat-%d@hill.example>", i+1)
		lt := letter{subject: subject, from: contact(i % 4), ago: time.Duration(len(lines)-i) * 7 * hour, body: plain(l + "\n"), id: id, refs: append([]string(nil), refs...)}
		if i < len(lines)-2 {
			lt.flags = mailbox.Seen
		}
		refs = append(refs, id)
		out = append(out, lt)
	}
	return out
}

func newsletter() message.Content {
	return message.Content{Type: "multipart/alternative", Boundary: "=_alternative_demo", Parts: []message.Content{
		plain("The week in the valley\n\n* The bridge is open again.\n* Choir on Tuesday at seven.\n* Lost: one grey cat, answers to Postmaster.\n"),
		{Type: "text/html", Data: []byte(`<!doctype html><html><body style="font-family:sans-serif">
<h1 style="color:#2456a6">The week in the valley</h1>
<ul><li>The <b>bridge</b> is open again.</li><li>Choir on Tuesday at <i>seven</i>.</li>
<li>Lost: one grey cat, answers to <tt>Postmaster</tt>.</li></ul>
<p>Bis nächste Woche — à bientôt!</p></body></html>
`)},
	}}
}

func attachments() message.Content {
	return message.Content{Type: "multipart/mixed", Boundary: "=_mixed_demo", Parts: []message.Content{
		plain("Here is the picture, and the list as a table.\n\nBob\n"),
		{Type: "image/png", Disposition: "attachment", Filename: "sunset.png", Data: picture()},
		{Type: "text/csv", Disposition: "attachment", Filename: "Stückliste – Boot.csv", Data: []byte("part;count\r\nplank;12\r\nnail;400\r\nrope, 5 m;3\r\n")},
	}}
}

func forwarded() message.Content {
	var b message.Builder
	b.Addresses("From", message.Contact{Name: "The Landlord", Address: mail.Address{Local: "landlord", Domain: outsideDomain}})
	b.Addresses("To", contact(3))
	b.Text("Subject", "the old contract")
	b.Date("Date", time.Date(2019, 3, 4, 10, 20, 30, 0, time.FixedZone("", 3600)))
	b.Body(plain("Dear tenant,\n\nthe contract of 2009 stays in force.\n"))
	inner, err := b.Bytes()
	if err != nil {
		inner = []byte("Subject: the old contract\r\n\r\n")
	}
	return message.Content{Type: "multipart/mixed", Boundary: "=_forward_demo", Parts: []message.Content{
		plain("For your files.\n"),
		{Type: "message/rfc822", Data: inner},
	}}
}

// picture paints a sunset.
func picture() []byte {
	m := image.NewRGBA(image.Rect(0, 0, 160, 100))
	for y := range 100 {
		for x := range 160 {
			m.Set(x, y, color.RGBA{uint8(250 - y), uint8(140 - y), uint8(60 + y), 255})
			if (x-80)*(x-80)+(y-60)*(y-60) < 400 {
				m.Set(x, y, color.RGBA{255, 220, 120, 255})
			}
		}
	}
	var b bytes.Buffer
	png.Encode(&b, m) // to memory: cannot fail
	return b.Bytes()
}

// write puts the sample mail into a person's mailboxes.
func (d *Demo) write(ctx context.Context, a mail.AccountID, p Person) error {
	store := d.House.Mailboxes()
	to, err := mail.ParseAddress(p.Address)
	if err != nil {
		return err
	}
	for i, l := range letters() {
		box := mailbox.Inbox
		if l.folder != "" {
			m, err := store.Lookup(ctx, a, l.folder)
			if err != nil {
				return err
			}
			box = m.ID
		}
		at := time.Now().Add(-l.ago)
		id := l.id
		if id == "" {
			id = fmt.Sprintf("<sample-%d@%s>", i+1, l.from.Address.Domain)
		}
		var b message.Builder
		b.Date("Date", at)
		b.Addresses("From", l.from)
		b.Addresses("To", message.Contact{Name: p.Name, Address: to})
		b.Text("Subject", l.subject)
		b.IDs("Message-ID", id)
		if n := len(l.refs); n > 0 {
			b.IDs("In-Reply-To", l.refs[n-1])
			b.IDs("References", l.refs...)
		}
		b.Body(l.body)
		text, err := b.Bytes()
		if err != nil {
			return fmt.Errorf("%q: %w", l.subject, err)
		}
		prepared, err := store.PrepareMessage(ctx, mail.NewTraceID(at), strings.NewReader(string(text)))
		if err != nil {
			return err
		}
		_, err = store.AppendMessages(ctx, a, box, mailbox.Incoming{Prepared: prepared, Flags: l.flags, Keywords: l.keywords, Date: at})
		if err != nil {
			return err
		}
	}
	return nil
}
