package imapd

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
)

// A model is a mailbox as simple as can be: the flags of each UID, but for \Seen,
// which each of two people may have of their own.
type model struct {
	next  int
	flags map[int][]string
	seen  [2]map[int]bool // of the owner, and of the other
	own   bool
}

func newModel() *model {
	return &model{next: 1, flags: map[int][]string{}, seen: [2]map[int]bool{{}, {}}}
}

func (m *model) uids() []int { return slices.Sorted(maps.Keys(m.flags)) }

// of gives the model as one of them has it.
func (m *model) of(who int) *model {
	out := &model{flags: map[int][]string{}}
	for u, f := range m.flags {
		if out.flags[u] = slices.Clone(f); m.seen[who][u] {
			out.flags[u] = append(out.flags[u], `\Seen`)
		}
	}
	return out
}

// share says whose \Seen is from now on.
func (m *model) share(own bool) {
	if m.own && !own {
		m.seen[1] = maps.Clone(m.seen[0])
	}
	m.own = own
}

// see notes what one of them has seen.
func (m *model) see(who, u int, seen bool) {
	for i := range m.seen {
		if i == who || !m.own {
			m.seen[i][u] = seen
		}
	}
}

func (m *model) add(who int, flags []string) {
	m.flags[m.next] = without(flags, `\Seen`)
	m.see(who, m.next, slices.Contains(flags, `\Seen`))
	m.next++
}

func without(list []string, f string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == f })
}

// copy adds a copy of a message. One that moves is the same for all.
func (m *model) copy(who, u int, moved bool) {
	m.flags[m.next] = slices.Clone(m.flags[u])
	m.see(who, m.next, m.seen[who][u])
	if moved {
		m.seen[0][m.next], m.seen[1][m.next] = m.seen[0][u], m.seen[1][u]
		delete(m.flags, u)
	}
	m.next++
}

func (m *model) store(who int, uids []int, op string, flags []string) {
	if i := slices.Index(flags, `\Seen`); i >= 0 || op == "" {
		for _, u := range uids {
			m.see(who, u, i >= 0 && op != "-")
		}
		flags = without(flags, `\Seen`)
	}
	for _, u := range uids {
		have, ok := m.flags[u]
		if !ok {
			continue
		}
		switch op {
		case "":
			have = slices.Clone(flags)
		case "+":
			for _, f := range flags {
				if !slices.Contains(have, f) {
					have = append(slices.Clone(have), f)
				}
			}
		case "-":
			have = slices.DeleteFunc(slices.Clone(have), func(f string) bool { return slices.Contains(flags, f) })
		}
		m.flags[u] = have
	}
}

func (m *model) expunge(uids []int) {
	for _, u := range uids {
		if slices.Contains(m.flags[u], `\Deleted`) {
			delete(m.flags, u)
		}
	}
}

// String gives the model as one can compare it.
func (m *model) String() string {
	var b strings.Builder
	for _, u := range m.uids() {
		fmt.Fprintf(&b, "%d %s\n", u, slices.Sorted(slices.Values(m.flags[u])))
	}
	return b.String()
}

// A cache is what a client with QRESYNC keeps of a mailbox while it is away.
type cache struct {
	model
	validity, modSeq string
}

// hear takes what a server says.
func (c *cache) hear(t *testing.T, lines []string) {
	for _, l := range lines {
		switch {
		case strings.HasPrefix(l, "* OK [UIDVALIDITY "):
			c.validity = strings.TrimSuffix(strings.Fields(l)[3], "]")
		case strings.HasPrefix(l, "* OK [HIGHESTMODSEQ "):
			c.modSeq = strings.TrimSuffix(strings.Fields(l)[3], "]")
		case strings.HasPrefix(l, "* VANISHED "):
			set, err := mail.ParseUIDSet(l[strings.LastIndexByte(l, ' ')+1:])
			if err != nil {
				t.Fatal(l, err)
			}
			for u := range set.All() {
				delete(c.flags, int(u))
			}
		case strings.Contains(l, " FETCH (UID "):
			w := strings.Fields(l)
			uid, err := strconv.Atoi(w[4])
			_, rest, ok := strings.Cut(l, "FLAGS (")
			list, _, ok2 := strings.Cut(rest, ")")
			if err != nil || !ok || !ok2 {
				t.Fatal(l, err)
			}
			c.flags[uid] = slices.DeleteFunc(strings.Fields(list), func(f string) bool { return f == `\Recent` })
		}
	}
}

// TestModel runs random commands in several sessions, one of them of somebody
// with whom the mailbox is shared, against a model, and looks
// that a client which was away knows, after QRESYNC in any of its forms, just
// what a client knows that fetches everything. RFC 7162
func TestModel(t *testing.T) {
	now := uint64(time.Now().UnixNano())
	// The first have failed before, or show the same each time.
	for _, seed := range []uint64{1795923780297362567, 0, 1, 2, 3, now, now + 1, now + 2, now + 3} {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			modelRun(t, rand.New(rand.NewPCG(seed, 7)))
		})
	}
}

