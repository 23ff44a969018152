//go:build crash

package crash

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/registrar"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/server"
	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
	"posthaste/internal/store/mailbox"
	"posthaste/test/network"
)

// A hill is the whole server over a disk that is real and small, in a bubble where
// days take no time. Its clients come over a network in memory.
type hill struct {
	t     *testing.T
	data  string
	net   network.Network
	log   *slog.Logger
	st    *server.Store
	house *server.House
	stop  func()

	r    *rand.Rand
	sent map[mail.TraceID][sha256.Size]byte // that were acknowledged
}

var (
	atSMTP = netip.MustParseAddrPort("192.0.2.1:25")
	atIMAP = netip.MustParseAddrPort("192.0.2.1:143")
)

func (h *hill) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// start opens the store and has the server answer.
func (h *hill) start() {
	h.t.Helper()
	c := config.Default()
	c.Hostname, c.Data = "mx."+domain, h.data
	c.Receive.Greylist = "never"
	c.Listeners = []config.Listener{
		{Address: atSMTP.String(), Protocol: "smtp", TLS: "none"},
		{Address: atIMAP.String(), Protocol: "imap", TLS: "none", PlaintextLogin: true},
	}
	st, err := server.OpenStore(c, h.log)
	h.must(err)
	h.st = st
	h.house, err = server.Build(c, server.Outside{
		DB: st.DB, Blobs: st.Blobs, Failed: st.Failed, Full: st.Full, DNS: &zone.Zone{}, Dial: h.net.From(atSMTP.Addr()), Log: h.log, Metrics: st.Metrics(),
		Listen: func(address string) (net.Listener, error) {
			return h.net.Listener(netip.MustParseAddrPort(address)), nil
		},
	})
	h.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan struct{})
	go st.Guard(ctx)
	go func() {
		defer close(ended)
		if err := h.house.Run(ctx, func() { close(ready) }); err != nil {
			h.t.Error(err)
		}
	}()
	<-ready
	h.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
		synctest.Wait()
		h.must(st.Close())
	})
}

func (h *hill) dial(at netip.AddrPort) *wire {
	h.t.Helper()
	c, err := h.net.From(netip.MustParseAddr("198.51.100.9"))(h.t.Context(), "tcp", at.String())
	h.must(err)
	return newWire(c)
}

// send sends letters, with a moment between them, until that many were taken, or one is
// not; it gives how many were, and why no more.
func (h *hill) send(most int) (n int, err error) {
	h.t.Helper()
	c, err := helloSMTP(h.dial(atSMTP))
	h.must(err)
	defer c.Close()
	for ; n < most; n++ {
		id := mail.NewTraceID(time.Now())
		b := compose(h.r, id)
		for range h.r.IntN(8) { // so that what the index takes is little beside it
			b = append(b, compose(h.r, id)...)
		}
		if err := c.send(b, []string{person(1).String()}); err != nil {
			return n, err
		}
		h.sent[id] = sha256.Sum256(b)
		time.Sleep(20 * time.Millisecond)
	}
	return n, nil
}

// delete deletes and expunges a part of the inbox, the oldest first, as people do, and
// gives how many that were.
func (h *hill) delete(part float64) int {
	h.t.Helper()
	c, err := helloIMAP(h.dial(atIMAP), person(1).String())
	h.must(err)
	defer c.Close()
	there, err := c.do("SELECT INBOX")
	h.must(err)
	n := int(float64(exists(there)) * part)
	for _, command := range []string{fmt.Sprintf("FETCH 1:%d BODY.PEEK[]", n), fmt.Sprintf(`STORE 1:%d +FLAGS.SILENT (\Deleted)`, n), "EXPUNGE"} {
		list, err := c.do(command)
		h.must(err)
		for _, u := range list {
			if len(u.literals) == 1 {
				id, sum, err := recognize(u.literals[0])
				if h.must(err); h.sent[id] != sum {
					h.t.Errorf("letter %v is not as it was sent", id)
				}
				delete(h.sent, id)
			}
		}
	}
	return n
}

// inbox gives how many messages are in the inbox.
func (h *hill) inbox() int {
	h.t.Helper()
	c, err := helloIMAP(h.dial(atIMAP), person(1).String())
	h.must(err)
	defer c.Close()
	there, err := c.do("SELECT INBOX")
	h.must(err)
	return exists(there)
}

// exists gives what the answers to SELECT say of the number of messages.
func exists(answers []untagged) (n int) {
	for _, u := range answers {
		if before, ok := strings.CutSuffix(u.text, " EXISTS"); ok {
			_, _ = fmt.Sscanf(before, "* %d", &n) // else it is 0
		}
	}
	return n
}

// deleted gives how many deleted messages can be restored.
func (h *hill) deleted() int {
	h.t.Helper()
	list, err := h.house.Mailboxes().Expunged(h.t.Context(), 1, 1<<20, func(*mailbox.Expunged) bool { return true })
	h.must(err)
	return len(list)
}

