package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"posthaste/internal/agent/carrier"
	"posthaste/internal/service/admind"
)

// A fromDovecot is the flags of "import dovecot".
type fromDovecot struct {
	moveIn
	list, domain, tool string
	all                bool
	atOnce             int
}

func (t *tool) importDovecot() *cobra.Command {
	var f fromDovecot
	c := &cobra.Command{
		Use: "dovecot [USER ADDRESS]", Short: "Bring accounts from Dovecot, with its own tool and no passwords", Args: cobra.MatchAll(cobra.MaximumNArgs(2), evenArgs),
		Long: `Bring the mail of users of Dovecot through doveadm, on the machine that has it, as a
user who may run it (root, mostly). No password is needed, and it does not matter how
Dovecot keeps the mail: mdbox, sdbox, Maildir or mbox, compressed or not. Everything
comes as with "import imap": folders, flags, keywords, dates, what is subscribed, who
may do what with folders; and the ids that POP3 clients have seen, as Dovecot keeps or
makes them (it is asked for pop3_uidl_format). Dovecot must be running; people may go on
to use it.

If Dovecot is on another machine, say how doveadm is called there, such as
--doveadm "ssh root@old.example doveadm". Words are divided by spaces; one of them is
doveadm, by whatever path, and doveconf is beside it.

With --accounts, many users are brought, some at once, from a file with a line for each:
the address here and the user there, divided by a tab. With --all, all users that
Dovecot can list ("doveadm user '*'"): those who have no account here are told.

Mail that was brought from the same server with "import imap" is not brought again if you
say --source imap:USER@HOST, as docs/moving.md tells; with one user at a time.`,
		Example: `  posthaste import dovecot ada ada@example.org
  posthaste import dovecot --all --domain example.org
  posthaste import dovecot --accounts people.tsv --doveadm "ssh root@old.example doveadm"`,
	}
	f.flags(c)
	f.serverFlags(c)
	f.uidlFlag(c)
	fl := c.Flags()
	fl.Lookup("uidl").Usage = "the `format` of POP3 ids that Dovecot does not keep, if it is not what pop3_uidl_format says; none: do not bring any"
	fl.StringVar(&f.tool, "doveadm", "doveadm", "the `command` that is Dovecot's tool")
	fl.StringVar(&f.list, "accounts", "", "bring all users of a `file`")
	fl.BoolVar(&f.all, "all", false, "bring all users of Dovecot")
	fl.StringVar(&f.domain, "domain", "", "with --all, the `domain` here of users whose names have none")
	fl.IntVar(&f.atOnce, "at-once", 4, "how many users are brought at a time")
	c.RunE = t.with(f.run)
	return c
}

// evenArgs: a user comes with an address.
func evenArgs(_ *cobra.Command, args []string) error {
	if len(args) == 1 {
		return errors.New("name a user of Dovecot and the address here")
	}
	return nil
}

func (f *fromDovecot) run(ctx context.Context, cl *admind.Client, args []string) error {
	if one := len(args) == 2; one && (f.list != "" || f.all) || !one && (f.list != "") == f.all {
		return errors.New("name a user and an address, or say --accounts or --all")
	}
	if !f.all && f.domain != "" {
		return errors.New("--domain goes with --all")
	}
	if len(args) == 0 && f.source != "" {
		return errors.New("--source goes with one user: each has another")
	}
	if err := checkAtOnce(f.atOnce); err != nil {
		return err
	}
	d := carrier.Doveadm{Command: strings.Fields(f.tool)}
	uidl, err := f.format(ctx, d)
	if err != nil {
		return err
	}
	d.Options = d.IMAPOptions(ctx)
	open := func(ctx context.Context, p pair) (carrier.Source, error) { return d.Open(ctx, p.user, uidl) }
	if len(args) == 2 {
		s, err := open(ctx, pair{user: args[0]})
		if err != nil {
			return err
		}
		f.people = []pair{{ours: args[1], user: args[0]}}
		return f.moveIn.run(ctx, cl, s, args[1])
	}
	if f.all {
		f.people, err = f.everybody(ctx, cl, d)
	} else {
		f.people, err = readPairs(f.list)
	}
	if err != nil {
		return err
	}
	return (&crowd{m: &f.moveIn, cl: cl, open: open}).run(ctx, f.people, f.atOnce)
}

// format gives how POP3 ids are made.
func (f *fromDovecot) format(ctx context.Context, d carrier.Doveadm) (carrier.UIDLFormat, error) {
	if err := d.Check(); err != nil {
		return "", fmt.Errorf("--doveadm: %w", err)
	}
	switch f.uidl {
	case "":
		return d.UIDLFormat(ctx)
	case "none":
		return "", nil
	}
	out := carrier.UIDLFormat(f.uidl)
	return out, out.Check()
}

// everybody gives all users of Dovecot with an account here, and tells the others.
func (f *fromDovecot) everybody(ctx context.Context, cl *admind.Client, d carrier.Doveadm) ([]pair, error) {
	users, err := d.Users(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w; if it cannot list users, name them in a file with --accounts", err)
	}
	list, err := cl.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	here := map[string]bool{}
	for _, a := range list {
		here[strings.ToLower(a.Address)] = true
	}
	var out []pair
	for _, u := range users {
		ours := u
		if !strings.Contains(u, "@") && f.domain != "" {
			ours = u + "@" + f.domain
		}
		if !here[strings.ToLower(ours)] {
			fmt.Fprintf(os.Stderr, "%s has no account here, and is left out.\n", ours)
			continue
		}
		out = append(out, pair{ours: ours, user: u})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("none of the %d users of Dovecot has an account here: add them with posthaste account add, and say --domain if their names have none", len(users))
	}
	return out, nil
}
