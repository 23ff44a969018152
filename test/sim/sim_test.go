package sim

import (
	"bytes"
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/argon2"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/dsn"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/store/directory"
	"posthaste/test/house"
	"posthaste/test/network"
)

var (
	seed   = flag.Uint64("seed", 0, "what the plan is drawn from; 0 takes new ones")
	rounds = flag.Int("rounds", 4, "how many plans are played if there is no seed")
)

const password = "correct horse"

// deadIP never answers.
var deadIP = netip.MustParseAddr("203.0.113.99")

// A world is all there is.
type world struct {
	t           testing.TB
	seed        uint64
	net         network.Network
	zone        zone.Zone
	traffic     traffic
	credentials directory.Credentials

	sites    []*site
	fars     []*far
	accounts map[mail.Address]*site
	anybody  []mail.Address                  // whom letters may go to
	lists    []mail.Address                  // aliases
	leads    map[mail.Address][]mail.Address // to whom they lead in the end

	mu     sync.Mutex
	dials  map[string]int
	cutOff map[netip.Addr]string
	quiet  bool
}

func TestDays(t *testing.T) {
	seeds := []uint64{*seed}
	if *seed == 0 {
		seeds = nil
		for range *rounds {
			seeds = append(seeds, rand.Uint64()>>32)
		}
	}
	credentials := cheap()
	for _, s := range seeds {
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, s, credentials)
				list := w.play()
				w.judge(list)
			})
		})
	}
}

// cheap makes credentials that take no time to check.
func cheap() directory.Credentials {
	salt := []byte("0123456789abcdef")
	b64 := base64.RawStdEncoding
	sum := argon2.IDKey([]byte(password), salt, 1, 64, 1, 32)
	return directory.Credentials{Argon2id: fmt.Sprintf("$argon2id$v=%d$m=64,t=1,p=1$%s$%s", argon2.Version, b64.EncodeToString(salt), b64.EncodeToString(sum))}
}

func newWorld(t testing.TB, seed uint64, c directory.Credentials) *world {
	w := &world{t: t, seed: seed, credentials: c, accounts: map[mail.Address]*site{}, leads: map[mail.Address][]mail.Address{}, dials: map[string]int{}, cutOff: map[netip.Addr]string{}}
	w.net.Fault, w.net.Opened = w.fault, w.traffic.opened
	for i, domain := range []string{"a.example", "b.example", "c.example"} {
		s := newSite(w, domain, fmt.Sprintf("192.0.2.%d", i+1))
		w.sites = append(w.sites, s)
		s.boot()
		s.people(0, "ada", "bob", "eve")
		s.people(6000, "tiny") // soon full
	}
	for i, domain := range []string{"grey.example", "moody.example", "slow.example", "wall.example", "kind.example", "strict.example"} {
		m := []mood{grey, moody, slow, wall, kind, strict}[i]
		w.fars = append(w.fars, newFar(w, domain, fmt.Sprintf("198.51.100.%d", i+1), m))
		w.anybody = append(w.anybody, house.Address("x@"+domain), house.Address("y@"+domain))
	}
	w.zone.MXHost("dead.example", 1, "mail.dead.example").Address("mail.dead.example", deadIP.String())
	w.zone.MXHost("null.example", 1, dns.NullMX)
	w.anybody = append(w.anybody, house.Address("x@dead.example"), house.Address("x@null.example"), house.Address("x@void.example"))
	w.alias(0, "list@a.example", "ada@a.example", "bob@b.example", "tiny@c.example", "list@grey.example", "list@wall.example", "list@dead.example")
	w.alias(1, "team@b.example", "eve@b.example", "list@a.example")
	w.alias(2, "ring@c.example", "ring@c.example", "eve@c.example")
	for a := range w.accounts {
		w.anybody = append(w.anybody, mail.Address{Local: a.Local + "+detail", Domain: a.Domain})
	}
	slices.SortFunc(w.anybody, func(a, b mail.Address) int { return strings.Compare(a.String(), b.String()) })
	return w
}

