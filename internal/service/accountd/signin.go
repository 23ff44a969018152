package accountd

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/signin"
)

// An entry is what the page to sign in shows.
type entry struct{ User, Next string }

func (s *Server) signInPage(w http.ResponseWriter, r *http.Request) {
	next := nextOf(r.URL.Query().Get("next"))
	if _, err := s.whose(w, r); err == nil {
		http.Redirect(w, r, Path+next, http.StatusSeeOther)
		return
	}
	s.show(w, nil, view{page: "sign-in", title: "Sign in", data: entry{Next: next}})
}

// signIn lets somebody in. A session that the browser had before ends: whose ever it
// was, it is not used any more.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(signInTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.trouble(w, nil, r, err)
		return
	}
	if err := r.ParseForm(); err != nil {
		s.trouble(w, nil, r, err)
		return
	}
	in := entry{User: r.PostForm.Get("user"), Next: nextOf(r.PostForm.Get("next"))}
	id, err := s.SignIn(r.Context(), addressOf(r), strings.TrimSpace(in.User), r.PostForm.Get("password"))
	if no, ok := errors.AsType[*mail.Refusal](err); ok {
		s.Log.Info("refused", "in", "auth", "protocol", "web", "remote", addressOf(r), "reason", no.Reason)
		s.show(w, nil, view{page: "sign-in", title: "Sign in", data: in, wrong: refused(no), status: http.StatusUnauthorized})
		return
	}
	if err != nil {
		s.trouble(w, nil, r, err)
		return
	}
	if old, err := r.Cookie(cookieName); err == nil {
		if err := s.Sessions.Close(r.Context(), old.Value); err != nil {
			s.Log.Warn("a former session of the account pages cannot be ended", "error", err)
		}
	}
	if err := s.enter(w, r, signin.Session{Account: id.Account, Proof: id.Proof}); err != nil {
		s.trouble(w, nil, r, err)
		return
	}
	s.Log.Info("loggedIn", "protocol", "web", "login", id.Login.String(), "remote", addressOf(r))
	http.Redirect(w, r, Path+in.Next, http.StatusSeeOther)
}

// refused is what a refusal says to who wanted to sign in.
func refused(no *mail.Refusal) string {
	if wrongPassword(no) {
		return "This address and this password do not go together. The password is that of the account: an app password opens a program, not these pages."
	}
	return sentence(no.Text) + "."
}

func wrongPassword(no *mail.Refusal) bool { return no.Status == sasl.ErrFailed.Status }

// enter begins a session, and gives the browser its cookie.
func (s *Server) enter(w http.ResponseWriter, r *http.Request, of signin.Session) error {
	of.From, of.Program = addressOf(r), r.UserAgent()
	token, err := s.Sessions.Open(r.Context(), of)
	if err != nil {
		return err
	}
	http.SetCookie(w, cookie(token))
	return nil
}

// cookie is that of a session; it goes when the browser is closed.
func cookie(token string) *http.Cookie {
	return &http.Cookie{Name: cookieName, Value: token, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

func (s *Server) forgetCookie(w http.ResponseWriter) {
	c := cookie("")
	c.MaxAge = -1
	http.SetCookie(w, c)
}

func (s *Server) signOut(v *visit) (view, error) {
	if err := s.Sessions.Close(v.Context(), v.token); err != nil {
		return view{}, err
	}
	s.forgetCookie(v.w)
	return goes("sign-in")
}

// nextOf gives the page that somebody wanted to see before signing in, as it stands
// behind Path; the first one if that is none of ours.
func nextOf(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "" || u.Host != "" || u.Opaque != "" || strings.HasPrefix(s, "/") || strings.ContainsAny(s, "\\\r\n\t") || strings.Contains(u.Path, "..") || strings.HasPrefix(s, "sign-in") {
		return ""
	}
	return s
}
