package discovery

// Where Thunderbird and others ask for the configuration file: at the domain
// AutoconfigHost of the domain, and at the domain itself.
const (
	AutoconfigHost = "autoconfig."
	AutoconfigPath = "/mail/config-v1.1.xml"
	WellKnownPath  = "/.well-known/autoconfig/mail/config-v1.1.xml"
)

// Autoconfig writes the configuration file of a domain, the same for all its
// addresses. draft-ietf-mailmaint-autoconfig
func Autoconfig(s Settings) []byte {
	user := "%EMAILADDRESS%"
	if s.Main != "" {
		user = s.login("%EMAILLOCALPART%@")
	}
	return document(func(x *element) {
		x.in("clientConfig", `version="1.1"`, func() {
			x.in("emailProvider", `id="`+escape(s.Domain)+`"`, func() {
				x.text("domain", s.Domain)
				x.text("displayName", s.Domain)
				x.text("displayShortName", s.Domain)
				for _, v := range s.Services {
					if v.Protocol == Sieve { // the file has no place for it
						continue
					}
					name, kind := "incomingServer", string(v.Protocol)
					if v.Protocol == Submission {
						name, kind = "outgoingServer", "smtp"
					}
					x.in(name, `type="`+kind+`"`, func() {
						x.text("hostname", v.Host)
						x.number("port", v.Port)
						x.text("socketType", map[bool]string{true: "STARTTLS", false: "SSL"}[v.STARTTLS])
						x.text("authentication", "password-cleartext")
						x.text("username", user)
					})
				}
			})
		})
	})
}
