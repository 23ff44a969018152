package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"posthaste/internal/service/admind"
)

func (t *tool) domain() *cobra.Command {
	c := &cobra.Command{Use: "domain", Short: "Domains that mail is received for", GroupID: "people"}
	c.AddCommand(t.domainAdd(),
		&cobra.Command{
			Use: "list", Short: "List all domains", Args: cobra.NoArgs,
			RunE: t.with(func(ctx context.Context, c *admind.Client, _ []string) error {
				list, err := c.Domains(ctx)
				for _, d := range list {
					stdout.Println(d.Name + remarks(d))
				}
				return err
			}),
		},
		&cobra.Command{
			Use: "separators DOMAIN CHARACTERS", Short: "Choose what stands between an address and its detail", Args: cobra.ExactArgs(2),
			Long: `Choose the characters that may stand between an address and a detail behind it.
By default this is "+": mail to ada+shop@example.org comes to ada@example.org.
Several can be given; "none" means that addresses of the domain have no details.

An address that is there as it is written always counts first, and of several
that fit, the longest.`,
			Example: `  posthaste domain separators example.org +-     also ada-shop@example.org
  posthaste domain separators example.org none`,
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				if args[1] == "none" {
					args[1] = ""
				}
				return c.SetSeparators(ctx, args[0], args[1])
			}),
		},
		t.domainDNS(), t.domainKeys(), t.domainRemove())
	return c
}

func (t *tool) domainDNS() *cobra.Command {
	var o admind.RecordOptions
	c := &cobra.Command{
		Use: "dns DOMAIN", Short: "Print the records that a domain should have in the DNS", Args: cobra.ExactArgs(1),
		Long: `Print the records that a domain should have in the DNS, in the form of a zone
file, with the reason for each. The keys that sign the domain's mail are made
when they are first asked for.

With --failures the DMARC record also asks others to tell of each message in the
domain's name that was not proven; "posthaste reports failures" shows them. Few
send them, as they have addresses and subjects of people's mail: think of whether
you may keep those.`,
		Example: `  posthaste domain dns example.org
  posthaste domain dns example.org --failures`,
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			list, err := c.Records(ctx, args[0], o)
			if err != nil {
				return err
			}
			var zone strings.Builder
			for _, r := range list {
				if r.Wrong != "" {
					fmt.Fprintf(&zone, "; NOT SO YET: %s\n", r.Wrong)
				}
				fmt.Fprintf(&zone, "; %s\n%s.  IN  %s  %s\n", r.Why, r.Name, r.Type, r.Value)
			}
			stdout.Print(zone.String())
			return nil
		}),
	}
	c.Flags().BoolVar(&o.Failures, "failures", false, "ask for reports on single messages, too")
	return c
}

// remarks tells what is special about a domain.
func remarks(d admind.Domain) string {
	switch {
	case d.AliasOf != "":
		return "  another name of " + d.AliasOf
	case d.Separators == "":
		return "  no details"
	case d.Separators != "+":
		return "  details after " + d.Separators
	}
	return ""
}

func (t *tool) domainAdd() *cobra.Command {
	var of string
	c := &cobra.Command{
		Use: "add DOMAIN...", Short: "Receive mail for a domain", Args: cobra.MinimumNArgs(1),
		Example: `  posthaste domain add example.org
  posthaste domain add example.net --alias-of example.org     people of example.org get mail and log in under both names`,
	}
	c.Flags().StringVar(&of, "alias-of", "", "a `domain` that this is another name of")
	c.RunE = t.beginning(func(ctx context.Context, cl *admind.Client, args []string) error {
		for _, a := range args {
			var err error
			if of != "" {
				err = cl.AddDomainAlias(ctx, a, of)
			} else {
				err = cl.AddDomain(ctx, a)
			}
			if err != nil {
				return err
			}
			stdout.Println("added", a)
		}
		return nil
	})
	return c
}
