package imapd

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
)

// mechanism is how we authorize URLs: with a keyed hash of the URL.
const mechanism = "INTERNAL"

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
	switch {
	case !ok || u.Host == "" || u.Auth.Access == 0 || u.Auth.Mechanism != "":
		return "", bad("", "the URL must name a server, a user, a message, and who may use it")
	case !s.isMe(u.User, u.Host):
		return "", bad("", "the URL must be into a mailbox of your own")
	}
	m, err := s.lookupOwn(ctx, s.peer.Account, u.Mailbox)
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
	return a.URL + ":" + mechanism + ":" + hex.EncodeToString(verifier(key, u.Auth.Rump)), nil
}

// lookupOwn finds a mailbox by the name that its owner has for it.
func (s *session) lookupOwn(ctx context.Context, owner mail.AccountID, name string) (mailbox.Mailbox, error) {
	n, err := mailbox.ParseName(name)
	if err != nil {
		return mailbox.Mailbox{}, mail.ErrNotFound
	}
	m, err := s.srv.Mail.Lookup(ctx, owner, n)
	if err == nil && m.Placeholder {
		return m, mail.ErrNotFound
	}
	return m, err
}

func verifier(key []byte, rump string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(rump))
	return h.Sum(nil)
}

// isMe tells whether an URL names the person logged in: by the whole address, or
// by its local part at its domain.
func (s *session) isMe(user, host string) bool {
	a, ok := userOf(user, host)
	return ok && a == directory.Canonical(s.peer.Login)
}

func userOf(user, host string) (mail.Address, bool) {
	if !strings.Contains(user, "@") {
		if i := strings.LastIndexByte(host, ':'); i >= 0 {
			host = host[:i]
		}
		user += "@" + host
	}
	a, err := mail.ParseAddress(user)
	return directory.Canonical(a), err == nil
}

// urlFetch is URLFETCH. What cannot be had for whatever reason is NIL.
// RFC 4467 §7, RFC 5524
func (s *session) urlFetch(ctx context.Context, c *imap.Command) error {
	for _, u := range c.Args.(*imap.URLFetch).URLs {
		f, parsed, err := s.reach(ctx, u.URL)
		if err != nil && !errors.Is(err, mail.ErrNotFound) {
			return err
		}
		s.enc.Raw("* URLFETCH ").String(u.URL)
		switch {
		case f == nil:
			s.enc.Raw(" NIL")
		case u.Items == 0:
			s.enc.Raw(" ").Literal(f, f.size)
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

// reach opens what an URL names, if its owner allows that to this session;
// mail.ErrNotFound if not.
func (s *session) reach(ctx context.Context, text string) (*fragment, imap.URL, error) {
	u, ok := imap.ParseURL(text)
	if !ok || u.Host == "" || u.Auth.Mechanism != mechanism || !s.mayUse(&u.Auth) {
		return nil, u, mail.ErrNotFound
	}
	owner, err := s.ownerOf(ctx, &u)
	if err != nil {
		return nil, u, err
	}
	m, err := s.lookupOwn(ctx, owner, u.Mailbox)
	if err != nil {
		return nil, u, err
	}
	key, err := s.srv.Mail.URLKey(ctx, owner, m.ID)
	if err != nil {
		return nil, u, err
	}
	given, err := hex.DecodeString(u.Auth.Verifier)
	if err != nil || key == nil || !hmac.Equal(given, verifier(key, u.Auth.Rump)) {
		return nil, u, mail.ErrNotFound
	}
	f, err := s.openIn(ctx, mailbox.Box{Account: owner, Mailbox: m.ID}, &u)
	return f, u, err
}

// mayUse tells whether this session is among those an URL is for. Nobody here
// submits mail on behalf of others.
func (s *session) mayUse(a *imap.URLAuth) bool {
	if !a.Expire.IsZero() && !time.Now().Before(a.Expire) {
		return false
	}
	switch a.Access {
	case imap.AccessAnonymous, imap.AccessAuthUser:
		return true
	case imap.AccessUser:
		return s.isMe(a.User, string(s.peer.Login.Domain))
	}
	return false
}

// ownerOf gives whose mailbox an URL names.
func (s *session) ownerOf(ctx context.Context, u *imap.URL) (mail.AccountID, error) {
	if s.isMe(u.User, u.Host) {
		return s.peer.Account, nil
	}
	a, ok := userOf(u.User, u.Host)
	if !ok || s.srv.People == nil {
		return 0, mail.ErrNotFound
	}
	owner, err := s.srv.People.AccountOf(ctx, a)
	if err == nil && owner.Disabled {
		return 0, mail.ErrNotFound
	}
	return owner.ID, err
}

// tellURLItems writes what URLFETCH wants of a piece of a message. RFC 5524 §3
func (s *session) tellURLItems(f *fragment, u *imap.URL, items imap.URLItems) {
	part := f.message.tree.At(u.Section.Path...)
	if u.Section.Text != imap.TextAll {
		part = nil // a header or text is no part
	}
	if items&imap.URLBodyPartStructure != 0 {
		s.enc.Raw(" (BODYPARTSTRUCTURE ")
		if part == nil {
			s.enc.Raw("NIL)")
		} else {
			if items&imap.URLBinary != 0 && decodable(part) && !part.IsMultipart() {
				part = asDecoded(&f.message, part, &u.Section)
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
			s.writeDecoded(&f.message, &it)
			s.enc.Raw(")")
		}
	}
	if items&imap.URLBody != 0 {
		s.enc.Raw(" (BODY ").Literal(f, f.size).Raw(")")
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
	m, err := s.lookupOwn(ctx, s.peer.Account, a.Mailbox)
	if err != nil {
		return err
	}
	return s.srv.Mail.ForgetURLKey(ctx, s.peer.Account, m.ID)
}
