//go:build crash

package crash

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
	"posthaste/test/network"
)

const password = "correct-horse-battery"

// build makes the program, once.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "posthaste-crash-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "posthaste")
	out, err := exec.Command("go", "build", "-o", bin, "posthaste/cmd/posthaste").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := build(); err == nil && os.Getenv(inside) == "" {
		_ = os.RemoveAll(filepath.Dir(bin)) // in the temporary folder anyway
	}
	os.Exit(code)
}

// inside is set in a test that was started again in a mount namespace of its
// own; it is the path of the program.
const inside = "POSTHASTE_CRASH_PROGRAM"

// ownMounts runs the test again in a process with its own mounts, which go away
// with it; false in that process itself.
func ownMounts(t *testing.T) bool {
	if os.Getenv(inside) != "" {
		return false
	}
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", fmt.Sprintf("-seed=%d", *seed), fmt.Sprintf("-rounds=%d", *rounds))
	c.Env = append(os.Environ(), inside+"="+bin)
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := c.CombinedOutput()
	t.Logf("%s", out)
	if errors.Is(err, syscall.EPERM) {
		t.Skip("mount namespaces are not allowed here")
	}
	if err != nil {
		t.Errorf("in its own mounts: %v", err)
	}
	return true
}

// A program is the server as a process, over its starts.
type program struct {
	t    *testing.T
	bin  string
	conf string
	smtp string
	imap string
	l    *ledger
	sink *sink

	faults int
	cmd    *exec.Cmd
	ended  chan struct{}
	err    *bytes.Buffer
}

// newProgram makes a configuration with its data in dir, and accounts.
func newProgram(t *testing.T, dir string) *program {
	t.Helper()
	bin := os.Getenv(inside)
	if bin == "" {
		var err error
		if bin, err = build(); err != nil {
			t.Fatal(err)
		}
	}
	l := newLedger()
	s, err := newSink(l)
	if err != nil {
		t.Fatal(err)
	}
	own := t.TempDir()
	p := &program{t: t, bin: bin, conf: filepath.Join(own, "posthaste.toml"), smtp: network.FreePort(), imap: network.FreePort(), l: l, sink: s}
	text := fmt.Sprintf(`hostname = "mx.%s"
data = %q
log.level = "warn"
limits.trusted_networks = ["127.0.0.0/8"]
queue = {first_retry = "500ms", last_retry = "500ms"}
[[listener]]
address = %q
protocol = "smtp"
tls = "none"
[[listener]]
address = %q
protocol = "imap"
tls = "none"
plaintext_login = true
[[route]]
domain = "*"
host = %q
tls = "none"
`, domain, dir, p.smtp, p.imap, s.ln.Addr().String())
	var people strings.Builder
	for a := mail.AccountID(1); a <= accounts; a++ {
		fmt.Fprintf(&people, "%s\t%s\n", person(a), password)
	}
	file := filepath.Join(own, "people.tsv")
	for name, text := range map[string]string{p.conf: text, file: people.String()} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.tool("domain", "add", domain)
	p.tool("account", "add", "--file", file)
	p.tool("alias", "add", "far@"+domain, "b@"+abroad)
	t.Cleanup(func() { p.kill(); s.ln.Close(); s.wg.Wait() })
	return p
}

func (p *program) tool(args ...string) {
	p.t.Helper()
	if out, err := exec.Command(p.bin, append(args, "--config", p.conf)...).CombinedOutput(); err != nil {
		p.t.Fatalf("posthaste %v: %v: %s", args, err, out)
	}
}

