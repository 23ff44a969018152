package carrier

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
)

// An IMAP reads an account at an IMAP server.
type IMAP struct {
	server *Server
	uidl   UIDLFormat
	name   string
	c      *session
	boxes  map[string]string // names on the wire
	at     string            // folder that is selected
	valid  uint32            // its UIDVALIDITY

	kept func(context.Context) (map[uint32]keptID, error) // by UID, of INBOX
	ids  map[uint32]keptID                                // of the folder
}

// NewIMAP logs in at a server.
func NewIMAP(ctx context.Context, s *Server, uidl UIDLFormat) (*IMAP, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	return &IMAP{server: s, uidl: uidl, c: c, boxes: map[string]string{}, name: "imap:" + s.User + "@" + strings.ToLower(s.Host)}, nil
}

// Name is as of Source.
func (s *IMAP) Name() string { return s.name }

// Close is as of Source.
func (s *IMAP) Close() error { return s.c.close() }

// maxFolders is how many folders an account may have.
const maxFolders = 100_000

// specialUses are the roles by the attributes of LIST. RFC 6154
var specialUses = map[string]string{`\sent`: "sent", `\drafts`: "drafts", `\trash`: "trash", `\junk`: "junk", `\archive`: "archive"}

// Folders is as of Source. Folders that show what is in others, as Gmail's "All
// Mail" and "Starred" do, are left out.
func (s *IMAP) Folders(ctx context.Context) ([]Folder, error) {
	boxes, err := s.c.folders(ctx)
	if err != nil {
		return nil, err
	}
	var out []Folder
	for _, b := range boxes {
		if b.attr[`\noselect`] || b.attr[`\nonexistent`] || b.attr[`\all`] || b.attr[`\flagged`] || b.other {
			continue
		}
		f := Folder{Name: b.name, Into: b.name, Subscribed: b.attr[`\subscribed`]}
		for a := range b.attr {
			if r := specialUses[a]; r != "" {
				f.Role = r
			}
		}
		if err := s.c.do(ctx, "STATUS "+quote(b.wire)+" (MESSAGES)", func(name string) error {
			if name == "STATUS" {
				f.Messages, err = s.c.statusNumber()
				return err
			}
			return nil
		}); err != nil && !errors.Is(err, ErrRefused) {
			return nil, err
		}
		s.boxes[f.Name] = b.wire
		out = append(out, f)
	}
	return out, nil
}

// A listed folder.
type box struct {
	wire, name string
	attr       map[string]bool // in lower case
	other      bool            // somebody else's
}

