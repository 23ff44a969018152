package carrier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/maildir"
)

// A Sharing is who may do what with a folder beside its owner, and what is noted
// about it.
type Sharing struct {
	Rights []Right // nil: it is not known
	Notes  []Note
}

// A Right is what somebody may do with a folder, as letters. RFC 4314 §2.1
type Right struct {
	Who    string // "-" before it takes rights
	Rights string
}

// A Note is an entry of METADATA. RFC 5464 §3
type Note struct {
	Name  string // "/private/..." or "/shared/..."
	Value []byte
}

// Left is what of a Sharing did not come.
type Left struct{ What, Why string }

// Limits of what is taken of a folder.
const (
	maxRights    = 1000
	maxNotes     = 200
	maxNoteBytes = 4 << 20 // of all notes
)

// sharing asks for the rights in a folder, and what is noted about it, of a server
// that has such; nil if it has neither.
func (s *IMAP) sharing(ctx context.Context, wire string) (*Sharing, []Left, error) {
	if !s.c.caps["ACL"] && !s.c.caps["METADATA"] {
		return nil, nil, nil
	}
	out := &Sharing{}
	var left []Left
	for _, part := range [...]struct {
		capability, what string
		ask              func(context.Context, string, *Sharing) ([]Left, error)
	}{{"ACL", "rights", s.rights}, {"METADATA", "metadata", s.notes}} {
		if !s.c.caps[part.capability] {
			continue
		}
		more, err := part.ask(ctx, wire, out)
		if errors.Is(err, ErrRefused) {
			more, err = []Left{{part.what, err.Error()}}, nil
		}
		if err != nil {
			return nil, nil, err
		}
		left = append(left, more...)
	}
	return out, left, nil
}

// rights reads who may do what. Owners may do all here as there, and who runs the
// server is not among people. RFC 4314 §3.6
func (s *IMAP) rights(ctx context.Context, wire string, out *Sharing) (left []Left, err error) {
	list := []Right{}
	err = s.c.do(ctx, "GETACL "+quote(wire), func(name string) error {
		if name != "ACL" {
			return nil
		}
		words, err := s.c.words(2*maxRights + 1)
		if err != nil || len(words)%2 == 0 {
			return errors.Join(imap.ErrAnswer, err)
		}
		for i := 1; i < len(words); i += 2 {
			r := Right{words[i], s.c.letters(words[i+1])}
			switch who, why := person(r.Who); {
			case who == "" && why == "" || strings.EqualFold(who, s.server.User) || r.Rights == "":
			case why != "":
				left = append(left, Left{"rights of " + r.Who, why})
			default:
				r.Who = who
				list = append(list, r)
			}
		}
		return nil
	})
	if err == nil {
		out.Rights = list
	}
	return left, err
}

// words reads the strings up to the end of the answer.
func (c *session) words(limit int) (out []string, err error) {
	for {
		t, err := c.in.Token()
		if err != nil || t.Kind == imap.EndToken {
			return out, err
		}
		w, err := c.in.String(t)
		if err != nil || len(out) == limit {
			return nil, errors.Join(imap.ErrAnswer, err)
		}
		out = append(out, w)
	}
}

// modern tells whether the server has the rights of RFC 4314, and which beyond those
// that all have.
func (c *session) modern() (more string, ok bool) {
	for name := range c.caps {
		if more, ok := strings.CutPrefix(name, "RIGHTS="); ok {
			return strings.ToLower(more), true
		}
	}
	return "", false
}

// letters gives the rights that we have, too. c and d are rights of their own only at
// servers of RFC 2086; others say them beside what they stand for now, and also where
// that is only a part of it. RFC 4314 §2.1.1
func (c *session) letters(rights string) string {
	known := "lrswipkxteacd"
	if _, ok := c.modern(); ok {
		known = "lrswipkxtea"
	} else if c.caps["ACL2=UNION"] {
		known, rights = "lrswipkxtea", maildir.CourierRights(rights)
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(known, r) {
			return r
		}
		return -1
	}, rights)
}

