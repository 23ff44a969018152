package owner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sieve"
)

// Away is what those hear who write while somebody is away. It is a script that is made
// here, and includes the one that was active before, so that rules go on.
type Away struct {
	On      bool   `json:"on"`
	From    string `json:"from,omitempty"`  // the first day, such as 2026-12-21; "": at once
	Until   string `json:"until,omitempty"` // the last day; "": until it is switched off
	Subject string `json:"subject,omitempty"`
	Text    string `json:"text,omitempty"`
}

const (
	// AwayName is what the script is called.
	AwayName = "away"
	// awayMark begins the line by which it is known: what was said, as JSON.
	awayMark = "# posthaste:away "
	maxAway  = 20_000 // bytes of a text
	// awayDays is how long somebody who was answered is not answered again.
	awayDays = 7
)

// ErrAway: a script that was not made here has its name.
var ErrAway = fmt.Errorf("there is a script called %q that was not made here: rename it first", AwayName)

// said is what stands in the script's first line.
type said struct {
	Away
	Rules string `json:"rules,omitempty"` // the script that it includes; "": none
}

// saidIn reads what a script that was made here says.
func saidIn(text string) (s said, ok bool) {
	first, _, _ := strings.Cut(text, "\n")
	rest, ok := strings.CutPrefix(strings.TrimSuffix(first, "\r"), awayMark)
	return s, ok && json.Unmarshal([]byte(rest), &s) == nil
}

// Away gives what those hear who write to an account; the zero Away if nothing was ever
// said. ErrAway: it is not known.
func (g *Agent) Away(ctx context.Context, a mail.AccountID) (Away, error) {
	s, active, err := g.away(ctx, a)
	s.On = active == AwayName
	return s.Away, err
}

// away gives what is said, and which script is active.
func (g *Agent) away(ctx context.Context, a mail.AccountID) (s said, active string, err error) {
	if active, _, err = g.Store.Active(ctx, a); err != nil {
		return s, "", err
	}
	text, err := g.Store.Get(ctx, a, AwayName)
	if errors.Is(err, mail.ErrNotFound) {
		return s, active, nil
	}
	if err != nil {
		return s, active, err
	}
	s, ok := saidIn(string(text))
	if !ok {
		return said{}, active, ErrAway
	}
	return s, active, nil
}

// SetAway says what those hear who write to an account, or with On false that they hear
// nothing any more; the text is kept for the next time. An Invalid tells what cannot be
// meant.
func (g *Agent) SetAway(ctx context.Context, a mail.AccountID, w Away) error {
	w.Subject, w.Text = strings.TrimSpace(w.Subject), strings.TrimSpace(strings.ReplaceAll(w.Text, "\r\n", "\n"))
	if err := w.check(); err != nil {
		return err
	}
	before, active, err := g.away(ctx, a)
	if err != nil {
		return err
	}
	rules := before.Rules
	if active != AwayName {
		rules = active
	}
	if rules != "" {
		if _, err := g.Store.Get(ctx, a, rules); errors.Is(err, mail.ErrNotFound) {
			rules = ""
		} else if err != nil {
			return err
		}
	}
	text, err := w.script(rules)
	if err != nil {
		return err
	}
	if err := g.Store.Put(ctx, a, AwayName, []byte(text)); err != nil {
		return err
	}
	switch {
	case w.On:
		return g.Store.Activate(ctx, a, AwayName)
	case active == AwayName:
		return g.Store.Activate(ctx, a, rules)
	}
	return nil
}

// followRename has the script that answers go on to include a script that has another name
// now.
func (g *Agent) followRename(ctx context.Context, a mail.AccountID, from, to string) error {
	s, _, err := g.away(ctx, a)
	if errors.Is(err, ErrAway) || err == nil && s.Rules != from {
		return nil
	}
	if err != nil {
		return err
	}
	text, err := s.script(to)
	if err != nil {
		return err
	}
	return g.Store.Put(ctx, a, AwayName, []byte(text))
}

func (w Away) check() error {
	var days [2]time.Time
	for i, s := range []string{w.From, w.Until} {
		if s == "" {
			continue
		}
		var err error
		if days[i], err = time.Parse(time.DateOnly, s); err != nil {
			return invalid("%q is no day: write it like 2026-12-21", s)
		}
	}
	switch {
	case !days[0].IsZero() && !days[1].IsZero() && days[1].Before(days[0]):
		return invalid("the last day is before the first one")
	case w.On && w.Text == "":
		return invalid("say what those are to read who write")
	case len(w.Text) > maxAway:
		return invalid("the text has %d characters at most", maxAway)
	case len(w.Subject) > 200 || strings.ContainsAny(w.Subject, "\r\n"):
		return invalid("the subject is one line, of 200 characters at most")
	case !utf8.ValidString(w.Text+w.Subject) || strings.ContainsRune(w.Text+w.Subject, 0):
		return invalid("the text has characters in it that are none")
	}
	return nil
}

// script writes it as a script that includes the one called rules.
func (w Away) script(rules string) (string, error) {
	mark, err := json.Marshal(said{w, rules})
	if err != nil {
		return "", fmt.Errorf("owner: away: %w", err)
	}
	needs := []string{"vacation"}
	var when []string
	for _, x := range [][2]string{{"ge", w.From}, {"le", w.Until}} {
		if x[1] != "" {
			when = append(when, fmt.Sprintf("currentdate :value %q \"date\" %q", x[0], x[1]))
		}
	}
	if when != nil {
		needs = append(needs, "date", "relational")
	}
	if rules != "" {
		needs = append(needs, "include")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n# This script is written by the server; what is changed here by hand is lost.\n", awayMark, mark)
	fmt.Fprintf(&b, "require [\"%s\"];\n", strings.Join(needs, `", "`))
	if when != nil {
		fmt.Fprintf(&b, "if allof (%s) ", strings.Join(append(when, "true"), ", "))
	} else {
		b.WriteString("if true ")
	}
	fmt.Fprintf(&b, "{\n    vacation :days %d :handle \"away\"", awayDays)
	if w.Subject != "" {
		b.WriteString(" :subject " + quote(w.Subject))
	}
	fmt.Fprintf(&b, "\n%s;\n}\n", quote(w.Text))
	if rules != "" {
		fmt.Fprintf(&b, "include :personal :optional %s;\n", quote(rules))
	}
	if _, err := sieve.Compile([]byte(b.String())); err != nil {
		return "", fmt.Errorf("owner: away: %w", err)
	}
	return b.String(), nil
}

// quote writes a string of Sieve. RFC 5228 §2.4.2
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