func modelRun(t *testing.T, rnd *rand.Rand) {
	srv := newServer(t)
	m := newModel()
	var sessions []*client
	for range 3 {
		c := newClient(t, srv)
		c.do("SELECT INBOX")
		sessions = append(sessions, c)
	}
	grant(t, srv, "INBOX", "lrswite")
	b := clientOf(t, srv, "bob")
	b.box = adasInbox
	b.do("SELECT " + b.box)
	sessions = append(sessions, b)
	m.share(true)
	away := [2]*cache{{model: *newModel()}, {model: *newModel()}}
	for range 60 {
		for range rnd.IntN(8) {
			modelStep(t, rnd, sessions[rnd.IntN(len(sessions))], m)
		}
		if rnd.IntN(6) == 0 {
			m.share(rnd.IntN(2) == 0)
			mode := map[bool]string{true: "own", false: "common"}[m.own]
			sessions[0].do(`SETMETADATA INBOX (/shared/vendor/posthaste/seen "` + mode + `")`)
		}
		if rnd.IntN(5) == 0 {
			if err := srv.Mail.Fold(context.Background(), ada); err != nil {
				t.Fatal(err)
			}
		}
		for who, c := range away {
			back := clientOf(t, srv, [2]string{"ada", "bob"}[who])
			back.box = [2]string{"INBOX", adasInbox}[who]
			c.resync(t, rnd, back)
			if got, want := c.String(), m.of(who).String(); got != want {
				t.Fatalf("after a resync %d has\n%swant\n%s", who, got, want)
			}
		}
		s := sessions[rnd.IntN(len(sessions))]
		s.do("NOOP")
		full := &cache{model: *newModel()}
		full.hear(t, s.do("UID FETCH 1:* FLAGS"))
		if got, want := full.String(), m.of(s.who()).String(); got != want {
			t.Fatalf("a full fetch gives %d\n%swant\n%s", s.who(), got, want)
		}
		s.compareCounts(t, m.of(s.who()))
	}
}

// who is 1 for the one with whom the mailbox is shared.
func (c *client) who() int {
	if c.box == adasInbox {
		return 1
	}
	return 0
}

// compareCounts looks that STATUS and SEARCH say what the model does.
func (c *client) compareCounts(t *testing.T, m *model) {
	t.Helper()
	var unseen []string
	for _, u := range m.uids() {
		if !slices.Contains(m.flags[u], `\Seen`) {
			unseen = append(unseen, strconv.Itoa(u))
		}
	}
	if out := c.do("STATUS " + c.box + " (UNSEEN)"); !strings.HasSuffix(out[0], fmt.Sprintf("(UNSEEN %d)", len(unseen))) {
		t.Fatalf("%s, want %d", out[0], len(unseen))
	}
	if out := c.do("UID SEARCH UNSEEN"); strings.TrimSpace(out[0]) != strings.TrimSpace("* SEARCH "+strings.Join(unseen, " ")) {
		t.Fatalf("%s, want %v", out[0], unseen)
	}
}

// resync brings the cache up to date, in one of the ways there are.
func (c *cache) resync(t *testing.T, rnd *rand.Rand, s *client) {
	defer s.do("LOGOUT")
	s.do("ENABLE QRESYNC")
	known := ""
	if len(c.flags) > 0 && rnd.IntN(2) == 0 {
		known = " 1:" + strconv.Itoa(slices.Max(c.uids())+100_000)
		if rnd.IntN(2) == 0 {
			known += fmt.Sprintf(" (%d %d)", len(c.flags), slices.Max(c.uids()))
		}
	}
	switch {
	case c.validity == "":
		c.hear(t, s.do("SELECT "+s.box))
		c.hear(t, s.do("UID FETCH 1:* FLAGS"))
	case rnd.IntN(2) == 0:
		c.hear(t, s.do("SELECT "+s.box+" (QRESYNC ("+c.validity+" "+c.modSeq+known+"))"))
	default:
		since := c.modSeq
		c.hear(t, s.do("SELECT "+s.box))
		c.hear(t, s.do("UID FETCH 1:* (FLAGS) (CHANGEDSINCE "+since+" VANISHED)"))
		// Below "1:*" is not what is gone from above the highest there is.
		c.hear(t, s.do("UID FETCH 1:4294967295 (FLAGS) (CHANGEDSINCE "+since+" VANISHED)"))
	}
}

// modelStep does something in a session and in the model.
func modelStep(t *testing.T, rnd *rand.Rand, s *client, m *model) {
	s.do("NOOP")
	var uids []int
	var set mail.UIDSet
	for _, u := range m.uids() {
		if rnd.IntN(3) == 0 {
			uids = append(uids, u)
			set.Add(mail.UID(u))
		}
	}
	var flags []string
	for _, f := range []string{`\Seen`, `\Flagged`, `\Deleted`, "k1", "k2", "$Junk"} {
		if rnd.IntN(3) == 0 {
			flags = append(flags, f)
		}
	}
	command := ""
	switch k := rnd.IntN(8); {
	case k < 2 && len(m.flags) < 30 || len(uids) == 0:
		command = fmt.Sprintf("APPEND %s (%s) {5+}\r\na: b\n", s.box, strings.Join(flags, " "))
		m.add(s.who(), flags)
	case k < 5:
		op := []string{"", "+", "-"}[rnd.IntN(3)]
		command = fmt.Sprintf("UID STORE %v %sFLAGS%s (%s)", set, op, []string{"", ".SILENT"}[rnd.IntN(2)], strings.Join(flags, " "))
		m.store(s.who(), uids, op, flags)
	case k == 5:
		command = "EXPUNGE"
		m.expunge(m.uids())
	case k == 6:
		command = "UID EXPUNGE " + set.String()
		m.expunge(uids)
	default:
		command = "UID COPY " + set.String() + " " + s.box
		if len(m.flags) > 30 || rnd.IntN(2) == 0 {
			command = "UID MOVE " + set.String() + " " + s.box
		}
		for _, u := range uids {
			m.copy(s.who(), u, strings.Contains(command, "MOVE"))
		}
	}
	out := s.do(command)
	if last := out[len(out)-1]; !strings.HasPrefix(last, "OK") {
		t.Fatalf("%s: %s", command, last)
	}
}
