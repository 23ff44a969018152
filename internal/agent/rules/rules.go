// Package rules runs the Sieve scripts of accounts: it tells what becomes of a message, and
// does nothing itself; whoever delivers does it, and leaves the marks in the same
// transaction.
package rules

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/dkim"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/sieve"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/script"
)

// An Agent runs scripts. All fields but Signers must be set.
type Agent struct {
	Hostname  mail.Domain
	Version   string
	Scripts   *script.Store
	Directory *directory.Directory
	Mailboxes *mailbox.Store
	// Signers gives those who sign a domain's mail; nil: answers are not signed.
	Signers func(ctx context.Context, d mail.Domain) ([]*dkim.Signer, error)
	Log     *slog.Logger

	mu       sync.Mutex
	compiled map[compiledKey]*sieve.Script
	weight   int // of those
}

// A compiledKey names a script as it is now.
type compiledKey struct {
	account mail.AccountID
	change  uint64
	name    string
}

// maxCompiled is how many bytes scripts may take that are kept compiled: some thousands
// of usual ones.
const maxCompiled = 128 << 20

// Mail is a message that scripts look at.
type Mail struct {
	Header    []byte // with what stands in front of it
	Size      int64  // with that too
	Message   io.ReaderAt
	Length    int64 // of Message
	Sender    mail.Address
	Recipient mail.Address // as the envelope names it
	Came      time.Time    // when its owner got it first, if not just now
	// Explain has it told what the script does.
	Explain bool
}

// A Verdict is what a script wants done with a message.
type Verdict struct {
	Script   string
	Put      []Put // none: it is not put anywhere
	Redirect []mail.Address
	Refusal  *mail.Refusal // nil: it is taken
	Answer   *Answer       // nil: there is none
	Told     []string

	marks []sieve.Mark
}

// A Put says that a message is put into a mailbox; the zero Place is where it would go
// without a script.
type Put struct {
	Place    sieve.Place
	Flags    mailbox.Flags
	Keywords []string
	Line     int // where the script says so; 0: nowhere
}

// Keeps tells whether it goes where it would go without a script.
func (p *Put) Keeps() bool { return p.Place == sieve.Place{} }

// Run tells what the active script of an account wants done with a message, which it asks
// for; nil if no script is active. What goes wrong in a script is no error: then the message
// is kept, and it is written down for the owner.
func (g *Agent) Run(ctx context.Context, a mail.AccountID, message func() (Mail, error)) (*Verdict, error) {
	name, change, err := g.Scripts.Active(ctx, a)
	if err != nil || name == "" {
		return nil, err
	}
	m, err := message()
	if err != nil {
		return nil, err
	}
	w := &world{g: g, ctx: ctx, account: a, change: change}
	s, err := w.Script(ctx, personal, name)
	if err == nil {
		var v *Verdict
		if v, err = g.run(ctx, w, s, m); err == nil {
			v.Script = name
			return v, nil
		}
	}
	if !Wrong(err) {
		return nil, err
	}
	g.fault(ctx, a, name, err)
	return &Verdict{Script: name, Put: []Put{{}}, Told: []string{"the script went wrong, and the message is kept: " + err.Error()}}, nil
}

// Wrong tells whether an error of Try is that of the script, and not ours.
func Wrong(err error) bool {
	_, is := errors.AsType[*sieve.Error](err)
	return is || errors.Is(err, mail.ErrNotFound) || errors.Is(err, sieve.ErrRun)
}

// fault writes down what went wrong, unless it is the same as before.
func (g *Agent) fault(ctx context.Context, a mail.AccountID, name string, err error) {
	f := script.Fault{At: time.Now(), Name: name, Text: err.Error()}
	g.Log.Info("a script went wrong", "account", a, "script", name, "error", err)
	last, err := g.Scripts.Fault(ctx, a)
	if err == nil && last.Name == f.Name && last.Text == f.Text && f.At.Sub(last.At) < time.Hour {
		return
	}
	if err := g.Scripts.NoteFault(ctx, a, f); err != nil {
		g.Log.Error("a script's fault cannot be written down", "account", a, "error", err)
	}
}

// Try tells what a script wants done with a message of an account. The error is that of
// the script, if it has a *sieve.Error or is a sieve.ErrRun, or ours.
func (g *Agent) Try(ctx context.Context, a mail.AccountID, s *sieve.Script, m Mail) (*Verdict, error) {
	_, change, err := g.Scripts.Active(ctx, a)
	if err != nil {
		return nil, err
	}
	return g.run(ctx, &world{g: g, ctx: ctx, account: a, change: change}, s, m)
}

