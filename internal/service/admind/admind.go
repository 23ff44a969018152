// Package admind is the admin API: JSON over HTTP, on a socket that only the
// server's own user can open. The command line is its client; what one can do
// the other can.
//
// An answer that is no success has a Problem as its body. Check streams one
// JSON value a line.
package admind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"posthaste/internal/agent/backup"
	"posthaste/internal/agent/collector"
	"posthaste/internal/agent/envoy"
	"posthaste/internal/agent/former"
	"posthaste/internal/agent/keys"
	"posthaste/internal/agent/mda"
	"posthaste/internal/agent/mover"
	"posthaste/internal/agent/mta"
	"posthaste/internal/agent/mx"
	"posthaste/internal/agent/owner"
	"posthaste/internal/agent/postmaster"
	"posthaste/internal/agent/registrar"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/discovery"
	"posthaste/internal/store/allowance"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/queue"
	"posthaste/internal/store/reports"
	"posthaste/internal/store/suppression"
)

// A Server answers. All fields must be set.
type Server struct {
	Registrar *registrar.Registrar
	Directory *directory.Directory
	Mailboxes *mailbox.Store
	// Owner does what owners of accounts want done.
	Owner      *owner.Agent
	Queue      *queue.Queue
	Transfer   *mta.Agent
	Journal    *journal.Journal
	Postmaster *postmaster.Agent
	Delivery   *mda.Agent
	// Suppression has the addresses elsewhere that do not exist.
	Suppression *suppression.List
	Forecast    *mx.Forecast
	// Backup makes a backup, Backups makes them from time to time; nil: not.
	Backup  func(ctx context.Context, r *backup.Repository) (backup.Written, error)
	Backups *backup.Schedule
	// Full says that the disk is full; nil: it never is.
	Full func() bool
	// Depot gives the place of backups that is named so.
	Depot   func(where string) (backup.Depot, error)
	Reports *reports.Store
	// Keys looks after the keys that sign mail.
	Keys *keys.Agent
	// Mover brings mail from elsewhere, and hands it out.
	Mover *mover.Agent
	// Way gives the way that a name means, as the queue has it; an error says in a
	// sentence what names there are.
	Way func(name string) (via string, err error)
	// Allowance says to how many accounts may write.
	Allowance *allowance.Store
	// Collector collects the mail of accounts elsewhere.
	Collector *collector.Agent
	// Envoy sends by them.
	Envoy *envoy.Agent
	// Former moves accounts here while they are in use.
	Former *former.Agent
	// Records gives what a domain should have in the DNS.
	Records func(ctx context.Context, d mail.Domain, o RecordOptions) ([]Record, error)
	// Settings gives those of a domain for mail programs.
	Settings func(ctx context.Context, d mail.Domain) (discovery.Settings, error)
	// AccountPage is where people look after their own accounts; "" if there is no such
	// page.
	AccountPage string
	// Metrics tells the metrics.
	Metrics http.Handler
	// CanWithhold tells whether IMAP here has a capability of this name, which an account
	// can do without.
	CanWithhold func(name string) bool
	// SHA1 tells that SCRAM-SHA-1 is announced.
	SHA1    bool
	Version string
	Log     *slog.Logger
}

// A Problem is an answer that is no success.
type Problem struct {
	Error string `json:"error"`
}

