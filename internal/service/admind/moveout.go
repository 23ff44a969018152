package admind

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"posthaste/internal/agent/mover"
	"posthaste/internal/base/mail"
)

// A Mailbox is one of an account's.
type Mailbox struct {
	ID          uint64 `json:"id"`
	Name        string `json:"name"`
	Role        string `json:"role,omitempty"`
	Subscribed  bool   `json:"subscribed,omitempty"`
	UIDValidity uint32 `json:"uid_validity"`
	Messages    int    `json:"messages"`
	Bytes       int64  `json:"bytes"`
}

func (s *Server) mailboxes(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	list, _, err := s.Mailboxes.Mailboxes(r.Context(), a.ID)
	if err != nil {
		return nil, err
	}
	names, err := s.Mailboxes.Subscriptions(r.Context(), a.ID)
	if err != nil {
		return nil, err
	}
	subscribed := map[string]bool{}
	for _, n := range names {
		subscribed[n] = true
	}
	out := []Mailbox{}
	for _, m := range list {
		if !m.Placeholder {
			out = append(out, Mailbox{ID: uint64(m.ID), Name: m.Name, Role: roleName(m.Role), Subscribed: subscribed[m.Name], UIDValidity: m.UIDValidity, Messages: int(m.Total), Bytes: m.Size})
		}
	}
	return out, nil
}

func (s *Server) sharing(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	box, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, bad("a mailbox is named by its number")
	}
	m, err := s.Mover.Sharing(r.Context(), a.ID, mail.MailboxID(box))
	out := Sharing{Rights: []Rights{}}
	for _, g := range m.Rights {
		out.Rights = append(out.Rights, Rights(g))
	}
	for _, n := range m.Notes {
		out.Notes = append(out.Notes, Note(n))
	}
	return out, err
}

// messages streams those of a mailbox: with ?uids= their bytes too, else what is
// known of all above ?after=. What goes wrong on the way ends the stream without
// its last line, which is an empty Parcel.
func (s *Server) messages(w http.ResponseWriter, r *http.Request) {
	a, err := s.account(r)
	box, err2 := strconv.ParseUint(r.PathValue("id"), 10, 64)
	uids, err3 := mail.ParseUIDSet(r.URL.Query().Get("uids"))
	if err == nil && (err2 != nil || r.URL.Query().Has("uids") && err3 != nil) {
		err = bad("a mailbox is named by its number, messages by UIDs")
	}
	if err != nil {
		s.answer(func(*http.Request) (any, error) { return nil, err })(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	out := bufio.NewWriterSize(w, 64<<10)
	if r.URL.Query().Has("uids") {
		err = s.Mover.Read(r.Context(), a.ID, mail.MailboxID(box), uids, func(m mover.Stored, b io.Reader) error {
			return writeParcel(out, parcel(m), b)
		})
	} else {
		after, _ := strconv.ParseUint(r.URL.Query().Get("after"), 10, 32)
		err = s.Mover.List(r.Context(), a.ID, mail.MailboxID(box), mail.UID(after), func(m mover.Stored) error {
			return writeParcel(out, parcel(m), nil)
		})
	}
	if err == nil {
		err = writeParcel(out, Parcel{}, nil)
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil && r.Context().Err() == nil {
		s.Log.Error("admin API", "request", r.Method+" "+r.URL.Path, "error", err)
	}
}

func parcel(m mover.Stored) Parcel {
	if len(m.MessageID) > 1000 {
		m.MessageID = m.MessageID[:1000]
	}
	return Parcel{ID: strconv.FormatUint(uint64(m.UID), 10), Flags: m.Flags, Date: m.Date, UIDL: m.UIDL, MessageID: m.MessageID, Size: m.Size, Email: uint64(m.Email)}
}

// Mailboxes gives all mailboxes of an account.
func (c *Client) Mailboxes(ctx context.Context, address string) (out []Mailbox, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/accounts/"+url.PathEscape(address)+"/mailboxes", nil, &out)
}

// Sharing gives who may do what with a mailbox, and what is noted about it.
func (c *Client) Sharing(ctx context.Context, address string, box uint64) (out Sharing, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/accounts/"+url.PathEscape(address)+"/mailboxes/"+strconv.FormatUint(box, 10)+"/sharing", nil, &out)
}

// Listing goes over what is known of the messages of a mailbox.
func (c *Client) Listing(ctx context.Context, address string, box uint64, each func(Parcel) error) error {
	return c.parcels(ctx, address, box, "", func(p Parcel, _ io.Reader) error { return each(p) })
}

// Messages goes over messages of a mailbox, in the order of their UIDs.
func (c *Client) Messages(ctx context.Context, address string, box uint64, uids mail.UIDSet, each func(Parcel, io.Reader) error) error {
	if uids.IsEmpty() {
		return nil
	}
	return c.parcels(ctx, address, box, "?uids="+url.QueryEscape(uids.String()), each)
}

func (c *Client) parcels(ctx context.Context, address string, box uint64, query string, each func(Parcel, io.Reader) error) error {
	res, err := c.send(ctx, http.MethodGet, "/v1/accounts/"+url.PathEscape(address)+"/mailboxes/"+strconv.FormatUint(box, 10)+"/messages"+query, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	in := newParcelReader(res.Body)
	in.bare = query == ""
	for {
		p, err := in.next()
		if err == nil && p.ID == "" {
			return nil
		}
		if err != nil {
			return cut(err)
		}
		if err := each(p, in); err != nil {
			return err
		}
	}
}
