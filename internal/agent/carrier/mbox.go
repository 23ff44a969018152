package carrier

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/mbox"
	"posthaste/internal/proto/message"
)

// An Mbox reads a file in mbox, or a folder of such files. A message is known by
// its bytes: files may be written anew, in any order, with more in them.
type Mbox struct {
	path   string
	files  map[string]string
	quote  mbox.Quoting
	labels bool // X-Gmail-Labels say where messages go

	// UIDL says how a POP3 server made its ids of the UIDs that UW imapd or Dovecot
	// kept in the files; UIDLField that a field has them.
	UIDL UIDLFormat
}

// UIDLField is the UIDLFormat of servers that kept their ids in a field of each
// message, as Qpopper did.
const UIDLField UIDLFormat = "X-UIDL"

// NewMbox reads the file or folder at path. Files in UW imapd's mbx are read, too.
func NewMbox(path string, q mbox.Quoting) (*Mbox, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() && !isMbox(path) {
		return nil, fmt.Errorf("%s is no mbox: it does not begin with \"From \"", path)
	}
	return &Mbox{path: path, quote: q, files: map[string]string{}}, nil
}

// NewTakeout reads an mbox, or a folder of them, as Google Takeout gives it: a
// message goes to the folder that its labels say, and has the rest as keywords.
func NewTakeout(path string) (*Mbox, error) {
	s, err := NewMbox(path, mbox.RD)
	if err == nil {
		s.labels = true
	}
	return s, err
}

// Name is as of Source.
func (s *Mbox) Name() string {
	if s.labels {
		return "takeout:" + s.path
	}
	return "mbox:" + s.path
}

// Close is as of Source.
func (s *Mbox) Close() error { return nil }

// Folders is as of Source.
func (s *Mbox) Folders(ctx context.Context) (out []Folder, err error) {
	st, err := os.Stat(s.path)
	if err != nil {
		return nil, err
	}
	add := func(rel, path string) {
		name := mboxName(rel)
		s.files[name] = path
		out = append(out, Folder{Name: name, Into: name, Subscribed: true})
	}
	if !st.IsDir() {
		add(filepath.Base(s.path), s.path)
		return out, nil
	}
	err = filepath.WalkDir(s.path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(d.Name(), ".") && p != s.path
		if d.IsDir() {
			if hidden {
				return fs.SkipDir
			}
			return ctx.Err()
		}
		if hidden || !d.Type().IsRegular() || strings.HasSuffix(d.Name(), ".msf") {
			return nil
		}
		rel, err := filepath.Rel(s.path, p)
		if err == nil && isMbox(p) {
			add(rel, p)
		}
		return err
	})
	return out, err
}

// isMbox tells whether a file is empty or begins as an mbox does: others lie
// about in folders of mail, too.
func isMbox(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return true // which will be told
	}
	defer f.Close()
	r, err := openLetters(f, mbox.RD)
	return err != nil || r.Next() != mbox.ErrFormat
}

// letters are the messages of a file, in whichever form.
type letters interface {
	io.Reader
	Next() error
	// letter tells of the message, and whether it is none but the program's own.
	letter() (letter, bool)
}

// A letter is what a file has of a message beside its bytes.
type letter struct {
	at            int64
	date          time.Time
	flags         []string
	uid, validity uint32
	labels        string
}

