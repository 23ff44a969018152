// Package mover brings mail from elsewhere into accounts, and hands out what is
// in them: the server's side of moving in and out. It knows nothing of where the
// mail comes from but a name for the source, its folders, and an id for each
// message; with these it sees to it that no message comes twice, whoever is
// interrupted wherever (see mailbox.Store.Bring).
package mover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
)

// An Agent moves mail. Mailboxes must be set, and for Share the Directory.
type Agent struct {
	Mailboxes *mailbox.Store
	Directory *directory.Directory
}

// A Folder of the source.
type Folder struct {
	Source     string // names the store it is in, the same in every run
	Name       string // of the folder there, the same in every run
	Into       string // name that its mailbox gets here, levels divided by "/"
	Role       mailbox.Role
	Subscribed bool
	// Mark is what the ids of its messages are good for, such as UIDVALIDITY.
	Mark string
	// Renumbered takes another mark than before as it is.
	Renumbered bool
	// Bare: who may do what with it is told by Share. A mailbox that is made for it
	// has none of the rights of the one above.
	Bare bool
}

// ErrRenumbered says that the messages of a folder have other ids than when they
// were brought before: all would come again.
var ErrRenumbered = errors.New("mover: the folder was numbered anew")

// Open gives the mailbox that mail of a folder goes to. It is made if need be: the
// one with the folder's role, that of its name, or a new one.
func (a *Agent) Open(ctx context.Context, acct mail.AccountID, f Folder) (mail.MailboxID, error) {
	name, err := mailbox.ParseName(f.Into)
	if err != nil {
		return 0, fmt.Errorf("mover: folder %q: %w: %w", f.Name, err, mail.ErrLimit)
	}
	role := f.Role
	if role == mailbox.NoRole {
		role = usualRole(name)
	}
	move := mailbox.Move{Source: f.Source, Folder: f.Name, Mark: f.Mark}
	had, err := a.Mailboxes.OpenMove(ctx, acct, move, f.Bare, func(e *mailbox.Edit) (mail.MailboxID, error) {
		if role != mailbox.NoRole {
			return e.ByRole(role)
		}
		return e.Named(name)
	})
	if err != nil {
		return 0, err
	}
	if had.Mark != f.Mark {
		if !f.Renumbered {
			return 0, fmt.Errorf("folder %q: %w", f.Name, ErrRenumbered)
		}
		had.Mark = f.Mark
		if err := a.Mailboxes.RemarkMove(ctx, acct, had); err != nil {
			return 0, err
		}
	}
	if f.Subscribed && role == mailbox.NoRole {
		if err := a.Mailboxes.Subscribe(ctx, acct, name); err != nil {
			return 0, err
		}
	}
	return had.Mailbox, nil
}

// usualRoles are names that folders of a role have at other servers and in mail
// programs, for those that do not say which role a folder has.
var usualRoles = map[string]mailbox.Role{
	"inbox": mailbox.InboxRole,
	"sent":  mailbox.SentRole, "sent items": mailbox.SentRole, "sent messages": mailbox.SentRole, "sent mail": mailbox.SentRole,
	"drafts": mailbox.DraftsRole, "trash": mailbox.TrashRole, "deleted items": mailbox.TrashRole, "deleted messages": mailbox.TrashRole,
	"junk": mailbox.JunkRole, "spam": mailbox.JunkRole, "junk e-mail": mailbox.JunkRole, "junk email": mailbox.JunkRole, "archive": mailbox.ArchiveRole,
}

func usualRole(name string) mailbox.Role { return usualRoles[strings.ToLower(name)] }

// A Message that is brought.
type Message struct {
	Mailbox mail.MailboxID
	ID      string   // what the source calls it
	Flags   []string // with keywords, as IMAP writes them
	Date    time.Time
	UIDL    string
	Size    int64
}

// Limits of what is brought at once.
const (
	// MaxBatch is how many messages and MaxBatchBytes about how many bytes Bring
	// takes; a single message may have MaxMessage.
	MaxBatch      = 200
	MaxBatchBytes = 16 << 20
	MaxMessage    = 512 << 20

	handful   = 8        // prepared at once
	maxHeld   = 64 << 10 // of a message in memory
	maxWeight = kv.MaxTx * 7 / 10
)

// Brought says what became of a batch.
type Brought struct {
	Added   int // the others were there already
	Dropped int // keywords for which a mailbox had no room
}

// Bring adds the messages that next gives, until it gives io.EOF, in their order.
// The bytes of a message must be read before next is called again. Whatever
// happens, a message is added together with what says that it was brought.
func (a *Agent) Bring(ctx context.Context, acct mail.AccountID, source, folder string, next func() (Message, io.Reader, error)) (Brought, error) {
	b := batch{a: a, acct: acct, origin: mailbox.OriginOf(source, folder), slots: make(chan struct{}, handful)}
	err := b.read(ctx, next)
	if err = errors.Join(err, b.wait()); err != nil {
		return b.done, err
	}
	err = b.commit(ctx)
	return b.done, err
}

// A batch is messages on their way.
type batch struct {
	a      *Agent
	acct   mail.AccountID
	origin mailbox.Origin
	list   []mailbox.Arrival
	errs   []error
	slots  chan struct{} // who prepares a message has one
	done   Brought
}

