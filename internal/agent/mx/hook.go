package mx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"posthaste/internal/agent/filter"
	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/milter"
	"posthaste/internal/store/body"
	"posthaste/internal/store/mailbox"
)

// The stages at which hooks are asked.
const (
	HookRcpt = "rcpt" // about each recipient
	HookData = "data" // about the whole message
)

// A Hook is a program outside that is asked over HTTP, with what docs/hooks.md says.
// Name, Stage and Ask must be set.
type Hook struct {
	Name  string // for the log
	Stage string
	// Ask gives the answer to a request, both JSON.
	Ask func(ctx context.Context, request []byte) (answer []byte, err error)
	// Timeout is how long that may take; 0 is 10 seconds.
	Timeout time.Duration
	// Optional: mail is taken without the hook when it fails; else the sender must try
	// again.
	Optional bool
	// Body is how many bytes of the message it is told; 0: only its header.
	Body int64
}

const (
	hookTime = 10 * time.Second
	// What a hook is told of a header, and what it may say.
	hookHeader   = 1000 // fields
	hookHeaders  = 20
	hookValue    = 900
	hookText     = 400
	hookReason   = 200
	hookFieldMax = 64 << 10 // bytes of one
)

// A HookRequest is what a hook is told.
type HookRequest struct {
	Version    int          `json:"version"`
	Stage      string       `json:"stage"`
	ID         string       `json:"id"`
	Client     HookClient   `json:"client"`
	Sender     string       `json:"sender"` // empty: a report
	Recipient  string       `json:"recipient,omitempty"`
	Recipients []string     `json:"recipients"`
	Message    *HookMessage `json:"message,omitempty"`
}

// HookClient is who brings the message.
type HookClient struct {
	Address string `json:"address"`
	Name    string `json:"name,omitempty"` // that leads back to the address
	Hello   string `json:"hello"`
	TLS     string `json:"tls,omitempty"`
	Judged  bool   `json:"judged"` // false: it is in a network that is trusted
	Points  int    `json:"points"`
	Why     string `json:"why,omitempty"`
}

// HookMessage is what the data stage knows besides.
type HookMessage struct {
	Size    int64       `json:"size"`
	Headers []HookField `json:"headers"`
	SPF     string      `json:"spf,omitempty"`
	DKIM    []HookDKIM  `json:"dkim,omitempty"`
	DMARC   string      `json:"dmarc,omitempty"`
	Author  string      `json:"author,omitempty"`
	Proven  bool        `json:"author_proven"`
	Known   bool        `json:"known"` // the author is no stranger
	Verdict string      `json:"verdict"`
	Reason  string      `json:"reason,omitempty"`
	// Body is the message whole, in base64; BodyCut tells that it was longer.
	Body    []byte `json:"body,omitempty"`
	BodyCut bool   `json:"body_cut,omitempty"`
}

// A HookField is a field of a header.
type HookField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// A HookDKIM is a signature.
type HookDKIM struct {
	Domain string `json:"domain"`
	Result string `json:"result"`
}

// A HookAnswer is what a hook says.
type HookAnswer struct {
	Action  string      `json:"action"` // accept, junk, refuse or defer
	Status  string      `json:"status"` // of a refusal, such as 5.7.1
	Text    string      `json:"text"`   // for the sender
	Reason  string      `json:"reason"` // for the story and the log
	Headers []HookField `json:"headers"`
}

// errHook is what the sender hears when a hook fails that is not optional.
var errHook = mail.Refuse("4.7.1", "a filter does not answer, try again later", "")

// A hooking is a message at a hook.
type hooking struct {
	h      *Hook
	failed bool
	junk   string
}

