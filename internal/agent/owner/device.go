package owner

import (
	"context"
	"errors"

	"posthaste/internal/agent/registrar"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/directory"
)

// AddDevice makes a password for one device or program, which opens those protocols, and
// gives it: nobody can see it again. An Invalid says what is wrong with the name;
// mail.ErrExists: there is one of that name.
func (g *Agent) AddDevice(ctx context.Context, a directory.Account, name string, opens directory.Protocols) (password string, err error) {
	return named(g.Registrar.AddAppPassword(ctx, a.Address, name, opens))
}

// AddAPOPDevice is AddDevice for a program that speaks POP3 with APOP, and knows
// nothing better.
func (g *Agent) AddAPOPDevice(ctx context.Context, a directory.Account, name string) (password string, err error) {
	return named(g.Registrar.AddAPOPPassword(ctx, a.Address, name))
}

func named(password string, err error) (string, error) {
	if errors.Is(err, registrar.ErrAppName) {
		err = Invalid{err}
	}
	return password, err
}

// RemoveDevice removes a device's password, and what POP3 knows of the device but its
// visits. Its sessions end. mail.ErrNotFound: there is none of that name.
func (g *Agent) RemoveDevice(ctx context.Context, a directory.Account, name string) error {
	if err := g.forget(ctx, a.ID, name); err != nil {
		return err
	}
	return g.Registrar.RemoveAppPassword(ctx, a.Address, name)
}

// forget forgets what POP3 knows of an app password that is going.
func (g *Agent) forget(ctx context.Context, a mail.AccountID, name string) error {
	n, err := g.namesOf(ctx, a)
	if err != nil {
		return err
	}
	d, err := n.deviceOf(name)
	if errors.Is(err, mail.ErrNotFound) || d == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return g.Maildrops.Forget(ctx, a, d)
}
