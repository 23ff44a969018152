package mda

import (
	"errors"
	"io"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
)

// A Source is a message that is coming in. It tells a client that went away
// from a failure of ours.
type Source struct {
	R   io.Reader
	err error
}

// Read reads as io.Reader does.
func (s *Source) Read(p []byte) (int, error) {
	n, err := s.R.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// Failed tells whether an error is that of the reader, and not of who has read.
func (s *Source) Failed(err error) bool { return s.err != nil && errors.Is(err, s.err) }

// Blame gives what the story of the message says of an error: if the message
// did not come whole, that is no failure of ours.
func (s *Source) Blame(err error) error {
	_, answer := errors.AsType[*mail.Refusal](err)
	if answer || s.err == nil || !errors.Is(err, s.err) || smtp.Fetching(err) {
		return err
	}
	return mail.Refuse("4.4.2", "the connection was lost before the end of the message", err.Error())
}
