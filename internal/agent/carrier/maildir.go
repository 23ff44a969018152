package carrier

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/maildir"
)

// A Maildir reads a Maildir with its folders, in the form of Maildir++ or as
// folders within folders. Of a folder it keeps the names of the files in memory.
type Maildir struct {
	dir  string
	uidl UIDLFormat
	dirs map[string]string // of folders by name

	shared bool // some folder has an ACL, so all are known
}

// NewMaildir reads the Maildir in dir.
func NewMaildir(dir string, uidl UIDLFormat) (*Maildir, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if st, err := os.Stat(filepath.Join(dir, "cur")); err != nil || !st.IsDir() {
		return nil, fmt.Errorf("%s is no Maildir: it has no folder \"cur\"", dir)
	}
	return &Maildir{dir: dir, uidl: uidl, dirs: map[string]string{}}, nil
}

// Name is as of Source.
func (s *Maildir) Name() string { return "maildir:" + s.dir }

// Close is as of Source.
func (s *Maildir) Close() error { return nil }

// Folders is as of Source.
func (s *Maildir) Folders(ctx context.Context) (out []Folder, err error) {
	subscribed := s.subscriptions()
	err = filepath.WalkDir(s.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		switch d.Name() {
		case "cur", "new", "tmp":
			return fs.SkipDir
		}
		if _, err := os.Stat(filepath.Join(p, "cur")); err != nil {
			return ctx.Err()
		}
		rel, err := filepath.Rel(s.dir, p)
		if err != nil {
			return err
		}
		name, ok := maildirName(rel)
		if ok {
			s.shared = s.shared || aclFile(p) != ""
			s.dirs[name] = p
			out = append(out, Folder{Name: name, Into: name, Subscribed: subscribed[name], Messages: s.guess(p)})
		}
		return nil
	})
	slices.SortFunc(out, func(a, b Folder) int {
		if (a.Name == "INBOX") != (b.Name == "INBOX") {
			return map[bool]int{true: -1, false: 1}[a.Name == "INBOX"]
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out, err
}

// guess tells how many messages there are, of folders small enough to be listed
// twice.
func (s *Maildir) guess(dir string) (n int64) {
	for _, sub := range [...]string{"cur", "new"} {
		d, err := os.Open(filepath.Join(dir, sub))
		if err != nil {
			continue
		}
		for err == nil {
			var names []string
			names, err = d.Readdirnames(4096)
			n += int64(len(names))
		}
		d.Close()
	}
	return n
}

func maildirName(rel string) (string, bool) {
	if rel == "." {
		return maildir.FolderName("")
	}
	if rel[0] == '.' && !strings.ContainsRune(rel, filepath.Separator) {
		return maildir.FolderName(rel)
	}
	levels := strings.Split(filepath.ToSlash(rel), "/")
	for i, l := range levels {
		if l == "" || l[0] == '.' {
			return "", false
		}
		levels[i] = maildir.Decode(l)
	}
	return strings.Join(levels, "/"), true
}

// subscriptions reads Dovecot's or Courier's file of them.
func (s *Maildir) subscriptions() map[string]bool {
	out := map[string]bool{}
	for _, file := range [...]string{"subscriptions", "courierimapsubscribed"} {
		b, err := os.ReadFile(filepath.Join(s.dir, file))
		if err != nil {
			continue
		}
		text, second := strings.CutPrefix(string(b), "V\t2\n")
		for line := range strings.Lines(text) {
			line = strings.TrimPrefix(strings.TrimRight(line, "\r\n"), "INBOX.")
			if second {
				line = strings.ReplaceAll(line, "\t", ".")
			}
			if line == "INBOX" {
				out[line] = true
			} else if name, ok := maildir.FolderName("." + line); ok {
				out[name] = true
			} else if line != "" {
				out[maildir.Decode(line)] = true
			}
		}
	}
	return out
}

// List is as of Source.
func (s *Maildir) List(ctx context.Context, f *Folder, each func([]Message) error, bad func(string, error)) error {
	dir := s.dirs[f.Name]
	know, err := readKnown(dir, f.Name == imap.Inbox)
	if err != nil {
		bad("", err)
	}
	if s.shared {
		if f.Sharing, f.left, err = readACL(dir); err != nil {
			bad("", err)
		}
	}
	var all []Message
	for _, sub := range [...]string{"cur", "new"} {
		d, err := os.Open(filepath.Join(dir, sub))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		names, err := d.Readdirnames(-1)
		d.Close()
		if err != nil {
			return err
		}
		for _, n := range names {
			if n[0] == '.' {
				continue
			}
			base, _ := maildir.Split(n, nil)
			all = append(all, Message{ID: base, name: filepath.Join(sub, n), uid: know.list[base].uid})
		}
	}
	slices.SortFunc(all, func(a, b Message) int {
		if a.uid != b.uid { // those without come last
			return map[bool]int{true: -1, false: 1}[a.uid-1 < b.uid-1]
		}
		return strings.Compare(a.ID, b.ID)
	})
	for ; len(all) > 0; all = all[min(chunk, len(all)):] {
		if err := s.listSome(ctx, dir, all[:min(chunk, len(all))], know, each, bad); err != nil {
			return err
		}
	}
	return nil
}

func (s *Maildir) listSome(ctx context.Context, dir string, part []Message, know *known, each func([]Message) error, bad func(string, error)) error {
	list := make([]Message, 0, len(part))
	for _, m := range part {
		if err := ctx.Err(); err != nil {
			return err
		}
		st, err := os.Stat(filepath.Join(dir, m.name))
		if errors.Is(err, fs.ErrNotExist) { // it was read meanwhile, or deleted
			if m.name = renamed(dir, m.ID); m.name == "" {
				continue
			}
			st, err = os.Stat(filepath.Join(dir, m.name))
		}
		if err != nil {
			bad(m.ID, err)
			continue
		}
		if !st.Mode().IsRegular() {
			bad(m.ID, errors.New("it is no file"))
			continue
		}
		_, m.Flags = maildir.Split(filepath.Base(m.name), know.words)
		m.Flags = append(m.Flags, know.keywords[m.ID]...)
		m.Date, m.Size = st.ModTime().UTC(), st.Size()
		if m.UIDL = know.list[m.ID].uidl; m.UIDL == "" {
			m.UIDL = s.uidl.Of(m.uid, know.validity, m.ID)
		}
		list = append(list, m)
	}
	return each(list)
}

// renamed finds a file whose flags have changed.
func renamed(dir, base string) string {
	entries, err := os.ReadDir(filepath.Join(dir, "cur"))
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if b, _ := maildir.Split(e.Name(), nil); b == base {
			return filepath.Join("cur", e.Name())
		}
	}
	return ""
}

// Fetch is as of Source.
func (s *Maildir) Fetch(ctx context.Context, f *Folder, list []Message, take func(*Message, io.Reader) error, bad func(string, error)) error {
	dir := s.dirs[f.Name]
	for i := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		m := &list[i]
		err := fetchFile(filepath.Join(dir, m.name), m, take)
		if _, ours := errors.AsType[errTaken](err); ours {
			return err
		}
		if errors.Is(err, fs.ErrNotExist) {
			if name := renamed(dir, m.ID); name == "" {
				continue // deleted meanwhile
			} else {
				err = fetchFile(filepath.Join(dir, name), m, take)
			}
		}
		if _, ours := errors.AsType[errTaken](err); ours {
			return err
		}
		if err != nil {
			bad(m.ID, err)
		}
	}
	return nil
}

