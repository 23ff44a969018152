//go:build bench

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// change copies, moves and expunges 2,000 messages at once, in mailboxes that are
// made for it.
func change(s *server, n *notes) error {
	w, err := dialIMAP(s.imap, reader)
	if err != nil {
		return err
	}
	defer w.Close()
	buf := make([]byte, 1<<20)
	timed := func(name, command string) error {
		began := time.Now()
		if _, _, err := w.bulk(command, "zzzz", buf); err != nil {
			return err
		}
		n.add(name+" ms", time.Since(began).Seconds()*1e3)
		return nil
	}
	do := func(commands ...string) error {
		for _, c := range commands {
			if _, _, err := w.bulk(c, "zzzz", buf); err != nil {
				return fmt.Errorf("%s: %w", c, err)
			}
		}
		return nil
	}
	return errors.Join(
		do("CREATE Copied", "CREATE Moved", "SELECT INBOX"),
		timed("COPY", "COPY 1:2000 Copied"),
		holds(w, "Copied"),
		do("SELECT Copied"),
		timed("MOVE", "MOVE 1:2000 Moved"),
		holds(w, "Moved"),
		do("SELECT Moved", "STORE 1:2000 +FLAGS.SILENT (\\Deleted)"),
		timed("EXPUNGE", "EXPUNGE"),
		do("SELECT INBOX", "DELETE Copied", "DELETE Moved"),
	)
}

// holds checks that a mailbox has the 2,000.
func holds(w *wire, name string) error {
	l, err := w.do("STATUS " + name + " (MESSAGES)")
	if err == nil && !strings.Contains(l, "MESSAGES 2000)") {
		err = fmt.Errorf("%s has not what it should: %s", name, l)
	}
	return err
}

// wakes is how many messages are waited for.
const wakes = 60

// wake is the time from handing in a message to EXISTS at a client that waits in
// IDLE.
func wake(s *server, n *notes) error {
	w, err := dialIMAP(s.imap, user(0))
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := w.do("SELECT INBOX"); err != nil {
		return err
	}
	if _, err := io.WriteString(w, "i IDLE\r\n"); err != nil {
		return err
	}
	if l, err := w.line(); err != nil || l[0] != '+' {
		return fmt.Errorf("IDLE: it said %q, %w", l, err)
	}
	out, err := dialSMTP(s.smtp)
	if err != nil {
		return err
	}
	defer out.Close()
	all := letters(4 << 10)
	var took []time.Duration
	var buf []byte
	for i := range wakes {
		buf = all[i%len(all)].stamped(buf)
		began := time.Now()
		if err := out.send("someone@"+abroad, user(0), buf); err != nil {
			return err
		}
		for {
			w.SetReadDeadline(time.Now().Add(time.Minute))
			l, err := w.line()
			if err != nil {
				return err
			}
			if bytes.Contains(l, []byte("EXISTS")) {
				break
			}
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	n.add("p50 ms", took[wakes/2].Seconds()*1e3)
	n.add("p95 ms", took[wakes*95/100].Seconds()*1e3)
	return nil
}
