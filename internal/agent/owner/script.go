package owner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"posthaste/internal/agent/rules"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/sieve"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/script"
)

type (
	// A Script is a Sieve script of an account. Of a list it has no Text.
	Script struct {
		Name   string    `json:"name"`
		Text   string    `json:"text,omitempty"`
		Size   int       `json:"size"` // bytes
		Active bool      `json:"active,omitempty"`
		Saved  time.Time `json:"saved,omitzero"`
	}
	// Scripts are those of an account, by name.
	Scripts struct {
		Scripts []Script `json:"scripts"`
		// Fault is what went wrong the last time that one ran; nil: nothing has, or not
		// since it was saved.
		Fault *ScriptFault `json:"fault,omitempty"`
		// Warnings are of a script that was just saved: what can hardly be meant in it.
		Warnings []string `json:"warnings,omitempty"`
	}
	// A ScriptFault is what went wrong with a script: then the message was kept.
	ScriptFault struct {
		At     time.Time `json:"at"`
		Script string    `json:"script"`
		Text   string    `json:"text"`
	}
	// A Trial is a message that a script is tried with.
	Trial struct {
		Name    string `json:"name,omitempty"` // of a script of the account; "" is the active one
		Script  string `json:"script,omitempty"`
		Message []byte `json:"message"`
		From    string `json:"from,omitempty"` // of the envelope; "" is whom Return-Path or From names
		To      string `json:"to,omitempty"`   // of the envelope; "" is the account's address
	}
)

// Scripts lists the scripts of an account.
func (g *Agent) Scripts(ctx context.Context, a mail.AccountID) (Scripts, error) {
	out := Scripts{Scripts: []Script{}}
	list, err := g.Store.List(ctx, a)
	if err != nil {
		return out, err
	}
	f, err := g.Store.Fault(ctx, a)
	for _, x := range list {
		out.Scripts = append(out.Scripts, Script{Name: x.Name, Size: x.Size, Active: x.Active, Saved: x.Saved})
		if x.Name == f.Name && !f.At.Before(x.Saved) {
			out.Fault = &ScriptFault{f.At, f.Name, f.Text}
		}
	}
	return out, err
}

// Script gives a script with its text: that of the name, or the active one if it is "".
// mail.ErrNotFound: there is none.
func (g *Agent) Script(ctx context.Context, a mail.AccountID, name string) (Script, error) {
	active, _, err := g.Store.Active(ctx, a)
	if err != nil {
		return Script{}, err
	}
	if name == "" {
		if name = active; name == "" {
			return Script{}, fmt.Errorf("an active script: %w", mail.ErrNotFound)
		}
	}
	text, err := g.Store.Get(ctx, a, name)
	return Script{Name: name, Text: string(text), Size: len(text), Active: name == active}, err
}

// CheckScript tells what is wrong with a script, as an Invalid with a line for each thing,
// or else what can hardly be meant in it.
func CheckScript(text string) (warnings []string, err error) {
	s, err := sieve.Compile([]byte(text))
	if err != nil {
		return nil, Invalid{err}
	}
	for _, w := range s.Warnings() {
		warnings = append(warnings, w.Error())
	}
	return warnings, nil
}

// SaveScript saves a script in place of the one of its name, if there is one, and makes it
// the active one if that is said. An Invalid tells what is wrong with it: then nothing is
// saved. mail.ErrLimit: there would be too many, or too much.
func (g *Agent) SaveScript(ctx context.Context, a mail.AccountID, s Script) (warnings []string, err error) {
	if err := script.CheckName(s.Name); err != nil {
		return nil, Invalid{err}
	}
	if warnings, err = CheckScript(s.Text); err != nil {
		return nil, err
	}
	if err = g.Store.Put(ctx, a, s.Name, []byte(s.Text)); err == nil && s.Active {
		err = g.Store.Activate(ctx, a, s.Name)
	}
	return warnings, err
}

// ActivateScript makes a script the active one; "": none is.
func (g *Agent) ActivateScript(ctx context.Context, a mail.AccountID, name string) error {
	return g.Store.Activate(ctx, a, name)
}

// RenameScript gives a script another name.
func (g *Agent) RenameScript(ctx context.Context, a mail.AccountID, from, to string) error {
	if err := script.CheckName(to); err != nil {
		return Invalid{err}
	}
	if err := g.Store.Rename(ctx, a, from, to); err != nil {
		return err
	}
	return g.followRename(ctx, a, from, to)
}

// RemoveScript removes a script, also if it is the active one: then none is.
func (g *Agent) RemoveScript(ctx context.Context, a mail.AccountID, name string) error {
	err := g.Store.Delete(ctx, a, name)
	if !errors.Is(err, mail.ErrInUse) {
		return err
	}
	if err := g.Store.Activate(ctx, a, ""); err != nil {
		return err
	}
	return g.Store.Delete(ctx, a, name)
}

// TryScript tells, line by line, what a script would do with a message; nothing is done.
func (g *Agent) TryScript(ctx context.Context, a directory.Account, x Trial) ([]string, error) {
	text := x.Script
	if text == "" {
		s, err := g.Script(ctx, a.ID, x.Name)
		if err != nil {
			return nil, err
		}
		text = s.Text
	}
	s, err := sieve.Compile([]byte(text))
	if err != nil {
		return nil, Invalid{err}
	}
	m := rules.Mail{Header: headerOf(x.Message), Size: int64(len(x.Message)), Message: bytes.NewReader(x.Message), Length: int64(len(x.Message)), Recipient: a.Address, Explain: true}
	if m.Sender, err = sender(m.Header, x.From); err != nil {
		return nil, err
	}
	if x.To != "" {
		if m.Recipient, err = mail.ParseAddress(x.To); err != nil {
			return nil, invalid("%q is no address: write name@domain", x.To)
		}
	}
	v, err := g.Rules.Try(ctx, a.ID, s, m)
	if err != nil {
		if rules.Wrong(err) {
			return []string{"It goes wrong, so the message is kept, and nothing else is done: " + err.Error()}, nil
		}
		return nil, err
	}
	return append(v.Told, v.Words()...), nil
}

// headerOf gives the header of a message, with the empty line.
func headerOf(text []byte) []byte {
	p := message.ParseBytes(text)
	return text[:p.HeaderSize]
}

// sender gives the sender of the envelope: as it is said, or as the header has it.
func sender(header []byte, said string) (mail.Address, error) {
	switch said {
	case "<>":
		return mail.Address{}, nil
	case "":
	default:
		a, err := mail.ParseAddress(said)
		if err != nil {
			return a, invalid("%q is no address: write name@domain, or <> for a report", said)
		}
		return a, nil
	}
	if f, ok := message.Find(header, "return-path"); ok {
		a, err := mail.ParseAddress(strings.Trim(f.Text(), "<>"))
		if err != nil {
			a = mail.Address{}
		}
		return a, nil
	}
	if _, authors := message.Authors(header); len(authors) > 0 {
		return authors[0].Address, nil
	}
	return mail.Address{}, nil
}
