// Package former lets an account be moved here from another server while it is in
// use. Until it is flipped the former server answers: who logs in here is logged in
// there, and the session passed on. The flip brings the last mail, ends these
// sessions, and from then on we answer.
//
// It promises:
//
//   - What the former server acknowledged before the flip is here after it: sessions
//     there have ended before the last mail is brought.
//   - A flip that does not come to its end, for whatever reason, changes nothing of
//     who answers.
//   - At most LoginsAtOnce of our connections log in at a former server at a time,
//     and none takes longer than LoginTime.
package former

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"posthaste/internal/agent/carrier"
	"posthaste/internal/agent/mover"
	"posthaste/internal/base/limit"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// How much a former server is asked for.
const (
	LoginsAtOnce = 32
	LoginTime    = 30 * time.Second
)

// The answers to those for whom the former server cannot be asked.
var (
	errBusy    = mail.Refuse("4.3.2", "this account is still at its former server, which is busy; try again in a minute", "")
	errSilent  = mail.Refuse("4.4.1", "this account is still at its former server, which does not answer; try again later", "")
	errFlip    = mail.Refuse("4.3.2", "this account is being moved to this server just now; try again in a minute", "")
	errNoPOP3  = mail.Refuse("4.3.2", "this account is being moved to this server, and is read over IMAP until that is done", "")
	errByProof = mail.Refuse("4.7.0", "this account is still at its former server: log in with its password, by PLAIN or LOGIN", "")
)

// An Agent passes sessions on, and flips accounts. All fields but Dial and Roots must
// be set.
type Agent struct {
	Directory *directory.Directory
	Mover     *mover.Agent
	// Dial connects; nil: as usual.
	Dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	Roots *x509.CertPool // that certificates are checked with; nil: the system's
	Log   *slog.Logger
	// Passed are the sessions that are passed on, for agents that follow one another;
	// nil: the agent has its own.
	Passed *Passed

	any    atomic.Bool // an account is still at its former server
	once   sync.Once
	logins limit.AtOnce[string]
}

// Passed are the sessions that are passed on, and the flips. All agents of a process
// share one: a flip must end each session, however it began. The zero Passed is ready
// for use.
type Passed struct {
	mu       sync.Mutex
	sessions map[mail.AccountID]map[*session]struct{}
	runs     map[mail.AccountID]*Progress
}

func (a *Agent) prepare() {
	a.once.Do(func() {
		a.logins.PerKey, a.logins.Total = LoginsAtOnce, 100*LoginsAtOnce
		if a.Passed == nil {
			a.Passed = new(Passed)
		}
	})
}

// Any tells whether an account is still at its former server: then only mechanisms
// that show us the password can be announced.
func (a *Agent) Any() bool { return a.any.Load() }

