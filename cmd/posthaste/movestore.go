package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"posthaste/internal/agent/carrier"
	"posthaste/internal/base/mail"
	"posthaste/internal/service/admind"
)

// A remoteStore brings mail to the server.
type remoteStore struct {
	c               *admind.Client
	address, source string
}

// Open is as of carrier.Store.
func (s *remoteStore) Open(ctx context.Context, f carrier.Folder, renumbered bool) (uint64, bool, error) {
	o, err := s.c.MoveFolder(ctx, s.address, admind.MoveFolder{Source: s.source, Name: f.Name, Into: f.Into, Role: f.Role, Subscribed: f.Subscribed, Mark: f.Mark, Renumbered: renumbered, Bare: f.Sharing != nil})
	return o.Mailbox, !o.Renumbered, err
}

// Share is as of carrier.Store.
func (s *remoteStore) Share(ctx context.Context, folder string, sh carrier.Sharing, again bool) ([]carrier.Left, error) {
	in := admind.Sharing{Source: s.source, Folder: folder, Again: again}
	if sh.Rights != nil {
		in.Rights = make([]admind.Rights, len(sh.Rights))
		for i, r := range sh.Rights {
			in.Rights[i] = admind.Rights(r)
		}
	}
	for _, n := range sh.Notes {
		in.Notes = append(in.Notes, admind.Note(n))
	}
	left, err := s.c.MoveSharing(ctx, s.address, in)
	out := make([]carrier.Left, len(left))
	for i, l := range left {
		out[i] = carrier.Left(l)
	}
	return out, err
}

func (s *remoteStore) ids(folder string, list []carrier.Message) admind.MoveIDs {
	out := admind.MoveIDs{Source: s.source, Folder: folder, Messages: make([]admind.Parcel, len(list))}
	for i, m := range list {
		out.Messages[i] = admind.Parcel{ID: m.ID, Flags: m.Flags}
	}
	return out
}

// Known is as of carrier.Store.
func (s *remoteStore) Known(ctx context.Context, folder string, list []carrier.Message) ([]bool, error) {
	return s.c.MoveKnown(ctx, s.address, s.ids(folder, list))
}

// Flags is as of carrier.Store.
func (s *remoteStore) Flags(ctx context.Context, folder string, list []carrier.Message) (int, error) {
	m, err := s.c.MoveFlags(ctx, s.address, s.ids(folder, list))
	return m.Changed, err
}

// Deletions is as of carrier.Store.
func (s *remoteStore) Deletions(ctx context.Context, folder string, here io.Reader) (int, error) {
	m, err := s.c.MoveDeletions(ctx, s.address, s.source, folder, here)
	return m.Gone, err
}

// Begin is as of carrier.Store.
func (s *remoteStore) Begin(ctx context.Context, folder string) carrier.Delivery {
	return delivery{s.c.Deliver(ctx, s.address, s.source, folder)}
}

type delivery struct{ d *admind.Delivery }

// Send is as of carrier.Delivery.
func (d delivery) Send(m *carrier.Message, box uint64, body io.Reader) error {
	return d.d.Send(admind.Parcel{ID: m.ID, Mailbox: box, Flags: m.Flags, Date: m.Date, UIDL: m.UIDL, Size: m.Size}, body)
}

// Done is as of carrier.Delivery.
func (d delivery) Done() (added, dropped int, err error) {
	m, err := d.d.Done()
	return m.Added, m.Dropped, err
}

// Abort is as of carrier.Delivery.
func (d delivery) Abort(why error) { d.d.Abort(why) }

// imapFlags say how one gets into an IMAP server.
type imapFlags struct {
	user, master, passwordFile, tls, port, ca string
	asked                                     string // the password that was typed, or read
}

func (a *imapFlags) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&a.user, "user", "", "the user's `name` there; without it, the address")
	f.StringVar(&a.master, "master", "", "the `name` of a master user, who logs in for others")
	f.StringVar(&a.passwordFile, "password-file", "", "a `file` with the password (- is standard input); without it, it is asked for")
	f.StringVar(&a.tls, "tls", "tls", "`how` to connect: tls (port 993), starttls or none (port 143)")
	f.StringVar(&a.port, "port", "", "another `port`")
	f.StringVar(&a.ca, "ca", "", "a `file` with the certificate to trust, if the server has none that all trust")
}

func (a *imapFlags) server(ctx context.Context, host string, p pair) (*carrier.Server, error) {
	s := &carrier.Server{Host: host, Port: a.port, Security: a.tls, User: p.user, Master: a.master, Password: p.password, Dial: (&net.Dialer{Timeout: 30 * time.Second}).DialContext}
	if a.tls != "tls" && a.tls != "starttls" && a.tls != "none" {
		return nil, errors.New("--tls is tls, starttls or none")
	}
	if s.User == "" {
		s.User = p.ours
	}
	if a.ca != "" {
		pem, err := os.ReadFile(a.ca)
		if err != nil {
			return nil, err
		}
		s.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
		if !s.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate in it", a.ca)
		}
	}
	if s.Password == "" || s.Master != "" {
		var err error
		if s.Password, err = a.password(ctx, s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (a *imapFlags) password(ctx context.Context, s *carrier.Server) (string, error) {
	if a.asked != "" {
		return a.asked, nil
	}
	if a.passwordFile != "" {
		b, err := readFile(a.passwordFile)
		a.asked = strings.TrimRight(string(b), "\r\n") // standard input can be read once
		return a.asked, err
	}
	who := s.User
	if s.Master != "" {
		who = s.Master
	}
	asked, err := askSecret(ctx, fmt.Sprintf("Password of %s at %s", who, s.Host), "--password-file")
	if s.Master != "" {
		a.asked = asked
	}
	return asked, err
}

// A bar shows how far a long task is.
type bar struct {
	on    bool
	name  string
	begun time.Time
	last  time.Time
}

func newBar(quiet bool, name string) *bar {
	return &bar{on: !quiet && term.IsTerminal(int(os.Stderr.Fd())), name: name, begun: time.Now()}
}

func (b *bar) show(line string) {
	if now := time.Now(); b.on && now.Sub(b.last) > 200*time.Millisecond {
		b.last = now
		fmt.Fprintf(os.Stderr, "\r\x1b[K%s", plain(line))
	}
}

func (b *bar) end() {
	if b.on {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
}

func (b *bar) importing(r carrier.Report) {
	b.show(progress(b.name+": "+r.Folder, r.Seen, r.Expected, r.Bytes, time.Since(b.begun)))
}

// progress says how far something is, how fast, and how long it will take.
func progress(what string, done, all, bytes int64, took time.Duration) string {
	s := fmt.Sprintf("%s  %d", what, done)
	if all > 0 {
		s += fmt.Sprintf(" of %d", max(all, done))
	}
	s += fmt.Sprintf(" messages, %s", mail.Size(bytes))
	if sec := took.Seconds(); sec > 1 && done > 0 {
		rate := float64(done) / sec
		s += fmt.Sprintf(", %.0f/s", rate)
		if all > done {
			s += fmt.Sprintf(", %v left", time.Duration(float64(all-done)/rate*float64(time.Second)).Round(time.Second))
		}
	}
	return s
}
