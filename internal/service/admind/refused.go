package admind

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/store/directory"
)

// Refusals is mail to somebody that was refused for the same reason.
type Refusals struct {
	Why     string    `json:"why"`
	Later   bool      `json:"later,omitempty"` // the sender was asked to try again
	Count   int       `json:"count"`
	Senders []string  `json:"senders"` // the first of them
	Last    time.Time `json:"last"`
	ID      string    `json:"id"` // of the last
}

const (
	maxRefusals = 1000 // reasons
	maxSenders  = 5
)

// refused gives the refusals for an address, the most first.
func (s *Server) refused(r *http.Request) (any, error) {
	to, err := address(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	hours := 24
	if h := r.URL.Query().Get("hours"); h != "" {
		if hours, err = strconv.Atoi(h); err != nil || hours < 1 || hours > 24*366 {
			return nil, bad("%q is no number of hours", h)
		}
	}
	to = directory.Canonical(to)
	by := map[string]*Refusals{}
	err = s.Journal.Each(r.Context(), time.Now().Add(-time.Duration(hours)*time.Hour), func(e trace.Event) bool {
		if e.Kind == trace.Refused && directory.Canonical(e.Rcpt) == to {
			count(by, e)
		}
		return true
	})
	out := []Refusals{}
	for _, x := range by {
		out = append(out, *x)
	}
	slices.SortFunc(out, func(a, b Refusals) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Why, b.Why)) })
	return out, err
}

func count(by map[string]*Refusals, e trace.Event) {
	key := e.Status.String() + " " + e.Text
	x := by[key]
	if x == nil {
		if len(by) >= maxRefusals {
			return
		}
		x = &Refusals{Why: strings.TrimRight(e.Text, "."), Later: e.Status.Temporary()}
		by[key] = x
	}
	x.Count++
	if from := sender(e.Sender); len(x.Senders) < maxSenders && !slices.Contains(x.Senders, from) {
		x.Senders = append(x.Senders, from)
	}
	if !e.Time.Before(x.Last) {
		x.Last, x.ID = e.Time, e.Trace.String()
	}
}

func sender(a mail.Address) string {
	if a.IsZero() {
		return "the mail system itself"
	}
	return a.String()
}

// Refused gives what of an address's mail was refused in the last hours.
func (c *Client) Refused(ctx context.Context, address string, hours int) (out []Refusals, err error) {
	return out, c.do(ctx, http.MethodGet, fmt.Sprintf("/v1/addresses/%s/refused?hours=%d", url.PathEscape(address), hours), nil, &out)
}
