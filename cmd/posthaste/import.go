package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"posthaste/internal/agent/carrier"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/mbox"
	"posthaste/internal/service/admind"
)

// importing is the command "import".
func (t *tool) importing() *cobra.Command {
	c := &cobra.Command{
		Use: "import", Short: "Bring mail from another server, or from files", GroupID: "move",
		Long: `Bring the mail of an account from another server, or from files: all folders,
flags, keywords and dates. It only reads there.

What was brought is remembered: run the command again, after an interruption of
whatever kind or a week later, and it brings what is new, nothing twice, and
nothing that was deleted here. With --follow-flags it also brings the flags up to
date, with --follow-deletions what was deleted there is deleted here (it can be
restored: posthaste mailbox deleted).

Move a server over like this: import once while people still use the old one,
change the DNS, then import again.

What cannot be read is told at the end, with the reason; then the command ends
with 1.`,
	}
	c.AddCommand(t.importMaildir(), t.importMbox(), t.importTakeout(), t.importIMAP(), t.importDovecot(), t.importCyrus(), t.importPeople())
	return c
}

// A moveIn is the flags that all imports share.
type moveIn struct {
	im           carrier.Import
	uidl, report string
	source       string
	quiet        bool
	reported     strings.Builder // what stands in the report
	people       []pair          // who is who
}

func (m *moveIn) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&m.im.Only, "folder", nil, "only the folder of this `name` (may be said again)")
	f.StringArrayVar(&m.im.Skip, "skip", nil, "not the folder of this `name` (may be said again)")
	f.StringVar(&m.im.Under, "under", "", "put everything below the folder of this `name`")
	f.BoolVar(&m.im.DryRun, "dry-run", false, "say what would come, and change nothing")
	f.BoolVar(&m.im.FollowFlags, "follow-flags", false, "give what came before the flags that it has there now")
	f.BoolVar(&m.im.FollowDeletions, "follow-deletions", false, "delete here what has been deleted there since")
	f.StringVar(&m.source, "source", "", "the `name` that what was brought is remembered by, if the same mail was once imported from another path or host")
	f.StringVar(&m.report, "report", "", "write what could not be read into this `file`")
	f.BoolVarP(&m.quiet, "quiet", "q", false, "no progress")
}

// rightsFlag is that of sources that know who may do what with folders.
func (m *moveIn) rightsFlag(c *cobra.Command) {
	c.Flags().BoolVar(&m.im.FollowRights, "follow-rights", false, "give folders that came before the rights that they have there now, in place of those here")
}

// serverFlags are those of servers, which number their messages, too.
func (m *moveIn) serverFlags(c *cobra.Command) {
	m.rightsFlag(c)
	c.Flags().BoolVar(&m.im.Renumbered, "renumbered", false, "bring folders again that the old server has numbered anew")
}

func (m *moveIn) uidlFlag(c *cobra.Command) {
	c.Flags().StringVar(&m.uidl, "uidl", "", "the old server's `format` of POP3 ids, so that POP3 clients fetch nothing twice; Dovecot's is %08Xu%08Xv")
}

func (t *tool) importMaildir() *cobra.Command {
	var m moveIn
	c := &cobra.Command{
		Use: "maildir PATH ADDRESS", Short: "Bring a Maildir with its folders", Args: cobra.ExactArgs(2),
		Long: `Bring a Maildir, with its folders in the form of Maildir++ (".Work.Lists") or as
folders within folders. Flags come from the names of the files, dates from their
times; keywords, the order, what is subscribed, who may do what with folders, and POP3
ids from the files that Dovecot or Courier keeps there.

Ids that Courier's POP3 has shown come by themselves, and so do those that Dovecot was
made to keep; for others say how they were made, with --uidl.

The names of people with rights are taken to be addresses, or what stands before the @
of their addresses in the same domain. Groups do not come.`,
		Example: `  posthaste import maildir /home/ada/Maildir ada@example.org
  posthaste import maildir /var/vmail/example.org/ada ada@example.org --uidl %08Xu%08Xv`,
	}
	m.flags(c)
	m.uidlFlag(c)
	m.rightsFlag(c)
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		uidl := carrier.UIDLFormat(m.uidl)
		if err := uidl.Check(); err != nil {
			return err
		}
		s, err := carrier.NewMaildir(args[0], uidl)
		if err != nil {
			return err
		}
		return m.run(ctx, cl, s, args[1])
	})
	return c
}

