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
	"posthaste/internal/proto/mbox"
)

// filesAtOnce is how many messages a target of files takes between two syncs.
const filesAtOnce, bytesAtOnce = 500, 32 << 20

// A MaildirTarget writes a Maildir with its folders in the form of Maildir++, and
// what Dovecot needs to go on with the UIDs and POP3 ids as they are. What is
// there already stays, with new flags.
type MaildirTarget struct {
	dir  string
	subs []string

	path  string // of the folder under way
	f     OutFolder
	have  map[string]string // names of files by their unique parts
	words []string
	list  *bufio.Writer // dovecot-uidlist
	file  *os.File
	top   uint32
}

// NewMaildirTarget writes to dir.
func NewMaildirTarget(dir string) *MaildirTarget { return &MaildirTarget{dir: dir} }

// Folder is as of Target.
func (t *MaildirTarget) Folder(_ context.Context, f OutFolder) error {
	t.f, t.path, t.top = f, filepath.Join(t.dir, maildir.FolderDir(f.Name)), 0
	for _, sub := range [...]string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(t.path, sub), 0o700); err != nil {
			return err
		}
	}
	if f.Name != imap.Inbox {
		if err := os.WriteFile(filepath.Join(t.path, "maildirfolder"), nil, 0o600); err != nil {
			return err
		}
	}
	if f.Subscribed {
		t.subs = append(t.subs, strings.TrimPrefix(maildir.FolderDir(f.Name), "."))
	}
	t.have, t.words = map[string]string{}, nil
	entries, err := os.ReadDir(filepath.Join(t.path, "cur"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		base, _ := maildir.Split(e.Name(), nil)
		t.have[base] = e.Name()
	}
	if b, err := os.ReadFile(filepath.Join(t.path, "dovecot-keywords")); err == nil {
		t.words = maildir.ParseKeywords(string(b))
	}
	if t.file, err = os.Create(filepath.Join(t.path, "tmp", "dovecot-uidlist")); err != nil {
		return err
	}
	t.list = bufio.NewWriter(t.file)
	return nil
}

// base gives the unique part of a message's name: the same in every run.
func (t *MaildirTarget) base(m OutMessage) string {
	return fmt.Sprintf("%d.U%dV%d.posthaste", max(m.Date.Unix(), 0), m.UID, t.f.UIDValidity)
}

// Has is as of Target. It brings the flags of what is there up to date.
func (t *MaildirTarget) Has(m OutMessage) (bool, error) {
	if m.UID > t.top {
		if t.top == 0 { // a header that is right in the end, since its numbers have a width
			fmt.Fprintf(t.list, "3 V%d N%010d\n", t.f.UIDValidity, 0)
		}
		t.top = m.UID
	}
	fmt.Fprintf(t.list, "%d ", m.UID)
	uidl := m.UIDL
	if uidl == "" || strings.ContainsAny(uidl, " :") {
		uidl = fmt.Sprintf("%d.%d", t.f.UIDValidity, m.UID) // as our POP3 has it
	}
	fmt.Fprintf(t.list, "P%s ", uidl)
	base := t.base(m)
	fmt.Fprintf(t.list, ":%s\n", base)
	old, ok := t.have[base]
	if !ok {
		return false, nil
	}
	if name := base + t.info(m); name != old {
		return true, os.Rename(filepath.Join(t.path, "cur", old), filepath.Join(t.path, "cur", name))
	}
	return true, nil
}

func (t *MaildirTarget) info(m OutMessage) string {
	info, words, _ := maildir.Info(m.Flags, t.words)
	t.words = words
	return info
}

// AtOnce is as of Target.
func (t *MaildirTarget) AtOnce() (int, int64) { return filesAtOnce, bytesAtOnce }

// Begin is as of Target.
func (t *MaildirTarget) Begin(context.Context, int) error { return nil }

// Add is as of Target.
func (t *MaildirTarget) Add(m OutMessage, body io.Reader) (err error) {
	tmp := filepath.Join(t.path, "tmp", t.base(m))
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	err = copyLF(w, body)
	if err = errors.Join(err, w.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Chtimes(tmp, m.Date, m.Date); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(t.path, "cur", t.base(m)+t.info(m)))
}

// Commit is as of Target.
func (t *MaildirTarget) Commit() error { return nil }

// Done is as of Target.
func (t *MaildirTarget) Done() error {
	tmp := t.file.Name()
	err := errors.Join(t.list.Flush(), t.rewind(), t.file.Sync(), t.file.Close())
	if err == nil && t.top > 0 {
		err = os.Rename(tmp, filepath.Join(t.path, "dovecot-uidlist"))
	} else if err == nil {
		err = os.Remove(tmp)
	}
	if err == nil && len(t.words) > 0 {
		err = os.WriteFile(filepath.Join(t.path, "dovecot-keywords"), []byte(maildir.FormatKeywords(t.words)), 0o600)
	}
	return err
}

