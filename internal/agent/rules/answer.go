package rules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/sieve"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
)

// An Answer is one to be sent by vacation.
type Answer struct {
	To     mail.Address
	Prefix []byte // fields in front of Text: signatures
	Text   []byte // the message
	// Copy is where it is put as well; nil: nowhere.
	Copy *Put

	mark sieve.Mark
}

// answerWithin is how old a message may be that is collected from elsewhere: nobody waits
// for an answer to one of last year.
const answerWithin = 48 * time.Hour

// answer writes what vacation wants to say; nil if it is not to be said.
func (g *Agent) answer(ctx context.Context, acct directory.Account, m Mail, x *sieve.Answer, v *Verdict) (*Answer, error) {
	tell := func(why string) {
		if m.Explain {
			v.Told = append(v.Told, "nobody is answered: "+why)
		}
	}
	var failed error
	own := func(a mail.Address) bool {
		is, err := g.own(ctx, acct.ID, a, 0)
		failed = errors.Join(failed, err)
		return is
	}
	if !m.Came.IsZero() && time.Since(m.Came) > answerWithin {
		tell("it has come long ago, and to another place")
		return nil, nil
	}
	ok, why := x.Answers(m.Header, m.Sender, own)
	if failed != nil {
		return nil, failed
	}
	if !ok {
		tell(why)
		return nil, nil
	}
	mark := x.Mark
	mark.Key += " " + directory.Canonical(m.Sender).String()
	seen, err := g.Scripts.Seen(ctx, acct.ID, markOf(mark).Key)
	if err != nil {
		return nil, err
	}
	if seen {
		tell("who wrote it was answered before, and not long ago")
		return nil, nil
	}
	from := message.Contact{Name: acct.Name, Address: acct.Address}
	if list := message.ParseAddresses(x.From); x.From != "" && len(list) == 1 {
		mine, err := g.own(ctx, acct.ID, list[0].Address, 0)
		if err != nil {
			return nil, err
		}
		if mine {
			from = list[0]
		} else if m.Explain {
			v.Told = append(v.Told, x.From+" is no address of the account, and does not stand in the answer")
		}
	}
	out := &Answer{To: m.Sender, mark: mark}
	if out.Text, err = write(from, m, x, string(g.Hostname), time.Now()); err != nil {
		// What cannot be a message is the script's affair.
		return nil, fmt.Errorf("%w: the answer: %w", sieve.ErrRun, err)
	}
	if out.Prefix, err = g.sign(ctx, from.Address.Domain, out.Text); err != nil {
		return nil, err
	}
	if x.Copy != nil {
		out.Copy = &Put{Place: *x.Copy}
		out.Copy.Flags, out.Copy.Keywords = flagsOf(x.CopyFlags)
	}
	return out, nil
}

