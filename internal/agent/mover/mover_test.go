package mover_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"posthaste/internal/agent/mover"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
	"posthaste/test/house"
)

func text(i int) string {
	return fmt.Sprintf("Subject: %d\r\nMessage-ID: <%d@x>\r\n\r\n%s", i, i, strings.Repeat("line\r\n", 1+i*i%3000))
}

// from gives messages first to last, then err.
func from(box mail.MailboxID, first, last int, err error) func() (mover.Message, io.Reader, error) {
	return func() (mover.Message, io.Reader, error) {
		if first > last {
			return mover.Message{}, nil, err
		}
		s := text(first)
		m := mover.Message{Mailbox: box, ID: fmt.Sprint(first), Flags: []string{`\Seen`, `\Recent`, "Key word", "key_word"}, Date: time.Unix(1e9, 0), UIDL: fmt.Sprintf("u%d", first), Size: int64(len(s))}
		first++
		return m, strings.NewReader(s), nil
	}
}

// TestBring: all or nothing of what breaks off, each once, in order.
func TestBring(t *testing.T) {
	h := house.New(t, "mx.example.org")
	ada := h.Account(0, "ada@example.org")[0]
	a := &mover.Agent{Mailboxes: h.Mailboxes}
	ctx := t.Context()
	box, err := a.Open(ctx, ada, mover.Folder{Source: "s", Name: "Gesendet", Into: "Gesendet", Role: mailbox.SentRole, Mark: "1"})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the line broke")
	if _, err := a.Bring(ctx, ada, "s", "Gesendet", from(box, 1, 100, broken)); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := a.Bring(ctx, ada, "s", "Gesendet", from(box, 1, 200, io.EOF)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Bring(ctx, ada, "s", "Gesendet", from(box, 1, 201, io.EOF)); !errors.Is(err, mail.ErrLimit) {
		t.Error("too many at once:", err)
	}
	short := func() (mover.Message, io.Reader, error) {
		return mover.Message{Mailbox: box, ID: "x", Size: 10}, strings.NewReader("short"), nil
	}
	if _, err := a.Bring(ctx, ada, "s", "Gesendet", short); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("half a message:", err)
	}
	n := 0
	err = a.Read(ctx, ada, box, mail.UIDSpan(1, ^mail.UID(0)), func(m mover.Stored, r io.Reader) error {
		n++
		b, err := io.ReadAll(r)
		if string(b) != text(n) || int(m.UID) != n || m.UIDL != fmt.Sprintf("u%d", n) || m.Date.Unix() != 1e9 || strings.Join(m.Flags, " ") != `\Seen Key_word` {
			t.Errorf("message %d came out as %+v, %q", n, m, b)
		}
		return err
	})
	if err != nil || n != 200 {
		t.Error(n, err)
	}
	err = a.List(ctx, ada, box, 198, func(m mover.Stored) error {
		n++
		if m.MessageID != fmt.Sprintf("<%d@x>", m.UID) {
			t.Error(m.MessageID)
		}
		return nil
	})
	if err != nil || n != 202 {
		t.Error(n, err)
	}
	sent, err := h.Mailboxes.Lookup(ctx, ada, "Sent")
	if err != nil || sent.ID != box {
		t.Error("sent mail is in", box, err)
	}
}

func TestOpen(t *testing.T) {
	h := house.New(t, "mx.example.org")
	ada := h.Account(0, "ada@example.org")[0]
	a := &mover.Agent{Mailboxes: h.Mailboxes}
	for _, c := range []struct {
		f    mover.Folder
		want string
		err  error
	}{
		{mover.Folder{Name: "Deleted Items", Into: "Deleted Items"}, "Trash", nil},
		{mover.Folder{Name: "inbox", Into: "inbox"}, "INBOX", nil},
		{mover.Folder{Name: "A.B", Into: "A/B", Subscribed: true, Mark: "1"}, "A/B", nil},
		{mover.Folder{Name: "A", Into: "A"}, "A", nil},
		{mover.Folder{Name: "A.B", Into: "A/B", Mark: "2"}, "", mover.ErrRenumbered},
		{mover.Folder{Name: "A.B", Into: "A/B", Mark: "2", Renumbered: true}, "A/B", nil},
		{mover.Folder{Name: "A.B", Into: "A/B", Mark: "2"}, "A/B", nil},
		{mover.Folder{Name: "x", Into: "a//b"}, "", mail.ErrLimit},
	} {
		c.f.Source = "s"
		id, err := a.Open(t.Context(), ada, c.f)
		if !errors.Is(err, c.err) || c.err == nil && err != nil {
			t.Errorf("%+v: %v", c.f, err)
		}
		if m, err := h.Mailboxes.Lookup(t.Context(), ada, c.want); c.want != "" && (err != nil || m.ID != id) {
			t.Errorf("%+v goes to %d, not %q (%v)", c.f, id, c.want, err)
		}
	}
}

