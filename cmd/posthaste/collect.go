package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"posthaste/internal/base/mail"
	"posthaste/internal/service/admind"
)

// collect is the command "collect".
func (t *tool) collect() *cobra.Command {
	c := &cobra.Command{
		Use: "collect", Short: "Mail that people have at other providers, fetched into their accounts here", GroupID: "people",
		Long: `Fetch the mail of accounts that people have elsewhere into their accounts here, from
time to time. Each such account has a name, by which it is called in all commands.

What was collected is written down together with the message: nothing comes twice,
whatever is interrupted, and nothing is deleted there before it is safe here. A
message is looked at as other mail is: what its signatures, filters and rules say
decides whether it is junk; it is never refused.`,
		Example: `  posthaste collect add ada@example.org work --imap imap.provider.example --user ada.l
  posthaste collect list
  posthaste collect show ada@example.org work`,
	}
	c.AddCommand(t.collectAdd(), t.collectSet(), t.collectList(), t.collectShow(),
		&cobra.Command{
			Use: "remove ADDRESS NAME", Short: "Collect no longer; what has come stays, here and there", Args: cobra.ExactArgs(2),
			Long: `Collect from an account no longer. The mail that has come stays, and so does what is
there. What was collected is forgotten: if the account is added again, all that is
still there comes again. Nobody sends with its address any more: what waits to go out
there comes back to its sender.`,
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				return c.RemoveOutpost(ctx, args[0], args[1])
			}),
		},
		t.collectAction("pause", "Collect and send nothing until it is resumed"), t.collectAction("resume", "Collect again"),
		t.collectAction("now", "Collect at once, also if it was given up"))
	return c
}

func (t *tool) collectAction(action, short string) *cobra.Command {
	return &cobra.Command{
		Use: action + " ADDRESS NAME", Short: short, Args: cobra.ExactArgs(2),
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			o, err := c.HandleOutpost(ctx, args[0], args[1], action)
			if err == nil {
				stdout.Println(plainly(outpostState(o)))
			}
			return err
		}),
	}
}

// outpostFlags are what can be said of an account elsewhere.
type outpostFlags struct {
	in                             admind.OutpostSettings
	host, port, security, user     string
	after, mailbox, keyword        string
	folders                        []string
	every                          int
	unjudged                       bool
	passwordFile                   string
	tokenURL, clientID, secretFile string
	scope                          string
	issuer, deviceURL              string
	sendAs                         sendAsFlags
}

func (o *outpostFlags) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.port, "port", "", "another `port` than the usual one")
	f.StringVar(&o.security, "tls", "tls", "`how` to connect: tls (from the first byte), starttls, or none (to this machine only)")
	f.StringVar(&o.user, "user", "", "the user `name` there; as a rule the address there")
	f.StringVar(&o.passwordFile, "password-file", "", "a `file` with the password, or the refresh token (- is standard input); without it, it is asked for")
	f.StringVar(&o.after, "after", "leave", "what becomes of mail there that is here: `leave`, delete, or days such as 30d, after which it is deleted")
	f.StringArrayVar(&o.folders, "folder", nil, "the folder there of this `name`, instead of INBOX (may be said again; only over IMAP)")
	f.StringVar(&o.mailbox, "into", "", "the `mailbox` here that it goes to, instead of INBOX; it is made")
	f.StringVar(&o.keyword, "keyword", "", "a keyword (label) that it gets")
	f.IntVar(&o.every, "every", 5, "how often, in `minutes`")
	f.BoolVar(&o.unjudged, "unjudged", false, "leave it to the provider alone what is junk")
	f.StringVar(&o.tokenURL, "token-url", "", "log in by OAuth2: the `URL` where access tokens are got by the refresh token")
	f.StringVar(&o.clientID, "client-id", "", "as what `client`")
	f.StringVar(&o.secretFile, "client-secret-file", "", "a `file` with the client's secret, if it has one")
	f.StringVar(&o.scope, "scope", "", "what the tokens are to be good for, if the provider wants to know")
	f.StringVar(&o.issuer, "oauth", "", "log in by OAuth2, and get the refresh token by a code that is entered in a browser: the `URL` of who gives it, where it is asked for the rest")
	f.StringVar(&o.deviceURL, "device-url", "", "get the refresh token so, but say the `URL` where codes are got, and --token-url, in place of --oauth")
	f.BoolVar(&o.in.Untried, "untried", false, "save it without trying to log in")
	o.sendAs.flags(c)
}

