package admind

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"posthaste/internal/agent/carrier"
	"posthaste/internal/agent/former"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/directory"
)

// What the API says of accounts that are moved here while they are in use.
type (
	// A Move is an account that was at a former server, or still is.
	Move struct {
		Address string `json:"address"`
		// State is who answers: "former", "flipping" (nobody, for the moment) or "here".
		State string `json:"state,omitempty"`
		From  string `json:"from"`           // imaps://host:port, or imap:// for STARTTLS
		POP3  string `json:"pop3,omitempty"` // pop3s:// or pop3://
		// Clear is that the servers are spoken to without TLS.
		Clear    bool      `json:"clear,omitempty"`
		CA       string    `json:"ca,omitempty"` // in requests only: PEM
		User     string    `json:"user,omitempty"`
		Master   string    `json:"master,omitempty"`
		Password string    `json:"password,omitempty"` // in requests only: the master's
		Learn    bool      `json:"learn"`
		UIDL     string    `json:"uidl,omitempty"`
		Began    time.Time `json:"began,omitzero"`
		Failed   string    `json:"failed,omitempty"` // why the last flip did
		Sessions int       `json:"sessions"`         // passed on now
		Here     int64     `json:"here"`             // messages
		// Run is the last flip since the server began.
		Run *MoveRun `json:"run,omitempty"`
	}
	// A MoveRun is how far a flip is.
	MoveRun struct {
		Begun     time.Time `json:"begun"`
		Ended     time.Time `json:"ended,omitzero"`
		Last      bool      `json:"last,omitempty"` // nobody is let in meanwhile
		Folder    string    `json:"folder,omitempty"`
		Folders   int       `json:"folders"`
		There     int64     `json:"there"` // messages, as far as it is known
		Seen      int64     `json:"seen"`
		Added     int64     `json:"added"`
		Bytes     int64     `json:"bytes"`
		Changed   int64     `json:"changed"`
		Gone      int64     `json:"gone"`
		Unread    int64     `json:"unread"` // could not be read
		Whichever []string  `json:"whichever,omitempty"`
		// Left is what of rights and notes did not come.
		Left []MoveLeft `json:"left,omitempty"`
	}
	// A MoveLeft is a part of what is known of a folder.
	MoveLeft struct {
		Folder string `json:"folder"`
		What   string `json:"what"`
		Why    string `json:"why"`
	}
	// A MoveFlip flips an account.
	MoveFlip struct {
		Password string `json:"password,omitempty"` // the account's at the former server
		Force    bool   `json:"force,omitempty"`    // though messages cannot be read
	}
)

var moveStates = map[directory.FormerState]string{directory.FormerAnswers: "former", directory.Flipping: "flipping", directory.Flipped: "here"}

// maxTold is how many of what could not be read are told one by one.
const maxTold = 20

// maxLeft is how much of what was left out is told, of each account.
const maxLeft = 1000

func (s *Server) moves(r *http.Request) (any, error) {
	list, err := s.Directory.Accounts(r.Context())
	if err != nil {
		return nil, err
	}
	out := []Move{}
	for i := range list {
		if list[i].Former == nil {
			continue
		}
		u, err := s.Mailboxes.Usage(r.Context(), list[i].ID)
		if err != nil && !errors.Is(err, mail.ErrNotFound) {
			return nil, err
		}
		m := s.moveOf(list[i])
		m.Here = u.Messages
		out = append(out, m)
	}
	return out, nil
}

func (s *Server) moveOf(a directory.Account) Move {
	f := a.Former
	m := Move{
		Address: a.Address.String(), State: moveStates[f.State], From: hostURL("imap", f.IMAP), POP3: hostURL("pop3", f.POP3), Clear: f.IMAP.Security == "none",
		User: f.User, Master: f.Master, Learn: f.Learn, UIDL: f.UIDL, Began: f.Began, Failed: f.Failed, Sessions: s.Former.Sessions(a.ID),
	}
	if p, ok := s.Former.Progress(a.ID); ok {
		m.Run = moveRun(p)
	}
	return m
}

func moveRun(p former.Progress) *MoveRun {
	r := p.Report
	run := &MoveRun{
		Begun: p.Begun, Ended: p.Ended, Last: p.Last, Folder: r.Folder, Folders: r.Folders, There: max(r.Expected, r.Seen), Seen: r.Seen, Added: r.Added,
		Bytes: r.Bytes, Changed: r.Changed, Gone: r.Gone, Unread: int64(len(r.Problems)) + r.MoreProblems,
	}
	for i, x := range r.Problems {
		if i == maxTold {
			break
		}
		run.Whichever = append(run.Whichever, x.String())
	}
	for _, x := range r.Left[:min(len(r.Left), maxLeft)] {
		run.Left = append(run.Left, MoveLeft{x.Folder, x.ID, x.Why})
	}
	return run
}

