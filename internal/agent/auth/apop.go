package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"fmt"

	"posthaste/internal/proto/pop3"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// apopGroups is how many groups of four letters a password for APOP has: 140 bits,
// since whoever hears a digest can try passwords on it for as long as he likes.
const apopGroups = 7

// NewAPOPPassword makes an app password for APOP (RFC 1939 §7), which the server
// keeps as it is, and which opens an account by nothing else (decision 023). It is
// else as NewAppPassword.
func NewAPOPPassword(now directory.Credentials) (password string, p directory.AppPassword, c directory.Credentials, err error) {
	password = newSecret(apopGroups)
	return password, directory.AppPassword{Protocols: directory.POP3, APOP: password}, appSalt(now), nil
}

// NewStamp gives what stands in the greeting of a connection: no other has the same.
func NewStamp() string { return "<" + rand.Text() + "@posthaste>" }

// OffersAPOP tells whether anybody here has a password for APOP.
func (v *verifier) OffersAPOP(ctx context.Context) (bool, error) { return v.a.Directory.HasAPOP(ctx) }

// APOP checks a digest of the stamp and a password.
func (v *verifier) APOP(ctx context.Context, user, stamp string, digest []byte) (_ sasl.Identity, err error) {
	defer func() { v.tried(err) }()
	acct, err := v.find(ctx, user)
	if err != nil {
		return sasl.Identity{}, err
	}
	p := pair{v.network, acct.login}
	if err := v.pause(ctx, p); err != nil {
		return sasl.Identity{}, err
	}
	for _, app := range acct.Apps {
		if app.APOP != "" && hmac.Equal(digest, pop3.Stamped(stamp, app.APOP)) {
			v.a.pairs.Clear(p)
			return v.admit(ctx, "", acct, app.Device)
		}
	}
	v.failed(p)
	if acct.ID == 0 {
		return sasl.Identity{}, no("no such account", acct)
	}
	return sasl.Identity{}, no(fmt.Sprintf("wrong APOP digest, of %d passwords for APOP, for", countAPOP(acct.Apps)), acct)
}

func countAPOP(apps []directory.AppPassword) (n int) {
	for _, p := range apps {
		if p.APOP != "" {
			n++
		}
	}
	return n
}
