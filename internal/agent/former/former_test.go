package former_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/auth"
	"posthaste/internal/agent/former"
	"posthaste/internal/agent/mover"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
	"posthaste/test/house"
)

// An old is a former server, with an INBOX of one message. ada's password is "old",
// that of the master is "master".
type old struct {
	logins atomic.Int32
	cut    atomic.Bool // its line breaks when somebody reads mail
	silent atomic.Bool // it answers nobody who does
	acl    string      // of INBOX, if it has such
}

func (o *old) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go o.serve(theirs)
	return ours, nil
}

func (o *old) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	say := func(format string, args ...any) { fmt.Fprintf(c, format+"\r\n", args...) }
	say("* OK ready")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		w := strings.SplitN(strings.TrimSpace(line), " ", 3)
		tag, args := w[0], strings.Join(w[2:], "")
		switch strings.ToUpper(w[1]) {
		case "CAPABILITY":
			more := ""
			if o.acl != "" {
				more = " ACL RIGHTS=texk"
			}
			say("* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN STARTTLS OLD%s", more)
		case "GETACL":
			say("* ACL INBOX %s", o.acl)
		case "AUTHENTICATE":
			o.logins.Add(1)
			b, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(args, "PLAIN "))
			switch who := string(b); {
			case who == "\x00ada\x00old", who == "ada\x00master\x00master":
			case strings.HasSuffix(who, "busy"):
				say("%s NO [UNAVAILABLE] I am ill", tag)
				continue
			case strings.HasSuffix(who, "hang"):
				in.ReadString('\n')
				return
			default:
				say("%s NO [AUTHENTICATIONFAILED] no", tag)
				continue
			}
		case "LIST":
			say(`* LIST () "/" INBOX`)
		case "EXAMINE":
			if o.cut.Load() {
				return
			}
			if o.silent.Load() {
				in.ReadString('\n')
				return
			}
			say("* 1 EXISTS\r\n* OK [UIDVALIDITY 7] valid")
		case "UID":
			switch {
			case strings.HasPrefix(args, "SEARCH"):
				say("* SEARCH 5")
			case strings.Contains(args, "BODY"):
				say("* 1 FETCH (UID 5 BODY[] {14}\r\nSubject: x\r\n\r\n)")
			default:
				say(`* 1 FETCH (UID 5 FLAGS (\Seen) INTERNALDATE "03-Feb-2020 04:05:06 +0000" RFC822.SIZE 14)`)
			}
		}
		say("%s OK done", tag)
	}
}

// A scene is an account that is at a former server.
type scene struct {
	*house.House
	t    *testing.T
	old  *old
	a    *former.Agent
	auth *auth.Agent
	id   mail.AccountID
}

func newScene(t *testing.T, f directory.Former) *scene {
	s := &scene{House: house.New(t, "mx.example.org"), t: t, old: &old{}}
	s.id = s.Account(0, "ada@example.org")[0]
	s.a = &former.Agent{Directory: s.Directory, Mover: &mover.Agent{Mailboxes: s.Mailboxes, Directory: s.Directory}, Dial: s.old.dial, Log: s.Log}
	s.auth = &auth.Agent{Directory: s.Directory, Former: s.a.Login}
	f.IMAP, f.User = directory.FormerHost{Address: "old.example:143", Security: "none"}, "ada"
	if err := s.a.Begin(t.Context(), s.account(), f); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scene) account() directory.Account {
	s.t.Helper()
	a, err := s.Directory.Account(s.t.Context(), s.id)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *scene) login(over directory.Protocols, password string) (sasl.Identity, error) {
	return s.auth.For(netip.MustParseAddr("192.0.2.1"), over).Password(s.t.Context(), "", "ada@example.org", password)
}

// in logs in, and tells who answers.
func (s *scene) in(password, who string) sasl.Identity {
	s.t.Helper()
	id, err := s.login(directory.IMAP, password)
	switch {
	case err != nil || id.Account != s.id:
		s.t.Fatalf("the login: %+v %v", id, err)
	case (id.Elsewhere != nil) != (who == "former"):
		s.t.Errorf("not the %s answers", who)
	case id.Elsewhere != nil && id.Elsewhere.Capabilities() != "IMAP4rev1 OLD":
		s.t.Errorf("it can do %q", id.Elsewhere.Capabilities())
	}
	return id
}

