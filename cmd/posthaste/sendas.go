package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"posthaste/internal/service/admind"
)

// sendAsFlags are what can be said of sending with an address elsewhere.
type sendAsFlags struct {
	address, submission, security, user, passwordFile string
	tokenURL, clientID, secretFile, scope             string
}

func (o *sendAsFlags) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.address, "send-as", "", "the `address` there, with which may be sent, too")
	f.StringVar(&o.submission, "submission", "", "the submission server there, as `host` or host:port")
	f.StringVar(&o.security, "submission-tls", "tls", "`how` to connect to it: tls (port 465; this is usual), starttls (port 587), or none")
	f.StringVar(&o.user, "submission-user", "", "another user `name` there than that for collecting; \"\" is the same")
	f.StringVar(&o.passwordFile, "submission-password-file", "", "a `file` with their password, or refresh token; without it, it is asked for")
	f.StringVar(&o.tokenURL, "submission-token-url", "", "log that user in by OAuth2: the `URL` where access tokens are got by the refresh token")
	f.StringVar(&o.clientID, "submission-client-id", "", "as what `client`")
	f.StringVar(&o.secretFile, "submission-client-secret-file", "", "a `file` with the client's secret, if it has one")
	f.StringVar(&o.scope, "submission-scope", "", "what the `tokens` are to be good for, if the provider wants to know")
}

// settings gives what was said; nil if nothing was.
func (o *sendAsFlags) settings(c *cobra.Command) (*admind.SendAsSettings, error) {
	var in admind.SendAsSettings
	f := c.Flags()
	if *o == (sendAsFlags{security: o.security}) && !f.Changed("send-as") && !f.Changed("submission-tls") && !f.Changed("submission-user") {
		return nil, nil
	}
	if f.Changed("send-as") {
		in.Address = &o.address
	}
	if o.submission != "" {
		host, port, err := net.SplitHostPort(o.submission)
		if err != nil {
			host = strings.Trim(o.submission, "[]")
		} else {
			in.Port = &port
		}
		in.Host = &host
	}
	if f.Changed("submission-tls") {
		in.Security = &o.security
	}
	if f.Changed("submission-user") {
		in.User = &o.user
	}
	return &in, o.login(c.Context(), &in)
}

// login reads what logs in.
func (o *sendAsFlags) login(ctx context.Context, in *admind.SendAsSettings) error {
	var secret string
	var err error
	switch {
	case o.passwordFile != "":
		secret, err = secretOf(o.passwordFile)
	case o.user != "":
		secret, err = askSecret(ctx, "Password of "+o.user+" for sending", "--submission-password-file")
	}
	if err != nil {
		return err
	}
	if secret != "" {
		in.Secret = &secret
	}
	if o.tokenURL == "" {
		if o.clientID != "" || o.secretFile != "" || o.scope != "" {
			return errors.New("--submission-client-id, --submission-client-secret-file and --submission-scope go with --submission-token-url")
		}
		return nil
	}
	in.OAuth2 = &admind.OutpostOAuth2{URL: o.tokenURL, ClientID: o.clientID, Scope: o.scope}
	if o.secretFile != "" {
		in.OAuth2.ClientSecret, err = secretOf(o.secretFile)
	}
	return err
}

func securityWords(s string) string {
	return map[string]string{"tls": "TLS", "starttls": "STARTTLS", "none": "in clear"}[s]
}

// sendAsWords tells how an address elsewhere is sent with; "" if it is not.
func sendAsWords(o admind.Outpost) string {
	s := o.SendAs
	if s == nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s sends as %s through %s, port %s (%s)", o.Account, s.Address, s.Host, s.Port, securityWords(s.Security))
	if s.User != "" {
		fmt.Fprintf(&b, ", as %s there", s.User)
	}
	switch {
	case s.Untried:
		fmt.Fprintf(&b, ", once it is seen that one can log in there: \"posthaste collect set %s %s --send-as %s\" tries it", o.Account, o.Name, s.Address)
	case o.Paused:
		b.WriteString(", but not while this is paused: what is to go waits")
	case s.Stopped:
		b.WriteString(". This is given up until it is changed. " + s.Error + "\n")
		return b.String()
	case s.Error != "":
		b.WriteString(". The last time it failed. " + s.Error + "\n")
		return b.String()
	}
	b.WriteString(".\n")
	return b.String()
}