// whole looks that all that was acknowledged, and not deleted, is there as it was sent,
// and that nothing in the store is wrong.
func (h *hill) whole() {
	h.t.Helper()
	c, err := helloIMAP(h.dial(atIMAP), person(1).String())
	h.must(err)
	defer c.Close()
	_, err = c.do("SELECT INBOX")
	h.must(err)
	list, err := c.do("FETCH 1:* BODY.PEEK[]")
	h.must(err)
	found := 0
	for _, u := range list {
		if len(u.literals) != 1 {
			continue
		}
		id, sum, err := recognize(u.literals[0])
		if h.must(err); h.sent[id] != sum {
			h.t.Errorf("letter %v is not as it was sent, or was deleted", id)
		}
		found++
	}
	if found != len(h.sent) {
		h.t.Errorf("of %d letters that were taken and not deleted %d are there", len(h.sent), found)
	}
	h.must(admind.InProcess(h.house.Admin.Handler()).Check(h.t.Context(), func(f admind.Finding) {
		if f.Wrong != "" {
			h.t.Error(f.Wrong)
		}
	}))
}

// TestRoomAgain fills a small disk with mail until none is taken. What its owner then
// deletes makes room, without anybody's help and soon, though not so soon that a mistake
// is final; what was deleted before stays a day. Nothing that was taken is lost.
func TestRoomAgain(t *testing.T) {
	if ownMounts(t) {
		return
	}
	disk := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", disk).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	seed := newSeed(t)
	for round, part := range []float64{0.95, 0.5} {
		var log strings.Builder
		synctest.Test(t, func(t *testing.T) {
			h := &hill{t: t, data: filepath.Join(disk, fmt.Sprint("data", round)), log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})), r: rand.New(rand.NewPCG(seed, 12)), sent: map[mail.TraceID][sha256.Size]byte{}}
			defer func() {
				if t.Failed() {
					t.Log(log.String())
				}
			}()
			h.start()
			defer func() { h.stop() }()
			a := h.house.Admin.Registrar
			h.must(a.AddDomain(t.Context(), domain))
			_, err := a.AddAccount(t.Context(), registrar.NewAccount{Address: person(1), Password: password})
			h.must(err)
			h.fillsAccount()
			h.fillsUp(part)
			h.stop()
			h.start() // as a new program finds it
			h.whole()
			h.stop()
		})
		if err := os.RemoveAll(filepath.Join(disk, fmt.Sprint("data", round))); err != nil {
			t.Fatal(err)
		}
	}
}

// fillsAccount is the story of an account that is full, on a disk that is not: mail for it
// waits in the queue, and what is deleted makes room for it at once, though it can be
// restored.
func (h *hill) fillsAccount() {
	const letters = 200
	h.must(h.house.Mailboxes().SetLimits(h.t.Context(), 1, 4<<20, 0, 0))
	_, err := h.send(letters)
	h.must(err)
	if h.inbox() == letters {
		h.t.Fatal("more than 4 MB has room in 4 MB")
	}
	gone, begun := 0, time.Now()
	for h.inbox() < len(h.sent) && time.Since(begun) < 4*24*time.Hour {
		gone += h.delete(0.9)
		time.Sleep(2 * time.Hour)
	}
	if n := h.inbox(); n != len(h.sent) || gone+n != letters || h.deleted() != gone {
		h.t.Errorf("%d were deleted, %d can be restored, %d are there, of %d: after %v", gone, h.deleted(), n, letters, time.Since(begun))
	}
	h.t.Logf("%d letters came within %v, by and by", letters, time.Since(begun))
	h.must(h.house.Mailboxes().SetLimits(h.t.Context(), 1, 0, 0, 0))
}

// fillsUp is the story of a disk that is full, of which a part is deleted.
func (h *hill) fillsUp(part float64) {
	n, err := h.send(100)
	h.must(err)
	h.delete(0.05) // with no need
	before := h.deleted()
	time.Sleep(5 * time.Hour)
	m, err := h.send(100_000)
	if no, ok := errors.AsType[no](err); !ok || !strings.HasPrefix(string(no), "452 4.3.1") {
		h.t.Fatalf("after %d and %d letters: %v", n, m, err)
	}
	full := time.Now()
	after := h.delete(part)
	if m, err := h.send(100); err == nil || m > 0 {
		h.t.Fatalf("the disk has room at once for %d letters: %v", m, err)
	}
	came := 0
	for time.Since(full) < 24*time.Hour && came < 300 {
		time.Sleep(5 * time.Minute) // as who tries again
		took, err := h.send(300 - came)
		if no, ok := errors.AsType[no](err); err != nil && (!ok || !strings.HasPrefix(string(no), "452 4.3.1")) {
			h.t.Fatalf("after %v: %v", time.Since(full), err)
		}
		if came += took; took > 0 && h.deleted() == before+after {
			h.t.Errorf("after %v there is room, and nothing has gone", time.Since(full))
		}
	}
	took := time.Since(full)
	h.t.Logf("%d letters fill the disk; of %d that were deleted then, and %d before, %d can be restored; %d more came within %v", n+m, after, before, h.deleted(), came, took)
	if came < 300 || took < time.Hour || took > 4*time.Hour {
		h.t.Errorf("%d letters came within %v", came, took)
	}
	if h.deleted() < before {
		h.t.Error("what was deleted before the disk was full has gone within a day")
	}
	h.whole()
}
