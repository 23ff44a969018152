package auth

import (
	"fmt"

	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// NewCredentials is NewCredentials with keys for SCRAM-SHA-1 too, if they are
// wanted (decision 022).
func (a *Agent) NewCredentials(password string, keep directory.Credentials) (directory.Credentials, error) {
	c, err := NewCredentials(password, keep)
	if err != nil || !a.SHA1 {
		return c, err
	}
	p, err := sasl.PreparePassword(password)
	if err != nil {
		return c, err
	}
	c.StoredKey1, c.ServerKey1, err = sha1Keys(p, c)
	return c, err
}

// NewAppPassword is NewAppPassword in the same way.
func (a *Agent) NewAppPassword(now directory.Credentials) (password string, p directory.AppPassword, c directory.Credentials, err error) {
	password, p, c, err = NewAppPassword(now)
	if err == nil && a.SHA1 {
		p.StoredKey1, p.ServerKey1, err = sha1Keys(password, c)
	}
	return password, p, c, err
}

func sha1Keys(password string, c directory.Credentials) (stored, server []byte, err error) {
	k := sasl.ScramKeys{Salt: c.Salt, Iterations: c.Iterations}
	if err := k.AddSHA1(password); err != nil {
		return nil, nil, fmt.Errorf("auth: keys for SCRAM-SHA-1: %w", err)
	}
	return k.StoredKey1, k.ServerKey1, nil
}
