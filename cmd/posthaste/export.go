package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"posthaste/internal/agent/carrier"
	"posthaste/internal/base/mail"
	"posthaste/internal/service/admind"
)

// exporting is the command "export".
func (t *tool) exporting() *cobra.Command {
	c := &cobra.Command{
		Use: "export", Short: "Take mail out, into files or to another server", GroupID: "move",
		Long: `Take mail out: folders, messages, flags, keywords and dates, of an account, a
domain, or all. Nothing changes here. Run the command again and only what is new
is written.`,
	}
	c.AddCommand(t.exportFiles("maildir", "a Maildir", `The folders are written as Maildir++ has them (".Work.Lists"). The files that
Dovecot keeps beside them are written too: put the Maildir under a Dovecot, and
IMAP and POP3 clients go on without fetching anything anew; who may do what with
folders is in dovecot-acl, by address. Mail that is there already stays, with its flags
brought up to date.`, func(dir string) carrier.Target { return carrier.NewMaildirTarget(dir) }),
		t.exportFiles("mbox", "files in mbox", `A file for each folder, "Work/Lists.mbox", in mboxrd; flags and keywords stand in
the fields Status, X-Status and X-Keywords. Files that are there are written anew.`, func(dir string) carrier.Target { return carrier.NewMboxTarget(dir) }),
		t.exportIMAP())
	return c
}

// A moveOut is the flags that all exports share.
type moveOut struct {
	only       []string
	domain     string
	all, quiet bool
	problem    int64
	who        func(here string) string // as of carrier.Export
}

func (m *moveOut) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&m.only, "folder", nil, "only the folder of this `name` (may be said again)")
	c.Flags().BoolVarP(&m.quiet, "quiet", "q", false, "no progress")
}

func (t *tool) exportFiles(kind, what, long string, target func(string) carrier.Target) *cobra.Command {
	var m moveOut
	c := &cobra.Command{
		Use: kind + " PATH [ADDRESS]", Short: "Write " + what, Args: cobra.RangeArgs(1, 2),
		Long: long + `

With --domain or --all, PATH has a folder for each account, a file "aliases" with a
line for each alias, and people.json with domains, accounts and their settings, which
"posthaste import people" reads.`,
		Example: "  posthaste export " + kind + " /tmp/ada ada@example.org\n  posthaste export " + kind + " /backup/example.org --domain example.org",
	}
	m.flags(c)
	c.Flags().StringVar(&m.domain, "domain", "", "all accounts of a `domain`")
	c.Flags().BoolVar(&m.all, "all", false, "all accounts")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		many := m.domain != "" || m.all
		if many == (len(args) == 2) || m.all && m.domain != "" {
			return errors.New("name an address, or say --domain or --all")
		}
		if !many {
			return m.run(ctx, cl, args[1], target(args[0]))
		}
		if err := m.serves(ctx, cl); err != nil {
			return err
		}
		list, err := cl.Accounts(ctx)
		if err != nil {
			return err
		}
		for _, a := range list {
			if m.wants(a.Address) {
				if err := m.run(ctx, cl, a.Address, target(filepath.Join(args[0], a.Address))); err != nil && !errors.Is(err, errSaid) {
					return fmt.Errorf("%s: %w", a.Address, err)
				}
			}
		}
		if err := errors.Join(m.aliases(ctx, cl, args[0]), m.people(ctx, cl, args[0])); err != nil {
			return err
		}
		if m.problem > 0 {
			return errSaid
		}
		return nil
	})
	return c
}

// serves looks whether the domain is here, and gives it the form that addresses have.
func (m *moveOut) serves(ctx context.Context, cl *admind.Client) error {
	if m.all {
		return nil
	}
	d, err := mail.ParseDomain(m.domain)
	if err != nil {
		return fmt.Errorf("%q is no domain name", m.domain)
	}
	m.domain = d.String()
	list, err := cl.Domains(ctx)
	if err != nil {
		return err
	}
	for _, there := range list {
		if name, err := mail.ParseDomain(there.Name); err == nil && name == d {
			return nil
		}
	}
	return fmt.Errorf("the domain %s is not served here: see posthaste domain list", m.domain)
}

func (m *moveOut) wants(address string) bool {
	if m.all {
		return true
	}
	d, err := mail.ParseDomain(address[strings.LastIndexByte(address, '@')+1:])
	return err == nil && d.String() == m.domain
}

// aliases writes a file of the aliases.
func (m *moveOut) aliases(ctx context.Context, cl *admind.Client, dir string) error {
	list, err := cl.Aliases(ctx)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, a := range list {
		if m.wants(a.Address) {
			fmt.Fprintf(&b, "%s: %s\n", a.Address, strings.Join(a.Targets, ", "))
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "aliases"), []byte(b.String()), 0o600)
}

