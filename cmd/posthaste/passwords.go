package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"posthaste/internal/service/admind"
)

func (t *tool) accountPassword() *cobra.Command {
	var stdin bool
	c := &cobra.Command{
		Use: "password ADDRESS", Short: "Set an account's password, or look after its app passwords", Args: cobra.ExactArgs(1),
		Long: `Set an account's own password. Sessions that were opened with the old one end.

App passwords are further passwords of the same account, one for each device or
program. The server makes them and shows each once. One can be for some
protocols only, and can be taken away without a change for the others: its sessions
end then.`,
		Example: `  posthaste account password ada@example.org
  posthaste account password add ada@example.org scanner --protocols submission
  posthaste account password remove ada@example.org scanner`,
	}
	c.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		pass, err := password(ctx, stdin)
		if err != nil {
			return err
		}
		return cl.SetPassword(ctx, args[0], pass)
	})
	c.AddCommand(t.appPasswordAdd(),
		&cobra.Command{
			Use: "list ADDRESS", Short: "List an account's app passwords", Args: cobra.ExactArgs(1),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				list, err := c.AppPasswords(ctx, args[0])
				if err != nil {
					return err
				}
				if len(list) == 0 {
					stdout.Println("No app passwords.")
					return nil
				}
				rows := [][]string{{"NAME", "FOR", "SINCE"}}
				for _, p := range list {
					if p.APOP {
						p.Protocols += " (APOP only)"
					}
					rows = append(rows, []string{p.Name, p.Protocols, p.Created.Local().Format("2006-01-02 15:04")})
				}
				table(rows)
				return nil
			}),
		},
		&cobra.Command{
			Use: "remove ADDRESS NAME", Short: "Take an app password away", Args: cobra.ExactArgs(2),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				return c.RemoveAppPassword(ctx, args[0], args[1])
			}),
		})
	return c
}

func (t *tool) appPasswordAdd() *cobra.Command {
	var protocols []string
	var apop bool
	c := &cobra.Command{
		Use: "add ADDRESS NAME", Short: "Make a password for one device or program, and show it once", Args: cobra.ExactArgs(2),
		Long: `Make a password for one device or program, and show it once.

With --apop it is for a program that can do nothing better than APOP: it opens the
account over POP3 by APOP, and in no other way. The server must keep it readable
for that, and the greeting of POP3 has a timestamp once anybody has such a
password.`,
		Example: `  posthaste account password add ada@example.org phone
  posthaste account password add ada@example.org archive --protocols pop3
  posthaste account password add ada@example.org "old scanner" --apop`,
	}
	c.Flags().BoolVar(&apop, "apop", false, "for APOP over POP3 only")
	c.Flags().StringSliceVar(&protocols, "protocols", nil, "what it opens: `submission,imap,pop3,sieve`; all if not given")
	c.MarkFlagsMutuallyExclusive("apop", "protocols")
	c.RunE = t.with(func(ctx context.Context, c *admind.Client, args []string) error {
		var p admind.AppPassword
		var err error
		if apop {
			p, err = c.AddAPOPPassword(ctx, args[0], args[1])
		} else {
			p, err = c.AddAppPassword(ctx, args[0], args[1], strings.Join(protocols, ","))
		}
		if err != nil {
			return err
		}
		stdout.Println(p.Password)
		return nil
	})
	return c
}
