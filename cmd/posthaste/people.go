package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"posthaste/internal/base/mail"
	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
)

func table(rows [][]string) {
	w := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	for _, r := range rows {
		for i := range r {
			r[i] = plain(r[i])
		}
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	w.Flush()
}

func (t *tool) account() *cobra.Command {
	c := &cobra.Command{Use: "account", Short: "People who log in and have a mailbox", GroupID: "people"}
	c.AddCommand(t.accountAdd(), t.accountPassword(), t.accountCertificate(), t.accountCapability(), t.accountForward(), t.away(),
		&cobra.Command{
			Use: "list", Short: "List all accounts with what they take", Args: cobra.NoArgs,
			RunE: t.with(func(ctx context.Context, c *admind.Client, _ []string) error {
				list, err := c.Accounts(ctx)
				rows := [][]string{{"ADDRESS", "NAME", "MESSAGES", "SIZE", "LIMIT", ""}}
				for _, a := range list {
					limit := "none"
					if a.Quota > 0 {
						limit = mail.Size(a.Quota)
					}
					rows = append(rows, []string{shown(a.Address), a.Name, fmt.Sprint(a.Messages), mail.Size(a.Used), limit, state(a)})
				}
				if err == nil {
					table(rows)
					tellWithoutSHA1(list)
				}
				return err
			}),
		}, t.accountQuota(), t.accountRename(), t.accountRemove(), t.accountAdmin(), t.accountLimit(), t.accountDisable(), t.accountEnable())
	return c
}

func (t *tool) accountQuota() *cobra.Command {
	return &cobra.Command{
		Use: "quota ADDRESS SIZE", Short: "Change how much an account, or a shared folder, may take", Args: cobra.ExactArgs(2),
		Long: `Change how much an account, or a shared folder, may take; "none" takes the limit
away. "posthaste account list" shows what it is. If there is more already, it stays,
and new mail waits in the queue until there is room.`,
		Example: `  posthaste account quota ada@example.org 5GB
  posthaste account quota team@example.org none`,
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			var limit config.Size
			if args[1] != "none" {
				if err := limit.UnmarshalText([]byte(args[1])); err != nil {
					return err
				}
			}
			a, err := c.SetQuota(ctx, args[0], int64(limit))
			switch {
			case err != nil:
			case a.Quota == 0:
				stdout.Printf("%s takes %s, and there is no limit.\n", args[0], mail.Size(a.Used))
			case a.Used > a.Quota:
				stdout.Printf("%s takes %s, more than the %s that it may: nothing new comes in until there is room.\n", args[0], mail.Size(a.Used), mail.Size(a.Quota))
			default:
				stdout.Printf("%s takes %s of %s.\n", args[0], mail.Size(a.Used), mail.Size(a.Quota))
			}
			return err
		}),
	}
}

func state(a admind.Account) string {
	if a.Disabled {
		return "disabled"
	}
	return ""
}

// tellWithoutSHA1 tells which passwords do not go with SCRAM-SHA-1, if it is
// announced.
func tellWithoutSHA1(list []admind.Account) {
	first := true
	for _, a := range list {
		for _, name := range a.WithoutSHA1 {
			if first {
				stdout.Println("\nNot good for SCRAM-SHA-1 until they are set, or made, again:")
				first = false
			}
			if name == "" {
				stdout.Println("  the password of", a.Address)
			} else {
				stdout.Printf("  the app password %q of %s\n", name, a.Address)
			}
		}
	}
}

func (t *tool) accountAdd() *cobra.Command {
	var stdin bool
	var file, name, quota string
	c := &cobra.Command{
		Use: "add ADDRESS", Short: "Add an account, or all of a file",
		Long: `Add an account with its first mailboxes. The password is asked for, or read
from standard input with --password-stdin.

With --file, accounts are added from a file with a line for each: address,
password and, if you like, a name, divided by tabs. Lines that begin with # are
passed over. Accounts that exist already are left alone, and counted.`,
		Example: `  posthaste account add ada@example.org --name "Ada Lovelace"
  echo "$PASSWORD" | posthaste account add bob@example.org --password-stdin
  posthaste account add --file accounts.tsv`,
		Args: cobra.MaximumNArgs(1),
	}
	c.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	c.Flags().StringVar(&file, "file", "", "add all accounts of a `file` (- is standard input)")
	c.Flags().StringVar(&name, "name", "", "the person's `name`")
	c.Flags().StringVar(&quota, "quota", "", "how much the account may take, such as 5GB")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		var limit config.Size
		if quota != "" {
			if err := limit.UnmarshalText([]byte(quota)); err != nil {
				return err
			}
		}
		if (file != "") == (len(args) == 1) {
			return errors.New("name one address, or a --file")
		}
		if file != "" {
			return addFile(ctx, cl, file, int64(limit))
		}
		pass, err := password(ctx, stdin)
		if err != nil {
			return err
		}
		if err := cl.AddAccount(ctx, admind.Account{Address: args[0], Name: name, Password: pass, Quota: int64(limit)}); err != nil {
			return err
		}
		stdout.Println("added", args[0])
		if pass == "" {
			stdout.Printf("It has no password, so nobody can log in: set one with \"posthaste account password %s\".\n", args[0])
		}
		return nil
	})
	return c
}

// canonical gives an address in the one form in which addresses can be compared.
func canonical(address string) string {
	if a, err := mail.ParseAddress(address); err == nil {
		address = a.String()
	}
	return strings.ToLower(address)
}

func addFile(ctx context.Context, cl *admind.Client, file string, quota int64) error {
	in, err := openFile(file)
	if err != nil {
		return err
	}
	defer in.Close()
	have := map[string]bool{}
	list, err := cl.Accounts(ctx)
	if err != nil {
		return err
	}
	for _, a := range list {
		have[canonical(a.Address)] = true
	}
	added, there, bare := 0, 0, 0
	err = eachLine(in, 3, func(n int, f []string) error {
		if len(f) < 2 {
			return fmt.Errorf("line %d: an address and a password, divided by a tab, are needed", n)
		}
		if have[canonical(f[0])] {
			there++
			return nil
		}
		a := admind.Account{Address: f[0], Password: f[1], Quota: quota}
		if len(f) == 3 {
			a.Name = f[2]
		}
		if err := cl.AddAccount(ctx, a); err != nil {
			return fmt.Errorf("line %d: %s: %w (%d added before it)", n, f[0], err, added)
		}
		added++
		if a.Password == "" {
			bare++
		}
		return nil
	})
	if err != nil {
		return err
	}
	stdout.Printf("added %s, %d were there already\n", mail.Many(added, "account"), there)
	if bare > 0 {
		stdout.Printf("%s without a password: nobody can log in there until \"posthaste account password\" sets one.\n", mail.Many(bare, "account"))
	}
	return nil
}

// password reads a password from standard input, or asks for it twice.
func password(ctx context.Context, stdin bool) (string, error) {
	if stdin {
		b, err := io.ReadAll(io.LimitReader(os.Stdin, 4096))
		return strings.TrimRight(string(b), "\r\n"), err
	}
	const instead = "--password-stdin"
	one, err := askSecret(ctx, "Password", instead)
	if err != nil {
		return "", err
	}
	two, err := askSecret(ctx, "Once more", instead)
	if err == nil && one != two {
		err = errors.New("the two are not the same")
	}
	return one, err
}
