package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"posthaste/internal/service/admind"
)

func (t *tool) queue() *cobra.Command {
	c := &cobra.Command{
		Use: "queue", Short: "Mail that waits to be sent", GroupID: "mail", Args: cobra.NoArgs,
		Long: `Tell what waits to be sent: how much for which destination, how old it is, and
why it waits. The commands below act on single messages, by the ID that "queue
list" shows, or on groups: --to a domain, --from a sender, --why a reason.`,
		Example: `  posthaste queue
  posthaste queue retry --to example.com
  posthaste queue hold --from @example.org
  posthaste queue bounce --why spamhaus`,
		RunE: t.with(func(ctx context.Context, c *admind.Client, _ []string) error {
			list, err := c.QueueSummary(ctx)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				fmt.Println("Nothing waits.")
				return nil
			}
			rows := [][]string{{"TO", "WAITING", "<1h", "<1d", "OLDER", "OLDEST", "NEXT TRY", "REASON", ""}}
			for _, h := range list {
				to := h.To
				if to == "" {
					to = "(others)"
				}
				rows = append(rows, []string{
					to, strconv.Itoa(h.Messages), strconv.Itoa(h.Hour), strconv.Itoa(h.Day), strconv.Itoa(h.Older), ago(h.Oldest),
					next(admind.Item{Next: h.Next, Held: h.Why == "held"}), h.Why, h.Words,
				})
			}
			table(rows)
			return nil
		}),
	}
	c.AddCommand(t.queueList(),
		t.queueAction("retry", "Try again now"),
		t.queueAction("hold", "Hold back until it is released"),
		t.queueAction("release", "Let go what is held"),
		t.queueAction("bounce", "Return to the senders, who are told"),
		t.queueAction("drop", "Remove from the queue; the senders are not told"))
	return c
}

func (t *tool) queueList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List every message that waits, and why", Args: cobra.NoArgs,
		RunE: t.with(func(ctx context.Context, c *admind.Client, _ []string) error {
			list, err := c.Queue(ctx)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				fmt.Println("Nothing waits.")
				return nil
			}
			rows := [][]string{{"ID", "AGE", "NEXT TRY", "FROM", "TO", "WHY"}}
			for _, it := range list {
				rows = append(rows, []string{it.ID, ago(it.Queued), next(it), sender(it.Sender), strings.Join(it.Recipients, ","), reason(it)})
			}
			table(rows)
			return nil
		}),
	}
}

func (t *tool) queueAction(action, short string) *cobra.Command {
	var g admind.Group
	c := &cobra.Command{
		Use: action + " [ID...]", Short: short,
		Example: "  posthaste queue " + action + " 06b9r1u2k4s8t0aa\n  posthaste queue " + action + " --to example.com --why greylisted",
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			switch {
			case len(args) > 0 && g != (admind.Group{}):
				return errors.New("give IDs or a group, not both")
			case len(args) > 0:
				return each(args, func(id string) error { _, err := c.ChangeQueued(ctx, action, strings.ToLower(id)); return err })
			}
			n, err := c.ChangeGroup(ctx, action, g)
			if err == nil {
				fmt.Printf("%d\n", n)
			}
			return err
		}),
	}
	c.Flags().StringVar(&g.To, "to", "", "what is for this `domain`")
	c.Flags().StringVar(&g.From, "from", "", "what is from this `sender`: an address, @domain, or <>")
	c.Flags().StringVar(&g.Why, "why", "", "what waits for this `reason`, as \"posthaste queue\" shows it")
	c.Flags().BoolVar(&g.All, "all", false, "everything")
	return c
}
