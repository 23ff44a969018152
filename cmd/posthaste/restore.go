package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"posthaste/internal/agent/backup"
	"posthaste/internal/agent/carrier"
	"posthaste/internal/agent/owner"
	"posthaste/internal/base/mail"
	"posthaste/internal/server"
	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
	"posthaste/internal/store/mailbox"
)

// restore is the command "restore".
func (t *tool) restore() *cobra.Command {
	var b chosen
	var address, id string
	var folders []string
	var quiet bool
	c := &cobra.Command{
		Use: "restore PLACE", Short: "Bring back the store, an account, a folder or a message from a backup", GroupID: "move", Args: cobra.ExactArgs(1),
		Long: `Without --account: write the whole store of a backup into the data folder, which
must be empty. Then start the server.

With --account: bring back mail of that account that is no longer there, into its
folders, while the server runs; with --folder and --message only some of it. What
is still where it was is not brought twice, and neither is what an earlier restore
has brought.

With --account and --at: what the account had at that time and has lost since. What
the server still keeps of deleted mail (see "posthaste mailbox deleted") is put back
first, also if it came after the last backup; the rest is brought from the last
backup before that time, without what had gone by then.`,
		Example: `  posthaste restore /backup/posthaste --data /var/lib/posthaste
  posthaste restore /backup/posthaste --account ada@example.org --folder Projects
  posthaste restore /backup/posthaste --account ada@example.org --message "<1234@example.org>"
  posthaste restore /backup/posthaste --account ada@example.org --at 2026-11-20T10:00`,
	}
	b.flags(c)
	b.scratchFlag(c)
	c.Flags().StringVar(&address, "account", "", "only the mail of this `address`")
	c.Flags().StringArrayVar(&folders, "folder", nil, "only the folder of this `name` (may be said again)")
	c.Flags().StringVar(&id, "message", "", "only messages with this `Message-ID`")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "no progress")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if address == "" {
			if len(folders) > 0 || id != "" {
				return errors.New("say whose folder or message it is, with --account")
			}
			return t.restoreAll(cmd.Context(), &b, args[0])
		}
		return t.with(func(ctx context.Context, cl *admind.Client, _ []string) error {
			r := restoring{t: t, now: cl, chosen: &b, place: args[0], address: address, folders: folders, id: id, quiet: quiet}
			return r.run(ctx)
		})(cmd, args)
	}
	return c
}

func (t *tool) restoreAll(ctx context.Context, b *chosen, dir string) error {
	cfg, err := t.read()
	if err != nil {
		return err
	}
	r, g, err := b.open(ctx, t, dir)
	if err != nil {
		return err
	}
	return errors.Join(restoreInto(ctx, r, g, cfg), g.Close())
}

// restoreInto restores a backup into the data folder, which must be empty.
func restoreInto(ctx context.Context, r *backup.Repository, g *backup.Generation, cfg config.Config) error {
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(cfg.Data)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: a store is restored into an empty folder only", cfg.Data)
	}
	if err := server.MarkRestored(cfg.Data); err != nil {
		return err
	}
	if err := r.Restore(ctx, g.Manifest, cfg.Data, showBytes("restoring "+g.Name)); err != nil {
		return err
	}
	stdout.Printf("restored backup %s (%s) into %s; now run posthaste check, and start the server\n", g.Name, mail.Size(g.Manifest.Bytes()), cfg.Data)
	return nil
}

// A restoring brings back mail of an account.
type restoring struct {
	t           *tool
	now         *admind.Client
	chosen      *chosen
	place       string
	address, id string
	folders     []string
	quiet       bool
}

func (r *restoring) run(ctx context.Context) error {
	if _, err := r.now.Mailboxes(ctx, r.address); err != nil {
		return err
	}
	old, name, done, err := r.chosen.unpack(ctx, r.t, r.place)
	if err != nil {
		return errors.Join(err, r.without(ctx, err))
	}
	then, err := addressThen(ctx, old, r.now, r.address)
	if err != nil {
		return errors.Join(err, done())
	}
	src := &keptMail{old: old, now: r.now, address: r.address, then: then, id: r.id, boxes: map[string]admind.Mailbox{}}
	if r.chosen.at != "" {
		if err := r.undelete(ctx, src, name); err != nil {
			return errors.Join(err, done())
		}
	}
	m := moveIn{quiet: r.quiet}
	m.im.Only = r.folders
	if canonical(then) == canonical(r.address) {
		stdout.Printf("from backup %s:\n", name)
	} else {
		stdout.Printf("from backup %s, where it is %s:\n", name, shown(then))
	}
	return errors.Join(m.run(ctx, r.now, src, r.address), done())
}

