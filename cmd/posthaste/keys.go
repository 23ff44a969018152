package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"posthaste/internal/service/admind"
)

func (t *tool) domainKeys() *cobra.Command {
	c := &cobra.Command{
		Use: "keys", Short: "The keys that sign a domain's mail (DKIM), and new ones in their place",
		Long: `The keys that sign a domain's mail (DKIM), and new ones in their place.

A domain has two keys that sign: an RSA key, which everybody can verify, and an
Ed25519 key. Change them once a year or so, and at once if somebody may have seen
them:

  1. "rotate" makes new keys and prints the records to publish for them.
  2. The server asks the DNS from time to time. An hour after it has first seen
     both, the new keys sign. "use" has them sign at once.
  3. The old records must stay for some time, as mail that they signed may still
     wait to be sent. "list" says until when. Then take them out of the DNS.`,
	}
	c.AddCommand(
		&cobra.Command{
			Use: "list DOMAIN", Short: "Show the keys, what each is for, and how it stands in the DNS", Args: cobra.ExactArgs(1),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				list, err := c.Keys(ctx, args[0])
				for _, k := range list {
					stdout.Printf("%s  %s%s\n  %s.  IN  TXT  %s\n", k.Selector, keyState(k), keyFault(k), k.Name, k.Value)
				}
				return err
			}),
		},
		&cobra.Command{
			Use: "rotate DOMAIN", Short: "Make new keys, which sign once they are published", Args: cobra.ExactArgs(1),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				list, err := c.PrepareKeys(ctx, args[0])
				if err != nil {
					return err
				}
				stdout.Println("Publish these records. The new keys sign an hour after the server has first seen both.")
				for _, k := range list {
					if k.State == "prepared" {
						stdout.Printf("%s.  IN  TXT  %s\n", k.Name, k.Value)
					}
				}
				return nil
			}),
		},
		&cobra.Command{
			Use: "use DOMAIN", Short: "Have the new keys sign at once, if they are published", Args: cobra.ExactArgs(1),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				list, err := c.UseKeys(ctx, args[0])
				for _, k := range list {
					stdout.Printf("%s  %s\n", k.Selector, keyState(k))
				}
				return err
			}),
		})
	return c
}

// keyState says what a key is for.
func keyState(k admind.Key) string {
	switch {
	case k.State == "prepared" && !k.Until.IsZero():
		return "new; signs from " + k.Until.Local().Format("2006-01-02 15:04")
	case k.State == "prepared":
		return "new; signs once it is published"
	case k.State == "retired" && time.Now().Before(k.Until):
		return "signs no more; must stay published until " + k.Until.Local().Format(time.DateOnly)
	case k.State == "retired":
		return "signs no more; can be taken out of the DNS"
	}
	return "signs"
}

// keyFault says how a key stands in the DNS.
func keyFault(k admind.Key) string {
	if k.Fault == "" {
		return "; published"
	}
	return "; " + k.Fault
}
