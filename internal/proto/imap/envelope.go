package imap

import "posthaste/internal/proto/message"

// AppendEnvelope appends an ENVELOPE. Its text is good for every client: what
// is not ASCII is a literal. RFC 9051 §7.5.2
func AppendEnvelope(dst []byte, e *message.Envelope) []byte {
	if e == nil {
		e = &message.Envelope{}
	}
	dst = AppendNString(append(dst, '('), e.Date)
	dst = AppendNString(append(dst, ' '), e.Subject)
	for _, list := range [...][]message.Address{e.From, e.SenderOrFrom(), e.ReplyToOrFrom(), e.To, e.Cc, e.Bcc} {
		dst = appendAddresses(append(dst, ' '), list)
	}
	dst = AppendNString(append(dst, ' '), e.InReplyTo)
	dst = AppendNString(append(dst, ' '), e.MessageID)
	return append(dst, ')')
}

func appendAddresses(dst []byte, list []message.Address) []byte {
	if len(list) == 0 {
		return append(dst, "NIL"...)
	}
	dst = append(dst, '(')
	for i := range list {
		a := &list[i]
		switch a.Kind {
		case message.GroupStart:
			dst = AppendString(append(dst, "(NIL NIL "...), a.Name)
			dst = append(dst, " NIL)"...)
		case message.GroupEnd:
			dst = append(dst, "(NIL NIL NIL NIL)"...)
		default:
			dst = AppendNString(append(dst, '('), a.Name)
			dst = AppendNString(append(dst, ' '), a.Route)
			dst = AppendString(append(dst, ' '), a.Local)
			dst = AppendString(append(dst, ' '), a.Domain)
			dst = append(dst, ')')
		}
	}
	return append(dst, ')')
}
