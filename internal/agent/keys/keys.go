// Package keys looks after the keys that sign the mail of our domains: it makes new
// ones when the operator asks for it, has them sign once others can see them in the
// DNS, and knows for how long old ones must stay there.
//
// At any time every signature that is still of use can be verified: new keys sign
// only after they have been seen to be published for SettleTime, and old ones may
// leave the DNS KeepTime after their last signature.
package keys

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/keyring"
)

const (
	// SettleTime is how long new keys are seen to be published before they sign:
	// not all servers of a zone have a new record at once.
	SettleTime = time.Hour
	// KeepTime is how long a key that signs no more stays published. Its signatures
	// are good for a week from when the message goes, and people may have it go up
	// to 90 days after it was signed (RFC 4865); another week is for the slow.
	KeepTime = (90 + 14) * 24 * time.Hour

	every   = 15 * time.Minute
	askTime = 20 * time.Second // for the records of one domain
)

// An Agent looks after keys. All fields must be set.
type Agent struct {
	Keys      *keyring.Keyring
	Directory *directory.Directory
	DNS       dns.Resolver
	Log       *slog.Logger
}

// A Key of a domain, and how it stands in the DNS.
type Key struct {
	keyring.Key
	// Fault is what is wrong with what is published; "" is nothing.
	Fault string
	// Unsure: the DNS did not answer, and Fault says so.
	Unsure bool
}

// Until tells when a prepared key signs, if it is published until then, or until
// when one that signs no more must stay published; zero: that is not known.
func (k *Key) Until() time.Time {
	switch {
	case k.State == keyring.Prepared && !k.Seen.IsZero():
		return k.Seen.Add(SettleTime)
	case k.State == keyring.Retired:
		return k.Since.Add(KeepTime)
	}
	return time.Time{}
}

// The answers to who asks for what cannot be.
var (
	ErrPrepared    = errors.New("there are new keys already, which do not sign yet")
	ErrNotPrepared = errors.New("there are no new keys")
)

// An ErrUnpublished says which new key others cannot see yet.
type ErrUnpublished struct{ Name, Fault string }

// Error says it.
func (e *ErrUnpublished) Error() string { return e.Name + ": " + e.Fault }

// List gives the keys of a domain, and asks the DNS for each. mail.ErrNotFound if
// the domain is not ours.
func (a *Agent) List(ctx context.Context, d mail.Domain) ([]Key, error) {
	if err := a.ours(ctx, d); err != nil {
		return nil, err
	}
	have, err := a.Keys.Keys(ctx, d)
	if err != nil {
		return nil, err
	}
	return a.look(ctx, have), nil
}

func (a *Agent) ours(ctx context.Context, d mail.Domain) error {
	ours, err := a.Directory.HasDomain(ctx, d)
	if err == nil && !ours {
		err = fmt.Errorf("keys: %s: %w", d, mail.ErrNotFound)
	}
	return err
}

// look asks the DNS for keys.
func (a *Agent) look(ctx context.Context, have []keyring.Key) []Key {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	out := make([]Key, len(have))
	for i, k := range have {
		out[i].Key = k
		ans, err := a.DNS.TXT(ctx, k.Name())
		if err != nil && !dns.IsAbsent(err) {
			out[i].Unsure, out[i].Fault = true, "the DNS does not say just now"
			continue
		}
		if err := k.Published(ans.Records); err != nil {
			out[i].Fault = err.Error()
		}
	}
	return out
}

// Prepare makes new keys for a domain, which sign once they have been seen in the
// DNS for SettleTime. ErrPrepared if there are such keys.
func (a *Agent) Prepare(ctx context.Context, d mail.Domain) ([]keyring.Key, error) {
	if err := a.ours(ctx, d); err != nil {
		return nil, err
	}
	have, err := a.Keys.Keys(ctx, d)
	if err != nil {
		return nil, err
	}
	fresh, err := keyring.NewKeys(d, time.Now(), have)
	if err != nil {
		return nil, err
	}
	return a.Keys.Change(ctx, d, func(have []keyring.Key) ([]keyring.Key, error) {
		if slices.ContainsFunc(have, prepared) {
			return nil, ErrPrepared
		}
		return append(slices.Clone(have), fresh...), nil
	})
}

