package carrier

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"posthaste/internal/proto/cyrus"
	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/maildir"
)

// A Cyrus reads the mail of a user in the spool of a Cyrus server. Of a folder it keeps
// the records of the index in memory.
type Cyrus struct {
	name  string
	owner string
	uidl  UIDLFormat
	dirs  map[string]string // of folders by name
	dir   string            // of the folder that was listed
	odd   []error           // what may be a folder, too
	// subscribed are names of folders; nil: it is not known, so all are.
	subscribed map[string]bool
}

// NewCyrus reads a user's folders: those below dir, which has the INBOX, or if user is
// not empty, theirs in the partition dir of a server whose folders are told apart by ids
// (Cyrus 3.6 and later). Without an uidl, POP3 ids are as Cyrus makes them.
func NewCyrus(dir, user string, uidl UIDLFormat) (*Cyrus, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Cyrus{name: "cyrus:" + dir, owner: user, uidl: uidl, dirs: map[string]string{}}
	if user != "" {
		s.name += "#" + user
		if err := s.byID(dir, user); err != nil {
			return nil, err
		}
	} else {
		s.owner = strings.ReplaceAll(filepath.Base(dir), "^", ".")
		if err := s.below(dir, imap.Inbox); err != nil {
			return nil, err
		}
	}
	if s.dirs[imap.Inbox] == "" {
		return nil, fmt.Errorf("%s has no mail of Cyrus%s: name the folder that has cyrus.header and the files \"1.\" of the user's INBOX, or the partition with --user", dir, of(user))
	}
	return s, nil
}

func of(user string) string {
	if user == "" {
		return ""
	}
	return " of " + user
}

// below finds the folders that are folders of files.
func (s *Cyrus) below(dir, name string) error {
	if len(s.dirs) == maxFolders {
		return errors.New("too many folders")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var below []string
	for _, e := range entries {
		_, isMessage := messageFile(e.Name())
		switch {
		case e.IsDir():
			below = append(below, e.Name())
		case isMessage || e.Name() == "cyrus.header":
			s.dirs[name] = dir
		}
	}
	if s.dirs[imap.Inbox] == "" {
		return nil // it is not a user's folder: what is below is not looked through
	}
	for _, level := range below {
		sub := cyrusLevel(level)
		if name != imap.Inbox {
			sub = name + "/" + sub
		} else if !new(cyrus.Header).IsMail(level) {
			continue
		}
		if err := s.below(filepath.Join(dir, level), sub); err != nil {
			return err
		}
	}
	return nil
}

// cyrusLevel gives a level of a name: Cyrus writes "^" for dots in one.
func cyrusLevel(level string) string {
	return strings.ReplaceAll(maildir.Decode(strings.ReplaceAll(level, "^", ".")), "/", "_")
}

// byID finds the folders of a user by what their headers say.
func (s *Cyrus) byID(dir, user string) error {
	heads, err := filepath.Glob(filepath.Join(escapeGlob(dir), "uuid", "*", "*", "*", "cyrus.header"))
	if err != nil {
		return err
	}
	local, domain, _ := strings.Cut(user, "@")
	names := []string{"user." + strings.ReplaceAll(user, ".", "^")}
	if domain != "" {
		names = append(names, domain+"!user."+strings.ReplaceAll(local, ".", "^"))
	}
	for _, p := range heads {
		h, err := readCyrusHeader(filepath.Dir(p))
		if err != nil {
			s.odd = append(s.odd, fmt.Errorf("whose folder this is cannot be read: %w", err))
			continue
		}
		for _, n := range names {
			rest, ok := strings.CutPrefix(h.Name, n)
			switch {
			case ok && rest == "":
				s.dirs[imap.Inbox] = filepath.Dir(p)
			case ok && rest[0] == '.':
				levels := strings.Split(rest[1:], ".")
				if !h.IsMail(levels[0]) {
					continue
				}
				for i := range levels {
					levels[i] = cyrusLevel(levels[i])
				}
				s.dirs[strings.Join(levels, "/")] = filepath.Dir(p)
			}
		}
	}
	return nil
}

// maxSubscriptions is how long a file with subscriptions may be.
const maxSubscriptions = 64 << 20

// Subscriptions reads what the user has subscribed to from where Cyrus keeps it: dir is
// what imapd.conf calls configdirectory. It is an error if there is nothing of the user's.
func (s *Cyrus) Subscriptions(dir string) error {
	local, domain, _ := strings.Cut(s.owner, "@")
	local = strings.ReplaceAll(local, ".", "^")
	id := filepath.Base(s.dirs[imap.Inbox])
	if len(id) < 2 {
		id = "--"
	}
	places := []string{filepath.Join(escapeGlob(dir), "user", "uuid", escapeGlob(id[:1]), escapeGlob(id[1:2]), escapeGlob(id), "sub.db")}
	if domain == "" {
		places = append(places, filepath.Join(escapeGlob(dir), "user", "*", escapeGlob(local)+".sub"))
	}
	if domain == "" {
		domain = "*"
	} else {
		domain = escapeGlob(domain)
	}
	places = append(places, filepath.Join(escapeGlob(dir), "domain", "*", domain, "user", "*", escapeGlob(local)+".sub"))
	for _, pattern := range places {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		if len(found) > 1 {
			return fmt.Errorf("%s are of several users: say --user with the domain", strings.Join(found, " and "))
		}
		if len(found) == 1 {
			return s.subscriptions(found[0])
		}
	}
	return fmt.Errorf("%s has no subscriptions of %s, as a file %s.sub or sub.db: name what imapd.conf has as configdirectory; without it, all folders are subscribed", dir, s.owner, local)
}

func (s *Cyrus) subscriptions(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSubscriptions+1))
	if err == nil && len(b) > maxSubscriptions {
		err = fmt.Errorf("it has more than %d bytes", maxSubscriptions)
	}
	var list [][]string
	if err == nil {
		list, err = cyrus.ParseSubscriptions(b, s.owner)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	s.subscribed = map[string]bool{}
	for _, levels := range list {
		if len(levels) == 1 {
			s.subscribed[imap.Inbox] = true
			continue
		}
		levels = levels[1:]
		for i := range levels {
			levels[i] = cyrusLevel(levels[i])
		}
		s.subscribed[strings.Join(levels, "/")] = true
	}
	return nil
}

