package collector_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/filter"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/outpost"
	"posthaste/test/house"
)

func posts(from, to int) (out []post) {
	for n := from; n <= to; n++ {
		out = append(out, post{uid: mail.UID(n), text: text(n)})
	}
	return out
}

// atIMAP makes a world whose server elsewhere is an IMAP server, and its outpost.
func atIMAP(t testing.TB, far *imapServer, change func(*outpost.Outpost)) (*world, outpost.Outpost) {
	far.validity = 7
	w := newWorld(t, &popServer{})
	w.a.Dial = far.Dial
	return w, w.add(func(o *outpost.Outpost) {
		o.Protocol, o.Host, o.Port = outpost.IMAP, "imap.far.example", "143"
		if change != nil {
			change(o)
		}
	})
}

func deletes(o *outpost.Outpost) { o.After = outpost.Delete }

// TestIMAPIdle: with IDLE what is new comes at once, over the same connection, and goes
// there if it is to.
func TestIMAPIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &imapServer{caps: "IDLE UIDPLUS", posts: posts(1, 2)}
		w, o := atIMAP(t, far, deletes)
		go func() {
			time.Sleep(time.Minute)
			far.change(func() { far.posts = append(far.posts, posts(3, 3)...) })
			time.Sleep(time.Second)
			w.has("INBOX", "1", "2", "3")
			if s := w.state(o); !s.Idle {
				t.Errorf("%+v", s)
			}
		}()
		w.runs(4 * time.Minute)
		w.has("INBOX", "1", "2", "3")
		if n := len(far.left()); n != 0 || far.sessions != 1 {
			t.Errorf("%d are there, %d sessions", n, far.sessions)
		}
		w.sound()
	})
}

// TestIMAPRemoval: without UIDPLUS nothing that others have marked goes, and what is
// marked is not collected.
func TestIMAPRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &imapServer{posts: posts(1, 3)}
		far.posts[1].flags = `\Seen \Deleted`
		w, o := atIMAP(t, far, deletes)
		w.runs(time.Second)
		w.has("INBOX", "1", "3")
		if s := w.state(o); len(far.left()) != 3 || !strings.Contains(s.Error, "other messages there are marked") {
			t.Errorf("%v are there, %+v", far.left(), s)
		}
		far.change(func() { far.posts[1].flags = "" })
		w.runs(time.Hour)
		w.has("INBOX", "1", "3", "2")
		if s := w.state(o); len(far.left()) != 0 || s.Error != "" || s.Removed != 3 {
			t.Errorf("%v are there, %+v", far.left(), s)
		}
	})
}

// TestIMAPValidity: another UIDVALIDITY has all read once more, and nothing comes twice;
// UIDs that name other messages now are not mistaken.
func TestIMAPValidity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &imapServer{posts: posts(1, 3)}
		w, _ := atIMAP(t, far, nil)
		w.runs(time.Second)
		far.change(func() {
			far.validity = 8
			far.posts = append([]post{{uid: 1, text: text(9)}}, posts(2, 4)...)
		})
		w.runs(30 * time.Minute)
		w.has("INBOX", "1", "2", "3", "9", "4")
		if n := far.said("UID FETCH"); n != 4 {
			t.Errorf("%d FETCH: %q", n, far.log)
		}
		w.sound()
	})
}

