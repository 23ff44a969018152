//go:build bench

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A stretch is what is measured around some work.
type stretch struct {
	s       *server
	began   time.Time
	cpu     time.Duration
	written int64
}

func begin(s *server) (stretch, error) {
	cpu, err := s.group.cpu()
	return stretch{s, time.Now(), cpu, s.group.sum("io", "write_bytes")}, err
}

// end notes the CPU of n things, and what was written for each.
func (st stretch) end(n *notes, count int, what string) error {
	cpu, err := st.s.group.cpu()
	if err != nil {
		return err
	}
	n.add("CPU µs/"+what, float64((cpu-st.cpu).Nanoseconds())/1e3/float64(count))
	if w := st.s.group.sum("io", "write_bytes") - st.written; w > 0 && what == "msg" {
		n.add("KB written/msg", float64(w)/1024/float64(count))
	}
	return nil
}

// crowd runs fn on each of n connections until the time is up, and gives how
// long each call took.
func crowd(n int, open func(i int) (*wire, error), fn func(w *wire, i, k int) error) ([]time.Duration, error) {
	wires := make([]*wire, n)
	for i := range wires {
		var err error
		if wires[i], err = open(i); err != nil {
			return nil, err
		}
		defer wires[i].Close()
	}
	until := time.Now().Add(time.Duration(*seconds * float64(time.Second)))
	took := make([][]time.Duration, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i, w := range wires {
		wg.Go(func() {
			for k := 0; time.Now().Before(until); k++ {
				began := time.Now()
				if errs[i] = fn(w, i, k); errs[i] != nil {
					return
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	wg.Wait()
	return slices.Concat(took...), errors.Join(errs...)
}

func percentile(took []time.Duration, p float64) float64 {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(int(float64(len(took))*p), len(took)-1)].Seconds() * 1e3
}

// Readers watch the inboxes of all users but the last two.
type readers struct {
	wires []*wire
}

var watching = map[*server]*readers{}

func watch(s *server) (*readers, error) {
	if r := watching[s]; r != nil {
		return r, nil
	}
	r := &readers{}
	for i := range users - 2 {
		w, err := dialIMAP(s.imap, user(i))
		if err != nil {
			return nil, err
		}
		r.wires = append(r.wires, w)
	}
	watching[s] = r
	return r, nil
}

// count gives how many messages there are.
func (r *readers) count() (int, error) {
	sum := 0
	for _, w := range r.wires {
		l, err := w.do("STATUS INBOX (MESSAGES)")
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(l, "(MESSAGES ")
		word, _, _ := strings.Cut(rest, ")")
		n, err := strconv.Atoi(word)
		if err != nil {
			return 0, fmt.Errorf("STATUS said %q", l)
		}
		sum += n
	}
	return sum, nil
}

// until waits until there are so many messages.
func (r *readers) until(want int) error {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		n, err := r.count()
		if err != nil || n >= want {
			return err
		}
		if time.Since(began) > time.Minute {
			return fmt.Errorf("%d of %d messages have come after a minute", n, want)
		}
	}
}

func smtpIn(s *server, n *notes, conns, size int) error {
	r, err := watch(s)
	if err != nil {
		return err
	}
	before, err := r.count()
	if err != nil {
		return err
	}
	all := letters(size)
	bufs := make([][]byte, conns)
	st, err := begin(s)
	if err != nil {
		return err
	}
	began := time.Now()
	took, err := crowd(conns, func(int) (*wire, error) { return dialSMTP(s.smtp) }, func(w *wire, i, k int) error {
		bufs[i] = all[(i*7+k)%len(all)].stamped(bufs[i])
		return w.send("sender@"+abroad, user((i*13+k)%(users-2)), bufs[i])
	})
	if err != nil {
		return err
	}
	n.add("accepted msg/s", float64(len(took))/time.Since(began).Seconds())
	if err := r.until(before + len(took)); err != nil {
		return err
	}
	n.add("visible msg/s", float64(len(took))/time.Since(began).Seconds())
	n.add("p50 ms", percentile(took, 0.5))
	n.add("p99 ms", percentile(took, 0.99))
	return st.end(n, len(took), "msg")
}

// relay sends mail that goes on to another server by way of the queue: with us
// to an alias, since what our own users send is signed, and there nothing is.
func relay(s *server, n *notes) error {
	all := letters(4 << 10)
	const conns = 16
	bufs := make([][]byte, conns)
	theSink.mu.Lock()
	theSink.took = nil
	theSink.mu.Unlock()
	before := theSink.count.Load()
	st, err := begin(s)
	if err != nil {
		return err
	}
	began := time.Now()
	took, err := crowd(conns, func(int) (*wire, error) { return dialSMTP(s.smtp) }, func(w *wire, i, k int) error {
		bufs[i] = all[(i*7+k)%len(all)].stamped(bufs[i])
		return w.send("sender@"+abroad, s.far, bufs[i])
	})
	if err != nil {
		return err
	}
	for theSink.count.Load() < before+int64(len(took)) {
		if time.Since(began) > 2*time.Minute {
			return fmt.Errorf("%d of %d messages have come", theSink.count.Load()-before, len(took))
		}
		time.Sleep(5 * time.Millisecond)
	}
	n.add("msg/s", float64(len(took))/time.Since(began).Seconds())
	theSink.mu.Lock()
	defer theSink.mu.Unlock()
	n.add("end to end p50 ms", percentile(theSink.took, 0.5))
	return st.end(n, len(took), "msg")
}

// theSink is where all relayed mail ends.
var theSink *sink

func appendMail(s *server, n *notes) error {
	all := letters(4 << 10)
	const conns = 8
	bufs := make([][]byte, conns)
	st, err := begin(s)
	if err != nil {
		return err
	}
	began := time.Now()
	took, err := crowd(conns, func(i int) (*wire, error) { return dialIMAP(s.imap, user(i)) }, func(w *wire, i, k int) error {
		bufs[i] = all[(i*7+k)%len(all)].stamped(bufs[i])
		return w.append(bufs[i])
	})
	if err != nil {
		return err
	}
	n.add("msg/s", float64(len(took))/time.Since(began).Seconds())
	n.add("p50 ms", percentile(took, 0.5))
	return st.end(n, len(took), "msg")
}

// append appends one message, without waiting to be asked for it. RFC 7888
func (w *wire) append(msg []byte) error {
	w.n++
	w.out = fmt.Appendf(w.out[:0], "x%d APPEND INBOX {%d+}\r\n", w.n, len(msg))
	w.out = append(append(w.out, msg...), "\r\n"...)
	if _, err := w.Write(w.out); err != nil {
		return err
	}
	want := fmt.Appendf(nil, "x%d OK", w.n)
	for {
		l, err := w.line()
		if err != nil {
			return err
		}
		if bytes.HasPrefix(l, want) {
			return nil
		}
		if l[0] != '*' {
			return fmt.Errorf("APPEND: it said %q", l)
		}
	}
}

// mixed is what many people's programs do at once: mailboxes are opened, listed, read,
// searched and flagged, and a message is kept now and then.
func mixed(s *server, n *notes) error {
	const mailboxHas = 20
	all := letters(4 << 10)
	bufs := make([][]byte, mixedConns)
	open := func(i int) (*wire, error) {
		w, err := dialIMAP(s.imap, user(i))
		for k := 0; err == nil && k < mailboxHas; k++ {
			bufs[i] = all[k].stamped(bufs[i])
			err = w.append(bufs[i])
		}
		if err == nil {
			_, err = w.do("SELECT INBOX")
		}
		return w, err
	}
	var st stretch
	var began time.Time
	took, err := crowd(mixedConns, func(i int) (*wire, error) {
		w, err := open(i)
		if err == nil && i == mixedConns-1 { // from now on it counts
			st, err = begin(s)
			began = time.Now()
		}
		return w, err
	}, func(w *wire, i, k int) (err error) {
		at := 1 + (i*7+k)%mailboxHas
		switch k % 10 {
		case 0:
			bufs[i] = all[k%len(all)].stamped(bufs[i])
			return w.append(bufs[i])
		case 1:
			_, err = w.do("SELECT INBOX")
		case 2, 3:
			_, err = w.do(fmt.Sprintf("FETCH 1:%d (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)", mailboxHas))
		case 4, 5, 6, 7:
			_, err = w.do(fmt.Sprintf("FETCH %d (BODY.PEEK[])", at))
		case 8:
			_, err = w.do(fmt.Sprintf("STORE %d %cFLAGS.SILENT (\\Seen)", at, "+-"[k/10%2]))
		default:
			_, err = w.do("SEARCH UNSEEN SUBJECT zzzz")
		}
		return err
	})
	if err != nil {
		return err
	}
	n.add("op/s", float64(len(took))/time.Since(began).Seconds())
	n.add("p50 ms", percentile(took, 0.5))
	n.add("p99 ms", percentile(took, 0.99))
	return st.end(n, len(took), "op")
}

// mixedConns is how many clients there are in the mixed load.
const mixedConns = users - 2

// reader is the user whose mailbox is large, drainer the one who fetches by POP3.
var reader, drainer = user(users - 2), user(users - 1)

const drained = 2000

func fill(s *server, _ *notes) error {
	for name, count := range map[string]int{reader: *big, drainer: drained} {
		// Dovecot makes an INBOX at its first use, and stumbles if eight do so at once.
		first, err := dialIMAP(s.imap, name)
		if err != nil {
			return err
		}
		if _, err := first.do("SELECT INBOX"); err != nil {
			return err
		}
		first.Close()
		var left atomic.Int64
		left.Store(int64(count))
		all := letters(4 << 10)
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				w, err := dialIMAP(s.imap, name)
				var buf []byte
				for k := i; err == nil && left.Add(-1) >= 0; k++ {
					buf = all[k%len(all)].stamped(buf)
					err = w.append(buf)
				}
				errs[i] = err
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}

type imapCommand struct {
	name string
	run  func(*server, *notes) error
}

// imapCommands are timed each on its own, in a connection that has selected the
// mailbox.
func imapCommands() []imapCommand {
	var out []imapCommand
	add := func(name, word string, count int, commands ...string) {
		out = append(out, imapCommand{name, func(s *server, n *notes) error { return imapCommandRun(s, n, word, count, commands) }})
	}
	add("SELECT", "EXISTS", 1, "SELECT INBOX")
	add("FETCH ENVELOPE BODYSTRUCTURE", "ENVELOPE", *big, "FETCH 1:* (ENVELOPE BODYSTRUCTURE)")
	add("FETCH FLAGS", "FETCH", *big, "FETCH 1:* FLAGS")
	add("FETCH a list", "FETCH", *big, "FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM SUBJECT)])")
	add("FETCH bodies", "FETCH (", *big, "UID FETCH 1:* (UID BODY.PEEK[])")
	add("SEARCH SUBJECT", "SEARCH", 1, "SEARCH SUBJECT zzzz")
	add("SEARCH BODY", "SEARCH", 1, "SEARCH BODY zzzz")
	add("SORT SUBJECT", "SORT", 1, "SORT (SUBJECT) UTF-8 ALL")
	add("SORT DATE", "SORT", 1, "SORT (REVERSE DATE) UTF-8 ALL")
	add("THREAD REFERENCES", "THREAD", 1, "THREAD REFERENCES UTF-8 ALL")
	add("STORE of 2000", "FETCH", 2000, "STORE 1:2000 +FLAGS (\\Flagged)", "STORE 1:2000 -FLAGS (\\Flagged)")
	return out
}

func imapCommandRun(s *server, n *notes, word string, count int, commands []string) error {
	w, err := dialIMAP(s.imap, reader)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := w.do("SELECT INBOX"); err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	st, err := begin(s)
	if err != nil {
		return err
	}
	var total, size float64
	const times = 4
	for i := range times {
		for _, c := range commands {
			began := time.Now()
			got, seen, err := w.bulk(c, word, buf)
			if err != nil {
				return err
			}
			took := time.Since(began).Seconds() * 1e3
			if i == 0 && c == commands[0] && len(n.values["first time ms"]) == 0 {
				n.add("first time ms", took)
			}
			total, size = total+took, size+float64(got)
			if seen < count*99/100 {
				return fmt.Errorf("%s: %d answers, not %d", c, seen, count)
			}
		}
	}
	n.add("ms", total/times/float64(len(commands)))
	if count == *big {
		n.add("MB/s", size/1e6/(total/1e3))
		return st.end(n, times*count, "msg read")
	}
	return nil
}

func pop3Drain(s *server, n *notes) error {
	w, err := dial(s.pop3)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.reply("+OK"); err != nil {
		return err
	}
	for _, c := range []string{"USER " + drainer, "PASS " + password} {
		if err := w.say(c, "+OK"); err != nil {
			return err
		}
	}
	st, err := begin(s)
	if err != nil {
		return err
	}
	began := time.Now()
	go func() {
		var b []byte
		for i := range drained {
			b = fmt.Appendf(b, "RETR %d\r\n", i+1)
			if len(b) > 1000 || i == drained-1 {
				if _, err := w.Write(b); err != nil {
					return // the reader hears of it
				}
				b = b[:0]
			}
		}
	}()
	buf := make([]byte, 1<<20)
	end, keep := []byte("\r\n.\r\n"), 0
	for got := 0; got < drained; {
		m, err := w.Read(buf[keep:])
		if err != nil {
			return err
		}
		b := buf[:keep+m]
		got += bytes.Count(b, end)
		keep = copy(buf, b[max(0, len(b)-len(end)+1):])
	}
	n.add("msg/s", drained/time.Since(began).Seconds())
	if err := st.end(n, drained, "msg read"); err != nil {
		return err
	}
	_, err = io.WriteString(w, "QUIT\r\n")
	return err
}

func idle(s *server, n *notes) error {
	before := s.group.pss()
	n.add("MB PSS before", float64(before)/1024)
	began := time.Now()
	for i := range *conns {
		w, err := dialIMAP(s.imap, user(i%(users-2)))
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
	}
	n.add("opened/s", float64(*conns)/time.Since(began).Seconds())
	time.Sleep(8 * time.Second)
	n.add("KB PSS/connection", float64(s.group.pss()-before)/float64(*conns))
	return nil
}

func loadNow() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(b))[0]
}
