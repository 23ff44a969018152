package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"posthaste/internal/agent/carrier"
	"posthaste/internal/base/mail"
	"posthaste/internal/service/admind"
)

// move is the command "move".
func (t *tool) move() *cobra.Command {
	c := &cobra.Command{
		Use: "move", Short: "Move accounts here while they are in use", GroupID: "move",
		Long: `Move accounts here from another server while people use them.

From "move begin" on, who logs in here over IMAP or POP3 is logged in at the former
server, and the session is passed on to it: people see their mail as it is there,
with the password that they have there. That password becomes the one here. So mail
programs can be pointed at this server first, account by account or all at once.

"move flip" brings the mail: first while the former server still answers, then, with
nobody logged in, what has changed meanwhile, flags and deletions too. From then on
this server answers. If anything fails, nothing changes for the user, and the command
can be run again.

Sending goes over this server at once. Mail that comes here from outside for an
account is kept here and seen from the flip on: let the MX records lead to the former
server until its accounts are flipped. Then change them, and bring what still came
there with "posthaste import imap".`,
		Example: `  posthaste move begin ada@example.org --from imaps://imap.old.example
  posthaste import imap imap.old.example ada@example.org     # as often as you like
  posthaste move status
  posthaste move flip ada@example.org`,
	}
	c.AddCommand(t.moveBegin(), t.moveStatus(), t.moveFlip(), t.moveBack(), t.moveEnd())
	return c
}

func (t *tool) moveBegin() *cobra.Command {
	var m admind.Move
	var list, passwordFile, tls, ca string
	var forget bool
	c := &cobra.Command{
		Use: "begin [ADDRESS...]", Short: "Have the former server answer for accounts",
		Long: `Have the former server answer for accounts, until "posthaste move flip". The accounts
must be here; they need no password.

The former server sees all sessions come from this one: if it limits connections or
failed logins per address, except ours. People log in with their password there, by
PLAIN or LOGIN: only these are offered while an account is moving, as other mechanisms
do not show us the password. With a master user of the former server, who may log in
for others, what opens an account here works as well: app passwords, certificates.

--uidl says how the former server makes its POP3 ids, so that after the flip POP3
programs do not collect again what they have. Dovecot makes %08Xu%08Xv, if
pop3_uidl_format does not say otherwise.`,
		Example: `  posthaste move begin ada@example.org --from imaps://imap.old.example --user ada
  posthaste move begin --accounts people.tsv --from imap://10.0.0.5 --pop3 pop3://10.0.0.5 \
      --uidl %08Xu%08Xv --master admin --password-file master`,
	}
	f := c.Flags()
	f.StringVar(&m.From, "from", "", "the former server's `URL`: imaps://host (TLS) or imap://host (STARTTLS)")
	f.StringVar(&m.POP3, "pop3", "", "its `URL` for POP3: pop3s://host or pop3://host; without it, POP3 has to wait for the flip")
	f.StringVar(&m.User, "user", "", "the user's `name` there; without it, the address")
	f.StringVar(&m.Master, "master", "", "the `name` of a master user there")
	f.StringVar(&passwordFile, "password-file", "", "a `file` with the master user's password (- is standard input), which is kept until \"move end\"")
	f.StringVar(&list, "accounts", "", "all accounts of a `file`: the address here and the user there, divided by a tab")
	f.StringVar(&m.UIDL, "uidl", "", "the `format` of POP3 ids there")
	f.StringVar(&tls, "tls", "", "none: speak to it without TLS, in a network that nobody else can listen to")
	f.StringVar(&ca, "ca", "", "a `file` with the certificate to trust, if the server has none that all trust")
	f.BoolVar(&forget, "no-learn", false, "do not make passwords that are good there good here")
	c.MarkFlagRequired("from")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		if tls != "" && tls != "none" {
			return errors.New("--tls can only be none; else the URL says it")
		}
		m.Learn, m.Clear = !forget, tls == "none"
		var err error
		if m.CA, err = contents(ca); err != nil {
			return err
		}
		if m.Password, err = contents(passwordFile); err != nil {
			return err
		}
		m.Password = strings.TrimRight(m.Password, "\r\n")
		people, err := movePairs(list, args, m.User)
		if err != nil {
			return err
		}
		return eachAccount(ctx, people, func(p pair) error {
			m := m
			m.Address, m.User = p.ours, p.user
			if err := cl.BeginMove(ctx, m); err != nil {
				return err
			}
			stdout.Printf("%s is answered by %s now, until it is flipped.\n", m.Address, m.From)
			return nil
		})
	})
	return c
}

