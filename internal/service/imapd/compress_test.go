package imapd

import (
	"bufio"
	"compress/flate"
	"io"
	"strings"
	"testing"

	"posthaste/internal/store/mailbox"
)

// TestCompress talks deflated, with another implementation of it, and looks that
// every answer comes without more being sent.
func TestCompress(t *testing.T) {
	srv := newServer(t)
	deliver(t, srv, mailbox.Inbox, plain, mixed)
	c := newClient(t, srv)
	c.want("COMPRESS LZW", "NO [CANNOT] only DEFLATE")
	if caps := c.do("CAPABILITY"); !strings.Contains(caps[0], "COMPRESS=DEFLATE") {
		t.Error(caps)
	}
	c.want("COMPRESS DEFLATE", "OK compression begins")
	raw := c.conn
	c.r = bufio.NewReader(flate.NewReader(raw))
	w, err := flate.NewWriter(raw, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan struct{}, 1)
	said <- struct{}{}
	say := func(text string) {
		<-said
		go func() {
			io.WriteString(w, text)
			w.Flush()
			said <- struct{}{}
		}()
	}
	answer := func(command, want string) {
		t.Helper()
		say("x " + command + "\r\n")
		for {
			if l := c.line(); strings.HasPrefix(l, "x ") {
				if l != "x "+want {
					t.Errorf("%s: %s, want %s", command, l, want)
				}
				return
			}
		}
	}
	answer("COMPRESS DEFLATE", "NO [COMPRESSIONACTIVE] the connection is compressed already")
	answer("SELECT INBOX", "OK [READ-WRITE] SELECT completed")
	answer("FETCH 1:2 (ENVELOPE BODYSTRUCTURE BODY[])", "OK FETCH completed")
	say("y CAPABILITY\r\n")
	if l := c.line(); strings.Contains(l, "COMPRESS") {
		t.Error(l)
	}
	c.line()
	say("i IDLE\r\n")
	if l := c.line(); l != "+ idling" {
		t.Error(l)
	}
	deliver(t, srv, mailbox.Inbox, plain)
	if l := c.line(); l != "* 3 EXISTS" {
		t.Error(l)
	}
	say("DONE\r\n")
	if l := c.line(); l != "i OK IDLE completed" {
		t.Error(l)
	}
	// What is no deflate ends the session.
	go io.WriteString(raw, strings.Repeat("\xff", 100))
	for {
		if _, err := c.r.ReadString('\n'); err != nil {
			break
		}
	}
}
