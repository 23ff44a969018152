package admind

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	"posthaste/internal/agent/mover"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
)

// What the API says of mail that is brought from elsewhere.
type (
	// A MoveFolder is a folder that mail comes from.
	MoveFolder struct {
		Source     string `json:"source"`
		Name       string `json:"name"`
		Into       string `json:"into"`           // its name here
		Role       string `json:"role,omitempty"` // inbox, sent, drafts, trash, junk or archive
		Subscribed bool   `json:"subscribed,omitempty"`
		Mark       string `json:"mark,omitempty"`
		Renumbered bool   `json:"renumbered,omitempty"` // in requests: take it all the same
		Bare       bool   `json:"bare,omitempty"`       // its rights come, and it has no others
	}
	// A Sharing is who may do what with a folder, and what is noted about it.
	Sharing struct {
		Source string   `json:"source,omitempty"`
		Folder string   `json:"folder,omitempty"`
		Again  bool     `json:"again,omitempty"` // in place of what is here
		Rights []Rights `json:"rights"`          // null: they are not known
		Notes  []Note   `json:"notes,omitempty"`
	}
	// A Note is an entry of METADATA. RFC 5464 §3
	Note struct {
		Name  string `json:"name"`
		Value []byte `json:"value"`
	}
	// Shared says what of a Sharing did not come.
	Shared struct {
		Left []mover.Left `json:"left"`
	}
	// Opened says where its mail goes.
	Opened struct {
		Mailbox    uint64 `json:"mailbox"`
		Renumbered bool   `json:"renumbered,omitempty"` // it was numbered anew, and is not taken
	}
	// MoveIDs are messages of a folder.
	MoveIDs struct {
		Source   string   `json:"source"`
		Folder   string   `json:"folder"`
		Messages []Parcel `json:"messages"`
	}
	// Known says which of them have been brought already.
	Known struct {
		Known []bool `json:"known"`
	}
	// Moved says what was done.
	Moved struct {
		Added   int `json:"added,omitempty"`
		Dropped int `json:"dropped,omitempty"` // keywords for which there was no room
		Changed int `json:"changed,omitempty"` // flags
		Gone    int `json:"gone,omitempty"`    // expunged
	}
)

// maxHere is how large a list of all messages of a folder may be, with 16 bytes
// for each.
const maxHere = 16 * 20_000_000

var roles = map[string]mailbox.Role{
	"": mailbox.NoRole, "inbox": mailbox.InboxRole, "sent": mailbox.SentRole, "drafts": mailbox.DraftsRole,
	"trash": mailbox.TrashRole, "junk": mailbox.JunkRole, "archive": mailbox.ArchiveRole,
}

func roleName(r mailbox.Role) string {
	for name, role := range roles {
		if role == r {
			return name
		}
	}
	return ""
}

func (s *Server) moveFolder(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[MoveFolder](r)
	if err != nil {
		return nil, err
	}
	role, ok := roles[in.Role]
	if !ok || in.Source == "" {
		return nil, bad("a folder comes from a source, and %q is no role", in.Role)
	}
	id, err := s.Mover.Open(r.Context(), a.ID, mover.Folder{Source: in.Source, Name: in.Name, Into: in.Into, Role: role, Subscribed: in.Subscribed, Mark: in.Mark, Renumbered: in.Renumbered, Bare: in.Bare})
	if errors.Is(err, mover.ErrRenumbered) {
		return Opened{Renumbered: true}, nil
	}
	return Opened{Mailbox: uint64(id)}, err
}

// maxSharing is how large a Sharing may be in a request.
const maxSharing = 8 << 20

func (s *Server) moveSharing(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[Sharing](r)
	if err != nil {
		return nil, err
	}
	var m mover.Sharing
	if in.Rights != nil {
		m.Rights = make([]mover.Right, len(in.Rights))
		for i, g := range in.Rights {
			m.Rights[i] = mover.Right(g)
		}
	}
	for _, n := range in.Notes {
		m.Notes = append(m.Notes, mover.Note(n))
	}
	left, err := s.Mover.Share(r.Context(), a.ID, in.Source, in.Folder, m, in.Again)
	return Shared{left}, err
}

func (s *Server) moveKnown(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[MoveIDs](r)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(in.Messages))
	for i := range in.Messages {
		ids[i] = in.Messages[i].ID
	}
	known, err := s.Mover.Known(r.Context(), a.ID, in.Source, in.Folder, ids)
	return Known{known}, err
}