// TestShare: rights of people who are here and notes come once, the others are told;
// again, they take the place of what is here.
func TestShare(t *testing.T) {
	h := house.New(t, "mx.example.org")
	ada, bob := h.Account(0, "ada@example.org")[0], h.Account(0, "bob@example.org")[0]
	a := &mover.Agent{Mailboxes: h.Mailboxes, Directory: h.Directory}
	ctx := t.Context()
	box, err := a.Open(ctx, ada, mover.Folder{Source: "s", Name: "Work", Into: "Work", Bare: true})
	if err != nil {
		t.Fatal(err)
	}
	in := mover.Sharing{
		Rights: []mover.Right{{"bob@example.org", "lrs"}, {"eve@example.org", "lr"}, {"ada@example.org", "l"}, {"-anyone", "r"}, {"x y", "l"}, {"bob@example.org", "?"}},
		Notes:  []mover.Note{{"/shared/comment", []byte("ours")}, {"/private/comment", []byte("mine")}, {"/other/x", []byte("x")}, {"/shared/long", make([]byte, 1<<20)}, {"/shared/vendor/posthaste/seen", []byte("common")}, {"/shared/vendor/Posthaste/SEEN", []byte("x")}},
	}
	left, err := a.Share(ctx, ada, "s", "Work", in, false)
	if err != nil {
		t.Fatal(err)
	}
	var what []string
	for _, l := range left {
		what = append(what, l.What)
	}
	if got := strings.Join(what, ", "); got != "/other/x, /shared/long, /shared/vendor/Posthaste/SEEN, rights of eve@example.org, rights of x y, rights of bob@example.org" {
		t.Error(got)
	}
	want := func(s string) {
		t.Helper()
		out, err := a.Sharing(ctx, ada, box)
		if got := fmt.Sprintf("%s", out); got != s || err != nil {
			t.Errorf("%s, want %s: %v", got, s, err)
		}
	}
	want("{[{bob@example.org lrs} {-anyone r}] [{/private/comment mine} {/shared/comment ours} {/shared/vendor/posthaste/seen common}]}")
	if err := h.Mailboxes.Grant(ctx, ada, box, mailbox.Grant{To: mailbox.GranteeOf(bob)}, mailbox.ReplaceRights); err != nil {
		t.Fatal(err)
	}
	if left, err := a.Share(ctx, ada, "s", "Work", in, false); len(left) != 0 || err != nil {
		t.Error(left, err)
	}
	want("{[{-anyone r}] [{/private/comment mine} {/shared/comment ours} {/shared/vendor/posthaste/seen common}]}")
	if _, err := a.Share(ctx, ada, "s", "Work", mover.Sharing{Rights: []mover.Right{{"bob@example.org", "lr"}, {"eve@example.org", "l"}}}, true); err != nil {
		t.Error(err)
	}
	want("{[{-anyone r} {bob@example.org lr}] [{/private/comment mine} {/shared/comment ours} {/shared/vendor/posthaste/seen common}]}")
	if _, err := a.Share(ctx, ada, "s", "Work", mover.Sharing{Rights: []mover.Right{{"bob@example.org", "l"}}}, true); err != nil {
		t.Error(err)
	}
	if _, err := a.Share(ctx, ada, "s", "Work", mover.Sharing{}, true); err != nil {
		t.Error("nothing is known of rights:", err)
	}
	want("{[{bob@example.org l}] [{/private/comment mine} {/shared/comment ours} {/shared/vendor/posthaste/seen common}]}")
	h.Check()
}

// TestShareWhole: what its owner has noted about an account comes once, and goes out;
// again, it takes the place of what is here.
func TestShareWhole(t *testing.T) {
	h := house.New(t, "mx.example.org")
	ada := h.Account(0, "ada@example.org")[0]
	a := &mover.Agent{Mailboxes: h.Mailboxes, Directory: h.Directory}
	ctx := t.Context()
	share := func(again bool, value, leftOut string) {
		t.Helper()
		in := mover.Sharing{Notes: []mover.Note{{"/private/comment", []byte(value)}, {"/PRIVATE/Vendor/x", nil}, {"/shared/admin", []byte("mailto:x")}, {"/other/x", []byte("x")}}}
		left, err := a.Share(ctx, ada, "s", mover.Whole, in, again)
		var what []string
		for _, l := range left {
			what = append(what, l.What)
		}
		if got := strings.Join(what, " "); got != leftOut || err != nil {
			t.Errorf("left out %q, want %q: %v", got, leftOut, err)
		}
	}
	want := func(s string) {
		t.Helper()
		out, err := a.Sharing(ctx, ada, mailbox.NoMailbox)
		if got := fmt.Sprintf("%s", out); got != s || err != nil {
			t.Errorf("%s, want %s: %v", got, s, err)
		}
	}
	want("{[] []}")
	share(false, "me", "/shared/admin /other/x")
	want("{[] [{/private/comment me} {/private/vendor/x }]}")
	own := mailbox.Annotation{Reader: ada, Name: "/comment", Value: []byte("changed here")}
	if _, err := h.Mailboxes.SetMetadata(ctx, mailbox.Box{Account: ada}, []mailbox.Annotation{own}); err != nil {
		t.Fatal(err)
	}
	share(false, "me", "")
	want("{[] [{/private/comment changed here} {/private/vendor/x }]}")
	share(true, "there", "/shared/admin /other/x")
	want("{[] [{/private/comment there} {/private/vendor/x }]}")
	if m, err := h.Mailboxes.Mailbox(ctx, ada, mailbox.Inbox); err != nil || len(m.ACL) > 0 {
		t.Error(m.ACL, err)
	}
}