// What the API speaks of.
type (
	// A Record is one that a domain should have in the DNS.
	Record struct {
		Name  string `json:"name"`
		Type  string `json:"type"`
		Value string `json:"value"`
		Why   string `json:"why"`
		Wrong string `json:"wrong,omitempty"` // what the DNS says instead, if it was asked
	}
	// An Account is somebody who logs in.
	Account struct {
		ID       uint64    `json:"id,omitempty"` // stays when the address changes
		Address  string    `json:"address"`
		Name     string    `json:"name,omitempty"`
		Password string    `json:"password,omitempty"` // in requests only
		Quota    int64     `json:"quota,omitempty"`    // bytes; 0 is no limit
		Admin    bool      `json:"admin,omitempty"`    // may set the limits of others over IMAP
		Shared   bool      `json:"shared,omitempty"`   // a folder for many, to which nobody logs in
		Disabled bool      `json:"disabled,omitempty"` // may not log in; mail still comes in
		Used     int64     `json:"used"`
		Messages int64     `json:"messages"`
		Created  time.Time `json:"created,omitzero"`
		// WithoutSHA1 are the passwords that do not go with SCRAM-SHA-1, if that is
		// switched on: "" is the account's own, the others are app passwords.
		WithoutSHA1 []string `json:"without_sha1,omitempty"`
	}
	// An Item waits in the queue.
	Item struct {
		ID         string    `json:"id"`
		Sender     string    `json:"sender"`
		Recipients []string  `json:"recipients"`
		Size       int64     `json:"size"`
		Queued     time.Time `json:"queued"`
		Next       time.Time `json:"next"`
		Attempts   int       `json:"attempts"`
		Active     bool      `json:"active"`
		Reason     string    `json:"reason,omitempty"`   // what was answered
		Remote     string    `json:"remote,omitempty"`   // by whom
		Why        string    `json:"why,omitempty"`      // a word for it, if it is known
		Words      string    `json:"words,omitempty"`    // what it means, in a sentence
		Held       bool      `json:"held,omitempty"`     // an administrator holds it back
		From       string    `json:"from,omitempty"`     // our address that it was answered to, if we have several
		Via        string    `json:"via,omitempty"`      // the way that an administrator told it to go
		Until      time.Time `json:"until,omitzero"`     // when it is given up
		By         time.Time `json:"by,omitzero"`        // when it should be there, as its sender asks
		Return     bool      `json:"return,omitempty"`   // it comes back at By; else its sender is told
		Priority   int       `json:"priority,omitempty"` // -9 to 9; 0 is that of usual mail
	}
	// Items are a page of what waits, the oldest first. Last is where the next page
	// begins (?after=Last); 0: there is none.
	Items struct {
		Items []Item `json:"items"`
		Last  uint64 `json:"last,omitempty"`
	}
	// A Story is what happened to a message.
	Story struct {
		ID     string   `json:"id"`
		Lines  []string `json:"lines"`
		Queued []Item   `json:"queued,omitempty"`
	}
	// A Finding is a line of Check: progress, something wrong, something to know of, or
	// the end.
	Finding struct {
		Wrong string `json:"wrong,omitempty"`
		Note  string `json:"note,omitempty"`
		Done  int    `json:"done,omitempty"`
		All   int    `json:"all,omitempty"`
		End   bool   `json:"end,omitempty"`
		Error string `json:"error,omitempty"`
	}
	// A Heap is what waits for one destination, for one reason; hour, day and older
	// count the messages by age.
	Heap struct {
		To       string    `json:"to"`
		Why      string    `json:"why"`
		Words    string    `json:"words"`
		Messages int       `json:"messages"`
		Bytes    int64     `json:"bytes"`
		Hour     int       `json:"hour"`
		Day      int       `json:"day"`
		Older    int       `json:"older"`
		Oldest   time.Time `json:"oldest"`
		Next     time.Time `json:"next"`
	}
	// A Group says which of what waits is meant: what fits all that is set, or all.
	Group struct {
		To   string `json:"to,omitempty"`   // a domain
		From string `json:"from,omitempty"` // an address, "@domain", or "<>"
		Why  string `json:"why,omitempty"`  // as in a Heap
		All  bool   `json:"all,omitempty"`
	}
	// A Reroute says which way a group goes: "mx", the name of a route, host:port, or
	// "default". Of a single message its group says nothing.
	Reroute struct {
		Group
		Via string `json:"via"`
	}
	// Changed counts what was changed.
	Changed struct {
		Items int `json:"items"`
	}
	// Status is what the server says of itself.
	Status struct {
		Version string `json:"version"`
	}
)

// maxRequest is how large the body of a request may be.
const maxRequest = 1 << 20

func (s *Server) answer(fn func(*http.Request) (any, error)) http.HandlerFunc {
	return s.answerTo(maxRequest, fn)
}

// answerTo is answer for requests of up to so many bytes.
func (s *Server) answerTo(most int64, fn func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, most)
		out, err := fn(r)
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			code, text := problem(err)
			if code == http.StatusInternalServerError && r.Context().Err() == nil {
				s.Log.Error("admin API", "request", r.Method+" "+r.URL.Path, "error", err)
			}
			w.WriteHeader(code)
			out = Problem{Error: text}
		}
		json.NewEncoder(w).Encode(out)
	}
}

// errRequest is a request that cannot be meant.
type errRequest struct{ error }

func bad(format string, args ...any) error { return errRequest{fmt.Errorf(format, args...)} }

