package accountd

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/directory"
)

type (
	// devices is what the page of programs shows.
	devices struct {
		List    []device
		Program program
		Name    string // as it was typed
		Opens   string
		Choice  []choice
	}
	device struct {
		Name, Opens string
		Created     time.Time
	}
	choice struct {
		Value, Words string
		Chosen       bool
	}
	// added is what is shown once of a new app password.
	added struct {
		Name, Password string
		Program        program
	}
)

// opens are what an app password can be for.
var opens = []choice{
	{Value: "all", Words: "reading and sending mail"},
	{Value: "imap,submission", Words: "reading with IMAP, and sending"},
	{Value: "pop3,submission", Words: "collecting with POP3, and sending"},
	{Value: "pop3", Words: "only collecting with POP3"},
	{Value: "submission", Words: "only sending"},
}

func opensWords(p directory.Protocols) string {
	for _, c := range opens {
		if have, err := directory.ParseProtocols(c.Value); err == nil && have == p {
			return c.Words
		}
	}
	return strings.ReplaceAll(p.String(), ",", ", ")
}

func (s *Server) programs(v *visit) (view, error) { return s.devices(v, "", "all", "") }

func (s *Server) devices(v *visit, name, what, wrong string) (view, error) {
	list, err := s.Owner.Directory.AppPasswords(v.Context(), v.acct.ID)
	if err != nil {
		return view{}, err
	}
	out := devices{Name: name, Opens: what}
	for _, p := range list {
		d := device{p.Name, opensWords(p.Protocols), p.Created}
		if p.APOP != "" {
			d.Opens = "only collecting with POP3, by APOP"
		}
		out.List = append(out.List, d)
	}
	for _, c := range opens {
		c.Chosen = c.Value == what
		out.Choice = append(out.Choice, c)
	}
	if out.Program, err = s.program(v); err != nil {
		return view{}, err
	}
	return view{page: "programs", title: "Programs and devices", data: out, wrong: wrong}, nil
}

func (s *Server) addProgram(v *visit) (view, error) {
	name, what := strings.TrimSpace(v.PostForm.Get("name")), v.PostForm.Get("opens")
	protocols, err := directory.ParseProtocols(what)
	if err != nil {
		return s.devices(v, name, "all", "Choose what the password is for.")
	}
	if wrong, err := s.again(v); wrong != "" || err != nil {
		return orWrong(err, func() (view, error) { return s.devices(v, name, what, wrong) })
	}
	password, err := s.Owner.AddDevice(v.Context(), v.acct, name, protocols)
	if wrong, ok := meant(err); ok {
		return s.devices(v, name, what, wrong)
	}
	if err != nil {
		return view{}, err
	}
	s.Log.Info("app password added by its owner", "account", v.acct.Address.String(), "name", name, "remote", v.ip)
	out := added{Name: name, Password: password}
	if out.Program, err = s.program(v); err != nil {
		return view{}, err
	}
	return sees("added", "A password for "+name, out)
}

func (s *Server) removeProgram(v *visit) (view, error) {
	name := v.PostForm.Get("name")
	if err := s.Owner.RemoveDevice(v.Context(), v.acct, name); err != nil {
		return view{}, err
	}
	s.Log.Info("app password removed by its owner", "account", v.acct.Address.String(), "name", name, "remote", v.ip)
	return goes("programs?done=removed")
}

// again asks for the account's password once more, before what a passer-by at somebody
// else's browser must not do.
func (s *Server) again(v *visit) (wrong string, err error) {
	id, err := s.SignIn(v.Context(), v.ip, v.acct.Address.String(), v.PostForm.Get("password"))
	if err == nil && id.Account != v.acct.ID {
		return "", mail.ErrNotFound // another has the address meanwhile
	}
	no, ok := errors.AsType[*mail.Refusal](err)
	switch {
	case !ok:
		return "", err
	case wrongPassword(no):
		return "That is not the password of your account.", nil
	}
	return sentence(no.Text) + ".", nil
}

func orWrong(err error, show func() (view, error)) (view, error) {
	if err != nil {
		return view{}, err
	}
	return show()
}

func profileAddress(a mail.Address) string { return url.QueryEscape(a.String()) }
