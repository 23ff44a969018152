package mail

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Status is an enhanced status code, the one currency for answers: SMTP
// replies, delivery reports and what the owner reads are all made from it.
// RFC 3463 §2
type Status struct{ Class, Subject, Detail uint16 }

// Statuses that more than one package speaks of. RFC 3463 §3
var (
	StatusOK        = Status{2, 0, 0}
	StatusTryLater  = Status{4, 3, 0} // we failed, and do not say more
	StatusFull      = Status{4, 3, 1} // mail system full
	StatusDelivered = Status{2, 1, 5} // destination address valid
	StatusRelayed   = Status{2, 0, 0}
)

// ParseStatus reads "5.1.1". The class must be 2, 4 or 5, and subject and
// detail have one to three digits each.
func ParseStatus(s string) (Status, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return Status{}, fmt.Errorf("%q is no enhanced status code", s)
	}
	var n [3]uint16
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 16)
		if err != nil || len(p) > 3 {
			return Status{}, fmt.Errorf("%q is no enhanced status code", s)
		}
		n[i] = uint16(v)
	}
	if n[0] != 2 && n[0] != 4 && n[0] != 5 {
		return Status{}, fmt.Errorf("%q is no enhanced status code", s)
	}
	return Status{n[0], n[1], n[2]}, nil
}

// String gives "5.1.1".
func (s Status) String() string {
	return strconv.Itoa(int(s.Class)) + "." + strconv.Itoa(int(s.Subject)) + "." + strconv.Itoa(int(s.Detail))
}

// Temporary tells whether trying again later may help.
func (s Status) Temporary() bool { return s.Class == 4 }

// Permanent tells whether trying again is useless.
func (s Status) Permanent() bool { return s.Class == 5 }

// A Refusal is a "no" that the peer may read. Every other error means that we
// failed: the peer hears "try again later", and only our log hears why.
type Refusal struct {
	Status Status
	Text   string // for the peer; one line, ASCII
	Reason string // for the log; empty if Text says it all
}

// Refuse makes a refusal. status must be a well-formed constant such as
// "5.1.1": it panics on anything else, which is a bug of the caller.
func Refuse(status, text, reason string) *Refusal {
	st, err := ParseStatus(status)
	if err != nil || st.Class == 2 {
		panic("mail: refusal with status " + strconv.Quote(status))
	}
	return &Refusal{Status: st, Text: text, Reason: reason}
}

// Error gives the status, the text and, for the log, the reason.
func (r *Refusal) Error() string {
	if r.Reason == "" {
		return r.Status.String() + " " + r.Text
	}
	return r.Status.String() + " " + r.Text + " (" + r.Reason + ")"
}

// What stores answer with. They come wrapped; use errors.Is.
var (
	ErrNotFound  = errors.New("not found")
	ErrExists    = errors.New("exists already")
	ErrOverQuota = errors.New("over quota")
	ErrLimit     = errors.New("limit reached")
	ErrInUse     = errors.New("in use")
	ErrFull      = errors.New("the disk is full") // of the whole server, for the moment
)

// StatusOf gives what a peer may know of err: the status and text of a
// refusal; a fixed answer for the sentinels; for all else "4.3.0", since it was
// our failure. A nil error is 2.0.0.
func StatusOf(err error) (Status, string) {
	if err == nil {
		return StatusOK, "OK"
	}
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Status, r.Text
	}
	switch {
	case errors.Is(err, ErrOverQuota):
		return Status{4, 2, 2}, "mailbox full"
	case errors.Is(err, ErrFull):
		return StatusFull, "no room on this server for the moment, try again later"
	case errors.Is(err, ErrInUse):
		return Status{4, 2, 1}, "mailbox in use, try again later"
	}
	return StatusTryLater, "local error, try again later"
}
