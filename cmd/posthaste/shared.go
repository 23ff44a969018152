package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
)

func (t *tool) shared() *cobra.Command {
	c := &cobra.Command{
		Use: "shared", Short: "Folders for many, to which nobody logs in", GroupID: "people",
		Long: `Folders for many. A shared folder has an address, and mail to it is filed in it.
People with rights see it, over IMAP, as "Shared Folders/ADDRESS".

Rights are letters (RFC 4314): l sees the folder, r reads it, s marks mail as
read, w sets other flags, i files mail in it, p may send mail to it, k makes
folders below it, x deletes those, t and e delete mail, a gives rights to others.`,
	}
	c.AddCommand(t.sharedAdd(),
		&cobra.Command{
			Use: "grant ADDRESS WHO RIGHTS", Short: "Say what somebody may do with a shared folder and all below it", Args: cobra.ExactArgs(3),
			Long: `Say what somebody may do with a shared folder and all folders below it: a person
by address, "authenticated" (all who log in here) or "anyone" (who sends mail
from elsewhere, too). RIGHTS take the place of what they had; "" takes all away.
With - before WHO they say what is not allowed, whatever else allows it; a -- goes
in front of that, as below.`,
			Example: `  posthaste shared grant team@example.org ada@example.org lrswipkxtea
  posthaste shared grant team@example.org authenticated lrsp
  posthaste shared grant team@example.org anyone ""
  posthaste shared grant team@example.org -- -bob@example.org w`,
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				return c.Share(ctx, args[0], args[1], args[2])
			}),
		},
		&cobra.Command{
			Use: "rights ADDRESS", Short: "List who may do what with a shared folder", Args: cobra.ExactArgs(1),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				list, err := c.Rights(ctx, args[0])
				rows := [][]string{{"WHO", "RIGHTS"}}
				for _, r := range list {
					rows = append(rows, []string{r.Who, r.Rights})
				}
				if err == nil {
					table(rows)
				}
				return err
			}),
		},
		&cobra.Command{
			Use: "seen ADDRESS [own|common]", Short: "Whose it is that mail in a shared folder is read", Args: cobra.RangeArgs(1, 2),
			Long: "Show or say whose it is that mail is read, in a shared folder and all below it.\n\n" + seenModes,
			Example: `  posthaste shared seen team@example.org
  posthaste shared seen support@example.org common   # what one has read, nobody else need read`,
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				if len(args) == 1 {
					return showSeenMode(ctx, c, args[0], "")
				}
				return c.SetSeenMode(ctx, args[0], admind.SeenMode{Mode: args[1]})
			}),
		},
		&cobra.Command{
			Use: "list", Short: "List all shared folders", Args: cobra.NoArgs,
			RunE: t.with(func(ctx context.Context, c *admind.Client, _ []string) error {
				list, err := c.Accounts(ctx)
				for _, a := range list {
					if a.Shared {
						stdout.Println(shown(a.Address))
					}
				}
				return err
			}),
		})
	return c
}

func (t *tool) sharedAdd() *cobra.Command {
	var admin []string
	var post, quota string
	c := &cobra.Command{
		Use: "add ADDRESS", Short: "Add a shared folder", Args: cobra.ExactArgs(1),
		Long: `Add a shared folder. All who log in here can read it and mark what they have
read, each for themselves ("posthaste shared seen" changes that); --post says who may send mail to it: anyone, authenticated (all who log in
here) or nobody. An --admin has all rights, and can give them to others from a
mail program.`,
		Example: "  posthaste shared add team@example.org --admin ada@example.org --post authenticated",
	}
	c.Flags().StringSliceVar(&admin, "admin", nil, "the `address` of somebody who may do everything with it")
	c.Flags().StringVar(&post, "post", "anyone", "`who` may send mail to it: anyone, authenticated or nobody")
	c.Flags().StringVar(&quota, "quota", "", "how much the folder may take, such as 5GB")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		var limit config.Size
		if quota != "" {
			if err := limit.UnmarshalText([]byte(quota)); err != nil {
				return err
			}
		}
		rights := map[string]string{"anyone": "", "authenticated": "lrs"}
		switch post = strings.ToLower(post); post {
		case "anyone", "authenticated":
			rights[post] += "p"
		case "nobody":
		default:
			return fmt.Errorf("--post is anyone, authenticated or nobody, not %q", post)
		}
		if err := allThere(ctx, cl, admin); err != nil {
			return err
		}
		if err := cl.AddAccount(ctx, admind.Account{Address: args[0], Quota: int64(limit), Shared: true}); err != nil {
			return err
		}
		for _, a := range admin {
			rights[a] = "lrswipkxtea"
		}
		for who, r := range rights {
			if err := cl.Share(ctx, args[0], who, r); err != nil {
				return fmt.Errorf("the folder is there, but without the rights of %s: %w", who, err)
			}
		}
		stdout.Println("added", args[0])
		return nil
	})
	return c
}

// allThere looks whether people have an account, before something is made for them.
func allThere(ctx context.Context, cl *admind.Client, people []string) error {
	if len(people) == 0 {
		return nil
	}
	list, err := cl.Accounts(ctx)
	have := map[string]bool{}
	for _, a := range list {
		have[canonical(a.Address)] = !a.Shared
	}
	for _, p := range people {
		if err == nil && !have[canonical(p)] {
			err = fmt.Errorf("%s has no account here: see posthaste account list", p)
		}
	}
	return err
}

func (t *tool) accountAdmin() *cobra.Command {
	c := &cobra.Command{
		Use: "admin", Short: "Who may set the limits of other accounts from a mail program",
		Long: `Administrators may set the limits of other accounts and of shared folders from a
mail program that can (IMAP's SETQUOTA). They see no mail of others by that.`,
	}
	c.AddCommand(
		&cobra.Command{
			Use: "add ADDRESS", Short: "Make somebody an administrator", Args: cobra.ExactArgs(1),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error { return c.AddAdmin(ctx, args[0]) }),
		},
		&cobra.Command{
			Use: "remove ADDRESS", Short: "Make an administrator an ordinary person again", Args: cobra.ExactArgs(1),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error { return c.RemoveAdmin(ctx, args[0]) }),
		},
		&cobra.Command{
			Use: "list", Short: "List the administrators", Args: cobra.NoArgs,
			RunE: t.with(func(ctx context.Context, c *admind.Client, _ []string) error {
				list, err := c.Accounts(ctx)
				for _, a := range list {
					if a.Admin {
						stdout.Println(a.Address)
					}
				}
				return err
			}),
		})
	return c
}