// settings gives what was said.
func (o *outpostFlags) settings(c *cobra.Command) (admind.OutpostSettings, error) {
	f, in := c.Flags(), o.in
	for name, to := range map[string]struct {
		from *string
		to   **string
	}{
		"port": {&o.port, &in.Port}, "tls": {&o.security, &in.Security}, "user": {&o.user, &in.User}, "after": {&o.after, &in.After},
		"into": {&o.mailbox, &in.Mailbox}, "keyword": {&o.keyword, &in.Keyword},
	} {
		if f.Changed(name) {
			*to.to = to.from
		}
	}
	if f.Changed("folder") {
		in.Folders = &o.folders
	}
	if f.Changed("every") {
		in.Every = &o.every
	}
	if f.Changed("unjudged") {
		in.Unjudged = &o.unjudged
	}
	if err := o.checkCode(); err != nil {
		return in, err
	}
	if o.tokenURL != "" || o.issuer != "" {
		in.OAuth2 = &admind.OutpostOAuth2{URL: o.tokenURL, ClientID: o.clientID, Scope: o.scope}
		if o.secretFile != "" {
			secret, err := secretOf(o.secretFile)
			if err != nil {
				return in, err
			}
			in.OAuth2.ClientSecret = secret
		}
	} else if o.clientID != "" || o.secretFile != "" || o.scope != "" {
		return in, errors.New("--client-id, --client-secret-file and --scope go with --token-url or --oauth")
	}
	if o.passwordFile != "" {
		secret, err := secretOf(o.passwordFile)
		if err != nil {
			return in, err
		}
		in.Secret = &secret
	}
	var err error
	in.SendAs, err = o.sendAs.settings(c)
	return in, err
}

// secretOf reads a secret from a file.
func secretOf(file string) (string, error) {
	b, err := readFile(file)
	return strings.TrimRight(string(b), "\r\n"), err
}

func (t *tool) collectAdd() *cobra.Command {
	var o outpostFlags
	var pop, im string
	c := &cobra.Command{
		Use: "add ADDRESS NAME", Short: "Collect the mail of an account elsewhere", Args: cobra.ExactArgs(2),
		Long: `Collect the mail of an account that ADDRESS has elsewhere, and call it NAME. It is
tried at once whether one can log in; if not, it is said why, and nothing is saved
(but with --untried).

The password is asked for, or read from a file. Many providers want an app password
here, or an access token (OAuth2): then say where tokens are got, and give the refresh
token in place of the password. Or have it got: with --oauth (or --device-url), where
the provider knows that (RFC 8628), a code is shown that somebody enters in a browser,
wherever that is, to allow the access.

Mail is left there, unless --after says otherwise. Servers that cannot tell their
messages apart (POP3 without UIDL) need --after delete.

With --send-as and --submission, ADDRESS may also send with its address there: such
mail goes out through the provider's own server, which is tried at once, too.`,
		Example: `  posthaste collect add ada@example.org work --imap imap.provider.example --user ada.l
  posthaste collect add ada@example.org old --pop3 pop.isp.example --user ada --after 30d --into "Old ISP"
  posthaste collect add ada@example.org big --imap imap.big.example --user ada@big.example \
      --token-url https://login.big.example/token --client-id abc --password-file refresh-token
  posthaste collect add ada@example.org big --imap imap.big.example --user ada@big.example \
      --oauth https://login.big.example --client-id abc --scope "imap offline_access"
  posthaste collect add ada@example.org work --imap imap.provider.example --user ada.l \
      --send-as ada.l@provider.example --submission smtp.provider.example`,
	}
	o.flags(c)
	c.Flags().StringVar(&im, "imap", "", "the `host`, over IMAP: new mail comes at once, if the server tells of it")
	c.Flags().StringVar(&pop, "pop3", "", "the `host`, over POP3")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		in, err := o.settings(c)
		if err != nil {
			return err
		}
		if (pop == "") == (im == "") || o.user == "" {
			return errors.New("say where with --imap HOST or --pop3 HOST, and as whom with --user NAME")
		}
		protocol, host := "pop3", pop
		if im != "" {
			protocol, host = "imap", im
		}
		in.Protocol, in.Host = &protocol, &host
		if err := o.allowed(ctx, &in, o.user+" at "+host); err != nil {
			return err
		}
		if in.Secret == nil {
			secret, err := askSecret(ctx, "Password of "+o.user+" at "+host, "--password-file")
			if err != nil {
				return err
			}
			in.Secret = &secret
		}
		out, err := cl.AddOutpost(ctx, args[0], args[1], in)
		if err == nil {
			stdout.Println(plainly(outpostWords(out)))
		}
		return err
	})
	return c
}

