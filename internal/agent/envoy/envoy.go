// Package envoy sends what people write with the address of an account that they have
// elsewhere: out through the submission server of that provider, which knows them, so
// that its domain stands behind it and not ours.
//
// Whoever may log in there may send so. Such mail is an Errand of the queue: it goes to
// all its recipients by that one way, also to those who are here, and if it cannot, the
// account here hears of it. A password that is refused is not tried again before
// somebody has changed something, so that nobody is locked out.
package envoy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"sync"
	"time"

	"posthaste/internal/agent/collector"
	"posthaste/internal/agent/mta"
	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/store/body"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/outpost"
	"posthaste/internal/store/queue"
)

const (
	tryTime = time.Minute
	// maxDoors is how many submission servers are remembered.
	maxDoors = 1000
)

// An Agent sends. All fields but Roots, AnyClear and Shape must be set.
type Agent struct {
	Hostname  string
	Outposts  *outpost.Store
	Directory *directory.Directory
	DNS       dns.Resolver
	Dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	// Login gives what logs in at an outpost, by one of the mechanisms that are offered.
	Login func(ctx context.Context, o *outpost.Outpost, offered []string) (smtp.Authenticator, error)
	Log   *slog.Logger
	Roots *x509.CertPool // that are trusted; nil: those of the system
	// AnyClear allows connections in clear to other machines.
	AnyClear bool
	Shape    *mta.Shaper

	mu    sync.Mutex
	doors map[outpost.ID]*door
}

// A door is the submission server of an outpost, as long as nothing about it changes.
type door struct {
	of     outpost.Outpost
	remote *mta.Remote
}

// Errand gives the errand that mail of an account with an address goes on.
// mail.ErrNotFound if the account has no such address elsewhere; a *mail.Refusal if it
// has, and it cannot be used now.
func (a *Agent) Errand(ctx context.Context, peer mail.Peer, from mail.Address) (queue.Errand, error) {
	e, err := a.Outposts.Sender(ctx, peer.Account, from)
	if err != nil {
		return queue.Errand{}, err
	}
	if why := idle(&e, peer.Login); why != "" {
		return queue.Errand{}, mail.Refuse("5.7.1", why, "")
	}
	return queue.Errand{Outpost: uint64(e.ID), As: e.SendAs.Address, For: peer.Login}, nil
}

// idle says why nothing can be sent by an outpost now, and what its owner can do; "" if
// it can.
func idle(e *outpost.Entry, owner mail.Address) string {
	which := owner.String() + " " + quoted(e.Name)
	switch {
	case e.Paused:
		return label(&e.Outpost) + "this account elsewhere is paused: \"posthaste collect resume " + which + "\" lets mail go on"
	case e.SendAs.Proven.IsZero():
		return label(&e.Outpost) + "nobody has been seen to log in at " + e.SendAs.Host + " yet: \"posthaste collect set " + which + " --send-as " + e.SendAs.Address.String() + "\" tries it"
	case e.SendStopped:
		return label(&e.Outpost) + e.SendError
	}
	return ""
}

// label begins all that is said of why mail does not go out by an outpost. base/remedy
// knows it by that.
func label(o *outpost.Outpost) string {
	return "send-as " + o.SendAs.Address.String() + ": "
}

// quoted gives a name as it is written on a command line.
func quoted(name string) string {
	for _, c := range name {
		if c == ' ' || c == '\'' || c == '"' {
			return fmt.Sprintf("%q", name)
		}
	}
	return name
}

// Route gives the transport of an item that goes on an errand. A *mail.Refusal says why
// there is none.
func (a *Agent) Route(ctx context.Context, it *queue.Item) (mta.Transport, error) {
	e, err := a.outpostOf(ctx, it.Errand)
	if errors.Is(err, mail.ErrNotFound) {
		return nil, mail.Refuse("5.7.1", fmt.Sprintf("send-as %s: %s no longer sends with this address: \"posthaste collect\" gives it back, then send the message again", it.Errand.As, it.Errand.For), "")
	}
	if err != nil {
		return nil, err
	}
	if why := idle(&e, it.Errand.For); why != "" {
		return nil, mail.Refuse("4.7.1", why, "")
	}
	return &transport{a: a, e: e}, nil
}

// outpostOf gives the outpost that an errand goes by: its own, or one that has come in
// its place.
func (a *Agent) outpostOf(ctx context.Context, er queue.Errand) (outpost.Entry, error) {
	e, err := a.Outposts.Get(ctx, outpost.ID(er.Outpost))
	if err == nil && e.SendAs != nil && e.SendAs.Address == er.As || err != nil && !errors.Is(err, mail.ErrNotFound) {
		return e, err
	}
	acct, err := a.Directory.Known(ctx, er.For)
	if err != nil {
		return e, err
	}
	return a.Outposts.Sender(ctx, acct.ID, er.As)
}

