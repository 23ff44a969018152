package carrier

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"posthaste/internal/proto/mbox"
)

// A shelf is a Store in memory.
type shelf struct {
	boxes  []string
	mail   []string // "mailbox id flags: text"
	have   map[string]int
	limit  int // messages, then it breaks
	rights []string
}

func (s *shelf) Share(_ context.Context, folder string, sh Sharing, again bool) ([]Left, error) {
	line := fmt.Sprint(folder, again)
	for _, r := range sh.Rights {
		line += fmt.Sprintf(" %s:%s", r.Who, r.Rights)
	}
	for _, n := range sh.Notes {
		line += fmt.Sprintf(" %s=%q", n.Name, n.Value)
	}
	s.rights = append(s.rights, line)
	return []Left{{"rights of eve", "who is that?"}}, nil
}

func (s *shelf) Open(_ context.Context, f Folder, renumbered bool) (uint64, bool, error) {
	i := slices.Index(s.boxes, f.Into)
	if i < 0 {
		i, s.boxes = len(s.boxes), append(s.boxes, f.Into)
	}
	return uint64(i), true, nil
}

func (s *shelf) Known(_ context.Context, folder string, list []Message) ([]bool, error) {
	out := make([]bool, len(list))
	for i, m := range list {
		_, out[i] = s.have[folder+"/"+m.ID]
	}
	return out, nil
}

func (s *shelf) Flags(_ context.Context, folder string, list []Message) (int, error) {
	return len(list), nil
}

func (s *shelf) Deletions(_ context.Context, folder string, here io.Reader) (int, error) {
	b, err := io.ReadAll(here)
	return len(b) / 16, err
}

func (s *shelf) Begin(_ context.Context, folder string) Delivery {
	return &parcel{s: s, folder: folder}
}

type parcel struct {
	s      *shelf
	folder string
	ids    []string
	mail   []string
}

func (p *parcel) Send(m *Message, box uint64, body io.Reader) error {
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	if int64(len(b)) != m.Size {
		return fmt.Errorf("%s has %d bytes, said %d", m.ID, len(b), m.Size)
	}
	if p.s.limit > 0 && len(p.s.mail)+len(p.mail) >= p.s.limit {
		return errors.New("no room")
	}
	p.ids = append(p.ids, p.folder+"/"+m.ID)
	p.mail = append(p.mail, fmt.Sprintf("%s %d %s%s: %s", p.s.boxes[box], m.Date.Unix(), strings.Join(m.Flags, ","), m.UIDL, b))
	return nil
}

func (p *parcel) Done() (int, int, error) {
	for _, id := range p.ids {
		p.s.have[id]++
	}
	p.s.mail = append(p.s.mail, p.mail...)
	return len(p.ids), 0, nil
}

func (p *parcel) Abort(error) {}

func newShelf() *shelf { return &shelf{have: map[string]int{}} }

