package auth

import (
	"context"
	"errors"
	"net/netip"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// ErrElsewhere answers those who sign in with the right password of an account that is
// still at its former server.
var ErrElsewhere = mail.Refuse("4.3.2", "your mail is still at its former server: these pages open once it has moved here", "")

// SignIn lets somebody at ip in to the pages that people have here, with the account's
// own password: no app password opens them. It is slowed down as other logins are, and
// tells as little. A *mail.Refusal is what they may be told: sasl.ErrFailed,
// ErrElsewhere, or that it is not possible just now; any other error is our failure.
//
// Before a dangerous act, the password may be asked for once more by the same function;
// then the Account must be the same.
func (a *Agent) SignIn(ctx context.Context, ip netip.Addr, user, password string) (sasl.Identity, error) {
	return a.For(ip, directory.Web).Password(ctx, "", user, password)
}

// Stands tells whether what somebody has shown to sign in still opens the account, for
// each request: the password is the same, and the account neither disabled nor gone, nor
// back at its former server. Of id, Account and Proof are enough.
func (a *Agent) Stands(ctx context.Context, id sasl.Identity) (bool, error) {
	acct, err := a.Directory.Account(ctx, id.Account)
	switch {
	case errors.Is(err, mail.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case a.Former != nil && !acct.Ours():
		return false, nil
	}
	id.Login = acct.Address
	return a.holds(ctx, id)
}