func (t *tool) importMbox() *cobra.Command {
	var m moveIn
	var quoting string
	c := &cobra.Command{
		Use: "mbox PATH ADDRESS", Short: "Bring a file in mbox, or a folder of such files", Args: cobra.ExactArgs(2),
		Long: `Bring a file in mbox: it becomes the folder of its name, or with --under part of
another. Of a folder of files each becomes a folder; the profile of Thunderbird is
such a folder, and so is ~/mail of older servers. Flags and keywords come from the
fields Status, X-Status, X-Keywords and X-Mozilla-Status, which do not stay in the
messages. Files in mbx, the other form of UW imapd, are read as well.

Messages are known by their bytes: the file may grow or be written anew, and only
what is new comes.

With --uidl, what POP3 clients have collected from such a file is not collected again:
%08Xv%08Xu if UW's ipop3d was the server, %08Xu%08Xv if it was Dovecot (unless its
pop3_uidl_format says otherwise), X-UIDL if it kept its ids in that field, as Qpopper
did.`,
		Example: `  posthaste import mbox ~/mail/old.mbox ada@example.org
  posthaste import mbox /var/mail/ada ada@example.org --uidl %08Xv%08Xu`,
	}
	m.flags(c)
	c.Flags().StringVar(&m.uidl, "uidl", "", "the old server's `format` of POP3 ids, so that POP3 clients fetch nothing twice, or X-UIDL")
	c.Flags().StringVar(&quoting, "quoting", "mboxrd", "which `dialect`: mboxrd, or mboxo if \">>From\" is to stay")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		q, ok := map[string]mbox.Quoting{"mboxrd": mbox.RD, "mboxo": mbox.O}[quoting]
		if !ok {
			return errors.New("--quoting is mboxrd or mboxo")
		}
		uidl := carrier.UIDLFormat(m.uidl)
		if strings.EqualFold(m.uidl, string(carrier.UIDLField)) {
			uidl = carrier.UIDLField
		} else if err := uidl.Check(); err != nil {
			return err
		}
		s, err := carrier.NewMbox(args[0], q)
		if err != nil {
			return err
		}
		s.UIDL = uidl
		return m.run(ctx, cl, s, args[1])
	})
	return c
}

func (t *tool) importTakeout() *cobra.Command {
	var m moveIn
	c := &cobra.Command{
		Use: "takeout PATH ADDRESS", Short: "Bring what Google Takeout gives of Gmail", Args: cobra.ExactArgs(2),
		Long: `Bring the mbox file of Google Takeout, or a folder of them. A message goes to the
folder that its labels say: Trash, Junk, Drafts, Inbox or Sent, else to one named
after its first own label, else to Archive. Its other own labels become keywords;
Unread, Starred and Important become flags.`,
		Example: `  posthaste import takeout "All mail Including Spam and Trash.mbox" ada@example.org`,
	}
	m.flags(c)
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		s, err := carrier.NewTakeout(args[0])
		if err != nil {
			return err
		}
		return m.run(ctx, cl, s, args[1])
	})
	return c
}