func openLetters(f *os.File, q mbox.Quoting) (letters, error) {
	begin := make([]byte, len(mbox.MBXMagic))
	n, err := f.ReadAt(begin, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if string(begin[:n]) == mbox.MBXMagic {
		r, err := mbox.NewMBXReader(f)
		return &mbxLetters{r}, err
	}
	return &mboxLetters{Reader: mbox.NewReader(f, q)}, nil
}

type mboxLetters struct {
	*mbox.Reader
	numbers mbox.Numbers
}

func (r *mboxLetters) letter() (l letter, internal bool) {
	l = letter{at: r.Start, date: r.Date, flags: mbox.Flags(r.Fields), labels: r.Fields["x-gmail-labels"]}
	l.uid, internal = r.numbers.Of(r.Fields)
	l.validity = r.numbers.Validity
	return l, internal
}

type mbxLetters struct{ *mbox.MBXReader }

func (r *mbxLetters) letter() (letter, bool) {
	return letter{at: r.Start, date: r.Date, flags: r.Flags, uid: r.UID, validity: r.Validity}, false
}

// mboxName makes a name of a path: Thunderbird has the folders below "Work" in
// "Work.sbd".
func mboxName(rel string) string {
	levels := strings.Split(filepath.ToSlash(rel), "/")
	for i, l := range levels {
		l = strings.TrimSuffix(l, ".sbd")
		l = strings.TrimSuffix(l, ".mbox")
		levels[i] = strings.ToValidUTF8(l, "_")
	}
	return strings.Join(levels, "/")
}

// List is as of Source.
func (s *Mbox) List(ctx context.Context, f *Folder, each func([]Message) error, bad func(string, error)) error {
	file, err := os.Open(s.files[f.Name])
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := openLetters(file, s.quote)
	if err != nil {
		bad("", err)
		return nil
	}
	seen := map[[16]byte]uint32{}
	var list []Message
	for {
		err := r.Next()
		if err == io.EOF {
			break
		}
		var m Message
		var internal bool
		if err == nil {
			m, internal, err = s.message(r, seen)
		}
		switch {
		case err != nil:
			bad("", err)
			return errors.Join(ctx.Err(), each(list))
		case internal:
			continue
		case m.Size == 0:
			bad(fmt.Sprintf("the message at byte %d", m.at), errEmpty)
			continue
		}
		if list = append(list, m); len(list) == chunk {
			if err := errors.Join(ctx.Err(), each(list)); err != nil {
				return err
			}
			list = nil
		}
	}
	if len(list) == 0 {
		return nil
	}
	return each(list)
}

// A sized hash counts, and keeps the beginning for its header.
type sized struct {
	hash.Hash
	n    int64
	head []byte
}

const maxHead = 64 << 10

// Write is as of io.Writer.
func (s *sized) Write(p []byte) (int, error) {
	s.n += int64(len(p))
	s.head = append(s.head, p[:min(len(p), maxHead-len(s.head))]...)
	return s.Hash.Write(p)
}

func (s *Mbox) message(r letters, seen map[[16]byte]uint32) (m Message, internal bool, err error) {
	h := &sized{Hash: sha256.New()}
	if _, err := io.Copy(h, r); err != nil {
		return m, false, err
	}
	l, internal := r.letter()
	if internal {
		return m, true, nil
	}
	sum := [16]byte(h.Sum(nil))
	seen[sum]++
	m = Message{ID: hex.EncodeToString(sum[:]), Size: h.n, Date: l.date, at: l.at, Flags: l.flags}
	if n := seen[sum]; n > 1 {
		m.ID += fmt.Sprintf("#%d", n) // the same bytes once more
	}
	if m.Date.IsZero() {
		m.Date, _ = message.ParseDate(fieldOf(h.head, "date"))
	}
	if s.labels {
		m.label(l.labels)
	}
	if s.UIDL == UIDLField {
		m.UIDL = strings.TrimSpace(fieldOf(h.head, "x-uidl"))
	} else {
		m.UIDL = s.UIDL.Of(l.uid, l.validity, "")
	}
	return m, false, nil
}

// fieldOf gives the first field of a name in a header.
func fieldOf(head []byte, name string) string {
	for f := range message.Fields(head) {
		if f.Is(name) {
			return f.Text()
		}
	}
	return ""
}

// Fetch is as of Source.
func (s *Mbox) Fetch(ctx context.Context, f *Folder, list []Message, take func(*Message, io.Reader) error, bad func(string, error)) error {
	if len(list) == 0 {
		return nil
	}
	file, err := os.Open(s.files[f.Name])
	if err != nil {
		return err
	}
	defer file.Close()
	first, err := openLetters(file, s.quote)
	if err != nil {
		return err
	}
	_, mbx := first.(*mbxLetters)
	for i := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := file.Seek(list[i].at, io.SeekStart); err != nil {
			return err
		}
		r, err := s.at(file, mbx)
		if err != nil {
			bad(list[i].ID, err)
			continue
		}
		if err := take(&list[i], r); err != nil {
			return err
		}
	}
	return nil
}

// at reads the message that begins where a file stands.
func (s *Mbox) at(file *os.File, mbx bool) (io.Reader, error) {
	if mbx {
		return mbox.MBXMessage(file)
	}
	r := mbox.NewReader(file, s.quote)
	return r, r.Next()
}

// gmailPlaces are the labels that are folders of their own, in the order in which
// they say where a message goes.
var gmailPlaces = [...]struct{ label, into, role string }{
	{"Trash", "Trash", "trash"},
	{"Spam", "Junk", "junk"},
	{"Drafts", "Drafts", "drafts"},
	{"Draft", "Drafts", "drafts"},
	{"Inbox", "INBOX", "inbox"},
	{"Sent", "Sent", "sent"},
	{"Sent Mail", "Sent", "sent"},
}

// label says where a message with Gmail's labels goes: to the first of those above,
// to the folder of its first own label, or to the archive. Its other labels become
// keywords.
func (m *Message) label(text string) {
	var own []string
	places := map[string]bool{}
	flags := map[string]bool{`\Seen`: true}
	for _, l := range splitLabels(text) {
		switch {
		case l == "Unread":
			delete(flags, `\Seen`)
		case l == "Starred":
			flags[`\Flagged`] = true
		case l == "Important":
			flags["$Important"] = true
		case l == "Opened" || l == "Archived" || l == "All Mail" || l == "Chat" || strings.HasPrefix(l, "Category "):
		case slices.ContainsFunc(gmailPlaces[:], func(p struct{ label, into, role string }) bool { return p.label == l }):
			places[l] = true
		default:
			own = append(own, l)
		}
	}
	for f := range flags {
		m.Flags = append(m.Flags, f)
	}
	m.Into, m.Role = "", ""
	for _, p := range gmailPlaces {
		if places[p.label] {
			m.Into, m.Role = p.into, p.role
			break
		}
	}
	if m.Role == "drafts" {
		m.Flags = append(m.Flags, `\Draft`)
	}
	if m.Into == "" && len(own) > 0 {
		m.Into, own = own[0], own[1:]
	}
	if m.Into == "" {
		m.Into, m.Role = "Archive", "archive"
	}
	for _, l := range own {
		m.Flags = append(m.Flags, imap.AtomOf(l))
	}
	slices.Sort(m.Flags)
}

// splitLabels takes a list apart that has commas between labels and quotes around
// those with commas; all may be in encoded words.
func splitLabels(text string) (out []string) {
	text = message.DecodeWords(text)
	var b strings.Builder
	quoted := false
	flush := func() {
		if l := strings.TrimSpace(b.String()); l != "" {
			out = append(out, l)
		}
		b.Reset()
	}
	for _, c := range text {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			flush()
		default:
			b.WriteRune(c)
		}
	}
	flush()
	return out
}
