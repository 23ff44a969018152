package admind

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"posthaste/internal/agent/collector"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/outpost"
)

// What the API says of accounts elsewhere whose mail is collected.
type (
	// An Outpost is one, and how it stands.
	Outpost struct {
		Account  string    `json:"account"`
		Name     string    `json:"name"`
		Protocol string    `json:"protocol"`
		Host     string    `json:"host"`
		Port     string    `json:"port"`
		Security string    `json:"security"` // tls, starttls or none
		User     string    `json:"user"`
		OAuth2   bool      `json:"oauth2,omitempty"`
		Folders  []string  `json:"folders,omitempty"`
		After    string    `json:"after"` // leave, delete, or days such as 30d
		Mailbox  string    `json:"mailbox,omitempty"`
		Keyword  string    `json:"keyword,omitempty"`
		Every    int       `json:"every"` // minutes
		Unjudged bool      `json:"unjudged,omitempty"`
		Created  time.Time `json:"created"`

		// Tokens says how access tokens are got, without the client's secret.
		Tokens *OutpostOAuth2 `json:"tokens,omitempty"`

		Paused  bool      `json:"paused,omitempty"`
		Waiting bool      `json:"waiting,omitempty"` // paused, until there is a password
		Stopped bool      `json:"stopped,omitempty"` // only a change can help
		Active  bool      `json:"active,omitempty"`  // it is being visited
		Idle    bool      `json:"idle,omitempty"`    // it says at once when there is new mail
		Error   string    `json:"error,omitempty"`   // what is wrong, and what to do
		State   string    `json:"state"`             // all that in words
		Begun   time.Time `json:"begun,omitzero"`
		Ended   time.Time `json:"ended,omitzero"`
		Good    time.Time `json:"good,omitzero"` // when all went well the last time
		Next    time.Time `json:"next,omitzero"`

		Collected     int64  `json:"collected"`
		Bytes         int64  `json:"bytes"`
		Removed       int64  `json:"removed"`
		LastCollected int64  `json:"last_collected"`
		Refused       int64  `json:"refused,omitempty"` // messages there that cannot be taken
		Refusal       string `json:"refusal,omitempty"` // why the last of them

		SendAs *SendAs `json:"send_as,omitempty"`
	}
	// OutpostSettings are what can be said of one. What is nil stays, or is as usual.
	OutpostSettings struct {
		Protocol *string        `json:"protocol,omitempty"` // only of a new one
		Host     *string        `json:"host,omitempty"`
		Port     *string        `json:"port,omitempty"`
		Security *string        `json:"security,omitempty"`
		User     *string        `json:"user,omitempty"`
		Secret   *string        `json:"secret,omitempty"` // the password, or the refresh token
		OAuth2   *OutpostOAuth2 `json:"oauth2,omitempty"`
		Folders  *[]string      `json:"folders,omitempty"`
		After    *string        `json:"after,omitempty"`
		Mailbox  *string        `json:"mailbox,omitempty"`
		Keyword  *string        `json:"keyword,omitempty"`
		Every    *int           `json:"every,omitempty"`
		Unjudged *bool          `json:"unjudged,omitempty"`
		// SendAs is how the address there is sent with.
		SendAs *SendAsSettings `json:"send_as,omitempty"`
		// Untried saves it without trying to log in.
		Untried bool `json:"untried,omitempty"`
		// Waiting saves it without a password, paused until there is one.
		Waiting bool `json:"waiting,omitempty"`
	}
	// OutpostOAuth2 says how access tokens are got by the refresh token.
	OutpostOAuth2 struct {
		URL          string `json:"url"`
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret,omitempty"`
		Scope        string `json:"scope,omitempty"`
	}
)

var securities = map[string]outpost.Security{"tls": outpost.TLS, "starttls": outpost.StartTLS, "none": outpost.Clear}

