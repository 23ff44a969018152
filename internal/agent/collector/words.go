package collector

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"

	"posthaste/internal/agent/carrier"
	"posthaste/internal/agent/token"
	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/outpost"
)

// A LoginError is a server that does not let us in.
type LoginError struct {
	Said string // by the server
	// Sure: the user name or the password is wrong, trying again does not help.
	// Later: it has nothing to do with them.
	Sure, Later bool
}

// Error gives what was said.
func (e *LoginError) Error() string { return "login refused: " + e.Said }

// later are words of servers that do not say by a code that it may work another time.
var later = [...]string{"lock", "in use", "busy", "tempor", "try again", "later", "too many", "unavailable", "delay", "internal"}

// SaysLater tells whether the text of a server means that it may work another time.
func SaysLater(text string) bool {
	text = strings.ToLower(text)
	for _, w := range later {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// A WantError is what an outpost wants that cannot be.
type WantError struct{ Text string }

// Error gives the sentence.
func (e *WantError) Error() string { return e.Text }

// Once gives of Words what holds where nobody tries it again.
func Once(words string) string {
	words = strings.TrimSuffix(words, " It is tried again by itself.")
	return strings.Replace(words, ": it is tried again by itself.", ".", 1)
}

// Words says what is wrong, in words for the owner, with what can be done.
func Words(o *outpost.Outpost, err error) string {
	host := net.JoinHostPort(o.Host, o.Port)
	if no, ok := errors.AsType[*LoginError](err); ok {
		switch {
		case no.Later:
			return fmt.Sprintf("%s does not let us in now (%q): it is tried again by itself.", o.Host, no.Said)
		case o.OAuth2 != nil:
			return fmt.Sprintf("%s does not take the access token for %s (%q): allow the access anew, and put in the new refresh token.", o.Host, o.User, no.Said)
		}
		return fmt.Sprintf("%s refuses the user name %s or its password (%q): put in the right one. Some providers want an app password here, or that other programs are let in, in their settings, first.", o.Host, o.User, no.Said)
	}
	if no, ok := errors.AsType[*token.Error](err); ok {
		return "No access token: " + no.Error() + "."
	}
	if web, ok := errors.AsType[*url.Error](err); ok { // only tokens are asked for over HTTP
		return fmt.Sprintf("No access token: %s cannot be reached (%v). It is tried again by itself.", web.URL, web.Err)
	}
	if want, ok := errors.AsType[*WantError](err); ok {
		return want.Text
	}
	if no, ok := errors.AsType[*mail.Refusal](err); ok {
		return "A message cannot be delivered here now: " + no.Text + ". It stays there, and is tried again."
	}
	switch {
	case errors.Is(err, mail.ErrOverQuota):
		return "Your mailbox here is full: delete something, or ask for more room. The mail stays there until then."
	case errors.Is(err, mail.ErrFull):
		return "The disk of this server is full. The mail stays there until there is room."
	case errors.Is(err, dns.ErrNoName), errors.Is(err, dns.ErrNoData):
		return fmt.Sprintf("There is no host called %s: look at how it is written.", o.Host)
	}
	if text := tlsWords(o, err); text != "" {
		return text
	}
	_, network := errors.AsType[net.Error](err)
	bye, hungUp := errors.AsType[*carrier.ByeError](err)
	switch {
	case hungUp:
		return fmt.Sprintf("%s has closed the connection, and says %q. It is tried again by itself.", host, bye.Said)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return host + " does not answer in time: look at the host and the port. It is tried again by itself."
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return host + " has closed the connection. It is tried again by itself."
	case network:
		return fmt.Sprintf("%s cannot be reached (%v): look at the host and the port. It is tried again by itself.", host, err)
	}
	if _, theirs := errors.AsType[errSource](err); theirs {
		return fmt.Sprintf("%s does not do as it should (%v). It is tried again by itself.", host, err)
	}
	return "This server has failed; its log says why. It is tried again by itself."
}

// tlsWords says what is wrong with TLS; "" if nothing is.
func tlsWords(o *outpost.Outpost, err error) string {
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fmt.Sprintf("%s does not begin with TLS at port %s (%v): try starttls, or another port.", o.Host, o.Port, record)
	}
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		why, do := bad.Err.Error(), "its owner has to put that right, unless the name of the host is wrong"
		if name, ok := errors.AsType[x509.HostnameError](err); ok {
			why, do = name.Error(), "look at the name of the host"
		}
		return fmt.Sprintf("The certificate of %s is not good (%s): %s. Nothing goes over a connection that others could read.", o.Host, why, do)
	}
	return ""
}