// hook asks the hooks of a stage, and gives the fields that they want added.
func (t *transaction) hook(ctx context.Context, stage string, request func(*Hook) (HookRequest, error)) (add []HookField, err error) {
	if t.hooks == nil {
		for i := range t.a.Hooks {
			t.hooks = append(t.hooks, &hooking{h: &t.a.Hooks[i]})
		}
	}
	for _, x := range t.hooks {
		if x.h.Stage != stage {
			continue
		}
		var answer HookAnswer
		if !x.failed {
			if answer, err = t.askHook(ctx, x.h, request); err != nil {
				t.a.Log.Warn("a hook fails", "hook", x.h.Name, "id", t.env.Trace.String(), "error", err)
				x.failed = true
			}
		}
		if x.failed { // and is not asked again about this message
			if !x.h.Optional {
				return nil, errHook
			}
			continue
		}
		if no := answer.refusal(); no != nil {
			return nil, no
		}
		if answer.Action == "junk" && x.junk == "" {
			x.junk = "a filter says so"
			if r := trace.Plain(answer.Reason, hookReason); r != "" {
				x.junk += ": " + r
			}
		}
		add = append(add, answer.Headers...)
	}
	return add, nil
}

// hooked tells why hooks want the message in Junk; empty: none does.
func (t *transaction) hooked() string {
	for _, x := range t.hooks {
		if x.junk != "" {
			return x.junk
		}
	}
	return ""
}

