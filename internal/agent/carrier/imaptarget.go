package carrier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"posthaste/internal/agent/mover"
	"posthaste/internal/proto/imap"
)

// An IMAPTarget appends mail to an account at an IMAP server. What is there
// already is known by its Message-ID, date and size.
type IMAPTarget struct {
	c     *session
	own   string // prefix of our folders there
	sep   string
	boxes []box
	wire  string          // folder under way
	have  map[outKey]int  // what is there and was not asked for yet
	tag   string          // APPEND under way
	ctx   context.Context // of the batch under way
	multi bool
}

type outKey struct {
	id   string
	date int64
	size int64
}

// NewIMAPTarget logs in at a server.
func NewIMAPTarget(ctx context.Context, s *Server) (*IMAPTarget, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	t := &IMAPTarget{c: c, multi: c.caps["MULTIAPPEND"]}
	if t.boxes, err = c.folders(ctx); err == nil {
		t.own, _, err = c.namespace(ctx)
	}
	if err == nil {
		err = c.do(ctx, `LIST "" ""`, func(name string) error {
			if name != "LIST" {
				return nil
			}
			_, sep, err := c.listed()
			t.sep = sep
			return err
		})
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return t, nil
}

// Close is as of Target.
func (t *IMAPTarget) Close() error { return t.c.close() }

// name gives the folder there that is the same as ours: that of its role, or of
// its name.
func (t *IMAPTarget) name(f OutFolder) (wire string, there bool) {
	for _, b := range t.boxes {
		if f.Role != "" && !b.other && !b.attr[`\noselect`] {
			for a := range b.attr {
				if specialUses[a] == f.Role {
					return b.wire, true
				}
			}
		}
	}
	if f.Name == imap.Inbox {
		return imap.Inbox, true
	}
	levels := strings.Split(f.Name, "/")
	sep := t.sep
	if sep == "" {
		sep = "_"
	}
	for i, l := range levels {
		levels[i] = string(imap.AppendUTF7(nil, strings.ReplaceAll(l, sep, "_")))
	}
	wire = t.own + strings.Join(levels, sep)
	for _, b := range t.boxes {
		if b.wire == wire && !b.attr[`\noselect`] && !b.attr[`\nonexistent`] {
			return wire, true
		}
	}
	return wire, false
}

// Folder is as of Target.
func (t *IMAPTarget) Folder(ctx context.Context, f OutFolder) error {
	wire, there := t.name(f)
	if !there {
		if err := t.c.do(ctx, "CREATE "+quote(wire), nil); err != nil {
			return err
		}
	}
	if f.Subscribed {
		if err := t.c.do(ctx, "SUBSCRIBE "+quote(wire), nil); err != nil && !errors.Is(err, ErrRefused) {
			return err
		}
	}
	t.wire, t.have = wire, map[outKey]int{}
	empty := false
	err := t.c.do(ctx, "STATUS "+quote(wire)+" (MESSAGES)", func(name string) error {
		if name != "STATUS" {
			return nil
		}
		n, err := t.c.statusNumber()
		empty = n == 0
		return err
	})
	if err != nil || empty {
		return err
	}
	if _, err := t.c.examine(ctx, "EXAMINE", wire); err != nil {
		return err
	}
	err = t.c.do(ctx, "UID FETCH 1:* (UID INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])", func(name string) error {
		if name != "FETCH" {
			return nil
		}
		var m Message
		id := ""
		err := t.c.fetched(func(item string) error {
			if !strings.HasPrefix(item, "BODY[HEADER") {
				return t.c.fact(item, &m)
			}
			tok, err := t.c.in.Token()
			if err == nil {
				var head string
				head, err = t.c.in.String(tok)
				id = cutID(mover.MessageIDOf([]byte(head)))
			}
			return err
		})
		if m.uid != 0 {
			t.have[outKey{id, m.Date.Unix(), m.Size}]++
		}
		return err
	})
	// Nothing is to be selected while it is appended to.
	if t.c.caps["UNSELECT"] && err == nil {
		err = t.c.do(ctx, "UNSELECT", nil)
	}
	return err
}

// maxID is how much of a Message-ID is compared.
const maxID = 500

func cutID(id string) string { return id[:min(len(id), maxID)] }

// Has is as of Target.
func (t *IMAPTarget) Has(m OutMessage) (bool, error) {
	k := outKey{cutID(m.MessageID), m.Date.Unix(), m.Size}
	if t.have[k] > 0 {
		t.have[k]--
		return true, nil
	}
	return false, nil
}

// AtOnce is as of Target.
func (t *IMAPTarget) AtOnce() (int, int64) {
	if t.multi {
		return 100, 8 << 20
	}
	return 1, 0
}

// Begin is as of Target.
func (t *IMAPTarget) Begin(ctx context.Context, _ int) error {
	t.c.tag++
	t.tag, t.ctx = fmt.Sprintf("p%d", t.c.tag), ctx
	t.c.out.WriteString(t.tag + " APPEND " + quote(t.wire))
	return nil
}

// Add is as of Target.
func (t *IMAPTarget) Add(m OutMessage, body io.Reader) error {
	line := append([]byte(" "), imap.AppendFlags(nil, m.Flags)...)
	line = imap.AppendDateTime(append(line, ' '), m.Date)
	t.c.out.Write(append(line, " {"+strconv.FormatInt(m.Size, 10)...))
	if t.c.caps["LITERAL+"] || t.c.caps["LITERAL-"] && m.Size <= 4096 {
		t.c.out.WriteString("+}\r\n")
	} else {
		t.c.out.WriteString("}\r\n")
		if err := t.goOn(); err != nil {
			return err
		}
	}
	_, err := io.Copy(t.c.out, body)
	return err
}

// goOn waits until the server wants the literal.
func (t *IMAPTarget) goOn() error {
	if err := t.c.out.Flush(); err != nil {
		return err
	}
	for {
		tag, err := t.c.in.Next()
		if err != nil {
			return err
		}
		rest, err := t.c.in.Rest()
		switch {
		case err != nil:
			return err
		case tag == "+":
			return nil
		case tag == t.tag:
			return fmt.Errorf("%w: %s", ErrRefused, rest)
		}
		if err := t.ctx.Err(); err != nil {
			return err
		}
	}
}

// Commit is as of Target.
func (t *IMAPTarget) Commit() error {
	t.c.out.WriteString("\r\n")
	if err := t.c.out.Flush(); err != nil {
		return err
	}
	return t.c.wait(t.ctx, t.tag, nil)
}

// Done is as of Target.
func (t *IMAPTarget) Done() error { return nil }
