package smtp

// A Verb is the first word of a command.
type Verb uint8

// The verbs that we know. HTTP stands for every method of HTTP: a browser that
// was made to talk to us, whose other lines must not be taken for commands.
const (
	Unknown Verb = iota
	HELO
	EHLO
	LHLO
	MAIL
	RCPT
	DATA
	BDAT
	BURL
	RSET
	NOOP
	QUIT
	VRFY
	EXPN
	HELP
	STARTTLS
	AUTH
	XCLIENT
	HTTP
)

// String gives the verb as it goes over the wire.
func (v Verb) String() string {
	switch v {
	case HELO:
		return "HELO"
	case EHLO:
		return "EHLO"
	case LHLO:
		return "LHLO"
	case MAIL:
		return "MAIL"
	case RCPT:
		return "RCPT"
	case DATA:
		return "DATA"
	case BDAT:
		return "BDAT"
	case BURL:
		return "BURL"
	case RSET:
		return "RSET"
	case NOOP:
		return "NOOP"
	case QUIT:
		return "QUIT"
	case VRFY:
		return "VRFY"
	case EXPN:
		return "EXPN"
	case HELP:
		return "HELP"
	case STARTTLS:
		return "STARTTLS"
	case AUTH:
		return "AUTH"
	case XCLIENT:
		return "XCLIENT"
	case HTTP:
		return "HTTP"
	}
	return "unknown"
}

// parseVerb reads a verb in any case. RFC 5321 §2.4
func parseVerb(w []byte) Verb {
	var up [8]byte
	if len(w) > len(up) {
		return Unknown
	}
	for i, c := range w {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		up[i] = c
	}
	switch string(up[:len(w)]) {
	case "HELO":
		return HELO
	case "EHLO":
		return EHLO
	case "LHLO":
		return LHLO
	case "MAIL":
		return MAIL
	case "RCPT":
		return RCPT
	case "DATA":
		return DATA
	case "BDAT":
		return BDAT
	case "BURL":
		return BURL
	case "RSET":
		return RSET
	case "NOOP":
		return NOOP
	case "QUIT":
		return QUIT
	case "VRFY":
		return VRFY
	case "EXPN":
		return EXPN
	case "HELP":
		return HELP
	case "STARTTLS":
		return STARTTLS
	case "AUTH":
		return AUTH
	case "XCLIENT":
		return XCLIENT
	case "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH", "TRACE", "PRI":
		return HTTP
	}
	return Unknown
}
