package imapd

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"posthaste/internal/store/mailbox"
)

// FuzzSession says anything to a session that has a mailbox open: it must not
// break down, nor log a failure of ours, and must end when the client goes.
func FuzzSession(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var in strings.Builder
		for line := range strings.Lines(string(text)) {
			if c, ok := strings.CutPrefix(line, "C: "); ok {
				in.WriteString(strings.ReplaceAll(strings.TrimSuffix(c, "\n"), `\\`, `\`) + "\r\n")
			}
		}
		f.Add(in.String())
	}
	f.Add("a ENABLE QRESYNC UIDONLY\r\nb SELECT INBOX (QRESYNC (1 1 1:9 (1 1)))\r\nc UID FETCH 1:* (PREVIEW EMAILID) (CHANGEDSINCE 1 VANISHED)\r\n")
	f.Add("a SELECT INBOX\r\nb UID SEARCH RETURN (UPDATE PARTIAL 1:2) TEXT x\r\nc SORT (SUBJECT DISPLAYFROM) UTF-8 ALL\r\nd THREAD REFERENCES UTF-8 ALL\r\ne REPLACE 1 INBOX {3+}\r\nabc\r\n")
	f.Add("a APPEND INBOX CATENATE (URL \"/INBOX/;UID=1/;SECTION=1.2\" TEXT {3+}\r\nabc)\r\nb COMPRESS DEFLATE\r\nxyz")
	f.Add("a SELECT \"Other Users/bob@example.org/INBOX\"\r\nb APPEND \"Other Users/bob@example.org/INBOX\" (\\Seen) {5+}\r\na: b\n\r\nc UID MOVE 1:* INBOX\r\nd CREATE \"Shared Folders/team@example.org/x\"\r\ne LIST (SUBSCRIBED) \"\" * RETURN (MYRIGHTS METADATA (/shared/a))\r\n")
	f.Add("a IDLE\r\nDONE\r\nb FETCH 1:* FULL\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		srv := newServer(t)
		deliver(t, srv, mailbox.Inbox, plain, mixed)
		for _, of := range []mailbox.Box{{Account: bob, Mailbox: mailbox.Inbox}, {Account: team, Mailbox: mailbox.Inbox}} {
			g := mailbox.Grant{To: mailbox.Authenticated, Rights: mailbox.AllRights}
			if err := srv.Mail.Grant(t.Context(), of.Account, of.Mailbox, g, mailbox.ReplaceRights); err != nil {
				t.Fatal(err)
			}
		}
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() { srv.ServeConn(t.Context(), server); close(done) }()
		go func() {
			io.WriteString(client, "l LOGIN ada@example.org sesame\r\ns SELECT INBOX\r\n"+in)
			time.Sleep(time.Millisecond)
			client.Close()
		}()
		io.Copy(io.Discard, client)
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("the session does not end")
		}
	})
}
