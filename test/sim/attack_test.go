package sim

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/test/house"
)

// A talk is a session in which lines are said as they are.
type talk struct {
	w *world
	r *bufio.Reader
	c interface {
		Write([]byte) (int, error)
		Close() error
	}
}

// talk connects to a port of the first house.
func (w *world) talk(port uint16) *talk {
	w.t.Helper()
	c, err := w.net.From(netip.MustParseAddr("198.51.100.5"))(context.Background(), "tcp", netip.AddrPortFrom(w.sites[0].ip, port).String())
	if err != nil {
		w.t.Fatal(err)
	}
	k := &talk{w: w, r: bufio.NewReader(c), c: c}
	k.answer()
	k.say("EHLO mail.kind.example")
	return k
}

// as logs in.
func (k *talk) as(who mail.Address) *talk {
	k.w.t.Helper()
	if got := k.say("AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+who.String()+"\x00"+password))); !strings.HasPrefix(got, "235") {
		k.w.t.Fatal(got)
	}
	return k
}

// say says a line, and gives the last line of the answer.
func (k *talk) say(line string) string {
	fmt.Fprint(k.c, line+"\r\n")
	return k.answer()
}

func (k *talk) answer() string {
	for {
		line, err := k.r.ReadString('\n')
		if err != nil || len(line) < 4 || line[3] == ' ' {
			return strings.TrimRight(line, "\r\n")
		}
	}
}

// attacked plays in a world without troubles, and ends it.
func attacked(t *testing.T, fn func(t *testing.T, w *world)) {
	credentials := cheap()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, credentials)
		w.quiet = true
		time.Sleep(time.Second)
		fn(t, w)
		for _, s := range w.sites {
			s.stop()
		}
		w.net.Wait()
	})
}

// TestDataOrChunks: the same message by DATA and by BDAT, whatever the chunks, is
// stored as the same bytes and goes on as the same bytes; what in it looks like
// commands is none.
func TestDataOrChunks(t *testing.T) {
	attacked(t, func(t *testing.T, w *world) {
		ada, bob, x := house.Address("ada@a.example"), house.Address("bob@a.example"), house.Address("x@kind.example")
		const text = "From: ada@a.example\r\nDate: Sat, 1 Jan 2000 00:00:00 +0000\r\nMessage-ID: <1@a.example>\r\nSubject: dots\r\n\r\n.\r\n..\r\n.x\r\n\r\n.\r\n" +
			"MAIL FROM:<evil@a.example>\r\nRCPT TO:<eve@a.example>\r\nDATA\r\n.\r\nQUIT\r\nan end without a dot\r\n.\r\n"
		k := w.talk(587).as(ada)
		begin := func() {
			for _, l := range []string{"MAIL FROM:<ada@a.example>", "RCPT TO:<bob@a.example>", "RCPT TO:<x@kind.example>"} {
				if got := k.say(l); !strings.HasPrefix(got, "250") {
					t.Fatal(l, got)
				}
			}
		}
		end := func(got string) {
			if !strings.HasPrefix(got, "250 2.0.0 OK, id ") {
				t.Error(got)
			}
		}
		begin()
		k.say("DATA")
		end(k.say(strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:] + "."))
		for _, size := range []int{1, 7, 90, len(text)} {
			begin()
			for rest := text; rest != ""; {
				n := min(size, len(rest))
				last := ""
				if n == len(rest) {
					last = " LAST"
				}
				fmt.Fprintf(k.c, "BDAT %d%s\r\n%s", n, last, rest[:n])
				got := k.answer()
				if rest = rest[n:]; last != "" {
					end(got)
				}
			}
		}
		k.say("QUIT")
		k.c.Close()
		time.Sleep(time.Hour)
		far := w.fars[4]
		far.mu.Lock()
		relayed := slices.Clone(far.got[x])
		far.mu.Unlock()
		w.sites[0].stop()
		_, boxes := w.sites[0].check()
		for what, list := range map[string][]string{"stored": boxes[bob], "relayed": relayed} {
			if len(list) != 5 {
				t.Errorf("%s: %d messages", what, len(list))
			}
			for i, m := range list {
				if at := strings.Index(m, "From: ada"); at < 0 || m[at:] != text {
					t.Errorf("%s: message %d is\n%q", what, i, m)
				}
			}
		}
		if n := len(boxes[house.Address("eve@a.example")]); n != 0 {
			t.Errorf("eve has %d messages", n)
		}
	})
}

