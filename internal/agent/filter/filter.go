// Package filter has programs outside say what they think of a message while it is
// taken, over milter.
package filter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/milter"
	"posthaste/internal/store/body"
	"posthaste/internal/store/directory"
)

// A Filter is a program outside that is asked about each message, stage by stage
// (milter). Address and Dial must be set.
type Filter struct {
	Address string // for the log
	Dial    func(ctx context.Context) (net.Conn, error)
	// Timeout is how long an answer may take; 0 is 30 seconds. The answer to the end
	// of a message may take ten times that.
	Timeout time.Duration
	// Optional: mail is taken without the filter when it fails; else the sender must
	// try again.
	Optional bool
}

// errFilter is what the sender hears when a filter fails that is not optional.
var errFilter = mail.Refuse("4.7.1", "a filter does not answer, try again later", "")

// A filtering is a message at a filter.
type filtering struct {
	f    Filter
	conn net.Conn
	s    *milter.Session
	junk string // why it is junk; empty if it is not
	// over: there is nothing more to ask; failed is what the client hears then.
	over   bool
	failed error
}

// A Chain is a message at the filters, one after the other. All fields but MaySend
// must be set.
type Chain struct {
	Filters  []Filter
	Hostname string
	Bodies   *body.Store
	Log      *slog.Logger
	Peer     mail.Peer
	Envelope *mail.Envelope // which filters may change
	// Accepts says whether a filter may add a recipient, MaySend whether it may put
	// another sender; nil: any.
	Accepts func(ctx context.Context, to mail.Recipient) error
	MaySend func(ctx context.Context, from mail.Address) error

	list  []*filtering // nil: they have not been asked yet
	whole error        // what one said of the whole message
}

