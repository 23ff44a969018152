package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"posthaste/internal/base/mail"
	"posthaste/internal/service/admind"
)

func (t *tool) accountRemove() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "remove ADDRESS", Short: "Remove an account, or a shared folder, and all its mail", Args: cobra.ExactArgs(1),
		Long: `Remove an account, or a shared folder, with all that is its own: mail and what is
kept of deleted mail, passwords, rights that it gives and has, addresses that it had
before it was renamed, accounts elsewhere that are collected for it. Sessions end, and
mail to it is refused.

This cannot be undone. What backups have of it stays there as long as they do: from
one, "account add" and "restore --account" bring the mail back. To be able to go back,
"posthaste account disable" it instead, or "posthaste export" its mail before.

What it has sent and still waits goes on (see "posthaste queue drop --from ADDRESS"),
and what is waiting for it comes back to its senders. The log, and the stories of
messages that "posthaste why" tells, keep the address for as long as they are kept.`,
		Example: `  posthaste account remove ada@example.org
  posthaste account remove ada@example.org --yes
  posthaste queue drop --from ada@example.org`,
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		ties, err := cl.Ties(ctx, args[0])
		if err != nil {
			return err
		}
		if !yes {
			if err := sureToRemove(ctx, cl, args[0]); err != nil {
				return err
			}
		}
		if err := cl.RemoveAccount(ctx, args[0]); err != nil {
			return err
		}
		stdout.Println("removed", shown(args[0]))
		for _, a := range ties.Aliases {
			fmt.Fprintf(os.Stderr, "The alias %s still leads there: see \"posthaste alias set\" and \"alias remove\".\n", shown(a))
		}
		for _, a := range ties.Forwards {
			fmt.Fprintf(os.Stderr, "%s still has its mail sent on there: see \"posthaste account forward\".\n", shown(a))
		}
		tellWaiting(ties, "drop", args[0])
		return nil
	})
	return c
}

// sureToRemove asks whether an account is to go.
func sureToRemove(ctx context.Context, cl *admind.Client, address string) error {
	all, err := cl.Accounts(ctx)
	if err != nil {
		return err
	}
	what := "all mail"
	if i := slices.IndexFunc(all, func(a admind.Account) bool { return canonical(a.Address) == canonical(address) }); i >= 0 {
		what = fmt.Sprintf("all mail (%s, %s)", mail.Many(int(all[i].Messages), "message"), mail.Size(all[i].Used))
	}
	line, err := askLine(ctx, fmt.Sprintf("This deletes %s of %s for good. Type the address to go on: ", what, address))
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("nothing was removed, as there is nobody to ask: say --yes if you mean it")
	case err != nil, line != address:
		return errors.New("nothing was removed")
	}
	return nil
}

// tellWaiting tells of mail that an account has sent and that still waits, and what can be
// done with it.
func tellWaiting(ties admind.Ties, action, address string) {
	if ties.Waiting > 0 {
		fmt.Fprintf(os.Stderr, "%s from %s in the queue: unless you say \"posthaste queue %s --from %s\", it goes on.\n", mail.Many(ties.Waiting, "message"), shown(address), action, address)
	}
}

func (t *tool) domainRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove DOMAIN", Short: "Remove a domain that has no accounts and aliases left", Args: cobra.ExactArgs(1),
		Long: `Remove a domain that has no accounts and aliases left, or one that is another name
of a domain. Mail to it is refused from then on. Its keys, with which its mail was
signed, are removed too: if the domain is added again it has new ones, and needs new
records in the DNS.`,
		Example: "  posthaste domain remove example.net",
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			if err := c.RemoveDomain(ctx, args[0]); err != nil {
				return err
			}
			stdout.Printf("removed %s; take its records out of the DNS, above all MX: what is still sent to it is refused.\n", args[0])
			return nil
		}),
	}
}