// rewind writes the header of dovecot-uidlist, whose next UID is known now.
func (t *MaildirTarget) rewind() error {
	if t.top == 0 {
		return nil
	}
	_, err := t.file.WriteAt(fmt.Appendf(nil, "3 V%d N%010d\n", t.f.UIDValidity, uint64(t.top)+1), 0)
	return err
}

// Close is as of Target.
func (t *MaildirTarget) Close() error {
	if len(t.subs) == 0 {
		return nil
	}
	slices.Sort(t.subs)
	return os.WriteFile(filepath.Join(t.dir, "subscriptions"), []byte(strings.Join(t.subs, "\n")+"\n"), 0o600)
}

// copyLF copies with CRLF become LF, as files have it.
func copyLF(w *bufio.Writer, r io.Reader) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		part, err := in.ReadSlice('\n')
		switch {
		case bytes.HasSuffix(part, []byte("\r\n")):
			w.Write(part[:len(part)-2])
			w.WriteByte('\n')
		case err == bufio.ErrBufferFull && part[len(part)-1] == '\r':
			w.Write(part[:len(part)-1])
			in.UnreadByte()
		default:
			w.Write(part)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
}

// An MboxTarget writes a file in mboxrd for each folder; a folder that is there is
// written anew.
type MboxTarget struct {
	dir  string
	path string
	file *os.File
	w    *mbox.Writer
}

// NewMboxTarget writes to dir.
func NewMboxTarget(dir string) *MboxTarget { return &MboxTarget{dir: dir} }

// Folder is as of Target.
func (t *MboxTarget) Folder(_ context.Context, f OutFolder) (err error) {
	levels := strings.Split(f.Name, "/")
	for i, l := range levels {
		if l == "." || l == ".." || strings.HasPrefix(l, ".") {
			levels[i] = "_" + l
		}
	}
	t.path = filepath.Join(t.dir, filepath.Join(levels...)) + ".mbox"
	if err := os.MkdirAll(filepath.Dir(t.path), 0o700); err != nil {
		return err
	}
	if t.file, err = os.OpenFile(t.path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err == nil {
		t.w = mbox.NewWriter(t.file)
	}
	return err
}

// share writes dovecot-acl, which counts if the server has its plugin for ACL. People
// are named by their addresses. What is noted about folders is not written: Dovecot
// keeps it in no file of the Maildir.
func (t *MaildirTarget) share(_ context.Context, s Sharing, _ func(string) string) (left []Left, err error) {
	var b strings.Builder
	for _, r := range s.Rights {
		who, takes := strings.CutPrefix(r.Who, "-")
		if who != "anyone" && who != "authenticated" {
			who = "user=" + who
		}
		if takes {
			who = "-" + who
		}
		if strings.ContainsAny(who, "\"\\\r\n") {
			left = append(left, Left{"rights of " + r.Who, "dovecot-acl cannot name them"})
			continue
		}
		if strings.ContainsRune(who, ' ') {
			who = `"` + who + `"`
		}
		b.WriteString(who + " " + strings.NewReplacer("c", "", "d", "").Replace(r.Rights) + "\n")
	}
	path := filepath.Join(t.path, "dovecot-acl")
	if b.Len() > 0 {
		return left, os.WriteFile(path, []byte(b.String()), 0o600)
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return left, err
	}
	return left, nil
}

// Has is as of Target.
func (t *MboxTarget) Has(OutMessage) (bool, error) { return false, nil }

// AtOnce is as of Target.
func (t *MboxTarget) AtOnce() (int, int64) { return filesAtOnce, bytesAtOnce }

// Begin is as of Target.
func (t *MboxTarget) Begin(context.Context, int) error { return nil }

// Add is as of Target.
func (t *MboxTarget) Add(m OutMessage, body io.Reader) error {
	return t.w.Message(mbox.Header{Date: m.Date, Flags: m.Flags}, body)
}

// Commit is as of Target.
func (t *MboxTarget) Commit() error { return nil }

// Done is as of Target.
func (t *MboxTarget) Done() error {
	if err := errors.Join(t.w.Flush(), t.file.Sync(), t.file.Close()); err != nil {
		return err
	}
	return os.Rename(t.path+".tmp", t.path)
}

// Close is as of Target.
func (t *MboxTarget) Close() error { return nil }
