package mta

import (
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/remedy"
	"posthaste/internal/store/queue"
)

// A Shaper says how much may go where at a time. It learns from what it hears:
//
//   - Who takes mail gets more of it at once, up to a limit; who says that it is
//     too much gets half, after a pause, and then at a distance that shrinks as
//     it goes well. This counts for all domains of a provider together.
//   - A host that cannot be reached is left alone for a while. What is due for it
//     meanwhile hears of that without trying; then one message tries.
//   - Not more than half of the hands work for hosts that have not shown yet that
//     they are there: so many dead ones do not hold up the living.
//
// What it knows is in memory, and bounded. The zero Shaper is ready for use.
type Shaper struct {
	// Limits are by domain, by name of an MX host, or by a provider's site as
	// remedy.Site knows it.
	Limits map[string]Limit
	// PerSite is how many messages go to one destination at a time, if no limit
	// says otherwise; 0 is 10. Hands is how many there are in all; 0 is 100.
	PerSite, Hands int
	// FirstPause is how long a host that cannot be reached is left alone at first;
	// it doubles up to LastPause. 0 is a minute and 15 minutes.
	FirstPause, LastPause time.Duration

	mu       sync.Mutex
	ways     generations[queue.Bound, way]
	sites    map[string]*site
	downs    map[string]*down
	unproven int // messages under way to sites that have not answered yet
}

// A Limit is what a destination bears; 0 is the default.
type Limit struct {
	Connections   int // at a time
	PerConnection int // messages over one connection
	PerMinute     int // messages a minute
}

// usual is what providers are known to bear.
var usual = map[string]Limit{
	"yahoo": {Connections: 5, PerConnection: 20}, "orange": {Connections: 3, PerConnection: 50}, "free": {Connections: 2},
	"laposte": {Connections: 2}, "t-online": {Connections: 5}, "comcast": {Connections: 5}, "att": {Connections: 5},
	"charter": {Connections: 5}, "cox": {Connections: 4}, "mail.ru": {Connections: 5}, "163": {Connections: 3}, "qq": {Connections: 3},
}

// A way is where a domain's mail goes, as of the last time it was looked up.
type way struct {
	host string // the first MX host, or the smarthost
	site string // who runs it; the host itself if nobody known does
	from string // who we are there, if we are several, or for whom
}

// hostKey and siteKey are what is remembered of them: what one address of ours, or one
// person, has earned is not another's.
func (w way) hostKey() string { return w.key(w.host) }
func (w way) siteKey() string { return w.key(w.site) }

func (w way) key(name string) string {
	if w.from == "" {
		return name
	}
	return name + " from " + w.from
}

// A site is what is known of who takes mail.
type site struct {
	active int
	limit  float64 // messages at a time, as of now
	proven bool    // it has answered since the last trouble

	level int           // how often it was too much, lately
	until time.Time     // nothing before that
	gap   time.Duration // between two messages
	next  time.Time     // when the next may go
	good  int           // messages that were taken since it was too much
	why   mail.Outcome  // what it said then
	used  time.Time
}

// A down is a host that could not be reached, or a domain whose host cannot be
// found.
type down struct {
	fails   int
	until   time.Time
	probing bool
	why     mail.Refusal
}

const (
	maxSites   = 20_000 // that are remembered
	startLimit = 3      // messages at a time to who is new
	forOne     = 2      // to the server of one person, who must not take the hands of others
	firstHold  = 30 * time.Second
	lastHold   = 15 * time.Minute
	firstGap   = 500 * time.Millisecond
	lastGap    = 30 * time.Second
	enough     = 10 // messages that were taken between two complaints
)

// learn notes where a domain's mail goes. It refuses if the host is left alone
// just now, because mail for another domain could not reach it.
func (s *Shaper) learn(d queue.Bound, host, from string, now time.Time) error {
	if s == nil {
		return nil
	}
	w := way{host: strings.ToLower(host), site: siteName(host), from: from}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ways.put(d, w)
	if dn := s.downs[w.hostKey()]; dn != nil && dn.until.After(now) {
		why := dn.why
		return &why
	}
	return nil
}

// wayOf gives where a domain's mail goes. mu is held.
func (s *Shaper) wayOf(d queue.Bound) way {
	if w, ok := s.ways.get(d); ok {
		return w
	}
	name := string(d.Domain)
	if d.Way != "" {
		name += " " + d.Way // nothing is known of it that is known of the domain
	}
	return way{host: name, site: name}
}