// own tells whether mail to an address comes to the account, and to nobody else.
func (g *Agent) own(ctx context.Context, acct mail.AccountID, a mail.Address, depth int) (bool, error) {
	t, err := g.Directory.Resolve(ctx, a)
	switch {
	case errors.Is(err, mail.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case t.Alias != nil && len(t.Alias.Targets) == 1 && depth < 5:
		return g.own(ctx, acct, t.Alias.Targets[0], depth+1)
	}
	return t.Account == acct, nil
}

// write writes an answer. RFC 5230 §5, RFC 3834 §3
func write(from message.Contact, m Mail, x *sieve.Answer, host string, now time.Time) ([]byte, error) {
	b := message.Builder{UTF8: !m.Sender.IsASCII()}
	b.Date("Date", now)
	b.Addresses("From", from)
	b.Addresses("To", message.Contact{Address: m.Sender})
	b.Text("Subject", subject(m.Header, x.Subject))
	id := mail.NewTraceID(now)
	b.IDs("Message-ID", "<"+id.String()+"@"+host+">")
	if ref, chain := references(m.Header); ref != "" {
		b.IDs("In-Reply-To", ref)
		b.IDs("References", chain...)
	}
	b.Field("Auto-Submitted", "auto-replied")
	b.Field("Precedence", "bulk") // for those who do not know RFC 3834
	if !x.MIME {
		b.Body(message.Content{Type: "text/plain", Data: []byte(x.Text)})
		return b.Bytes()
	}
	head, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return part(head, x.Text)
}

// part puts a part of MIME under a header. Only what describes the part is taken of its
// header.
func part(head []byte, text string) ([]byte, error) {
	fields, rest, found := strings.Cut(text, "\r\n\r\n")
	if !found {
		return nil, errors.New("a part of MIME has a header, and an empty line behind it")
	}
	out := append(bytes.Clone(head), "MIME-Version: 1.0\r\n"...)
	for f := range message.Fields([]byte(fields + "\r\n\r\n")) {
		if len(f.Name) > 8 && strings.EqualFold(string(f.Name[:8]), "content-") {
			out = append(out, f.Raw...)
		}
	}
	out = append(out, "\r\n"+rest...)
	for line := range bytes.SplitSeq(out, []byte("\r\n")) {
		if len(line) > 998 {
			return nil, errors.New("a line is too long")
		}
	}
	return out, nil
}

// subject gives that of an answer.
func subject(header []byte, wanted string) string {
	if wanted = strings.TrimSpace(wanted); wanted != "" {
		return wanted
	}
	f, ok := message.Find(header, "subject")
	if text := message.DecodeWords(f.Text()); ok && text != "" {
		return "Auto: " + text
	}
	return "Automated reply"
}

// maxReferences is how many ids stand in References.
const maxReferences = 20

// references gives the id that is answered, and the ids of the conversation. RFC 5322 §3.6.4
func references(header []byte) (id string, chain []string) {
	f, ok := message.Find(header, "message-id")
	ids := message.MessageIDs(f.Text())
	if !ok || len(ids) == 0 || len(ids[0]) > 250 {
		return "", nil
	}
	if f, ok := message.Find(header, "references"); ok {
		for _, r := range message.MessageIDs(f.Text()) {
			if len(r) <= 250 {
				chain = append(chain, r)
			}
		}
	}
	chain = append(chain, ids[0])
	if n := len(chain); n > maxReferences { // the first one, and the last
		chain = append(chain[:1:1], chain[n-maxReferences+1:]...)
	}
	return ids[0], chain
}

func (g *Agent) sign(ctx context.Context, d mail.Domain, text []byte) (fields []byte, err error) {
	if g.Signers == nil {
		return nil, nil
	}
	signers, err := g.Signers(ctx, d)
	if err != nil {
		return nil, err
	}
	header := bytes.Index(text, []byte("\r\n\r\n")) + 4
	for _, s := range signers {
		field, err := s.Sign(text[:header], bytes.NewReader(text[header:]), time.Now())
		if err != nil {
			return nil, err
		}
		fields = append(fields, field...)
	}
	return fields, nil
}

// Answered notes that somebody is answered, in a transaction that has the account's lock;
// false if he was already, meanwhile.
func (g *Agent) Answered(tx kv.Tx, a mail.AccountID, x *Answer) (bool, error) {
	seen, err := g.Scripts.Leave(tx, a, markOf(x.mark))
	return !seen, err
}

// Find gives the mailbox of a place in an edit; mail.ErrNotFound if there is none, and it
// is not to be made. RFC 8579 §4.1, RFC 9042 §3.1, RFC 5490 §3.2
func Find(e *mailbox.Edit, p sieve.Place) (mail.MailboxID, error) {
	if p.ID != "" {
		if id, err := e.Object(p.ID); err == nil || !errors.Is(err, mail.ErrNotFound) {
			return id, err
		}
	}
	if role, ok := mailbox.ParseUse(p.Use); ok {
		if id, err := e.HasRole(role); id != 0 || err != nil {
			return id, err
		}
		if p.Create {
			return e.ByRole(role)
		}
	}
	name, err := mailbox.ParseName(p.Name)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", err, mail.ErrNotFound)
	}
	if p.Create {
		return e.Named(name)
	}
	return e.Existing(name)
}
