package main

import (
	"context"

	"github.com/spf13/cobra"

	"posthaste/internal/service/admind"
)

func (t *tool) accountCapability() *cobra.Command {
	c := &cobra.Command{
		Use: "capability", Short: "What IMAP does not offer to an account",
		Long: `Switch off a capability of IMAP for one account, where a mail program gets it
wrong. From the next login on the account is not offered it, and its commands do
not exist. The name of a family is all of it: THREAD is every THREAD=...`,
		Example: `  posthaste account capability off ada@example.org UIDONLY
  posthaste account capability on ada@example.org UIDONLY`,
	}
	c.AddCommand(
		&cobra.Command{
			Use: "list ADDRESS", Short: "List what is switched off", Args: cobra.ExactArgs(1),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				list, err := c.Withheld(ctx, args[0])
				if err == nil && len(list) == 0 {
					stdout.Println("Nothing is switched off.")
				}
				for _, w := range list {
					stdout.Println(w.Name)
				}
				return err
			}),
		},
		&cobra.Command{
			Use: "off ADDRESS CAPABILITY", Short: "Switch a capability off", Args: cobra.ExactArgs(2),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				return c.SwitchOff(ctx, args[0], args[1])
			}),
		},
		&cobra.Command{
			Use: "on ADDRESS CAPABILITY", Short: "Switch a capability on again", Args: cobra.ExactArgs(2),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				return c.SwitchOn(ctx, args[0], args[1])
			}),
		})
	return c
}