func prepared(k keyring.Key) bool { return k.State == keyring.Prepared }

// Use has the new keys of a domain sign from now on, without waiting longer.
// *ErrUnpublished if the DNS does not have them, ErrNotPrepared if there are none.
func (a *Agent) Use(ctx context.Context, d mail.Domain) ([]keyring.Key, error) {
	list, err := a.List(ctx, d)
	if err != nil {
		return nil, err
	}
	for _, k := range list {
		if prepared(k.Key) && k.Fault != "" {
			return nil, &ErrUnpublished{k.Name(), k.Fault}
		}
	}
	return a.use(ctx, d)
}

func (a *Agent) use(ctx context.Context, d mail.Domain) ([]keyring.Key, error) {
	return a.Keys.Change(ctx, d, func(have []keyring.Key) ([]keyring.Key, error) {
		if !slices.ContainsFunc(have, prepared) {
			return nil, ErrNotPrepared
		}
		now := time.Now()
		list := slices.Clone(have)
		for i := range list {
			switch k := &list[i]; k.State {
			case keyring.Prepared:
				k.State, k.Since, k.Seen = keyring.Signing, now, time.Time{}
			case keyring.Signing:
				k.State, k.Since = keyring.Retired, now
			}
		}
		return list, nil
	})
}

// Run goes round until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		if err := a.Round(ctx); err != nil && ctx.Err() == nil {
			a.Log.Error("the keys that sign mail", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// Round looks at the domains whose keys take turns: new ones that have been
// published for long enough sign, and old ones that are no longer needed, and no
// longer published, are forgotten.
func (a *Agent) Round(ctx context.Context) error {
	list, err := a.Directory.Domains(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range list {
		have, err := a.Keys.Have(ctx, d.Name)
		turning := slices.ContainsFunc(have, func(k keyring.Key) bool { return k.State != keyring.Signing })
		if err == nil && turning {
			err = a.turn(ctx, d.Name, have)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// turn is Round for a domain.
func (a *Agent) turn(ctx context.Context, d mail.Domain, have []keyring.Key) error {
	now := time.Now()
	list := a.look(ctx, have)
	ready, news := true, false
	for _, k := range list {
		if prepared(k.Key) {
			news = true
			ready = ready && k.Fault == "" && !k.Seen.IsZero() && !now.Before(k.Until())
		}
	}
	if news && ready {
		if _, err := a.use(ctx, d); err != nil && !errors.Is(err, ErrNotPrepared) {
			return err
		}
		a.Log.Info("new keys sign mail", "domain", string(d))
		return nil
	}
	_, err := a.Keys.Change(ctx, d, func(now []keyring.Key) ([]keyring.Key, error) {
		return after(now, list), nil
	})
	return err
}

// after gives keys as they are after a look at the DNS.
func after(have []keyring.Key, seen []Key) (out []keyring.Key) {
	now := time.Now()
	for _, k := range have {
		i := slices.IndexFunc(seen, func(s Key) bool { return s.Selector == k.Selector })
		if i < 0 {
			out = append(out, k)
			continue
		}
		s := seen[i]
		gone := k.State == keyring.Retired && s.State == keyring.Retired && !now.Before(s.Until()) && s.Fault != "" && !s.Unsure
		switch {
		case gone:
			continue
		case k.State == keyring.Prepared && s.Fault == "" && k.Seen.IsZero():
			k.Seen = now
		case k.State == keyring.Prepared && s.Fault != "" && !s.Unsure:
			k.Seen = time.Time{}
		}
		out = append(out, k)
	}
	return out
}
