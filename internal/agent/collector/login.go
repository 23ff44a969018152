package collector

import (
	"context"
	"fmt"

	"posthaste/internal/agent/token"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/store/outpost"
)

// credentials gives what proves who the outpost's owner is, by the best mechanism of
// those offered; nil if a password must go another way.
func (v *visit) credentials(ctx context.Context, offered []string) (sasl.Client, error) {
	c, err := v.a.credentials(ctx, v.o, offered)
	v.token, _ = c.(*bearer)
	return c, err
}

// Login gives what logs in at an outpost, or at its submission server, by the best
// mechanism of those offered. One with a token has a method Refused, which tells that it
// was not taken.
func (a *Agent) Login(ctx context.Context, o *outpost.Outpost, offered []string) (smtp.Authenticator, error) {
	c, err := a.credentials(ctx, o, offered)
	switch {
	case err != nil:
		return nil, err
	case c == nil:
		return nil, &WantError{fmt.Sprintf("%s offers no way to log in that is known here, only %v: look at the port, and at how to connect.", o.Host, offered)}
	}
	return c, nil
}

func (a *Agent) credentials(ctx context.Context, o *outpost.Outpost, offered []string) (sasl.Client, error) {
	who := sasl.Credentials{User: o.User, Password: o.Secret}
	if o.OAuth2 == nil {
		mech := sasl.Best(offered, sasl.ChannelBinding{})
		if mech == "" {
			return nil, nil
		}
		return sasl.NewClient(mech, who, sasl.ChannelBinding{})
	}
	mech := sasl.BestForToken(offered)
	if mech == "" {
		return nil, &WantError{fmt.Sprintf("%s takes no access token to log in with (OAuth2), it offers only %v: use a password.", o.Host, offered)}
	}
	src := a.source(o)
	t, err := src.Token(ctx)
	if err != nil {
		return nil, err
	}
	who.Password = t
	c, err := sasl.NewClient(mech, who, sasl.ChannelBinding{})
	return &bearer{c, func() { src.Refused(t) }}, err
}

// A tokenKey is whose access tokens they are: the submission server of an outpost may
// want others.
type tokenKey struct {
	outpost.ID
	user string
	outpost.OAuth2
}

// A bearer is a client with a token, and tells if it was not taken.
type bearer struct {
	sasl.Client
	refused func()
}

// Next is as of sasl.Client: a challenge is how a token is refused.
func (b *bearer) Next(challenge []byte) ([]byte, error) {
	if len(challenge) > 0 {
		b.refused()
	}
	return b.Client.Next(challenge)
}

// Refused tells that the token was not taken.
func (b *bearer) Refused() { b.refused() }

// source gives what gets the access tokens of an outpost. That of one that is not saved
// yet is told if its refresh token has changed.
func (a *Agent) source(o *outpost.Outpost) *token.Source {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := tokenKey{o.ID, o.User, *o.OAuth2}
	if have := a.tokens[key]; have != nil && have.has(o.Secret) {
		return have.source
	}
	mine := &tokens{of: *o}
	mine.source = &token.Source{
		URL: o.OAuth2.URL, ClientID: o.OAuth2.ClientID, Scope: o.OAuth2.Scope, Client: a.Web,
		Refresh: func(context.Context) (string, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			return mine.of.Secret, nil
		},
		Rotated: func(ctx context.Context, refresh string) error {
			a.mu.Lock()
			was := mine.of.Secret
			a.mu.Unlock()
			if mine.of.ID == 0 {
				o.Secret = refresh
			} else if err := a.Outposts.KeepSecret(ctx, mine.of.ID, was, refresh); err != nil {
				return err
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			mine.past = append(mine.past[max(len(mine.past)-maxPast, 0):], was)
			mine.of.Secret = refresh
			return nil
		},
	}
	if secret := o.OAuth2.ClientSecret; secret != "" {
		mine.source.Secret = func() (string, error) { return secret, nil }
	}
	if o.ID != 0 {
		if a.tokens == nil {
			a.tokens = map[tokenKey]*tokens{}
		}
		a.tokens[key] = mine
	}
	return mine.source
}