func outpostOf(address string, e *outpost.Entry, now time.Time) Outpost {
	var tokens *OutpostOAuth2
	if t := e.OAuth2; t != nil {
		tokens = &OutpostOAuth2{URL: t.URL, ClientID: t.ClientID, Scope: t.Scope}
	}
	return Outpost{
		Tokens: tokens, Waiting: e.Secret == "",
		Account: address, Name: e.Name, Protocol: strings.ToLower(e.Protocol.String()), Host: e.Host, Port: e.Port, User: e.User, OAuth2: e.OAuth2 != nil,
		Folders: e.Folders, After: afterWords(&e.Outpost), Mailbox: e.Mailbox, Keyword: e.Keyword, Every: int(e.Every / time.Minute), Unjudged: e.Unjudged, Created: e.Created,
		State: collector.State(e, now, time.Local), Paused: e.Paused, Stopped: e.Stopped, Active: e.Active(now) && !e.Idle, Idle: e.Idle && e.Active(now), Error: e.Error, Begun: e.Begun, Ended: e.Ended, Good: e.Good, Next: e.Next,
		Collected: e.Collected, Bytes: e.Bytes, Removed: e.Removed, LastCollected: e.LastCollected, Refused: e.Refused, Refusal: e.Refusal,
		Security: securityName(e.Security), SendAs: sendAsOf(e),
	}
}

func securityName(s outpost.Security) string {
	for name, have := range securities {
		if have == s {
			return name
		}
	}
	return ""
}

func afterWords(o *outpost.Outpost) string {
	switch o.After {
	case outpost.Delete:
		return "delete"
	case outpost.KeepDays:
		return strconv.Itoa(o.Days) + "d"
	}
	return "leave"
}

func (s *Server) allOutposts(r *http.Request) (any, error) {
	list, err := s.Collector.Outposts.All(r.Context())
	if err != nil {
		return nil, err
	}
	accts, err := s.Directory.Accounts(r.Context())
	if err != nil {
		return nil, err
	}
	names := map[mail.AccountID]string{}
	for _, a := range accts {
		names[a.ID] = a.Address.String()
	}
	out := []Outpost{}
	for i := range list {
		out = append(out, outpostOf(names[list[i].Account], &list[i], time.Now()))
	}
	return out, nil
}

func (s *Server) outposts(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	list, err := s.Collector.Outposts.Of(r.Context(), a.ID)
	out := []Outpost{}
	for i := range list {
		out = append(out, outpostOf(a.Address.String(), &list[i], time.Now()))
	}
	return out, err
}

// outpostNamed gives the one that the request is about.
func (s *Server) outpostNamed(r *http.Request) (outpost.Entry, string, error) {
	a, err := s.account(r)
	if err != nil {
		return outpost.Entry{}, "", err
	}
	e, err := s.Collector.Outposts.Named(r.Context(), a.ID, r.PathValue("name"))
	return e, a.Address.String(), err
}

func (s *Server) addOutpost(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[OutpostSettings](r)
	if err != nil {
		return nil, err
	}
	o := outpost.Outpost{Account: a.ID, Name: r.PathValue("name"), Security: outpost.TLS, Every: collector.DefaultEvery}
	if o.Name == "" || len(o.Name) > outpost.MaxName || strings.ContainsFunc(o.Name, unicode.IsControl) {
		return nil, bad("a name has 1 to %d letters", outpost.MaxName)
	}
	if a.Shared {
		return nil, bad("nobody logs in to a shared folder: collect for a person, into a mailbox that is shared")
	}
	if in.Waiting {
		in.Untried, in.Secret, o.Paused = true, nil, true
	} else if in.Secret == nil {
		return nil, bad("a password is needed")
	}
	if in.Protocol == nil || in.Host == nil || in.User == nil {
		return nil, bad("protocol, host and user are needed")
	}
	switch *in.Protocol {
	case "pop3":
		o.Protocol = outpost.POP3
	case "imap":
		o.Protocol = outpost.IMAP
	default:
		return nil, bad("mail is collected over pop3 or imap, not over %q", *in.Protocol)
	}
	if err := in.apply(&o); err != nil {
		return nil, err
	}
	if err := s.applySendAs(r.Context(), in.SendAs, &o); err != nil {
		return nil, err
	}
	if err := s.tried(r.Context(), &o, in); err != nil {
		return nil, err
	}
	if err := s.proven(r.Context(), &o, in); err != nil {
		return nil, err
	}
	o, err = s.Collector.Outposts.Add(r.Context(), o, !in.Untried)
	if err != nil {
		return nil, err
	}
	e, err := s.Collector.Outposts.Get(r.Context(), o.ID)
	return outpostOf(a.Address.String(), &e, time.Now()), err
}

// tried tries to log in, if that is wanted.
func (s *Server) tried(ctx context.Context, o *outpost.Outpost, in OutpostSettings) error {
	if in.Untried {
		return nil
	}
	if err := s.Collector.Check(ctx, o); err != nil {
		return errRequest{err}
	}
	return nil
}

