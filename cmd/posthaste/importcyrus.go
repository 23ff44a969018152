package main

import (
	"context"

	"github.com/spf13/cobra"

	"posthaste/internal/agent/carrier"
	"posthaste/internal/service/admind"
)

func (t *tool) importCyrus() *cobra.Command {
	var m moveIn
	var user, conf string
	c := &cobra.Command{
		Use: "cyrus PATH ADDRESS", Short: "Bring a user's folders from the spool of a Cyrus server", Args: cobra.ExactArgs(2),
		Long: `Bring a user's folders from the files of a Cyrus server: messages, dates, flags,
keywords, who may do what with folders, and the ids that POP3 clients have seen. PATH is
the folder of the user's INBOX, with cyrus.header, cyrus.index and the files "1.", "2."
and so on; the other folders are below it. From Cyrus 3.6 on folders are told apart by
ids, and PATH is the partition, with a folder "uuid" in it: say --user.

What has been read is what the user has read (of Cyrus before 2.4 it does not come).
What is subscribed comes with --configdirectory, in the forms flat and twoskip; without
it, all folders are subscribed here. Cyrus keeps elsewhere, and it does not come: what
folders are for beyond their names, what is noted about them, Sieve scripts, and messages
that are in an archive partition, which are told as missing.
If the server still runs, "posthaste import imap" with --master brings more of that.

Stop Cyrus, or bring a copy of its files, for the last run at least.`,
		Example: `  posthaste import cyrus /var/spool/cyrus/mail/a/user/ada ada@example.org
  posthaste import cyrus /var/spool/cyrus/mail ada@example.org --user ada --configdirectory /var/lib/cyrus`,
	}
	m.flags(c)
	m.serverFlags(c)
	m.uidlFlag(c)
	c.Flags().Lookup("uidl").Usage = "the `format` of POP3 ids, if uidl_format in imapd.conf is not cyrus; for dovecot it is %08Xu%08Xv, for courier %v-%u, for uidonly %u"
	c.Flags().StringVar(&user, "user", "", "the user's `name` at Cyrus, if PATH is a partition")
	c.Flags().StringVar(&conf, "configdirectory", "", "the `folder` that imapd.conf calls so, where Cyrus keeps what is subscribed")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		uidl := carrier.UIDLFormat(m.uidl)
		if err := uidl.Check(); err != nil {
			return err
		}
		s, err := carrier.NewCyrus(args[0], user, uidl)
		if err != nil {
			return err
		}
		if conf != "" {
			if err := s.Subscriptions(conf); err != nil {
				return err
			}
		}
		return m.run(ctx, cl, s, args[1])
	})
	return c
}
