package webd

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/discovery"
)

// settings answers mail programs that look for the settings of a domain: the same for
// every address in it, whether there is such an account or not.
func (s *Server) settings(w http.ResponseWriter, r *http.Request, host string) {
	path := r.URL.Path
	low := strings.ToLower(path)
	switch {
	case path == discovery.WellKnownPath || path == discovery.AutoconfigPath:
		s.autoconfig(w, r, host)
	case low == discovery.AutodiscoverPath:
		s.autodiscover(w, r)
	case low == discovery.AutodiscoverJSONPath || strings.HasPrefix(low, discovery.AutodiscoverJSONPath+"/"):
		s.autodiscoverJSON(w, r, host)
	case path == discovery.ProfilePath:
		s.profile(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) autoconfig(w http.ResponseWriter, r *http.Request, host string) {
	if !reading(w, r) {
		return
	}
	domain := strings.TrimPrefix(host, discovery.AutoconfigHost)
	if address := r.URL.Query().Get("emailaddress"); address != "" {
		domain = domainOf(address)
	}
	if set, ok := s.of(w, r, domain); ok {
		give(w, "application/xml; charset=utf-8", discovery.Autoconfig(set))
	}
}

func (s *Server) autodiscover(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		http.Error(w, "a request has to be posted here", http.StatusMethodNotAllowed)
		return
	}
	address, err := discovery.ParseAutodiscover(r.Body)
	if err != nil {
		if !errors.Is(err, discovery.ErrSchema) {
			w.Header().Set("Content-Type", "application/xml; charset=utf-8")
			w.WriteHeader(http.StatusBadRequest)
		}
		give(w, "application/xml; charset=utf-8", discovery.AutodiscoverError(err))
		return
	}
	if set, ok := s.of(w, r, domainOf(address)); ok {
		give(w, "application/xml; charset=utf-8", discovery.Autodiscover(set, address))
	}
}

func (s *Server) autodiscoverJSON(w http.ResponseWriter, r *http.Request, host string) {
	if !reading(w, r) {
		return
	}
	q := url.Values{} // names in any case
	for name, v := range r.URL.Query() {
		q[strings.ToLower(name)] = v
	}
	address := q.Get("email")
	if address == "" { // …/autodiscover.json/v1.0/ada@example.org
		address = r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	}
	if _, ok := s.of(w, r, domainOf(address)); !ok {
		return
	}
	b, ok := discovery.AutodiscoverJSON(host, q.Get("protocol"))
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusBadRequest)
	}
	w.Write(b)
}

func (s *Server) profile(w http.ResponseWriter, r *http.Request) {
	if !reading(w, r) {
		return
	}
	a, err := mail.ParseAddress(r.URL.Query().Get("address"))
	if err != nil {
		http.Error(w, "say for whom: "+discovery.ProfilePath+"?address=name@domain", http.StatusBadRequest)
		return
	}
	set, ok := s.of(w, r, string(a.Domain))
	if !ok {
		return
	}
	b, ok := discovery.Profile(set, a.Unicode(), "")
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Disposition", `attachment; filename="mail.mobileconfig"`)
	give(w, discovery.ProfileType, b)
}

// of gives the settings of a domain; if it is none of ours, it is said so.
func (s *Server) of(w http.ResponseWriter, r *http.Request, domain string) (discovery.Settings, bool) {
	d, err := mail.ParseDomain(domain)
	if err != nil {
		http.NotFound(w, r)
		return discovery.Settings{}, false
	}
	set, err := s.Settings(r.Context(), d)
	switch {
	case errors.Is(err, mail.ErrNotFound):
		http.NotFound(w, r)
	case err != nil:
		s.Log.Error("the settings of a domain cannot be given", "domain", string(d), "error", err)
		http.Error(w, "try again later", http.StatusServiceUnavailable)
	}
	return set, err == nil
}

// domainOf gives what is behind the last @.
func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// reading says no to all that does not only read.
func reading(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	http.Error(w, "only to be read", http.StatusMethodNotAllowed)
	return false
}

func give(w http.ResponseWriter, kind string, b []byte) {
	w.Header().Set("Content-Type", kind)
	w.Write(b)
}
