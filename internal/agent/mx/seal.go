package mx

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/authres"
	"posthaste/internal/proto/dkim"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/body"
)

// seal gives the ARC set that says what we found of a message, for one that is sent on
// for somebody of a domain; nil if nobody signs for it. RFC 8617 §5.1
func (a *Agent) seal(ctx context.Context, d mail.Domain, st *body.Staged, ch dkim.Chain, results string) ([]byte, error) {
	signers, err := a.Signers(ctx, d)
	if err != nil || len(signers) == 0 {
		return nil, err
	}
	header, rest, err := parts(st)
	if err != nil {
		return nil, err
	}
	return signers[0].Seal(header, rest, ch, results, time.Now())
}

// parts gives the header of a message, with its empty line, and the body.
func parts(st *body.Staged) ([]byte, io.Reader, error) {
	header, err := mda.Header(st)
	if err != nil {
		return nil, nil, err
	}
	return header, io.NewSectionReader(st, int64(len(header)), st.Size()-int64(len(header))), nil
}

// Sealer is the Seal of a mail that has waited in the queue, and of which nothing is left
// of what we found but what we wrote in front of it. It is nil if we found nothing: it has
// not come from outside, or was not judged. The chain of those before us is verified again.
func (a *Agent) Sealer(front []byte, st *body.Staged) func(ctx context.Context, d mail.Domain) ([]byte, error) {
	if a.Signers == nil || a.DNS == nil {
		return nil
	}
	results, found := a.found(front)
	if !found {
		return nil
	}
	return func(ctx context.Context, d mail.Domain) ([]byte, error) {
		header, rest, err := parts(st)
		if err != nil {
			return nil, err
		}
		asking, cancel := context.WithTimeout(ctx, gatherTime)
		defer cancel()
		ch, err := dkim.VerifyChain(asking, header, rest, a.key, time.Now())
		if err != nil {
			return nil, fmt.Errorf("mx: read the body: %w", err)
		}
		return a.seal(ctx, d, st, ch, results)
	}
}

// found gives what we found of a message, as it stands in the fields that were put in
// front of it when it came.
func (a *Agent) found(front []byte) (results string, found bool) {
	for f := range message.Fields(front) {
		if f.Is("authentication-results") && strings.EqualFold(authres.Host(string(f.Value)), a.Hostname) {
			return strings.TrimSpace(string(f.Value)), true
		}
	}
	return "", false
}