// A transport carries by an outpost.
type transport struct {
	a *Agent
	e outpost.Entry
}

// Carry is as of mta.Transport.
func (t *transport) Carry(ctx context.Context, it queue.Item, b *body.Reader) ([]mail.Outcome, error) {
	out, err := t.a.remote(&t.e.Outpost).Carry(ctx, it, b)
	if ctx.Err() == nil {
		t.a.note(ctx, &t.e, err)
	}
	if no, ok := errors.AsType[*failure](err); ok {
		err = no.refusal(&t.e.Outpost)
	}
	return out, err
}

// note writes down whether one can log in, if that is news.
func (a *Agent) note(ctx context.Context, e *outpost.Entry, err error) {
	no, failed := errors.AsType[*failure](err)
	if err == nil && e.SendError == "" || err != nil && (!failed || !no.login()) {
		return // there was no word on it
	}
	nerr := a.Outposts.NoteSending(ctx, e.ID, func(s *outpost.State) bool {
		if !failed {
			s.SendFails, s.SendStopped, s.SendError = 0, false, ""
			return true
		}
		s.SendFails++
		s.SendError = no.words
		s.SendStopped = no.sure(s.SendFails, e.Submission().OAuth2 != nil)
		return true
	})
	if nerr != nil && !errors.Is(nerr, mail.ErrNotFound) {
		a.Log.Error("how sending goes cannot be written down", "outpost", e.ID, "error", nerr)
	}
}

// remote gives what speaks to the submission server of an outpost.
func (a *Agent) remote(o *outpost.Outpost) *mta.Remote {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.doors[o.ID]
	if d != nil && d.same(o) {
		return d.remote
	}
	if d != nil {
		go d.remote.Close()
	}
	if a.doors == nil {
		a.doors = map[outpost.ID]*door{}
	}
	for id, old := range a.doors {
		if len(a.doors) < maxDoors {
			break
		}
		go old.remote.Close()
		delete(a.doors, id)
	}
	d = &door{of: *o, remote: a.dialler(o.Submission())}
	d.remote.Shape = a.Shape
	a.doors[o.ID] = d
	return d.remote
}

// same tells whether what a door was made of is still so.
func (d *door) same(o *outpost.Outpost) bool {
	was, is := d.of.Submission(), o.Submission()
	return was.Host == is.Host && was.Port == is.Port && was.Security == is.Security && was.User == is.User && was.Secret == is.Secret && reflect.DeepEqual(was.OAuth2, is.OAuth2)
}

// dialler makes what connects to a submission server, as safely as is said, and logs in.
func (a *Agent) dialler(sub *outpost.Outpost) *mta.Remote {
	h := &mta.Host{Name: sub.Host, Port: sub.Port, ImplicitTLS: sub.Security == outpost.TLS, RequireTLS: sub.Security != outpost.Clear}
	h.Login = func(ctx context.Context, offered []string) (smtp.Authenticator, error) {
		return a.Login(ctx, sub, offered)
	}
	h.Explain = func(err error) error { return failed(sub, err) }
	r := &mta.Remote{Hostname: a.Hostname, DNS: a.DNS, Log: a.Log, Fixed: h, Dial: a.Dial}
	if h.RequireTLS {
		r.TLS = &tls.Config{RootCAs: a.Roots, MinVersion: tls.VersionTLS12}
		return r
	}
	r.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := a.Dial(ctx, network, addr)
		if err == nil {
			err = collector.MayClear(conn, a.AnyClear)
		}
		if err != nil && conn != nil {
			conn.Close()
		}
		return conn, err
	}
	return r
}

// Check tries to log in at the submission server of an outpost, as it is before it is
// saved. The error is in words for its owner. Refresh tokens may be others after that.
func (a *Agent) Check(ctx context.Context, o *outpost.Outpost) error {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	sub := o.Submission()
	sub.ID = 0
	err := a.dialler(sub).Try(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = failed(sub, ctx.Err())
	}
	if o.SendAs.User != "" {
		o.SendAs.Secret = sub.Secret
	} else {
		o.Secret = sub.Secret
	}
	if no, ok := errors.AsType[*failure](err); ok {
		return errors.New(no.words)
	}
	return err
}

// Close ends the sessions that wait.
func (a *Agent) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.doors {
		d.remote.Close()
	}
}
