package imap

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// An URL names a message or a piece of one. RFC 5092 §11
type URL struct {
	User        string // empty if it names no server, or nobody
	Host        string // with the port, if there is one; empty if it names no server
	Mailbox     string // UTF-8; empty for the one that is open
	UIDValidity uint32 // zero if it names none
	UID         uint32 // zero for the mailbox itself
	Section     Section
	Partial     bool
	Offset      uint64
	Count       uint64 // zero: all that follows

	Auth URLAuth
}

// Range gives the bytes that the URL is about, of what is size bytes long.
func (u *URL) Range(size int64) (off, n int64) {
	if !u.Partial {
		return 0, size
	}
	from := min(u.Offset, uint64(size))
	n = size - int64(from)
	if u.Count > 0 && u.Count < uint64(n) {
		n = int64(u.Count)
	}
	return int64(from), n
}

// URLAuth is what an URL says of who may use it. RFC 4467 §3
type URLAuth struct {
	Access    URLAccess // zero if it says nothing
	User      string    // of AccessUser and AccessSubmit
	Expire    time.Time // zero: never
	Mechanism string    // upper case; empty if the URL is not authorized yet
	Verifier  string    // hexadecimal
	Rump      string    // the URL up to and with Access, which the verifier is of
}

// URLAccess is who may use an URL.
type URLAccess uint8

// Who may use an URL. RFC 4467 §3
const (
	AccessAnonymous URLAccess = iota + 1 // everybody
	AccessAuthUser                       // everybody who has logged in with a name
	AccessUser                           // one user
	AccessSubmit                         // who submits mail on behalf of one user
)

// ParseURL reads an URL, absolute or relative to this server or the mailbox that
// is open. False if it is none that names a message.
func ParseURL(text string) (u URL, ok bool) {
	if len(text) > 8000 {
		return u, false
	}
	text, ok = u.auth(text)
	if !ok {
		return u, false
	}
	rest := text
	if len(text) >= 7 && strings.EqualFold(text[:7], "imap://") {
		server, path, found := strings.Cut(text[7:], "/")
		if !found || !u.server(server) {
			return u, false
		}
		rest = "/" + path
	}
	absolute := strings.HasPrefix(rest, "/")
	rest = strings.TrimPrefix(rest, "/")
	at := indexFold(rest, ";uid=")
	if at < 0 {
		return u, false
	}
	box := strings.TrimSuffix(rest[:at], "/")
	if absolute && box == "" || !absolute && box != "" {
		return u, false
	}
	return u, u.mailbox(box) && u.message(rest[at+len(";uid="):])
}

// auth takes off what says who may use the URL.
func (u *URL) auth(text string) (rest string, ok bool) {
	const urlauth, expire = ";urlauth=", ";expire="
	at := indexFold(text, urlauth)
	if at < 0 {
		return text, true
	}
	access, verified, authorized := strings.Cut(text[at+len(urlauth):], ":")
	if !u.access(access) {
		return "", false
	}
	u.Auth.Rump = text[:at+len(urlauth)+len(access)]
	if authorized {
		var found bool
		u.Auth.Mechanism, u.Auth.Verifier, found = strings.Cut(verified, ":")
		u.Auth.Mechanism = upper([]byte(u.Auth.Mechanism))
		if !found || u.Auth.Mechanism == "" || len(u.Auth.Verifier) < 32 || strings.Trim(u.Auth.Verifier, "0123456789abcdefABCDEF") != "" {
			return "", false
		}
	}
	rest = text[:at]
	if at := indexFold(rest, expire); at >= 0 {
		when, err := time.Parse(time.RFC3339, rest[at+len(expire):])
		if err != nil || when.IsZero() {
			return "", false
		}
		rest, u.Auth.Expire = rest[:at], when
	}
	return rest, true
}

func (u *URL) access(s string) (ok bool) {
	word, user, found := strings.Cut(s, "+")
	switch {
	case strings.EqualFold(s, "anonymous"):
		u.Auth.Access = AccessAnonymous
		return true
	case strings.EqualFold(s, "authuser"):
		u.Auth.Access = AccessAuthUser
		return true
	case found && strings.EqualFold(word, "user"):
		u.Auth.Access = AccessUser
	case found && strings.EqualFold(word, "submit"):
		u.Auth.Access = AccessSubmit
	default:
		return false
	}
	u.Auth.User, ok = unpercent(user)
	return ok && u.Auth.User != "" && utf8.ValidString(u.Auth.User)
}

// indexFold is strings.Index for an ASCII needle in any case.
func indexFold(s, needle string) int {
	for i := 0; i+len(needle) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(needle)], needle) {
			return i
		}
	}
	return -1
}

func (u *URL) server(s string) bool {
	user, host, found := strings.Cut(s, "@")
	if !found {
		user, host = "", s
	}
	if i := indexFold(user, ";auth="); i >= 0 {
		user = user[:i]
	}
	var ok bool
	u.User, ok = unpercent(user)
	u.Host = host
	return ok && host != ""
}

func (u *URL) mailbox(s string) bool {
	if i := indexFold(s, ";uidvalidity="); i >= 0 {
		n, err := strconv.ParseUint(s[i+len(";uidvalidity="):], 10, 32)
		if err != nil || n == 0 {
			return false
		}
		s, u.UIDValidity = s[:i], uint32(n)
	}
	name, ok := unpercent(s)
	u.Mailbox = CanonicalName(name)
	return ok && utf8.ValidString(name)
}

// message reads what follows ";UID=".
func (u *URL) message(s string) bool {
	parts := strings.Split(s, "/")
	n, err := strconv.ParseUint(parts[0], 10, 32)
	if err != nil || n == 0 {
		return false
	}
	u.UID = uint32(n)
	for _, p := range parts[1:] {
		p, ok := unpercent(p)
		switch {
		case !ok:
			return false
		case len(p) > 9 && strings.EqualFold(p[:9], ";section="):
			if u.Section, ok = parseSection(p[9:]); !ok {
				return false
			}
		case len(p) > 9 && strings.EqualFold(p[:9], ";partial="):
			if !u.partial(p[9:]) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func (u *URL) partial(s string) bool {
	from, count, found := strings.Cut(s, ".")
	var err error
	if u.Offset, err = strconv.ParseUint(from, 10, 63); err != nil {
		return false
	}
	if found {
		if u.Count, err = strconv.ParseUint(count, 10, 63); err != nil || u.Count == 0 {
			return false
		}
	}
	u.Partial = true
	return true
}

// parseSection reads a section without its brackets.
func parseSection(s string) (Section, bool) {
	d := Decoder{line: append([]byte("["+s), ']')}
	d.mark.at = -1
	var sec Section
	d.section(&sec)
	d.end()
	return sec, d.ok()
}

// unpercent undoes percent encoding.
func unpercent(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			out = append(out, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil || n == 0 {
			return "", false
		}
		out = append(out, byte(n))
		i += 2
	}
	return string(out), true
}