// Recover puts what a process that is no more has left half flipped back to how it
// was before. Only the sole user of the store may call it, before Run.
func (a *Agent) Recover(ctx context.Context) error {
	list, err := a.Directory.Accounts(ctx)
	if err != nil {
		return err
	}
	for i := range list {
		if f := list[i].Former; f != nil && f.State == directory.Flipping {
			f.State, f.Failed = directory.FormerAnswers, "the server ended meanwhile"
			if err := a.Directory.SetFormer(ctx, list[i].ID, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// Load looks who is still at a former server, before others are served.
func (a *Agent) Load(ctx context.Context) error {
	list, err := a.Directory.Accounts(ctx)
	a.note(list)
	return err
}

func (a *Agent) note(list []directory.Account) {
	any := false
	for i := range list {
		any = any || !list[i].Ours()
	}
	a.any.Store(any)
}

// Run ends the sessions of accounts that are no longer at their former server, until
// ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	a.prepare()
	said, stop := a.Directory.Watch()
	defer stop()
	for {
		list, err := a.Directory.Accounts(ctx)
		if err == nil {
			a.note(list)
			still := map[mail.AccountID]bool{}
			for i := range list {
				still[list[i].ID] = list[i].Former != nil && list[i].Former.State == directory.FormerAnswers
			}
			for _, id := range a.Passed.accounts() {
				if !still[id] {
					go a.end(id)
				}
			}
		} else if ctx.Err() == nil {
			a.Log.Error("former servers", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-said:
		}
	}
}

// A session that is passed on.
type session struct {
	*carrier.Line
	all  *Passed
	of   mail.AccountID
	once sync.Once
	gone chan struct{} // closed by Close
}

// Close is as of net.Conn.
func (s *session) Close() error {
	s.once.Do(func() {
		close(s.gone)
		s.all.leave(s)
	})
	return s.Line.Close()
}

// CloseWrite says that no more will come.
func (s *session) CloseWrite() error {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return s.Close()
}

func (p *Passed) enter(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sessions == nil {
		p.sessions = map[mail.AccountID]map[*session]struct{}{}
	}
	if p.sessions[s.of] == nil {
		p.sessions[s.of] = map[*session]struct{}{}
	}
	p.sessions[s.of][s] = struct{}{}
}

func (p *Passed) leave(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sessions[s.of], s)
	if len(p.sessions[s.of]) == 0 {
		delete(p.sessions, s.of)
	}
}

func (p *Passed) accounts() (out []mail.AccountID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.sessions {
		out = append(out, id)
	}
	return out
}

// of gives the sessions of an account.
func (p *Passed) of(id mail.AccountID) (out []*session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.sessions[id] {
		out = append(out, s)
	}
	return out
}

// begin notes a flip; false if one of the account is under way.
func (p *Passed) begin(id mail.AccountID, run *Progress) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if had := p.runs[id]; had != nil && had.Ended.IsZero() {
		return false
	}
	if p.runs == nil {
		p.runs = map[mail.AccountID]*Progress{}
	}
	p.runs[id] = run
	return true
}

// change changes how far a flip is.
func (p *Passed) change(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

// Sessions counts those of an account that are passed on now.
func (a *Agent) Sessions(id mail.AccountID) int {
	a.prepare()
	return len(a.Passed.of(id))
}

// lastWords is how long the former server has for commands that it was sent before a
// session ends.
const lastWords = 10 * time.Second

// end ends the sessions of an account, when the former server has done and answered
// what it was sent in them, or has had time for it.
func (a *Agent) end(id mail.AccountID) {
	list := a.Passed.of(id)
	late := time.After(lastWords)
	for _, s := range list {
		s.CloseWrite()
	}
	for _, s := range list {
		select {
		case <-s.gone:
		case <-late:
			late = closed
		}
		s.Close()
	}
}

// closed is a time that has come.
var closed = func() <-chan time.Time { c := make(chan time.Time); close(c); return c }()

// Login logs somebody in at the account's former server: with their password, or if
// that is "", because they have shown otherwise who they are, as its master user. It
// gives the session there, nil for what is not passed on. sasl.ErrFailed
// says that the server refuses the password; another *mail.Refusal, that it cannot be
// known now.
func (a *Agent) Login(ctx context.Context, who directory.Account, over directory.Protocols, password string) (sasl.Elsewhere, error) {
	a.prepare()
	f := who.Former
	switch {
	case f.State == directory.Flipping:
		return nil, errFlip
	case over == directory.POP3 && f.POP3.Address == "":
		return nil, errNoPOP3
	case !passedOn(over) && password == "":
		return nil, nil
	}
	s, err := a.server(f, over, password)
	if err != nil {
		return nil, err
	}
	if !a.logins.Enter(s.Host) {
		return nil, errBusy
	}
	defer a.logins.Leave(s.Host)
	ctx, cancel := context.WithTimeout(ctx, LoginTime)
	defer cancel()
	open := s.Open
	if over == directory.POP3 {
		open = s.OpenPOP3
	}
	line, err := open(ctx)
	if err != nil {
		return nil, a.refusal(who, err)
	}
	if !passedOn(over) {
		line.Write([]byte("p LOGOUT\r\n"))
		line.Close()
		return nil, nil
	}
	return a.enter(ctx, who.ID, line)
}

// passedOn tells whether sessions of a protocol are. Submission is ours at once, and what
// else there is, not yet: auth says so.
func passedOn(over directory.Protocols) bool { return over == directory.IMAP || over == directory.POP3 }

// enter notes a session, unless the account has been flipped while it logged in.
func (a *Agent) enter(ctx context.Context, id mail.AccountID, line *carrier.Line) (sasl.Elsewhere, error) {
	s := &session{Line: line, all: a.Passed, of: id, gone: make(chan struct{})}
	a.Passed.enter(s)
	now, err := a.Directory.Account(ctx, id)
	if err == nil && (now.Former == nil || now.Former.State != directory.FormerAnswers) {
		err = errFlip
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// server gives the former server, and how one logs in there.
func (a *Agent) server(f *directory.Former, over directory.Protocols, password string) (*carrier.Server, error) {
	s, err := a.at(f, over)
	switch {
	case err != nil:
		return nil, err
	case password != "":
		s.Password = password
	case f.Master == "":
		return nil, errByProof
	default:
		s.Master, s.Password = f.Master, f.Password
	}
	return s, nil
}

// at gives the former server.
func (a *Agent) at(f *directory.Former, over directory.Protocols) (*carrier.Server, error) {
	at := f.IMAP
	if over == directory.POP3 {
		at = f.POP3
	}
	host, port, err := net.SplitHostPort(at.Address)
	if err != nil {
		return nil, fmt.Errorf("former: server %q: %w", at.Address, err)
	}
	s := &carrier.Server{Host: host, Port: port, Security: at.Security, User: f.User, Dial: a.Dial, TLS: &tls.Config{RootCAs: a.Roots}}
	if s.Dial == nil {
		s.Dial = new(net.Dialer).DialContext
	}
	if len(f.CA) > 0 {
		s.TLS.RootCAs = x509.NewCertPool()
		if !s.TLS.RootCAs.AppendCertsFromPEM(f.CA) {
			return nil, fmt.Errorf("former: server %q: its authority has no certificate", at.Address)
		}
	}
	return s, nil
}

// passing are the codes by which a server says that the password is not what was
// wrong. RFC 5530 §3, RFC 2449 §8.1, RFC 3206
var passing = []string{"[UNAVAILABLE]", "[SERVERBUG]", "[LIMIT]", "[INUSE]", "[CONTACTADMIN]", "[PRIVACYREQUIRED]", "[SYS/TEMP]", "[SYS/PERM]", "[IN-USE]", "[LOGIN-DELAY]"}

// refusal tells what the user hears; only the log hears what the server said.
func (a *Agent) refusal(who directory.Account, err error) error {
	if errors.Is(err, carrier.ErrLogin) && errors.Is(err, carrier.ErrRefused) {
		said := strings.ToUpper(err.Error())
		for _, code := range passing {
			if strings.Contains(said, code) {
				a.Log.Warn("former server", "account", who.Address.String(), "error", err)
				return errBusy
			}
		}
		return &mail.Refusal{Status: sasl.ErrFailed.Status, Text: sasl.ErrFailed.Text, Reason: err.Error()}
	}
	a.Log.Warn("former server", "account", who.Address.String(), "error", err)
	return errSilent
}
