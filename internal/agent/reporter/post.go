package reporter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"posthaste/internal/base/fetch"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/reports"
)

const (
	// postTime bounds what one report may take by https, and postAll those of a round.
	postTime = 20 * time.Second
	postAll  = 10 * time.Minute
	// postFor is for how long it is tried. RFC 8460 §5.5
	postFor = 24 * time.Hour
	// maxAnswer is how much of an answer is read.
	maxAnswer = 64 << 10
	maxURI    = 500 // bytes
)

// postable tells whether reports can be sent to a URI: to a host with a name, as
// somebody else says where.
func postable(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil || len(uri) > maxURI || !strings.EqualFold(u.Scheme, "https") || u.User != nil || !strings.Contains(u.Hostname(), ".") {
		return false
	}
	_, err = netip.ParseAddr(u.Hostname())
	return err != nil
}

// postTLS sends a report on TLS to where it is still to go by https. What fails is
// tried again in the next rounds, for a day. RFC 8460 §5.4
func (a *Agent) postTLS(ctx context.Context, seen reports.Seen, s reports.Sending, from mail.Address, now time.Time, posting context.Context) error {
	if posting.Err() != nil {
		return nil // the next round has time again
	}
	zipped, err := a.reportTLS(seen, from).Zip()
	if err != nil {
		return err
	}
	var left, notes []string
	for _, uri := range s.Left {
		err := a.post(posting, uri, zipped)
		switch {
		case err == nil:
			s.To = append(s.To, uri)
			continue
		case now.Sub(s.At) < postFor:
			left = append(left, uri)
		}
		a.Log.Info("a report on TLS could not be sent by https", "domain", string(seen.Domain), "to", trace.Cut(uri, maxURI), "error", err, "again", now.Sub(s.At) < postFor)
		notes = append(notes, trace.Cut(fmt.Sprintf("%s: %v", uri, err), 200))
	}
	s.Left, s.Note = left, strings.Join(notes, "; ")
	err = a.DB.Update(context.WithoutCancel(ctx), kv.Plan{Locks: []kv.Lock{reports.Lock()}}, func(tx kv.Tx) error {
		reports.PutSent(tx, s)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reporter: %w", err)
	}
	return nil
}

// post sends a packed report.
func (a *Agent) post(ctx context.Context, uri string, zipped []byte) error {
	ctx, cancel := context.WithTimeout(ctx, postTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, uri, bytes.NewReader(zipped))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/tlsrpt+gzip")
	req.Header.Set("User-Agent", Generator)
	status, _, err := fetch.Answer(a.Web, req, maxAnswer)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err // which does not name the place again
		}
		return err
	}
	if status/100 != 2 {
		return fmt.Errorf("it answered %d %s", status, http.StatusText(status))
	}
	return nil
}
