package admind

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// A Suppressed address is one elsewhere to which nothing is sent for a while.
type Suppressed struct {
	Address string    `json:"address"`
	Count   int       `json:"count"` // messages that have come back
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Until   time.Time `json:"until"`
	Text    string    `json:"text"` // what the server said
}

func (s *Server) suppressed(r *http.Request) (any, error) {
	out := []Suppressed{}
	list, err := s.Suppression.All(r.Context())
	for _, e := range list {
		out = append(out, Suppressed{Address: e.Address.String(), Count: e.Count, First: e.First, Last: e.Last, Until: s.Suppression.Until(e), Text: e.Text})
	}
	return out, err
}

func (s *Server) unsuppress(r *http.Request) (any, error) {
	a, err := address(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	return struct{}{}, s.Suppression.Remove(r.Context(), a)
}

// Suppressed gives the addresses to which nothing is sent for a while.
func (c *Client) Suppressed(ctx context.Context) (out []Suppressed, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/suppression", nil, &out)
}

// Unsuppress lets mail go to an address again.
func (c *Client) Unsuppress(ctx context.Context, address string) error {
	return c.do(ctx, http.MethodDelete, "/v1/suppression/"+url.PathEscape(address), nil, nil)
}