// contents reads a file; "" is none.
func contents(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := readFile(file)
	return string(b), err
}

// movePairs gives the accounts that are named, or those of a file.
func movePairs(list string, args []string, user string) ([]pair, error) {
	switch {
	case (list != "") == (len(args) > 0):
		return nil, errors.New("name addresses, or a file with --accounts")
	case list != "":
		return readPairs(list)
	case user != "" && len(args) > 1:
		return nil, errors.New("--user is for one account; name more in a file, with --accounts")
	}
	var out []pair
	for _, a := range args {
		out = append(out, pair{ours: a, user: user})
	}
	return out, nil
}

// eachAccount does something to each, and tells what failed.
func eachAccount(ctx context.Context, people []pair, do func(pair) error) error {
	failed := 0
	for _, p := range people {
		err := do(p)
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			failed++
			fmt.Fprintf(os.Stderr, "%s: %s\n", p.ours, plainly(err.Error()))
		}
	}
	if failed == 0 {
		return nil
	}
	if len(people) > 1 {
		fmt.Fprintf(os.Stderr, "%d of %d accounts failed; the others are done.\n", failed, len(people))
	}
	return errSaid
}

func (t *tool) moveStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show accounts that are moving, or have been", Args: cobra.NoArgs,
		Long: `Show accounts that are moving, or have been: who answers for them, from where they
come, and how far a flip is. Below that, what the last flip since the server began could
not bring: messages that could not be read, rights of people who are not here, and notes.`,
		RunE: t.with(func(ctx context.Context, c *admind.Client, _ []string) error {
			list, err := c.Moves(ctx)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				stdout.Println("No account has a former server.")
				return nil
			}
			w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ACCOUNT\tANSWERED\tFORMER SERVER\tSESSIONS\tTHERE\tHERE\tLAST FLIP")
			for _, m := range list {
				there, last := "?", "-"
				if r := m.Run; r != nil {
					there, last = fmt.Sprint(r.There), flipWords(r)
				}
				if m.Failed != "" {
					last = "failed: " + m.Failed
				}
				by := map[string]string{"former": "there", "flipping": "not now", "here": "here"}[m.State]
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%d\t%s\n", m.Address, by, m.From, m.Sessions, there, m.Here, last)
			}
			if err := w.Flush(); err != nil {
				return err
			}
			for _, m := range list {
				tellFlip(stdout, m.Address, m.Run)
			}
			return nil
		}),
	}
}

// tellFlip tells what the last flip of an account could not bring.
func tellFlip(w io.Writer, address string, r *admind.MoveRun) {
	if r == nil || len(r.Left) == 0 && len(r.Whichever) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s: the flip has left out\n", address)
	for _, text := range r.Whichever {
		fmt.Fprintf(w, "  what could not be read: %s\n", plain(text))
	}
	if n := int(r.Unread) - len(r.Whichever); n > 0 {
		fmt.Fprintf(w, "  ... and %s\n", mail.Many(n, "other message"))
	}
	list := make([]carrier.Problem, len(r.Left))
	for i, l := range r.Left {
		list[i] = carrier.Problem{Folder: l.Folder, ID: l.What, Why: l.Why}
	}
	for _, line := range leftWords(list) {
		fmt.Fprintln(w, " ", line)
	}
}

func flipWords(r *admind.MoveRun) string {
	if r.Ended.IsZero() {
		what := "brings mail while the former server answers"
		if r.Last {
			what = "brings the last mail"
		}
		return fmt.Sprintf("%s: %d of %d messages seen, at %s", what, r.Seen, r.There, r.Folder)
	}
	return "ended " + r.Ended.Format(time.DateTime)
}

