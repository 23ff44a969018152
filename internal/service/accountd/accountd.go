// Package accountd has the pages where people look after their own accounts with a
// browser: which programs may open it, what becomes of mail that POP3 collects and what
// each device has collected, rules and what is answered while they are away, mail that was
// deleted, the password, and where they are signed in.
//
// The pages are HTML that the server writes; there is no script, and none is allowed to
// run. They need one cookie, for the session, and what changes something is taken only
// from a page of ours.
package accountd

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"posthaste/internal/agent/owner"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/discovery"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/outpost"
	"posthaste/internal/store/signin"
)

// Path is where the pages begin.
const Path = "/account/"

const (
	// maxForm is how many bytes a form may have: a script of which each byte is written as
	// three.
	maxForm = 1 << 20
	// signInTime is how long it may take to let somebody in: guessing is slowed down.
	signInTime = time.Minute
	cookieName = "__Host-posthaste"
)

// A Server answers below Path. All fields must be set.
type Server struct {
	Owner    *owner.Agent
	Sessions *signin.Store
	// SignIn tells who somebody is by the account's own password; a *mail.Refusal is a no.
	SignIn func(ctx context.Context, ip netip.Addr, user, password string) (sasl.Identity, error)
	// Stands tells whether what somebody has shown still opens the account.
	Stands func(ctx context.Context, id sasl.Identity) (bool, error)
	// Settings gives those of a domain for mail programs.
	Settings func(ctx context.Context, d mail.Domain) (discovery.Settings, error)
	// Outposts has the accounts elsewhere whose mail is collected.
	Outposts *outpost.Store
	Log      *slog.Logger

	once   sync.Once
	routes http.Handler
}

//go:embed pages
var files embed.FS

// ServeHTTP answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.once.Do(func() { s.routes = s.mux() })
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Strict-Transport-Security", "max-age=31536000")
	h.Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	s.routes.ServeHTTP(w, r)
}

func (s *Server) mux() http.Handler {
	mux := http.NewServeMux()
	page := func(pattern string, fn func(*visit) (view, error)) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.Handle(method+" "+Path+path, s.signedIn(fn))
	}
	page("GET {$}", s.overview)
	page("GET pop3", s.pop3)
	page("GET pop3/policy", s.policy)
	page("POST pop3/policy", s.changePolicy)
	page("GET pop3/ledger", s.ledger)
	page("GET deleted", s.deleted)
	page("POST deleted", s.restore)
	page("GET rules", s.rules)
	page("GET rules/edit", s.editScript)
	page("POST rules/edit", s.saveScript)
	page("POST rules/active", s.activateScript)
	page("POST rules/remove", s.removeScript)
	page("GET away", s.away)
	page("POST away", s.setAway)
	page("GET programs", s.programs)
	page("POST programs", s.addProgram)
	page("POST programs/remove", s.removeProgram)
	page("GET security", s.security)
	page("POST security/password", s.changePassword)
	page("POST security/end", s.endSessions)
	page("POST sign-out", s.signOut)
	mux.HandleFunc("GET "+Path+"sign-in", s.signInPage)
	mux.HandleFunc("POST "+Path+"sign-in", s.signIn)
	mux.HandleFunc("GET "+Path+"style.css", file("style.css", "text/css; charset=utf-8"))
	mux.HandleFunc("GET "+Path+"icon.svg", file("icon.svg", "image/svg+xml"))
	mux.HandleFunc(Path, func(w http.ResponseWriter, r *http.Request) {
		s.show(w, nil, view{page: "trouble", title: "There is no such page", status: http.StatusNotFound, data: "It may have had another name before. All that there is can be reached from the first page."})
	})
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.show(w, nil, view{page: "trouble", title: "That came from elsewhere", status: http.StatusForbidden, data: "Another page wanted to change something here, and it was not done. If it was you, do it from here."})
	}))
	return origin.Handler(mux)
}

func file(name, kind string) http.HandlerFunc {
	b, err := files.ReadFile("pages/" + name)
	if err != nil {
		panic(err) // it is in the program
	}
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Write(b)
	}
}

// A visit is a request of somebody who is signed in.
type visit struct {
	*http.Request
	w       http.ResponseWriter
	ip      netip.Addr
	token   string
	session signin.Session
	acct    directory.Account
}

// A view is what an answer shows, or where it sends the browser.
type view struct {
	page   string
	title  string
	data   any
	wrong  string // what was wrong with what came, in a sentence
	status int    // 0 is 200
	to     string // another page instead, below Path
}

// sees gives a view.
func sees(page, title string, data any) (view, error) {
	return view{page: page, title: title, data: data}, nil
}

// goes sends the browser to another page, which says what was done; see done.
func goes(to string) (view, error) { return view{to: to}, nil }

