package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"posthaste/internal/proto/discovery"
	"posthaste/internal/service/admind"
)

// settings is the command "settings".
func (t *tool) settings() *cobra.Command {
	var profile string
	c := &cobra.Command{
		Use: "settings ADDRESS", Short: "Tell what to type into a mail program", GroupID: "people", Args: cobra.ExactArgs(1),
		Long: `Tell what to type into a mail program to read and send the mail of an account: hosts,
ports, how the connection is kept from others, and which password.

Most programs find all of it by themselves from the address, once the records of
"posthaste domain dns" are published; Thunderbird and Outlook ask a web server for it,
which is there if the configuration has a [[listener]] with protocol = "https".
Apple's devices take it from a file, a profile: send it to whom it is for, or have
them open https://HOST` + discovery.ProfilePath + `?address=ADDRESS. There is no password
in it.`,
		Example: `  posthaste settings ada@example.org
  posthaste settings ada@example.org --profile ada.mobileconfig`,
	}
	c.Flags().StringVar(&profile, "profile", "", "write a profile for Apple's devices into this `file`; - is the screen")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		set, err := cl.MailSettings(ctx, args[0])
		if err != nil {
			return err
		}
		if len(set.Services) == 0 {
			return errors.New("the configuration has no [[listener]] for imap, pop3 or submission with TLS")
		}
		if profile != "" {
			return writeProfile(set, profile)
		}
		printSettings(set)
		return nil
	})
	return c
}

func printSettings(set admind.Settings) {
	last := ""
	for _, s := range set.Services {
		what := map[string]string{"imap": "Reading, by IMAP", "pop3": "or by POP3", "submission": "Sending, by SMTP", "sieve": "Rules, ManageSieve"}[s.Protocol]
		if s.Protocol == last {
			what = "or else"
		}
		last = s.Protocol
		stdout.Printf("%18s  %s, port %d, %s\n", what, s.Host, s.Port, map[string]string{"implicit": "SSL/TLS", "starttls": "STARTTLS"}[s.TLS])
	}
	stdout.Printf("%18s  %s\n", "User name", set.Login)
	stdout.Printf("%18s  that of the account, or an app password (\"normal password\")\n", "Password")
	stdout.Printf("\nAn app password is for one program: posthaste account password add %s NAME\n", set.Login)
	if set.Pages != "" {
		stdout.Printf("Or they make one themselves, and look after their account: %s\n", set.Pages)
	}
	if set.Disabled {
		stdout.Println("The account is disabled: nobody can log in.")
	}
}

func writeProfile(set admind.Settings, file string) error {
	domain := set.Login[strings.LastIndexByte(set.Login, '@')+1:]
	b, ok := discovery.Profile(set.Discovery(domain), set.Login, set.Name)
	if !ok {
		return errors.New("a profile needs a [[listener]] for imap or pop3 and one for submission, with TLS")
	}
	if file == "-" {
		_, err := stdout.Write(b)
		return err
	}
	return os.WriteFile(file, b, 0o644)
}