// escapeGlob has a path mean itself in a pattern.
func escapeGlob(p string) string {
	return strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`).Replace(p)
}

// messageFile gives the UID of a file with a message: "17.".
func messageFile(name string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, ".")
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), ok && err == nil && n > 0 && digits[0] != '0' && digits[0] != '+'
}

// maxHeader is how long cyrus.header may be.
const maxHeader = 1 << 20

// readCyrusHeader reads the header of a folder, which need not be there.
func readCyrusHeader(dir string) (h cyrus.Header, err error) {
	f, err := os.Open(filepath.Join(dir, "cyrus.header"))
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxHeader))
	if err == nil {
		h, err = cyrus.ParseHeader(text)
	}
	if err != nil {
		return h, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return h, nil
}

// Name is as of Source.
func (s *Cyrus) Name() string { return s.name }

// Close is as of Source.
func (s *Cyrus) Close() error { return nil }

// Folders is as of Source. If Subscriptions has not been called, all are subscribed.
func (s *Cyrus) Folders(ctx context.Context) (out []Folder, err error) {
	for name, dir := range s.dirs {
		x, f, err := openIndex(dir)
		if err == nil {
			f.Close()
		}
		out = append(out, Folder{Name: name, Into: name, Subscribed: s.subscribed == nil || s.subscribed[name], Messages: int64(x.Records)})
	}
	slices.SortFunc(out, func(a, b Folder) int {
		if (a.Name == imap.Inbox) != (b.Name == imap.Inbox) {
			return map[bool]int{true: -1, false: 1}[a.Name == imap.Inbox]
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out, ctx.Err()
}

// openIndex opens cyrus.index at its first record.
func openIndex(dir string) (x cyrus.Index, f *os.File, err error) {
	if f, err = os.Open(filepath.Join(dir, "cyrus.index")); err != nil {
		return x, nil, err
	}
	head := make([]byte, cyrus.HeadSize)
	n, err := io.ReadFull(f, head)
	if err == nil || err == io.ErrUnexpectedEOF {
		x, err = cyrus.ParseIndex(head[:n])
	}
	if err == nil {
		_, err = f.Seek(int64(x.Start), io.SeekStart)
	}
	if err != nil {
		return x, nil, errors.Join(fmt.Errorf("%s: %w", f.Name(), err), f.Close())
	}
	return x, f, nil
}

// List is as of Source. Where the index cannot be read, what files there are comes
// without flags.
func (s *Cyrus) List(ctx context.Context, f *Folder, each func([]Message) error, bad func(string, error)) error {
	s.dir = s.dirs[f.Name]
	if f.Name == imap.Inbox {
		for _, err := range s.odd {
			bad("", err)
		}
	}
	head, err := readCyrusHeader(s.dir)
	if err != nil {
		bad("", err)
	} else {
		s.share(f, head.ACL)
	}
	all, err := s.index(f, head.Keywords, bad)
	if err != nil {
		bad("", fmt.Errorf("%w; what is there comes without flags", err))
		if all, err = files(s.dir); err != nil {
			return err
		}
	}
	slices.SortFunc(all, func(a, b Message) int { return cmp.Compare(a.uid, b.uid) })
	for part := range slices.Chunk(all, chunk) {
		list := make([]Message, 0, len(part))
		for _, m := range part {
			st, err := os.Stat(s.path(m.uid))
			if err != nil {
				bad(m.ID, err)
				continue
			}
			if m.Size = st.Size(); m.Date.IsZero() {
				m.Date = st.ModTime().UTC()
			}
			list = append(list, m)
		}
		if err := errors.Join(ctx.Err(), each(list)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Cyrus) path(uid uint32) string {
	return filepath.Join(s.dir, strconv.FormatUint(uint64(uid), 10)+".")
}

// share says who may do what with a folder.
func (s *Cyrus) share(f *Folder, acl []cyrus.Entry) {
	f.Sharing, f.left = &Sharing{Rights: []Right{}}, nil
	for _, e := range acl {
		rights := e.Rights
		if strings.ContainsAny(rights, "kxte") { // c and d are there for old programs only
			rights = strings.NewReplacer("c", "", "d", "").Replace(rights)
		}
		rights = strings.Map(func(r rune) rune {
			if strings.ContainsRune("lrswipkxteacd", r) {
				return r
			}
			return -1
		}, rights)
		switch who, why := person(e.Who); {
		case why != "":
			f.left = append(f.left, Left{"rights of " + e.Who, why})
		case who != "" && who != s.owner && rights != "":
			f.Sharing.Rights = append(f.Sharing.Rights, Right{who, rights})
		}
	}
}

// index reads what cyrus.index says of the messages.
func (s *Cyrus) index(f *Folder, keywords []string, bad func(string, error)) (all []Message, err error) {
	x, file, err := openIndex(s.dir)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	f.Mark = strconv.FormatUint(uint64(x.UIDValidity), 10)
	if x.Version < cyrus.OwnSeen {
		f.left = append(f.left, Left{"what has been read", "Cyrus before 2.4 keeps it elsewhere"})
	}
	uidl := s.uidl
	if uidl == "" {
		if uidl = "%u"; x.NewUIDL {
			uidl = "%v.%u"
		}
	}
	in := bufio.NewReaderSize(file, 64<<10)
	buf := make([]byte, x.RecordSize)
	for range x.Records {
		if _, err := io.ReadFull(in, buf); err != nil {
			return nil, fmt.Errorf("cyrus.index: it ends too early: %w", err)
		}
		r, err := x.Record(buf, keywords)
		if r.Gone {
			continue
		}
		m := Message{ID: strconv.FormatUint(uint64(r.UID), 10), uid: r.UID, Date: r.Date, Flags: r.Flags, UIDL: uidl.Of(r.UID, x.UIDValidity, "")}
		if err != nil {
			if bad("", err); r.UID == 0 {
				continue
			}
		}
		all = append(all, m)
	}
	return all, nil
}

// files lists the messages that there are as files.
func files(dir string) (all []Message, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if uid, ok := messageFile(e.Name()); ok {
			all = append(all, Message{ID: strconv.FormatUint(uint64(uid), 10), uid: uid})
		}
	}
	return all, err
}

// Fetch is as of Source.
func (s *Cyrus) Fetch(ctx context.Context, f *Folder, list []Message, take func(*Message, io.Reader) error, bad func(string, error)) error {
	for i := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := fetchFile(s.path(list[i].uid), &list[i], take)
		if _, ours := errors.AsType[errTaken](err); ours {
			return err
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it was deleted meanwhile
			bad(list[i].ID, err)
		}
	}
	return nil
}
