package carrier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
)

// What a collector needs of an IMAP server beyond a Source: single folders, what is new
// in them, and that messages can go.

// idleTime is how long one IDLE lasts; some networks forget a connection that is silent
// for longer.
const idleTime = 4 * time.Minute

// An ErrNoFolder says that there is no folder of that name.
type ErrNoFolder struct{ Name string }

// Error says it.
func (e *ErrNoFolder) Error() string { return fmt.Sprintf("there is no folder %q", e.Name) }

// Choose gives the folders of these names. The error may be an *ErrNoFolder.
func (s *IMAP) Choose(ctx context.Context, names []string) ([]Folder, error) {
	s.boxes[imap.Inbox] = imap.Inbox
	out := make([]Folder, len(names))
	listed := false
	for i, n := range names {
		n = imap.CanonicalName(n)
		if _, ok := s.boxes[n]; !ok && !listed {
			boxes, err := s.c.folders(ctx)
			if err != nil {
				return nil, err
			}
			for _, b := range boxes {
				if !b.attr[`\noselect`] && !b.attr[`\nonexistent`] {
					s.boxes[b.name] = b.wire
				}
			}
			listed = true
		}
		if _, ok := s.boxes[n]; !ok {
			return nil, &ErrNoFolder{n}
		}
		out[i] = Folder{Name: n, Into: n}
	}
	return out, nil
}

// Select gives the UIDs of what is in a folder, and fills in its Mark. With write,
// messages can be removed from it.
func (s *IMAP) Select(ctx context.Context, f *Folder, write bool) (mail.UIDSet, error) {
	command := "EXAMINE"
	if write {
		command = "SELECT"
	}
	valid, err := s.c.examine(ctx, command, s.boxes[f.Name])
	if err != nil {
		return mail.UIDSet{}, err
	}
	s.at, s.valid = f.Name, valid
	f.Mark = strconv.FormatUint(uint64(valid), 10)
	return s.c.found(ctx, "ALL")
}

// Describe tells of messages of the folder that is selected what there is to know
// before they are fetched.
func (s *IMAP) Describe(ctx context.Context, set mail.UIDSet) ([]Message, error) {
	return s.listSome(ctx, set)
}

// UID gives the UID of a message of an IMAP server.
func (m *Message) UID() mail.UID { return mail.UID(m.uid) }

// Remove removes messages from the folder that is selected, and tells how many. Others
// that are marked to be deleted stay, even where the server can only remove all that
// are: then none is removed, and the error says so.
func (s *IMAP) Remove(ctx context.Context, set mail.UIDSet) (int, error) {
	for part := range slices.Chunk(slices.Collect(set.All()), chunk) {
		if err := s.c.do(ctx, "UID STORE "+mail.UIDs(part...).String()+` +FLAGS.SILENT (\Deleted)`, nil); err != nil {
			return 0, err
		}
		if s.c.caps["UIDPLUS"] || s.c.caps["IMAP4REV2"] {
			if err := s.c.do(ctx, "UID EXPUNGE "+mail.UIDs(part...).String(), nil); err != nil {
				return 0, err
			}
		}
	}
	if s.c.caps["UIDPLUS"] || s.c.caps["IMAP4REV2"] {
		return set.Len(), nil
	}
	marked, err := s.c.found(ctx, "DELETED")
	if err != nil {
		return 0, err
	}
	for uid := range marked.All() {
		if !set.Contains(uid) {
			return 0, errors.New("other messages there are marked to be deleted, and would go as well: remove them, or take the marks away")
		}
	}
	return set.Len(), s.c.do(ctx, "EXPUNGE", nil)
}

// CanIdle tells whether the server says by itself when something is new.
func (s *IMAP) CanIdle() bool { return s.c.caps["IDLE"] || s.c.caps["IMAP4REV2"] }

// Idle waits until something is new in the folder that is selected, or some minutes
// have passed, but no longer than d. RFC 2177
func (s *IMAP) Idle(ctx context.Context, d time.Duration) (news bool, err error) {
	stop := context.AfterFunc(ctx, func() { s.c.conn.Close() })
	defer stop()
	tag := s.c.send("IDLE")
	if err := s.c.out.Flush(); err != nil {
		return false, err
	}
	var mu sync.Mutex
	over := false
	done := func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			s.c.out.WriteString("DONE\r\n")
			s.c.out.Flush()
		}
		over = true
	}
	t := time.AfterFunc(min(d, idleTime), done)
	err = s.c.wait(ctx, tag, func(name string) error {
		if strings.EqualFold(name, "EXISTS") {
			news = true
			done()
		}
		return nil
	})
	t.Stop()
	mu.Lock()
	defer mu.Unlock()
	over = true
	return news, err
}