// alias adds a list, and notes to whom it leads in the end.
func (w *world) alias(site int, from string, to ...string) {
	al := directory.Alias{Address: house.Address(from)}
	seen := map[mail.Address]bool{}
	for _, s := range to {
		a := house.Address(s)
		al.Targets = append(al.Targets, a)
		next := []mail.Address{a}
		if w.leads[a] != nil {
			next = w.leads[a]
		}
		for _, f := range next {
			if f != al.Address && !seen[f] {
				seen[f] = true
				w.leads[al.Address] = append(w.leads[al.Address], f)
			}
		}
	}
	if err := w.sites[site].house.Admin.Registrar.AddAlias(context.Background(), al); err != nil {
		w.t.Fatal(err)
	}
	w.lists = append(w.lists, al.Address)
}

// ends gives in whose mailboxes mail to an address ends.
func (w *world) ends(a mail.Address) []mail.Address {
	if l := w.leads[a]; l != nil {
		return l
	}
	a.Local, _, _ = strings.Cut(a.Local, "+")
	return []mail.Address{a}
}

// play lets everything happen, and waits until nothing is left to do.
func (w *world) play() []*letter {
	list, woe := w.plan(rand.New(rand.NewPCG(w.seed, 1)))
	var all sync.WaitGroup
	for _, l := range list {
		all.Go(func() {
			time.Sleep(l.at)
			w.send(l)
		})
	}
	for _, t := range woe {
		all.Go(func() {
			time.Sleep(t.at)
			w.befall(t)
		})
	}
	all.Wait()
	w.mu.Lock()
	w.quiet = true
	clear(w.cutOff)
	w.mu.Unlock()
	for _, s := range w.sites {
		s.boot()
	}
	time.Sleep(2*giveUp + 12*time.Hour) // what is given up is reported by then, and the report given up, if it must be
	for _, s := range w.sites {
		s.stop()
	}
	w.net.Wait()
	return list
}

// befall lets a trouble happen, and end.
func (w *world) befall(t trouble) {
	switch t.kind {
	case "crash":
		t.site.crash()
		time.Sleep(t.lasts)
		t.site.boot()
	case "stop":
		t.site.stop()
		time.Sleep(t.lasts)
		t.site.boot()
	case "burn":
		t.site.burn(t.writes)
		time.Sleep(t.lasts)
		t.site.boot()
	case "full":
		t.site.fill(t.lasts % (10 * time.Minute))
	case "tidy":
		t.site.tidy("tiny")
	case "DNS":
		w.zone.Fail(t.name, dns.ErrTemporary)
		time.Sleep(t.lasts)
		w.zone.Fail(t.name, nil)
	default:
		w.cut(t.site.ip, t.kind)
		time.Sleep(t.lasts)
		w.cut(t.site.ip, "")
	}
}

func (w *world) cut(ip netip.Addr, how string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cutOff[ip] = how
}

// send submits a letter, as a mail program would, and notes what came of it.
func (w *world) send(l *letter) {
	for _, a := range l.to {
		l.fate[a] = refused
	}
	s := w.accounts[l.from]
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := w.net.From(netip.MustParseAddr("203.0.113.1"))(ctx, "tcp", netip.AddrPortFrom(s.ip, 587).String())
	if err != nil {
		return
	}
	defer conn.Close()
	c := smtp.NewClient(conn, smtp.ClientOptions{Hello: "pc", Remote: s.host, Wait: func(d time.Duration) { conn.SetDeadline(time.Now().Add(d)) }})
	if err := c.Greet(); err != nil {
		return
	}
	who, err := sasl.NewClient(sasl.Plain, sasl.Credentials{User: l.from.String(), Password: password}, sasl.ChannelBinding{})
	if err != nil {
		w.t.Error(err)
		return
	}
	if err := c.Auth(who); err != nil {
		return
	}
	env := mail.Envelope{Sender: l.from}
	for _, a := range l.to {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: a})
	}
	outs, err := c.Send(env, nil, textBody{strings.NewReader(l.text)})
	for _, o := range outs {
		switch {
		case o.Status.Class == 2:
			l.fate[o.Recipient.Address] = accepted
		case err != nil:
			l.fate[o.Recipient.Address] = unknown
		}
	}
	if err == nil {
		c.Quit()
	}
}

type textBody struct{ *strings.Reader }

func (b textBody) Size() int64 { return b.Reader.Size() }

