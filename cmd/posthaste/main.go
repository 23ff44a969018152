// Command posthaste is the whole post office of a domain: the server, and the
// operator's tool to it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the release's build.
var version = "development"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		if !errors.Is(err, errSaid) {
			fmt.Fprintln(os.Stderr, "posthaste:", err)
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
	c.PersistentFlags().StringVarP(&t.config, "config", "c", defaultConfig(), "the configuration `file`")
	c.PersistentFlags().StringVar(&t.data, "data", "", "the `folder` of the store, instead of the one in the configuration")
	c.AddGroup(&cobra.Group{ID: "run", Title: "Run:"}, &cobra.Group{ID: "people", Title: "Who is here:"}, &cobra.Group{ID: "mail", Title: "What happens to mail:"}, &cobra.Group{ID: "move", Title: "Moving in and out:"})
	c.AddCommand(t.serve(), t.demo(), t.settings(), t.metrics(), t.domain(), t.account(), t.shared(), t.alias(), t.address(), t.queue(), t.suppression(), t.why(), t.tls(), t.reports(), t.mailbox(), t.pop3(), t.collect(), t.check(), t.version())
	c.AddCommand(t.importing(), t.move(), t.exporting(), t.backups(), t.restore())
	return c
}

const systemConfig = "/etc/posthaste/posthaste.toml"

func defaultConfig() string {
	if f := os.Getenv("POSTHASTE_CONFIG"); f != "" {
		return f
	}
	return systemConfig
}