// person gives whom an identifier means, as servers have them: "user=ada" at Courier,
// "#ada" where Dovecot's administrator has given rights. Nobody and no reason: it
// needs no rights.
func person(identifier string) (who, why string) {
	name, takes := strings.CutPrefix(identifier, "-")
	name = strings.TrimPrefix(name, "#")
	lower := strings.ToLower(name)
	switch {
	case lower == "owner", lower == "administrators", lower == "group=administrators":
		return "", ""
	case lower == "anonymous":
		return "", "there is nobody who has not logged in"
	case strings.HasPrefix(lower, "$"), strings.HasPrefix(lower, "!$"), strings.HasPrefix(lower, "group="), strings.HasPrefix(lower, "group:"):
		return "", "there are no groups here"
	case lower == "anyone", lower == "authenticated":
		name = lower
	case strings.HasPrefix(lower, "user="):
		name = name[len("user="):]
	}
	if name == "" {
		return "", "it is nobody"
	}
	if takes {
		name = "-" + name
	}
	return name, ""
}

// notes reads what is noted about a folder.
func (s *IMAP) notes(ctx context.Context, wire string, out *Sharing) (left []Left, err error) {
	out.Notes, left, err = s.notesOf(ctx, wire, "/private /shared")
	return left, err
}

// ofAccount gives what is noted about the account as a whole, by its owner: what is
// shared there is the server's. RFC 5464 §3.2
func (s *IMAP) ofAccount(ctx context.Context) (list []Note, left []Left, err error) {
	if !s.c.caps["METADATA"] && !s.c.caps["METADATA-SERVER"] {
		return nil, nil, nil
	}
	// Dovecot gives nothing of an account below /private itself.
	all, left, err := s.notesOf(ctx, "", "/private /private/comment /private/vendor")
	if errors.Is(err, ErrRefused) {
		return nil, []Left{{"metadata", err.Error()}}, nil
	}
	had := map[string]bool{}
	for _, n := range all {
		name := strings.ToLower(n.Name)
		if strings.HasPrefix(name, "/private/") && !had[name] {
			list = append(list, n)
		}
		had[name] = true
	}
	return list, left, err
}

// notesOf reads what is noted about a folder, or the account, below some entries.
// RFC 5464 §4.2
func (s *IMAP) notesOf(ctx context.Context, wire, below string) (list []Note, left []Left, err error) {
	total := 0
	take := func(name string) error {
		t, err := s.c.in.Token()
		if err != nil || t.IsNil() {
			return err
		}
		n := Note{Name: name}
		if t.Kind == imap.LiteralToken {
			if total += int(min(t.Size, maxNoteBytes)); total > maxNoteBytes || t.Size > maxNoteBytes {
				left = append(left, Left{name, "it is too long"})
				return nil // the next token passes over it
			}
			n.Value, err = io.ReadAll(s.c.in.Literal())
		} else {
			var text string
			text, err = s.c.in.String(t)
			n.Value = []byte(text)
			total += len(text)
		}
		if len(list) == maxNotes {
			left = append(left, Left{name, fmt.Sprintf("it is one of more than %d entries", maxNotes)})
			return err
		}
		list = append(list, n)
		return err
	}
	err = s.c.do(ctx, "GETMETADATA (DEPTH infinity) "+quote(wire)+" ("+below+")", func(name string) error {
		if name != "METADATA" {
			return nil
		}
		t, err := s.c.in.Token() // the folder's name
		if err == nil {
			_, err = s.c.in.String(t)
		}
		if err == nil {
			t, err = s.c.in.Token()
		}
		if err != nil || t.Kind != imap.OpenToken {
			return err // a list of names tells that they have changed
		}
		for {
			t, err := s.c.in.Token()
			if err != nil || t.Kind == imap.CloseToken {
				return err
			}
			entry, err := s.c.in.String(t)
			if err != nil || t.Kind == imap.EndToken {
				return errors.Join(imap.ErrAnswer, err)
			}
			if err := take(entry); err != nil {
				return err
			}
		}
	})
	return list, left, err
}

// InDomain gives what an Import's Who is where nobody says more: names are addresses,
// or local parts of addresses in the domain.
func InDomain(domain string) func(there string) string {
	return func(there string) string {
		if strings.Contains(there, "@") {
			return there
		}
		return there + "@" + domain
	}
}

// share brings the sharing of a folder, if it is known.
func (r *run) share(ctx context.Context, f *Folder) error {
	for _, l := range f.left {
		r.left(f, l)
	}
	if f.Sharing == nil {
		return nil
	}
	s := *f.Sharing
	if s.Rights = slices.Clone(s.Rights); r.Who != nil {
		for i := range s.Rights {
			who := &s.Rights[i].Who
			if name, takes := strings.CutPrefix(*who, "-"); name != "anyone" && name != "authenticated" {
				*who = r.Who(name)
				if takes {
					*who = "-" + *who
				}
			}
		}
	}
	list, err := r.Store.Share(ctx, f.Name, s, r.FollowRights)
	for _, l := range list {
		r.left(f, l)
	}
	return err
}

