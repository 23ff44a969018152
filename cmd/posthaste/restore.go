package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"posthaste/internal/agent/carrier"
	"posthaste/internal/base/mail"
	"posthaste/internal/service/admind"
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
has brought.`,
		Example: `  posthaste restore /backup/posthaste --data /var/lib/posthaste
  posthaste restore /backup/posthaste --account ada@example.org --folder Projects
  posthaste restore /backup/posthaste --account ada@example.org --message "<1234@example.org>"`,
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
			return t.restoreAccount(ctx, cl, &b, args[0], address, folders, id, quiet)
		})(cmd, args)
	}
	return c
}

func (t *tool) restoreAll(ctx context.Context, b *chosen, dir string) error {
	cfg, err := t.read()
	if err != nil {
		return err
	}
	r, name, m, err := b.open(ctx, t, dir)
	if err != nil {
		return err
	}
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
	if err := r.Restore(ctx, m, cfg.Data, showBytes("restoring "+name)); err != nil {
		return err
	}
	fmt.Printf("restored backup %s (%s) into %s; now run posthaste check, and start the server\n", name, size(m.Bytes()), cfg.Data)
	return nil
}

func (t *tool) restoreAccount(ctx context.Context, cl *admind.Client, b *chosen, dir, address string, folders []string, id string, quiet bool) error {
	if _, err := cl.Mailboxes(ctx, address); err != nil {
		return err
	}
	old, name, done, err := b.unpack(ctx, t, dir)
	if err != nil {
		return err
	}
	src := &keptMail{old: old, now: cl, address: address, id: id, boxes: map[string]admind.Mailbox{}}
	m := moveIn{quiet: quiet}
	m.im.Only = folders
	fmt.Printf("from backup %s:\n", name)
	return errors.Join(m.run(ctx, cl, src, address), done())
}

// keptMail is an account in a backup, as a source of mail.
type keptMail struct {
	old, now    *admind.Client
	address, id string
	boxes       map[string]admind.Mailbox
}

// Name is as of carrier.Source: the same for all backups, so that none brings what
// another has brought.
func (s *keptMail) Name() string { return "backup:" + s.address }

// Close is as of carrier.Source.
func (s *keptMail) Close() error { return nil }

// Folders is as of carrier.Source. Its names are those of the UIDVALIDITY: that
// stays when a folder is renamed.
func (s *keptMail) Folders(ctx context.Context) (out []carrier.Folder, err error) {
	list, err := s.old.Mailboxes(ctx, s.address)
	for _, m := range list {
		f := carrier.Folder{Name: fmt.Sprintf("V%d", m.UIDValidity), Into: m.Name, Role: m.Role, Subscribed: m.Subscribed, Messages: int64(m.Messages)}
		s.boxes[f.Name] = m
		out = append(out, f)
	}
	return out, err
}

// what is what tells a message from another that has its UID: an account that was
// removed and made anew within a second has the UIDVALIDITY of the old one.
type what struct {
	size, date int64
}

func whatOf(p admind.Parcel) what { return what{p.Size, p.Date.Unix()} }

// here gives the messages that are still where they were.
func (s *keptMail) here(ctx context.Context, validity uint32) (map[string]what, error) {
	list, err := s.now.Mailboxes(ctx, s.address)
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		if m.UIDValidity != validity {
			continue
		}
		found := map[string]what{}
		return found, s.now.Listing(ctx, s.address, m.ID, func(p admind.Parcel) error {
			found[p.ID] = whatOf(p)
			return nil
		})
	}
	return nil, nil
}

// List is as of carrier.Source.
func (s *keptMail) List(ctx context.Context, f *carrier.Folder, each func([]carrier.Message) error, _ func(string, error)) error {
	box := s.boxes[f.Name]
	here, err := s.here(ctx, box.UIDValidity)
	if err != nil {
		return err
	}
	var list []carrier.Message
	err = s.old.Listing(ctx, s.address, box.ID, func(p admind.Parcel) error {
		if at, ok := here[p.ID]; ok && at == whatOf(p) || s.id != "" && p.MessageID != s.id {
			return nil
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

// Fetch is as of carrier.Source.
func (s *keptMail) Fetch(ctx context.Context, f *carrier.Folder, list []carrier.Message, take func(*carrier.Message, io.Reader) error, _ func(string, error)) error {
	var set mail.UIDSet
	by := map[string]*carrier.Message{}
	for i := range list {
		uid, err := strconv.ParseUint(list[i].ID, 10, 32)
		if err != nil {
			return err
		}
		set.Add(mail.UID(uid))
		by[list[i].ID] = &list[i]
	}
	return s.old.Messages(ctx, s.address, s.boxes[f.Name].ID, set, func(p admind.Parcel, r io.Reader) error { return take(by[p.ID], r) })
}
