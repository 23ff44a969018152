package smtp

import "posthaste/internal/base/mail"

// A Dialect is a way to speak SMTP.
type Dialect uint8

// SMTP is RFC 5321; LMTP is RFC 2033.
const (
	SMTP Dialect = iota
	LMTP
)

// A Machine knows which command may come next. RFC 5321 §4.1.4
//
// It reads and writes nothing; a Machine with nothing but its first two fields
// set is a session that has just begun.
type Machine struct {
	Dialect Dialect
	TLS     bool // nothing is left to start: STARTTLS may not come

	hello  bool // they have introduced themselves
	auth   bool // they have logged in
	mail   bool // a transaction is open
	utf8   bool // it was opened with SMTPUTF8
	binary bool // it was opened with BODY=BINARYMIME
	chunks bool // BDAT has begun its message
	rcpts  int  // recipients that were taken
}

// What a command that comes out of turn is refused with.
var (
	ErrHello      = mail.Refuse("5.5.1", "say hello first", "")
	ErrDialect    = mail.Refuse("5.5.1", "not the greeting that is spoken here", "")
	ErrNested     = mail.Refuse("5.5.1", "one transaction at a time", "")
	ErrNoMail     = mail.Refuse("5.5.1", "send MAIL first", "")
	ErrNoRcpt     = mail.Refuse("5.5.1", "no valid recipients", "")
	ErrChunks     = mail.Refuse("5.5.1", "the message has begun: BDAT or RSET", "")
	ErrBinary     = mail.Refuse("5.5.1", "a binary message comes by BDAT", "")
	ErrTLSAlready = mail.Refuse("5.5.1", "TLS has been started already", "")
	ErrAuthTwice  = mail.Refuse("5.5.1", "you have logged in already", "")
	ErrAuthMail   = mail.Refuse("5.5.1", "not during a transaction", "")
	ErrNotUTF8    = mail.Refuse("5.6.7", "this address needs SMTPUTF8", "")
	ErrExpand     = mail.Refuse("5.5.1", "lists are not expanded here", "")
)

// Check tells whether c may come now; the error is a *mail.Refusal.
func (m *Machine) Check(c Command) error {
	switch c.Verb {
	case NOOP, QUIT, RSET, HELP, VRFY:
	case HELO, EHLO, LHLO:
		if (c.Verb == LHLO) != (m.Dialect == LMTP) {
			return ErrDialect
		}
	case MAIL:
		switch {
		case !m.hello:
			return ErrHello
		case m.mail:
			return ErrNested
		case c.NonASCII && !c.Mail.UTF8:
			return ErrNotUTF8
		}
	case RCPT:
		switch {
		case !m.mail:
			return ErrNoMail
		case m.chunks:
			return ErrChunks
		case c.NonASCII && !m.utf8:
			return ErrNotUTF8
		}
	case DATA, BDAT, BURL:
		switch {
		case !m.mail:
			return ErrNoMail
		case m.rcpts == 0:
			return ErrNoRcpt
		case m.chunks && c.Verb == DATA:
			return ErrChunks
		case m.binary && c.Verb == DATA: // RFC 3030 §3
			return ErrBinary
		}
	case STARTTLS: // before EHLO, too: GNU SASL does so, and all is forgotten anyway
		if m.TLS {
			return ErrTLSAlready
		}
	case AUTH:
		switch {
		case !m.hello:
			return ErrHello
		case m.auth:
			return ErrAuthTwice
		case m.mail:
			return ErrAuthMail
		}
	case XCLIENT:
		if m.mail {
			return ErrAuthMail
		}
	case EXPN:
		return ErrExpand
	default:
		return ErrUnknown
	}
	return nil
}

// Done moves the machine on after a command that Check let through has been
// carried out; err is what came of it.
func (m *Machine) Done(c Command, err error) {
	switch c.Verb {
	case HELO, EHLO, LHLO:
		if err == nil {
			m.hello = true
			m.end()
		}
	case MAIL:
		m.mail, m.utf8, m.binary = err == nil, err == nil && c.Mail.UTF8, err == nil && c.Mail.Binary
	case RCPT:
		if err == nil {
			m.rcpts++
		}
	case DATA, RSET:
		m.end()
	case BDAT, BURL:
		if m.chunks = true; err != nil || c.Last {
			m.end()
		}
	case STARTTLS:
		if err == nil {
			// RFC 3207 §4.2: all that was said before is forgotten.
			*m = Machine{Dialect: m.Dialect, TLS: true}
		}
	case AUTH:
		m.auth = err == nil
	case XCLIENT:
		if err == nil { // another client, who has not said anything yet
			*m = Machine{Dialect: m.Dialect, TLS: m.TLS, auth: c.XClient.Login != nil && *c.XClient.Login != ""}
		}
	}
}

// end ends the transaction, if there is one.
func (m *Machine) end() {
	m.mail, m.utf8, m.binary, m.chunks, m.rcpts = false, false, false, false, 0
}

// Binary tells whether the transaction is about a binary message. RFC 3030 §3
func (m *Machine) Binary() bool { return m.binary }

// Transaction tells whether a transaction is open.
func (m *Machine) Transaction() bool { return m.mail }

// Recipients gives how many recipients the transaction has.
func (m *Machine) Recipients() int { return m.rcpts }