// A copies counts what arrived, by letter and mailbox.
type copies map[int]map[mail.Address]int

func (c copies) add(n int, a mail.Address) {
	if c[n] == nil {
		c[n] = map[mail.Address]int{}
	}
	c[n][a]++
}

var idForm = regexp.MustCompile(`(?m)^Message-ID: <sim-(\d+)@`)

// judge compares what arrived with what was accepted.
func (w *world) judge(list []*letter) {
	arrived, failed, delayed := copies{}, copies{}, 0
	put := func(to mail.Address, text string) {
		head, _, _ := strings.Cut(text, "\r\n\r\n")
		m := idForm.FindStringSubmatch(head)
		if m == nil {
			d := w.report(to, text, list, failed)
			delayed += d
			return
		}
		n, _ := strconv.Atoi(m[1])
		if !strings.HasSuffix(text, list[n].text) {
			w.t.Errorf("letter %d changed on its way to %s:\n%.1000q", n, to, text)
		}
		arrived.add(n, to)
	}
	for _, s := range w.sites {
		waiting, boxes := s.check()
		if len(waiting) > 0 {
			w.t.Errorf("%s: the queue still has %q", s.host, waiting)
		}
		for a, texts := range boxes {
			for _, text := range texts {
				put(a, text)
			}
		}
	}
	for _, f := range w.fars {
		for a, texts := range f.got {
			for _, text := range texts {
				put(a, text)
			}
		}
	}
	w.compare(list, arrived, failed)
	if delayed == 0 {
		w.t.Error("nobody was ever told of a delay: this test tests nothing")
	}
}

// report notes whom a report is about, and gives 1 if it is on a delay.
func (w *world) report(to mail.Address, text string, list []*letter, failed copies) int {
	raw := []byte(text)
	in, err := dsn.Read(message.ParseBytes(raw), bytes.NewReader(raw))
	if err != nil {
		w.t.Errorf("%s has something that is no letter: %v\n%.500q", to, err, text)
		return 0
	}
	var n int
	if _, err := fmt.Sscanf(in.MessageID, "<sim-%d@", &n); err != nil || n >= len(list) {
		w.t.Errorf("%s has a report on %q", to, in.MessageID)
		return 0
	}
	if list[n].from != to {
		w.t.Errorf("letter %d of %s is reported to %s", n, list[n].from, to)
	}
	delayed := 0
	for _, r := range in.Recipients {
		if r.Action == dsn.Delayed {
			delayed = 1
			continue
		}
		for _, a := range w.ends(r.Outcome.Recipient.Address) {
			failed.add(n, a)
		}
	}
	return delayed
}

// compare looks at each letter and each mailbox it was for.
func (w *world) compare(list []*letter, arrived, failed copies) {
	uncertain := w.traffic.uncertain()
	count := map[string]int{}
	for _, l := range list {
		for _, to := range l.to {
			for _, end := range w.ends(to) {
				got, told := arrived[l.n][end], failed[l.n][end]
				switch {
				case l.fate[to] == refused && !uncertain[l.n]:
					if count["refused"]++; got+told > 0 {
						w.t.Errorf("letter %d was refused, and %s got it %d times", l.n, end, got)
					}
				case l.fate[to] != accepted:
					count["unknown"]++
				case got+told == 0 && l.from.Local == "tiny": // who may have no room for a report
					count["silent"]++
				case got+told == 0:
					w.t.Errorf("letter %d from %s to %s (%s) is lost", l.n, l.from, end, to)
				case got+told > 1 && !uncertain[l.n]:
					w.t.Errorf("letter %d from %s to %s (%s) came %d times and was reported %d times", l.n, l.from, end, to, got, told)
				case got > 1:
					count["twice"]++
				case told > 0:
					count["reported"]++
				default:
					count["arrived"]++
				}
			}
		}
	}
	w.t.Logf("%v; %d letters went over connections that were lost", count, len(uncertain))
	if count["arrived"] < letters || count["reported"] < 10 {
		w.t.Error("too little came about: this test tests nothing")
	}
}

var (
	_ io.ReaderAt = textBody{}
	_ net.Conn    = (*network.Conn)(nil)
)