func isNo(err error) bool {
	r, ok := errors.AsType[*mail.Refusal](err)
	return ok && r.Status == sasl.ErrFailed.Status
}

// TestLogin: whom the former server lets in is in, its password becomes ours, and
// what it says to others is told apart.
func TestLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, directory.Former{Learn: true})
		if !s.a.Any() {
			t.Error("nobody is at a former server")
		}
		s.in("old", "former").Close()
		n := s.a.Sessions(s.id)
		if id, err := s.login(directory.Submission, "old"); err != nil || id.Elsewhere != nil {
			t.Error("submission:", id, err)
		}
		if _, err := s.login(directory.Web, "old"); !errors.Is(err, auth.ErrElsewhere) || s.a.Sessions(s.id) != n {
			t.Error("the web:", err)
		}
		if _, err := s.login(directory.Web, "no"); !isNo(err) {
			t.Error("the web, with a wrong password:", err)
		}
		if _, err := s.login(directory.Sieve, "no"); !isNo(err) {
			t.Error("ManageSieve, with a wrong password:", err)
		}
		_, err := s.login(directory.Sieve, "old")
		if r, ok := errors.AsType[*mail.Refusal](err); !ok || !strings.Contains(r.Text, "its rules") || s.a.Sessions(s.id) != n {
			t.Error("ManageSieve:", err)
		}
		if _, err := s.login(directory.IMAP, "wrong"); !isNo(err) {
			t.Error("a wrong password:", err)
		}
		logins := s.old.logins.Load()
		if _, err := s.login(directory.IMAP, "wrong"); !isNo(err) || s.old.logins.Load() != logins {
			t.Error("the same wrong password was shown to the former server again:", err)
		}
		for _, c := range []struct {
			over     directory.Protocols
			password string
			word     string
			longest  time.Duration
		}{{directory.IMAP, "busy", "busy", 0}, {directory.IMAP, "hang", "does not answer", former.LoginTime}, {directory.POP3, "old", "over IMAP", 0}} {
			begun := time.Now()
			_, err := s.login(c.over, c.password)
			r, ok := errors.AsType[*mail.Refusal](err)
			if !ok || !r.Status.Temporary() || !strings.Contains(r.Text, c.word) || time.Since(begun) > c.longest {
				t.Errorf("%s after %v: %v", c.password, time.Since(begun), err)
			}
		}
		if n != 0 || s.a.Sessions(s.id) != 0 {
			t.Error("sessions are left:", n, s.a.Sessions(s.id))
		}
		// Learned.
		if err := s.a.End(t.Context(), s.account()); err != nil {
			t.Fatal(err)
		}
		s.in("old", "house")
	})
}

// TestNotLearned: what is not to be learned is not, and a master user opens the
// former server for who is known here by other means.
func TestNotLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, directory.Former{Master: "master", Password: "master"})
		s.in("old", "former").Close()
		if err := s.auth.SetPassword(t.Context(), s.id, "ours, not theirs"); err != nil {
			t.Fatal(err)
		}
		v := s.auth.For(netip.MustParseAddr("192.0.2.1"), directory.IMAP)
		keys, err := v.ScramKeys(t.Context(), "ada@example.org")
		if err != nil {
			t.Fatal(err)
		}
		id, err := v.ScramProved(t.Context(), "", "ada@example.org", keys)
		if err != nil || id.Elsewhere == nil {
			t.Error("by the master user:", id, err)
		}
		id.Close()
		if err := s.a.End(t.Context(), s.account()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.login(directory.IMAP, "old"); err == nil {
			t.Error("the password was learned")
		}
	})
}

