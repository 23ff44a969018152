package admind

import (
	"context"
	"net/http"
	"net/url"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/queue"
)

// Ties are what else has to do with an account.
type Ties struct {
	Aliases  []string `json:"aliases,omitempty"`  // that lead to it
	Forwards []string `json:"forwards,omitempty"` // accounts that have their mail sent on to it
	Waiting  int      `json:"waiting,omitempty"`  // messages that it has sent, in the queue
}

func (s *Server) ties(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	var out Ties
	list, err := s.Directory.Leading(r.Context(), a)
	if err != nil {
		return nil, err
	}
	for _, t := range list {
		switch {
		case t.Alias != nil && t.Found.Local == "":
			out.Aliases = append(out.Aliases, "@"+t.Found.Domain.String())
		case t.Alias != nil:
			out.Aliases = append(out.Aliases, t.Found.String())
		default:
			out.Forwards = append(out.Forwards, t.Found.String())
		}
	}
	sent := map[mail.TraceID]bool{}
	err = s.Queue.Each(r.Context(), func(it queue.Item) bool {
		if !it.Envelope.Sender.IsZero() && directory.Canonical(it.Envelope.Sender) == directory.Canonical(a.Address) {
			sent[it.Envelope.Trace] = true
		}
		return true
	})
	out.Waiting = len(sent)
	return out, err
}

// Ties gives what else has to do with an account.
func (c *Client) Ties(ctx context.Context, address string) (out Ties, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/accounts/"+url.PathEscape(address)+"/ties", nil, &out)
}
