package mda

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/srs"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/queue"
)

// deliveredTo is the field that says for whom a message was sent on. A message that
// has it for an address is not sent on for it again.
const deliveredTo = "Delivered-To"

var (
	// errJunk refuses the whole message: who sent it hears of it from his own server,
	// and nobody of us reports to somebody who was perhaps forged.
	errJunk = mail.Refuse("5.7.1", "this looks like junk, which is not sent on to other servers", "")
	// errReport refuses what is no report, at an address that is there for reports.
	errReport = mail.Refuse("5.7.1", "only reports come to this address", "")
	errReturn = mail.Refuse("5.1.1", "this return address was not made here, or is too old", "")
)

// before tells whether the message has been sent on for an address before.
func (p *plan) before(via mail.Address) (bool, error) {
	if p.passed == nil {
		if err := p.readHeader(); err != nil {
			return false, err
		}
		p.passed = map[mail.Address]bool{}
		for _, part := range [][]byte{p.m.Trace, p.header} {
			for f := range message.Fields(part) {
				if !f.Is("delivered-to") {
					continue
				}
				if a, err := mail.ParseAddress(string(trim(f.Value))); err == nil {
					p.passed[directory.Canonical(a)] = true
				}
			}
		}
	}
	return p.passed[directory.Canonical(via)], nil
}

func trim(b []byte) []byte {
	space := func(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
	for len(b) > 0 && space(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && space(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func appendDeliveredTo(b []byte, via mail.Address) []byte {
	return append(b, deliveredTo+": "+via.String()+"\r\n"...)
}

// back gives the address behind a return address that we have made; zero if to is
// none. Only reports come by it.
func (a *Agent) back(ctx context.Context, sender, to mail.Address) (mail.Address, error) {
	if a.Returns == nil || !srs.Rewritten(to.Local) {
		return mail.Address{}, nil
	}
	ours, err := a.Directory.HasDomain(ctx, to.Domain)
	if err != nil || !ours {
		return mail.Address{}, err
	}
	secrets, err := a.Returns(ctx)
	if err != nil {
		return mail.Address{}, err
	}
	now := time.Now()
	rw := srs.Rewriter{Domain: to.Domain, Secrets: secrets}
	out, err := rw.Reverse(to, now)
	if errors.Is(err, srs.ErrNotOurs) {
		out, err = a.backShort(ctx, &rw, to, now)
	}
	switch {
	case errors.Is(err, srs.ErrForged), errors.Is(err, srs.ErrOld), errors.Is(err, mail.ErrNotFound):
		return mail.Address{}, errReturn
	case err != nil:
		return mail.Address{}, err
	case !sender.IsZero():
		return mail.Address{}, errReport
	}
	return out, nil
}

// backShort gives the sender of the message that a short return address stands for.
func (a *Agent) backShort(ctx context.Context, rw *srs.Rewriter, to mail.Address, now time.Time) (mail.Address, error) {
	id, err := rw.ReverseShort(to, now)
	if err != nil {
		return mail.Address{}, err
	}
	events, err := a.Journal.Events(ctx, id)
	if err != nil {
		return mail.Address{}, err
	}
	i := slices.IndexFunc(events, func(e trace.Event) bool { return e.Kind == trace.Received && !e.Sender.IsZero() })
	if i < 0 {
		return mail.Address{}, srs.ErrForged
	}
	return events[i].Sender, nil
}

// returnPath gives the sender under which a message is sent on for an address of
// ours: the domain that SPF asks must name us.
func (a *Agent) returnPath(ctx context.Context, env mail.Envelope, via mail.Address) (mail.Address, error) {
	if a.Returns == nil || env.Sender.IsZero() {
		return env.Sender, nil
	}
	ours, err := a.Directory.HasDomain(ctx, env.Sender.Domain)
	if err != nil || ours {
		return env.Sender, err
	}
	secrets, err := a.Returns(ctx)
	if err != nil {
		return mail.Address{}, err
	}
	rw := srs.Rewriter{Domain: via.Domain, Secrets: secrets}
	if out, ok := rw.Forward(env.Sender, time.Now()); ok {
		return out, nil
	}
	return rw.Short(env.Trace), nil
}

// leaving makes the items for what goes elsewhere: m with the fields that it gets
// on its way out, and for what is sent on with its return path.
func (a *Agent) leaving(ctx context.Context, m Mail, remote []away) ([]queue.Item, error) {
	if len(remote) == 0 {
		return nil, nil
	}
	var err error
	if m.Envelope.AnyTLS, err = m.anyTLS(); err != nil {
		return nil, err
	}
	if m.Sign != nil {
		fields, err := m.Sign(ctx)
		if err != nil {
			return nil, fmt.Errorf("mda: sign %v: %w", m.Envelope.Trace, err)
		}
		m.Trace = append(fields, m.Trace...)
	}
	var vias []mail.Address
	by := map[mail.Address][]mail.Recipient{}
	for _, r := range remote {
		if by[r.via] == nil {
			vias = append(vias, r.via)
		}
		by[r.via] = append(by[r.via], r.rcpt)
	}
	var out []queue.Item
	var seal []byte
	for _, via := range vias {
		on := m
		if !via.IsZero() {
			if seal == nil && m.Seal != nil {
				var err error
				if seal, err = m.Seal(ctx, via.Domain); err != nil {
					return nil, fmt.Errorf("mda: seal %v: %w", m.Envelope.Trace, err)
				}
				seal = append(make([]byte, 0, len(seal)), seal...) // not nil: once is enough
			}
			var err error
			if on.Envelope.Sender, err = a.returnPath(ctx, m.Envelope, via); err != nil {
				return nil, fmt.Errorf("mda: return path for %v: %w", m.Envelope.Trace, err)
			}
			on.Trace = append(append(appendDeliveredTo(nil, via), seal...), m.Trace...)
		}
		out = append(out, items(on, by[via])...)
	}
	return out, nil
}

// anyTLS tells whether the author says that it need not travel protected. RFC 8689 §3
func (m *Mail) anyTLS() (bool, error) {
	if m.Envelope.RequireTLS {
		return false, nil
	}
	header, err := Header(m.Body)
	if err != nil {
		return false, fmt.Errorf("mda: %v: read the header: %w", m.Envelope.Trace, err)
	}
	f, ok := message.Find(header, "tls-required")
	return ok && strings.EqualFold(f.Text(), "no"), nil
}

// again makes the items for steps that are tried later.
func (m Mail) again(steps []step) (out []queue.Item) {
	var plain []mail.Recipient
	for _, l := range steps {
		if l.sentOn.IsZero() {
			plain = append(plain, l.rcpt)
			continue
		}
		marked := m
		marked.Trace = append(appendDeliveredTo(nil, l.sentOn), m.Trace...)
		out = append(out, items(marked, []mail.Recipient{l.rcpt})...)
	}
	return append(items(m, plain), out...)
}