func (t *transaction) askHook(ctx context.Context, h *Hook, request func(*Hook) (HookRequest, error)) (a HookAnswer, err error) {
	r, err := request(h)
	if err != nil {
		return a, err
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	timeout := h.Timeout
	if timeout == 0 {
		timeout = hookTime
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if raw, err = h.Ask(ctx, raw); err != nil {
		return a, err
	}
	return ParseHookAnswer(raw)
}

// ParseHookAnswer reads what a hook says.
func ParseHookAnswer(raw []byte) (a HookAnswer, err error) {
	if err := json.Unmarshal(raw, &a); err != nil {
		return HookAnswer{}, fmt.Errorf("mx: the answer is not as it should be: %w", err)
	}
	class := map[string]uint16{"accept": 2, "junk": 2, "refuse": 5, "defer": 4}[a.Action]
	if class == 0 {
		return HookAnswer{}, fmt.Errorf("mx: the answer's action is accept, junk, refuse or defer, not %q", trace.Cut(a.Action, 40))
	}
	if a.Status != "" {
		if st, err := mail.ParseStatus(a.Status); err != nil || st.Class != class {
			return HookAnswer{}, fmt.Errorf("mx: the status %q is none of %s", trace.Cut(a.Status, 40), a.Action)
		}
	}
	if len(a.Headers) > hookHeaders {
		return HookAnswer{}, fmt.Errorf("mx: more than %d header fields are added", hookHeaders)
	}
	for _, f := range a.Headers {
		if !hookMayAdd(f.Name) || len(f.Value) > hookValue {
			return HookAnswer{}, fmt.Errorf("mx: the header field %q is not one that may be added, or longer than %d bytes", trace.Cut(f.Name, 40), hookValue)
		}
	}
	return a, nil
}

// hookMayAdd tells whether a field is one that a hook may add: not one that says who
// the message is from, what it is, or what we found out about it.
func hookMayAdd(name string) bool {
	if name == "" || len(name) > 76 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		return false
	}
	n := strings.ToLower(name)
	return strings.HasPrefix(n, "x-") || strings.HasPrefix(n, "list-") || n == "keywords" || n == "comments"
}

// refusal is what the sender hears of an answer; nil: nothing.
func (a HookAnswer) refusal() *mail.Refusal {
	status := "5.7.1"
	switch a.Action {
	case "refuse":
	case "defer":
		status = "4.7.1"
	default:
		return nil
	}
	if a.Status != "" {
		status = a.Status
	}
	text := trace.Plain(a.Text, hookText)
	if text == "" {
		text = "a filter does not let the message through"
	}
	return mail.Refuse(status, text, trace.Plain(a.Reason, hookReason))
}

// hookEnvelope is what is known at all stages.
func (t *transaction) hookEnvelope(stage string) HookRequest {
	r := HookRequest{Version: 1, Stage: stage, ID: t.env.Trace.String(), Sender: t.env.Sender.String(), Recipients: []string{}}
	r.Client = HookClient{Address: t.peer.Addr.Addr().Unmap().String(), Name: t.peer.Name, Hello: t.peer.Hello, TLS: tlsWords(t.peer)}
	if t.client != nil {
		r.Client.Judged = t.client.Judged
		if t.client.Judged {
			r.Client.Points, r.Client.Why = t.a.Policy.Weigh(*t.client)
		}
	}
	for _, to := range t.env.Recipients {
		r.Recipients = append(r.Recipients, to.Address.String())
	}
	return r
}

// hookRcpt asks the hooks about a recipient.
func (t *transaction) hookRcpt(ctx context.Context, to mail.Address) error {
	_, err := t.hook(ctx, HookRcpt, func(*Hook) (HookRequest, error) {
		r := t.hookEnvelope(HookRcpt)
		r.Recipient = to.String()
		return r, nil
	})
	return err
}

// hookMessage asks the hooks about the message. What it gives may be another one,
// which the caller closes; why tells that it is junk.
func (t *transaction) hookMessage(ctx context.Context, ev Evidence, v Verdict, st *body.Staged) (out *body.Staged, why string, err error) {
	if len(t.a.Hooks) == 0 {
		return st, "", nil
	}
	header, err := mda.Header(st)
	if err != nil {
		return st, "", fmt.Errorf("mx: %v: read the header: %w", t.env.Trace, err)
	}
	add, err := t.hook(ctx, HookData, func(h *Hook) (HookRequest, error) {
		r := t.hookEnvelope(HookData)
		r.Message = hookView(ev, v, header, st.Size())
		if h.Body > 0 {
			b, err := io.ReadAll(io.NewSectionReader(st, 0, min(h.Body, st.Size())))
			if err != nil {
				return r, err
			}
			r.Message.Body, r.Message.BodyCut = b, st.Size() > h.Body
		}
		return r, nil
	})
	if err != nil || len(add) == 0 {
		return st, t.hooked(), err
	}
	var changes []milter.Change
	for i, f := range add {
		changes = append(changes, milter.Change{Kind: milter.InsertHeader, Index: i, Name: f.Name, Value: " " + trace.Plain(strings.TrimSpace(f.Value), hookValue)})
	}
	rest := io.NewSectionReader(st, int64(len(header)), st.Size()-int64(len(header)))
	fresh, err := t.a.Bodies.Stage(ctx, io.MultiReader(strings.NewReader(string(filter.Edit(header, changes))), rest))
	if err != nil {
		return st, "", fmt.Errorf("mx: %v: %w", t.env.Trace, err)
	}
	return fresh, t.hooked(), nil
}

// hookView is what a hook is told of a message.
func hookView(ev Evidence, v Verdict, header []byte, size int64) *HookMessage {
	m := &HookMessage{Size: size, Headers: []HookField{}, Author: ev.Author.String(), Verdict: "accept", Reason: v.Reason}
	if v.Mailbox == mailbox.JunkRole {
		m.Verdict = "junk"
	}
	for f := range message.Fields(header) {
		if len(m.Headers) == hookHeader {
			break
		}
		if len(f.Name) > 0 {
			value := strings.ToValidUTF8(string(f.Value[:min(len(f.Value), hookFieldMax)]), "\ufffd")
			m.Headers = append(m.Headers, HookField{string(f.Name), strings.TrimSpace(value)})
		}
	}
	if ev.Judged {
		m.SPF, m.DMARC, m.Proven = string(ev.SPF.Result), string(ev.DMARC.Result), ev.Proven()
		m.Known = ev.Past != nil && !ev.Past.stranger()
		for _, s := range ev.DKIM {
			m.DKIM = append(m.DKIM, HookDKIM{string(s.Domain), string(s.Result)})
		}
	}
	return m
}

// ErrHookAnswer tells that what a hook says is too long.
var ErrHookAnswer = errors.New("mx: the answer is too long")

// MaxHookAnswer is how many bytes an answer may have.
const MaxHookAnswer = 64 << 10
