// Package carrier reads mail where other programs keep it, and writes it there:
// Maildir, mbox, Google Takeout, IMAP servers. An Import takes what a Source has
// to a Store; what the Store has had before is not asked for again.
package carrier

import (
	"context"
	"errors"
	"io"
	"time"

	"posthaste/internal/agent/mover"
)

// A Folder of a Source.
type Folder struct {
	Name       string // as the source calls it
	Into       string // levels divided by "/"
	Role       string // sent, drafts, trash, junk, archive; "" if it is not known
	Subscribed bool
	Mark       string // what its ids are good for, such as UIDVALIDITY
	Messages   int64  // about how many; 0 if it is not known
	// Sharing is who may do what with it there, as List learns it; nil: it is not
	// known.
	Sharing *Sharing

	left []Left // of the sharing, that could not be read
}

// A Message of a Source.
type Message struct {
	ID    string   // of its folder, the same in every run
	Flags []string // with keywords, as IMAP writes them
	Date  time.Time
	UIDL  string // unique id of POP3, if it has one
	Into  string // the folder it goes to, if not that of its Folder
	Role  string // and that one's role
	Size  int64

	uid  uint32 // what the source needs to find it
	name string
	at   int64
}

// A Source has folders with messages. Its methods are called by one at a time.
type Source interface {
	// Name is the same in every run over the same mail, and no other's.
	Name() string
	Folders(ctx context.Context) ([]Folder, error)
	// List goes over the messages of a folder in their order, some hundreds at a
	// time. What cannot be read is told to bad. It fills in what it learns of the
	// folder, before it calls each.
	List(ctx context.Context, f *Folder, each func([]Message) error, bad func(id string, err error)) error
	// Fetch gives the bytes of messages that List has just given, in their order.
	// take may leave them unread.
	Fetch(ctx context.Context, f *Folder, list []Message, take func(*Message, io.Reader) error, bad func(id string, err error)) error
	Close() error
}

// A Store is where an Import brings mail.
type Store interface {
	// Open gives the mailbox of a folder, false if the folder was numbered anew and
	// renumbered does not say that this is no matter.
	Open(ctx context.Context, f Folder, renumbered bool) (box uint64, ok bool, err error)
	// Share brings the sharing of a folder that Open has given, if it has not come
	// before, or with again in any case: in place of what is here. Whole is a folder,
	// too, which Open has not given.
	Share(ctx context.Context, folder string, s Sharing, again bool) ([]Left, error)
	Known(ctx context.Context, folder string, list []Message) ([]bool, error)
	Flags(ctx context.Context, folder string, list []Message) (changed int, err error)
	Deletions(ctx context.Context, folder string, here io.Reader) (gone int, err error)
	Begin(ctx context.Context, folder string) Delivery
}

// Whole is, as a folder that is shared, the account as a whole.
const Whole = mover.Whole

// A Delivery keeps some messages, all at its end.
type Delivery interface {
	Send(m *Message, box uint64, body io.Reader) error
	Done() (added, dropped int, err error)
	Abort(why error)
}

// errTaken is an error of who took a message: it is not the source's.
type errTaken struct{ error }

// Unwrap gives what it was.
func (e errTaken) Unwrap() error { return e.error }

// chunk is how many messages are listed at a time.
const chunk = 500

// errEmpty says that a message has no bytes.
var errEmpty = errors.New("it is empty")

// String tells it in a line.
func (p Problem) String() string {
	out := p.Folder
	if p.ID != "" {
		out += ", message " + p.ID
	}
	return out + ": " + p.Why
}