func (t *tool) moveFlip() *cobra.Command {
	var list, passwordFile string
	var how admind.MoveFlip
	var quiet bool
	c := &cobra.Command{
		Use: "flip [ADDRESS...]", Short: "Bring the mail of accounts, and answer for them from then on",
		Long: `Bring the mail of accounts, and answer for them from then on.

The first round may take long, and people notice nothing of it. Then their sessions
end, who logs in is told to try again in a minute, and the second round brings what
has changed during the first; mail programs connect again by themselves.

If it is interrupted or fails, the former server goes on to answer; the next time
only what is new is brought. If messages cannot be read, they are named and the
account is not flipped without --force.

Without a master user (see "posthaste move begin"), the account's password at the
former server is needed.`,
		Example: `  posthaste move flip ada@example.org --password-file ada
  posthaste move flip --accounts people.tsv`,
	}
	f := c.Flags()
	f.StringVar(&list, "accounts", "", "all accounts of a `file`: the address here, the user there and, without a master user, the password, divided by tabs")
	f.StringVar(&passwordFile, "password-file", "", "a `file` with the account's password at the former server")
	f.BoolVar(&how.Force, "force", false, "flip though messages cannot be read")
	f.BoolVarP(&quiet, "quiet", "q", false, "no progress")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		people, err := movePairs(list, args, "")
		if err != nil {
			return err
		}
		password, err := contents(passwordFile)
		if err != nil {
			return err
		}
		return eachAccount(ctx, people, func(p pair) error {
			h := how
			if h.Password = p.password; h.Password == "" {
				h.Password = strings.TrimRight(password, "\r\n")
			}
			return flipOne(ctx, cl, p.ours, h, quiet)
		})
	})
	return c
}

// flipOne flips an account and shows how far it is.
func flipOne(ctx context.Context, cl *admind.Client, address string, how admind.MoveFlip, quiet bool) error {
	b := newBar(quiet, address)
	watch, stop := context.WithCancel(ctx)
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		for b.on {
			select {
			case <-watch.Done():
				return
			case <-time.After(time.Second):
			}
			list, err := cl.Moves(watch)
			for _, m := range list {
				if err == nil && m.Address == address && m.Run != nil && m.Run.Ended.IsZero() {
					b.show(progress(address+": "+m.Run.Folder, m.Run.Seen, m.Run.There, m.Run.Bytes, time.Since(b.begun)))
				}
			}
		}
	}()
	r, err := cl.FlipMove(ctx, address, how)
	stop()
	<-shown
	b.end()
	if err != nil {
		return err
	}
	stdout.Printf("%s is answered here now: %s in %s.\n", address, mail.Many(r.There, "message"), mail.Many(r.Folders, "folder"))
	tellFlip(os.Stderr, address, &r)
	return nil
}

func (t *tool) moveBack() *cobra.Command {
	return &cobra.Command{
		Use: "back ADDRESS...", Short: "Have the former server of flipped accounts answer again", Args: cobra.MinimumNArgs(1),
		Long: `Have the former server of flipped accounts answer again, if something went wrong.
Mail that has come here since, and all that was changed here, stays here and is seen
after the next flip; "posthaste export imap" brings it to the former server.`,
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			return eachAccount(ctx, named(args), func(p pair) error {
				if err := c.BackMove(ctx, p.ours); err != nil {
					return err
				}
				stdout.Printf("%s is answered by its former server again.\n", p.ours)
				return nil
			})
		}),
	}
}

func (t *tool) moveEnd() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "end ADDRESS...", Short: "Forget the former server of accounts", Args: cobra.MinimumNArgs(1),
		Long: `Forget the former server of accounts, and its master user's password. An account that
is not flipped is answered here from then on, with the mail that is here: say --yes
if you mean that.`,
	}
	c.Flags().BoolVar(&yes, "yes", false, "also if the account is not flipped")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		list, err := cl.Moves(ctx)
		if err != nil {
			return err
		}
		return eachAccount(ctx, named(args), func(p pair) error {
			for _, m := range list {
				if strings.EqualFold(m.Address, p.ours) && m.State != "here" && !yes {
					return errors.New("it is not flipped: flip it first, or say --yes to have it answered here with the mail that is here")
				}
			}
			if err := cl.EndMove(ctx, p.ours); err != nil {
				return err
			}
			stdout.Printf("%s has no former server any more.\n", p.ours)
			return nil
		})
	})
	return c
}

func named(addresses []string) (out []pair) {
	for _, a := range addresses {
		out = append(out, pair{ours: a})
	}
	return out
}