// TestIMAPLies: a server may say what it likes, and hang up where it likes: each message
// comes once, none goes there that is not here, and once it is good again all is.
func TestIMAPLies(t *testing.T) {
	const body = "UID FETCH 1:3 (UID BODY.PEEK[])"
	for name, c := range map[string]struct {
		twist func(command, answer string) string
		words string // of what is wrong; "": nothing
		have  int    // messages that come meanwhile
	}{
		"EXISTS is a lie":  {func(_, a string) string { return strings.Replace(a, "* 3 EXISTS", "* 4000000000 EXISTS", 1) }, "", 3},
		"EXISTS, and none": {func(_, a string) string { return strings.Replace(a, "* SEARCH 1 2 3", "* SEARCH", 1) }, "", 0},
		"finds what is not": {func(_, a string) string {
			return strings.Replace(a, "* SEARCH 1 2 3", "* SEARCH 3 1 1 2 900 4294967295 0 99999999999", 1)
		}, "", 3},
		"tells of each twice": {func(c, a string) string { return twice(c, a, "(UID FLAGS") }, "", 3},
		"sends each twice":    {func(c, a string) string { return twice(c, a, "BODY.PEEK") }, "", 3},
		"news of flags first": {func(c, a string) string { return before(c, "UID FETCH", "* 1 FETCH (FLAGS (\\Seen) UID 1)\r\n", a) }, "", 3},
		"news while it sends": {func(c, a string) string {
			return before(c, "UID", "* 9 EXPUNGE\r\n* 1 EXISTS\r\n* 0 RECENT\r\n* OK [ALERT] hm\r\n", a)
		}, "", 3},
		"BYE at once":           {func(c, a string) string { return "* BYE too busy\r\n" + hangUp }, "too busy", 0},
		"BYE at SEARCH":         {func(c, a string) string { return instead(c, "UID SEARCH", "* BYE go away\r\n"+hangUp, a) }, "go away", 0},
		"BYE after one":         {func(c, a string) string { return cutAt(c, body, a, "* 2 FETCH", "* BYE no more\r\n") }, "", 3},
		"in the middle of one":  {func(c, a string) string { return cutAt(c, body, a, "Subject: 2", "") }, "", 3},
		"in a literal's length": {func(c, a string) string { return cutAt(c, body, a, "}\r\n", "") }, "", 2},
		"a size below nothing":  {func(_, a string) string { return strings.ReplaceAll(a, "RFC822.SIZE ", "RFC822.SIZE -") }, "", 3},
		"sizes that are absurd": {func(_, a string) string { return strings.ReplaceAll(a, "RFC822.SIZE ", "RFC822.SIZE 99999999999") }, "", 0},
		"sizes beyond numbers": {func(_, a string) string {
			return strings.ReplaceAll(a, "RFC822.SIZE ", "RFC822.SIZE 99999999999999999999")
		}, "does not do as it should", 0},
		"a literal beyond all": {func(c, a string) string {
			return instead(c, body, "* 1 FETCH (UID 1 BODY[] {999999999999}\r\n"+strings.Repeat("x", 9000)+hangUp, a)
		}, "", 2},
		"a length that is none": {func(c, a string) string {
			return instead(c, body, "* 1 FETCH (UID 1 BODY[] {9999999999999999999999}\r\n", a)
		}, "", 2},
		"bodies of none": {func(c, a string) string { return instead(c, body, "* 1 FETCH (UID 1 BODY[] NIL)\r\n"+last(a), a) }, "", 3},
		"bodies of strangers": {func(c, a string) string {
			return before(c, body, "* 7 FETCH (UID 7 BODY[] {3}\r\nhi!)\r\n* 8 FETCH (BODY[] {3}\r\nhi!)\r\n", a)
		}, "", 3},
		"UID behind the body": {func(c, a string) string { return behind(c, body, a) }, "", 3},
		"NO to one of them":   {func(c, a string) string { return refuses(c, a) }, "", 2},
		"no folder":           {func(c, a string) string { return instead(c, "EXAMINE", strings.Replace(last(a), "OK", "NO", 1), a) }, "does not do as it should", 0},
		"rubbish":             {func(c, a string) string { return instead(c, "UID SEARCH", "* (((\x00\x00\r\n", a) }, "does not answer in time", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				far := &imapServer{posts: posts(1, 3), twist: c.twist, caps: "UIDPLUS"}
				w, o := atIMAP(t, far, nil)
				w.a.MaxSize = 4000
				w.runs(90 * time.Minute)
				if n := len(w.Inbox("ada@a.example")); n != c.have {
					t.Errorf("%d came, want %d", n, c.have)
				}
				if s := w.state(o); (c.words == "") != (s.Error == "") || !strings.Contains(s.Error, c.words) || s.Stopped {
					t.Errorf("%+v", s)
				}
				if len(far.left()) != 3 {
					t.Errorf("%v are there", far.left())
				}
				far.change(func() { far.twist = nil })
				w.a.MaxSize = 0
				w.runs(24 * time.Hour)
				var got []string
				for _, s := range w.Inbox("ada@a.example") {
					_, s, _ = strings.Cut(s, "Subject: ")
					got = append(got, s[:1])
				}
				slices.Sort(got)
				if s := w.state(o); len(got)+int(s.Refused) != 3 || len(slices.Compact(got)) != len(got) || s.Error != "" {
					t.Errorf("%q at last, %+v", got, s)
				}
				w.sound()
			})
		})
	}
}

func before(command, of, text, answer string) string {
	if strings.HasPrefix(command, of) {
		return text + answer
	}
	return answer
}

func instead(command, of, text, answer string) string {
	if strings.HasPrefix(command, of) {
		return text
	}
	return answer
}