// Rcpt asks the filters about a recipient; before the first, about who brings the
// message.
func (t *Chain) Rcpt(ctx context.Context, to mail.Address) error {
	if t.list == nil {
		t.list = make([]*filtering, 0, len(t.Filters))
		for _, f := range t.Filters {
			x := &filtering{f: f}
			t.list = append(t.list, x)
			if err := x.run(t.Log, func() (milter.Verdict, error) { return x.open(ctx, t) }); err != nil {
				t.whole = err
				break
			}
		}
	}
	if t.whole != nil {
		return t.whole
	}
	for _, x := range t.list {
		err := x.run(t.Log, func() (milter.Verdict, error) {
			x.s.Macros(milter.StageRcpt, milter.Macro{Name: "{rcpt_addr}", Value: to.String()})
			return x.s.Rcpt(to)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// run asks a filter, if there still is something to ask, and gives what the client
// hears of it.
func (x *filtering) run(log *slog.Logger, ask func() (milter.Verdict, error)) error {
	if x.over {
		return x.failed
	}
	v, err := ask()
	switch {
	case err != nil:
		log.Warn("a filter fails", "filter", x.f.Address, "error", err)
		x.close()
		if x.over = true; !x.f.Optional {
			x.failed = errFilter
		}
		return x.failed
	case v.Refusal != nil:
		return v.Refusal
	case v.Decision == milter.Discard:
		// Mail that we have said yes to is not lost without a trace.
		x.junk = "a filter wants it thrown away"
	}
	return nil
}

// open tells the filter who brings the message.
func (x *filtering) open(ctx context.Context, t *Chain) (milter.Verdict, error) {
	timeout := x.f.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	dctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := x.f.Dial(dctx)
	if err != nil {
		return milter.Verdict{}, err
	}
	x.conn = conn
	wait := func(st milter.Stage) {
		d := timeout
		if st == milter.StageEnd {
			d *= 10
		}
		conn.SetDeadline(time.Now().Add(d))
	}
	wait(milter.StageConnect)
	if x.s, err = milter.Open(conn, wait); err != nil {
		return milter.Verdict{}, err
	}
	x.s.Macros(milter.StageConnect, milter.Macro{Name: "j", Value: t.Hostname}, milter.Macro{Name: "{daemon_name}", Value: "Posthaste"}, milter.Macro{Name: "v", Value: "Posthaste"})
	v, err := x.s.Connect(t.Peer.Name, t.Peer.Addr)
	if err != nil || v.Decision != milter.Continue {
		return v, err
	}
	if tls := t.Peer.TLS; tls != nil {
		x.s.Macros(milter.StageHelo, milter.Macro{Name: "{tls_version}", Value: tls.Version}, milter.Macro{Name: "{cipher}", Value: tls.Cipher})
	}
	if v, err = x.s.Helo(t.Peer.Hello); err != nil || v.Decision != milter.Continue {
		return v, err
	}
	macros := []milter.Macro{{Name: "i", Value: t.Envelope.Trace.String()}, {Name: "{mail_addr}", Value: t.Envelope.Sender.String()}}
	if t.Peer.Account != 0 {
		macros = append(macros, milter.Macro{Name: "{auth_authen}", Value: t.Peer.Login.String()}, milter.Macro{Name: "{auth_type}", Value: t.Peer.Mechanism})
	}
	x.s.Macros(milter.StageMail, macros...)
	return x.s.Mail(t.Envelope.Sender)
}

// quitTime is how long a filter may take to hear that it is over.
const quitTime = 100 * time.Millisecond

func (x *filtering) close() {
	if x.conn == nil {
		return
	}
	if x.s != nil {
		x.conn.SetDeadline(time.Now().Add(quitTime))
		x.s.Quit()
	}
	x.conn.Close()
	x.conn = nil
}

// Close ends the conversations.
func (t *Chain) Close() {
	for _, x := range t.list {
		x.close()
	}
	t.list = nil
}

// Message gives the message to the filters, one after the other, each as the
// one before has left it. The message it gives may be another one, which the caller
// closes; why tells that it is junk.
func (t *Chain) Message(ctx context.Context, st *body.Staged) (out *body.Staged, why string, err error) {
	out = st
	for _, x := range t.list {
		var next *body.Staged
		err := x.run(t.Log, func() (v milter.Verdict, err error) {
			next, v, err = x.message(ctx, t, out)
			return v, err
		})
		if next != nil {
			if out != st {
				out.Close()
			}
			out = next
		}
		if why == "" {
			why = x.junk
		}
		if err != nil {
			return out, why, err
		}
	}
	if len(t.Envelope.Recipients) == 0 {
		return out, why, mail.Refuse("5.7.1", "a filter has taken all recipients away", "")
	}
	return out, why, nil
}

// message gives the message to one filter; out is nil if it stays as it is.
func (x *filtering) message(ctx context.Context, t *Chain, st *body.Staged) (out *body.Staged, v milter.Verdict, err error) {
	header, err := mda.Header(st)
	if err != nil {
		return nil, v, err
	}
	x.s.Macros(milter.StageData, milter.Macro{Name: "i", Value: t.Envelope.Trace.String()})
	if v, err = x.s.Data(); err != nil || v.Decision != milter.Continue {
		return nil, v, err
	}
	for f := range message.Fields(header) {
		if len(f.Name) == 0 {
			continue
		}
		if v, err = x.s.Header(string(f.Name), string(f.Value)); err != nil || v.Decision != milter.Continue {
			return nil, v, err
		}
	}
	if v, err = x.s.EndOfHeader(); err != nil || v.Decision != milter.Continue {
		return nil, v, err
	}
	size := st.Size() - int64(len(header))
	if v, err = x.s.Body(io.NewSectionReader(st, int64(len(header)), size)); err != nil || v.Decision != milter.Continue {
		return nil, v, err
	}
	x.s.Macros(milter.StageEnd, milter.Macro{Name: "i", Value: t.Envelope.Trace.String()})
	return x.end(ctx, t, st, header)
}

// end has the filter say what it wants changed, and changes it.
func (x *filtering) end(ctx context.Context, t *Chain, st *body.Staged, header []byte) (out *body.Staged, v milter.Verdict, err error) {
	pr, pw := io.Pipe()
	fresh := make(chan *body.Staged, 1)
	go func() {
		b, err := t.Bodies.Stage(ctx, pr)
		pr.CloseWithError(err)
		fresh <- b // nil if err is not
	}()
	v, changes, replaced, err := x.s.End(&bounded{w: pw, room: 2*st.Size() + 1<<20})
	pw.CloseWithError(err)
	b := <-fresh
	if b != nil {
		defer b.Close()
	}
	if err != nil || v.Refusal != nil {
		return nil, v, err
	}
	if replaced && b == nil {
		return nil, v, errors.New("filter: the new body could not be kept")
	}
	changed := t.envelope(ctx, x, changes)
	if !replaced && !changed {
		return nil, v, nil
	}
	rest := io.Reader(io.NewSectionReader(st, int64(len(header)), st.Size()-int64(len(header))))
	if replaced {
		rest = io.NewSectionReader(b, 0, b.Size())
	}
	out, err = t.Bodies.Stage(ctx, io.MultiReader(strings.NewReader(string(Edit(header, changes))), rest))
	return out, v, err
}

// A bounded writer takes so much and no more.
type bounded struct {
	w    io.Writer
	room int64
}

// Write writes as io.Writer does.
func (b *bounded) Write(p []byte) (int, error) {
	if b.room -= int64(len(p)); b.room < 0 {
		return 0, errors.New("filter: a filter's new body is too large")
	}
	return b.w.Write(p)
}

// envelope makes the changes that are none of the header, and tells whether there
// are others.
func (t *Chain) envelope(ctx context.Context, x *filtering, changes []milter.Change) (others bool) {
	for _, c := range changes {
		switch c.Kind {
		case milter.Quarantine:
			x.junk = "a filter says so"
			if c.Value != "" {
				x.junk += ": " + trace.Plain(c.Value, maxReason)
			}
		case milter.ChangeFrom, milter.AddRcpt, milter.DeleteRcpt:
			if err := t.readdress(ctx, c); err != nil {
				t.Log.Warn("a filter's change is not made", "filter", x.f.Address, "id", t.Envelope.Trace.String(), "address", c.Value, "error", err)
			}
		default:
			others = true
		}
	}
	return others
}

// readdress changes sender or recipients. New recipients must be such as anybody
// could name.
func (t *Chain) readdress(ctx context.Context, c milter.Change) error {
	a, err := Bracketed(c.Value)
	if err != nil && (c.Kind != milter.ChangeFrom || c.Value != "<>" && c.Value != "") {
		return err
	}
	switch c.Kind {
	case milter.ChangeFrom:
		if t.MaySend != nil {
			if err := t.MaySend(ctx, a); err != nil {
				return err
			}
		}
		t.Envelope.Sender = a
	case milter.DeleteRcpt:
		t.Envelope.Recipients = slices.DeleteFunc(t.Envelope.Recipients, func(r mail.Recipient) bool {
			return directory.Canonical(r.Address) == directory.Canonical(a)
		})
	case milter.AddRcpt:
		if len(t.Envelope.Recipients) >= maxFiltered {
			return fmt.Errorf("filter: more than %d recipients: %w", maxFiltered, mail.ErrLimit)
		}
		if err := t.Accepts(ctx, mail.Recipient{Address: a}); err != nil {
			return err
		}
		t.Envelope.Recipients = append(t.Envelope.Recipients, mail.Recipient{Address: a})
	}
	return nil
}

// maxReason is how many bytes of a filter's reason are told.
const maxReason = 200

// maxFiltered is how many recipients a message may have by what filters add.
const maxFiltered = 1000

// Bracketed reads an address with or without its brackets.
func Bracketed(s string) (mail.Address, error) {
	return mail.ParseAddress(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(s), "<"), ">"))
}

// Edit gives a header with the changes that a filter wants.
func Edit(header []byte, changes []milter.Change) []byte {
	type field struct{ name, raw string }
	var fields []field
	end := 0
	for f := range message.Fields(header) {
		fields = append(fields, field{string(f.Name), string(f.Raw)})
		end = f.Offset + len(f.Raw)
	}
	last := func() int { // where one goes that comes last
		if n := len(fields); n > 0 && !strings.HasSuffix(fields[n-1].raw, "\n") {
			return n - 1 // of a header that is too long to be looked at whole
		}
		return len(fields)
	}
	for _, c := range changes {
		fresh := field{c.Name, c.Name + ":" + folded(c.Value) + "\r\n"}
		switch c.Kind {
		case milter.AddHeader:
			fields = slices.Insert(fields, last(), fresh)
		case milter.InsertHeader:
			fields = slices.Insert(fields, min(c.Index, last()), fresh)
		case milter.ChangeHeader:
			n := max(c.Index, 1)
			at := slices.IndexFunc(fields, func(f field) bool {
				if strings.EqualFold(f.name, c.Name) {
					n--
				}
				return n == 0
			})
			switch {
			case at < 0 && c.Value != "":
				fields = slices.Insert(fields, last(), fresh)
			case at >= 0 && c.Value == "":
				fields = slices.Delete(fields, at, at+1)
			case at >= 0:
				fields[at] = fresh
			}
		}
	}
	var out []byte
	for _, f := range fields {
		out = append(out, f.raw...)
	}
	return append(out, header[end:]...)
}

// folded makes a value of a filter one that can stand in a field: with line ends
// that are ours, and white space behind each.
func folded(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	var b strings.Builder
	for i, line := range strings.Split(s, "\n") {
		line = strings.Map(func(r rune) rune {
			if r == '\r' || r == 0 {
				return -1
			}
			return r
		}, line)
		if i > 0 {
			if strings.TrimSpace(line) == "" {
				continue // it would end the header
			}
			b.WriteString("\r\n")
			if line[0] != ' ' && line[0] != '\t' {
				b.WriteByte('\t')
			}
		}
		b.WriteString(line)
	}
	return b.String()
}
