package auth

import (
	"context"
	"errors"
	"time"

	"posthaste/internal/base/limit"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// elsewhere tells whether an account is still at its former server.
func (v *verifier) elsewhere(acct account) bool {
	return v.a.Former != nil && acct.ID != 0 && !acct.Ours()
}

// errRules answers those who come for the rules of an account that is still at its former
// server.
var errRules = mail.Refuse("4.3.2", "this account is still at its former server, and so are its rules: they can be changed here once it has moved", "")

// notYet refuses those who have shown who they are, and come for what is here only once
// the account is.
func (v *verifier) notYet() error {
	switch v.protocol {
	case directory.Web:
		return ErrElsewhere
	case directory.Sieve:
		return errRules
	}
	return nil
}

// former lets in whom the former server lets in. What is its password there becomes
// that here, if the move says so. place is the password as it is tried from here.
func (v *verifier) former(ctx context.Context, authzid string, acct account, password string, place [32]byte) (sasl.Identity, error) {
	if _, err := v.identity(ctx, authzid, acct, 0); err != nil {
		return sasl.Identity{}, err
	}
	there, err := v.a.Former(ctx, acct.Account, v.protocol, password)
	p := pair{v.network, acct.login}
	if r, ok := errors.AsType[*mail.Refusal](err); ok && r.Status == sasl.ErrFailed.Status {
		v.failed(p)
		v.a.wrong.Add(place, 1, time.Now())
		return sasl.Identity{}, no("the former server says: "+r.Reason+";", acct)
	}
	if err != nil {
		return sasl.Identity{}, err
	}
	v.a.pairs.Clear(p)
	id, err := v.admitFormer(ctx, authzid, acct, password)
	if err == nil {
		err = v.notYet()
	}
	if err != nil {
		if there != nil {
			there.Close()
		}
		return sasl.Identity{}, err
	}
	id.Elsewhere = there
	return id, nil
}

// admitFormer learns the password if need be, and gives who it is.
func (v *verifier) admitFormer(ctx context.Context, authzid string, acct account, password string) (sasl.Identity, error) {
	if acct.Former.Learn {
		if err := v.learn(ctx, acct, password); err != nil {
			return sasl.Identity{}, err
		}
		var err error
		if acct, err = v.find(ctx, acct.Address.String()); err != nil {
			return sasl.Identity{}, err
		}
	}
	return v.identity(ctx, authzid, acct, 0)
}

// learn makes a password that of the account, unless it is. One that cannot be ours
// is passed over: it would have to be another one after the flip.
func (v *verifier) learn(ctx context.Context, acct account, password string) error {
	prepared, err := sasl.PreparePassword(password)
	if err != nil {
		return nil
	}
	mac := v.a.mac(acct, prepared)
	if v.a.knownRight(acct, mac) {
		return nil
	}
	if acct.Argon2id != "" {
		right, err := v.compare(ctx, acct, prepared, mac)
		if err != nil {
			return err
		}
		if right {
			v.a.remember(acct, mac)
			return nil
		}
	}
	c := acct.Credentials
	busy := v.a.hashing.Do(ctx, v.network, func() { c, err = v.a.NewCredentials(password, acct.Credentials) })
	switch {
	case errors.Is(busy, limit.ErrBusy):
		return errSlow
	case busy != nil:
		return busy
	case err != nil:
		return err
	}
	return v.a.putCredentials(ctx, acct.ID, c)
}
