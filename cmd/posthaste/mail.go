package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
)

// each goes on after an error, and fails at the end.
func each(args []string, fn func(string) error) error {
	var failed error
	for _, a := range args {
		if err := fn(a); err != nil {
			fmt.Fprintf(os.Stderr, "posthaste: %s: %s\n", a, plainly(err.Error()))
			failed = errSaid
		}
	}
	return failed
}

func ago(t time.Time) string {
	d := time.Since(t)
	switch {
	case d < 0: // it is scheduled
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

func next(it admind.Item) string {
	switch {
	case it.Held:
		return "held"
	case it.Active:
		return "being sent"
	case time.Until(it.Next) <= 0:
		return "now"
	}
	return it.Next.Local().Format("Jan 2 15:04")
}

func sender(s string) string {
	if s == "" {
		return "<>"
	}
	return s
}

func reason(it admind.Item) string {
	if via := it.Via; via != "" {
		it.Via = ""
		return "(via " + via + ") " + reason(it)
	}
	if from := it.From; from != "" {
		it.From = ""
		return "(from " + from + ") " + reason(it)
	}
	switch {
	case it.Words != "":
		return it.Words
	case it.Remote != "":
		return it.Remote + ": " + it.Reason
	}
	return it.Reason
}

func (t *tool) why() *cobra.Command {
	var refused bool
	var since string
	c := &cobra.Command{
		Use: "why ID", Short: "Tell what happened to a message", GroupID: "mail", Args: cobra.ExactArgs(1),
		Long: `Tell the story of a message in sentences: who sent it, where it went, who
refused it and why, and what happens next.

The ID is the one in the reply to the sender ("OK, id ..."), in the Received
field of the message, in the log and in "posthaste queue list".

With --refused and an address: tell what mail to it was refused, and why.`,
		Example: `  posthaste why 06b9r1u2k4s8t0aa
  posthaste why --refused ada@example.org --since 7d`,
	}
	c.Flags().BoolVar(&refused, "refused", false, "tell what mail to an address was refused")
	c.Flags().StringVar(&since, "since", "1d", "how far back, with --refused: `12h`, 7d")
	c.RunE = t.with(func(ctx context.Context, c *admind.Client, args []string) error {
		if refused {
			return tellRefused(ctx, c, args[0], since)
		}
		s, err := c.Story(ctx, strings.ToLower(args[0]))
		if err != nil {
			return err
		}
		for _, l := range s.Lines {
			stdout.Println(plainly(l))
		}
		return nil
	})
	return c
}

func tellRefused(ctx context.Context, c *admind.Client, address, since string) error {
	var d config.Duration
	if err := d.UnmarshalText([]byte(since)); err != nil {
		return err
	}
	list, err := c.Refused(ctx, address, max(1, int(time.Duration(d)/time.Hour)))
	if err != nil {
		return err
	}
	if len(list) == 0 {
		stdout.Printf("No mail to %s was refused in the last %s.\n", address, since)
		return nil
	}
	all := 0
	for _, r := range list {
		all += r.Count
	}
	was := "messages to %s were"
	if all == 1 {
		was = "message to %s was"
	}
	stdout.Printf("%d "+was+" refused in the last %s:\n", all, address, since)
	for _, r := range list {
		later := ""
		if r.Later {
			later = "; the sender was asked to try again"
		}
		stdout.Printf("%d because %s%s. From %s; the last at %s (posthaste why %s).\n",
			r.Count, plain(r.Why), later, plain(strings.Join(r.Senders, ", ")), r.Last.Local().Format("2006-01-02 15:04"), r.ID)
	}
	return nil
}

func (t *tool) check() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Verify that nothing in the store is broken", GroupID: "mail", Args: cobra.NoArgs,
		Long: `Verify the invariants of the store: every counter, every reference, and that
every message can be read whole. It changes nothing, may run while the server
does, and ends with failure if something is wrong. It also tells how backups
stand, if the configuration asks for some, whether the disk is full, and whose mail
was stopped within a day, as it was far more than usual.`,
		RunE: t.with(func(ctx context.Context, c *admind.Client, _ []string) error {
			wrong := 0
			var notes []string
			show := term.IsTerminal(int(os.Stderr.Fd()))
			err := c.Check(ctx, func(f admind.Finding) {
				switch {
				case f.Wrong != "":
					wrong++
					stdout.Println(plainly(f.Wrong))
				case f.Note != "":
					notes = append(notes, f.Note)
				case show:
					fmt.Fprintf(os.Stderr, "\r%d of %d accounts ", f.Done, f.All)
				}
			})
			if show {
				fmt.Fprint(os.Stderr, "\r\033[K")
			}
			for _, n := range notes {
				stdout.Println(n)
			}
			switch {
			case err != nil:
				return err
			case wrong > 0:
				fmt.Fprintf(os.Stderr, "posthaste: %d things are wrong\n", wrong)
				return errSaid
			}
			stdout.Println("Everything is as it should be.")
			if well, err := tellBackups(ctx, c); err != nil || !well {
				return errors.Join(err, errSaid)
			}
			return nil
		}),
	}
}

func (t *tool) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(*cobra.Command, []string) { stdout.Println("posthaste", version) },
	}
}
