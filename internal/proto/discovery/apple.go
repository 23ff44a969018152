package discovery

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// ProfilePath is where a profile can be had, with the address in the query
// ("address=ada@example.org"). There is no standard place.
const ProfilePath = "/mail.mobileconfig"

// ProfileType is the media type of a profile, by which Apple's devices know it.
const ProfileType = "application/x-apple-aspen-config; charset=utf-8"

// Profile writes a profile for Apple's devices: an account for an address, which gets
// its password from who installs it. It is not signed, and shown so; name may be "".
// The same address has the same identifiers, so that a new profile takes the place of an
// old one. "Device Management: Mail" in Apple's documentation
func Profile(s Settings, address, name string) ([]byte, bool) {
	in, ok := s.first(IMAP)
	kind := "EmailTypeIMAP"
	if !ok {
		in, ok = s.first(POP3)
		kind = "EmailTypePOP"
	}
	out, also := s.first(Submission)
	if !ok || !also {
		return nil, false
	}
	if name == "" {
		name = address
	}
	id := reversed(s.Domain) + ".mail." + uuid(address)
	b := document(func(x *element) {
		x.line(`<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">`)
		x.in("plist", `version="1.0"`, func() {
			x.in("dict", "", func() {
				x.text("key", "PayloadContent")
				x.in("array", "", func() {
					x.in("dict", "", func() { account(x, in, out, kind, address, s.login(address), name, id) })
				})
				x.pair("PayloadDisplayName", "Mail: "+address)
				x.pair("PayloadDescription", "Reads and sends the mail of "+address+".")
				x.pair("PayloadIdentifier", id)
				x.pair("PayloadOrganization", s.Domain)
				x.pair("PayloadType", "Configuration")
				x.pair("PayloadUUID", uuid("profile "+address))
				x.whole("PayloadVersion", 1)
			})
		})
	})
	return b, true
}

func account(x *element, in, out Service, kind, address, user, name, id string) {
	x.pair("EmailAccountDescription", address)
	x.pair("EmailAccountName", name)
	x.pair("EmailAccountType", kind)
	x.pair("EmailAddress", address)
	x.pair("IncomingMailServerAuthentication", "EmailAuthPassword")
	x.pair("IncomingMailServerHostName", in.Host)
	x.whole("IncomingMailServerPortNumber", in.Port)
	x.yes("IncomingMailServerUseSSL")
	x.pair("IncomingMailServerUsername", user)
	x.pair("OutgoingMailServerAuthentication", "EmailAuthPassword")
	x.pair("OutgoingMailServerHostName", out.Host)
	x.whole("OutgoingMailServerPortNumber", out.Port)
	x.yes("OutgoingMailServerUseSSL")
	x.pair("OutgoingMailServerUsername", user)
	x.yes("OutgoingPasswordSameAsIncomingPassword")
	x.pair("PayloadDisplayName", "Mail")
	x.pair("PayloadIdentifier", id+".account")
	x.pair("PayloadType", "com.apple.mail.managed")
	x.pair("PayloadUUID", uuid("account "+address))
	x.whole("PayloadVersion", 1)
}

func (x *element) pair(key, value string) {
	x.text("key", key)
	x.text("string", value)
}

func (x *element) whole(key string, n int) {
	x.text("key", key)
	x.number("integer", n)
}

func (x *element) yes(key string) {
	x.text("key", key)
	x.line("<true/>")
}

// uuid gives the same UUID for the same name. RFC 9562 §5.8
func uuid(name string) string {
	b := sha256.Sum256([]byte("posthaste mail profile of " + strings.ToLower(name)))
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return strings.ToUpper(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16]))
}

// reversed gives a domain with its labels the other way round, as identifiers have it.
func reversed(domain string) string {
	labels := strings.Split(domain, ".")
	for i, j := 0, len(labels)-1; i < j; i, j = i+1, j-1 {
		labels[i], labels[j] = labels[j], labels[i]
	}
	return strings.Join(labels, ".")
}
