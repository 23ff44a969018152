package carrier

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// An album is an Account in memory.
type album []OutMessage

func text(uid uint32) string {
	return fmt.Sprintf("Subject: %d\r\nMessage-ID: <%d@x>\r\n\r\n>From\r\n", uid, uid)
}

func newAlbum() album {
	var a album
	for i := range uint32(3) {
		a = append(a, OutMessage{UID: 5 + i, Flags: []string{`\Seen`, "work"}, Date: time.Unix(1580702706-int64(i), 0).UTC(), MessageID: fmt.Sprintf("<%d@x>", 5+i), Size: int64(len(text(5 + i)))})
	}
	return a
}

func (a album) Folders(context.Context) ([]OutFolder, error) {
	return []OutFolder{{ID: 1, Name: "INBOX", Role: "inbox", UIDValidity: 77, Subscribed: true, Messages: 3}, {ID: 2, Name: "Work/Ä.b", UIDValidity: 78, Subscribed: true}}, nil
}

func (a album) Sharing(_ context.Context, f OutFolder) (s Sharing, err error) {
	if f.ID == 0 {
		s.Notes = []Note{{"/private/x", []byte("1")}}
	}
	if f.ID == 2 {
		s = Sharing{[]Right{{"bob@example.org", "lrskxtecd"}, {"-anyone", "i"}}, []Note{{"/shared/comment", []byte("all\r\nof us")}}}
	}
	return s, nil
}

func (a album) List(_ context.Context, f OutFolder, each func(OutMessage) error) error {
	for _, m := range a {
		if err := each(m); err != nil || f.ID != 1 {
			return err
		}
	}
	return nil
}