// limit gives the limit for a way, with the defaults filled in.
func (s *Shaper) limit(d queue.Bound, w way) Limit {
	l := Limit{Connections: or(s.PerSite, 10), PerConnection: maxMessages}
	for _, k := range [...]Limit{usual[w.site], s.Limits[w.site], s.Limits[w.host], s.Limits[string(d.Domain)]} {
		l.Connections, l.PerConnection, l.PerMinute = or(k.Connections, l.Connections), or(k.PerConnection, l.PerConnection), or(k.PerMinute, l.PerMinute)
	}
	if d.Person() != "" {
		l.Connections = min(l.Connections, forOne)
	}
	return l
}

// perConnection gives how many messages to a domain go over one connection.
func (s *Shaper) perConnection(d queue.Bound) int {
	if s == nil {
		return maxMessages
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit(d, s.wayOf(d)).PerConnection
}

// siteOf gives the site of a way, new if need be. mu is held.
func (s *Shaper) siteOf(name string, now time.Time) *site {
	st := s.sites[name]
	if st == nil {
		if s.sites == nil {
			s.sites = map[string]*site{}
		}
		if len(s.sites) >= maxSites {
			prune(s.sites, func(st *site) bool { return st.active == 0 && st.until.Before(now) && now.Sub(st.used) > time.Minute })
		}
		st = &site{limit: startLimit}
		s.sites[name] = st
	}
	st.used = now
	return st
}

// prune forgets what may be forgotten, and if that is little, anything.
func prune[V any](m map[string]V, idle func(V) bool) {
	for k, v := range m {
		if idle(v) {
			delete(m, k)
		}
	}
	for k := range m {
		if len(m) < maxSites*3/4 {
			return
		}
		delete(m, k)
	}
}

// A round is one look at the queue: what it chooses counts before it is begun.
type round struct {
	s        *Shaper
	now      time.Time
	extra    map[*site]int
	unproven int
	skipped  bool          // something was due and has no room
	wait     time.Duration // until some of it may have
}

func (s *Shaper) round(now time.Time) *round {
	return &round{s: s, now: now, extra: map[*site]int{}, wait: busyAfter}
}

// room tells whether one more may go to a domain.
func (r *round) room(d queue.Bound) queue.Room {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	room := r.look(d)
	r.skipped = r.skipped || room != queue.Free
	return room
}

func (r *round) look(d queue.Bound) queue.Room {
	w := r.s.wayOf(d)
	limit := r.s.limit(d, w)
	st := r.s.siteOf(w.siteKey(), r.now)
	busy := st.active + r.extra[st]
	strangers := max(or(r.s.Hands, 100)/2, 1) // hands for those who have not answered yet
	if dn := r.s.downs[w.hostKey()]; dn != nil {
		strangers = max(strangers/2, 1) // half of these for those who did not
		switch {
		case dn.until.After(r.now): // it will hear so at once
			if busy < limit.Connections {
				return queue.Free
			}
			return queue.Full
		case dn.probing || busy > 0:
			return queue.Full
		}
	}
	if at := later(st.until, st.next); at.After(r.now) {
		r.wait = min(r.wait, at.Sub(r.now))
		return queue.Slow
	}
	most := min(int(st.limit), limit.Connections)
	if !st.proven {
		most = 1
	}
	if busy >= most || (st.gap > 0 || limit.PerMinute > 0) && r.extra[st] > 0 {
		return queue.Full
	}
	if !st.proven && r.s.unproven+r.unproven >= strangers {
		return queue.Full
	}
	return queue.Free
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// chose counts what will be begun.
func (r *round) chose(d queue.Bound) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	st := r.s.siteOf(r.s.wayOf(d).siteKey(), r.now)
	r.extra[st]++
	if !st.proven {
		r.unproven++
	}
}

// A passage is a message under way.
type passage struct {
	d        queue.Bound
	site     *site
	unproven bool
	probe    *down
}

// begin counts a message that is under way; end must follow.
func (s *Shaper) begin(d queue.Bound, now time.Time) *passage {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.wayOf(d)
	p := &passage{d: d, site: s.siteOf(w.siteKey(), now)}
	p.site.active++
	if p.unproven = !p.site.proven; p.unproven {
		s.unproven++
	}
	gap := p.site.gap
	if n := s.limit(d, w).PerMinute; n > 0 {
		gap = max(gap, time.Minute/time.Duration(n))
	}
	if gap > 0 {
		p.site.next = later(now, p.site.next).Add(gap)
	}
	return p
}

func (s *Shaper) end(p *passage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.site.active--
	if p.unproven {
		s.unproven--
	}
	if p.probe != nil {
		p.probe.probing = false
	}
}

// held tells why a message is not to be tried just now: its host could not be
// reached a while ago, or wants less. One message at a time finds out whether a
// host is there again.
func (s *Shaper) held(p *passage, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if dn := s.downs[s.wayOf(p.d).hostKey()]; dn != nil && p.probe != dn {
		if dn.until.After(now) || dn.probing {
			why := dn.why
			return &why
		}
		dn.probing, p.probe = true, dn
	}
	if p.site.until.After(now) && p.site.why.Status.Class == 4 {
		return &askedLess{p.site.why}
	}
	return nil
}

// An askedLess is that a destination wanted less not long ago.
type askedLess struct{ said mail.Outcome }

func (e *askedLess) Error() string { return "the destination asked for less: " + e.said.Text }

// unreachable notes that no session with the host of a domain came about.
func (s *Shaper) unreachable(p *passage, why *mail.Refusal, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	host := s.wayOf(p.d).hostKey()
	dn := s.downs[host]
	if dn == nil {
		if s.downs == nil {
			s.downs = map[string]*down{}
		}
		if len(s.downs) >= maxSites {
			prune(s.downs, func(d *down) bool { return d.until.Before(now) && !d.probing })
		}
		dn = &down{}
		s.downs[host] = dn
	}
	if dn.until.After(now) {
		return // others of the same time have found the same
	}
	dn.fails++
	dn.why = *why
	pause := or(s.FirstPause, time.Minute)
	for i := 1; i < dn.fails && pause < or(s.LastPause, 15*time.Minute); i++ {
		pause *= 2
	}
	// Less than the message itself waits, so that it is the one that tries.
	pause = min(pause, or(s.LastPause, 15*time.Minute)) * 9 / 10
	dn.until = now.Add(pause - time.Duration(rand.Int64N(int64(pause)/10+1)))
	p.site.proven, p.site.limit = false, min(p.site.limit, startLimit)
}

// answered notes what a host said to a message.
func (s *Shaper) answered(p *passage, outcomes []mail.Outcome, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.wayOf(p.d)
	delete(s.downs, w.hostKey())
	st := p.site
	if st.proven = true; w.site != "" {
		// It may have been learned only now whose host it is.
		st = s.siteOf(w.siteKey(), now)
		st.proven = true
	}
	for _, o := range outcomes {
		if o.Status.Class == 4 && o.Remote != "" && tooMuch(o) {
			st.slower(o, now)
			return
		}
	}
	st.faster(float64(s.limit(p.d, w).Connections))
}

// tooMuch tells whether an answer is that we send too much.
func tooMuch(o mail.Outcome) bool {
	r, ok := remedy.Of(remedy.Answer{Status: o.Status, Text: o.Text, Remote: o.Remote})
	return ok && r.Kind == remedy.Throttled && r.Name != "gmail-too-fast" && r.Name != "outlook-too-fast" && r.Name != "too-many-recipients"
}

// slower is what follows when it was too much.
func (st *site) slower(o mail.Outcome, now time.Time) {
	if st.until.After(now) {
		return // it was said to several at once
	}
	hold := firstHold
	for i := 0; i < st.level && hold < lastHold; i++ {
		hold *= 2
	}
	hold = min(hold, lastHold)
	st.until = now.Add(hold + time.Duration(rand.Int64N(int64(hold)/4)))
	if st.level++; st.good >= enough {
		st.level = 0 // it was the pace, not the bad name
	}
	st.good = 0
	st.limit = max(st.limit/2, 1)
	st.gap = min(max(st.gap*2, firstGap), lastGap)
	st.why = o
}

// faster is what follows when it went well.
func (st *site) faster(most float64) {
	st.limit = min(st.limit+1, most)
	if st.gap -= st.gap / 50; st.gap < firstGap/4 {
		st.gap = 0
	}
	st.good++
}

// forgive forgets all trouble with a domain: somebody wants it tried now.
func (s *Shaper) forgive(d queue.Bound) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.wayOf(d)
	delete(s.downs, w.hostKey())
	delete(s.downs, string(d.Domain))
	if st := s.sites[w.siteKey()]; st != nil {
		st.until, st.next = time.Time{}, time.Time{}
	}
}

// A generations is a map that forgets what was not looked up for long: when the
// young one is full it becomes the old one, and the old one is forgotten.
type generations[K comparable, V any] struct{ young, old map[K]V }

func (g *generations[K, V]) get(k K) (V, bool) {
	v, ok := g.young[k]
	if !ok {
		if v, ok = g.old[k]; ok {
			g.put(k, v)
		}
	}
	return v, ok
}

func (g *generations[K, V]) put(k K, v V) {
	if g.young == nil || len(g.young) >= maxSites/2 {
		g.old, g.young = g.young, map[K]V{}
	}
	g.young[k] = v
}

func (g *generations[K, V]) forget(k K) {
	delete(g.young, k)
	delete(g.old, k)
}
