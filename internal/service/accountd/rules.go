package accountd

import (
	"errors"
	"strings"

	"posthaste/internal/agent/owner"
	"posthaste/internal/base/mail"
)

type (
	// edit is a script as the page asks for it.
	edit struct {
		owner.Script
		Known  bool     // it is there already
		Faults []string // what is wrong with it, or strange
	}
	// absent is the page for who is away.
	absent struct {
		owner.Away
		Foreign bool // a script that was not made here has the name
	}
)

func (s *Server) rules(v *visit) (view, error) {
	list, err := s.Owner.Scripts(v.Context(), v.acct.ID)
	if err != nil {
		return view{}, err
	}
	return sees("rules", "Rules", list)
}

func (s *Server) editScript(v *visit) (view, error) {
	name := v.Form.Get("name")
	if name == "" {
		return sees("script", "New rules", edit{Script: owner.Script{Text: "require [\"fileinto\", \"mailbox\"];\n\n"}})
	}
	x, err := s.Owner.Script(v.Context(), v.acct.ID, name)
	if err != nil {
		return view{}, err
	}
	return sees("script", "The rules “"+name+"”", edit{Script: x, Known: true})
}

func (s *Server) saveScript(v *visit) (view, error) {
	x := owner.Script{Name: strings.TrimSpace(v.PostForm.Get("name")), Text: v.PostForm.Get("text"), Active: v.PostForm.Get("do") == "activate"}
	known := v.PostForm.Get("known") != ""
	warnings, err := s.Owner.SaveScript(v.Context(), v.acct.ID, x)
	if err == nil && warnings != nil {
		return view{page: "script", title: "The rules “" + x.Name + "”", data: edit{Script: x, Known: true, Faults: warnings}, wrong: "It is saved, but something can hardly be meant so."}, nil
	}
	if err == nil {
		return goes("rules?done=saved")
	}
	e, invalid := errors.AsType[owner.Invalid](err)
	wrong, ok := meant(err)
	if !ok {
		return view{}, err
	}
	out := edit{Script: x, Known: known}
	if invalid {
		wrong, out.Faults = "Nothing is saved yet: there is something wrong.", strings.Split(e.Error(), "\n")
	}
	return view{page: "script", title: "Rules", data: out, wrong: wrong}, nil
}

func (s *Server) activateScript(v *visit) (view, error) {
	if err := s.Owner.ActivateScript(v.Context(), v.acct.ID, v.PostForm.Get("name")); err != nil {
		return view{}, err
	}
	return goes("rules?done=saved")
}

func (s *Server) removeScript(v *visit) (view, error) {
	if err := s.Owner.RemoveScript(v.Context(), v.acct.ID, v.PostForm.Get("name")); err != nil {
		return view{}, err
	}
	return goes("rules?done=gone")
}

func (s *Server) away(v *visit) (view, error) {
	w, err := s.Owner.Away(v.Context(), v.acct.ID)
	if errors.Is(err, owner.ErrAway) {
		return sees("away", "While you are away", absent{Foreign: true})
	}
	if err != nil {
		return view{}, err
	}
	return sees("away", "While you are away", absent{Away: w})
}

func (s *Server) setAway(v *visit) (view, error) {
	f := v.PostForm
	w := owner.Away{On: f.Get("do") == "on", From: f.Get("from"), Until: f.Get("until"), Subject: f.Get("subject"), Text: f.Get("text")}
	err := s.Owner.SetAway(v.Context(), v.acct.ID, w)
	if errors.Is(err, owner.ErrAway) {
		return s.away(v)
	}
	if wrong, ok := meant(err); ok {
		return view{page: "away", title: "While you are away", data: absent{Away: w}, wrong: wrong}, nil
	}
	if err != nil {
		return view{}, err
	}
	if w.On {
		return goes("away?done=away")
	}
	return goes("away?done=back")
}

// ErrLimit of scripts says more than that there are too many.
func limitWords(err error) string {
	text := err.Error()
	if i := strings.Index(text, ": "+mail.ErrLimit.Error()); i >= 0 {
		text = text[:i]
	}
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return sentence(text) + "."
}