// addressThen gives the address that an account has in a backup. Whoever had that
// address when it was made need not be who has it now: their mail is not given away.
func addressThen(ctx context.Context, old, now *admind.Client, address string) (string, error) {
	then, err := old.Accounts(ctx)
	if err != nil {
		return "", err
	}
	today, err := now.Accounts(ctx)
	if err != nil {
		return "", err
	}
	same := func(list []admind.Account, a admind.Account) int {
		return slices.IndexFunc(list, func(b admind.Account) bool { return b.ID == a.ID && b.Created.Equal(a.Created) })
	}
	named := func(list []admind.Account) int {
		return slices.IndexFunc(list, func(b admind.Account) bool { return canonical(b.Address) == canonical(address) })
	}
	if i := named(today); i >= 0 {
		if j := same(then, today[i]); j >= 0 {
			return then[j].Address, nil
		}
	}
	if i := named(then); i >= 0 {
		if j := same(today, then[i]); j >= 0 {
			return "", fmt.Errorf("in this backup, %s is the account that is %s now: say --account %s for its mail", address, today[j].Address, today[j].Address)
		}
	}
	return address, nil
}

// without tells what can be put back without a backup, if there is none so old and the
// server still keeps something of what had been there.
func (r *restoring) without(ctx context.Context, why error) error {
	if r.chosen.at == "" || !errors.Is(why, backup.ErrTooEarly) && !errors.Is(why, backup.ErrNone) {
		return nil
	}
	at, err := parseMoment(r.chosen.at)
	if err != nil {
		return nil // that is why
	}
	f := owner.DeletedFilter{There: at}
	more := ""
	if len(r.folders) == 1 {
		f.Mailbox = r.folders[0]
		more = fmt.Sprintf(" --mailbox %q", f.Mailbox)
	}
	list, err := r.now.Deleted(ctx, r.address, f)
	if err != nil || len(list.Messages) == 0 {
		return err
	}
	n := mail.Many(len(list.Messages), "message") + " that were there then and have"
	switch {
	case list.More:
		n = "more than " + n
	case len(list.Messages) == 1:
		n = "1 message that was there then and has"
	}
	return fmt.Errorf("but %s been deleted since can be put back without a backup: posthaste mailbox deleted restore %s --all --at %q%s", n, r.address, r.chosen.at, more)
}

// undelete puts back what the account had at the time and was deleted since, and
// looks what had gone by then.
func (r *restoring) undelete(ctx context.Context, src *keptMail, generation string) error {
	at, err := parseMoment(r.chosen.at)
	if err != nil {
		return err
	}
	made, err := backup.Time(generation)
	if err == nil {
		err = src.lookGone(ctx, made.Add(-beforeBackup), at)
	}
	if err != nil {
		return err
	}
	folders, n := r.folders, 0
	if len(folders) == 0 {
		folders = []string{""}
	}
	for _, f := range folders {
		part, err := r.now.Restore(ctx, r.address, owner.DeletedFilter{Mailbox: f, There: at, MessageID: r.id})
		if err != nil {
			return err
		}
		n += part.Messages
	}
	stdout.Printf("put back %s deleted since %s\n", mail.Many(n, "message"), at.Local().Format("2006-01-02 15:04:05"))
	return nil
}

// beforeBackup is how long before its time a backup may have been begun.
const beforeBackup = time.Hour

// keptMail is an account in a backup, as a source of mail.
type keptMail struct {
	old, now    *admind.Client
	address, id string
	then        string // its address in the backup
	boxes       map[string]admind.Mailbox
	gone        map[uint64]mail.UIDSet // by mailbox, what is not wanted
}

