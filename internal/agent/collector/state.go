package collector

import (
	"time"

	"posthaste/internal/store/outpost"
)

// State tells how an outpost stands, and what to do if that is not well; times are
// those of the zone.
func State(e *outpost.Entry, now time.Time, zone *time.Location) string {
	when := func(t time.Time) string { return t.In(zone).Format("2006-01-02 15:04") }
	switch {
	case e.Secret == "":
		return "waits for a password"
	case e.Paused:
		return "paused"
	case e.Idle && e.Active(now):
		return "waits for new mail, of which it hears at once"
	case e.Active(now):
		return "collecting"
	case e.Stopped:
		return "given up until it is changed. " + e.Error
	case e.Error != "":
		return "failed at " + when(e.Ended) + ", again at " + when(e.Next) + ". " + e.Error
	case e.Good.IsZero():
		return "not visited yet"
	}
	return "all is well; last at " + when(e.Good) + ", next at " + when(e.Next)
}
