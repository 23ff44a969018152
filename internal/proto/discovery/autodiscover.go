package discovery

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Where Outlook and others ask; the case of letters does not matter in paths.
const (
	AutodiscoverHost     = "autodiscover."
	AutodiscoverPath     = "/autodiscover/autodiscover.xml"
	AutodiscoverJSONPath = "/autodiscover/autodiscover.json"
)

const (
	requestSchema  = "http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"
	responseSchema = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
	answerSchema   = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
	maxRequest     = 16 << 10
)

// ErrRequest says that a request is not one of Autodiscover's.
var ErrRequest = errors.New("discovery: no request of Autodiscover")

// ErrSchema says that settings were asked for in a form that there is only for
// Exchange, such as that for ActiveSync.
var ErrSchema = errors.New("discovery: settings of another kind are asked for")

// ParseAutodiscover reads a request, and gives the address it is about. [MS-OXDSCLI]
// §2.2.4, the "plain old XML" form
func ParseAutodiscover(in io.Reader) (address string, err error) {
	var q struct {
		XMLName xml.Name
		Request struct {
			EMailAddress             string
			AcceptableResponseSchema string
		}
	}
	d := xml.NewDecoder(io.LimitReader(in, maxRequest))
	if err := d.Decode(&q); err != nil {
		return "", fmt.Errorf("%w: %w", ErrRequest, err)
	}
	address = strings.TrimSpace(q.Request.EMailAddress)
	if q.XMLName.Local != "Autodiscover" || address == "" {
		return "", ErrRequest
	}
	if want := strings.TrimSpace(q.Request.AcceptableResponseSchema); want != "" && want != responseSchema {
		return address, ErrSchema
	}
	return address, nil
}

// Autodiscover answers a request about an address. [MS-OXDSCLI] §2.2.4
func Autodiscover(s Settings, address string) []byte {
	return document(func(x *element) {
		x.in("Autodiscover", `xmlns="`+answerSchema+`"`, func() {
			x.in("Response", `xmlns="`+responseSchema+`"`, func() {
				x.in("User", "", func() { x.text("DisplayName", address) })
				x.in("Account", "", func() {
					x.text("AccountType", "email")
					x.text("Action", "settings")
					for _, p := range [...]Protocol{IMAP, POP3, Submission} {
						if v, ok := s.first(p); ok {
							x.in("Protocol", "", func() { protocol(x, v, s.login(address)) })
						}
					}
				})
			})
		})
	})
}

func protocol(x *element, v Service, user string) {
	x.text("Type", map[Protocol]string{IMAP: "IMAP", POP3: "POP3", Submission: "SMTP"}[v.Protocol])
	x.text("Server", v.Host)
	x.number("Port", v.Port)
	x.text("DomainRequired", "off")
	x.text("LoginName", user)
	x.text("SPA", "off")
	x.text("SSL", map[bool]string{true: "off", false: "on"}[v.STARTTLS])
	x.text("Encryption", map[bool]string{true: "TLS", false: "SSL"}[v.STARTTLS])
	x.text("AuthRequired", "on")
	if v.Protocol == Submission {
		x.text("UsePOPAuth", "off")
		x.text("SMTPLast", "off")
	}
}

// AutodiscoverError answers a request that cannot be met.
func AutodiscoverError(err error) []byte {
	code, words := 600, "Invalid Request"
	if errors.Is(err, ErrSchema) {
		code, words = 601, "Provider is not available"
	}
	return document(func(x *element) {
		x.in("Autodiscover", `xmlns="`+answerSchema+`"`, func() {
			x.in("Response", "", func() {
				x.in("Error", `Time="00:00:00.0000000" Id="1"`, func() {
					x.number("ErrorCode", code)
					x.text("Message", words)
					x.line("<DebugData/>")
				})
			})
		})
	})
}

// AutodiscoverJSON answers a request of the second version, which only says where the
// first is answered; false if it asks for something else.
func AutodiscoverJSON(host, protocol string) ([]byte, bool) {
	if !strings.EqualFold(protocol, "AutodiscoverV1") {
		b, _ := json.Marshal(map[string]string{"ErrorCode": "InvalidProtocol", "ErrorMessage": "There is only AutodiscoverV1 here."})
		return b, false
	}
	b, _ := json.Marshal(map[string]string{"Protocol": "AutodiscoverV1", "Url": "https://" + host + AutodiscoverPath})
	return b, true
}