func (s *shelf) take(t *testing.T, src Source, change func(*Import)) Report {
	t.Helper()
	im := &Import{Source: src, Store: s}
	if change != nil {
		change(im)
	}
	r, err := im.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func file(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1580702706, 0)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestMaildir(t *testing.T) {
	dir := t.TempDir()
	file(t, dir+"/cur/b.host:2,Sa", "Subject: b\n\nx")
	file(t, dir+"/cur/a.host:2,", "Subject: a\r\n\nx\n")
	file(t, dir+"/new/c.host", "Subject: c\n\n\n")
	file(t, dir+"/cur/d.host:2,", "")
	file(t, dir+"/dovecot-keywords", "0 work\n")
	file(t, dir+"/dovecot-uidlist", "3 V77 N9\n2 :a.host:2,\n1 P9.9 :b.host\n")
	file(t, dir+"/subscriptions", "V\t2\n\nWork\tLists\n")
	file(t, dir+"/.Work.Lists/cur/x:2,T", "Subject: l\n\n")
	file(t, dir+"/tmp/cur/no", "x")
	src, err := NewMaildir(dir, "%08Xu%08Xv")
	if err != nil {
		t.Fatal(err)
	}
	s := newShelf()
	r := s.take(t, src, nil)
	const d = " 1580702706 "
	equal(t, s.mail, []string{
		"INBOX" + d + `\Seen,work9.9: ` + "Subject: b\r\n\r\nx", "INBOX" + d + "000000020000004d: Subject: a\r\n\r\nx\r\n", "INBOX" + d + ": Subject: c\r\n\r\n\r\n",
		"Work/Lists" + d + `\Deleted: ` + "Subject: l\r\n\r\n",
	})
	if len(r.Problems) != 1 || r.Problems[0].ID != "d.host" || r.Added != 4 || r.Folders != 2 {
		t.Errorf("%+v", r)
	}
	if err := os.Rename(dir+"/new/c.host", dir+"/cur/c.host:2,S"); err != nil {
		t.Fatal(err)
	}
	r = s.take(t, src, func(im *Import) { im.FollowFlags, im.FollowDeletions = true, true })
	if r.Added != 0 || r.Known != 4 || r.Changed != 4 || r.Gone != 5 {
		t.Errorf("the second time: %+v", r)
	}
}

// TestBreaks: what is not kept comes the next time, and only that.
func TestBreaks(t *testing.T) {
	dir := t.TempDir()
	for i := range 700 {
		file(t, fmt.Sprintf("%s/cur/%05d:2,", dir, i), fmt.Sprintf("Subject: %d\n\n", i))
	}
	src, err := NewMaildir(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	s := newShelf()
	s.limit = 650
	im := &Import{Source: src, Store: s}
	if r, err := im.Run(t.Context()); err == nil || r.Added != 600 {
		t.Fatalf("%+v %v", r, err)
	}
	s.limit = 0
	if r := s.take(t, src, func(im *Import) { im.DryRun = true }); r.Added != 100 || len(s.mail) != 600 {
		t.Errorf("%+v", r)
	}
	s.take(t, src, nil)
	for i, m := range s.mail {
		if !strings.Contains(m, fmt.Sprintf("Subject: %d\r\n", i)) {
			t.Fatalf("message %d is %q", i, m)
		}
	}
	if len(s.have) != 700 {
		t.Error(len(s.have))
	}
}

func TestMbox(t *testing.T) {
	dir := t.TempDir()
	const sep = "From a@x Mon Feb  3 04:05:06 2020\n"
	file(t, dir+"/Inbox", sep+"Status: RO\nSubject: a\n\n>From x\n\n"+sep+"Subject: a\n\n>From x\n\n")
	file(t, dir+"/Work.sbd/Lists", "From - x\nDate: Mon, 3 Feb 2020 04:05:06 +0000\n\n")
	file(t, dir+"/notes.txt", "no mail\n")
	file(t, dir+"/Inbox.msf", "x")
	src, err := NewMbox(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := newShelf()
	s.take(t, src, nil)
	const d = " 1580702706 "
	equal(t, s.mail, []string{"Inbox" + d + `\Seen: ` + "Subject: a\r\n\r\nFrom x\r\n", "Inbox" + d + ": Subject: a\r\n\r\nFrom x\r\n", "Work/Lists" + d + ": Date: Mon, 3 Feb 2020 04:05:06 +0000\r\n"})
	// A file that is written anew, with more in it and other flags.
	file(t, dir+"/Inbox", sep+"Subject: b\n\n\n"+sep+"Status: R\nSubject: a\n\n>From x\n\n"+sep+"Status: O\nSubject: a\n\n>From x\n\n")
	if r := s.take(t, src, nil); r.Added != 1 || r.Known != 3 {
		t.Errorf("%+v", r)
	}
}

// TestMboxNumbers brings the ids that POP3 clients have seen: made of the UIDs that
// a server kept in the file, or read from it.
func TestMboxNumbers(t *testing.T) {
	const sep = "From a@x Mon Feb  3 04:05:06 2020\n"
	const internal = sep + "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 0000000031 0000000004\n\nnot for people\n\n"
	for name, c := range map[string]struct {
		in   string
		uidl UIDLFormat
		want []string
	}{
		"UW":             {internal + sep + "X-UID: 2\nA: 1\n\n" + sep + "A: 2\n\n" + sep + "X-UID: 4\nA: 3\n\n", "%08Xv%08Xu", []string{"0000001f00000002", "", "0000001f00000004"}},
		"Dovecot":        {sep + "X-IMAPbase: 31 4 word\nX-UID: 2\nA: 1\n\n" + sep + "X-UID: 4\nA: 2\n\n", "%08Xu%08Xv", []string{"000000020000001f", "000000040000001f"}},
		"not asked for":  {sep + "X-IMAPbase: 31 4\nX-UID: 2\nA: 1\n\n", "", []string{""}},
		"from elsewhere": {sep + "X-IMAPbase: 31 4\nX-UID: 3\nA: 1\n\n" + sep + "X-UID: 3\nA: 2\n\n" + sep + "X-UID: 9\nA: 3\n\n", "%u", []string{"3", "", ""}},
		"no base":        {sep + "X-UID: 3\nA: 1\n\n", "%u", []string{""}},
		"a field":        {sep + "X-UIDL: abc\nA: 1\n\n" + sep + "A: 2\n\n", UIDLField, []string{"abc", ""}},
	} {
		dir := t.TempDir()
		file(t, dir+"/Inbox", c.in)
		src, err := NewMbox(dir, 0)
		if err != nil {
			t.Fatal(err)
		}
		src.UIDL = c.uidl
		var got []string
		if _, err := src.Folders(t.Context()); err != nil {
			t.Fatal(err)
		}
		err = src.List(t.Context(), &Folder{Name: "Inbox"}, func(list []Message) error {
			for _, m := range list {
				got = append(got, m.UIDL)
			}
			return nil
		}, func(id string, err error) { t.Error(name, id, err) })
		if err != nil {
			t.Fatal(err)
		}
		equal(t, got, c.want)
	}
}

// TestMBX brings a file in UW's form, and what is whole of one that is cut short.
func TestMBX(t *testing.T) {
	head := "*mbx*\r\n0000001f00000009\r\nwork\r\n$Forwarded\r\n"
	head += strings.Repeat("\x00", 2048-len(head))
	const one = " 2-Feb-2026 10:00:00 +0100,13;000000020005-00000003\r\nA: 1\r\n\r\nx\r\n\r\n"
	const gone = " 2-Feb-2026 10:00:00 +0100,6;000000008000-00000004\r\nA: 2\r\n"
	const two = "12-Feb-2026 10:00:00 +0100,6;000000010028-00000000\r\nA: 3\r\n"
	dir := t.TempDir()
	file(t, dir+"/Cut", head+two+one[:60])
	file(t, dir+"/Empty", head)
	file(t, dir+"/Odd", head[:100])
	file(t, dir+"/Whole", head+one+gone+two)
	file(t, dir+"/Wrong", head+two+strings.Replace(one, ",13;", ",12;", 1)+two)
	src, err := NewMbox(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	src.UIDL = "%08Xv%08Xu"
	s := newShelf()
	r := s.take(t, src, func(im *Import) { im.FollowDeletions = true })
	const two1 = `1770886800 \Answered,\Draft,work: A: 3` + "\r\n"
	equal(t, s.mail, []string{
		"Cut " + two1,
		`Whole 1770022800 \Seen,\Flagged,$Forwarded0000001f00000003: ` + "A: 1\r\n\r\nx\r\n\r\n", "Whole " + two1,
		"Wrong " + two1, `Wrong 1770022800 \Seen,\Flagged,$Forwarded0000001f00000003: ` + "A: 1\r\n\r\nx\r\n\r",
	})
	equal(t, s.boxes, []string{"Cut", "Empty", "Odd", "Whole", "Wrong"})
	var said []string
	for _, p := range r.Problems {
		said = append(said, p.String())
	}
	equal(t, said, []string{"Cut: unexpected EOF", "Odd: " + mbox.ErrMBX.Error(), "Wrong: at byte 2171: " + mbox.ErrMBX.Error()})
	if r = s.take(t, src, nil); r.Added != 0 || r.Known != 5 {
		t.Errorf("once more: %+v", r)
	}
}

func TestTakeout(t *testing.T) {
	for labels, want := range map[string]string{
		"Inbox,Unread,Starred":             `INBOX/inbox \Flagged`,
		"Inbox,Important,Category Social":  `INBOX/inbox $Important \Seen`,
		"Work/Projects,Family,Opened":      `Work/Projects/ Family \Seen`,
		"Archived,Opened":                  `Archive/archive \Seen`,
		"":                                 `Archive/archive \Seen`,
		"Trash,Inbox,A B":                  `Trash/trash A_B \Seen`,
		"Drafts":                           `Drafts/drafts \Draft \Seen`,
		`Sent,"a, b"`:                      `Sent/sent \Seen a,_b`,
		"=?UTF-8?Q?Entw=C3=BCrfe,Unread?=": "Entwürfe/",
	} {
		var m Message
		m.label(labels)
		if got := strings.TrimSpace(m.Into + "/" + m.Role + " " + strings.Join(m.Flags, " ")); got != want {
			t.Errorf("%q: %q, want %q", labels, got, want)
		}
	}
	dir := t.TempDir()
	file(t, dir+"/all.mbox", "From 1@xxx Mon Feb 03 04:05:06 +0000 2020\nX-GM-THRID: 1\nX-Gmail-Labels: Inbox\nSubject: a\n\nx\n")
	src, err := NewTakeout(dir + "/all.mbox")
	if err != nil {
		t.Fatal(err)
	}
	s := newShelf()
	s.take(t, src, func(im *Import) { im.Under = "Gmail" })
	equal(t, s.mail, []string{`Gmail/INBOX 1580702706 \Seen: ` + "Subject: a\r\n\r\nx\r\n"})
}

func TestUIDLFormat(t *testing.T) {
	for f, want := range map[UIDLFormat]string{
		"%08Xu%08Xv": "000000ff000004d2", "%v.%u": "1234.255", "%f": "file", "%8u": "255", "%Xu-%%": "ff-%", "": "", "%": "", "%z": "", "%99u": "", "x%": "",
	} {
		if got := f.Of(255, 1234, "file"); got != want {
			t.Errorf("%s gives %q, want %q", f, got, want)
		}
		if err := f.Check(); (err != nil) != (want == "" && f != "") {
			t.Errorf("%s: %v", f, err)
		}
	}
	for _, f := range []UIDLFormat{"same", "%v", UIDLField} {
		if f.Check() == nil {
			t.Errorf("%s is the same for all messages", f)
		}
	}
	if got := UIDLFormat("%u").Of(0, 0, ""); got != "" {
		t.Error(got)
	}
}

// A script is a server that says what the test has written, one answer for each
// command.
func script(t *testing.T, say map[string]string) *Server {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		fmt.Fprint(server, "* OK [CAPABILITY IMAP4rev1] ready\r\n")
		in := bufio.NewReader(server)
		for {
			line, err := in.ReadString('\n')
			last, _, _ := strings.Cut(line, " ")
			for n := 0; err == nil && strings.HasSuffix(line, "+}\r\n"); { // literals belong to the command
				fmt.Sscanf(line[strings.LastIndexByte(line, '{'):], "{%d+}", &n)
				if _, err = in.Discard(n); err == nil {
					line, err = in.ReadString('\n')
				}
				line = "TAGGED " + line
			}
			if err != nil {
				return
			}
			tag, command, _ := strings.Cut(strings.TrimSpace(line), " ")
			if tag == "TAGGED" {
				tag = last
			}
			answer, ok := say[command]
			if !ok {
				answer = "TAG OK done\r\n"
			}
			fmt.Fprint(server, strings.ReplaceAll(answer, "TAG", tag))
		}
	}()
	return &Server{Host: "old.example", Security: "none", User: "ada", Password: "x\"y", Dial: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
}

// TestIMAP is a dialogue with a Courier-like server that has its oddities: folders
// below INBOX, a UID behind the message, a message that it cannot read.
func TestIMAP(t *testing.T) {
	src, err := NewIMAP(t.Context(), script(t, map[string]string{
		"CAPABILITY":                "* CAPABILITY IMAP4rev1 NAMESPACE\r\nTAG OK\r\n",
		`LOGIN "ada" "x\"y"`:        "TAG OK hello\r\n",
		"NAMESPACE":                 "* NAMESPACE ((\"INBOX.\" \".\")) NIL ((\"#shared.\" \".\")(\"shared.\" \".\"))\r\nTAG OK\r\n",
		`LIST "" "*"`:               "* LIST (\\HasChildren) \".\" INBOX\r\n* LIST () \".\" \"INBOX.Entw&APw-rfe.A/B\"\r\n* LIST (\\Noselect) \".\" INBOX.No\r\n* LIST () \".\" shared.x\r\n* LIST (\\All) \".\" INBOX.All\r\nTAG OK\r\n",
		`LSUB "" "*"`:               "* LSUB () \".\" INBOX\r\nTAG OK\r\n",
		`STATUS "INBOX" (MESSAGES)`: "* STATUS INBOX (MESSAGES 4)\r\nTAG OK\r\n",
		`EXAMINE "INBOX"`:           "* 4 EXISTS\r\n* OK [UIDVALIDITY 77] ok\r\nTAG OK [READ-ONLY] done\r\n",
		"UID SEARCH ALL":            "* SEARCH 3 5 9 10\r\nTAG OK\r\n",
		"UID FETCH 3,5,9:10 (UID FLAGS INTERNALDATE RFC822.SIZE)": "* 2 FETCH (UID 5 RFC822.SIZE 6 FLAGS (\\Recent x) INTERNALDATE \"03-Feb-2020 05:05:06 +0100\")\r\n" +
			"* 1 FETCH (FLAGS (\\Seen) INTERNALDATE \" 3-Feb-2020 04:05:06 +0000\" UID 3 RFC822.SIZE 99)\r\n* 3 FETCH (UID 9 FLAGS () RFC822.SIZE 1)\r\n* 4 FETCH (UID 10 FLAGS () RFC822.SIZE 1)\r\n* 1 FETCH (FLAGS ())\r\nTAG OK\r\n",
		"UID FETCH 3,5,9:10 (UID BODY.PEEK[])":                "* 1 FETCH (BODY[] {7}\r\nfirst\r\n UID 3)\r\n* 2 FETCH (UID 5 BODY[] {0}\r\n)\r\nTAG NO [SERVERBUG] cannot read\r\n",
		"UID FETCH 9:10 (UID FLAGS INTERNALDATE RFC822.SIZE)": "* 3 FETCH (UID 9 FLAGS () RFC822.SIZE 1)\r\n* 4 FETCH (UID 10 FLAGS () RFC822.SIZE 1)\r\nTAG OK\r\n",
		"UID FETCH 9 (UID BODY.PEEK[])":                       "TAG NO [SERVERBUG] cannot read it\r\n",
		"UID FETCH 10 (UID BODY.PEEK[])":                      "* 4 FETCH (UID 10 BODY[] \"last\")\r\n* 4 EXPUNGE\r\nTAG OK\r\n",
		`EXAMINE "INBOX.Entw&APw-rfe.A/B"`:                    "TAG NO not for you\r\n",
	}), "%v-%u")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	s := newShelf()
	r := s.take(t, src, nil)
	equal(t, s.boxes, []string{"INBOX", "Entwürfe/A_B"})
	equal(t, s.mail, []string{"INBOX 1580702706 \\Seen77-3: first\r\n", "INBOX -62135596800 77-10: last"})
	var bad []string
	for _, p := range r.Problems {
		bad = append(bad, p.String())
	}
	equal(t, bad, []string{"INBOX, message 5: it is empty", "INBOX, message 9: the server refuses: NO [SERVERBUG] cannot read it", "Entwürfe/A_B: the server refuses: NO not for you"})
}

// A deaf connection says what it has to say, whatever it is told.
type deaf struct {
	net.Conn
	r io.Reader
}

func (d deaf) Read(p []byte) (int, error)       { return d.r.Read(p) }
func (deaf) Write(p []byte) (int, error)        { return len(p), nil }
func (deaf) Close() error                       { return nil }
func (deaf) SetReadDeadline(t time.Time) error  { return nil }
func (deaf) SetWriteDeadline(t time.Time) error { return nil }

// FuzzIMAP: whatever a server says, it comes to an end.
func FuzzIMAP(f *testing.F) {
	f.Add("* PREAUTH hi\r\np1 OK\r\np2 OK\r\n* LIST () \"/\" INBOX\r\np3 OK\r\np4 OK\r\n* STATUS INBOX (MESSAGES 1)\r\np5 OK\r\n* OK [UIDVALIDITY 1]\r\np6 OK\r\n* SEARCH 1\r\np7 OK\r\n* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 3)\r\np8 OK\r\n* 1 FETCH (UID 1 BODY[] {3}\r\nabc)\r\np9 OK\r\n")
	f.Add("* OK hi\r\n* CAPABILITY NAMESPACE AUTH=PLAIN\r\np1 OK\r\n+ \r\np2 OK\r\np3 OK\r\n* NAMESPACE ((\"\" \"/\")) NIL NIL\r\np4 OK\r\n")
	f.Add("* PREAUTH hi\r\n* CAPABILITY ACL METADATA\r\np1 OK\r\n* CAPABILITY ACL METADATA\r\np2 OK\r\n* LIST () \"/\" INBOX\r\np3 OK\r\np4 OK\r\np5 OK\r\np6 OK\r\n* ACL INBOX bob lr\r\np7 OK\r\n* METADATA INBOX (/shared/comment {1}\r\nx)\r\np8 OK\r\n")
	f.Fuzz(func(t *testing.T, say string) {
		srv := &Server{Host: "h", Security: "none", Dial: func(context.Context, string, string) (net.Conn, error) {
			return deaf{r: strings.NewReader(say)}, nil
		}}
		src, err := NewIMAP(t.Context(), srv, "")
		if err != nil {
			return
		}
		s := newShelf()
		im := &Import{Source: src, Store: s}
		im.Run(t.Context())
		src.Close()
	})
}

// FuzzCRLF: lines end in CRLF, whatever the pieces.
func FuzzCRLF(f *testing.F) {
	f.Add([]byte("a\nb\r\n\r\n\n\r"))
	f.Fuzz(func(t *testing.T, b []byte) {
		want := strings.ReplaceAll(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n", "\r\n")
		for _, size := range []int{16, 4096} {
			got, err := io.ReadAll(newCRLF(bytes.NewReader(b), size))
			if err != nil || string(got) != want {
				t.Fatalf("%q became %q, want %q", b, got, want)
			}
		}
	})
}

// TestCourier: what Courier keeps beside a Maildir comes along: its order, keywords with
// what has changed since, ids of POP3, and who may do what. Where Dovecot was there
// later, what it keeps counts.
func TestCourier(t *testing.T) {
	dir := t.TempDir()
	file(t, dir+"/cur/a.host:2,S", "Subject: a\n\n")
	file(t, dir+"/cur/b.host:2,", "Subject: b\n\n")
	file(t, dir+"/new/c.host", "Subject: c\n\n")
	file(t, dir+"/courierimapuiddb", "1 77 9\n4 b.host\n5 a.host\n")
	file(t, dir+"/courierpop3dsizelist", "/2 12 88\na.host:2,S 12 7:88\nb.host 12 0:0\n")
	file(t, dir+"/courierimapkeywords/:list", "work\nhome\n\na.host:0 1\nb.host:0\n")
	file(t, dir+"/courierimapkeywords/.12.b.host", "late\n")
	file(t, dir+"/courierimapkeywords/.9.b.host", "early\n")
	file(t, dir+"/courierimapkeywords/c.host", "fresh\n\nnew\n")
	file(t, dir+"/courierimapsubscribed", "INBOX\nINBOX.Work\n")
	file(t, dir+"/.Work/cur/x.host:2,R", "Subject: x\n\n")
	file(t, dir+"/.Work/courierimapuiddb", "1 78 9\n4 x.host\n")
	file(t, dir+"/.Work/courierimapacl", "owner aceilrstwx\nadministrators aceilrstwx\nuser=bob clrs\ngroup=all l\n")
	read := func() *shelf {
		src, err := NewMaildir(dir, "%u.%v")
		if err != nil {
			t.Fatal(err)
		}
		list, err := src.Folders(t.Context())
		if err != nil || len(list) != 2 || !list[0].Subscribed || !list[1].Subscribed {
			t.Error(list, err)
		}
		s := newShelf()
		if r := s.take(t, src, nil); len(r.Problems) != 0 {
			t.Error(r.Problems)
		}
		return s
	}
	const d = " 1580702706 "
	s := read()
	equal(t, s.mail, []string{
		"INBOX" + d + "lateb.host: Subject: b\r\n\r\n", "INBOX" + d + `\Seen,work,homeUID7-88: ` + "Subject: a\r\n\r\n", "INBOX" + d + "fresh,new: Subject: c\r\n\r\n",
		"Work" + d + `\Answered4.78: ` + "Subject: x\r\n\r\n",
	})
	equal(t, s.rights, []string{"INBOXfalse", "Workfalse bob:klrs"})

	file(t, dir+"/dovecot-uidlist", "3 V99 N9\n1 Pkept :a.host\n2 :b.host\n")
	s = read()
	equal(t, s.mail[:3], []string{
		"INBOX" + d + `\Seenkept: ` + "Subject: a\r\n\r\n", "INBOX" + d + "2.99: Subject: b\r\n\r\n", "INBOX" + d + ": Subject: c\r\n\r\n",
	})
}
