package auth

import (
	"context"
	"errors"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
)

// Token lets in whom an access token is of. That its time runs out later does not
// end the session (decision 021).
func (v *verifier) Token(ctx context.Context, authzid, token string) (_ sasl.Identity, err error) {
	defer func() { v.tried(err) }()
	if v.a.Tokens == nil {
		return sasl.Identity{}, sasl.ErrMechanism
	}
	p := pair{v.network, mail.Address{Local: "a token"}}
	if err := v.pause(ctx, p); err != nil {
		return sasl.Identity{}, err
	}
	name, err := v.a.Tokens(ctx, token)
	if te, refused := errors.AsType[*sasl.TokenError](err); refused {
		place := v.a.macOf([]byte("token"), []byte(token), []byte(v.network.String()))
		if token != "" && v.a.wrong.Score(place, time.Now()) == 0 {
			v.failed(p)
			v.a.wrong.Add(place, 1, time.Now())
		}
		no := *te
		no.Err = &mail.Refusal{Status: sasl.ErrFailed.Status, Text: sasl.ErrFailed.Text, Reason: te.Err.Error()}
		return sasl.Identity{}, &no
	}
	if err != nil {
		return sasl.Identity{}, err
	}
	acct, err := v.find(ctx, name)
	if err != nil {
		return sasl.Identity{}, err
	}
	if acct.ID == 0 {
		return sasl.Identity{}, &sasl.TokenError{Status: sasl.TokenInvalid, Err: no("a good token, but no such account", acct)}
	}
	id, err := v.admit(ctx, authzid, acct, 0)
	if err != nil {
		return id, &sasl.TokenError{Status: sasl.TokenInvalid, Err: err}
	}
	id.Proof = byToken
	return id, nil
}
