package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"posthaste/internal/service/admind"
)

func (t *tool) alias() *cobra.Command {
	c := &cobra.Command{Use: "alias", Short: "Addresses whose mail goes to others", GroupID: "people"}
	c.AddCommand(
		&cobra.Command{
			Use: "add ADDRESS TARGET...", Short: "Send an address's mail to one or more others, here or elsewhere", Args: cobra.MinimumNArgs(2),
			Example: `  posthaste alias add info@example.org ada@example.org bob@example.org
  posthaste alias add @example.org ada@example.org     all that nobody else takes`,
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				if err := c.AddAlias(ctx, admind.Alias{Address: args[0], Targets: args[1:]}); err != nil {
					return err
				}
				return warnOfNobody(ctx, c, args[0])
			}),
		},
		&cobra.Command{
			Use: "set ADDRESS TARGET...", Short: "Send an alias's mail to others than before", Args: cobra.MinimumNArgs(2),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				if err := c.SetAlias(ctx, args[0], args[1:]); err != nil {
					return err
				}
				return warnOfNobody(ctx, c, args[0])
			}),
		},
		&cobra.Command{
			Use: "list", Short: "List all aliases", Args: cobra.NoArgs,
			RunE: t.with(func(ctx context.Context, c *admind.Client, _ []string) error {
				list, err := c.Aliases(ctx)
				for _, a := range list {
					for i := range a.Targets {
						a.Targets[i] = shown(a.Targets[i])
					}
					line := shown(a.Address) + " → " + strings.Join(a.Targets, ", ")
					if a.Login {
						line += "  (renamed: it still logs in)"
					}
					stdout.Println(line)
				}
				return err
			}),
		},
		&cobra.Command{
			Use: "remove ADDRESS", Short: "Remove an alias", Args: cobra.ExactArgs(1),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				return c.RemoveAlias(ctx, args[0])
			}),
		})
	return c
}

// warnOfNobody says so if an alias leads to nobody. It is there all the same: whom it
// leads to may be added later.
func warnOfNobody(ctx context.Context, c *admind.Client, address string) error {
	if strings.HasPrefix(address, "@") {
		return nil
	}
	e, err := c.Explain(ctx, address)
	if err == nil && e.Refused {
		fmt.Fprintf(os.Stderr, "For now nobody gets mail to %s, and it is refused: see \"posthaste address explain %s\".\n", address, address)
	}
	return err
}

func (t *tool) address() *cobra.Command {
	c := &cobra.Command{Use: "address", Short: "Where mail to an address goes", GroupID: "people"}
	c.AddCommand(&cobra.Command{
		Use: "explain ADDRESS", Short: "Tell where mail to an address goes, and why", Args: cobra.ExactArgs(1),
		Long: `Tell in sentences where mail to an address goes: to whom, over which aliases, and
by which rule. Nothing is sent.`,
		Example: "  posthaste address explain info+shop@example.org",
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			e, err := c.Explain(ctx, args[0])
			for _, l := range e.Lines {
				stdout.Println(l)
			}
			return err
		}),
	})
	return c
}
