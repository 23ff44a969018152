package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"posthaste/internal/service/admind"
)

func (t *tool) accountLimit() *cobra.Command {
	var release bool
	c := &cobra.Command{
		Use: "limit [ADDRESS]", Short: "To how many people accounts may write within a day", Args: cobra.MaximumNArgs(1),
		Long: `Show to how many people elsewhere accounts have written within a day, what the
busiest of their last 30 days was, and to how many they may write.

The limit is three times the busiest day, or usual_recipients_per_day of [limits]
if that is more, but never above recipients_per_day. What is more is refused for
the moment: its sender reads why, and the log and "posthaste check" tell you.
Somebody may have found out the password: ask, and have it changed.

If it is right, --release lets the account write to recipients_per_day until the
same time tomorrow. What it sends then is learned.`,
		Example: `  posthaste account limit
  posthaste account limit ada@example.org
  posthaste account limit ada@example.org --release`,
	}
	c.Flags().BoolVar(&release, "release", false, "let the account write to more people than usual, for a day")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		address := ""
		if len(args) > 0 {
			address = args[0]
		}
		if release {
			if address == "" {
				return errors.New("name the account to release")
			}
			if err := cl.ReleaseLimit(ctx, address); err != nil {
				return err
			}
		}
		list, err := cl.Limits(ctx, address)
		if err != nil {
			return err
		}
		rows := [][]string{{"ADDRESS", "WITHIN A DAY", "BUSIEST DAY", "LIMIT", ""}}
		for _, l := range list {
			limit := fmt.Sprint(l.Limit)
			if l.Limit == 0 {
				limit = "none"
			}
			rows = append(rows, []string{shown(l.Address), fmt.Sprint(l.Sent), fmt.Sprint(l.Busiest), limit, standing(l)})
		}
		table(rows)
		return nil
	})
	return c
}

// standing tells what is special about a limit.
func standing(l admind.Limit) string {
	const minute = "2006-01-02 15:04"
	switch {
	case !l.Stopped.IsZero():
		return fmt.Sprintf("stopped at %s: it would have been %d", l.Stopped.Local().Format(minute), l.Wanted)
	case !l.Released.IsZero():
		return "released until " + l.Released.Local().Format(minute)
	case l.Usual:
		return "learned"
	}
	return ""
}

func (t *tool) accountDisable() *cobra.Command {
	return &cobra.Command{
		Use: "disable ADDRESS...", Short: "Let nobody log in to an account; mail still comes in", Args: cobra.MinimumNArgs(1),
		Long: `Let nobody log in to an account, with whatever password, token or certificate.
Sessions that are open end at once. Mail still comes in, is sent on if that was
asked for, and waits in the mailbox; nothing is deleted. What the account has sent
and still waits is not stopped: see "posthaste queue hold --from ADDRESS".`,
		Example: `  posthaste account disable ada@example.org
  posthaste queue hold --from ada@example.org
  posthaste account enable ada@example.org`,
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			return each(args, func(a string) error {
				if err := c.SetDisabled(ctx, a, true); err != nil {
					return err
				}
				ties, err := c.Ties(ctx, a)
				tellWaiting(ties, "hold", a)
				return err
			})
		}),
	}
}

func (t *tool) accountEnable() *cobra.Command {
	return &cobra.Command{
		Use: "enable ADDRESS...", Short: "Let people log in again to an account that was disabled", Args: cobra.MinimumNArgs(1),
		Long:    `Let people log in again, with the passwords that they had.`,
		Example: `  posthaste account enable ada@example.org`,
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			return each(args, func(a string) error { return c.SetDisabled(ctx, a, false) })
		}),
	}
}
