package imapd

import (
	"context"
	"errors"
	"io"

	"posthaste/internal/agent/urlauth"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// joined reads a message that APPEND puts together of pieces, each when its turn
// comes. RFC 4469
type joined struct {
	s    *session
	ctx  context.Context
	tag  string
	room int64 // bytes that it may still have
	part io.Reader
	shut io.Closer
	done bool
}

// Read reads on, in the piece at hand or the next one.
func (j *joined) Read(p []byte) (int, error) {
	for !j.done {
		if j.part == nil {
			if err := j.next(); err != nil {
				j.done = true
				return 0, err
			}
			continue
		}
		n, err := j.part.Read(p)
		if j.room -= int64(n); j.room < 0 {
			return 0, no(imap.CodeTooBig, "the message is too large")
		}
		if err == io.EOF {
			j.close()
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.EOF
}

// next begins the next piece.
func (j *joined) next() error {
	part, err := j.s.dec.Part(j.tag)
	switch {
	case err != nil:
		return err
	case part == nil:
		j.done = true
	case part.Text != nil && part.Text.UTF8 && !j.s.has(utf8Accept|rev2):
		return errNoUTF8
	case part.Text != nil:
		j.part = part.Text
	default:
		b, err := j.s.fragment(j.ctx, part.URL)
		if err != nil {
			return err
		}
		j.part, j.shut = b, b
	}
	return nil
}

func (j *joined) close() {
	if j.shut != nil {
		j.shut.Close()
	}
	j.part, j.shut = nil, nil
}

// badURL tells which URL names nothing that can be had. RFC 4469 §4
func badURL(url string) error {
	return no(imap.CodeBadURL(url), "this URL names nothing that is here")
}

// fragment opens what an URL of the account's own mail names.
func (s *session) fragment(ctx context.Context, url string) (*urlauth.Piece, error) {
	u, ok := imap.ParseURL(url)
	if !ok || u.Host != "" {
		return nil, badURL(url)
	}
	p, err := s.openURL(ctx, &u)
	if errors.Is(err, mail.ErrNotFound) {
		return nil, badURL(url)
	}
	return p, err
}

// openURL opens what a parsed URL names; mail.ErrNotFound if there is no such
// thing.
func (s *session) openURL(ctx context.Context, u *imap.URL) (*urlauth.Piece, error) {
	var box mailbox.Box
	if u.Mailbox != "" {
		m, err := s.lookup(ctx, u.Mailbox, mailbox.RightRead)
		if err != nil {
			return nil, err
		}
		box = m.box()
	} else if s.box != nil {
		box = s.box.Box
	} else {
		return nil, mail.ErrNotFound
	}
	return s.urls().In(ctx, box, u)
}