// folders lists all folders, with names as we write them.
func (c *session) folders(ctx context.Context) ([]box, error) {
	own, others, err := c.namespace(ctx)
	if err != nil {
		return nil, err
	}
	var out []box
	command := `LIST "" "*"`
	extended := c.caps["LIST-EXTENDED"] && c.caps["SPECIAL-USE"]
	if extended {
		command += " RETURN (SUBSCRIBED SPECIAL-USE)"
	}
	list := func(name string) error {
		if name != "LIST" && name != "LSUB" {
			return nil
		}
		b, sep, err := c.listed()
		if err != nil || len(out) == maxFolders {
			return errors.Join(err, map[bool]error{true: errors.New("too many folders")}[len(out) == maxFolders])
		}
		for _, p := range others {
			b.other = b.other || p != "" && strings.HasPrefix(b.wire, p)
		}
		b.name = ownName(b.wire, own, sep)
		if name == "LIST" {
			out = append(out, b)
			return nil
		}
		for i := range out {
			if out[i].wire == b.wire {
				out[i].attr[`\subscribed`] = true
			}
		}
		return nil
	}
	if err := c.do(ctx, command, list); err != nil {
		return nil, err
	}
	if !extended {
		if err := c.do(ctx, `LSUB "" "*"`, list); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(out, func(a, b box) int {
		if (a.name == "INBOX") != (b.name == "INBOX") {
			return map[bool]int{true: -1, false: 1}[a.name == "INBOX"]
		}
		return strings.Compare(a.name, b.name)
	})
	return out, nil
}

// ownName gives a name as we write it: "/" between the levels, without what the
// server puts before all of its folders ("INBOX." at Courier and Cyrus).
func ownName(wire, prefix, sep string) string {
	name := wire
	if prefix != "" {
		name = strings.TrimPrefix(name, prefix)
	}
	levels := []string{name}
	if sep != "" {
		levels = strings.Split(name, sep)
	}
	for i, l := range levels {
		if out, err := imap.DecodeUTF7(l); err == nil {
			l = out
		}
		levels[i] = strings.ReplaceAll(strings.ToValidUTF8(l, "_"), "/", "_")
	}
	return imap.CanonicalName(strings.Join(levels, "/"))
}

// listed reads an answer of LIST behind its name.
func (c *session) listed() (b box, sep string, err error) {
	b.attr = map[string]bool{}
	t, err := c.in.Token()
	if err != nil || t.Kind != imap.OpenToken {
		return b, "", errors.Join(imap.ErrAnswer, err)
	}
	attrs, err := c.in.List(100)
	if err != nil {
		return b, "", err
	}
	for _, a := range attrs {
		b.attr[strings.ToLower(a)] = true
	}
	if t, err = c.in.Token(); err != nil {
		return b, "", err
	}
	if !t.IsNil() {
		sep = t.Text
	}
	if t, err = c.in.Token(); err == nil {
		b.wire, err = c.in.String(t)
	}
	return b, sep, err
}

// namespace gives what stands before our own folders, and before those of others.
// RFC 2342
func (c *session) namespace(ctx context.Context) (own string, others []string, err error) {
	if !c.caps["NAMESPACE"] {
		return "", nil, nil
	}
	err = c.do(ctx, "NAMESPACE", func(name string) error {
		depth, group, want := 0, 0, false
		for name == "NAMESPACE" {
			t, err := c.in.Token()
			if err != nil || t.Kind == imap.EndToken {
				return err
			}
			switch {
			case t.Kind == imap.OpenToken:
				depth++
				want = depth == 2
			case t.Kind == imap.CloseToken:
				if depth--; depth == 0 {
					group++
				}
			case depth == 0:
				group++ // NIL
			case want:
				p, err := c.in.String(t)
				if err != nil {
					return err
				}
				if want = false; group == 0 && own == "" {
					own = p
				} else if group > 0 {
					others = append(others, p)
				}
			}
		}
		return nil
	})
	if errors.Is(err, ErrRefused) {
		err = nil
	}
	return own, others, err
}

// statusNumber reads the only number of an answer of STATUS.
func (c *session) statusNumber() (n int64, err error) {
	t, err := c.in.Token()
	if err == nil {
		_, err = c.in.String(t)
	}
	for err == nil && t.Kind != imap.EndToken {
		if t, err = c.in.Token(); t.Kind == imap.AtomToken {
			if v, e := strconv.ParseInt(t.Text, 10, 64); e == nil {
				n = v
			}
		}
	}
	return n, err
}

// examine selects a folder without changing anything in it.
func (c *session) examine(ctx context.Context, command, wire string) (validity uint32, err error) {
	err = c.do(ctx, command+" "+quote(wire), func(name string) error {
		if name != "OK" {
			return nil
		}
		t, err := c.in.Token()
		if v, ok := strings.CutPrefix(strings.ToUpper(t.Text), "[UIDVALIDITY "); err == nil && ok {
			n, _ := strconv.ParseUint(strings.TrimSuffix(v, "]"), 10, 32)
			validity = uint32(n)
		}
		return err
	})
	return validity, err
}

// maxFound is how many messages a server may find.
const maxFound = 10_000_000

// found gives the UIDs of the messages that a search finds. A server may tell them in
// any order, more than once, and without end.
func (c *session) found(ctx context.Context, what string) (mail.UIDSet, error) {
	var all []mail.UID
	err := c.do(ctx, "UID SEARCH "+what, func(name string) error {
		for name == "SEARCH" {
			t, err := c.in.Token()
			if err != nil || t.Kind == imap.EndToken {
				return err
			}
			if n, err := strconv.ParseUint(t.Text, 10, 32); err == nil && n > 0 {
				if len(all) == maxFound {
					return fmt.Errorf("it tells of more than %d messages", maxFound)
				}
				all = append(all, mail.UID(n))
			}
		}
		return nil
	})
	slices.Sort(all)
	return mail.UIDs(all...), err
}

// List is as of Source.
func (s *IMAP) List(ctx context.Context, f *Folder, each func([]Message) error, bad func(string, error)) error {
	valid, err := s.c.examine(ctx, "EXAMINE", s.boxes[f.Name])
	if errors.Is(err, ErrRefused) {
		bad("", err)
		return nil
	}
	if err != nil {
		return err
	}
	s.at, s.valid, s.ids = f.Name, valid, nil
	if s.kept != nil && f.Name == imap.Inbox {
		if s.ids, err = s.kept(ctx); err != nil {
			return err
		}
	}
	if f.Sharing, f.left, err = s.sharing(ctx, s.boxes[f.Name]); err != nil {
		return err
	}
	f.Mark = strconv.FormatUint(uint64(valid), 10)
	all, err := s.c.found(ctx, "ALL")
	if err != nil {
		return err
	}
	var part mail.UIDSet
	flush := func() error {
		list, err := s.listSome(ctx, part)
		part = mail.UIDSet{}
		if err != nil {
			return err
		}
		return each(list)
	}
	n := 0
	for uid := range all.All() {
		part.Add(uid)
		if n++; n%chunk == 0 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if part.IsEmpty() {
		return nil
	}
	return flush()
}

func (s *IMAP) listSome(ctx context.Context, set mail.UIDSet) (list []Message, err error) {
	at := map[uint32]int{} // a server may repeat itself without end
	err = s.c.do(ctx, "UID FETCH "+set.String()+" (UID FLAGS INTERNALDATE RFC822.SIZE)", func(name string) error {
		if name != "FETCH" {
			return nil
		}
		var m Message
		err := s.c.fetched(func(item string) error { return s.c.fact(item, &m) })
		if err != nil || !set.Contains(mail.UID(m.uid)) {
			return err
		}
		m.ID = strconv.FormatUint(uint64(m.uid), 10)
		if m.UIDL = s.ids[m.uid].uidl; m.UIDL == "" {
			m.UIDL = s.uidl.Of(m.uid, s.valid, s.ids[m.uid].guid)
		}
		switch i, told := at[m.uid]; {
		case !told:
			at[m.uid] = len(list)
			list = append(list, m)
		case list[i].Size == 0: // that was news of its flags
			list[i] = m
		}
		return err
	})
	slices.SortFunc(list, func(a, b Message) int { return int(int64(a.uid) - int64(b.uid)) })
	return list, err
}

// fetched goes over the items of an answer of FETCH.
func (c *session) fetched(each func(item string) error) error {
	t, err := c.in.Token()
	if err != nil || t.Kind != imap.OpenToken {
		return errors.Join(imap.ErrAnswer, err)
	}
	for {
		t, err := c.in.Token()
		if err != nil {
			return err
		}
		switch t.Kind {
		case imap.CloseToken:
			return nil
		case imap.AtomToken:
			if err := each(strings.ToUpper(t.Text)); err != nil {
				return err
			}
		default:
			return imap.ErrAnswer
		}
	}
}

// maxFlag is how long a flag may be: nobody has longer ones.
const maxFlag = 1000

// fact reads the value of an item that is not the message itself.
func (c *session) fact(item string, m *Message) error {
	t, err := c.in.Token()
	if err != nil {
		return err
	}
	if t.Kind == imap.OpenToken {
		list, err := c.in.List(1000)
		if item == "FLAGS" {
			m.Flags = slices.DeleteFunc(list, func(f string) bool { return strings.EqualFold(f, imap.FlagRecent) || len(f) > maxFlag })
		}
		return err
	}
	if t.Kind == imap.LiteralToken && t.Size > imap.MaxToken {
		return nil // the next token passes over it
	}
	text, err := c.in.String(t)
	if err != nil {
		return err
	}
	switch item {
	case "UID":
		n, err := strconv.ParseUint(text, 10, 32)
		m.uid = uint32(n)
		return err
	case "RFC822.SIZE":
		m.Size, err = strconv.ParseInt(text, 10, 64)
		return err
	case "INTERNALDATE":
		m.Date, _ = imap.ParseDateTime(text)
	}
	return nil
}

// Fetch is as of Source. One command asks for all, and what comes is passed on as
// it comes. There is never another under way: servers answer two at once as they
// like, and the order would be lost.
func (s *IMAP) Fetch(ctx context.Context, f *Folder, list []Message, take func(*Message, io.Reader) error, bad func(string, error)) error {
	if s.at != f.Name {
		return fmt.Errorf("folder %q is not selected", f.Name)
	}
	if len(list) == 0 {
		return nil
	}
	got := map[uint32]bool{}
	err := s.receive(ctx, list, got, take, bad)
	if err != nil && !errors.Is(err, ErrRefused) {
		return err
	}
	// One that the server cannot read holds up the others: these one by one. Others
	// have gone meanwhile.
	missing := slices.DeleteFunc(slices.Clone(list), func(m Message) bool { return got[m.uid] })
	if len(missing) == 0 {
		return nil
	}
	there, err := s.listSome(ctx, uidsOf(missing))
	if err != nil {
		return err
	}
	for _, m := range there {
		err := s.receive(ctx, []Message{m}, got, take, bad)
		if err != nil && !errors.Is(err, ErrRefused) {
			return err
		}
		if err == nil && !got[m.uid] {
			err = errors.New("the server does not send it")
		}
		if err != nil {
			bad(m.ID, err)
		}
	}
	return nil
}

func uidsOf(list []Message) (set mail.UIDSet) {
	for _, m := range list {
		set.Add(mail.UID(m.uid))
	}
	return set
}

// maxAhead is how much of a message is kept in memory when the server tells its
// UID behind it.
const maxAhead = 64 << 20

// receive asks for messages and takes them.
func (s *IMAP) receive(ctx context.Context, list []Message, got map[uint32]bool, take func(*Message, io.Reader) error, bad func(string, error)) error {
	give := func(uid uint32, size int64, body io.Reader) error {
		i, ok := slices.BinarySearchFunc(list, uid, func(m Message, uid uint32) int { return cmp.Compare(m.uid, uid) })
		if !ok || got[uid] {
			return nil
		}
		got[uid] = true
		m := list[i]
		if m.Size = size; size == 0 {
			bad(m.ID, errEmpty)
			return nil
		}
		return take(&m, body)
	}
	return s.c.do(ctx, "UID FETCH "+uidsOf(list).String()+" (UID BODY.PEEK[])", func(name string) error {
		if name != "FETCH" {
			return nil
		}
		var m Message
		var early []byte
		err := s.c.fetched(func(item string) error {
			if item != "BODY[]" {
				return s.c.fact(item, &m)
			}
			t, err := s.c.in.Token()
			if err != nil {
				return err
			}
			if t.Kind == imap.QuotedToken {
				early = []byte(t.Text)
				return nil
			}
			if t.Kind != imap.LiteralToken {
				return nil // NIL: the server has lost it
			}
			if m.uid != 0 {
				return give(m.uid, t.Size, s.c.in.Literal())
			}
			if t.Size > maxAhead {
				return errors.New("a large message came without its UID")
			}
			early, err = io.ReadAll(s.c.in.Literal())
			return err
		})
		if err == nil && early != nil {
			err = give(m.uid, int64(len(early)), bytes.NewReader(early))
		}
		return err
	})
}