// shareAccount brings what is noted about the account as a whole, if all of it comes.
func (r *run) shareAccount(ctx context.Context) error {
	src, ok := r.Source.(interface {
		ofAccount(context.Context) ([]Note, []Left, error)
	})
	if !ok || r.DryRun || r.Under != "" || len(r.Only) > 0 {
		return nil
	}
	list, left, err := src.ofAccount(ctx)
	if err == nil && len(list) > 0 {
		var more []Left
		more, err = r.Store.Share(ctx, Whole, Sharing{Notes: list}, r.FollowRights)
		left = append(left, more...)
	}
	for _, l := range left {
		r.left(&Folder{Name: "the account"}, l)
	}
	return err
}

// left notes what of a folder's sharing does not come.
func (r *run) left(f *Folder, l Left) {
	if len(r.rep.Left) < maxProblems {
		r.rep.Left = append(r.rep.Left, Problem{f.Name, l.What, strings.ToValidUTF8(l.Why, "?")})
	}
}

// share gives a folder of the target the sharing that ours has. What it does not take
// is told.
func (t *IMAPTarget) share(ctx context.Context, s Sharing, who func(string) string) (left []Left, err error) {
	refused := func(what string, err error) error {
		if errors.Is(err, ErrRefused) {
			left, err = append(left, Left{what, err.Error()}), nil
		}
		return err
	}
	for _, r := range s.Rights {
		if !t.c.caps["ACL"] {
			return append(left, Left{"rights", "the server has none"}), nil
		}
		name, takes := strings.CutPrefix(r.Who, "-")
		if who != nil && name != "anyone" && name != "authenticated" {
			name = who(name)
		}
		if takes {
			name = "-" + name
		}
		err := t.c.do(ctx, "SETACL "+quote(t.wire)+" "+quote(name)+" "+quote(t.c.lettersThere(r.Rights)), nil)
		if err := refused("rights of "+r.Who, err); err != nil {
			return left, err
		}
	}
	for _, n := range s.Notes {
		if !t.c.caps["METADATA"] {
			return append(left, Left{"metadata", "the server has none"}), nil
		}
		err := t.note(ctx, n)
		if err := refused(n.Name, err); err != nil {
			return left, err
		}
	}
	return left, nil
}

// shareAccount has the account at the target have noted about it what ours has.
func (t *IMAPTarget) shareAccount(ctx context.Context, list []Note) (left []Left, err error) {
	if len(list) > 0 && !t.c.caps["METADATA"] && !t.c.caps["METADATA-SERVER"] {
		return []Left{{"metadata", "the server has none"}}, nil
	}
	t.wire = ""
	for _, n := range list {
		if err := t.note(ctx, n); errors.Is(err, ErrRefused) {
			left = append(left, Left{n.Name, err.Error()})
		} else if err != nil {
			return left, err
		}
	}
	return left, nil
}

// lettersThere writes rights of ours for a server, which need not know all of them.
func (c *session) lettersThere(rights string) string {
	more, ok := c.modern()
	known := "lrswipa" + more
	if !ok {
		known = "lrswipacd"
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(known, r) {
			return r
		}
		return -1
	}, rights)
}

// note writes an entry. RFC 5464 §4.3
func (t *IMAPTarget) note(ctx context.Context, n Note) error {
	t.c.tag++
	t.tag, t.ctx = fmt.Sprintf("p%d", t.c.tag), ctx
	fmt.Fprintf(t.c.out, "%s SETMETADATA %s (%s {%d", t.tag, quote(t.wire), quote(n.Name), len(n.Value))
	if t.c.caps["LITERAL+"] || t.c.caps["LITERAL-"] && len(n.Value) <= 4096 {
		t.c.out.WriteString("+}\r\n")
	} else {
		t.c.out.WriteString("}\r\n")
		if err := t.goOn(); err != nil {
			return err
		}
	}
	t.c.out.Write(n.Value)
	t.c.out.WriteString(")\r\n")
	if err := t.c.out.Flush(); err != nil {
		return err
	}
	return t.c.wait(ctx, t.tag, nil)
}