func (s *Server) moveFlags(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[MoveIDs](r)
	if err != nil {
		return nil, err
	}
	list := make([]mover.Message, len(in.Messages))
	for i, m := range in.Messages {
		list[i] = mover.Message{ID: m.ID, Flags: m.Flags}
	}
	n, err := s.Mover.FollowFlags(r.Context(), a.ID, in.Source, in.Folder, list)
	return Moved{Changed: n}, err
}

func (s *Server) moveMessages(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	in := newParcelReader(r.Body)
	done, err := s.Mover.Bring(r.Context(), a.ID, q.Get("source"), q.Get("folder"), func() (mover.Message, io.Reader, error) {
		p, err := in.next()
		return mover.Message{Mailbox: mail.MailboxID(p.Mailbox), ID: p.ID, Flags: p.Flags, Date: p.Date, UIDL: p.UIDL, Size: p.Size}, in, err
	})
	if errors.Is(err, errParcel) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errRequest{err}
	}
	return Moved{Added: done.Added, Dropped: done.Dropped}, err
}

func (s *Server) moveDeletions(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	var here []mailbox.ArrivalID
	for {
		var id mailbox.ArrivalID
		_, err := io.ReadFull(r.Body, id[:])
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, errRequest{err}
		}
		here = append(here, id)
	}
	q := r.URL.Query()
	n, err := s.Mover.FollowDeletions(r.Context(), a.ID, q.Get("source"), q.Get("folder"), here)
	return Moved{Gone: n}, err
}

func movePath(address, what, source, folder string) string {
	p := "/v1/accounts/" + url.PathEscape(address) + "/import/" + what
	if source != "" {
		p += "?" + url.Values{"source": {source}, "folder": {folder}}.Encode()
	}
	return p
}

// MoveFolder says that mail of a folder is coming.
func (c *Client) MoveFolder(ctx context.Context, address string, f MoveFolder) (out Opened, err error) {
	return out, c.do(ctx, http.MethodPost, movePath(address, "folder", "", ""), f, &out)
}

// MoveSharing brings the sharing of a folder.
func (c *Client) MoveSharing(ctx context.Context, address string, m Sharing) ([]mover.Left, error) {
	var out Shared
	err := c.do(ctx, http.MethodPost, movePath(address, "sharing", "", ""), m, &out)
	return out.Left, err
}

// MoveKnown tells which messages have been brought already.
func (c *Client) MoveKnown(ctx context.Context, address string, ids MoveIDs) ([]bool, error) {
	var out Known
	err := c.do(ctx, http.MethodPost, movePath(address, "known", "", ""), ids, &out)
	if err == nil && len(out.Known) != len(ids.Messages) {
		err = errors.New("the server answered about other messages than it was asked for")
	}
	return out.Known, err
}

// MoveFlags brings flags up to date.
func (c *Client) MoveFlags(ctx context.Context, address string, ids MoveIDs) (out Moved, err error) {
	return out, c.do(ctx, http.MethodPost, movePath(address, "flags", "", ""), ids, &out)
}

// MoveDeletions expunges what was brought from a folder and is no longer there:
// all but here.
func (c *Client) MoveDeletions(ctx context.Context, address, source, folder string, here io.Reader) (out Moved, err error) {
	return out, c.stream(ctx, movePath(address, "here", source, folder), here, &out)
}

// A Delivery is messages on their way to the server, kept all at its end.
type Delivery struct {
	w    *io.PipeWriter
	done chan struct{}
	out  Moved
	err  error
}

// Deliver begins to send messages of a folder, at most mover.MaxBatch.
func (c *Client) Deliver(ctx context.Context, address, source, folder string) *Delivery {
	r, w := io.Pipe()
	d := &Delivery{w: w, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		d.err = c.stream(ctx, movePath(address, "messages", source, folder), r, &d.out)
		why := d.err
		if why == nil {
			why = io.ErrClosedPipe
		}
		r.CloseWithError(why)
	}()
	return d
}

// Send sends a message.
func (d *Delivery) Send(p Parcel, body io.Reader) error { return writeParcel(d.w, p, body) }

// Done waits until the messages are kept.
func (d *Delivery) Done() (Moved, error) {
	d.w.Close()
	<-d.done
	return d.out, d.err
}

// Abort ends it; nothing of it is kept.
func (d *Delivery) Abort(why error) {
	d.w.CloseWithError(why)
	<-d.done
}