// TestCircle: a message that has passed 150 servers is refused in the session that
// brings it, from strangers and from people here, and from it nobody gets a report.
func TestCircle(t *testing.T) {
	attacked(t, func(t *testing.T, w *world) {
		text := strings.Repeat("Received: from x by y; Sat, 1 Jan 2000 00:00:00 +0000\r\n", 150) + "From: ada@a.example\r\nSubject: round\r\n\r\nHello.\r\n."
		for port, k := range map[uint16]*talk{25: w.talk(25), 587: w.talk(587).as(house.Address("ada@a.example"))} {
			from := "x@kind.example"
			if port == 587 {
				from = "ada@a.example"
			}
			k.say("MAIL FROM:<" + from + ">")
			k.say("RCPT TO:<bob@a.example>")
			k.say("DATA")
			if got := k.say(text); !strings.HasPrefix(got, "554 5.4.6 the message runs in a circle") {
				t.Errorf("%d: %s", port, got)
			}
			if got := k.say("NOOP"); !strings.HasPrefix(got, "250") {
				t.Errorf("%d: then %s", port, got)
			}
			k.c.Close()
		}
		time.Sleep(time.Hour)
		w.sites[0].stop()
		waiting, boxes := w.sites[0].check()
		if len(waiting) > 0 || len(boxes[house.Address("bob@a.example")]) > 0 || len(boxes[house.Address("ada@a.example")]) > 0 {
			t.Error(waiting, boxes)
		}
	})
}

// TestRelayForms: to whom people who have logged in write, in whatever form, is the
// same for the session, for the queue and for the host that gets it: what stands
// behind the last @ that is not quoted says where it goes, and what arrives there is
// the address as we understood it.
func TestRelayForms(t *testing.T) {
	attacked(t, func(t *testing.T, w *world) {
		// To where a form goes, by what we understand; "" is that it is refused.
		forms := map[string]string{
			`v1@kind.example`: "kind.example", `v2@KIND.example`: "kind.example", `v3@kind.example.`: "kind.example", `"v4"@kind.example`: "kind.example",
			`v5%void.example@kind.example`: "kind.example", `"v6@void.example"@kind.example`: "kind.example", `"v7\"@void.example"@kind.example`: "kind.example",
			`v8@void.example@kind.example`: "", `void.example!v9@kind.example`: "kind.example", `@void.example:v10@kind.example`: "kind.example", `@void.example,@dead.example:v11@kind.example`: "kind.example",
			`v12%kind.example@a.example`: "", `"v13@kind.example"@a.example`: "", `kind.example!v14@a.example`: "", `"v15@kind.example"`: "", `v16@[198.51.100.5]`: "[198.51.100.5]",
			`"v17>,<x"@kind.example`: "kind.example", `"|v18"@kind.example`: "kind.example", `v19@kind.example> <v@void.example`: "", `"v20 x"@kind.example`: "kind.example", `-oQ/v21@kind.example`: "kind.example",
		}
		k := w.talk(587).as(house.Address("ada@a.example"))
		var taken []string
		for form, where := range forms {
			k.say("MAIL FROM:<ada@a.example>")
			got := k.say("RCPT TO:<" + form + ">")
			if (where == "") == strings.HasPrefix(got, "250") {
				t.Errorf("%s: %s", form, got)
			}
			if strings.HasPrefix(got, "250") {
				if where == "kind.example" {
					taken = append(taken, form)
				}
				k.say("DATA")
				if got := k.say("Subject: " + form + "\r\n\r\nHello.\r\n."); !strings.HasPrefix(got, "250") {
					t.Errorf("%s: %s", form, got)
				}
			}
			k.say("RSET")
		}
		k.c.Close()
		time.Sleep(time.Hour)
		far := w.fars[4]
		far.mu.Lock()
		defer far.mu.Unlock()
		arrived := 0
		for a, list := range far.got {
			for _, m := range list {
				_, form, _ := strings.Cut(m, "Subject: ")
				form, _, _ = strings.Cut(form, "\r\n")
				if i := strings.LastIndex(form, ":"); strings.HasPrefix(form, "@") {
					form = form[i+1:] // a source route is passed over. RFC 5321 appendix C
				}
				if a.Domain == "kind.example" {
					arrived++
				}
				if want, err := mail.ParseAddress(form); err != nil || a != want {
					t.Errorf("%s arrived as %s (%v)", form, a.Path(), err)
				}
			}
		}
		if arrived != len(taken) {
			t.Errorf("%d of %d arrived", arrived, len(taken))
		}
		for host, n := range w.dials {
			if strings.Contains(host, deadIP.String()) {
				t.Errorf("a source route was followed: %s %d times", host, n)
			}
		}
	})
}
