package mta

import (
	"crypto/tls"
	"fmt"
	"time"

	"posthaste/internal/base/mail"
)

// A demand is how safely a message asks to travel.
type demand uint8

const (
	asAsked demand = iota // as the other side asks
	strict                // REQUIRETLS: to hosts that can be trusted with it only. RFC 8689 §4.2.1
	lax                   // "TLS-Required: No": whatever the other side asks. RFC 8689 §4.2.2
)

// demandOf gives what a message asks. A report is rather sent unprotected than
// lost: it has only the header of its message. RFC 8689 §5
func demandOf(env mail.Envelope) demand {
	switch {
	case env.RequireTLS && !env.Sender.IsZero():
		return strict
	case env.AnyTLS:
		return lax
	}
	return asAsked
}

// requireTLS is the status of a message that no host may have. RFC 8689 §7
var requireTLS = mail.Status{Class: 5, Subject: 7, Detail: 30}

// An unfit host cannot be trusted with a message that must travel protected.
type unfit struct{ why string }

func (e *unfit) Error() string { return "REQUIRETLS: " + e.why }

// unfit tells why a session may not carry a message that must travel protected; nil
// if it may. The host must encrypt, must have shown to be the right one, and must
// promise the same for the rest of the way. RFC 8689 §4.2.1
func (r *Remote) unfit(s *session) error {
	if why := r.unproven(s); why != "" {
		return &unfit{why}
	}
	if !s.client.Extensions().RequireTLS {
		return &unfit{"the server does not promise to protect the message on the rest of its way"}
	}
	return nil
}

// unproven says what a session lacks to be known as one with the right host.
func (r *Remote) unproven(s *session) string {
	tc, ok := s.conn.(*tls.Conn)
	switch {
	case !ok:
		return "the server does not encrypt"
	case s.proof != "": // DANE or MTA-STS
		return ""
	case !s.target.sure:
		return "nothing proves which server is the right one: no DANE, no MTA-STS, and no signed MX record"
	}
	if err := trusted(tc.ConnectionState().PeerCertificates, r.TLS.RootCAs, s.target.name, time.Now()); err != nil {
		return fmt.Sprintf("the server's certificate does not prove that it is the right one: %v", err)
	}
	return ""
}
