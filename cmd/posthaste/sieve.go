package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"posthaste/internal/agent/owner"
	"posthaste/internal/base/mail"
	"posthaste/internal/service/admind"
)

func (t *tool) sieve() *cobra.Command {
	c := &cobra.Command{
		Use: "sieve", Short: "What people's rules do with mail that comes", GroupID: "mail",
		Long: `Rules are scripts in the language Sieve (RFC 5228). An account may have several, of
which one is active: it says which mailbox a message goes to, with which flags, whether
it is sent on, refused, or answered while somebody is away.

What was judged to be junk goes to Junk before any rule. What goes wrong in a script has
the message kept in the inbox, and is told by "sieve list".`,
	}
	c.AddCommand(t.sieveList(), t.sievePut(), t.sieveGet(), t.sieveActivate(), t.sieveDeactivate(), t.sieveRename(), t.sieveRemove(), t.sieveCheck(), t.sieveTest())
	return c
}

func (t *tool) sieveList() *cobra.Command {
	return &cobra.Command{
		Use: "list ADDRESS", Short: "List an account's scripts, and what went wrong with them", Args: cobra.ExactArgs(1),
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			list, err := c.Scripts(ctx, args[0])
			if err == nil {
				printScripts(list)
			}
			return err
		}),
	}
}

func printScripts(list owner.Scripts) {
	if len(list.Scripts) == 0 {
		stdout.Println("There are no scripts.")
		return
	}
	rows := [][]string{{"NAME", "ACTIVE", "SIZE", "SAVED"}}
	for _, s := range list.Scripts {
		active := ""
		if s.Active {
			active = "yes"
		}
		rows = append(rows, []string{s.Name, active, mail.Size(int64(s.Size)), s.Saved.Local().Format("2006-01-02 15:04")})
	}
	table(rows)
	if f := list.Fault; f != nil {
		stdout.Printf("\n%s went wrong at %s, so the message was kept:\n%s\n", plain(f.Script), f.At.Local().Format("2006-01-02 15:04:05"), plainly(f.Text))
	}
}

func (t *tool) sievePut() *cobra.Command {
	var activate bool
	var name string
	c := &cobra.Command{
		Use: "put ADDRESS FILE", Short: "Save a script, once nothing is wrong with it", Args: cobra.ExactArgs(2),
		Long: `Save a script under the name of its file, without what stands behind the last dot, in
place of the one that has this name. If something is wrong with it, that is told, line by
line, and nothing is saved. A script does nothing until it is active.`,
		Example: `  posthaste sieve put ada@example.org rules.sieve --activate
  posthaste sieve put ada@example.org - --name holiday < holiday.sieve`,
	}
	c.Flags().BoolVar(&activate, "activate", false, "make it the active one")
	c.Flags().StringVar(&name, "name", "", "save it under this `name`")
	c.RunE = t.with(func(ctx context.Context, c *admind.Client, args []string) error {
		text, err := readFile(args[1])
		if err != nil {
			return err
		}
		if name == "" {
			if args[1] == "-" {
				return errors.New("say under which --name it is to be saved")
			}
			name = strings.TrimSuffix(filepath.Base(args[1]), filepath.Ext(args[1]))
		}
		list, err := c.SaveScript(ctx, args[0], owner.Script{Name: name, Text: string(text), Active: activate})
		if err != nil {
			return err
		}
		for _, w := range list.Warnings {
			stdout.Printf("warning: %s\n", plain(w))
		}
		printScripts(list)
		return nil
	})
	return c
}

func (t *tool) sieveGet() *cobra.Command {
	return &cobra.Command{
		Use: "get ADDRESS [NAME]", Short: "Print a script, or the active one", Args: cobra.RangeArgs(1, 2),
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			s, err := c.Script(ctx, args[0], strings.Join(args[1:], ""))
			if err != nil {
				return err
			}
			_, err = stdout.Write([]byte(s.Text))
			return err
		}),
	}
}

func (t *tool) sieveActivate() *cobra.Command {
	return &cobra.Command{
		Use: "activate ADDRESS NAME", Short: "Make a script the active one", Args: cobra.ExactArgs(2),
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			if args[1] == "" {
				return errors.New("say which script; \"posthaste sieve deactivate\" has none active")
			}
			return c.ActivateScript(ctx, args[0], args[1])
		}),
	}
}

func (t *tool) sieveDeactivate() *cobra.Command {
	return &cobra.Command{
		Use: "deactivate ADDRESS", Short: "Have no script active: mail goes where it goes without rules", Args: cobra.ExactArgs(1),
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			return c.ActivateScript(ctx, args[0], "")
		}),
	}
}

func (t *tool) sieveRename() *cobra.Command {
	return &cobra.Command{
		Use: "rename ADDRESS NAME NEW", Short: "Give a script another name; one that is active stays so", Args: cobra.ExactArgs(3),
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			return c.RenameScript(ctx, args[0], args[1], args[2])
		}),
	}
}

func (t *tool) sieveRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove ADDRESS NAME", Short: "Remove a script; if it is the active one, none is active then", Args: cobra.ExactArgs(2),
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			return c.RemoveScript(ctx, args[0], args[1])
		}),
	}
}

func (t *tool) sieveCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE...", Short: "Tell what is wrong with scripts, without saving them", Args: cobra.MinimumNArgs(1),
		Example: `  posthaste sieve check *.sieve`,
		RunE: func(_ *cobra.Command, args []string) error {
			bad := false
			for _, name := range args {
				text, err := readFile(name)
				if err != nil {
					return err
				}
				warnings, err := owner.CheckScript(string(text))
				if err != nil {
					bad = true
					for line := range strings.SplitSeq(err.Error(), "\n") {
						fmt.Fprintf(os.Stderr, "%s: %s\n", name, plain(line))
					}
				}
				for _, w := range warnings {
					stdout.Printf("%s: warning: %s\n", name, plain(w))
				}
			}
			if bad {
				return errSaid
			}
			return nil
		},
	}
}

func (t *tool) sieveTest() *cobra.Command {
	var x owner.Trial
	var file string
	c := &cobra.Command{
		Use: "test ADDRESS MESSAGE", Short: "Tell what a script would do with a message, and do nothing", Args: cobra.ExactArgs(2),
		Long: `Tell, line by line, what the active script of an account would do with the message in
a file, and what would become of it. Nothing is done, and nobody is answered.`,
		Example: `  posthaste sieve test ada@example.org newsletter.eml
  posthaste sieve test ada@example.org newsletter.eml --script new.sieve --from list@example.net`,
	}
	c.Flags().StringVar(&file, "script", "", "try the script in this `file`")
	c.Flags().StringVar(&x.Name, "name", "", "try the account's script of this `name`, instead of the active one")
	c.Flags().StringVar(&x.From, "from", "", "the `address` that the message was sent by, as SMTP says it; <> is a report")
	c.Flags().StringVar(&x.To, "to", "", "the `address` that it was sent to, as SMTP says it")
	c.MarkFlagsMutuallyExclusive("script", "name")
	c.RunE = t.with(func(ctx context.Context, c *admind.Client, args []string) error {
		var err error
		if x.Message, err = readFile(args[1]); err != nil {
			return err
		}
		if file != "" {
			text, err := readFile(file)
			if err != nil {
				return err
			}
			if x.Script = string(text); x.Script == "" {
				x.Script = "keep;"
			}
		}
		lines, err := c.TryScript(ctx, args[0], x)
		for _, l := range lines {
			stdout.Println(plainly(l))
		}
		return err
	})
	return c
}
