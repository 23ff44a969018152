package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"posthaste/internal/service/admind"
)

func (t *tool) accountForward() *cobra.Command {
	c := &cobra.Command{
		Use: "forward", Short: "Send an account's mail on to other addresses",
		Long: `Send an account's mail on to other addresses, here or elsewhere.

The message goes on as it came, byte for byte, so that the signature of its sender
stays good (DKIM). It leaves with a return address of ours, so that the next
server sees that we may send it (SPF), and failures still reach the sender (SRS).
We seal what we found out about it (ARC). What looks like junk stays here, and
what comes back to us is not sent on again.`,
	}
	c.AddCommand(t.forwardAdd(),
		&cobra.Command{
			Use: "show ADDRESS", Short: "Show where an account's mail is sent on to", Args: cobra.ExactArgs(1),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				f, err := c.Forward(ctx, args[0])
				if err == nil {
					stdout.Println(forwardWords(args[0], f))
				}
				return err
			}),
		},
		&cobra.Command{
			Use: "remove ADDRESS [TARGET...]", Short: "Send it on no longer, to some or to all", Args: cobra.MinimumNArgs(1),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				f, err := c.Forward(ctx, args[0])
				if err != nil {
					return err
				}
				for _, a := range args[1:] {
					n := len(f.To)
					if f.To = slices.DeleteFunc(f.To, func(s string) bool { return strings.EqualFold(s, a) }); len(f.To) == n {
						return fmt.Errorf("it is not sent on to %s", a)
					}
				}
				if len(args) == 1 || len(f.To) == 0 {
					return c.ClearForward(ctx, args[0])
				}
				f.Force = true // less of what is there
				_, err = c.SetForward(ctx, args[0], f)
				return err
			}),
		})
	return c
}

func forwardWords(address string, f admind.Forward) string {
	switch {
	case len(f.To) == 0:
		return "Mail to " + address + " is not sent on."
	case f.Keep:
		return "Mail to " + address + " is kept, and sent on to " + strings.Join(f.To, ", ") + "."
	}
	return "Mail to " + address + " is sent on to " + strings.Join(f.To, ", ") + ", and not kept."
}

func (t *tool) forwardAdd() *cobra.Command {
	var leave, force bool
	c := &cobra.Command{
		Use: "add ADDRESS TARGET...", Short: "Send an account's mail on", Args: cobra.MinimumNArgs(2),
		Long: `Send an account's mail on to further addresses. The account keeps its mail too,
unless --no-keep is given.

If mail that has come recently shows that the next server would not take some of
it from us, that is told, and nothing is saved without --force.`,
		Example: "  posthaste account forward add ada@example.org ada@provider.example",
	}
	c.Flags().BoolVar(&leave, "no-keep", false, "the account itself does not get the mail any more")
	c.Flags().BoolVar(&force, "force", false, "save it in spite of warnings")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		f, err := cl.Forward(ctx, args[0])
		if err != nil {
			return err
		}
		f.Keep, f.Force = !leave, force
		for _, a := range args[1:] {
			if !slices.ContainsFunc(f.To, func(s string) bool { return strings.EqualFold(s, a) }) {
				f.To = append(f.To, a)
			}
		}
		f, err = cl.SetForward(ctx, args[0], f)
		if err != nil {
			return err
		}
		for _, w := range f.Warnings {
			fmt.Fprintln(os.Stderr, w)
		}
		if len(f.Warnings) > 0 && !force {
			return errors.New("nothing was saved; --force saves it in spite of this")
		}
		stdout.Println(forwardWords(args[0], f))
		return nil
	})
	return c
}