// signedIn answers those who are signed in with what fn gives; others sign in first.
func (s *Server) signedIn(fn func(*visit) (view, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := s.whose(w, r)
		if errors.Is(err, mail.ErrNotFound) {
			s.forgetCookie(w)
			to := Path + "sign-in"
			if at := strings.TrimPrefix(r.URL.RequestURI(), Path); r.Method == http.MethodGet && at != "" {
				to += "?next=" + url.QueryEscape(at)
			}
			http.Redirect(w, r, to, http.StatusSeeOther)
			return
		}
		if err == nil {
			err = v.ParseForm()
		}
		if err != nil {
			s.trouble(w, v, r, err)
			return
		}
		out, err := fn(v)
		switch {
		case err != nil:
			s.trouble(w, v, r, err)
		case out.to != "":
			http.Redirect(w, r, Path+out.to, http.StatusSeeOther)
		default:
			s.show(w, v, out)
		}
	})
}

// whose finds out who is signed in; mail.ErrNotFound if nobody is, or is any more.
func (s *Server) whose(w http.ResponseWriter, r *http.Request) (*visit, error) {
	v := &visit{Request: r, w: w, ip: addressOf(r)}
	c, err := r.Cookie(cookieName)
	if err != nil {
		return nil, mail.ErrNotFound
	}
	v.token = c.Value
	if v.session, err = s.Sessions.Find(r.Context(), v.token); err != nil {
		return nil, err
	}
	if v.acct, err = s.Owner.Directory.Account(r.Context(), v.session.Account); err != nil {
		return nil, err
	}
	stands, err := s.Stands(r.Context(), sasl.Identity{Account: v.acct.ID, Login: v.acct.Address, Proof: v.session.Proof})
	if err != nil {
		return nil, err
	}
	if !stands {
		return nil, errors.Join(s.Sessions.Close(r.Context(), v.token), mail.ErrNotFound)
	}
	return v, nil
}

func addressOf(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

// trouble answers with what went wrong: in our words if it is the visitor's, else only
// that something has.
func (s *Server) trouble(w http.ResponseWriter, v *visit, r *http.Request, err error) {
	out := view{page: "trouble", title: "Something went wrong here", status: http.StatusInternalServerError, data: "It is not your fault, and has been written down. Try again in a while."}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		out = view{page: "trouble", title: "That was too much at once", status: http.StatusRequestEntityTooLarge, data: "Choose less, and do it several times."}
	case errors.Is(err, mail.ErrNotFound):
		out = view{page: "trouble", title: "That is not there any more", status: http.StatusNotFound, data: "It may have been changed meanwhile, here or by another program."}
	case errors.Is(err, mail.ErrFull): // the engine's log tells of it, once
		out = view{page: "trouble", title: "The server has no room just now", status: http.StatusInsufficientStorage, data: full}
	case r.Context().Err() != nil:
		return // nobody waits
	default:
		s.Log.Error("a page for owners", "request", r.Method+" "+r.URL.Path, "error", err)
	}
	s.show(w, v, out)
}

// full is said when the disk is.
const full = "The server has no room just now for what you asked. Nothing is lost. Try again later, or tell who runs the server."

// A sheet is what all pages are made from.
type sheet struct {
	Title, Page, Address string
	Done, Wrong          string
	Zone                 string
	Data                 any
}

// show writes a page; v is nil if nobody is signed in.
func (s *Server) show(w http.ResponseWriter, v *visit, out view) {
	now := time.Now()
	x := sheet{Title: out.title, Page: out.page, Wrong: out.wrong, Data: out.data, Zone: now.Format("MST")}
	if v != nil {
		x.Address, x.Done = v.acct.Address.Unicode(), done(v.URL.Query())
	}
	var b bytes.Buffer
	if err := pages[out.page].Execute(&b, x); err != nil {
		s.Log.Error("a page for owners", "page", out.page, "error", err)
		http.Error(w, "something went wrong here", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if out.status != 0 {
		w.WriteHeader(out.status)
	} else if out.wrong != "" {
		w.WriteHeader(http.StatusUnprocessableEntity)
	}
	w.Write(b.Bytes())
}

var pages = parse("sign-in", "overview", "pop3", "policy", "ledger", "deleted", "programs", "added", "security", "trouble", "rules", "script", "away")

func parse(names ...string) map[string]*template.Template {
	out := map[string]*template.Template{}
	for _, name := range names {
		t := template.New("layout.html").Funcs(template.FuncMap{"when": when, "stamp": stamp, "size": mail.Size, "size64": func(n int) string { return mail.Size(int64(n)) }, "many": mail.Many[int], "sentence": sentence})
		out[name] = template.Must(t.ParseFS(files, "pages/layout.html", "pages/"+name+".html"))
	}
	return out
}

func when(t time.Time) string { return t.Local().Format("2 Jan 2006, 15:04") }

// stamp is a time for programs that read pages.
func stamp(t time.Time) string { return t.Format(time.RFC3339) }

// sentence begins with a capital letter.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
