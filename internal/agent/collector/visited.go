package collector

// Visited is a visit that has ended.
type Visited struct {
	Outcome  Outcome
	Messages int64 // that were fetched
	Bytes    int64 // in them
}

// An Outcome is how a visit has ended.
type Outcome string

// How a visit can end.
const (
	Good        Outcome = "good"
	Failed      Outcome = "failed"
	Stopped     Outcome = "stopped"     // as Failed, and nobody goes there again until its owner does something
	Interrupted Outcome = "interrupted" // the server stops, or the outpost was changed
)

// Outcomes are all of them.
func Outcomes() []Outcome { return []Outcome{Good, Failed, Stopped, Interrupted} }

// tell tells of a visit that has ended.
func (a *Agent) tell(done counts, interrupted, stopped bool, err error) {
	if a.Visited == nil {
		return
	}
	o := Good
	switch {
	case interrupted:
		o = Interrupted
	case stopped:
		o = Stopped
	case err != nil:
		o = Failed
	}
	a.Visited(Visited{Outcome: o, Messages: done.collected, Bytes: done.bytes})
}
