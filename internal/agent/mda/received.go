package mda

import (
	"bytes"
	"cmp"
	"strconv"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
)

// MaxHops is how many Received fields a message may have before it is taken to
// run in a circle. RFC 5321 §6.3 asks for at least 100 to be let through.
const MaxHops = 100

// Received makes the trace field for a message that came in over SMTP or LMTP
// (base is "ESMTP", "SMTP" or "LMTP"). It names the recipient only if there is
// just one, so that nobody learns of a blind copy. RFC 5321 §4.4
func Received(host string, base string, peer mail.Peer, env mail.Envelope, now time.Time) []byte {
	b := make([]byte, 0, 400)
	b = append(b, "Received: from "...)
	b = append(b, token(peer.Hello)...)
	b = append(b, " ("...)
	if peer.Name != "" {
		b = append(b, token(peer.Name)...)
		b = append(b, ' ')
	}
	b = append(b, '[')
	if a := peer.Addr.Addr().Unmap(); a.Is6() {
		b = append(b, "IPv6:"...)
		b = a.AppendTo(b)
	} else if a.IsValid() {
		b = a.AppendTo(b)
	} else {
		b = append(b, "local"...)
	}
	b = append(b, "])\r\n\tby "...)
	b = append(b, host...)
	b = append(b, " (Posthaste) with "...)
	b = append(b, peer.Protocol(base, env.UTF8)...)
	b = append(b, " id "...)
	b = append(b, env.Trace.String()...)
	if peer.TLS != nil {
		b = append(b, "\r\n\t("...)
		b = append(b, token(peer.TLS.Version)...)
		b = append(b, ' ')
		b = append(b, token(peer.TLS.Cipher)...)
		b = append(b, ')')
	}
	if len(env.Recipients) == 1 {
		b = append(b, "\r\n\tfor "...)
		b = append(b, env.Recipients[0].Address.Path()...)
	}
	if env.Priority != 0 { // RFC 6710 §4.1
		b = strconv.AppendInt(append(b, "\r\n\tpriority "...), int64(env.Priority), 10)
	}
	b = append(b, ";\r\n\t"...)
	b = message.AppendDate(b, now)
	return append(b, "\r\n"...)
}

// CollectedFrom makes the trace field for a message that we have fetched for somebody
// from a host, over POP3 or IMAP.
func CollectedFrom(host, from, protocol string, to mail.Address, id mail.TraceID, now time.Time) []byte {
	b := []byte("Received: from " + token(from) + "\r\n\tby " + collectedBy(host, protocol) + " id " + id.String() + "\r\n\tfor " + to.Path() + ";\r\n\t")
	return append(message.AppendDate(b, now), "\r\n"...)
}

func collectedBy(host, protocol string) string {
	return host + " (Posthaste) with " + protocol
}

// WasCollected tells whether a message has been collected here for the same address
// before: what is collected from where it is sent on to would never end.
func WasCollected(header []byte, host string, to mail.Address) bool {
	for f := range message.Fields(header) {
		if !f.Is("received") {
			continue
		}
		text := strings.Join(strings.Fields(f.Text()), " ")
		if !strings.Contains(text, "for "+to.Path()+";") {
			continue
		}
		for _, p := range [...]string{"POP3", "IMAP"} {
			if strings.Contains(text, "by "+collectedBy(host, p)+" id ") {
				return true
			}
		}
	}
	return false
}

// token makes what a peer said safe to stand in the field.
func token(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune(".-_:[]", r):
			return r
		}
		return -1
	}, s)
	if s == "" {
		return "unknown"
	}
	return s[:min(len(s), 255)]
}

// Hops counts the Received fields of a header.
func Hops(header []byte) int {
	n := 0
	for f := range message.Fields(header) {
		if f.Is("received") {
			n++
		}
	}
	return n
}

// maxHeader is how much of a header the doors look at: as much as the parser
// does.
const maxHeader = 1 << 20

// Header gives the header of a message that has come in, with its empty line;
// the whole message if it has no body.
func Header(b mail.Body) ([]byte, error) {
	if in, ok := b.(interface{ Bytes() []byte }); ok {
		if all := in.Bytes(); all != nil {
			all = all[:min(len(all), maxHeader)]
			return bytes.Clone(all[:cmp.Or(headerOf(all), len(all))]), nil
		}
	}
	buf := make([]byte, min(b.Size(), 8<<10))
	for {
		if n, err := b.ReadAt(buf, 0); n < len(buf) {
			return nil, err
		}
		if end := headerOf(buf); end > 0 {
			return buf[:end], nil
		}
		if int64(len(buf)) >= min(b.Size(), maxHeader) {
			return buf, nil
		}
		buf = make([]byte, min(b.Size(), maxHeader, int64(len(buf))*8))
	}
}

// headerOf tells where the header in b ends; 0 if it may go on behind b.
func headerOf(b []byte) int {
	n := 0
	for f := range message.Fields(b) {
		n = f.Offset + len(f.Raw)
	}
	return endOfHeader(b, n)
}

// endOfHeader tells where the header in b ends, whose last field ends at n; 0
// if it may go on behind b.
func endOfHeader(b []byte, n int) int {
	rest := b[n:]
	switch {
	case len(rest) >= 2 && rest[0] == '\r' && rest[1] == '\n':
		return n + 2
	case len(rest) >= 1 && rest[0] == '\n':
		return n + 1
	}
	return 0
}