// last gives the line that ends a command.
func last(answer string) string {
	return answer[strings.LastIndexByte(strings.TrimSuffix(answer, "\r\n"), '\n')+1:]
}

func twice(command, answer, of string) string {
	if !strings.Contains(command, of) {
		return answer
	}
	return strings.TrimSuffix(answer, last(answer)) + answer
}

// cutAt hangs up at a text, with some last words.
func cutAt(command, of, answer, at, words string) string {
	if i := strings.Index(answer, at); command == of && i >= 0 {
		return answer[:i] + words + hangUp
	}
	return answer
}

func behind(command, of, answer string) string {
	if command != of {
		return answer
	}
	for n := 1; n <= 3; n++ {
		answer = strings.Replace(answer, fmt.Sprintf("(UID %d BODY[]", n), "(BODY[]", 1)
		answer = strings.Replace(answer, text(n)+")", fmt.Sprintf("%s UID %d)", text(n), n), 1)
	}
	return answer
}

// refuses to send the second message.
func refuses(command, answer string) string {
	at := strings.Index(answer, "* 2 FETCH")
	if !strings.HasPrefix(command, "UID FETCH") || !strings.Contains(command, "BODY.PEEK") || at < 0 {
		return answer
	}
	return answer[:at] + strings.Replace(last(answer), "OK", "NO", 1)
}

// An issuer gives access tokens: t1, t2 and so on, with something behind them.
type issuer struct {
	behind string

	mu    sync.Mutex
	n     int
	asked []string
}

// RoundTrip is as of http.RoundTripper.
func (s *issuer) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, string(body))
	s.n++
	code, text := 200, fmt.Sprintf(`{"access_token":"t%d%s","token_type":"Bearer","expires_in":3600}`, s.n, s.behind)
	if !strings.Contains(string(body), "refresh_token=good") {
		code, text = 400, `{"error":"invalid_grant"}`
	}
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(text)), Header: http.Header{"Content-Type": {"application/json"}}, Request: req}, err
}

// TestIMAPToken: a token is got, used, got anew when it is refused; one that cannot be got
// is told of.
func TestIMAPToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &imapServer{caps: "AUTH=XOAUTH2 SASL-IR", token: "t1", posts: posts(1, 1)}
		from := &issuer{}
		w, o := atIMAP(t, far, func(o *outpost.Outpost) {
			o.Secret, o.OAuth2 = "good", &outpost.OAuth2{URL: "https://login.far.example/token", ClientID: "c", Scope: "imap"}
		})
		w.a.Web = &http.Client{Transport: from}
		w.runs(20 * time.Minute)
		w.has("INBOX", "1")
		if from.n != 1 || !strings.Contains(from.asked[0], "scope=imap") {
			t.Errorf("asked %q", from.asked)
		}
		// It is withdrawn before its time: the next is got, and no owner is bothered.
		far.change(func() { far.token, far.posts = "t2", posts(1, 2) })
		w.runs(30 * time.Minute)
		w.has("INBOX", "1", "2")
		if s := w.state(o); s.Stopped || s.Error != "" || from.n != 2 {
			t.Errorf("%+v, %d tokens", s, from.n)
		}
		if err := w.post.Change(t.Context(), o.ID, func(e *outpost.Entry) error { e.Secret = "bad"; e.Again(time.Now()); return nil }); err != nil {
			t.Fatal(err)
		}
		w.runs(10 * time.Minute)
		if s := w.state(o); !strings.Contains(s.Error, "allow the access anew") {
			t.Errorf("%+v", s)
		}
	})
}

// TestIMAPFilter: filters are asked about collected mail: what they would refuse is junk,
// and if they cannot be asked it waits there.
func TestIMAPFilter(t *testing.T) {
	for name, c := range map[string]struct {
		milter      house.Milter
		inbox, junk []string
		failed      bool
	}{
		"accepts": {house.Milter{}, []string{"1"}, nil, false},
		"refuses": {house.Milter{'E': house.Frame('y', "550 5.7.1 spam\x00")}, nil, []string{"1"}, false},
		"defers":  {house.Milter{'E': house.Frame('t', "")}, nil, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				far := &imapServer{caps: "UIDPLUS", posts: posts(1, 1)}
				w, o := atIMAP(t, far, deletes)
				w.MX.Filters = []filter.Filter{{Address: "test", Dial: c.milter.Dial(nil), Timeout: time.Minute}}
				w.runs(time.Minute)
				w.has("INBOX", c.inbox...)
				w.has("Junk", c.junk...)
				if s := w.state(o); (s.Error != "") != c.failed || (len(far.left()) == 0) == c.failed {
					t.Errorf("%+v, %v", s, far.left())
				}
			})
		})
	}
}

