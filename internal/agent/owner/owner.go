// Package owner does what the owner of an account wants done with it: says what becomes
// of mail that POP3 clients collect, shows what will go before it does and what was
// collected, brings back what was deleted, gives programs passwords of their own, and keeps
// the rules for mail that comes. An
// administrator does the same for them.
//
// What is read and written here is text as people know it: names of devices and mailboxes,
// days, words; the stores below have numbers.
package owner

import (
	"context"
	"fmt"
	"strings"

	"posthaste/internal/agent/registrar"
	"posthaste/internal/agent/rules"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/maildrop"
	"posthaste/internal/store/script"
)

// An Agent does it. All fields must be set.
type Agent struct {
	Directory *directory.Directory
	Registrar *registrar.Registrar
	Mailboxes *mailbox.Store
	Maildrops *maildrop.Store
	Store     *script.Store // of Sieve scripts
	Rules     *rules.Agent
}

// An Invalid request cannot be meant; it says in a sentence what is wrong.
type Invalid struct{ error }

// Unwrap gives what is wrong.
func (e Invalid) Unwrap() error { return e.error }

func invalid(format string, args ...any) error { return Invalid{fmt.Errorf(format, args...)} }

// names are those of an account's devices and mailboxes.
type names struct {
	devices map[maildrop.Device]string
	boxes   map[mail.MailboxID]string
}

func (g *Agent) namesOf(ctx context.Context, a mail.AccountID) (n names, err error) {
	n = names{map[maildrop.Device]string{0: ""}, map[mail.MailboxID]string{}}
	apps, err := g.Directory.AppPasswords(ctx, a)
	if err != nil {
		return n, err
	}
	for _, p := range apps {
		n.devices[maildrop.Device(p.Device)] = p.Name
	}
	list, _, err := g.Mailboxes.Mailboxes(ctx, a)
	for _, m := range list {
		n.boxes[m.ID] = m.Name
	}
	return n, err
}

func (n names) device(d maildrop.Device) string {
	if name, ok := n.devices[d]; ok {
		return name
	}
	return fmt.Sprintf("a removed one (number %d)", d)
}

func (n names) box(id mail.MailboxID) string {
	if name, ok := n.boxes[id]; ok {
		return name
	}
	return "a deleted mailbox"
}

// deviceOf gives the device of that name.
func (n names) deviceOf(name string) (maildrop.Device, error) {
	for d, have := range n.devices {
		if strings.EqualFold(have, name) {
			return d, nil
		}
	}
	return 0, fmt.Errorf("app password %q: %w", name, mail.ErrNotFound)
}

// A letter is what a list shows of an email.
type letter struct{ from, subject string }

// letters gives what a list shows of emails, in their order.
func (g *Agent) letters(ctx context.Context, a mail.AccountID, emails []mail.EmailID) ([]letter, error) {
	out := make([]letter, len(emails))
	records, err := g.Mailboxes.Records(ctx, a, emails)
	for i := range records {
		header, _ := records[i].Fields(nil, "from", "subject")
		out[i] = letterOf(header)
	}
	return out, err
}

// letterOf reads the fields From and Subject.
func letterOf(header []byte) (l letter) {
	if f, ok := message.Find(header, "subject"); ok {
		l.subject = message.DecodeWords(f.Text())
	}
	_, authors := message.Authors(header)
	if len(authors) > 0 {
		if l.from = authors[0].Name; l.from == "" {
			l.from = authors[0].Raw
		}
	}
	return l
}
