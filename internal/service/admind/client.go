package admind

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
)

// A Client calls the API over any transport: a socket, or a handler in the same
// process.
type Client struct {
	HTTP *http.Client
}

// InProcess gives a client of a handler without a network.
func InProcess(h http.Handler) *Client {
	return &Client{HTTP: &http.Client{Transport: direct{h}}}
}

type direct struct{ h http.Handler }

// RoundTrip runs the handler while the answer is read, so that streams stream.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	pr, pw := io.Pipe()
	w := &pipeWriter{pw: pw, header: http.Header{}, started: make(chan struct{}), code: http.StatusOK}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	go func() {
		d.h.ServeHTTP(w, r)
		w.start()
		pw.Close()
	}()
	<-w.started
	return &http.Response{StatusCode: w.code, Header: w.header, Body: pr, Request: r}, nil
}

type pipeWriter struct {
	pw      *io.PipeWriter
	header  http.Header
	code    int
	begun   bool
	started chan struct{}
}

func (w *pipeWriter) start() {
	if !w.begun {
		w.begun = true
		close(w.started)
	}
}

// Header is as of http.ResponseWriter.
func (w *pipeWriter) Header() http.Header { return w.header }

// WriteHeader is as of http.ResponseWriter.
func (w *pipeWriter) WriteHeader(code int) {
	if !w.begun {
		w.code = code
	}
	w.start()
}

// Write is as of http.ResponseWriter.
func (w *pipeWriter) Write(b []byte) (int, error) {
	w.start()
	return w.pw.Write(b)
}

// Flush is as of http.Flusher: a pipe holds nothing back.
func (w *pipeWriter) Flush() {}

// do calls the API; in and out may be nil.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	res, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(out)
}

func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	return c.sendBody(ctx, method, path, body)
}

// Metrics writes the metrics to w, as text.
func (c *Client) Metrics(ctx context.Context, w io.Writer) error {
	res, err := c.send(ctx, http.MethodGet, "/v1/metrics", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(w, res.Body)
	return err
}

// stream calls the API with a body of any length.
func (c *Client) stream(ctx context.Context, path string, in io.Reader, out any) error {
	res, err := c.sendBody(ctx, http.MethodPost, path, in)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(out)
}

func (c *Client) sendBody(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://posthaste"+path, body)
	if err != nil {
		return nil, err
	}
	res, err := c.HTTP.Do(r)
	if err != nil {
		return nil, unanswered(err)
	}
	if res.StatusCode/100 != 2 {
		defer res.Body.Close()
		var p Problem
		if err := json.NewDecoder(res.Body).Decode(&p); err != nil || p.Error == "" {
			return nil, fmt.Errorf("the server answered %s", res.Status)
		}
		return nil, errors.New(p.Error)
	}
	return res, nil
}

// unanswered says that there was no answer, without the URL, which nobody has typed.
func unanswered(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("the server has ended meanwhile (%w): start it, and run the command again", err)
	}
	return fmt.Errorf("the server does not answer: %w", err)
}

// Status asks the server about itself.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.do(ctx, http.MethodGet, "/v1/status", nil, &s)
}

// RecordOptions are what not everybody wants in the DNS.
type RecordOptions struct {
	Failures bool // reports on single messages that were not proven to be the domain's
}

// Records gives what a domain should have in the DNS.
func (c *Client) Records(ctx context.Context, domain string, o RecordOptions) (out []Record, err error) {
	path := "/v1/domains/" + url.PathEscape(domain) + "/dns"
	if o.Failures {
		path += "?failures=true"
	}
	return out, c.do(ctx, http.MethodGet, path, nil, &out)
}

// Accounts gives all accounts.
func (c *Client) Accounts(ctx context.Context) (out []Account, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/accounts", nil, &out)
}

// AddAccount adds an account.
func (c *Client) AddAccount(ctx context.Context, a Account) error {
	return c.do(ctx, http.MethodPost, "/v1/accounts", a, nil)
}

// RemoveAccount removes an account and its mail.
func (c *Client) RemoveAccount(ctx context.Context, address string) error {
	return c.do(ctx, http.MethodDelete, "/v1/accounts/"+url.PathEscape(address), nil, nil)
}

// SetQuota changes how much an account may take, 0 for no limit, and gives what it takes.
func (c *Client) SetQuota(ctx context.Context, address string, quota int64) (out Account, err error) {
	return out, c.do(ctx, http.MethodPut, "/v1/accounts/"+url.PathEscape(address)+"/quota", Account{Quota: quota}, &out)
}

// SetPassword sets an account's password.
func (c *Client) SetPassword(ctx context.Context, address, password string) error {
	return c.do(ctx, http.MethodPut, "/v1/accounts/"+url.PathEscape(address)+"/password", Account{Password: password}, nil)
}

// Queue calls fn for all that waits, in pages; within a page the oldest is first.
func (c *Client) Queue(ctx context.Context, fn func([]Item)) error {
	after := ""
	for {
		var page Items
		if err := c.do(ctx, http.MethodGet, "/v1/queue"+after, nil, &page); err != nil {
			return err
		}
		if len(page.Items) > 0 {
			fn(page.Items)
		}
		if page.Last == 0 {
			return nil
		}
		after = "?after=" + strconv.FormatUint(page.Last, 10)
	}
}

// QueueSummary gives what waits, by destination and reason, the most first.
func (c *Client) QueueSummary(ctx context.Context) (out []Heap, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/queue/summary", nil, &out)
}

// ChangeQueued does something to what waits of a message: retry, hold, release,
// bounce or drop. It tells to how much.
func (c *Client) ChangeQueued(ctx context.Context, action, id string) (n int, err error) {
	var out Changed
	err = c.do(ctx, http.MethodPost, "/v1/queue/"+url.PathEscape(id)+"/"+action, nil, &out)
	return out.Items, err
}

// ChangeGroup does the same to a group.
func (c *Client) ChangeGroup(ctx context.Context, action string, g Group) (n int, err error) {
	var out Changed
	err = c.do(ctx, http.MethodPost, "/v1/queue/"+action, g, &out)
	return out.Items, err
}

// Reroute has what waits of a message go another way: "mx", the name of a route,
// host:port, or "default".
func (c *Client) Reroute(ctx context.Context, id, via string) (n int, err error) {
	var out Changed
	err = c.do(ctx, http.MethodPost, "/v1/queue/"+url.PathEscape(id)+"/reroute", Reroute{Via: via}, &out)
	return out.Items, err
}

// RerouteGroup does the same to a group.
func (c *Client) RerouteGroup(ctx context.Context, g Group, via string) (n int, err error) {
	var out Changed
	err = c.do(ctx, http.MethodPost, "/v1/queue/reroute", Reroute{Group: g, Via: via}, &out)
	return out.Items, err
}

// Story gives what happened to a message.
func (c *Client) Story(ctx context.Context, id string) (s Story, err error) {
	return s, c.do(ctx, http.MethodGet, "/v1/messages/"+url.PathEscape(id)+"/story", nil, &s)
}

// Check verifies the stores, and tells of each finding as it comes.
func (c *Client) Check(ctx context.Context, fn func(Finding)) error {
	res, err := c.send(ctx, http.MethodPost, "/v1/check", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	d := json.NewDecoder(res.Body)
	for {
		var f Finding
		if err := d.Decode(&f); err != nil {
			return fmt.Errorf("the server stopped before the check was done: %w", err)
		}
		if f.End {
			if f.Error != "" {
				return errors.New(f.Error)
			}
			return nil
		}
		fn(f)
	}
}