func (t *tool) collectSet() *cobra.Command {
	var o outpostFlags
	var ask bool
	c := &cobra.Command{
		Use: "set ADDRESS NAME", Short: "Change how the mail of an account elsewhere is collected", Args: cobra.ExactArgs(2),
		Long: `Change what is said, and leave the rest. It is tried at once whether one can still log
in, and then collected.

With --send-as, ADDRESS may also send with the address that it has there, from any mail
program that logs in here. Such mail goes out through that provider's submission server,
with the user and the password that mail is collected with, or others. Mail that waits
since something was wrong with that goes at once when it is changed. --send-as "" ends it.`,
		Example: `  posthaste collect set ada@example.org work --ask-password
  posthaste collect set ada@example.org work --after 30d --every 15
  posthaste collect set ada@example.org big --oauth https://login.big.example --client-id abc --scope "imap offline_access"
  posthaste collect set ada@example.org work --send-as ada.l@provider.example --submission smtp.provider.example:587`,
	}
	o.flags(c)
	c.Flags().StringVar(&o.host, "host", "", "another `host`")
	c.Flags().BoolVar(&ask, "ask-password", false, "ask for another password")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		in, err := o.settings(c)
		if err != nil {
			return err
		}
		if o.host != "" {
			in.Host = &o.host
		}
		if err := o.allowed(ctx, &in, args[1]); err != nil {
			return err
		}
		if ask {
			secret, err := askSecret(ctx, "Password", "--password-file")
			if err != nil {
				return err
			}
			in.Secret = &secret
		}
		out, err := cl.ChangeOutpost(ctx, args[0], args[1], in)
		if err == nil {
			stdout.Println(plainly(outpostWords(out)))
		}
		return err
	})
	return c
}

func (t *tool) collectList() *cobra.Command {
	return &cobra.Command{
		Use: "list [ADDRESS]", Short: "List from where mail is collected, and how that goes", Args: cobra.MaximumNArgs(1),
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			address := ""
			if len(args) == 1 {
				address = args[0]
			}
			list, err := c.Outposts(ctx, address)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				stdout.Println("Nothing is collected.")
				return nil
			}
			rows := [][]string{{"ACCOUNT", "NAME", "FROM", "COLLECTED", "STATE"}}
			for _, o := range list {
				state := outpostState(o)
				if o.SendAs != nil && o.SendAs.Error != "" {
					state += "; sending as " + o.SendAs.Address + ": " + o.SendAs.Error
				}
				rows = append(rows, []string{o.Account, o.Name, o.Protocol + " " + o.User + " at " + o.Host, fmt.Sprint(o.Collected), state})
			}
			table(rows)
			return nil
		}),
	}
}

func (t *tool) collectShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ADDRESS NAME", Short: "Show all about one", Args: cobra.ExactArgs(2),
		RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
			list, err := c.Outposts(ctx, args[0])
			if err != nil {
				return err
			}
			for _, o := range list {
				if strings.EqualFold(o.Name, args[1]) {
					stdout.Println(plainly(outpostWords(o)))
					return nil
				}
			}
			return fmt.Errorf("%s collects nothing that is called %q: see \"posthaste collect list %s\"", args[0], args[1], args[0])
		}),
	}
}

// outpostWords tells all about one in sentences.
func outpostWords(o admind.Outpost) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s collects the mail of %s at %s, port %s (%s, %s), every %s.\n", o.Account, o.User, o.Host, o.Port, strings.ToUpper(o.Protocol), securityWords(o.Security), mail.Many(o.Every, "minute"))
	if len(o.Folders) > 0 {
		fmt.Fprintf(&b, "Folders there: %s.\n", strings.Join(o.Folders, ", "))
	}
	into := "INBOX"
	if o.Mailbox != "" {
		into = o.Mailbox
	}
	fmt.Fprintf(&b, "It goes to %s", into)
	if o.Keyword != "" {
		fmt.Fprintf(&b, " and gets the keyword %s", o.Keyword)
	}
	if o.Unjudged {
		b.WriteString("; what is junk, only the provider says")
	}
	switch o.After {
	case "leave":
		b.WriteString(". There it stays.\n")
	case "delete":
		b.WriteString(". There it is deleted.\n")
	default:
		fmt.Fprintf(&b, ". There it is deleted %s later.\n", days(o.After))
	}
	fmt.Fprintf(&b, "Collected: %s (%s), %d in the last visit; deleted there: %d.\n", mail.Many(o.Collected, "message"), mail.Size(o.Bytes), o.LastCollected, o.Removed)
	if o.Refused > 0 {
		fmt.Fprintf(&b, "Left there, as it cannot be taken: %s; of the last: %s.\n", mail.Many(o.Refused, "message"), o.Refusal)
	}
	b.WriteString(sendAsWords(o))
	b.WriteString("Now: " + outpostState(o))
	return b.String()
}

// outpostState tells how one stands.
func outpostState(o admind.Outpost) string {
	if o.Waiting {
		return fmt.Sprintf("%s: \"posthaste collect set %s %s --ask-password\"", o.State, shown(o.Account), o.Name)
	}
	return o.State
}
