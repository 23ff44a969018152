// Package urlauth opens what IMAP URLs name: pieces of messages in mailboxes, which
// their owner may have others use by an URL that carries a keyed hash (RFC 4467).
// URLFETCH and CATENATE of imapd use it, and BURL of smtpd.
package urlauth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/body"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
)

// Mechanism is how URLs are authorized: with a keyed hash of the URL.
const Mechanism = "INTERNAL"

// An Agent opens URLs. Mail must be set.
type Agent struct {
	Mail *mailbox.Store
	// Account gives who logs in by an address, mail.ErrNotFound if nobody does; nil:
	// URLs name nobody but who asks.
	Account func(ctx context.Context, login mail.Address) (directory.Account, error)
}

// An Asker is who wants to use an URL.
type Asker struct {
	Account mail.AccountID
	Login   mail.Address
	// Submits: it is our submission that asks, on behalf of who has logged in there.
	Submits bool
}

// Is tells whether an URL names the asker: by an address that they log in with, or by its
// local part at its domain.
func (a *Agent) Is(ctx context.Context, who Asker, user, host string) (bool, error) {
	login, ok := userOf(user, host)
	switch {
	case !ok:
		return false, nil
	case login == directory.Canonical(who.Login):
		return true, nil
	case a.Account == nil:
		return false, nil
	}
	acct, err := a.Account(ctx, login)
	if errors.Is(err, mail.ErrNotFound) {
		return false, nil
	}
	return acct.ID == who.Account, err
}

// A Piece is what an URL names, open for reading. Its Size bytes are read from it;
// Tree and Body are those of the message that it is of.
type Piece struct {
	io.Reader
	io.Closer
	Size int64
	Tree *message.Part
	Body *body.Reader
}

// Open opens what an authorized URL names, if its owner allows that to the asker;
// mail.ErrNotFound if not, or if there is no such thing. RFC 4467 §7
func (a *Agent) Open(ctx context.Context, who Asker, text string) (*Piece, imap.URL, error) {
	u, ok := imap.ParseURL(text)
	if !ok || u.Host == "" || u.Auth.Mechanism != Mechanism {
		return nil, u, mail.ErrNotFound
	}
	if may, err := a.may(ctx, who, &u.Auth, time.Now()); err != nil || !may {
		return nil, u, cmp.Or(err, mail.ErrNotFound)
	}
	owner, err := a.owner(ctx, who, &u)
	if err != nil {
		return nil, u, err
	}
	m, err := a.Lookup(ctx, owner, u.Mailbox)
	if err != nil {
		return nil, u, err
	}
	key, err := a.Mail.URLKey(ctx, owner, m.ID)
	if err != nil {
		return nil, u, err
	}
	given, err := hex.DecodeString(u.Auth.Verifier)
	if err != nil || key == nil || !hmac.Equal(given, Verifier(key, u.Auth.Rump)) {
		return nil, u, mail.ErrNotFound
	}
	p, err := a.In(ctx, mailbox.Box{Account: owner, Mailbox: m.ID}, &u)
	return p, u, err
}

// may tells whether the asker is among those an URL is for. RFC 4467 §3
func (a *Agent) may(ctx context.Context, who Asker, auth *imap.URLAuth, now time.Time) (bool, error) {
	if !auth.Expire.IsZero() && !now.Before(auth.Expire) {
		return false, nil
	}
	switch auth.Access {
	case imap.AccessAnonymous, imap.AccessAuthUser:
		return true, nil
	case imap.AccessSubmit:
		if !who.Submits {
			return false, nil
		}
	case imap.AccessUser:
	default:
		return false, nil
	}
	return a.Is(ctx, who, auth.User, string(who.Login.Domain))
}

// owner gives whose mailbox an URL names.
func (a *Agent) owner(ctx context.Context, who Asker, u *imap.URL) (mail.AccountID, error) {
	login, ok := userOf(u.User, u.Host)
	if ok && login == directory.Canonical(who.Login) {
		return who.Account, nil
	}
	if !ok || a.Account == nil {
		return 0, mail.ErrNotFound
	}
	owner, err := a.Account(ctx, login)
	if err == nil && owner.Disabled {
		return 0, mail.ErrNotFound
	}
	return owner.ID, err
}

// Lookup finds a mailbox by the name that its owner has for it; mail.ErrNotFound if
// there is none that can be opened.
func (a *Agent) Lookup(ctx context.Context, owner mail.AccountID, name string) (mailbox.Mailbox, error) {
	n, err := mailbox.ParseName(name)
	if err != nil {
		return mailbox.Mailbox{}, mail.ErrNotFound
	}
	m, err := a.Mail.Lookup(ctx, owner, n)
	if err == nil && m.Placeholder {
		return m, mail.ErrNotFound
	}
	return m, err
}

// In opens what an URL names in a mailbox, whoever asks; mail.ErrNotFound if there is
// no such thing.
func (a *Agent) In(ctx context.Context, box mailbox.Box, u *imap.URL) (*Piece, error) {
	snap, err := a.Mail.Open(ctx, box.Account, box.Mailbox)
	if err != nil {
		return nil, err
	}
	row := snap.Find(mail.UID(u.UID))
	if row == nil || u.UIDValidity != 0 && u.UIDValidity != snap.Mailbox.UIDValidity {
		return nil, mail.ErrNotFound
	}
	records, err := a.Mail.Records(ctx, box.Account, []mail.EmailID{row.Email})
	if err != nil {
		return nil, err
	}
	tree, err := message.DecodePart(records[0].Tree)
	if err != nil {
		return nil, fmt.Errorf("urlauth: %w", err)
	}
	b, err := a.Mail.OpenEmail(ctx, box.Account, row.Email)
	if err != nil {
		return nil, err
	}
	off, size, ok := u.Section.Find(tree, b.Size())
	if !ok {
		b.Close()
		return nil, mail.ErrNotFound
	}
	p := &Piece{Closer: b, Tree: tree, Body: b}
	if u.Section.Text == imap.TextFields || u.Section.Text == imap.TextFieldsNot {
		text := u.Section.Select(b, message.NewFieldSet(u.Section.Fields...), off, size)
		off, p.Size = u.Range(int64(len(text)))
		p.Reader = bytes.NewReader(text[off : off+p.Size])
		return p, nil
	}
	from, n := u.Range(size)
	p.Size, p.Reader = n, io.NewSectionReader(b, off+from, n)
	return p, nil
}

// Verifier is the hash that authorizes the rump of an URL. RFC 4467 §4
func Verifier(key []byte, rump string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(rump))
	return h.Sum(nil)
}

// userOf gives the address that an URL names a user by; false if it is none.
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

// The answers to who submits by URL. RFC 4468 §3.3, §5
var (
	errGone  = mail.Refuse("5.6.6", "this URL names nothing that you may submit", "")
	errLater = mail.Refuse("4.6.6", "what this URL names cannot be read just now", "")
)

// Submit opens what an URL names for who submits a message. The error is a
// *mail.Refusal, or ours.
func (a *Agent) Submit(ctx context.Context, who mail.Peer, url string) (io.ReadCloser, int64, error) {
	p, _, err := a.Open(ctx, Asker{Account: who.Account, Login: who.Login, Submits: true}, url)
	switch {
	case errors.Is(err, mail.ErrNotFound):
		return nil, 0, errGone
	case errors.Is(err, mail.ErrInUse):
		return nil, 0, errLater
	case err != nil:
		return nil, 0, fmt.Errorf("urlauth: %w", err)
	}
	return p, p.Size, nil
}
