package main

import (
	"strings"
	"testing"

	"posthaste/internal/service/admind"
)

// TestTellFlip: what a flip has left out is told, the same of several folders once.
func TestTellFlip(t *testing.T) {
	for _, c := range []struct {
		run  *admind.MoveRun
		want string
	}{
		{nil, ""},
		{&admind.MoveRun{Seen: 7}, ""},
		{&admind.MoveRun{
			Unread: 3, Whichever: []string{"Work, message 7: it is empty"},
			Left: []admind.MoveLeft{{Folder: "Work", What: "rights of eve", Why: "who is that?"}, {Folder: "INBOX", What: "rights of eve", Why: "who is that?"}, {Folder: "the account", What: "/private/x", Why: "too long"}},
		}, `
ada@example.org: the flip has left out
  what could not be read: Work, message 7: it is empty
  ... and 2 other messages
  rights of eve: who is that? ("Work" and 1 other folder)
  /private/x: too long ("the account")
`},
	} {
		var b strings.Builder
		tellFlip(&b, "ada@example.org", c.run)
		if b.String() != c.want {
			t.Errorf("%q, want %q", b.String(), c.want)
		}
	}
}