func hostURL(scheme string, h directory.FormerHost) string {
	switch {
	case h.Address == "":
		return ""
	case h.Security == "tls":
		return scheme + "s://" + h.Address
	}
	return scheme + "://" + h.Address
}

// formerHost reads imaps://host, imap://host:143 and such. A port for TLS means TLS.
func formerHost(scheme, port, tlsPort, text string, clear bool) (h directory.FormerHost, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != scheme && u.Scheme != scheme+"s" || u.User != nil || strings.Trim(u.Path, "/") != "" {
		return h, bad("%q is no server: write %ss://host, or %s://host for one with STARTTLS, with :port if it is unusual", text, scheme, scheme)
	}
	at := u.Port()
	h.Security = "starttls"
	if u.Scheme != scheme || at == tlsPort {
		h.Security, port = "tls", tlsPort
	}
	if clear {
		if h.Security == "tls" {
			return h, bad("%q is a server with TLS from the first byte, so it is not spoken to without", text)
		}
		h.Security = "none"
	}
	if at == "" {
		at = port
	}
	h.Address = net.JoinHostPort(u.Hostname(), at)
	return h, nil
}

func (s *Server) beginMove(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[Move](r)
	if err != nil {
		return nil, err
	}
	if a.Shared {
		return nil, bad("nobody logs in to a shared folder: bring its mail with posthaste import")
	}
	f := directory.Former{CA: []byte(in.CA), User: in.User, Master: in.Master, Password: in.Password, Learn: in.Learn, UIDL: in.UIDL}
	if f.IMAP, err = formerHost("imap", "143", "993", in.From, in.Clear); err != nil {
		return nil, err
	}
	if in.POP3 != "" {
		if f.POP3, err = formerHost("pop3", "110", "995", in.POP3, in.Clear); err != nil {
			return nil, err
		}
	}
	if err := carrier.UIDLFormat(f.UIDL).Check(); err != nil {
		return nil, errRequest{err}
	}
	if f.User == "" {
		f.User = a.Address.String()
	}
	if (f.Master == "") != (f.Password == "") {
		return nil, bad("a master user and its password belong together")
	}
	if err := s.Former.Begin(r.Context(), a, f); err != nil {
		return nil, err
	}
	return s.moveNow(r)
}

func (s *Server) moveNow(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	if a.Former == nil {
		return Move{Address: a.Address.String(), State: "here"}, nil
	}
	return s.moveOf(a), nil
}

func (s *Server) flipMove(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[MoveFlip](r)
	if err != nil {
		return nil, err
	}
	p, err := s.Former.Flip(r.Context(), a, former.Flip{Password: in.Password, Force: in.Force})
	if err != nil {
		if p.Begun.IsZero() || r.Context().Err() != nil {
			return nil, err
		}
		// Whatever it was: the account is as it was, and who flips it can do something.
		return nil, errRequest{err}
	}
	return moveRun(p), nil
}

func (s *Server) backMove(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err == nil {
		err = s.Former.Back(r.Context(), a)
	}
	if err != nil {
		return nil, err
	}
	return s.moveNow(r)
}

func (s *Server) endMove(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err == nil {
		err = s.Former.End(r.Context(), a)
	}
	if err != nil {
		return nil, err
	}
	return s.moveNow(r)
}

func liveMovePath(address, what string) string {
	return "/v1/accounts/" + url.PathEscape(address) + "/move" + what
}

// Moves gives all accounts that were at a former server, or still are.
func (c *Client) Moves(ctx context.Context) (out []Move, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/moves", nil, &out)
}

// BeginMove has an account answered by its former server until it is flipped.
func (c *Client) BeginMove(ctx context.Context, m Move) error {
	return c.do(ctx, http.MethodPut, liveMovePath(m.Address, ""), m, nil)
}

// FlipMove brings the account's mail and has us answer.
func (c *Client) FlipMove(ctx context.Context, address string, f MoveFlip) (out MoveRun, err error) {
	return out, c.do(ctx, http.MethodPost, liveMovePath(address, "/flip"), f, &out)
}

// BackMove has the former server answer again.
func (c *Client) BackMove(ctx context.Context, address string) error {
	return c.do(ctx, http.MethodPost, liveMovePath(address, "/back"), nil, nil)
}

// EndMove forgets the account's former server.
func (c *Client) EndMove(ctx context.Context, address string) error {
	return c.do(ctx, http.MethodDelete, liveMovePath(address, ""), nil, nil)
}
