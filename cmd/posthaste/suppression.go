package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"posthaste/internal/service/admind"
)

func (t *tool) suppression() *cobra.Command {
	c := &cobra.Command{
		Use: "suppression", Short: "Addresses elsewhere that do not exist, to which nothing is sent for a while", GroupID: "mail",
		Long: `Addresses elsewhere to which nothing is sent for a week: several messages to them
have come back because the other server says that there is no such address. Who
writes to them hears so at once. The configuration's queue.suppress_after says
after how many messages; 0 switches this off.`,
	}
	c.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List them", Args: cobra.NoArgs,
			RunE: t.with(func(ctx context.Context, c *admind.Client, _ []string) error {
				list, err := c.Suppressed(ctx)
				if err != nil {
					return err
				}
				if len(list) == 0 {
					stdout.Println("None.")
					return nil
				}
				rows := [][]string{{"ADDRESS", "CAME BACK", "UNTIL", "BECAUSE"}}
				for _, s := range list {
					rows = append(rows, []string{s.Address, strconv.Itoa(s.Count) + " times", s.Until.Local().Format("Jan 2 15:04"), s.Text})
				}
				table(rows)
				return nil
			}),
		},
		&cobra.Command{
			Use: "remove ADDRESS", Short: "Let mail go to an address again", Args: cobra.ExactArgs(1),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				return c.Unsuppress(ctx, args[0])
			}),
		})
	return c
}
