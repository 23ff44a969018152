package main

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"posthaste/internal/service/admind"
)

// safety names what made a session safe.
var safety = map[string]string{"tlsa": "DANE", "sts": "MTA-STS", "no-policy-found": "TLS if it can be had"}

func (t *tool) tls() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "tls", Short: "How safely mail went to others, and what was wrong", GroupID: "mail", Args: cobra.NoArgs,
		Long: `Tell what came of TLS in the sessions of the last seven days with other mail
servers: those where something failed, or with --all every domain.

A domain that uses DANE or MTA-STS says that mail to it must be encrypted, and
how its servers show that they are the right ones; what fails there is not sent.
To all others mail is encrypted if it can be.`,
		RunE: t.with(func(ctx context.Context, c *admind.Client, _ []string) error {
			list, err := c.Safety(ctx)
			if err != nil {
				return err
			}
			rows := [][]string{{"DOMAIN", "SAFE BY", "SESSIONS", "FAILED", "LAST", "SERVER", "WHAT WAS WRONG"}}
			for _, s := range list {
				if s.Failed == 0 && !all {
					continue
				}
				row := []string{s.Domain, safety[s.Policy], strconv.FormatInt(s.Good+s.Failed, 10), strconv.FormatInt(s.Failed, 10), "", "", ""}
				for _, f := range s.Failures {
					row[4], row[5], row[6] = f.Last.Format(time.DateOnly), plain(f.Host), plain(f.Reason)
					rows = append(rows, row)
					row = make([]string, len(row))
				}
				if len(s.Failures) == 0 {
					rows = append(rows, row)
				}
			}
			if len(rows) == 1 {
				stdout.Println("Nothing went wrong in the last seven days.")
				return nil
			}
			table(rows)
			return nil
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "domains where nothing was wrong, too")
	return c
}
