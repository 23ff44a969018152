package imapd

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
)

// TestProgress looks that a long search tells how far it is, and a short one
// does not.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		s := &session{enc: imap.NewEncoder(&b)}
		p := progress{tag: "a1", box: &selected{view: imap.NewView(mail.UIDSpan(11, 60))}, next: time.Now().Add(progressEvery)}
		for u := range mail.UIDSpan(11, 60).All() {
			time.Sleep(progressEvery / 20)
			if err := s.tellProgress(&p, u); err != nil {
				t.Fatal(err)
			}
		}
		want := "* OK [INPROGRESS (\"a1\" 20 50)] still searching\r\n* OK [INPROGRESS (\"a1\" 40 50)] still searching\r\n"
		if b.String() != want {
			t.Errorf("got %s", b.String())
		}
	})
}
