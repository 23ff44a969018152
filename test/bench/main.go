//go:build bench

// Command bench runs Posthaste and Debian's Postfix with Dovecot side by side on
// loopback, gives them the same work in turns, and writes a table of medians.
//
// All servers are tuned for speed, keep what they acknowledge on stable storage
// in the way they do that, use neither TLS nor filters, and lie on the same
// disk. CPU is that of all processes of a server, from its control group. See
// docs/benchmarks.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var (
	runs    = flag.Int("runs", 5, "how often each workload is run on each server")
	seconds = flag.Float64("seconds", 2, "how long mail is sent in a run")
	only    = flag.String("only", "", "run the workloads whose name matches this")
	big     = flag.Int("mailbox", 10_000, "messages in the mailbox that is read")
	conns   = flag.Int("idle", 1000, "connections that do nothing")
	onlyUs  = flag.Bool("alone", false, "run Posthaste only")
	formats = flag.String("dovecot", "mdbox,maildir", "how Dovecot stores; it takes very long to fill a large maildir")
	place   = flag.String("dir", "", "where the servers keep their files; all users must be able to look into it (default: a temporary folder)")
	program = flag.String("posthaste", "", "the program (default: built from this tree)")
)

func main() {
	flag.Parse()
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal("bench: ", err)
	}
}

func run() (err error) {
	if os.Geteuid() != 0 {
		return errors.New("it needs root, to run Postfix and Dovecot and to count CPU")
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	dir := *place
	if dir == "" {
		if dir, err = os.MkdirTemp("", "bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	sink, err := newSink()
	if err != nil {
		return err
	}
	defer sink.close()
	theSink = sink
	log.Print("load of the machine before: ", loadNow())
	servers, err := startAll(dir, sink)
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.stop())
		}
	}()
	if err != nil {
		return err
	}
	r := &results{}
	for _, w := range workloads() {
		if !match.MatchString(w.name) {
			continue
		}
		for n := range *runs {
			// In turns, each time another one first.
			for i := range servers {
				s := servers[(i+n)%len(servers)]
				if err := w.run(s, r.of(w.name, s)); err != nil {
					return fmt.Errorf("%s, %s: %w", w.name, s.name, err)
				}
			}
			if w.once {
				break
			}
		}
		r.print(os.Stderr, w.name, servers)
	}
	r.table(os.Stdout, servers)
	return nil
}

func startAll(dir string, to *sink) (servers []*server, err error) {
	starts := []func(string, *sink) (*server, error){startPosthaste}
	if !*onlyUs {
		for _, format := range strings.Split(*formats, ",") {
			starts = append(starts, startDovecot(format))
		}
	}
	for i, start := range starts {
		s, err := start(filepath.Join(dir, fmt.Sprint(i)), to)
		if s != nil {
			servers = append(servers, s)
		}
		if err != nil {
			return servers, err
		}
	}
	return servers, nil
}

// A workload is run on each server; it notes what it measured.
type workload struct {
	name string
	run  func(*server, *notes) error
	once bool // what it does cannot be done twice
}

func workloads() []workload {
	// Idle connections come first: memory that other work has left shall not be
	// used for them.
	all := []workload{{name: fmt.Sprintf("idle %d", *conns), run: idle, once: true}}
	for _, c := range []struct{ conns, size int }{{1, 4 << 10}, {16, 4 << 10}, {64, 4 << 10}, {16, 50 << 10}} {
		all = append(all, workload{name: fmt.Sprintf("smtp-in %d KB, %d connections", c.size>>10, c.conns), run: func(s *server, n *notes) error { return smtpIn(s, n, c.conns, c.size) }})
	}
	all = append(all,
		workload{name: "smtp-relay 4 KB, 16 connections", run: relay},
		workload{name: "imap-append 4 KB, 8 connections", run: appendMail},
		workload{name: fmt.Sprintf("mixed imap, %d clients", mixedConns), run: mixed},
		workload{name: fmt.Sprintf("imap %d: fill", *big), run: fill, once: true},
	)
	for _, c := range imapCommands() {
		all = append(all, workload{name: fmt.Sprintf("imap %d: %s", *big, c.name), run: c.run})
	}
	all = append(all,
		workload{name: fmt.Sprintf("imap %d: COPY, MOVE and EXPUNGE of 2000", *big), run: change},
		workload{name: "delivery to EXISTS", run: wake},
		workload{name: "pop3 drain", run: pop3Drain})
	if *million > 0 {
		all = append(all, scales()...)
	}
	return all
}

// A goal is a figure that counts, and what we want of it: a ratio to the best of
// the others.
type goal struct {
	workload, figure string
	bar, aim         float64
}

var goals = []goal{
	{"smtp-in 4 KB, 1 conn", "visible msg/s", 3, 5},
	{"smtp-in 4 KB, 16", "visible msg/s", 10, 20},
	{"smtp-in 4 KB, 16", "CPU µs/msg", 20, 35},
	{"smtp-in 4 KB, 16", "p99 ms", 4, 10},
	{"smtp-in 4 KB, 16", "KB written/msg", 3, 5},
	{"smtp-in 4 KB, 64", "visible msg/s", 20, 40},
	{"smtp-in 50 KB", "visible msg/s", 5, 10},
	{"smtp-relay", "msg/s", 5, 10},
	{"imap-append", "msg/s", 2.5, 4},
	{"mixed imap", "op/s", 3, 6},
	{"ENVELOPE BODYSTRUCTURE", "ms", 5, 10},
	{"FETCH FLAGS", "ms", 3, 5},
	{"SELECT", "ms", 1, 1},
	{"bodies", "ms", 2, 3},
	{"FETCH a list", "ms", 5, 10},
	{"STORE of", "ms", 1, 3},
	{"SEARCH SUBJECT", "ms", 5, 10},
	{"pop3", "msg/s", 1.5, 3},
	{"idle", "KB PSS/connection", 43, 85},
}

func goalOf(workload, figure string) (goal, bool) {
	i := slices.IndexFunc(goals, func(g goal) bool { return strings.Contains(workload, g.workload) && figure == g.figure })
	if i < 0 {
		return goal{}, false
	}
	return goals[i], true
}
