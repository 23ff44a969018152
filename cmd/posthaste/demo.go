package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"posthaste/internal/server"
	"posthaste/internal/server/config"
	"posthaste/internal/server/demo"
	"posthaste/internal/service/accountd"
)

func (t *tool) demo() *cobra.Command {
	var asJSON, ephemeral, verbose bool
	c := &cobra.Command{
		Use: "demo", Short: "Run a small world on this machine, to try everything", GroupID: "run", Args: cobra.NoArgs,
		Long: `Run a working mail system on loopback ports: two domains, four people with mail,
and an outside that receives, delays or refuses, by address. Nothing leaves this
machine.

Mail and passwords are kept in the folder that it names (--data), and found
again at the next start; --ephemeral keeps nothing.

While it runs, the other commands reach it with the same --data.`,
		Example: `  posthaste demo
  posthaste demo --json --data ./demo-data
  posthaste queue list --data ./demo-data`,
	}
	c.Flags().BoolVar(&asJSON, "json", false, "once all ports answer, print one line of JSON and nothing else")
	c.Flags().BoolVar(&ephemeral, "ephemeral", false, "keep nothing")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "write the log to standard error")
	c.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		data := t.data
		switch {
		case ephemeral && data != "":
			return errors.New("--ephemeral and --data exclude each other")
		case ephemeral:
			if data, err = os.MkdirTemp("", "posthaste-demo-"); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
		case data == "":
			if data, err = demoData(); err != nil {
				return err
			}
		}
		if data, err = filepath.Abs(data); err != nil {
			return err
		}
		log := slog.New(slog.DiscardHandler)
		if verbose {
			log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
		c := config.Default()
		c.Data = data
		st, err := server.OpenStore(c, log)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, st.Close()) }()
		d, err := demo.New(cmd.Context(), data, st, log, version)
		if err != nil {
			return err
		}
		stop, err := serveAdmin(filepath.Join(data, socketName), d.House.Admin.Handler())
		if err != nil {
			return err
		}
		defer stop()
		return d.Run(cmd.Context(), func() {
			if asJSON {
				json.NewEncoder(stdout).Encode(d.World)
			} else {
				tell(d.World, ephemeral)
			}
		})
	}
	return c
}

// demoData is where the demonstration keeps its mail if nobody says.
func demoData() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	dir = filepath.Join(dir, "posthaste-demo")
	return dir, os.MkdirAll(filepath.Dir(dir), 0o700)
}

// tell says what runs, and what to do with it.
func tell(w demo.World, ephemeral bool) {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("Posthaste is running, on this machine only.\n")
	p("People (address, password):")
	for _, who := range w.People {
		p("  %-22s  %s", who.Address, who.Password)
	}
	p("\nIn a mail program (the user name is the whole address):")
	p("  incoming  IMAP  %s  with STARTTLS or none, or %s with TLS", w.IMAP, w.IMAPS)
	p("            POP3  %s  with STARTTLS or none, or %s with TLS", w.POP3, w.POP3S)
	p("  outgoing  SMTP  %s  with STARTTLS or none, or %s with TLS", w.Submission, w.Submissions)
	p("  rules     ManageSieve  %s  with STARTTLS or none", w.Sieve)
	p("  From other servers mail comes in at %s.", w.SMTP)
	p("  The certificate is signed by our own CA: %s", w.CA)
	p("In a browser, each looks after their own account: https://%s%s", w.Web, accountd.Path)
	p("\nOutside, mail to %s:", w.Outside.Domain)
	names := make([]string, 0, len(w.Outside.Addresses))
	for n := range w.Outside.Addresses {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		p("  %-24s  %s", n, w.Outside.Addresses[n])
	}
	ada := w.People[0]
	p("\nTry this first, in another terminal:")
	p("  curl -u %s:%s 'imap://%s/INBOX?UNSEEN'", ada.Address, ada.Password, w.IMAP)
	p("  printf 'From: %s\\r\\nSubject: Hello\\r\\n\\r\\nHello, outside!\\r\\n' | \\", ada.Address)
	p("    curl -u %s:%s --mail-from %s --mail-rcpt later@%s -T - smtp://%s", ada.Address, ada.Password, ada.Address, w.Outside.Domain, w.Submission)
	p("  posthaste queue list --data %s", w.Data)
	if ephemeral {
		p("\nNothing is kept when it stops. Stop it with Ctrl-C.")
	} else {
		p("\nData is kept in %s. Stop it with Ctrl-C.", w.Data)
	}
	stdout.Print(b.String())
}