// TestSlow: a server that answers, but ever so slowly, holds no place for ever.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &imapServer{posts: posts(1, 1)}
		far.twist = func(c, a string) string {
			if strings.HasPrefix(c, "UID SEARCH") {
				return strings.Repeat("* OK wait\r\n", 10_000) + a
			}
			return a
		}
		far.pace = 100 * time.Millisecond
		w, o := atIMAP(t, far, nil)
		w.runs(3 * time.Hour)
		w.has("INBOX")
		if s := w.state(o); !strings.Contains(s.Error, "too slowly") || s.Stopped {
			t.Errorf("%+v", s)
		}
		far.change(func() { far.pace, far.twist = 0, nil })
		w.runs(5 * time.Hour)
		w.has("INBOX", "1")
	})
}

// TestSorted: what its owner thinks of a sender counts for collected mail, too.
func TestSorted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &imapServer{posts: posts(1, 1)}
		w, _ := atIMAP(t, far, nil)
		w.MX.DNS = new(zone.Zone)
		w.runs(time.Second)
		w.has("INBOX", "1")
		junk, err := w.Mailboxes.Lookup(t.Context(), w.ada, "Junk")
		if err == nil {
			_, err = w.Mailboxes.Move(t.Context(), w.ada, mailbox.Inbox, junk.ID, mail.UIDs(1))
		}
		if err != nil {
			t.Fatal(err)
		}
		far.change(func() { far.posts = posts(1, 2) })
		w.runs(10 * time.Minute)
		w.has("Junk", "1", "2")
		if _, err := w.Mailboxes.Move(t.Context(), w.ada, junk.ID, mailbox.Inbox, mail.UIDSpan(1, 2)); err != nil {
			t.Fatal(err)
		}
		far.change(func() { far.posts = posts(1, 3) })
		w.runs(10 * time.Minute)
		w.has("INBOX", "1", "2", "3")
	})
}

// TestPlaces: outposts that only listen leave their places to others at once, and one
// account does not take all places.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &imapServer{caps: "IDLE", pace: 10 * time.Millisecond}
		w, _ := atIMAP(t, far, nil)
		w.a.AtOnce = 2
		for n := range 4 {
			w.add(func(o *outpost.Outpost) { o.Name, o.Protocol = fmt.Sprint(n), outpost.IMAP })
		}
		w.runs(time.Minute)
		if far.said("IDLE") != 5 {
			t.Errorf("%d listen", far.said("IDLE"))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		far := &imapServer{posts: posts(1, 1)}
		w, _ := atIMAP(t, far, nil)
		w.a.AtOnce = 4
		for n := range 6 {
			w.add(func(o *outpost.Outpost) { o.Name, o.Protocol = fmt.Sprint(n), outpost.IMAP })
		}
		bob := w.Account(0, "bob@a.example")[0]
		w.add(func(o *outpost.Outpost) { o.Account, o.Protocol = bob, outpost.IMAP })
		far.twist = func(c, a string) string {
			if strings.HasPrefix(c, "LOGIN") {
				time.Sleep(time.Hour) // and does not answer
			}
			return a
		}
		w.runs(time.Second)
		if far.said("LOGIN") != 3 {
			t.Errorf("%d visits, want two of ada's and bob's", far.said("LOGIN"))
		}
		far.change(func() { far.twist = nil })
		w.runs(time.Hour)
		w.has("INBOX", "1", "1", "1", "1", "1", "1", "1")
	})
}

// TestTurns: a visit that takes long ends, with what it has, and the next goes on.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &imapServer{caps: "UIDPLUS", posts: posts(1, 300)}
		for i := range far.posts {
			far.posts[i].text += strings.Repeat("x", 1000)
		}
		far.pace = 10 * time.Millisecond
		w, _ := atIMAP(t, far, deletes)
		w.runs(50 * time.Minute)
		if n := len(w.Inbox("ada@a.example")); n < 200 || n == 300 || far.sessions != 2 || len(far.left()) != 100 {
			t.Errorf("%d have come, %d are left, in %d sessions", n, len(far.left()), far.sessions)
		}
		w.runs(3 * time.Hour)
		if n := len(w.Inbox("ada@a.example")); n != 300 || len(far.left()) != 0 {
			t.Errorf("%d have come, %d are left", n, len(far.left()))
		}
	})
}
