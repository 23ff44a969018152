// Command posthaste is the whole post office of a domain: the server, and the
// operator's tool to it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the release's build.
var version = "development"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends it at once
	// Whose reader goes away must not be killed in the middle of what it does: it is told
	// by EPIPE, too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ran, err := root().ExecuteContextC(ctx)
	interrupted := ctx.Err() != nil
	stop()
	if err == nil {
		err = unknown(ran)
	}
	err = stdout.verdict(err)
	if err != nil && interrupted {
		fmt.Fprintln(os.Stderr, "posthaste: interrupted") // whatever has failed because of that
		os.Exit(130)
	}
	if err != nil {
		if !errors.Is(err, errSaid) {
			fmt.Fprintln(os.Stderr, "posthaste:", plainly(err.Error()))
		}
		os.Exit(1)
	}
}

// errSaid ends the command with failure when all has been said.
var errSaid = errors.New("")

func root() *cobra.Command {
	var t tool
	c := &cobra.Command{
		Use:   "posthaste",
		Short: "A mail server: everything a domain needs to send, receive and read mail",
		Long: `Posthaste is the whole post office of a domain in one program: it receives
mail, keeps it, sends it, and lets people read it over IMAP and POP3.

Try it:    posthaste demo
Run it:    posthaste serve --config posthaste.toml
Set it up: posthaste domain add example.org
           posthaste account add ada@example.org

All commands but serve and demo talk to the server that runs with the same
configuration; without one they open the store themselves.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	c.SetOut(stdout)
	c.PersistentFlags().StringVarP(&t.config, "config", "c", defaultConfig(), "the configuration `file`")
	c.PersistentFlags().StringVar(&t.data, "data", "", "the `folder` of the store, instead of the one in the configuration")
	c.AddGroup(&cobra.Group{ID: "run", Title: "Run:"}, &cobra.Group{ID: "people", Title: "Who is here:"}, &cobra.Group{ID: "mail", Title: "What happens to mail:"}, &cobra.Group{ID: "move", Title: "Moving in and out:"})
	c.AddCommand(t.serve(), t.demo(), t.configuration(), t.metrics(), t.domain(), t.account(), t.settings(), t.shared(), t.alias(), t.address(), t.queue(), t.suppression(), t.why(), t.tls(), t.reports(), t.mailbox(), t.pop3(), t.sieve(), t.collect(), t.check(), t.version())
	c.AddCommand(t.importing(), t.move(), t.exporting(), t.backups(), t.restore())
	teach(c)
	return c
}

// teach has all commands say what they want when they get something else.
func teach(c *cobra.Command) {
	help := c.HelpFunc()
	c.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if unknown(cmd) == nil {
			help(cmd, args)
		}
	})
	c.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: see \"%s --help\"", err, cmd.CommandPath())
	})
	var each func(*cobra.Command)
	each = func(c *cobra.Command) {
		if takes := c.Args; takes != nil {
			c.Args = func(cmd *cobra.Command, args []string) error {
				if takes(cmd, args) != nil {
					return fmt.Errorf("write \"%s\": see \"%s --help\"", strings.TrimSuffix(cmd.UseLine(), " [flags]"), cmd.CommandPath())
				}
				return nil
			}
		}
		for _, sub := range c.Commands() {
			each(sub)
		}
	}
	each(c)
}

// unknown is the error of a command that is only a group of others, and was called with
// a name that none of them has.
func unknown(c *cobra.Command) error {
	if c.Runnable() || len(c.Flags().Args()) == 0 {
		return nil
	}
	if help, err := c.Flags().GetBool("help"); err == nil && help {
		return nil
	}
	name := c.Flags().Arg(0)
	if like := c.SuggestionsFor(name); len(like) > 0 {
		return fmt.Errorf("\"%s %s\" is no command; is it \"%s %s\"?", c.CommandPath(), name, c.CommandPath(), like[0])
	}
	return fmt.Errorf("\"%s %s\" is no command: see \"%s --help\"", c.CommandPath(), name, c.CommandPath())
}

const systemConfig = "/etc/posthaste/posthaste.toml"

func defaultConfig() string {
	if f := os.Getenv("POSTHASTE_CONFIG"); f != "" {
		return f
	}
	return systemConfig
}