func (a album) Read(_ context.Context, f OutFolder, uids []uint32, each func(OutMessage, io.Reader) error) error {
	for _, m := range a {
		for _, u := range uids {
			if m.UID == u {
				if err := each(m, strings.NewReader(text(u))); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func out(t *testing.T, a Account, target Target) Report {
	t.Helper()
	rep, err := (&Export{Account: a, Target: target}).Run(t.Context())
	if err == nil {
		err = target.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// TestMaildirTarget: what is written comes back, in the order of the UIDs, though
// dates say another; the second time only flags change.
func TestMaildirTarget(t *testing.T) {
	dir := t.TempDir()
	a := newAlbum()
	if rep := out(t, a, NewMaildirTarget(dir)); rep.Added != 4 || rep.Known != 0 {
		t.Errorf("%+v", rep)
	}
	a[1].Flags = []string{"home"}
	if rep := out(t, a, NewMaildirTarget(dir)); rep.Added != 0 || rep.Known != 4 {
		t.Errorf("%+v", rep)
	}
	src, err := NewMaildir(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	s := newShelf()
	s.take(t, src, nil)
	equal(t, s.mail, []string{
		`INBOX 1580702706 \Seen,work77.5: ` + text(5), "INBOX 1580702705 home77.6: " + text(6), `INBOX 1580702704 \Seen,work77.7: ` + text(7), `Work/Ä_b 1580702706 \Seen,work78.5: ` + text(5),
	})
	list, err := os.ReadFile(dir + "/dovecot-uidlist")
	if err != nil || !strings.HasPrefix(string(list), "3 V77 N0000000008\n5 P77.5 :1580702706.U5V77.posthaste\n") {
		t.Errorf("%s %v", list, err)
	}
}

// TestMaildirTargetSharing: who may do what is read as it was written, and goes when it
// has gone here.
func TestMaildirTargetSharing(t *testing.T) {
	dir := t.TempDir()
	target := NewMaildirTarget(dir)
	if err := target.Folder(t.Context(), OutFolder{Name: "Work"}); err != nil {
		t.Fatal(err)
	}
	in := []Right{{"bob@example.org", "lrskxtecd"}, {"-anyone", "i"}, {`"a b"@example.org`, "l"}, {"authenticated", "lrd"}, {"c d@example.org", "r"}}
	left, err := target.share(t.Context(), Sharing{Rights: in}, nil)
	if err != nil || len(left) != 1 {
		t.Fatal(left, err)
	}
	out, _, err := readACL(dir + "/.Work")
	if got := fmt.Sprint(out.Rights); err != nil || got != "[{bob@example.org lrskxte} {-anyone i} {authenticated lr} {c d@example.org r}]" {
		t.Error(got, err)
	}
	for range 2 {
		if _, err := target.share(t.Context(), Sharing{}, nil); err != nil || aclFile(dir+"/.Work") != "" {
			t.Error("rights are left behind", err)
		}
	}
}

func TestMboxTarget(t *testing.T) {
	dir := t.TempDir()
	out(t, newAlbum(), NewMboxTarget(dir))
	out(t, newAlbum(), NewMboxTarget(dir))
	src, err := NewMbox(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := newShelf()
	if r := s.take(t, src, nil); r.Added != 4 || s.boxes[1] != "Work/Ä.b" || s.mail[2] != `INBOX 1580702704 \Seen,work: `+text(7) {
		t.Errorf("%+v %q", r, s.mail)
	}
}

// TestIMAPTarget is a dialogue with a server that has one of the messages, and
// does not take another.
func TestIMAPTarget(t *testing.T) {
	srv := script(t, map[string]string{
		"CAPABILITY":                       "* CAPABILITY IMAP4rev1 LITERAL+ MULTIAPPEND\r\nTAG OK\r\n",
		`LIST "" "*"`:                      "* LIST () \".\" INBOX\r\nTAG OK\r\n",
		`LIST "" ""`:                       "* LIST (\\Noselect) \".\" \"\"\r\nTAG OK\r\n",
		`STATUS "INBOX" (MESSAGES)`:        "* STATUS INBOX (MESSAGES 1)\r\nTAG OK\r\n",
		`STATUS "Work.&AMQ-_b" (MESSAGES)`: "* STATUS x (MESSAGES 0)\r\nTAG OK\r\n",
		`CREATE "Work.&AMQ-_b"`:            "TAG OK made\r\n",
		"UID FETCH 1:* (UID INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])": "* 1 FETCH (UID 1 INTERNALDATE \"03-Feb-2020 04:05:05 +0000\" RFC822.SIZE 40 BODY[HEADER.FIELDS (MESSAGE-ID)] {23}\r\nMessage-ID: <6@x>\r\n\r\n\r\n)\r\nTAG OK\r\n",
	})
	dial := srv.Dial
	var sent bytes.Buffer
	srv.Dial = func(ctx context.Context, n, a string) (net.Conn, error) {
		c, err := dial(ctx, n, a)
		return tee{c, &sent}, err
	}
	target, err := NewIMAPTarget(t.Context(), srv)
	if err != nil {
		t.Fatal(err)
	}
	a := newAlbum()
	if a[1].Size != 40 {
		t.Fatal(a[1].Size)
	}
	rep := out(t, a, target)
	if rep.Added != 3 || rep.Known != 1 {
		t.Errorf("%+v", rep)
	}
	for _, want := range []string{
		`APPEND "INBOX" (\Seen work) "03-Feb-2020 04:05:06 +0000" {40+}` + "\r\n" + text(5) + ` (\Seen work) "03-Feb-2020 04:05:04 +0000" {40+}` + "\r\n" + text(7) + "\r\n",
		`APPEND "Work.&AMQ-_b" (\Seen work)`, `SUBSCRIBE "INBOX"`,
	} {
		if !strings.Contains(sent.String(), want) {
			t.Errorf("%q was not sent, but\n%s", want, sent.String())
		}
	}
}

type tee struct {
	net.Conn
	w io.Writer
}

func (c tee) Write(p []byte) (int, error) {
	c.w.Write(p)
	return c.Conn.Write(p)
}

// FuzzLF undoes FuzzCRLF's.
func FuzzLF(f *testing.F) {
	f.Add([]byte("a\r\nb\r\r\n\n\r"))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append(bytes.Repeat([]byte("x"), 64<<10-4), b...)
		var got bytes.Buffer
		w := bufio.NewWriter(&got)
		if err := copyLF(w, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		if want := strings.ReplaceAll(string(b), "\r\n", "\n"); got.String() != want {
			t.Fatal("it became something else")
		}
	})
}