// apply changes an outpost, if what is said can be meant.
func (in *OutpostSettings) apply(o *outpost.Outpost) (err error) {
	if in.Security != nil {
		if o.Security = securities[*in.Security]; o.Security == 0 {
			return bad("security is tls, starttls or none, not %q", *in.Security)
		}
		if in.Port == nil {
			o.Port = ""
		}
	}
	if in.Host != nil {
		if o.Host, err = hostOf(*in.Host); err != nil {
			return err
		}
	}
	set(&o.Port, in.Port)
	if o.Port == "" {
		o.Port = usualPort(o)
	}
	if err := checkPort(o.Port); err != nil {
		return err
	}
	set(&o.User, in.User)
	set(&o.Secret, in.Secret)
	if o.User == "" || o.Secret == "" && !in.Waiting {
		return bad("a user name and a password are needed")
	}
	if t := in.OAuth2; t != nil {
		if o.OAuth2, err = t.read(); err != nil {
			return err
		}
	}
	return in.applyMail(o)
}

func set(to *string, from *string) {
	if from != nil {
		*to = *from
	}
}

func usualPort(o *outpost.Outpost) string {
	ports := [2]string{"110", "995"}
	if o.Protocol == outpost.IMAP {
		ports = [2]string{"143", "993"}
	}
	if o.Security == outpost.TLS {
		return ports[1]
	}
	return ports[0]
}

// applyMail changes what becomes of the mail.
func (in *OutpostSettings) applyMail(o *outpost.Outpost) (err error) {
	if in.Folders != nil {
		o.Folders = *in.Folders
	}
	if len(o.Folders) > outpost.MaxFolders || len(o.Folders) > 0 && o.Protocol == outpost.POP3 {
		return bad("there are no folders over POP3, and over IMAP at most %d are collected", outpost.MaxFolders)
	}
	if in.After != nil {
		switch *in.After {
		case "leave":
			o.After = outpost.Leave
		case "delete":
			o.After = outpost.Delete
		default:
			o.After = outpost.KeepDays
			days, ok := strings.CutSuffix(*in.After, "d")
			if o.Days, err = strconv.Atoi(days); err != nil || !ok || o.Days < 1 || o.Days > outpost.MaxDays {
				return bad("what becomes of collected mail is leave, delete, or days such as 30d, not %q", *in.After)
			}
		}
	}
	if in.Mailbox != nil {
		if o.Mailbox = *in.Mailbox; o.Mailbox != "" {
			if o.Mailbox, err = mailbox.ParseName(o.Mailbox); err != nil {
				return errRequest{err}
			}
		}
	}
	if set(&o.Keyword, in.Keyword); o.Keyword != "" && (imap.AtomOf(o.Keyword) != o.Keyword || len(o.Keyword) > mailbox.MaxKeyword) {
		return bad("%q cannot be a keyword: it is one word of ASCII letters", o.Keyword)
	}
	if in.Every != nil {
		o.Every = time.Duration(*in.Every) * time.Minute
	}
	if o.Every < collector.MinEvery || o.Every > 24*time.Hour {
		return bad("mail is collected every 1 to 1440 minutes")
	}
	if in.Unjudged != nil {
		o.Unjudged = *in.Unjudged
	}
	return nil
}