// start starts the server and waits until it answers.
func (p *program) start() {
	p.t.Helper()
	p.err = &bytes.Buffer{}
	p.cmd = exec.Command(p.bin, "serve", "--config", p.conf)
	p.cmd.Stderr = p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.ended = make(chan struct{})
	go func(c *exec.Cmd, ended chan struct{}) { _ = c.Wait(); close(ended) }(p.cmd, p.ended)
	for range 200 {
		if c, err := dialSMTP(p.smtp); err == nil {
			c.Close()
			return
		}
		select {
		case <-p.ended:
			p.t.Fatalf("the server does not start:\n%s", p.err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	p.t.Fatalf("the server does not answer:\n%s", p.err)
}

// kill ends the server as a fault would.
func (p *program) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
	p.cmd = nil
}

// clients begin to send, read and change mail, until the ledger is cut or the
// workload is stopped.
func (p *program) clients(r *rand.Rand) *workload {
	w := &workload{stopping: make(chan struct{})}
	run := func(fn func(*rand.Rand, *workload) error) {
		own := rand.New(rand.NewPCG(r.Uint64(), 7))
		w.wg.Go(func() {
			for !w.stopped() && !p.l.cut.Load() {
				if err := fn(own, w); err != nil {
					w.note(err)
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	for range 4 {
		run(p.sender)
	}
	for a := mail.AccountID(1); a <= accounts; a++ {
		run(func(r *rand.Rand, w *workload) error { return p.owner(r, w, a) })
	}
	return w
}

// sender is a session of somebody who sends letters.
func (p *program) sender(r *rand.Rand, w *workload) error {
	c, err := dialSMTP(p.smtp)
	if err != nil {
		return err
	}
	defer c.Close()
	for !w.stopped() {
		if err := p.send(r, c); err != nil {
			w.note(err)
			if _, answer := errors.AsType[no](err); !answer {
				return nil
			}
		}
	}
	return nil
}

// send sends one letter, and notes what is said of it.
func (p *program) send(r *rand.Rand, c *smtpClient) error {
	id := mail.NewTraceID(time.Now())
	b := compose(r, id)
	var to []mail.AccountID
	var names []string
	for _, i := range r.Perm(accounts)[:1+r.IntN(3)*r.IntN(2)] {
		to = append(to, mail.AccountID(i+1))
		names = append(names, person(mail.AccountID(i+1)).String())
	}
	far := r.IntN(3) == 0
	if far {
		names = append(names, "far@"+domain)
	}
	lt, ok := p.l.begin(id, b, to, far)
	if !ok {
		return errCut
	}
	err := c.send(b, names)
	answer, said := errors.AsType[no](err)
	p.l.told(func() {
		if err == nil {
			lt.fate = acked
		}
	})
	if said && !strings.HasPrefix(string(answer), "4") {
		p.l.say("a letter was refused for good: %s", answer)
	}
	return err
}

var errCut = errors.New("the power is off")

// owner is a session of somebody who reads his mail.
func (p *program) owner(r *rand.Rand, w *workload, a mail.AccountID) error {
	c, err := dialIMAP(p.imap, person(a).String())
	if err != nil {
		return err
	}
	defer c.Close()
	for !w.stopped() && !p.l.cut.Load() {
		if err := p.act(r, c, a); err != nil {
			w.note(err)
			if _, answer := errors.AsType[no](err); !answer {
				return nil
			}
		}
	}
	return nil
}

var boxNames = map[mail.MailboxID]string{mailbox.Inbox: "INBOX", archive: "Archive"}

// A sight is a message as a client sees it.
type sight struct {
	id    mail.TraceID
	flags mailbox.Flags
}

// look selects a mailbox and gives what is in it.
func (p *program) look(c *imapClient, a mail.AccountID, box mail.MailboxID) (map[mail.UID]sight, error) {
	sel, err := c.do("SELECT " + boxNames[box] + " (CONDSTORE)")
	if err != nil {
		return nil, err
	}
	n := numbers{uint32(after(sel, "[UIDVALIDITY")), mail.UID(after(sel, "[UIDNEXT")), mail.ModSeq(after(sel, "[HIGHESTMODSEQ"))}
	if n.validity == 0 || n.next == 0 || n.seq == 0 {
		p.l.say("SELECT does not say the numbers: %v", sel)
	}
	seen, ids := map[mail.UID]sight{}, map[mail.UID]mail.TraceID{}
	list, err := c.do("UID FETCH 1:* (FLAGS BODY.PEEK[])")
	if err != nil {
		return nil, err
	}
	for _, u := range list {
		uid := mail.UID(after([]untagged{u}, "UID"))
		if uid == 0 || len(u.literals) != 1 {
			continue
		}
		id, sum, err := recognize(u.literals[0])
		if err != nil {
			p.l.say("%v", err)
			continue
		}
		p.l.mu.Lock()
		if lt := p.l.letters[id]; lt == nil || lt.sum != sum {
			p.l.sayLocked("account %d has letter %v, which was never sent so", a, id)
		}
		p.l.mu.Unlock()
		seen[uid], ids[uid] = sight{id, flagsOf(u.text)}, id
	}
	p.l.shown(boxKey{a, box}, n, ids)
	return seen, nil
}

func flagsOf(s string) (f mailbox.Flags) {
	for name, flag := range flagNames {
		if strings.Contains(s, name) {
			f |= flag
		}
	}
	return f
}

var flagNames = map[string]mailbox.Flags{`\Seen`: mailbox.Seen, `\Flagged`: mailbox.Flagged, `\Answered`: mailbox.Answered, `\Draft`: mailbox.Draft}

// act looks at a mailbox, and flags, moves or expunges some of it.
func (p *program) act(r *rand.Rand, c *imapClient, a mail.AccountID) error {
	box := []mail.MailboxID{mailbox.Inbox, archive}[r.IntN(2)]
	seen, err := p.look(c, a, box)
	if err != nil {
		return err
	}
	var flag string
	for flag = range flagNames {
		break
	}
	kind := r.IntN(5)
	other := mailbox.Inbox + archive - box
	var set mail.UIDSet
	var cps []*cp
	p.l.told(func() {
		for uid, s := range seen {
			lt := p.l.letters[s.id]
			if lt == nil || lt.copies[a] == nil || lt.copies[a].maybe != nil || lt.copies[a].is != (place{box, s.flags}) || len(cps) == 5 || r.IntN(3) > 0 {
				continue
			}
			to := lt.copies[a].is
			switch kind {
			case 0:
				to.box = other
			case 1:
				to = place{}
			default:
				to.flags |= flagNames[flag]
			}
			lt.copies[a].maybe = &to
			set.Add(uid)
			cps = append(cps, lt.copies[a])
		}
	})
	if set.IsEmpty() {
		return nil
	}
	switch kind {
	case 0:
		_, err = c.do("UID MOVE " + set.String() + " " + boxNames[other])
	case 1:
		if _, err = c.do("UID STORE " + set.String() + ` +FLAGS.SILENT (\Deleted)`); err == nil {
			_, err = c.do("UID EXPUNGE " + set.String())
		}
	default:
		_, err = c.do("UID STORE " + set.String() + " +FLAGS.SILENT (" + flag + ")")
	}
	if err == nil {
		p.l.told(func() {
			for _, c := range cps {
				c.is, c.maybe = *c.maybe, nil
			}
		})
	}
	return err
}

// verify holds what is there against what was said.
func (p *program) verify() {
	p.t.Helper()
	found := map[mail.TraceID]map[mail.AccountID][]copyAt{}
	for a := mail.AccountID(1); a <= accounts; a++ {
		c, err := dialIMAP(p.imap, person(a).String())
		if err != nil {
			p.t.Fatalf("log in after a fault: %v\n%s", err, p.err)
		}
		for box := range boxNames {
			seen, err := p.look(c, a, box)
			if err != nil {
				p.t.Fatalf("look after a fault: %v\n%s", err, p.err)
			}
			for uid, s := range seen {
				if found[s.id] == nil {
					found[s.id] = map[mail.AccountID][]copyAt{}
				}
				found[s.id][a] = append(found[s.id][a], copyAt{place{box, s.flags}, uid})
			}
		}
		c.Close()
	}
	p.l.settle(found, p.abroad(found))
	p.report()
}

// abroad gives for each letter that was to go abroad one item in the queue: the
// ledger shall look for copies here only, since those abroad come later. One
// that is here, answered or not, must come there too.
func (p *program) abroad(found map[mail.TraceID]map[mail.AccountID][]copyAt) map[mail.TraceID]int {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	p.sink.mu.Lock()
	defer p.sink.mu.Unlock()
	queue := map[mail.TraceID]int{}
	for id, lt := range p.l.letters {
		if lt.queued && (lt.fate == acked || found[id] != nil || p.sink.got[id] > 0) {
			queue[id] = 1
		}
	}
	return queue
}

func (p *program) report() {
	p.t.Helper()
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	if len(p.l.wrong) > 0 {
		p.t.Fatalf("after fault %d:\n%s\nlog:\n%s", p.faults, lines(p.l.wrong), p.err)
	}
}

// finish waits for what is on its way abroad, stops the server and checks the
// store.
func (p *program) finish() {
	p.t.Helper()
	left := 0
	for range 150 {
		left = 0
		p.l.mu.Lock()
		p.sink.mu.Lock()
		for id, lt := range p.l.letters {
			if lt.queued && lt.fate == acked && p.sink.got[id] == 0 {
				left++
			}
		}
		p.sink.mu.Unlock()
		p.l.mu.Unlock()
		if left == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if left > 0 {
		p.t.Errorf("%d letters that were taken have not come abroad", left)
	}
	p.sink.mu.Lock()
	twice := 0
	for id, n := range p.sink.got {
		if twice += n - 1; n > 1+p.faults {
			p.t.Errorf("letter %v came abroad %d times, with %d faults", id, n, p.faults)
		}
	}
	bad, came := p.sink.bad, len(p.sink.got)
	p.sink.mu.Unlock()
	if len(bad) > 0 {
		p.t.Errorf("abroad:\n%s", lines(bad))
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		p.t.Error("the server does not stop")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("the server ended with %d:\n%s", code, p.err)
	}
	p.cmd = nil
	p.tool("check")
	known, all := 0, len(p.l.order)
	for _, lt := range p.l.order {
		if lt.fate == acked {
			known++
		}
	}
	p.t.Logf("%d faults; %d letters, %d acknowledged or there all the same; %d came abroad, %d times more than once", p.faults, all, known, came, twice)
	if known < 20*p.faults {
		p.t.Error("too few letters to prove anything")
	}
}
