//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A device has a copy of all mail, kept the same by mbsync.
type device struct {
	t    *testing.T
	dir  string
	conf string
}

func newDevice(t *testing.T, p person, tls string) *device {
	t.Helper()
	d := &device{t: t, dir: t.TempDir()}
	at := p.h.IMAPS
	if tls == "STARTTLS" {
		at = p.h.IMAP
	}
	d.conf = write(t, filepath.Join(d.dir, "mbsyncrc"), fmt.Sprintf(`IMAPAccount us
Host localhost
Port %s
User %s
Pass %q
SSLType %s
CertificateFile %s

IMAPStore far
Account us

MaildirStore near
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
CopyArrivalDate yes
SyncState *
`, port(at), p.address, p.password, tls, p.h.CA, filepath.Join(d.dir, "mail"), filepath.Join(d.dir, "mail")))
	if err := os.Mkdir(filepath.Join(d.dir, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

// sync brings the device up to date.
func (d *device) sync() string {
	d.t.Helper()
	return job{name: "mbsync", home: d.dir, args: []string{"-c", d.conf, "-V", "-a"}}.ok(d.t)
}

func (d *device) box(name string) string { return filepath.Join(d.dir, "mail", name) }

// files gives the messages of a mailbox with the flags in their names, and
// their texts as they came over the wire.
func (d *device) files(box string) (names []string, texts [][]byte) {
	d.t.Helper()
	for _, sub := range []string{"cur", "new"} {
		list, err := filepath.Glob(filepath.Join(d.box(box), sub, "*"))
		if err != nil {
			d.t.Fatal(err)
		}
		for _, f := range list {
			b, err := os.ReadFile(f)
			if err != nil {
				d.t.Fatal(err)
			}
			names = append(names, f)
			texts = append(texts, []byte(strings.ReplaceAll(string(b), "\n", "\r\n")))
		}
	}
	return names, texts
}

// find gives the file of the message whose text has some words in it.
func (d *device) find(box, words string) string {
	d.t.Helper()
	names, texts := d.files(box)
	for i := range names {
		if strings.Contains(string(texts[i]), words) {
			return names[i]
		}
	}
	d.t.Fatalf("no message with %q in %s", words, box)
	return ""
}

// put puts a message into a mailbox, as a mail program does.
func (d *device) put(box, flags string, text []byte) {
	d.t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(d.box(box), sub), 0o700); err != nil {
			d.t.Fatal(err)
		}
	}
	name := fmt.Sprintf("%d.%d.here:2,%s", time.Now().UnixNano(), len(text), flags)
	write(d.t, filepath.Join(d.box(box), "cur", name), strings.ReplaceAll(string(text), "\r\n", "\n"))
}

// mark sets the flags of a message.
func (d *device) mark(file, flags string) {
	d.t.Helper()
	base, _, _ := strings.Cut(filepath.Base(file), ":2,")
	if err := os.Rename(file, filepath.Join(filepath.Dir(filepath.Dir(file)), "cur", base+":2,"+flags)); err != nil {
		d.t.Fatal(err)
	}
}

// state is all that a device has, to see that nothing changes.
func (d *device) state() string {
	d.t.Helper()
	var b strings.Builder
	err := filepath.Walk(filepath.Join(d.dir, "mail"), func(name string, info os.FileInfo, err error) error {
		if err == nil && !strings.HasPrefix(filepath.Base(name), ".") && !info.IsDir() {
			fmt.Fprintln(&b, name, info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return b.String()
}

// TestMbsync keeps two devices the same, both ways.
func TestMbsync(t *testing.T) {
	t.Parallel()
	ada := small.person(t)
	one, two := newDevice(t, ada, "IMAPS"), newDevice(t, ada, "STARTTLS")
	j := ada.judge(t)
	texts := append(corpus(), large(3<<20))
	day := time.Date(2024, 5, 6, 7, 8, 9, 0, time.FixedZone("", -5*3600))
	for i, text := range texts {
		j.put("INBOX", map[bool]string{true: `\Seen`}[i%2 == 0], day.Add(time.Duration(i)*time.Hour), text)
	}
	one.sync()
	two.sync()
	_, got := one.files("INBOX")
	sameBytes(t, "first device", got, texts)
	_, got = two.files("INBOX")
	sameBytes(t, "second device", got, texts)
	if info, err := os.Stat(one.find("INBOX", "Subject: Dots")); err != nil || !info.ModTime().Equal(day.Add(time.Hour)) {
		t.Errorf("the message of %v is of %v on the device", day.Add(time.Hour), info.ModTime())
	}

	// Each changes something: flags, a deletion, new mail in new folders.
	one.mark(one.find("INBOX", "Subject: Plain\r\n"), "FRS")
	one.mark(one.find("INBOX", "Subject: Latin"), "ST")
	folder := "Entw&APw-rfe &- &ZeVnLA-"
	fresh := []([]byte){compose("On one", "", "First.\n"), large(3<<20 + 1), compose("On one, too", "", long(990)+"\n.\n")}
	for i, text := range fresh {
		one.put(folder, []string{"D", "S", ""}[i], text)
		time.Sleep(time.Millisecond)
	}
	two.mark(two.find("INBOX", "Subject: Dots"), "S")
	on2 := compose("On two", "", "Second.\n")
	two.put("INBOX", "", on2)
	one.sync()
	two.sync()
	one.sync()

	var want [][]byte
	for _, text := range append(texts, on2) {
		if !strings.Contains(string(text), "Subject: Latin") {
			want = append(want, text)
		}
	}
	for i, d := range []*device{one, two} {
		_, got := d.files("INBOX")
		sameBytes(t, fmt.Sprintf("INBOX of device %d", i+1), got, want)
		_, got = d.files(folder)
		sameBytes(t, fmt.Sprintf("new folder of device %d", i+1), got, fresh)
		for words, flags := range map[string]string{"Subject: Plain\r\n": "FRS", "Subject: Dots": "S"} {
			if f := d.find("INBOX", words); !strings.HasSuffix(f, ":2,"+flags) {
				t.Errorf("device %d: flags of %q are not %s: %s", i+1, words, flags, filepath.Base(f))
			}
		}
		if f := d.find(folder, "Subject: On one\r\n"); !strings.HasSuffix(f, ":2,D") {
			t.Errorf("device %d: the draft is %s", i+1, filepath.Base(f))
		}
	}
	sameTexts(t, "INBOX", j.letters("INBOX"), want)
	sameTexts(t, "new folder", j.letters(folder), fresh)
	for _, l := range j.letters("INBOX") {
		if strings.Contains(string(l.text), "Subject: Plain\r\n") && (!l.has(`\Flagged`) || !l.has(`\Answered`) || !l.has(`\Seen`)) {
			t.Error("flags on the server are", l.flags)
		}
	}

	// Nothing is left to do.
	before := one.state() + two.state()
	server := fmt.Sprint(uids(j.letters("INBOX")), uids(j.letters(folder)))
	one.sync()
	two.sync()
	if after := one.state() + two.state(); after != before {
		t.Errorf("a run without changes changed\n%s\ninto\n%s", before, after)
	}
	if after := fmt.Sprint(uids(j.letters("INBOX")), uids(j.letters(folder))); after != server {
		t.Errorf("a run without changes made %s of %s", after, server)
	}
}

func uids(list []letter) (out []string) {
	for _, l := range list {
		out = append(out, fmt.Sprint(l.uid, l.flags))
	}
	return out
}
