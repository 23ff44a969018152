package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"posthaste/internal/agent/owner"
	"posthaste/internal/base/mail"
	"posthaste/internal/service/admind"
)

func (t *tool) pop3() *cobra.Command {
	c := &cobra.Command{Use: "pop3", Short: "What POP3 clients see, collect, and leave behind", GroupID: "mail"}
	policy := &cobra.Command{Use: "policy", Short: "What a client sees over POP3, and what becomes of it"}
	policy.AddCommand(t.policySet(), t.policyClear(), &cobra.Command{
		Use: "show ADDRESS", Short: "Show an account's policies, and which messages will go by them and when", Args: cobra.ExactArgs(1),
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			plan, err := c.POP3(ctx, args[0])
			if err == nil {
				printPlan(plan)
			}
			return err
		}),
	})
	c.AddCommand(policy, &cobra.Command{
		Use: "ledger ADDRESS", Short: "Tell what each device has collected and removed", Args: cobra.ExactArgs(1),
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			list, err := c.POP3Ledger(ctx, args[0])
			if err != nil {
				return err
			}
			if len(list) == 0 {
				stdout.Println("Nothing was collected.")
				return nil
			}
			rows := [][]string{{"WHEN", "DEVICE", "FROM", "COLLECTED", "SIZE", "REMOVED", "UIDS"}}
			for _, v := range list {
				removed := strconv.Itoa(v.Removed)
				if v.Removed > 0 {
					removed += " (" + v.Removal + ")"
				}
				rows = append(rows, []string{
					v.At.Local().Format("2006-01-02 15:04:05"), device(v.Device), v.From, strconv.Itoa(v.Collected), mail.Size(v.Bytes), removed, strings.Join(v.UIDs, "; "),
				})
			}
			table(rows)
			return nil
		}),
	})
	return c
}

func device(name string) string {
	if name == "" {
		return "(main password)"
	}
	return name
}

func printPlan(plan owner.Plan) {
	for _, p := range plan.Policies {
		who := "All devices without a policy of their own"
		if p.Device != "" {
			who = "Device " + p.Device
		}
		stdout.Println(who + ": " + p.Words())
	}
	if plan.All == 0 {
		stdout.Println("No message is about to go.")
		return
	}
	stdout.Printf("%s will go, %d within the hour.\n", mail.Many(plan.All, "message"), plan.Now)
	rows := [][]string{{"GOES", "HOW", "DEVICE", "MAILBOX", "FROM", "SUBJECT"}}
	for _, l := range plan.Leaving {
		rows = append(rows, []string{l.Goes.Local().Format("2006-01-02 15:04"), l.Removal, device(l.Device), l.Mailbox, l.From, l.Subject})
	}
	table(rows)
	if plan.All > len(plan.Leaving) {
		stdout.Printf("... and %d more.\n", plan.All-len(plan.Leaving))
	}
}

func (t *tool) policySet() *cobra.Command {
	var p owner.Policy
	var preview bool
	c := &cobra.Command{
		Use: "set ADDRESS", Short: "Set the policy of an account, or of one of its devices", Args: cobra.ExactArgs(1),
		Long: `Set what becomes of mail that was collected over POP3, and what is seen of it:
of all an account's clients, or of the one that uses an app password.

  --after keep     what was collected stays for ever
  --after delete   it goes when the client leaves
  --after 30d      it goes 30 days after this device collected it first, also
                   when nobody is connected

What goes, by this or by DELE, is deleted (and can be restored for some time),
moved to Trash, or hidden from this device only. The answer tells what will go;
the server looks once an hour. With --preview it tells so before, and sets nothing.
All that is not said is as with a new account.`,
		Example: `  posthaste pop3 policy set ada@example.org --after 30d --dele trash
  posthaste pop3 policy set ada@example.org --after 7d --preview
  posthaste pop3 policy set ada@example.org --device archive --mailbox INBOX --mailbox Sent
  posthaste pop3 policy set ada@example.org --device ticket-system --after delete --unread`,
	}
	c.Flags().StringVar(&p.Device, "device", "", "the `name` of an app password")
	c.Flags().StringVar(&p.After, "after", "keep", "what becomes of mail that was collected: `keep`, delete, or days such as 30d")
	c.Flags().StringVar(&p.Removal, "dele", "delete", "what going means: `delete`, trash or hide")
	c.Flags().IntVar(&p.Newest, "newest", 0, "show only the newest `N` messages")
	c.Flags().StringVar(&p.Since, "since", "", "show only mail from that `day` on, such as 2026-01-31")
	c.Flags().BoolVar(&p.Unread, "unread", false, "show only what nobody has read")
	c.Flags().StringArrayVar(&p.Mailboxes, "mailbox", nil, "the mailbox of this `name`, instead of INBOX; may be said more than once")
	c.Flags().BoolVar(&preview, "preview", false, "only tell what would go")
	c.RunE = t.with(func(ctx context.Context, c *admind.Client, args []string) error {
		set := c.SetPOP3Policy
		if preview {
			set = c.PreviewPOP3Policy
		}
		plan, err := set(ctx, args[0], p)
		if err != nil {
			return err
		}
		if preview {
			stdout.Println("This is what would be; nothing has been set.")
		}
		printPlan(plan)
		return nil
	})
	return c
}

func (t *tool) policyClear() *cobra.Command {
	var name string
	c := &cobra.Command{Use: "clear ADDRESS", Short: "Take the policy of an account, or of one of its devices, away", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&name, "device", "", "the `name` of an app password")
	c.RunE = t.with(func(ctx context.Context, c *admind.Client, args []string) error {
		plan, err := c.ClearPOP3Policy(ctx, args[0], name)
		if err == nil {
			printPlan(plan)
		}
		return err
	})
	return c
}