// problem gives the status and the sentence for an error.
func problem(err error) (int, string) {
	if e, ok := errors.AsType[errRequest](err); ok {
		return http.StatusBadRequest, e.Error()
	}
	if e, ok := errors.AsType[owner.Invalid](err); ok {
		return http.StatusBadRequest, e.Error()
	}
	switch {
	case errors.Is(err, former.ErrNotMoving), errors.Is(err, former.ErrFlipped), errors.Is(err, former.ErrBusy), errors.Is(err, former.ErrPassword), errors.Is(err, former.ErrReach), errors.Is(err, former.ErrUnread):
		return http.StatusConflict, err.Error()
	case errors.Is(err, owner.ErrAway):
		return http.StatusConflict, err.Error()
	case errors.Is(err, registrar.ErrPassword), errors.Is(err, registrar.ErrShared), errors.Is(err, registrar.ErrNotShared), errors.Is(err, registrar.ErrRights), errors.Is(err, registrar.ErrNoSeenMode):
		return http.StatusBadRequest, err.Error()
	case errors.Is(err, mail.ErrNotFound):
		return http.StatusNotFound, unpacked(err)
	case errors.Is(err, mail.ErrOverQuota):
		return http.StatusConflict, "there is no room left: that is all that the account may take; \"posthaste account quota\" gives it more"
	case errors.Is(err, mail.ErrExists), errors.Is(err, mail.ErrInUse), errors.Is(err, mail.ErrLimit):
		return http.StatusConflict, unpacked(err)
	}
	return http.StatusInternalServerError, err.Error()
}

// unpacked gives an error without the packages that it came through, of which only the
// log speaks.
func unpacked(err error) string {
	text := err.Error()
	for {
		name, rest, ok := strings.Cut(text, ": ")
		if !ok || !packages[name] {
			return text
		}
		text = rest
	}
}

// packages are those whose names stand in front of what else says what was asked for.
var packages = map[string]bool{"directory": true, "keyring": true, "keys": true, "mta": true, "suppression": true, "journal": true, "registrar": true, "outpost": true}

func decode[T any](r *http.Request) (v T, err error) {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, bad("the request is not as it should be: %v", err)
	}
	return v, nil
}

func domain(s string) (mail.Domain, error) {
	d, err := mail.ParseDomain(s)
	if err != nil {
		return "", bad("%q is no domain name", s)
	}
	return d, nil
}

func address(s string) (mail.Address, error) {
	a, err := mail.ParseAddress(s)
	if err != nil {
		return mail.Address{}, bad("%q is no address: write name@domain", s)
	}
	return a, nil
}

