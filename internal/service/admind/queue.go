package admind

import (
	"context"
	"net/http"
	"sort"
	"strings"
	"time"

	"posthaste/internal/agent/mta"
)

// waits tells, in a sentence, that an item still waits, and for how long it may.
func (it Item) waits(now time.Time, loc *time.Location) string {
	at := func(t time.Time) string { return t.In(loc).Format("2006-01-02 15:04") }
	s := "It still waits for " + strings.Join(it.Recipients, ", ")
	if it.Via != "" {
		s += ", to go by the way that an administrator chose: " + it.Via
	}
	switch {
	case it.Held:
		return s + ". An administrator holds it back: nothing happens before it is released."
	case it.Active:
		s += ". It is being sent at this moment."
	case it.Attempts == 0 && it.Next.After(now):
		s += ". It is to be sent at " + at(it.Next) + "."
	case it.Next.After(now):
		s += ". The next try is at " + at(it.Next) + "; if all fails, it is given up at " + at(it.Until) + "."
	default:
		s += ". The next try is due now."
	}
	if !it.By.IsZero() && !it.Return {
		s += " Its sender asked for it to be there by " + at(it.By) + ", and hears of it if it is not."
	}
	return s
}

func (s *Server) heaps(r *http.Request) (any, error) {
	list, err := s.Transfer.Summary(r.Context())
	if err != nil {
		return nil, err
	}
	out := make([]Heap, 0, len(list))
	for _, h := range list {
		out = append(out, Heap{
			To: h.To.Unicode(), Why: h.Why, Words: h.Words, Messages: h.Messages, Bytes: h.Bytes,
			Hour: h.Hour, Day: h.Day, Older: h.Older, Oldest: h.Oldest, Next: h.Next,
		})
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Messages != out[j].Messages {
			return out[i].Messages > out[j].Messages
		}
		return out[i].To+" "+out[i].Why < out[j].To+" "+out[j].Why
	})
	return out, nil
}

// action gives what an action does.
func (s *Server) action(name string) (func(context.Context, mta.Group) (int, error), error) {
	switch name {
	case "retry":
		return s.Transfer.Retry, nil
	case "hold":
		return s.Transfer.Hold, nil
	case "release":
		return s.Transfer.Release, nil
	case "bounce":
		return s.Transfer.Bounce, nil
	case "drop":
		return s.Transfer.Drop, nil
	}
	return nil, bad("what waits can be told to retry, hold, release, bounce or drop, not to %q", name)
}

func (s *Server) changeOne(r *http.Request) (any, error) {
	do, err := s.action(r.PathValue("action"))
	if err != nil {
		return nil, err
	}
	return changeID(r, do)
}

func (s *Server) drop(r *http.Request) (any, error) { return changeID(r, s.Transfer.Drop) }

func changeID(r *http.Request, do func(context.Context, mta.Group) (int, error)) (any, error) {
	id, err := traceID(r)
	if err != nil {
		return nil, err
	}
	n, err := do(r.Context(), mta.Group{ID: id})
	return Changed{Items: n}, err
}

func (s *Server) changeGroup(r *http.Request) (any, error) {
	do, err := s.action(r.PathValue("action"))
	if err != nil {
		return nil, err
	}
	in, err := decode[Group](r)
	if err != nil {
		return nil, err
	}
	return changeGroup(r, in, do)
}

func changeGroup(r *http.Request, in Group, do func(context.Context, mta.Group) (int, error)) (any, error) {
	if in == (Group{}) {
		return nil, bad("say which: to, from, why, or all")
	}
	g := mta.Group{From: in.From, Why: in.Why}
	if in.To != "" {
		var err error
		if g.To, err = domain(in.To); err != nil {
			return nil, err
		}
	}
	n, err := do(r.Context(), g)
	return Changed{Items: n}, err
}

// rerouting reads a Reroute, and gives what does it.
func (s *Server) rerouting(r *http.Request) (Reroute, func(context.Context, mta.Group) (int, error), error) {
	in, err := decode[Reroute](r)
	if err != nil {
		return in, nil, err
	}
	via, err := s.Way(in.Via)
	if err != nil {
		return in, nil, errRequest{err}
	}
	return in, func(ctx context.Context, g mta.Group) (int, error) { return s.Transfer.Reroute(ctx, g, via) }, nil
}

func (s *Server) rerouteGroup(r *http.Request) (any, error) {
	in, do, err := s.rerouting(r)
	if err != nil {
		return nil, err
	}
	return changeGroup(r, in.Group, do)
}

func (s *Server) rerouteOne(r *http.Request) (any, error) {
	_, do, err := s.rerouting(r)
	if err != nil {
		return nil, err
	}
	return changeID(r, do)
}