func (s *Server) changeOutpost(r *http.Request) (any, error) {
	e, address, err := s.outpostNamed(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[OutpostSettings](r)
	if err != nil {
		return nil, err
	}
	if in.Waiting {
		return nil, bad("only what is added can wait for its password")
	}
	if in.Protocol != nil {
		return nil, bad("over what mail is collected cannot be changed: remove it, and add another")
	}
	was := e.Outpost
	if err := in.apply(&e.Outpost); err != nil {
		return nil, err
	}
	if err := s.applySendAs(r.Context(), in.SendAs, &e.Outpost); err != nil {
		return nil, err
	}
	moved := was.Host != e.Host || was.User != e.User
	if moved || was.Port != e.Port || was.Secret != e.Secret || was.Security != e.Security || in.OAuth2 != nil || in.After != nil || in.Folders != nil {
		if err := s.tried(r.Context(), &e.Outpost, in); err != nil {
			return nil, errors.Join(err, s.rescue(r.Context(), in, was, e.Outpost))
		}
	}
	if in.SendAs != nil || e.SendAs != nil && e.SendAs.User == "" && (was.User != e.User || was.Secret != e.Secret || in.OAuth2 != nil) {
		if err := s.proven(r.Context(), &e.Outpost, in); err != nil {
			return nil, errors.Join(err, s.rescue(r.Context(), in, was, e.Outpost))
		}
	}
	return s.change(r, e, address, func(now *outpost.Entry) error {
		meanwhile := now.Outpost
		now.Outpost = e.Outpost
		if in.Secret == nil && e.Secret == was.Secret {
			now.Secret = meanwhile.Secret // a refresh token may be another one meanwhile
		}
		if was.Secret == "" { // that was why
			now.Paused = false
		}
		now.SendAs = newest(e.SendAs, was.SendAs, meanwhile.SendAs)
		if moved {
			now.Proven = time.Time{}
		}
		now.Again(time.Now())
		return nil
	})
}

// rescue keeps the refresh token that a try which failed in the end has got in place of
// the one there is, which may be good no more.
func (s *Server) rescue(ctx context.Context, in OutpostSettings, was, is outpost.Outpost) error {
	if in.Secret != nil || was.OAuth2 == nil || is.Secret == was.Secret {
		return nil
	}
	return s.Collector.Outposts.KeepSecret(ctx, was.ID, was.Secret, is.Secret)
}

// change changes one, and gives it.
func (s *Server) change(r *http.Request, e outpost.Entry, address string, fn func(*outpost.Entry) error) (any, error) {
	if err := s.Collector.Outposts.Change(r.Context(), e.ID, fn); err != nil {
		return nil, err
	}
	e, err := s.Collector.Outposts.Get(r.Context(), e.ID)
	if err == nil && e.SendAs != nil && !e.Paused {
		err = s.Transfer.Hurry(r.Context(), uint64(e.ID))
	}
	return outpostOf(address, &e, time.Now()), err
}

func (s *Server) handleOutpost(r *http.Request) (any, error) {
	e, address, err := s.outpostNamed(r)
	if err != nil {
		return nil, err
	}
	action := r.PathValue("action")
	if action != "pause" && action != "resume" && action != "now" {
		return nil, bad("one can pause, resume, or collect now, not %q", action)
	}
	if action != "pause" && e.Secret == "" {
		return nil, bad("it has no password yet: give it one with \"posthaste collect set %s %s --ask-password\"", address, e.Name)
	}
	return s.change(r, e, address, func(now *outpost.Entry) error {
		now.Paused = action == "pause" || action == "now" && now.Paused
		if action != "pause" {
			now.Again(time.Now())
		}
		return nil
	})
}

func (s *Server) removeOutpost(r *http.Request) (any, error) {
	e, address, err := s.outpostNamed(r)
	if err != nil {
		return nil, err
	}
	return outpostOf(address, &e, time.Now()), s.Collector.Outposts.Remove(r.Context(), e.Account, e.ID)
}

func outpostPath(address, name string) string {
	return "/v1/accounts/" + url.PathEscape(address) + "/outposts/" + url.PathEscape(name)
}

// Outposts gives the accounts elsewhere of an account; of all, if the address is "".
func (c *Client) Outposts(ctx context.Context, address string) (out []Outpost, err error) {
	path := "/v1/outposts"
	if address != "" {
		path = "/v1/accounts/" + url.PathEscape(address) + "/outposts"
	}
	return out, c.do(ctx, http.MethodGet, path, nil, &out)
}

// AddOutpost adds one, after it was seen that one can log in there.
func (c *Client) AddOutpost(ctx context.Context, address, name string, in OutpostSettings) (out Outpost, err error) {
	return out, c.do(ctx, http.MethodPost, outpostPath(address, name), in, &out)
}

// ChangeOutpost changes one, and has it visited at once.
func (c *Client) ChangeOutpost(ctx context.Context, address, name string, in OutpostSettings) (out Outpost, err error) {
	return out, c.do(ctx, http.MethodPatch, outpostPath(address, name), in, &out)
}

// RemoveOutpost removes one. The mail that was collected stays.
func (c *Client) RemoveOutpost(ctx context.Context, address, name string) error {
	return c.do(ctx, http.MethodDelete, outpostPath(address, name), nil, nil)
}

// HandleOutpost pauses or resumes one, or has it visited now.
func (c *Client) HandleOutpost(ctx context.Context, address, name, action string) (out Outpost, err error) {
	return out, c.do(ctx, http.MethodPost, outpostPath(address, name)+"/"+action, nil, &out)
}