func (g *Agent) run(ctx context.Context, w *world, s *sieve.Script, m Mail) (*Verdict, error) {
	acct, err := g.Directory.Account(ctx, w.account)
	if err != nil {
		return nil, err
	}
	d, err := g.Directory.Domain(ctx, acct.Address.Domain)
	if err != nil && !errors.Is(err, mail.ErrNotFound) {
		return nil, err
	}
	res, err := s.Run(ctx, sieve.Input{
		Header: m.Header, Size: m.Size, Sender: m.Sender, Recipient: m.Recipient, Separators: d.Separators, Now: time.Now(), Explain: m.Explain,
		Body: func() (*message.Part, io.ReaderAt, error) {
			p, err := message.Parse(m.Message, m.Length)
			return p, m.Message, err
		},
		Environment: map[string]string{
			"name": "Posthaste", "version": g.Version, "host": string(g.Hostname), "domain": string(acct.Address.Domain), "location": "MDA", "phase": "during",
		},
		World: w,
	})
	if err != nil {
		return nil, err
	}
	return g.verdict(ctx, acct, m, res)
}

// verdict makes of actions what is to be done.
func (g *Agent) verdict(ctx context.Context, acct directory.Account, m Mail, res sieve.Result) (*Verdict, error) {
	v := &Verdict{marks: res.Marks, Told: res.Told}
	for _, x := range res.Actions {
		switch x.Kind {
		case sieve.Keep, sieve.FileInto:
			v.put(x)
		case sieve.Redirect:
			if !slices.Contains(v.Redirect, x.Address) {
				v.Redirect = append(v.Redirect, x.Address)
			}
		case sieve.Reject:
			v.Refusal = refusal(x.Text)
		case sieve.Vacation:
			var err error
			if v.Answer, err = g.answer(ctx, acct, m, x.Answer, v); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// put adds a mailbox; one that is named twice has the message once, with all flags.
func (v *Verdict) put(x sieve.Action) {
	p := Put{Place: x.Place, Line: x.Line}
	if strings.EqualFold(p.Place.Name, mailbox.InboxName) && p.Place.ID == "" && p.Place.Use == "" {
		p.Place = sieve.Place{}
	}
	p.Flags, p.Keywords = flagsOf(x.Flags)
	for i := range v.Put {
		have := &v.Put[i]
		if have.Place.Name == p.Place.Name && have.Place.ID == p.Place.ID && have.Place.Use == p.Place.Use {
			have.Flags |= p.Flags
			have.Keywords = append(have.Keywords, p.Keywords...)
			return
		}
	}
	v.Put = append(v.Put, p)
}

var systemFlags = map[string]mailbox.Flags{
	`\Seen`: mailbox.Seen, `\Answered`: mailbox.Answered, `\Flagged`: mailbox.Flagged, `\Deleted`: mailbox.Deleted, `\Draft`: mailbox.Draft,
}

func flagsOf(list []string) (flags mailbox.Flags, keywords []string) {
	for _, f := range list {
		if bit, ok := systemFlags[f]; ok {
			flags |= bit
		} else {
			keywords = append(keywords, f)
		}
	}
	return flags, keywords
}

// maxRefusal is how many characters of a reason stand in a refusal.
const maxRefusal = 400

// refusal says no with what a script gives as its reason, on one line. RFC 5429 §2.1
func refusal(reason string) *mail.Refusal {
	text := []rune(strings.Join(strings.Fields(reason), " "))
	if len(text) > maxRefusal {
		text = append(text[:maxRefusal], '…')
	}
	if len(text) == 0 {
		text = []rune("whom it is for does not want it")
	}
	return mail.Refuse("5.7.1", string(text), "refused by a script")
}

// Leave leaves what a script wants to know the next time. The transaction must have the
// account's lock.
func (g *Agent) Leave(tx kv.Tx, a mail.AccountID, v *Verdict) error {
	for _, m := range v.marks {
		x := markOf(m)
		if m.Last {
			g.Scripts.Renew(tx, a, x)
			continue
		}
		if _, err := g.Scripts.Leave(tx, a, x); err != nil {
			return err
		}
	}
	return nil
}

func markOf(m sieve.Mark) script.Mark {
	return script.Mark{Key: string(m.Kind) + m.Key, For: m.For}
}

const personal = "personal"

// A world is what a script can know of an account.
type world struct {
	g       *Agent
	ctx     context.Context
	account mail.AccountID
	change  uint64
}

// Mailbox tells whether there is such a mailbox.
func (w *world) Mailbox(ctx context.Context, by sieve.Place) (bool, error) {
	if by.ID == "" && by.Use == "" {
		name, err := mailbox.ParseName(by.Name)
		if err != nil {
			return false, nil
		}
		m, err := w.g.Mailboxes.Lookup(ctx, w.account, name)
		if errors.Is(err, mail.ErrNotFound) {
			return false, nil
		}
		return err == nil && !m.Placeholder, err
	}
	list, _, err := w.g.Mailboxes.Mailboxes(ctx, w.account)
	for _, m := range list {
		if by.ID != "" && m.ID.Object() == by.ID || by.Use != "" && strings.EqualFold(m.Role.Use(), by.Use) && (by.Name == "" || m.Name == by.Name) {
			return true, err
		}
	}
	return false, err
}

// Annotation gives an entry of METADATA: /private ones of the owner, and /shared ones.
func (w *world) Annotation(ctx context.Context, name, entry string) (string, bool, error) {
	box := mailbox.Box{Account: w.account}
	if name != "" {
		m, err := w.g.Mailboxes.Lookup(ctx, w.account, name)
		if errors.Is(err, mail.ErrNotFound) {
			return "", false, nil
		}
		if err != nil {
			return "", false, err
		}
		box.Mailbox = m.ID
	}
	ask := mailbox.Annotation{}
	low := strings.ToLower(entry)
	switch {
	case strings.HasPrefix(low, "/private/"):
		ask.Reader, ask.Name = w.account, strings.TrimPrefix(low, "/private")
	case strings.HasPrefix(low, "/shared/"):
		ask.Name = strings.TrimPrefix(low, "/shared")
	default:
		return "", false, nil
	}
	found, err := w.g.Mailboxes.Metadata(ctx, box, []mailbox.Annotation{ask}, mailbox.ThisEntry)
	if err != nil || len(found) == 0 || len(found[0]) == 0 {
		return "", false, err
	}
	return string(found[0][0].Value), true, nil
}

// Script gives a script of the account, compiled. There are no global ones.
func (w *world) Script(ctx context.Context, location, name string) (*sieve.Script, error) {
	if location != personal {
		return nil, fmt.Errorf("global script %q: %w", name, mail.ErrNotFound)
	}
	k := compiledKey{w.account, w.change, name}
	w.g.mu.Lock()
	s := w.g.compiled[k]
	w.g.mu.Unlock()
	if s != nil {
		return s, nil
	}
	text, err := w.g.Scripts.Get(ctx, w.account, name)
	if err != nil {
		return nil, err
	}
	if s, err = sieve.Compile(text); err != nil {
		return nil, err
	}
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	if w.g.weight += s.Weight(); w.g.compiled == nil || w.g.weight > maxCompiled {
		w.g.compiled, w.g.weight = map[compiledKey]*sieve.Script{}, s.Weight()
	}
	w.g.compiled[k] = s
	return s, nil
}

// Seen tells whether an earlier run has left a mark.
func (w *world) Seen(ctx context.Context, m sieve.Mark) (bool, error) {
	return w.g.Scripts.Seen(ctx, w.account, markOf(m).Key)
}

// Without gives the verdict of an account that has its mail sent on instead of kept: what
// would go where it goes without rules, goes nowhere.
func (v *Verdict) Without() *Verdict {
	out := *v
	out.Put = nil
	for _, p := range v.Put {
		if !p.Keeps() {
			out.Put = append(out.Put, p)
		}
	}
	return &out
}

// Words tells what is done with the message, a sentence for each thing.
func (v *Verdict) Words() (out []string) {
	if v.Refusal != nil {
		return []string{fmt.Sprintf("So it is refused: %s", v.Refusal.Text)}
	}
	for _, p := range v.Put {
		where := "where it would go without rules, which is the inbox unless it is junk"
		switch {
		case p.Place.ID != "":
			where = fmt.Sprintf("into the mailbox with the id %s, or else %q", p.Place.ID, p.Place.Name)
		case p.Place.Use != "":
			where = fmt.Sprintf("into the mailbox for %s, or else %q", p.Place.Use, p.Place.Name)
		case !p.Keeps():
			where = fmt.Sprintf("into the mailbox %q", p.Place.Name)
		}
		with := p.Keywords
		for _, f := range []string{`\\Seen`, `\\Answered`, `\\Flagged`, `\\Deleted`, `\\Draft`} {
			if p.Flags&systemFlags[f] != 0 {
				with = append(with[:len(with):len(with)], f)
			}
		}
		if len(with) > 0 {
			where += ", with the flags " + strings.Join(with, " ")
		}
		out = append(out, "So it is put "+where+".")
	}
	for _, a := range v.Redirect {
		out = append(out, fmt.Sprintf("So it is sent on to %s.", a.Unicode()))
	}
	if v.Answer != nil {
		out = append(out, fmt.Sprintf("So %s is answered.", v.Answer.To.Unicode()))
	}
	if out == nil {
		return []string{"So it is put nowhere."}
	}
	return out
}