func (t *tool) exportIMAP() *cobra.Command {
	var m moveOut
	var a imapFlags
	var list string
	c := &cobra.Command{
		Use: "imap HOST [ADDRESS]", Short: "Put mail into an account at an IMAP server", Args: cobra.RangeArgs(1, 2),
		Long: `Put the mail of an account into one at another IMAP server, with flags, keywords
and dates. Folders are made there; what is for sent mail, drafts and so on goes
where that server has it. Who may do what with folders, and what is noted about
them, is set there as it is here, if that server has ACL and METADATA.

What is there already is known by its Message-ID, date and size: after an
interruption run the command again.

With --accounts, many are moved, from a file with a line for each: the address
here, the user there and the password, divided by tabs.`,
		Example: "  posthaste export imap imap.new.example ada@example.org --user ada",
	}
	m.flags(c)
	a.flags(c)
	c.Flags().StringVar(&list, "accounts", "", "move all accounts of a `file`")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		if (list != "") == (len(args) == 2) {
			return errors.New("name one address, or a file with --accounts")
		}
		people := []pair{{ours: args[len(args)-1], user: a.user}}
		if list != "" {
			var err error
			if people, err = readPairs(list); err != nil {
				return err
			}
		}
		for _, p := range people {
			server, err := a.server(ctx, args[0], p)
			if err != nil {
				return err
			}
			target, err := carrier.NewIMAPTarget(ctx, server)
			if err != nil {
				return err
			}
			m.who = whoThere(p, people)
			if err := m.run(ctx, cl, p.ours, target); err != nil && !errors.Is(err, errSaid) {
				return fmt.Errorf("%s: %w", p.ours, err)
			}
		}
		if m.problem > 0 {
			return errSaid
		}
		return nil
	})
	return c
}

// whoThere gives the names of people at another server: those of the file, else as
// the account's own is made of its address.
func whoThere(own pair, people []pair) func(string) string {
	names := map[string]string{}
	for _, p := range people {
		if p.user != "" {
			names[strings.ToLower(p.ours)] = p.user
		}
	}
	return func(here string) string {
		if n := names[strings.ToLower(here)]; n != "" {
			return n
		}
		if local, _, ok := cutAddress(here); ok && own.user != "" && !strings.Contains(own.user, "@") {
			return local
		}
		return here
	}
}

func cutAddress(a string) (local, domain string, ok bool) {
	i := strings.LastIndexByte(a, '@')
	if i < 0 {
		return "", "", false
	}
	return a[:i], a[i+1:], true
}

// run takes one account out.
func (m *moveOut) run(ctx context.Context, cl *admind.Client, address string, target carrier.Target) error {
	b := newBar(m.quiet, address)
	ex := &carrier.Export{Account: &ourAccount{c: cl, address: address}, Target: target, Only: m.only, Who: m.who, Progress: func(r carrier.Report) {
		b.show(progress(address+": "+r.Folder, r.Seen, r.Expected, r.Bytes, time.Since(b.begun)))
	}}
	rep, err := ex.Run(ctx)
	b.end()
	if err = errors.Join(err, target.Close()); err != nil {
		return err
	}
	if rep.Folders == 0 && m.domain == "" && !m.all { // of many, not each need have it
		if err := noFolders(m.only); err != nil {
			return err
		}
	}
	stdout.Printf("%s: wrote %s (%s) of %s; %d were there already.\n", address, mail.Many(rep.Added, "message"), mail.Size(rep.Bytes), mail.Many(rep.Folders, "folder"), rep.Known)
	tellLeft(rep.Left)
	for _, p := range rep.Problems {
		fmt.Fprintf(os.Stderr, "  not taken: %s\n", plain(fmt.Sprint(p)))
	}
	if m.problem += int64(len(rep.Problems)); len(rep.Problems) > 0 {
		return errSaid
	}
	return nil
}

// ourAccount is an account of the server.
type ourAccount struct {
	c       *admind.Client
	address string
}

// Folders is as of carrier.Account.
func (a *ourAccount) Folders(ctx context.Context) (out []carrier.OutFolder, err error) {
	list, err := a.c.Mailboxes(ctx, a.address)
	for _, m := range list {
		out = append(out, carrier.OutFolder{ID: m.ID, Name: m.Name, Role: m.Role, Subscribed: m.Subscribed, UIDValidity: m.UIDValidity, Messages: int64(m.Messages)})
	}
	return out, err
}

func outMessage(p admind.Parcel) carrier.OutMessage {
	uid, _ := strconv.ParseUint(p.ID, 10, 32)
	return carrier.OutMessage{UID: uint32(uid), Flags: p.Flags, Date: p.Date, UIDL: p.UIDL, MessageID: p.MessageID, Size: p.Size}
}

// Sharing is as of carrier.Account.
func (a *ourAccount) Sharing(ctx context.Context, f carrier.OutFolder) (out carrier.Sharing, err error) {
	s, err := a.c.Sharing(ctx, a.address, f.ID)
	for _, r := range s.Rights {
		out.Rights = append(out.Rights, carrier.Right(r))
	}
	for _, n := range s.Notes {
		out.Notes = append(out.Notes, carrier.Note(n))
	}
	return out, err
}

// List is as of carrier.Account.
func (a *ourAccount) List(ctx context.Context, f carrier.OutFolder, each func(carrier.OutMessage) error) error {
	return a.c.Listing(ctx, a.address, f.ID, func(p admind.Parcel) error { return each(outMessage(p)) })
}

// Read is as of carrier.Account.
func (a *ourAccount) Read(ctx context.Context, f carrier.OutFolder, uids []uint32, each func(carrier.OutMessage, io.Reader) error) error {
	var set mail.UIDSet
	for _, u := range uids {
		set.Add(mail.UID(u))
	}
	return a.c.Messages(ctx, a.address, f.ID, set, func(p admind.Parcel, r io.Reader) error { return each(outMessage(p), r) })
}
