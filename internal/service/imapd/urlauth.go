package imapd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"slices"

	"posthaste/internal/agent/urlauth"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/message"
)

// mechanism is how we authorize URLs.
const mechanism = urlauth.Mechanism

// urls opens what URLs name.
func (s *session) urls() *urlauth.Agent {
	a := &urlauth.Agent{Mail: s.srv.Mail}
	if s.srv.People != nil {
		a.Account = s.srv.People.Known
	}
	return a
}

// genURLAuth is GENURLAUTH. RFC 4467 §7
func (s *session) genURLAuth(ctx context.Context, c *imap.Command) error {
	var out []string
	for _, u := range c.Args.(*imap.GenURLAuth).URLs {
		text, err := s.authorized(ctx, u)
		if err != nil {
			return err
		}
		out = append(out, text)
	}
	s.enc.Raw("* GENURLAUTH")
	for _, text := range out {
		s.enc.Raw(" ").String(text)
	}
	s.enc.CRLF()
	return nil
}

// authorized gives an URL into a mailbox of the account with what lets others
// use it.
func (s *session) authorized(ctx context.Context, a imap.ToAuthorize) (string, error) {
	if a.Mechanism != mechanism {
		return "", no(imap.CodeCannot, "only INTERNAL is known")
	}
	u, ok := imap.ParseURL(a.URL)
	mine, err := s.urls().Is(ctx, s.asker(), u.User, u.Host)
	switch {
	case err != nil:
		return "", err
	case !ok || u.Host == "" || u.Auth.Access == 0 || u.Auth.Mechanism != "":
		return "", bad("", "the URL must name a server, a user, a message, and who may use it")
	case !mine:
		return "", bad("", "the URL must be into a mailbox of your own")
	}
	m, err := s.urls().Lookup(ctx, s.peer.Account, u.Mailbox)
	if errors.Is(err, mail.ErrNotFound) {
		return "", bad(imap.CodeNonExistent, "the URL names no mailbox")
	}
	if err != nil {
		return "", err
	}
	key, err := s.srv.Mail.URLKey(ctx, s.peer.Account, m.ID)
	if err == nil && key == nil {
		fresh := make([]byte, 32)
		rand.Read(fresh)
		key, err = s.srv.Mail.KeepURLKey(ctx, s.peer.Account, m.ID, fresh)
	}
	if err != nil {
		return "", err
	}
	return a.URL + ":" + mechanism + ":" + hex.EncodeToString(urlauth.Verifier(key, u.Auth.Rump)), nil
}

// asker is the person logged in, as who wants to use an URL.
func (s *session) asker() urlauth.Asker {
	return urlauth.Asker{Account: s.peer.Account, Login: s.peer.Login}
}

// urlFetch is URLFETCH. What cannot be had for whatever reason is NIL.
// RFC 4467 §7, RFC 5524
func (s *session) urlFetch(ctx context.Context, c *imap.Command) error {
	for _, u := range c.Args.(*imap.URLFetch).URLs {
		f, parsed, err := s.urls().Open(ctx, s.asker(), u.URL)
		if err != nil && !errors.Is(err, mail.ErrNotFound) {
			return err
		}
		s.enc.Raw("* URLFETCH ").String(u.URL)
		switch {
		case f == nil:
			s.enc.Raw(" NIL")
		case u.Items == 0:
			s.enc.Raw(" ").Literal(f, f.Size)
		default:
			s.tellURLItems(f, &parsed, u.Items)
		}
		s.enc.CRLF()
		if f != nil {
			f.Close()
		}
		if s.enc.Err() != nil {
			return &ending{imap.CodeUnavailable, "connection lost"}
		}
	}
	return nil
}

// tellURLItems writes what URLFETCH wants of a piece of a message. RFC 5524 §3
func (s *session) tellURLItems(f *urlauth.Piece, u *imap.URL, items imap.URLItems) {
	of := &fetched{tree: f.Tree, body: f.Body}
	part := f.Tree.At(u.Section.Path...)
	if u.Section.Text != imap.TextAll {
		part = nil // a header or text is no part
	}
	if items&imap.URLBodyPartStructure != 0 {
		s.enc.Raw(" (BODYPARTSTRUCTURE ")
		if part == nil {
			s.enc.Raw("NIL)")
		} else {
			if items&imap.URLBinary != 0 && decodable(part) && !part.IsMultipart() {
				part = asDecoded(of, part, &u.Section)
			}
			s.enc.Bytes(imap.AppendBodyStructure(nil, part, imap.Extended)).Raw(")")
		}
	}
	if items&imap.URLBinary != 0 {
		s.enc.Raw(" (BINARY ")
		if part == nil || !decodable(part) {
			s.enc.Raw("NIL)")
		} else {
			it := item{FetchItem: imap.FetchItem{Kind: imap.ItemBinary, Section: u.Section, Partial: u.Partial, Offset: u.Offset, Count: u.Count}}
			if u.Count == 0 {
				it.Count = 1 << 62
			}
			s.writeDecoded(of, &it)
			s.enc.Raw(")")
		}
	}
	if items&imap.URLBody != 0 {
		s.enc.Raw(" (BODY ").Literal(f, f.Size).Raw(")")
	}
}

// asDecoded describes a part as BINARY gives it: without its transfer encoding,
// and its lines not counted. RFC 5524 §3
func asDecoded(m *fetched, part *message.Part, sec *imap.Section) *message.Part {
	c := &counter{}
	size, _ := io.Copy(c, decoded(m, sec))
	p := *part
	p.BodySize, p.Lines = size, 0
	switch {
	case c.nul:
		p.Encoding = "binary"
	case c.high:
		p.Encoding = "8bit"
	default:
		p.Encoding = "7bit"
	}
	return &p
}

// resetKey is RESETKEY. RFC 4467 §7
func (s *session) resetKey(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.ResetKey)
	if len(a.Mechanisms) > 0 && !slices.Contains(a.Mechanisms, mechanism) {
		return no(imap.CodeCannot, "only INTERNAL is known")
	}
	s.code = imap.CodeURLMech
	if a.Mailbox == "" {
		return s.srv.Mail.ForgetURLKeys(ctx, s.peer.Account)
	}
	m, err := s.urls().Lookup(ctx, s.peer.Account, a.Mailbox)
	if err != nil {
		return err
	}
	return s.srv.Mail.ForgetURLKey(ctx, s.peer.Account, m.ID)
}