// TestFlip: a flip that fails changes nothing, one that does not ends the sessions,
// and lets nobody in while the last mail is brought.
func TestFlip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, directory.Former{Learn: true})
		if _, err := s.a.Flip(t.Context(), s.account(), former.Flip{}); !errors.Is(err, former.ErrPassword) {
			t.Error("without a password:", err)
		}
		s.old.cut.Store(true)
		if _, err := s.a.Flip(t.Context(), s.account(), former.Flip{Password: "old"}); err == nil {
			t.Error("flipped over a broken line")
		}
		if a := s.account(); a.Ours() || a.Former.State != directory.FormerAnswers || a.Former.Failed == "" {
			t.Errorf("after a failure: %+v", a.Former)
		}
		s.old.cut.Store(false)
		id := s.in("old", "former")
		ended := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, id.Elsewhere)
			ended <- err
		}()
		p, err := s.a.Flip(t.Context(), s.account(), former.Flip{Password: "old"})
		if err != nil || p.Report.Known != 1 || p.Report.Changed != 0 || !p.Last {
			t.Errorf("%+v %v", p, err)
		}
		<-ended
		s.in("old", "house")
		if got := s.Inbox("ada@example.org"); len(got) != 1 {
			t.Errorf("%q", got)
		}
		if _, err := s.a.Flip(t.Context(), s.account(), former.Flip{Password: "old"}); !errors.Is(err, former.ErrFlipped) {
			t.Error("twice:", err)
		}
		if err := s.a.Back(t.Context(), s.account()); err != nil {
			t.Fatal(err)
		}
		s.in("old", "former").Close()
	})
}

// TestFollow: an agent that follows another, as after a reload, ends the sessions that
// the first passes on, and neither flips what the other is flipping.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, directory.Former{})
		next := &former.Agent{Directory: s.Directory, Mover: s.a.Mover, Dial: s.old.dial, Log: s.Log, Passed: new(former.Passed)}
		first := &former.Agent{Directory: s.Directory, Mover: s.a.Mover, Dial: s.old.dial, Log: s.Log, Passed: next.Passed}
		s.auth = &auth.Agent{Directory: s.Directory, Former: first.Login}
		id := s.in("old", "former")
		ended := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, id.Elsewhere)
			ended <- err
		}()
		if n := next.Sessions(s.id); n != 1 {
			t.Error("sessions:", n)
		}
		s.old.silent.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := first.Flip(ctx, s.account(), former.Flip{Password: "old"})
			failed <- err
		}()
		synctest.Wait()
		if _, err := next.Flip(t.Context(), s.account(), former.Flip{Password: "old"}); !errors.Is(err, former.ErrBusy) {
			t.Error("twice at a time:", err)
		}
		cancel()
		if err := <-failed; err == nil {
			t.Error("an interrupted flip has succeeded")
		}
		s.old.silent.Store(false)
		if _, err := next.Flip(t.Context(), s.account(), former.Flip{Password: "old"}); err != nil {
			t.Error(err)
		}
		<-ended
		if n := first.Sessions(s.id); n != 0 {
			t.Error("sessions are left:", n)
		}
	})
}

// TestFlipRights: whom the former server gives rights is known here by the name that
// they have there, if they move, too; what was given by that does not go.
func TestFlipRights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, directory.Former{})
		bob := s.Account(0, "robert@example.org")[0]
		who, err := s.Directory.Account(t.Context(), bob)
		if err == nil {
			err = s.a.Begin(t.Context(), who, directory.Former{IMAP: directory.FormerHost{Address: "old.example:143", Security: "none"}, User: "bert"})
		}
		if err != nil {
			t.Fatal(err)
		}
		s.old.acl = "ada lrswipkxtea bert lrs"
		if _, err := s.a.Flip(t.Context(), s.account(), former.Flip{Password: "old"}); err != nil {
			t.Fatal(err)
		}
		m, err := s.Mailboxes.Mailbox(t.Context(), s.id, mailbox.Inbox)
		if err != nil || len(m.ACL) != 1 || m.ACL[0].To != mailbox.GranteeOf(bob) || m.ACL[0].Rights.String() != "lrs" {
			t.Error(m.ACL, err)
		}
	})
}

// TestFlipping: nobody is let in while an account is being flipped, and what a dead
// process has left so is put back.
func TestFlipping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, directory.Former{})
		f := *s.account().Former
		f.State = directory.Flipping
		if err := s.a.Set(t.Context(), s.id, &f); err != nil {
			t.Fatal(err)
		}
		_, err := s.login(directory.IMAP, "old")
		if r, ok := errors.AsType[*mail.Refusal](err); !ok || !r.Status.Temporary() {
			t.Error(err)
		}
		if err := s.a.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.in("old", "former").Close()
		if got := s.account().Former.Failed; got == "" {
			t.Error("nothing is said of it")
		}
	})
}