// fetchFile gives a message that is a file, with the line ends that mail has.
func fetchFile(path string, m *Message, take func(*Message, io.Reader) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := lined(file)
	if err != nil {
		return err
	}
	if size == 0 {
		return errEmpty
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	m.Size = size
	return take(m, newCRLF(file, 4096))
}

// lined gives how many bytes r has once its lines end in CRLF.
func lined(r io.Reader) (n int64, err error) {
	return io.Copy(io.Discard, newCRLF(r, 64<<10))
}

// A crlfReader makes line ends CRLF, as mail has them: files have LF.
type crlfReader struct {
	in   *bufio.Reader
	out  []byte
	room []byte
	last byte
}

func newCRLF(r io.Reader, size int) *crlfReader {
	return &crlfReader{in: bufio.NewReaderSize(r, size)}
}

// Read is as of io.Reader.
func (c *crlfReader) Read(p []byte) (int, error) {
	for len(c.out) == 0 {
		if c.in.Buffered() == 0 {
			if _, err := c.in.Peek(1); err != nil {
				return 0, err
			}
		}
		b, _ := c.in.Peek(c.in.Buffered())
		c.out = c.room[:0]
		for rest := b; len(rest) > 0; {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 {
				c.out = append(c.out, rest...)
				break
			}
			before := c.last
			if i > 0 {
				before = rest[i-1]
			}
			c.out = append(c.out, rest[:i]...)
			if before != '\r' {
				c.out = append(c.out, '\r')
			}
			c.out = append(c.out, '\n')
			c.last = '\n'
			rest = rest[i+1:]
		}
		c.last = b[len(b)-1]
		c.room = c.out[:0]
		c.in.Discard(len(b))
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}
