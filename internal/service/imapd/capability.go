package imapd

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/sasl"
)

// What we can do before login, and after. Nothing stands here that does not
// work whole.
const (
	always     = "IMAP4rev1 IMAP4rev2 SASL-IR ID ENABLE IDLE LANGUAGE"
	sometimes  = " LITERAL+ COMPRESS=DEFLATE ACL RIGHTS=texk LIST-MYRIGHTS QUOTASET MESSAGELIMIT= SAVELIMIT= "
	afterLogin = " NAMESPACE CHILDREN UNSELECT UIDPLUS MOVE MULTIAPPEND CATENATE URLAUTH URLAUTH=BINARY URL-PARTIAL NOTIFY CONDSTORE QRESYNC ESEARCH SEARCHRES WITHIN" +
		" LIST-EXTENDED LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE STATUS=SIZE STATUS=DELETED BINARY UTF8=ACCEPT" +
		" CONTEXT=SEARCH CONTEXT=SORT MULTISEARCH SORT SORT=DISPLAY ESORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES THREAD=REFS PARTIAL" +
		" OBJECTID SAVEDATE PREVIEW UNAUTHENTICATE REPLACE UIDONLY UIDBATCHES INPROGRESS METADATA METADATA-SERVER LIST-METADATA FILTERS I18NLEVEL=2 QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE QUOTA=RES-MAILBOX APPENDLIMIT="
)

// capabilities gives what the session can do now.
func (s *session) capabilities() string {
	if s.peer.Account != 0 {
		first := always + " LITERAL+"
		if !s.compressed {
			first += " COMPRESS=DEFLATE"
		}
		if s.srv.People != nil {
			first += " ACL RIGHTS=texk LIST-MYRIGHTS"
		}
		if s.admin {
			first += " QUOTASET"
		}
		if n := s.srv.limits.Messages; n > 0 {
			first += " MESSAGELIMIT=" + strconv.Itoa(n)
		} else if n := s.srv.limits.Saved; n > 0 {
			first += " SAVELIMIT=" + strconv.Itoa(n)
		}
		all := first + afterLogin + strconv.FormatInt(s.srv.limits.Message, 10)
		if s.gated() {
			return s.offered(all)
		}
		return all
	}
	var b strings.Builder
	b.WriteString(always + " LITERAL-") // as the Decoder's limits are: RFC 7888 §5
	if s.canStartTLS() {
		b.WriteString(" STARTTLS")
	}
	if !s.mayLogin() {
		b.WriteString(" LOGINDISABLED")
		return b.String()
	}
	for _, m := range s.offer().Mechanisms(s.binding) {
		b.WriteString(" AUTH=" + m)
	}
	return b.String()
}

// offer gives which mechanisms are announced now.
func (s *session) offer() sasl.Offer {
	if s.srv.Shown != nil && s.srv.Shown() {
		return s.srv.Offer | sasl.Shown
	}
	return s.srv.Offer
}

func (s *session) canStartTLS() bool { return s.srv.TLS != nil && s.peer.TLS == nil && !s.compressed }

// mayLogin tells whether a password may be sent over this connection.
func (s *session) mayLogin() bool { return s.peer.TLS != nil || s.srv.ClearAuth }

// capability is CAPABILITY. RFC 9051 §6.1.1
func (s *session) capability(context.Context, *imap.Command) error {
	s.enc.Raw("* CAPABILITY ").Raw(s.capabilities()).CRLF()
	return nil
}

// noop is NOOP and CHECK: what there is to tell, is told after every command.
func (s *session) noop(context.Context, *imap.Command) error { return nil }

// logout is LOGOUT. RFC 9051 §6.1.3
func (s *session) logout(_ context.Context, c *imap.Command) error {
	s.enc.Status("*", imap.BYE, "", "good-bye")
	s.enc.Status(c.Tag, imap.OK, "", "LOGOUT completed")
	return errLogout
}

// id is ID. RFC 2971
func (s *session) id(_ context.Context, c *imap.Command) error {
	for _, f := range c.Args.(*imap.ID).Fields {
		if strings.EqualFold(f.Name, "name") && len(f.Value) < 100 {
			s.client = f.Value
			s.log.Debug("client", "name", f.Value)
		}
	}
	s.enc.Raw(`* ID ("name" "Posthaste"`)
	if s.srv.Version != "" {
		s.enc.Raw(` "version" `).String(s.srv.Version)
	}
	s.enc.Raw(")").CRLF()
	return nil
}

// enable is ENABLE: it turns on what it knows, and is silent about the rest. It may
// come with a mailbox open, too: clients should not, but servers need not mind, and
// programs do. RFC 5161 §3.1, RFC 9051 §6.3.1, RFC 6855 §3
func (s *session) enable(_ context.Context, c *imap.Command) error {
	var on []string
	for _, name := range c.Args.(*imap.Enable).Capabilities {
		if s.withheld(name) {
			continue
		}
		var f features
		switch name {
		case "IMAP4REV2":
			f, name = rev2, "IMAP4rev2"
		case "UTF8=ACCEPT":
			f = utf8Accept
		case "CONDSTORE":
			f = condStore
		case "UIDONLY":
			f = uidOnly
		case "QRESYNC":
			f = condStore | qresync
		}
		if f&condStore != 0 {
			s.condStore()
		}
		if f != 0 && !slices.Contains(on, name) {
			s.enabled |= f
			on = append(on, name)
		}
	}
	if s.has(rev2 | utf8Accept) {
		s.dec.UTF8, s.enc.UTF8 = true, true
	}
	s.enc.Raw("* ENABLED")
	for _, name := range on {
		s.enc.Raw(" ").Raw(name)
	}
	s.enc.CRLF()
	return nil
}

// condStore enables CONDSTORE. Who does that with a mailbox open must hear its
// highest mod-sequence, from which on it is told of changes. RFC 7162 §3.1
func (s *session) condStore() {
	if !s.has(condStore) && s.box != nil {
		s.enc.Status("*", imap.OK, imap.CodeNumber("HIGHESTMODSEQ", uint64(s.box.flags)), "highest mod-sequence")
	}
	s.enabled |= condStore
}

// namespace is NAMESPACE. RFC 9051 §6.3.10
func (s *session) namespace(context.Context, *imap.Command) error {
	s.tellNamespace()
	return nil
}

// tellNamespace tells the namespaces, with what people call them in their language.
// RFC 5255 §3.4
func (s *session) tellNamespace() {
	s.enc.Raw(`* NAMESPACE (("" "/")) `)
	if s.srv.People == nil {
		s.enc.Raw("NIL NIL").CRLF()
		return
	}
	for i, prefix := range [...]string{othersPrefix, sharedPrefix} {
		if i > 0 {
			s.enc.Raw(" ")
		}
		s.enc.Raw("((").Mailbox(prefix).Raw(` "/"`)
		if s.tongue != nil {
			s.enc.Raw(` "TRANSLATION" (`).Mailbox(s.tongue.Words[prefix]).Raw(")")
		}
		s.enc.Raw("))")
	}
	s.enc.CRLF()
}
