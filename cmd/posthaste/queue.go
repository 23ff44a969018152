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
				stdout.Println("Nothing waits.")
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
		t.queueReroute(),
		t.queueAction("bounce", "Return to the senders, who are told"),
		t.queueAction("drop", "Remove from the queue; the senders are not told"))
	return c
}

func (t *tool) queueList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List every message that waits, and why", Args: cobra.NoArgs,
		Long: `List every message that waits, and why. Of more than a thousand each thousand is
listed by itself, the oldest first; "posthaste queue" tells of them in few lines.

GIVEN UP is when it goes back to its sender, if all fails. DUE is when its sender
asked for it to be there (DELIVERBY): then it "comes back", or he is "told".
PRIORITY is from -9 to 9, as the sender asked (MT-PRIORITY); empty is usual mail.`,
		RunE: t.with(func(ctx context.Context, c *admind.Client, _ []string) error {
			rows := [][]string{{"ID", "AGE", "NEXT TRY", "GIVEN UP", "DUE", "PRIORITY", "FROM", "TO", "WHY"}}
			some := false
			err := c.Queue(ctx, func(list []admind.Item) {
				for _, it := range list {
					rows = append(rows, []string{it.ID, ago(it.Queued), next(it), givenUp(it), due(it), priority(it), sender(it.Sender), strings.Join(it.Recipients, ","), reason(it)})
				}
				table(rows)
				some, rows = true, rows[:0]
			})
			if err == nil && !some {
				stdout.Println("Nothing waits.")
			}
			return err
		}),
	}
}

func givenUp(it admind.Item) string {
	if it.Held {
		return "-"
	}
	return it.Until.Local().Format("Jan 2 15:04")
}

func due(it admind.Item) string {
	switch {
	case it.By.IsZero():
		return ""
	case it.Return:
		return it.By.Local().Format("Jan 2 15:04") + " or comes back"
	}
	return it.By.Local().Format("Jan 2 15:04") + " or told"
}

func priority(it admind.Item) string {
	if it.Priority == 0 {
		return ""
	}
	return fmt.Sprintf("%+d", it.Priority)
}

func (t *tool) queueAction(action, short string) *cobra.Command {
	c := &cobra.Command{
		Use: action + " [ID...]", Short: short,
		Example: "  posthaste queue " + action + " 06b9r1u2k4s8t0aa\n  posthaste queue " + action + " --to example.com --why greylisted",
	}
	t.onQueued(c, done[action],
		func(ctx context.Context, c *admind.Client, id string) error {
			_, err := c.ChangeQueued(ctx, action, id)
			return err
		},
		func(ctx context.Context, c *admind.Client, g admind.Group) (int, error) {
			return c.ChangeGroup(ctx, action, g)
		})
	return c
}

func (t *tool) queueReroute() *cobra.Command {
	var via string
	c := &cobra.Command{
		Use: "reroute [ID...] --via WAY", Short: "Have mail go another way from now on",
		Long: `Have what waits go another way from now on, and try it at once, if it is not held.
The way is

  host:port   to this server, with TLS if it knows it
  a name      by the [[route]] of the configuration that has it: that may log in,
              or ask for TLS
  mx          to the servers that the domain itself names, whatever the routes say
  default     as all other mail: this undoes a reroute

It is kept with the message; mail that comes later is not concerned.`,
		Example: `  posthaste queue reroute 06b9r1u2k4s8t0aa --via backup.example.net:25
  posthaste queue reroute --to example.com --via provider
  posthaste queue reroute --all --via default`,
	}
	c.Flags().StringVar(&via, "via", "", "the `way`: host:port, the name of a route, mx, or default")
	c.MarkFlagRequired("via")
	t.onQueued(c, "Sent that way from now on: %d.",
		func(ctx context.Context, c *admind.Client, id string) error {
			_, err := c.Reroute(ctx, id, via)
			return err
		},
		func(ctx context.Context, c *admind.Client, g admind.Group) (int, error) {
			return c.RerouteGroup(ctx, g, via)
		})
	return c
}

// done says how many of a group an action was for. What goes to several domains waits,
// and is counted, for each.
var done = map[string]string{
	"retry":   "Tried now: %d.",
	"hold":    "Held: %d.",
	"release": "Let go: %d.",
	"bounce":  "Returned to their senders: %d.",
	"drop":    "Removed: %d.",
}

// onQueued makes a command of what is done to a message, and of what is done to a
// group, of how many done tells.
func (t *tool) onQueued(c *cobra.Command, done string, one func(context.Context, *admind.Client, string) error, many func(context.Context, *admind.Client, admind.Group) (int, error)) {
	var g admind.Group
	c.RunE = t.with(func(ctx context.Context, c *admind.Client, args []string) error {
		switch {
		case len(args) > 0 && g != (admind.Group{}):
			return errors.New("give IDs or a group, not both")
		case len(args) > 0:
			return each(args, func(id string) error { return one(ctx, c, strings.ToLower(id)) })
		}
		if g == (admind.Group{}) {
			return errors.New("say which: by their IDs, by --to, --from or --why, or --all")
		}
		n, err := many(ctx, c, g)
		switch {
		case err != nil:
		case n == 0:
			stdout.Println("Nothing of that waits.")
		default:
			stdout.Printf(done+"\n", n)
		}
		return err
	})
	c.Flags().StringVar(&g.To, "to", "", "what is for this `domain`")
	c.Flags().StringVar(&g.From, "from", "", "what is from this `sender`: an address, @domain, or <>")
	c.Flags().StringVar(&g.Why, "why", "", "what waits for this `reason`, as \"posthaste queue\" shows it")
	c.Flags().BoolVar(&g.All, "all", false, "everything")
}