func (b *batch) read(ctx context.Context, next func() (Message, io.Reader, error)) error {
	b.list, b.errs = make([]mailbox.Arrival, 0, MaxBatch), make([]error, MaxBatch)
	var bytes int64
	for {
		m, r, err := next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if bytes += m.Size; len(b.list) == MaxBatch || m.Size > MaxMessage || m.Size <= 0 || bytes > MaxBatchBytes && len(b.list) > 0 {
			return fmt.Errorf("mover: too much at once: %w", mail.ErrLimit)
		}
		flags, keywords := splitFlags(m.Flags)
		in := mailbox.Incoming{Flags: flags, Keywords: keywords, Date: m.Date}
		if mailbox.ValidUIDL(m.UIDL) {
			in.UIDL = m.UIDL
		}
		i := len(b.list)
		b.list = append(b.list, mailbox.Arrival{Incoming: in, ID: mailbox.ArrivalOf(m.ID), Mailbox: m.Mailbox})
		if err := b.prepare(ctx, &b.list[i].Prepared, &b.errs[i], r, m.Size); err != nil {
			return err
		}
	}
}

// prepare reads a message. Small ones are parsed, and their bytes made durable,
// side by side: so their syncs are one.
func (b *batch) prepare(ctx context.Context, into **mailbox.Prepared, failed *error, r io.Reader, size int64) error {
	r = &exactly{r: r, left: size}
	if size > maxHeld {
		return b.keep(ctx, into, r)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	b.slots <- struct{}{}
	go func() {
		*failed = b.keep(ctx, into, bytes.NewReader(text))
		<-b.slots
	}()
	return nil
}

func (b *batch) keep(ctx context.Context, into **mailbox.Prepared, r io.Reader) (err error) {
	*into, err = b.a.Mailboxes.PrepareMessage(ctx, mail.NewTraceID(time.Now()), r)
	return err
}

// wait waits for those that are being prepared.
func (b *batch) wait() error {
	for range handful {
		b.slots <- struct{}{}
	}
	return errors.Join(b.errs...)
}

// commit adds the messages, as many at once as a transaction takes.
func (b *batch) commit(ctx context.Context) error {
	for len(b.list) > 0 {
		n, weight := 0, 0
		for n < len(b.list) && (n == 0 || weight+b.list[n].Weight() < maxWeight) {
			weight += b.list[n].Weight()
			n++
		}
		added, dropped, err := b.a.Mailboxes.Bring(ctx, b.acct, b.origin, b.list[:n])
		if err != nil {
			return err
		}
		b.done.Added, b.done.Dropped = b.done.Added+added, b.done.Dropped+dropped
		b.list = b.list[n:]
	}
	return nil
}

// exactly fails if less comes than was announced.
type exactly struct {
	r    io.Reader
	left int64
}

// Read is as of io.Reader.
func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if err == io.EOF && e.left > 0 {
		err = io.ErrUnexpectedEOF
	} else if e.left == 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// Known tells which messages of a folder have been brought already.
func (a *Agent) Known(ctx context.Context, acct mail.AccountID, source, folder string, ids []string) ([]bool, error) {
	list := make([]mailbox.ArrivalID, len(ids))
	for i, id := range ids {
		list[i] = mailbox.ArrivalOf(id)
	}
	return a.Mailboxes.Arrived(ctx, acct, mailbox.OriginOf(source, folder), list)
}

// FollowFlags gives messages the flags that they have in the source. It tells how
// many changed.
func (a *Agent) FollowFlags(ctx context.Context, acct mail.AccountID, source, folder string, list []Message) (int, error) {
	out := make([]mailbox.ArrivalFlags, len(list))
	for i, m := range list {
		out[i].ID = mailbox.ArrivalOf(m.ID)
		out[i].Flags, out[i].Keywords = splitFlags(m.Flags)
	}
	return a.Mailboxes.FollowFlags(ctx, acct, mailbox.OriginOf(source, folder), out)
}

// FollowDeletions expunges what was brought from a folder and is no longer there.
// here gives the ids of all that is.
func (a *Agent) FollowDeletions(ctx context.Context, acct mail.AccountID, source, folder string, here []mailbox.ArrivalID) (int, error) {
	slices.SortFunc(here, func(x, y mailbox.ArrivalID) int { return bytes.Compare(x[:], y[:]) })
	return a.Mailboxes.FollowDeletions(ctx, acct, mailbox.OriginOf(source, folder), func(id mailbox.ArrivalID) bool {
		_, ok := slices.BinarySearchFunc(here, id, func(x, y mailbox.ArrivalID) int { return bytes.Compare(x[:], y[:]) })
		return ok
	})
}

// systemFlags has the flags of IMAP and their bits in the store.
var systemFlags = [...]struct {
	name string
	bit  mailbox.Flags
}{{imap.FlagSeen, mailbox.Seen}, {imap.FlagAnswered, mailbox.Answered}, {imap.FlagFlagged, mailbox.Flagged}, {imap.FlagDeleted, mailbox.Deleted}, {imap.FlagDraft, mailbox.Draft}}

// splitFlags divides flags from keywords. Other system flags are left out; what
// cannot be a keyword becomes what can.
func splitFlags(names []string) (bits mailbox.Flags, keywords []string) {
next:
	for _, n := range names {
		if n == "" || n[0] == '\\' {
			for _, f := range systemFlags {
				if strings.EqualFold(f.name, n) {
					bits |= f.bit
				}
			}
			continue
		}
		if len(n) > mailbox.MaxKeyword {
			n = n[:mailbox.MaxKeyword]
		}
		n = imap.AtomOf(n)
		for _, k := range keywords {
			if strings.EqualFold(k, n) {
				continue next
			}
		}
		keywords = append(keywords, n)
	}
	return bits, keywords
}

// flagNames is the other way round.
func flagNames(snap *mailbox.Snapshot, f mailbox.Flags) []string {
	var out []string
	for _, s := range systemFlags {
		if f&s.bit != 0 {
			out = append(out, s.name)
		}
	}
	return append(out, snap.Names(f)...)
}