func (s *Server) records(r *http.Request) (any, error) {
	d, err := domain(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	ours, err := s.Directory.HasDomain(r.Context(), d)
	if err != nil {
		return nil, err
	}
	if !ours {
		return nil, fmt.Errorf("domain %s: %w", d, mail.ErrNotFound)
	}
	return s.Records(r.Context(), d, RecordOptions{Failures: r.URL.Query().Get("failures") == "true"})
}

func (s *Server) accounts(r *http.Request) (any, error) {
	list, err := s.Directory.Accounts(r.Context())
	if err != nil {
		return nil, err
	}
	out := []Account{}
	for _, a := range list {
		u, err := s.Mailboxes.Usage(r.Context(), a.ID)
		if err != nil && !errors.Is(err, mail.ErrNotFound) {
			return nil, err
		}
		out = append(out, Account{ID: uint64(a.ID), Address: a.Address.String(), Name: a.Name, Quota: u.MaxBytes, Used: u.Bytes, Messages: u.Messages, Created: a.Created, Shared: a.Shared, Admin: a.Admin, Disabled: a.Disabled && !a.Shared})
		if out[len(out)-1].WithoutSHA1, err = s.withoutSHA1(r.Context(), a); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// maxName is how many bytes the name of a person has.
const maxName = 250

// fits refuses a new address to which others could not send. RFC 5321 §4.5.3.1.1
func fits(a mail.Address) error {
	if utf8.RuneCountInString(a.Local) > 64 {
		return bad("what stands before the @ has 64 characters at most")
	}
	return nil
}

func (s *Server) addAccount(r *http.Request) (any, error) {
	in, err := decode[Account](r)
	if err != nil {
		return nil, err
	}
	addr, err := address(in.Address)
	if err != nil {
		return nil, err
	}
	if in.Quota < 0 {
		return nil, bad("a quota is not negative")
	}
	if len(in.Name) > maxName || !utf8.ValidString(in.Name) || strings.ContainsFunc(in.Name, unicode.IsControl) {
		return nil, bad("a person's name has %d bytes of UTF-8 at most, on one line", maxName)
	}
	if err := fits(addr); err != nil {
		return nil, err
	}
	a, err := s.Registrar.AddAccount(r.Context(), registrar.NewAccount{Address: addr, Name: in.Name, Password: in.Password, Quota: in.Quota, Shared: in.Shared})
	if errors.Is(err, mail.ErrNotFound) {
		return nil, bad("the domain %s is not served here; add it first: posthaste domain add %s", addr.Domain, addr.Domain)
	}
	return Account{Address: a.Address.String(), Name: a.Name, Created: a.Created}, err
}

func (s *Server) removeAccount(r *http.Request) (any, error) {
	addr, err := address(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	return Account{Address: addr.String()}, s.Registrar.RemoveAccount(r.Context(), addr)
}

// setQuota changes how much an account, or a shared folder, may take, and tells how much
// it takes.
func (s *Server) setQuota(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[Account](r)
	if err != nil {
		return nil, err
	}
	if in.Quota < 0 {
		return nil, bad("a quota is not negative")
	}
	if err := s.Mailboxes.SetMaxBytes(r.Context(), a.ID, in.Quota); err != nil {
		return nil, err
	}
	u, err := s.Mailboxes.Usage(r.Context(), a.ID)
	return Account{Address: a.Address.String(), Quota: u.MaxBytes, Used: u.Bytes, Messages: u.Messages}, err
}

func (s *Server) setPassword(r *http.Request) (any, error) {
	addr, err := address(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	in, err := decode[Account](r)
	if err != nil {
		return nil, err
	}
	return Account{Address: addr.String()}, s.Registrar.SetPassword(r.Context(), addr, in.Password)
}

func (s *Server) item(it queue.Item) Item {
	out := Item{
		ID: it.Envelope.Trace.String(), Sender: it.Envelope.Sender.String(), Size: it.Size(), Queued: it.Queued, Next: it.Next,
		Attempts: it.Attempts, Active: it.Claimed(), Reason: it.Text, Remote: it.Remote,
	}
	for _, r := range it.Envelope.Recipients {
		out.Recipients = append(out.Recipients, r.Address.String())
	}
	out.Why, out.Words = mta.Reason(&it)
	out.Held, out.Via, out.From = it.Held, it.Via, it.From
	out.Until, out.By, out.Return, out.Priority = s.Transfer.Until(&it), it.Envelope.By.Time, it.Envelope.By.Return, int(it.Envelope.Priority)
	return out
}

func (s *Server) queued(r *http.Request) (any, error) {
	var after uint64
	if v := r.URL.Query().Get("after"); v != "" {
		var err error
		if after, err = strconv.ParseUint(v, 10, 64); err != nil {
			return nil, bad("after is what the page before said: %q is no number", v)
		}
	}
	list, last, err := s.Queue.Some(r.Context(), mail.QueueID(after), itemsPage)
	out := Items{Items: []Item{}, Last: uint64(last)}
	for _, it := range list {
		out.Items = append(out.Items, s.item(it))
	}
	sort.Slice(out.Items, func(i, j int) bool { return out.Items[i].Queued.Before(out.Items[j].Queued) })
	return out, err
}

// itemsPage is how many items an answer has, or a few more.
const itemsPage = 1000

func traceID(r *http.Request) (mail.TraceID, error) {
	id, err := mail.ParseTraceID(r.PathValue("id"))
	if err != nil {
		return id, errRequest{err}
	}
	return id, nil
}

func (s *Server) story(r *http.Request) (any, error) {
	id, err := traceID(r)
	if err != nil {
		return nil, err
	}
	events, err := s.Journal.Events(r.Context(), id)
	if err != nil {
		return nil, err
	}
	out := Story{ID: id.String(), Lines: trace.Story(events, time.Local)}
	items, err := s.Queue.Of(r.Context(), id)
	for _, it := range items {
		w := s.item(it)
		out.Queued, out.Lines = append(out.Queued, w), append(out.Lines, w.waits(time.Now(), time.Local))
	}
	return out, err
}

func (s *Server) check(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/jsonl")
	enc := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	err := s.Postmaster.Check(r.Context(),
		func(wrong string) { enc.Encode(Finding{Wrong: wrong}) },
		func(done, all int) { enc.Encode(Finding{Done: done, All: all}); flush.Flush() })
	if err == nil {
		if s.Full != nil && s.Full() {
			enc.Encode(Finding{Note: fullNote})
		}
		if early := s.Postmaster.Relief(); early.Messages > 0 {
			enc.Encode(Finding{Note: earlyNote(early)})
		}
		err = s.strange(r.Context(), func(note string) { enc.Encode(Finding{Note: note}) })
	}
	end := Finding{End: true}
	if err != nil {
		end.Error = err.Error()
	}
	enc.Encode(end)
}