func (t *tool) importIMAP() *cobra.Command {
	var m moveIn
	var a imapFlags
	var list string
	var atOnce int
	c := &cobra.Command{
		Use: "imap HOST [ADDRESS]", Short: "Bring an account, or many, from an IMAP server", Args: cobra.RangeArgs(1, 2),
		Long: `Bring all folders of an account from an IMAP server: flags, keywords, dates, what
is subscribed and what is for sent mail, drafts and so on. Names are changed to
ours: "INBOX.Work.Lists" becomes "Work/Lists".

Who may do what with a folder comes along the first time, and what is noted about it
(METADATA), if the old server lets us see it: rights of people with an account here.
Add all accounts before. The names of people there are taken to be addresses, or what
stands before the @ of their addresses in the same domain; with --accounts, the file
says who is who. With --follow-rights, the rights there take the place of those here
once more.

Folders that show what is in others ("All Mail" at Gmail) and those of other
people are left out.

With --accounts, many are brought, some at once, from a file with a line for each:
the address here, the user there and the password, divided by tabs.
With --master, a master user's name and password log in for all of them, and the
passwords may be left out.

With --uidl, what POP3 clients have collected from the old server is not
collected again: say how its POP3 ids are made. Dovecot's own format is
%08Xu%08Xv, if pop3_uidl_format does not say otherwise.`,
		Example: `  posthaste import imap imap.old.example ada@example.org --user ada
  posthaste import imap old.example --accounts people.tsv --master admin --password-file master`,
	}
	m.flags(c)
	m.uidlFlag(c)
	a.flags(c)
	m.serverFlags(c)
	c.Flags().StringVar(&list, "accounts", "", "bring all accounts of a `file`")
	c.Flags().IntVar(&atOnce, "at-once", 4, "how many accounts of the file are brought at a time; the old server may not like many")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		uidl := carrier.UIDLFormat(m.uidl)
		if err := uidl.Check(); err != nil {
			return err
		}
		if (list != "") == (len(args) == 2) {
			return errors.New("name one address, or a file with --accounts")
		}
		var asking sync.Mutex // one password is asked for at a time
		open := func(ctx context.Context, p pair) (carrier.Source, error) {
			asking.Lock()
			server, err := a.server(ctx, args[0], p)
			asking.Unlock()
			if err != nil {
				return nil, err
			}
			return carrier.NewIMAP(ctx, server, uidl)
		}
		if list != "" {
			people, err := readPairs(list)
			if err != nil {
				return err
			}
			if err := checkAtOnce(atOnce); err != nil {
				return err
			}
			m.people = people
			return (&crowd{m: &m, cl: cl, open: open}).run(ctx, people, atOnce)
		}
		s, err := open(ctx, pair{ours: args[1], user: a.user})
		if err != nil {
			return err
		}
		return m.run(ctx, cl, s, args[1])
	})
	return c
}

// A pair is an account here and there.
type pair struct{ ours, user, password string }

