package sim

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/test/network"
)

// How long there is trouble and traffic; after that, there is quiet until all
// is settled.
const (
	busyDays = 2
	letters  = 160
	troubles = 60
	giveUp   = 36 * time.Hour
)

// A letter is a message that somebody will send.
type letter struct {
	n    int
	at   time.Duration
	from mail.Address
	to   []mail.Address
	text string

	// What became of it at submission, by recipient.
	fate map[mail.Address]fate
}

type fate byte

const (
	unknown  fate = iota // the connection was lost before an answer
	accepted             // it is ours to deliver
	refused              // nobody must get it
)

// A trouble is something that goes wrong for a while.
type trouble struct {
	at, lasts time.Duration
	kind      string
	site      *site
	name      string // for the DNS
	writes    int    // until the power goes
}

// plan draws all that will happen.
func (w *world) plan(rnd *rand.Rand) (list []*letter, woe []trouble) {
	when := func() time.Duration { return time.Duration(rnd.Int64N(int64(busyDays * 24 * time.Hour))) }
	var people []mail.Address
	for a := range w.accounts {
		people = append(people, a)
	}
	slices.SortFunc(people, func(a, b mail.Address) int { return strings.Compare(a.String(), b.String()) })
	for n := range letters {
		l := &letter{n: n, at: when(), from: people[rnd.IntN(len(people))], fate: map[mail.Address]fate{}}
		if rnd.IntN(6) == 0 {
			l.to = []mail.Address{w.lists[rnd.IntN(len(w.lists))]}
		} else {
			for range 1 + rnd.IntN(5) {
				a := w.anybody[rnd.IntN(len(w.anybody))]
				if rnd.IntN(2) == 0 {
					a = people[rnd.IntN(len(people))]
				}
				if !slices.Contains(l.to, a) {
					l.to = append(l.to, a)
				}
			}
		}
		size := 50 + rnd.IntN(3000)
		if rnd.IntN(25) == 0 {
			size = 80_000
		}
		body := make([]string, 0, size/40)
		for i := 0; i < size; i += 40 {
			body = append(body, fmt.Sprintf(".%036x", rnd.Uint64()))
		}
		l.text = fmt.Sprintf("Message-ID: <sim-%d@%s>\r\nFrom: %s\r\nDate: Sat, 1 Jan 2000 00:00:00 +0000\r\nSubject: letter\r\n\r\n%s\r\n", n, l.from.Domain, l.from, strings.Join(body, "\r\n"))
		list = append(list, l)
	}
	kinds := []string{"crash", "burn", "burn", "burn", "stop", "full", "tidy", "tidy", "refused", "dead", "DNS", "DNS"}
	for range troubles {
		t := trouble{at: when(), kind: kinds[rnd.IntN(len(kinds))], site: w.sites[rnd.IntN(len(w.sites))]}
		t.lasts = time.Duration(rnd.Int64N(int64(3 * time.Hour)))
		if rnd.IntN(3) == 0 {
			t.lasts = time.Duration(rnd.IntN(10)) * time.Second
		}
		t.writes = 1 + rnd.IntN(30)
		if rnd.IntN(2) == 0 { // when something is going on
			t.at = list[rnd.IntN(len(list))].at + time.Duration(rnd.IntN(20))*time.Second
		}
		t.name = []string{t.site.domain, t.site.host, "grey.example", "mail.moody.example"}[rnd.IntN(4)]
		woe = append(woe, t)
	}
	return list, woe
}

// fault says what becomes of one connection. It depends on the seed and on how
// many there have been between the two.
func (w *world) fault(from netip.Addr, to netip.AddrPort) network.Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	pair := from.String() + to.String()
	w.dials[pair]++
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", pair, w.dials[pair])
	rnd := rand.New(rand.NewPCG(w.seed, h.Sum64()))
	f := network.Fault{Latency: time.Duration(rnd.IntN(400)) * time.Millisecond, Dead: to.Addr() == deadIP}
	switch w.cutOff[to.Addr()] {
	case "refused":
		f.Refused = true
	case "dead":
		f.Dead = true
	}
	if w.quiet {
		return f
	}
	if rnd.IntN(10) == 0 {
		f.PerByte = time.Duration(rnd.IntN(3000)) * time.Microsecond
	}
	switch rnd.IntN(12) {
	case 0:
		f.CutUp = 1 + rnd.Int64N(3000)
	case 1:
		f.CutDown = 1 + rnd.Int64N(600)
	}
	return f
}
