package main

import (
	"context"

	"github.com/spf13/cobra"

	"posthaste/internal/service/admind"
)

func (t *tool) accountRename() *cobra.Command {
	var noAlias bool
	c := &cobra.Command{
		Use: "rename OLD NEW", Short: "Give an account, or a shared folder, another address", Args: cobra.ExactArgs(2),
		Long: `Give an account, or a shared folder, another address, in its domain or in another one
here. All that it has goes along: mail, passwords, rights that it gives and has, mail
collected elsewhere, limits. Mail programs need not load anything again. Aliases and
forwards of others that lead to the old address lead to the new one from then on.

The old address goes on leading to the account, as an alias, and programs can go on
logging in with it until they are told the new one. When nobody needs it any longer,
"posthaste alias remove OLD" takes it away; with --no-alias it is gone at once, and
free for somebody else. An alias that leads to nobody but the account gives way, so
the same command with the addresses exchanged undoes it.

Programs that are logged in are let go, and come again by themselves.`,
		Example: `  posthaste account rename ada@example.org ada.lovelace@example.org
  posthaste account rename team@example.org team@example.net --no-alias`,
	}
	c.Flags().BoolVar(&noAlias, "no-alias", false, "do not keep the old address as an alias")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		out, err := cl.RenameAccount(ctx, args[0], admind.Renaming{To: args[1], NoAlias: noAlias})
		if err != nil {
			return err
		}
		stdout.Printf("%s is %s now.\n", shown(args[0]), shown(out.To))
		switch {
		case out.Led == 1:
			stdout.Println("1 alias or forward that led to the old address leads to the new one.")
		case out.Led > 1:
			stdout.Printf("%d aliases and forwards that led to the old address lead to the new one.\n", out.Led)
		}
		switch {
		case canonical(args[0]) == canonical(args[1]):
		case noAlias:
			stdout.Printf("%s leads there no longer, and nobody logs in with it.\n", shown(args[0]))
		default:
			stdout.Printf("Mail to %s still gets there, and programs may still log in with it, until \"posthaste alias remove %s\".\n", shown(args[0]), args[0])
		}
		return nil
	})
	return c
}