func readPairs(file string) (out []pair, err error) {
	f, err := openFile(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if file == "-" {
		file = "standard input"
	}
	err = eachLine(f, 3, func(n int, w []string) error {
		if len(w) < 2 {
			return fmt.Errorf("line %d: an address here and a user there are needed, divided by a tab", n)
		}
		p := pair{ours: w[0], user: w[1]}
		if len(w) == 3 {
			p.password = w[2]
		}
		out = append(out, p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(out) == 0 {
		err = fmt.Errorf("%s names no accounts: each has a line with the address here and the user there, divided by a tab", file)
	}
	return out, err
}

// run brings what a source has, and tells how it went.
func (m *moveIn) run(ctx context.Context, cl *admind.Client, s carrier.Source, address string) error {
	if err := m.begin(); err != nil {
		return err
	}
	bar := newBar(m.quiet, address)
	rep, err := m.bring(ctx, cl, s, address, bar.importing)
	bar.end()
	if err == nil && rep.AllFolders == 0 {
		err = noFolders(m.im.Only)
	}
	return m.ended(rep, address, err)
}

// begin makes the report, so that one that cannot be written is known now.
func (m *moveIn) begin() error {
	if m.report == "" {
		return nil
	}
	return os.WriteFile(m.report, nil, 0o600)
}

// noFolders is the error if no folder was found, and some were asked for.
func noFolders(only []string) error {
	if len(only) == 0 {
		return nil
	}
	return fmt.Errorf("there is no folder of this name: %s", strings.Join(only, ", "))
}

// ended tells how it went, if it came to that.
func (m *moveIn) ended(rep carrier.Report, address string, err error) error {
	if err != nil && rep.AllFolders == 0 {
		return err
	}
	return errors.Join(m.tell(rep, address), err)
}

// bring brings what a source has, and closes it.
func (m *moveIn) bring(ctx context.Context, cl *admind.Client, s carrier.Source, address string, progress func(carrier.Report)) (carrier.Report, error) {
	defer s.Close()
	if _, err := cl.Mailboxes(ctx, address); err != nil {
		return carrier.Report{}, err
	}
	im := m.im
	im.Source = s
	im.Who = whoHere(address, m.people)
	name := s.Name()
	if m.source != "" {
		name = m.source
	}
	im.Store = &remoteStore{c: cl, address: address, source: name}
	im.Progress = progress
	return im.Run(ctx)
}

// whoHere gives the addresses of people at another server: those of the file, else
// their names there, in the domain of the account.
func whoHere(address string, people []pair) func(string) string {
	_, domain, _ := cutAddress(address)
	usual := carrier.InDomain(domain)
	names := map[string]string{}
	for _, p := range people {
		names[strings.ToLower(p.user)] = p.ours
	}
	return func(there string) string {
		if a := names[strings.ToLower(there)]; a != "" {
			return a
		}
		return usual(there)
	}
}

// tellLeft prints what of rights and notes did not come, each once.
func tellLeft(list []carrier.Problem) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(os.Stderr, "This did not come along:")
	for _, line := range leftWords(list) {
		fmt.Fprintln(os.Stderr, " ", line)
	}
}

// leftWords gives it as lines, the same of several folders together.
func leftWords(list []carrier.Problem) (lines []string) {
	folders := map[string][]string{}
	var order []string
	for _, p := range list {
		k := p.ID + ": " + p.Why
		if folders[k] == nil {
			order = append(order, k)
		}
		folders[k] = append(folders[k], p.Folder)
	}
	for i, k := range order {
		if i == 20 {
			return append(lines, fmt.Sprintf("... and %d more", len(order)-i))
		}
		where := fmt.Sprintf("%q", folders[k][0])
		if n := len(folders[k]) - 1; n > 0 {
			where += fmt.Sprintf(" and %s", mail.Many(n, "other folder"))
		}
		lines = append(lines, fmt.Sprintf("%s (%s)", plain(k), where))
	}
	return lines
}

// tell prints how it went.
func (m *moveIn) tell(r carrier.Report, address string) error {
	verb := "brought"
	if m.im.DryRun {
		verb = "would bring"
	}
	stdout.Printf("%s: %s %s (%s) of %s; %d had come before", address, verb, mail.Many(r.Added, "message"), mail.Size(r.Bytes), mail.Many(r.Folders, "folder"), r.Known)
	if r.Changed > 0 {
		stdout.Printf("; flags of %d changed", r.Changed)
	}
	if r.Gone > 0 {
		stdout.Printf("; %d were deleted there and are now here", r.Gone)
	}
	stdout.Println(".")
	if r.Dropped > 0 {
		stdout.Printf("%s found no room: a folder has at most 59 different ones.\n", mail.Many(r.Dropped, "keyword"))
	}
	tellLeft(r.Left)
	n := int64(len(r.Problems)) + r.MoreProblems
	if n == 0 {
		return nil
	}
	fmt.Fprintf(os.Stderr, "%d could not be read:\n", n)
	for i, p := range r.Problems {
		if i == 20 && m.report == "" {
			fmt.Fprintf(os.Stderr, "  ... and %d more; --report writes all into a file.\n", n-20)
			break
		}
		if i < 20 {
			fmt.Fprintf(os.Stderr, "  %s\n", plain(fmt.Sprint(p)))
		}
	}
	if m.report != "" {
		for _, p := range r.Problems {
			fmt.Fprintf(&m.reported, "%s: %s\n", address, p)
		}
		if err := os.WriteFile(m.report, []byte(m.reported.String()), 0o600); err != nil {
			return err
		}
	}
	return errSaid
}
