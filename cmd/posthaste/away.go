package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"posthaste/internal/agent/owner"
	"posthaste/internal/service/admind"
)

// away is the command "account away".
func (t *tool) away() *cobra.Command {
	var w owner.Away
	var file string
	var off bool
	c := &cobra.Command{
		Use: "away ADDRESS", Short: "What those hear who write while somebody is away", Args: cobra.ExactArgs(1),
		Long: `Show or say what those are answered who write to an account while its owner is away.
Each hears it once a week; lists, programs and reports do not. Rules go on: the answer
is a Sieve script called "away", which includes the one that was active before.`,
		Example: `  posthaste account away ada@example.org
  posthaste account away ada@example.org --from 2026-12-21 --until 2027-01-04 --text away.txt
  posthaste account away ada@example.org --off`,
	}
	c.Flags().StringVar(&w.From, "from", "", "the first `day`, such as 2026-12-21 (usually today)")
	c.Flags().StringVar(&w.Until, "until", "", "the last `day` (usually until it is switched off)")
	c.Flags().StringVar(&w.Subject, "subject", "", "the `subject` of the answer (usually that of the message)")
	c.Flags().StringVar(&file, "text", "", "the `file` with the text of the answer; - is standard input")
	c.Flags().BoolVar(&off, "off", false, "answer no more; what was said is kept for the next time")
	c.MarkFlagsMutuallyExclusive("off", "text")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		before, err := cl.Away(ctx, args[0])
		if err != nil {
			return err
		}
		switch {
		case off:
			before.On = false
			return cl.SetAway(ctx, args[0], before)
		case file != "":
			text, err := readFile(file)
			if err != nil {
				return err
			}
			w.On, w.Text = true, string(text)
			return cl.SetAway(ctx, args[0], w)
		case w != (owner.Away{}):
			return errors.New("say the --text, too: it is said as a whole")
		}
		printAway(before)
		return nil
	})
	return c
}

func printAway(w owner.Away) {
	if !w.On {
		stdout.Println("Nobody is answered.")
		return
	}
	when := "Who writes is answered"
	if w.From != "" {
		when += " from " + w.From + " on"
	}
	if w.Until != "" {
		when += " until " + w.Until
	}
	stdout.Printf("%s:\n\n", when)
	if w.Subject != "" {
		stdout.Printf("%s\n\n", plain(w.Subject))
	}
	stdout.Println(plainly(w.Text))
}
