package auth

import (
	"context"
	"errors"
	"fmt"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// External lets in whose certificate the connection has shown.
func (v *verifier) External(ctx context.Context, authzid string, key []byte) (_ sasl.Identity, err error) {
	defer func() { v.tried(err) }()
	p := pair{v.network, mail.Address{Local: "a certificate"}}
	if err := v.pause(ctx, p); err != nil {
		return sasl.Identity{}, err
	}
	a, c, err := v.a.Directory.ByKey(ctx, key)
	acct := account{Account: a, login: directory.Canonical(a.Address)}
	switch {
	case errors.Is(err, mail.ErrNotFound):
		v.failed(p)
		return sasl.Identity{}, no(fmt.Sprintf("a certificate with key %x, which is nobody's", key), account{})
	case err != nil:
		return sasl.Identity{}, fmt.Errorf("auth: look up: %w", err)
	case !c.Protocols.Opens(v.protocol):
		return sasl.Identity{}, no(fmt.Sprintf("certificate %q is not for this protocol:", c.Name), acct)
	}
	id, err := v.admit(ctx, authzid, acct, 0)
	if err == nil {
		id.Proof = byKey + string(key)
	}
	return id, err
}
