package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"posthaste/internal/agent/token"
	"posthaste/internal/base/fetch"
	"posthaste/internal/service/admind"
)

// byCode tells whether the refresh token is to be got by a code.
func (o *outpostFlags) byCode() bool { return o.issuer != "" || o.deviceURL != "" }

// checkCode tells what is missing for that.
func (o *outpostFlags) checkCode() error {
	found := o.issuer != "" && o.deviceURL == "" && o.tokenURL == ""
	named := o.issuer == "" && o.deviceURL != "" && o.tokenURL != ""
	switch {
	case !o.byCode():
		return nil
	case !found && !named:
		return errors.New("say --oauth alone, or --device-url and --token-url")
	case o.clientID == "":
		return errors.New("say --client-id: what the provider calls this server, as registered there")
	case o.passwordFile != "":
		return errors.New("--password-file is for a refresh token that is there already: leave it out")
	}
	return nil
}

// allowed has somebody allow the access to an account elsewhere in a browser, if that is
// wanted, and puts what comes of it into in.
func (o *outpostFlags) allowed(ctx context.Context, in *admind.OutpostSettings, whose string) error {
	if !o.byCode() {
		return nil
	}
	web := (&fetch.Web{}).Client()
	d := token.Device{URL: o.deviceURL, TokenURL: o.tokenURL, ClientID: o.clientID, Secret: in.OAuth2.ClientSecret, Scope: o.scope, Client: web}
	if o.issuer != "" {
		at, err := token.Discover(ctx, web, o.issuer)
		if err != nil {
			return err
		}
		if at.Device == "" || at.Token == "" {
			return fmt.Errorf("%s knows no codes that are entered in a browser (RFC 8628): get a refresh token in another way, and give it with --token-url and --password-file", o.issuer)
		}
		d.URL, d.TokenURL = at.Device, at.Token
	}
	for _, where := range []string{d.URL, d.TokenURL} {
		if err := fetch.CheckURL(where); err != nil {
			return err
		}
	}
	c, err := d.Begin(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "Open this in a browser, log in there as the owner of %s, and enter the code:\n\n  %s\n  %s\n\n", plain(whose), plain(c.URL), plain(c.User))
	if c.Whole != "" {
		fmt.Fprintf(os.Stderr, "Or open %s, which has the code in it.\n", plain(c.Whole))
	}
	fmt.Fprintf(os.Stderr, "It is good until %s; waiting...\n", c.Until.Local().Format(time.TimeOnly))
	refresh, err := d.Wait(ctx, c)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "Allowed.")
	in.OAuth2.URL, in.Secret = d.TokenURL, &refresh
	return nil
}
