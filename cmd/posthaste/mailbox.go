package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"posthaste/internal/agent/owner"
	"posthaste/internal/base/mail"
	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
)

func (t *tool) mailbox() *cobra.Command {
	c := &cobra.Command{Use: "mailbox", Short: "What is in people's mailboxes, and what was", GroupID: "mail"}
	deleted := &cobra.Command{
		Use: "deleted", Short: "Deleted mail that can still be restored",
		Long: `Mail that was deleted for good is kept out of sight for some time ([deleted] in
the configuration): what was expunged over IMAP, deleted over POP3, removed by
a POP3 policy, or in a mailbox that was deleted. It does not count as use.`,
	}
	deleted.AddCommand(t.deletedList(), t.deletedRestore())
	c.AddCommand(deleted, t.mailboxSeen())
	return c
}

// seenModes explains own and common.
const seenModes = `Where it is "own", mail is read for each reader when they have read it; where it is
"common", it is read for all when one has read it. It is own where nobody says
otherwise, but common in mailboxes that were shared before there was a choice.
From own to common, what the owner has read is read (in a shared folder, what
anybody has read); from common to own, everybody begins with what was read.

In a mail program that knows IMAP's METADATA it is the entry
/shared/vendor/posthaste/seen; who has the right "a" may change it.`

func (t *tool) mailboxSeen() *cobra.Command {
	return &cobra.Command{
		Use: "seen ADDRESS MAILBOX [own|common]", Short: "Whose it is that mail is read, in a mailbox that somebody shares", Args: cobra.RangeArgs(2, 3),
		Long: "Show or say whose it is that mail is read, in a mailbox that its owner shares with\nothers.\n\n" + seenModes,
		Example: `  posthaste mailbox seen ada@example.org INBOX
  posthaste mailbox seen ada@example.org Projects/Bridge common`,
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			if len(args) == 2 {
				return showSeenMode(ctx, c, args[0], args[1])
			}
			return c.SetSeenMode(ctx, args[0], admind.SeenMode{Mailbox: args[1], Mode: args[2]})
		}),
	}
}

func showSeenMode(ctx context.Context, c *admind.Client, address, mailbox string) error {
	mode, err := c.SeenMode(ctx, address, mailbox)
	if err == nil {
		stdout.Println(mode)
	}
	return err
}

// A filter is the flags that say which deleted mail is meant.
type filter struct{ mailbox, since, at string }

func (f *filter) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.mailbox, "mailbox", "", "only what was in the mailbox of this `name`")
	c.Flags().StringVar(&f.since, "since", "", "only what was deleted in or from this `time`, such as 2h, 7d or 2026-11-20T10:00")
	c.Flags().StringVar(&f.at, "at", "", "only what was there at this `time` and was deleted after it")
}

func (f *filter) request() (owner.DeletedFilter, error) {
	out := owner.DeletedFilter{Mailbox: f.mailbox}
	if f.since != "" {
		var err error
		if out.Since, err = parseSince(f.since); err != nil {
			return out, err
		}
	}
	if f.at != "" {
		var err error
		if out.There, err = parseMoment(f.at); err != nil {
			return out, err
		}
	}
	return out, nil
}

// parseSince reads a time span that ends now, or a time.
func parseSince(s string) (time.Time, error) {
	var d config.Duration
	if err := d.UnmarshalText([]byte(s)); err == nil {
		return time.Now().Add(-time.Duration(d)), nil
	}
	t, err := parseMoment(s)
	if err != nil {
		return t, fmt.Errorf("%q is no time span, such as 2h or 7d, and no time, such as 2026-11-20T10:00", s)
	}
	return t, nil
}

func (t *tool) deletedList() *cobra.Command {
	var f filter
	c := &cobra.Command{
		Use: "list ADDRESS", Short: "List deleted mail, what went last first", Args: cobra.ExactArgs(1),
		Example: "  posthaste mailbox deleted list ada@example.org --since 2d",
	}
	f.flags(c)
	c.RunE = t.with(func(ctx context.Context, c *admind.Client, args []string) error {
		req, err := f.request()
		if err != nil {
			return err
		}
		list, err := c.Deleted(ctx, args[0], req)
		if err != nil {
			return err
		}
		if len(list.Messages) == 0 {
			stdout.Println("No deleted mail.")
			return nil
		}
		rows := [][]string{{"ID", "DELETED", "MAILBOX", "SIZE", "FROM", "SUBJECT"}}
		for _, m := range list.Messages {
			rows = append(rows, []string{m.ID, m.Deleted.Local().Format("2006-01-02 15:04"), m.Mailbox, mail.Size(m.Size), m.From, m.Subject})
		}
		table(rows)
		if list.More {
			stdout.Println("... and more; say --mailbox, --since or --at to see others.")
		}
		stdout.Printf("All deleted mail of the account takes %s.\n", mail.Size(list.Bytes))
		return nil
	})
	return c
}

func (t *tool) deletedRestore() *cobra.Command {
	var f filter
	var all bool
	c := &cobra.Command{
		Use: "restore ADDRESS [ID...]", Short: "Put deleted mail back where it was", Args: cobra.MinimumNArgs(1),
		Long: `Put deleted mail back into its mailbox, which is made again if it is gone. Name
the messages by the IDs that list shows, or say --all, with --mailbox, --since and
--at if you like. To have an account as it was at some time, see also "posthaste
restore --at": a backup may know of mail that is no longer kept here. What a restore
has brought into the same mailbox comes back a second time only if it is named.`,
		Example: `  posthaste mailbox deleted restore ada@example.org 1.2045 1.2046
  posthaste mailbox deleted restore ada@example.org --all --mailbox Projects
  posthaste mailbox deleted restore ada@example.org --all --at 2026-11-20T10:00`,
	}
	f.flags(c)
	c.Flags().BoolVar(&all, "all", false, "all that --mailbox, --since and --at let through")
	c.RunE = t.with(func(ctx context.Context, c *admind.Client, args []string) error {
		req, err := f.request()
		if err != nil {
			return err
		}
		if req.IDs = args[1:]; all == (len(req.IDs) > 0) {
			return errors.New("name messages by their IDs, or say --all")
		}
		done, err := c.Restore(ctx, args[0], req)
		if err != nil {
			return err
		}
		stdout.Printf("restored %s\n", mail.Many(done.Messages, "message"))
		if done.Left > 0 {
			stdout.Printf("%s not: a restore from a backup has brought the same to the same mailbox. By its ID each can be restored nevertheless.\n", mail.Many(done.Left, "message"))
		}
		return nil
	})
	return c
}
