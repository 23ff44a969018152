package accountd

import (
	"errors"
	"strings"
	"time"

	"posthaste/internal/agent/registrar"
	"posthaste/internal/store/signin"
)

type (
	// safety is what the page of security shows.
	safety struct {
		Sessions []browser
		Least    int // characters of a password
	}
	browser struct {
		ID, What, From string
		Since, Seen    time.Time
		This           bool
	}
)

func (s *Server) security(v *visit) (view, error) { return s.safety(v, "") }

func (s *Server) safety(v *visit, wrong string) (view, error) {
	list, err := s.Sessions.List(v.Context(), v.acct.ID)
	if err != nil {
		return view{}, err
	}
	out := safety{Least: registrar.MinPassword}
	for _, x := range list {
		b := browser{ID: x.ID, What: browserWords(x.Program), Since: x.Created, Seen: x.Seen, This: x.ID == v.session.ID}
		if x.From.IsValid() {
			b.From = x.From.String()
		}
		out.Sessions = append(out.Sessions, b)
	}
	return view{page: "security", title: "Password and security", data: out, wrong: wrong}, nil
}

// changePassword sets a new password. All other sessions end by it; this one goes on.
func (s *Server) changePassword(v *visit) (view, error) {
	fresh := v.PostForm.Get("new")
	if fresh != v.PostForm.Get("repeated") {
		return s.safety(v, "The new password was not typed twice alike.")
	}
	if wrong, err := s.again(v); wrong != "" || err != nil {
		return orWrong(err, func() (view, error) { return s.safety(v, wrong) })
	}
	err := s.Owner.Registrar.SetPassword(v.Context(), v.acct.Address, fresh)
	if errors.Is(err, registrar.ErrPassword) {
		return s.safety(v, sentence(err.Error())+".")
	}
	if err != nil {
		return view{}, err
	}
	s.Log.Info("password changed by its owner", "account", v.acct.Address.String(), "remote", v.ip)
	id, err := s.SignIn(v.Context(), v.ip, v.acct.Address.String(), fresh)
	if err != nil {
		return view{}, err
	}
	if err := s.Sessions.CloseAll(v.Context(), v.acct.ID, ""); err != nil {
		return view{}, err
	}
	if err := s.enter(v.w, v.Request, signin.Session{Account: id.Account, Proof: id.Proof}); err != nil {
		return view{}, err
	}
	return goes("security?done=password")
}

// endSessions signs out elsewhere: in one browser, or in all others.
func (s *Server) endSessions(v *visit) (view, error) {
	var err error
	if id := v.PostForm.Get("id"); id != "" {
		err = s.Sessions.CloseID(v.Context(), v.acct.ID, id)
	} else {
		err = s.Sessions.CloseAll(v.Context(), v.acct.ID, v.token)
	}
	if err != nil {
		return view{}, err
	}
	return goes("security?done=ended")
}

// browserWords says what a browser calls itself, in short.
func browserWords(agent string) string {
	out := "A browser"
	for _, b := range []struct{ mark, name string }{
		{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"},
	} {
		if strings.Contains(agent, b.mark) {
			out = b.name
			break
		}
	}
	for _, o := range []struct{ mark, name string }{
		{"iPhone", "an iPhone"}, {"iPad", "an iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Mac OS X", "a Mac"}, {"Linux", "Linux"},
	} {
		if strings.Contains(agent, o.mark) {
			return out + " on " + o.name
		}
	}
	return out
}
