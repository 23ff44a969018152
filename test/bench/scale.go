//go:build bench

package main

import (
	"errors"
	"flag"
	"fmt"
	"time"
)

var (
	million = flag.Int("scale", 0, "also: a mailbox with so many messages (1000000), in our server only")
	queueOf = flag.Int("queue", 100_000, "messages in the queue that goes with -scale")
	folders = flag.Int("folders", 10_000, "mailboxes of the account that goes with -scale")
)

// scales are workloads with very many messages and mailboxes: they show whether
// that can be used, and are compared with nobody.
func scales() []workload {
	return []workload{
		{name: fmt.Sprintf("%d messages", *million), run: manyMessages, once: true},
		{name: fmt.Sprintf("%d mailboxes", *folders), run: manyMailboxes, once: true},
		{name: fmt.Sprintf("%d in the queue", *queueOf), run: longQueue, once: true},
	}
}

// timing runs commands one after the other and notes how long each took.
type timing struct {
	w   *wire
	n   *notes
	buf []byte
	err error
}

func (t *timing) run(name, command string) {
	if t.err != nil {
		return
	}
	began := time.Now()
	if _, _, err := t.w.bulk(command, "zzzz", t.buf); err != nil {
		t.err = fmt.Errorf("%s: %w", command, err)
		return
	}
	t.n.add(name+" ms", time.Since(began).Seconds()*1e3)
}

func openTiming(s *server, n *notes, name string) (*timing, error) {
	w, err := dialIMAP(s.imap, name)
	return &timing{w: w, n: n, buf: make([]byte, 4<<20)}, err
}

func manyMessages(s *server, n *notes) error {
	t, err := openTiming(s, n, user(users-3))
	if err != nil {
		return err
	}
	defer t.w.Close()
	const batch = 200
	all := letters(2 << 10)
	began, k := time.Now(), 0
	for k < *million {
		cmd := []byte("APPEND INBOX")
		var letter []byte
		for i := 0; i < batch && k < *million; i, k = i+1, k+1 {
			letter = all[k%len(all)].stamped(letter)
			cmd = fmt.Appendf(cmd, " {%d+}\r\n%s", len(letter), letter)
		}
		if _, err := t.w.do(string(cmd)); err != nil {
			return err
		}
	}
	n.add("filled msg/s", float64(k)/time.Since(began).Seconds())
	t.run("SELECT first", "SELECT INBOX")
	t.run("SELECT", "SELECT INBOX")
	t.run("newest 50", fmt.Sprintf("FETCH %d:* (UID FLAGS ENVELOPE BODYSTRUCTURE)", k-50))
	t.run("oldest 50", "FETCH 1:50 (UID FLAGS ENVELOPE BODYSTRUCTURE)")
	t.run("one body", fmt.Sprintf("FETCH %d BODY.PEEK[]", k/2))
	t.run("all FLAGS", "FETCH 1:* FLAGS")
	t.run("CHANGEDSINCE", "FETCH 1:* FLAGS (CHANGEDSINCE 999999999)")
	t.run("STORE one", fmt.Sprintf("STORE %d +FLAGS (\\Seen)", k/2))
	t.run("STORE all", "STORE 1:* +FLAGS.SILENT (\\Seen)")
	t.run("SEARCH UNSEEN", "SEARCH UNSEEN")
	t.run("SEARCH SUBJECT", "SEARCH SUBJECT zzzz")
	t.run("SEARCH SUBJECT again", "SEARCH SUBJECT zzzz")
	t.run("SORT DATE", "UID SORT RETURN (PARTIAL -1:-50) (DATE) UTF-8 ALL")
	t.run("THREAD", "THREAD REFERENCES UTF-8 ALL")
	t.run("MOVE of 1000", "MOVE 1:1000 Archive")
	t.run("STATUS", "STATUS INBOX (MESSAGES UNSEEN SIZE)")
	n.add("MB PSS", float64(s.group.pss())/1024)
	return t.err
}

func manyMailboxes(s *server, n *notes) error {
	t, err := openTiming(s, n, user(users-4))
	if err != nil {
		return err
	}
	defer t.w.Close()
	began := time.Now()
	for i := range *folders {
		if _, err := t.w.do(fmt.Sprintf("CREATE \"Clients/%d/%d/%d\"", i%10, i%100, i)); err != nil {
			return err
		}
	}
	n.add("created/s", float64(*folders)/time.Since(began).Seconds())
	t.run("LIST", `LIST "" *`)
	t.run("LIST %", `LIST "" "Clients/%/%"`)
	t.run("LIST with STATUS", `LIST "" * RETURN (STATUS (MESSAGES UNSEEN UIDNEXT HIGHESTMODSEQ))`)
	t.run("RENAME of a tenth", `RENAME Clients/1 Clients/one`)
	t.run("SELECT one", `SELECT "Clients/2/2/2"`)
	_, gone := t.w.do("DELETE Clients/3/3/3")
	return errors.Join(t.err, gone)
}

const (
	deadDomains = 1000
	ofAlias     = 100 // destinations of one alias
)

// longQueue fills the queue with mail to a thousand destinations that take none,
// kills the server, and sees how soon it is back, and whether mail to somebody
// who does take it goes through.
func longQueue(s *server, n *notes) error {
	for a := range deadDomains / ofAlias {
		args := []string{"alias", "add", fmt.Sprintf("dead%d@%s", a, domain)}
		for i := range ofAlias {
			args = append(args, fmt.Sprintf("x@dead%d.example", a*ofAlias+i))
		}
		if _, err := s.tool(args...); err != nil {
			return err
		}
	}
	w, err := dialSMTP(s.smtp)
	if err != nil {
		return err
	}
	defer w.Close()
	all := letters(4 << 10)
	var buf []byte
	began := time.Now()
	for i := range *queueOf / ofAlias {
		buf = all[i%len(all)].stamped(buf)
		if err := w.send("someone@"+abroad, fmt.Sprintf("dead%d@%s", i%(deadDomains/ofAlias), domain), buf); err != nil {
			return err
		}
	}
	n.add("queued/s", float64(*queueOf)/time.Since(began).Seconds())
	n.add("MB PSS", float64(s.group.pss())/1024)
	began = time.Now()
	if err := s.again(); err != nil {
		return err
	}
	n.add("restart ms", time.Since(began).Seconds()*1e3)
	if w, err = dialSMTP(s.smtp); err != nil {
		return err
	}
	defer w.Close()
	var through []time.Duration
	for range 20 {
		before := theSink.count.Load()
		began = time.Now()
		buf = all[0].stamped(buf)
		if err := w.send("someone@"+abroad, s.far, buf); err != nil {
			return err
		}
		for theSink.count.Load() == before {
			if time.Since(began) > time.Minute {
				return errors.New("mail to a living destination does not go through")
			}
			time.Sleep(time.Millisecond)
		}
		through = append(through, time.Since(began))
	}
	n.add("a living one, p50 ms", percentile(through, 0.5))
	n.add("a living one, worst ms", percentile(through, 1))
	began = time.Now()
	if _, err := s.tool("queue"); err != nil {
		return err
	}
	n.add("posthaste queue ms", time.Since(began).Seconds()*1e3)
	n.add("MB PSS after", float64(s.group.pss())/1024)
	return nil
}
