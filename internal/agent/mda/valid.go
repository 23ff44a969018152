package mda

import (
	"context"
	"errors"
	"slices"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/directory"
)

// validSince is the field that asks what RRVS asks, where a server on the way does
// not know that. RFC 7293 §4
const validSince = "require-recipient-valid-since"

// errOwner refuses a message that was meant for who had the address before.
var errOwner = mail.Refuse("5.7.17", "the address has another owner now than at the time that the sender knows of", "")

// roles are addresses that belong to whoever does a job. RFC 2142, RFC 7293 §10
var roles = []string{"postmaster", "abuse", "hostmaster", "webmaster", "security", "noc"}

// valid refuses a recipient whose address belonged to somebody else, or to nobody, at
// the time that the sender names. What was before its domain was here nobody can
// tell, and counts as right (decision 024). RFC 7293 §5.1
func (a *Agent) valid(ctx context.Context, r mail.Recipient) error {
	if r.ValidSince.IsZero() || slices.Contains(roles, strings.ToLower(r.Address.Local)) {
		return nil
	}
	owned, since, err := a.Directory.OwnedSince(ctx, r.Address)
	switch {
	case errors.Is(err, mail.ErrNotFound): // who it is, if anybody, was found out another way
		return nil
	case err != nil:
		return err
	case owned.After(r.ValidSince) && !since.After(r.ValidSince):
		return errOwner
	}
	return nil
}

// ValidSince gives the recipients with what the header asks of their addresses. What
// was said in RCPT goes before that. RFC 7293 §4, §5.2
func ValidSince(header []byte, rcpts []mail.Recipient) []mail.Recipient {
	if _, asked := message.Find(header, validSince); !asked {
		return rcpts
	}
	out := slices.Clone(rcpts)
	for f := range message.Fields(header) {
		if !f.Is(validSince) {
			continue
		}
		who, when, _ := strings.Cut(f.Text(), ";")
		addr, err := mail.ParseAddress(strings.TrimSpace(who))
		t, terr := message.ParseDate(strings.TrimSpace(when))
		if err != nil || terr != nil {
			continue
		}
		for i := range out {
			if out[i].ValidSince.IsZero() && directory.Canonical(out[i].Address) == directory.Canonical(addr) {
				out[i].ValidSince = t.UTC()
			}
		}
	}
	return out
}

// WithoutValidSince gives a header without the fields that ValidSince reads.
func WithoutValidSince(header []byte) []byte {
	return message.RemoveFields(header, func(f message.Field) bool { return f.Is(validSince) })
}

// AppendValidSince writes the field that asks what a recipient's RRVS did.
func AppendValidSince(b []byte, r mail.Recipient) []byte {
	b = append(append(b, "Require-Recipient-Valid-Since: "...), r.Address.String()...)
	return append(message.AppendDate(append(b, "; "...), r.ValidSince), "\r\n"...)
}