// lookGone notes what went from one time on and before another, if the account is
// still the one in the backup.
func (s *keptMail) lookGone(ctx context.Context, since, before time.Time) error {
	then, err := s.old.Mailboxes(ctx, s.then)
	if err != nil {
		return err
	}
	now, err := s.now.Mailboxes(ctx, s.address)
	if err != nil || validity(then, "INBOX") != validity(now, "INBOX") {
		return err
	}
	list, err := s.now.Gone(ctx, s.address, since, before)
	if err != nil {
		return err
	}
	s.gone = map[uint64]mail.UIDSet{}
	for _, g := range list {
		if s.gone[g.Mailbox], err = mail.ParseUIDSet(g.UIDs); err != nil {
			return err
		}
	}
	return nil
}

// validity gives the UIDVALIDITY of the mailbox of that name, 0 if there is none.
func validity(list []admind.Mailbox, name string) uint32 {
	for _, m := range list {
		if m.Name == name {
			return m.UIDValidity
		}
	}
	return 0
}

// Name is as of carrier.Source: the same for all backups, so that none brings what
// another has brought.
func (s *keptMail) Name() string { return mailbox.BackupSource + canonical(s.then) }

// Close is as of carrier.Source.
func (s *keptMail) Close() error { return nil }

// Folders is as of carrier.Source. Its names are those of the UIDVALIDITY: that
// stays when a folder is renamed.
func (s *keptMail) Folders(ctx context.Context) (out []carrier.Folder, err error) {
	list, err := s.old.Mailboxes(ctx, s.then)
	for _, m := range list {
		f := carrier.Folder{Name: fmt.Sprintf("V%d", m.UIDValidity), Into: m.Name, Role: m.Role, Subscribed: m.Subscribed, Messages: int64(m.Messages)}
		s.boxes[f.Name] = m
		out = append(out, f)
	}
	return out, err
}

// what tells a message from all others of the account, in whatever mailbox it is and
// under whatever UID: one that is restored after it was deleted keeps it. The number of
// the email would do if accounts were not removed and made anew.
type what struct {
	email      uint64
	size, date int64
	id         string
}

func whatOf(p admind.Parcel) what { return what{p.Email, p.Size, p.Date.Unix(), p.MessageID} }

// here gives the messages that are still in a folder, or in the one that now has its
// name.
func (s *keptMail) here(ctx context.Context, box admind.Mailbox) (map[what]bool, error) {
	list, err := s.now.Mailboxes(ctx, s.address)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(list, func(m admind.Mailbox) bool { return m.UIDValidity == box.UIDValidity })
	if at < 0 {
		at = slices.IndexFunc(list, func(m admind.Mailbox) bool { return m.Name == box.Name })
	}
	if at < 0 {
		return nil, nil
	}
	found := map[what]bool{}
	return found, s.now.Listing(ctx, s.address, list[at].ID, func(p admind.Parcel) error {
		found[whatOf(p)] = true
		return nil
	})
}

// List is as of carrier.Source.
func (s *keptMail) List(ctx context.Context, f *carrier.Folder, each func([]carrier.Message) error, _ func(string, error)) error {
	box := s.boxes[f.Name]
	here, err := s.here(ctx, box)
	if err != nil {
		return err
	}
	gone := s.gone[box.ID]
	var list []carrier.Message
	err = s.old.Listing(ctx, s.then, box.ID, func(p admind.Parcel) error {
		uid, err := uidOf(p.ID)
		if err != nil || here[whatOf(p)] || gone.Contains(uid) || s.id != "" && p.MessageID != s.id {
			return err
		}
		list = append(list, carrier.Message{ID: p.ID, Flags: p.Flags, Date: p.Date, UIDL: p.UIDL, Size: p.Size})
		if len(list) == 500 {
			err = each(list)
			list = nil
		}
		return err
	})
	if err == nil && len(list) > 0 {
		err = each(list)
	}
	return err
}

func uidOf(id string) (mail.UID, error) {
	n, err := strconv.ParseUint(id, 10, 32)
	return mail.UID(n), err
}

// Fetch is as of carrier.Source.
func (s *keptMail) Fetch(ctx context.Context, f *carrier.Folder, list []carrier.Message, take func(*carrier.Message, io.Reader) error, _ func(string, error)) error {
	var set mail.UIDSet
	by := map[string]*carrier.Message{}
	for i := range list {
		uid, err := uidOf(list[i].ID)
		if err != nil {
			return err
		}
		set.Add(uid)
		by[list[i].ID] = &list[i]
	}
	return s.old.Messages(ctx, s.then, s.boxes[f.Name].ID, set, func(p admind.Parcel, r io.Reader) error { return take(by[p.ID], r) })
}
