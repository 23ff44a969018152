package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"posthaste/internal/service/admind"
)

// reports is the command "reports".
func (t *tool) reports() *cobra.Command {
	c := &cobra.Command{Use: "reports", Short: "What others report to us, and we to them", GroupID: "mail"}
	c.AddCommand(&cobra.Command{
		Use: "tls", Short: "What was wrong with TLS, as others saw it", Args: cobra.NoArgs,
		Long: `Show the reports on TLS that other mail servers have sent (RFC 8460), the last
first: how many of their sessions with us went well, and what was wrong with the
others. They come if the TLSRPT record is published that "posthaste domain dns"
prints.`,
		RunE: t.with(func(ctx context.Context, c *admind.Client, _ []string) error {
			list, err := c.TLSReports(ctx)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				stdout.Println("Nobody has reported anything.")
				return nil
			}
			rows := [][]string{{"DAY", "FROM", "DOMAIN", "SAFE BY", "SESSIONS", "FAILED", "SERVER", "WHAT WAS WRONG"}}
			for _, r := range list {
				for _, s := range r.Seen {
					row := []string{r.Begin.Format(time.DateOnly), plain(r.From), plain(s.Domain), or(safety[s.Policy], plain(s.Policy)), strconv.FormatInt(s.Good+s.Failed, 10), strconv.FormatInt(s.Failed, 10), "", ""}
					for _, f := range s.Failures {
						row[6], row[7] = plain(f.Host), plain(strings.TrimSpace(f.Result+" "+f.Reason))+" ("+strconv.FormatInt(f.Sessions, 10)+")"
						rows = append(rows, row)
						row = make([]string, len(row))
					}
					if len(s.Failures) == 0 {
						rows = append(rows, row)
					}
				}
			}
			table(rows)
			return nil
		}),
	})
	c.AddCommand(t.reportsDMARC(), t.reportsFailures(), t.reportsSent())
	return c
}

func (t *tool) reportsDMARC() *cobra.Command {
	return &cobra.Command{
		Use: "dmarc", Short: "Who sends mail in our domains' names, as others saw it", Args: cobra.NoArgs,
		Long: `Show the aggregate reports of DMARC that other receivers have sent (RFC 9990), the
last first: from which addresses mail in the name of our domains came, whether it
was proven to be ours, and what they did with it. Mail of ours that is not proven
must be seen to before the domain's policy becomes stricter. The reports come if
the DMARC record is published that "posthaste domain dns" prints.`,
		RunE: t.with(func(ctx context.Context, c *admind.Client, _ []string) error {
			list, err := c.DMARCReports(ctx)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				stdout.Println("Nobody has reported anything.")
				return nil
			}
			rows := [][]string{{"DAY", "SEEN BY", "DOMAIN", "FROM ADDRESS", "MESSAGES", "PROVEN BY", "WHAT THEY DID"}}
			for _, r := range list {
				for _, s := range r.Sources {
					rows = append(rows, []string{r.Begin.Format(time.DateOnly), plain(r.From), plain(r.Domain), s.IP, strconv.FormatInt(s.Messages, 10), proven(s), did(s.Disposition)})
				}
				if r.More > 0 {
					rows = append(rows, []string{r.Begin.Format(time.DateOnly), plain(r.From), plain(r.Domain), "(others)", strconv.FormatInt(r.More, 10), "", ""})
				}
			}
			table(rows)
			return nil
		}),
	}
}

func (t *tool) reportsFailures() *cobra.Command {
	return &cobra.Command{
		Use: "failures", Short: "Single messages in our domains' names that were not proven", Args: cobra.NoArgs,
		Long: `Show what other receivers have told of single messages in the name of our domains
that were not proven to be from them (failure reports of DMARC, RFC 9991), the last
first. They come, from the few who send them, if the DMARC record is published that
"posthaste domain dns --failures" prints. Anybody can send such a report: what it
says is not proven either.`,
		RunE: t.with(func(ctx context.Context, c *admind.Client, _ []string) error {
			list, err := c.FailureReports(ctx)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				stdout.Println("Nobody has reported anything.")
				return nil
			}
			rows := [][]string{{"DAY", "SEEN BY", "DOMAIN", "FROM ADDRESS", "AUTHOR", "SENDER", "SUBJECT", "WHAT FAILED", "WHAT THEY DID"}}
			for _, r := range list {
				rows = append(rows, []string{r.Received.Format(time.DateOnly), plain(r.From), plain(r.Domain), r.IP, plain(r.Author), plain(r.Sender), plain(r.Subject), plain(r.Failure), plain(r.Delivery)})
			}
			table(rows)
			return nil
		}),
	}
}

func (t *tool) reportsSent() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "sent", Short: "What we reported to other domains, and to whom", Args: cobra.NoArgs,
		Long: `Show the reports that were made for other domains, the last days first: on TLS in
our sessions with their servers (RFC 8460), and on mail that came here in their
names (DMARC, RFC 9990). A report is made once a day for each domain that asks for
it in the DNS. Where one could not go, it says why; with --all also those are shown
that nobody wanted.

"posthaste why ID" tells whether a report arrived. To send none, set send = false,
or dmarc = false, below [reports] in the configuration.`,
		RunE: t.with(func(ctx context.Context, c *admind.Client, _ []string) error {
			list, err := c.SentReports(ctx)
			if err != nil {
				return err
			}
			rows := [][]string{{"DAY", "ABOUT", "DOMAIN", "COUNTED", "TO", "ID", "REMARKS"}}
			for _, r := range list {
				if len(r.To)+len(r.Left) == 0 && r.Note == "" && !all {
					continue
				}
				what := map[string]string{"tls": "TLS", "dmarc": "mail"}[r.About]
				remarks := r.Note
				if len(r.Left) > 0 {
					remarks += " (is tried again)"
				}
				rows = append(rows, []string{r.Day.Format(time.DateOnly), what, plain(r.Domain), strconv.FormatInt(r.Counted, 10), plain(strings.Join(r.To, ", ")), strings.Join(r.IDs, ", "), plain(remarks)})
			}
			if len(rows) == 1 {
				stdout.Println("Nothing was reported.")
				return nil
			}
			table(rows)
			return nil
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "those that nobody wanted, too")
	return c
}

func proven(s admind.DMARCSource) string {
	switch {
	case s.DKIM && s.SPF:
		return "DKIM and SPF"
	case s.DKIM:
		return "DKIM"
	case s.SPF:
		return "SPF"
	}
	return "nothing"
}

func did(disposition string) string {
	switch disposition {
	case "none", "pass":
		return "delivered"
	case "quarantine":
		return "put into junk"
	case "reject":
		return "refused"
	}
	return plain(disposition)
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
