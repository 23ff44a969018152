package config

import (
	"fmt"
	"net/netip"
	"net/url"
)

// A Hook is a program outside that is asked about mail from others over HTTP.
type Hook struct {
	URL   string `toml:"url"`
	Stage string `toml:"stage"` // rcpt or data
	// Timeout is how long the answer may take, OnFailure what happens without one:
	// tempfail or accept.
	Timeout   Duration `toml:"timeout"`
	OnFailure string   `toml:"on_failure"`
	// Body is how many bytes of the message are told; 0: only its header.
	Body Size `toml:"body"`
	// SecretFile has the key that requests are signed with; none: they are not.
	SecretFile string `toml:"secret_file"`
}

// maxHookBody is how much of a message a hook may be told: it is in memory then.
const maxHookBody = 10 << 20

func (h *Hook) check() error {
	u, err := url.Parse(h.URL)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || !oneOf(u.Scheme, "http", "https") {
		return fmt.Errorf("[[hook]] url %q: write http://127.0.0.1:8080/mail or https://host/path, with no name and password in it", h.URL)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Scheme == "http" && (err != nil && u.Hostname() != "localhost" || err == nil && !ip.IsLoopback() && !ip.IsPrivate()) {
		return fmt.Errorf("[[hook]] url %q: over http mail is told only to localhost and addresses of private networks: use https", h.URL)
	}
	if h.Stage == "" {
		h.Stage = "data"
	}
	if h.OnFailure == "" {
		h.OnFailure = "tempfail"
	}
	if !oneOf(h.Stage, "rcpt", "data") || !oneOf(h.OnFailure, "tempfail", "accept") {
		return fmt.Errorf("[[hook]] %s: stage is rcpt or data, on_failure is tempfail or accept", h.URL)
	}
	if h.Body > maxHookBody || h.Body > 0 && h.Stage == "rcpt" {
		return fmt.Errorf("[[hook]] %s: body is 10MB at most, and only for stage data", h.URL)
	}
	return nil
}
