package demo

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/service/smtpd"
)

// outside is another mail server, as there are many.
type outside struct {
	log *slog.Logger
	ln  net.Listener
	tls *tls.Config

	mu   sync.Mutex
	seen map[greeted]bool
}

// A greeted sender has been asked once to come back later.
type greeted struct{ from, to mail.Address }

// behaviour is what the addresses outside do, by local part.
var behaviour = map[string]struct {
	words string
	rcpt  *mail.Refusal
	data  *mail.Refusal
}{
	"refuse": {words: "is refused: there is no such person", rcpt: mail.Refuse("5.1.1", "there is no such person here", "")},
	"full":   {words: "is put off for ever: the mailbox is full", rcpt: mail.Refuse("4.2.2", "this mailbox is full", "")},
	"spam":   {words: "is refused after the message was seen: it looks like spam", data: mail.Refuse("5.7.1", "this looks like spam", "")},
	"later":  {words: "is put off once, and taken at the next try", rcpt: mail.Refuse("4.7.1", "we do not know you yet, please try again in a few seconds", "")},
	"slow":   {words: "is taken after five seconds"},
}

// describe says what the addresses do.
func describe() map[string]string {
	out := map[string]string{"anybody@" + outsideDomain: "is taken"}
	for local, b := range behaviour {
		out[local+"@"+outsideDomain] = b.words
	}
	return out
}

func newOutside(log *slog.Logger, cfg *tls.Config) (*outside, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("demo: the outside: %w", err)
	}
	return &outside{log: log, ln: ln, tls: cfg, seen: map[greeted]bool{}}, nil
}

func (o *outside) run(ctx context.Context) error {
	s := &smtpd.Server{Hostname: outsideHost, Receiver: o, TLS: o.tls, Log: slog.New(slog.DiscardHandler)}
	return s.Serve(ctx, o.ln)
}

// dial reaches the outside, and nothing else: a demonstration talks to no
// stranger.
func (o *outside) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if addr != net.JoinHostPort(outsideIP, "25") {
		return nil, fmt.Errorf("the demonstration does not reach %s", addr)
	}
	return new(net.Dialer).DialContext(ctx, network, o.ln.Addr().String())
}

// Begin opens a mail transaction.
func (o *outside) Begin(_ context.Context, _ mail.Peer, from mail.Address, _ smtp.MailParams) (smtp.Transaction, error) {
	return &visit{o: o, id: mail.NewTraceID(time.Now()), from: from}, nil
}

// A visit is a mail transaction.
type visit struct {
	o    *outside
	id   mail.TraceID
	from mail.Address
	data *mail.Refusal
	slow bool
}

// ID is as of smtp.Transaction.
func (v *visit) ID() mail.TraceID { return v.id }

// Rcpt does what the address does.
func (v *visit) Rcpt(_ context.Context, to mail.Address, _ smtp.RcptParams) error {
	if to.Domain != outsideDomain {
		return mail.Refuse("5.7.1", "we do not relay", "")
	}
	b := behaviour[to.Local]
	if to.Local == "later" && v.o.known(greeted{v.from, to}) {
		return nil
	}
	if b.rcpt != nil {
		return b.rcpt
	}
	v.data, v.slow = b.data, to.Local == "slow"
	return nil
}

func (o *outside) known(g greeted) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.seen[g]
	o.seen[g] = true
	return known
}

// Data takes the message and throws it away.
func (v *visit) Data(ctx context.Context, r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if v.slow {
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
	}
	if v.data != nil {
		return v.data
	}
	return nil
}

// Reset is as of smtp.Transaction.
func (v *visit) Reset(context.Context) {}
