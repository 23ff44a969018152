package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEmptyFileIsDefault(t *testing.T) {
	c, err := Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Listeners) != 7 || c.Limits.Recipients != 100 || time.Duration(c.Queue.GiveUp) != 120*time.Hour {
		t.Errorf("defaults are %+v", c)
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "posthaste.toml")
	err := os.WriteFile(path, []byte(`
hostname = "mail.example.org"
data = "store"
[log]
level = "debug"
[[tls]]
certificate = "c.pem"
key = "/abs/k.pem"
[dns]
servers = ["127.0.0.1", "[::1]:5353"]
[[listener]]
address = "127.0.0.1:2525"
protocol = "smtp"
[[listener]]
address = ":1110"
protocol = "pop3"
tls = "none"
plaintext_login = true
proxy_from = ["10.0.0.5/32"]
[[listener]]
address = ":443"
protocol = "https"
alpn = ["imap", "submission"]
[[route]]
domain = "Bücher.example"
host = "127.0.0.1:25"
[[route]]
domain = "*"
host = "smart.example:465"
tls = "implicit"
username = "me"
password_file = "pw"
[[destination]]
match = "google"
messages_per_minute = 30
[limits]
message_size = "10 MB"
trusted_networks = ["10.0.0.0/8", "fd00::/8"]
[queue]
first_retry = "30s"
give_up = "2d"
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{
		"data":     c.Data == filepath.Join(dir, "store"),
		"tls":      c.TLS[0].Certificate == filepath.Join(dir, "c.pem") && c.TLS[0].Key == "/abs/k.pem",
		"dns":      c.DNS.Servers[0] == "127.0.0.1:53" && c.DNS.Servers[1] == "[::1]:5353",
		"listener": len(c.Listeners) == 3 && len(c.Listeners[2].ALPN) == 2 && c.Listeners[0].TLS == "starttls" && c.Listeners[1].PlaintextLogin && c.Listeners[1].ProxyFrom[0].String() == "10.0.0.5/32",
		"route":    c.Routes[0].Domain == "xn--bcher-kva.example" && c.Routes[0].TLS == "opportunistic" && c.Routes[1].PasswordFile == filepath.Join(dir, "pw"),
		"shape":    len(c.Destinations) == 1 && c.Destinations[0] == Destination{Match: "google", MessagesPerMinute: 30},
		"limits":   c.Limits.MessageSize == 10<<20 && len(c.Limits.TrustedNetworks) == 2 && c.Limits.Recipients == 100,
		"queue":    time.Duration(c.Queue.FirstRetry) == 30*time.Second && time.Duration(c.Queue.GiveUp) == 48*time.Hour,
	} {
		if !ok {
			t.Errorf("%s is not as in the file: %+v", name, c)
		}
	}
}

func TestRefusals(t *testing.T) {
	for text, want := range map[string]string{
		`hostnam = "x"`:                                      "do not exist",
		`hostname = `:                                        "",
		`hostname = "a b"`:                                   "no domain name",
		"[[destination]]\nconnections = 3":                   "names a domain",
		`cache = "1MB"`:                                      "at least 16MB",
		`data = ""`:                                          "must name a folder",
		"[log]\nlevel = \"loud\"":                            "log.level",
		"[[tls]]\ncertificate = \"c\"":                       "a certificate and a key",
		"[[listener]]\naddress = \"25\"":                     "host:port",
		"[[listener]]\naddress = \":25\"":                    "protocol is",
		"[[listener]]\naddress = \":\"\nprotocol = \"imap\"": "a port up to 65535",
		"[[listener]]\naddress = \"127.0.0.1:99999\"\nprotocol = \"imap\"":                                             "a port up to 65535",
		"[[listener]]\naddress = \":143\"\nprotocol = \"imap\"\n[[listener]]\naddress = \":143\"\nprotocol = \"smtp\"": ":143 is there twice",
		"[[listener]]\naddress = \":993\"\nprotocol = \"imap\"\nalpn = [\"pop3\"]":                                     "alpn is for a port that serves https",
		"[[listener]]\naddress = \":443\"\nprotocol = \"https\"\nalpn = [\"imap\", \"imap\"]":                          "each once",
		"[[listener]]\naddress = \":443\"\nprotocol = \"https\"\nalpn = [\"smtp\"]":                                    "alpn may have",
		"[dns]\nservers = [\"ns.example\"]":                                                                            "no IP address",
		"[dns]\ndnssec = \"perhaps\"":                                                                                  "always or never",
		"[dns]\nrecursive = true\nservers = [\"127.0.0.1\"]":                                                           "leave out",
		"[dns]\nrecursive = true\nroot_servers = [\"127.0.0.1\"]":                                                      "trust_anchors",
		"[dns]\nroot_servers = [\"127.0.0.1\"]\ndnssec = \"never\"":                                                    "recursive = true",
		"[limits]\nmessage_size = \"big\"":                                                                             "no size",
		"[limits]\nmessage_size = \"1KB\"":                                                                             "at least 64KB",
		"[queue]\nfirst_retry = \"soon\"":                                                                              "no time span",
		"[queue]\nfirst_retry = \"9h\"":                                                                                "no longer than",
		"[[route]]\ndomain = \"x y\"":                                                                                  "no domain name",
		"[[route]]\ndomain = \"*\"\nhost = \"a:1\"\ntls = \"required\"\nusername = \"u\"\noauth2 = { token_url = \"http://x.example\" }":                     "only https",
		"[[route]]\ndomain = \"*\"\nhost = \"a:1\"\ntls = \"required\"\nusername = \"u\"\noauth2 = { token_url = \"https://x.example\" }":                    "client_id is",
		"[[route]]\ndomain = \"*\"\nhost = \"a:1\"\ntls = \"required\"\nusername = \"u\"\noauth2 = { token_url = \"https://x.example\", client_id = \"c\" }": "refresh_token_file",
		"[[route]]\ndomain = \"*\"\nhost = \"a:1\"\ntls = \"required\"\noauth2 = { token_url = \"https://x.example\" }":                                      "belong together",
		"[[route]]\ndomain = \"*\"\nhost = \"a:1\"\nusername = \"u\"\noauth2 = { token_url = \"https://x.example\" }":                                        "required or implicit",
		"[[listener]]\naddress = \":25\"\nprotocol = \"smtp\"\nclient_certificates = true":                                                                   "people who log in",
		"[[listener]]\naddress = \":143\"\nprotocol = \"imap\"\ntls = \"none\"\nclient_certificates = true":                                                  "people who log in",
		"[[listener]]\naddress = \":9725\"\nprotocol = \"metrics\"":                                                                                          "127.0.0.1:9725",
		"[[listener]]\naddress = \"192.0.2.1:9725\"\nprotocol = \"metrics\"":                                                                                 "no login",
		"[[listener]]\naddress = \"127.0.0.1:9725\"\nprotocol = \"metrics\"\ntls = \"starttls\"":                                                             "none or implicit",
		"[[listener]]\naddress = \":25\"\nprotocol = \"smtp\"\nmetrics_open = true":                                                                          "leave it out",

		"[[auth.issuer]]\naudience = [\"a\"]":                                                         "needs a url",
		"[[auth.issuer]]\nurl = \"http://id.example\"":                                                "only https",
		"[[auth.issuer]]\nurl = \"https://id.example?x\"":                                             "no query",
		"[[auth.issuer]]\nurl = \"https://id.example\"":                                               "as audience",
		"[[auth.issuer]]\nurl = \"https://id.example\"\nintrospect = true\nclient_id = \"x\"":         "belong together",
		"[[auth.issuer]]\nurl = \"https://id.example\"\naudience = [\"a\"]\nclient_id = \"x\"":        "belong together",
		"[[auth.issuer]]\nurl = \"https://id.example\"\naudience = [\"a\"]\nalgorithms = [\"HS256\"]": "algorithms are",
		"[[auth.issuer]]\nurl = \"https://id.example\"\naudience = [\"a\"]\nalgorithms = [\"none\"]":  "algorithms are",
		"[[auth.issuer]]\nurl = \"https://id.example\"\naudience = [\"a\"]\ndomains = [\"x y\"]":      "no domain name",

		"[[egress]]\nname = \"A\"":                                                                                     "small letters",
		"[[egress]]\nname = \"a\"\nfrom = [\"x y\"]":                                                                   "no domain name",
		"[[egress]]\nname = \"a\"\nfrom = [\"a.example\"]":                                                             "at least one",
		"[[egress]]\nname = \"default\"\nfrom = [\"a.example\"]":                                                       "for all mail",
		"[[egress]]\nname = \"a\"\n[[egress.address]]\nhello = \"o.example\"\nipv4 = \"192.0.2.1\"":                    "for no mail",
		"[[egress]]\nname = \"default\"\n[[egress.address]]\nhello = \"o.example\"":                                    "or both",
		"[[egress]]\nname = \"default\"\n[[egress.address]]\nhello = \"o.example\"\nipv4 = \"::1\"":                    "or both",
		"[[egress]]\nname = \"default\"\n[[egress.address]]\nhello = \"o.example\"\nipv4 = \"192.0.2.1\"\nweight = -1": "weight",
		"[[egress]]\nname = \"default\"\n[[egress.address]]\nhello = \"a b\"\nipv4 = \"192.0.2.1\"":                    "leads to the address",
		"[[route]]\ndomain = \"*\"\nhost = \"a:1\"\negress = \"x\"":                                                    "no [[egress]]",
		"[[route]]\nname = \"mx\"\nhost = \"a:1\"":                                                                     "of its own",
		"[[route]]\nname = \"A b\"\nhost = \"a:1\"":                                                                    "small letters",
		"[[route]]\nname = \"a\"\nafter = 2\nhost = \"a:1\"":                                                           "no domain name",
		"[[route]]\nhost = \"a:1\"":                                                                                    "no domain name",
		"[[route]]\nfrom = \"x y\"\nhost = \"a:1\"":                                                                    "from",
		"[[route]]\ndomain = \"*\"\nafter = -1\nhost = \"a:1\"":                                                        "number of attempts",
		"[[route]]\nname = \"a\"\nhost = \"a:1\"\n[[route]]\nname = \"a\"\nhost = \"b:1\"":                             "its own name",
		"[[route]]\ndomain = \"*\"\nhost = \"a:1\"\n[[route]]\ndomain = \"*\"\nhost = \"b:1\"":                         "set them apart",
		"[[route]]\ndomain = \"*\"":                                                                                    "host:port",
		"[[listener]]\naddress = \":25\"\nprotocol = \"smtp\"\ntls = \"maybe\"":                                        "tls is",
		"[[route]]\ndomain = \"*\"\nhost = \"a:1\"\nusername = \"u\"":                                                  "belong together",
		"[[route]]\ndomain = \"*\"\nhost = \"a:1\"\nusername = \"u\"\npassword_file = \"p\"":                           "required or implicit",
	} {
		_, err := Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "17": 17, "2KB": 2048, "3 mb": 3 << 20, "1TB": 1 << 40} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q is %d, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5GB", "9999999999GB", "10 apples", "1 2"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is a size: %d", text, s)
		}
	}
}

// TestMetricsListener: it is in clear unless one says else, and for other machines only
// if one says so.
func TestMetricsListener(t *testing.T) {
	for _, more := range []string{
		"address = \"127.0.0.1:9725\"", "address = \"[::1]:9725\"", "address = \"localhost:9725\"",
		"address = \":9725\"\nmetrics_open = true", "address = \"127.9.9.9:9725\"\ntls = \"implicit\"",
	} {
		c, err := Parse([]byte("[[listener]]\nprotocol = \"metrics\"\n" + more))
		if err != nil {
			t.Errorf("%s: %v", more, err)
			continue
		}
		if l := c.Listeners[0]; (l.TLS == "none") == strings.Contains(more, "implicit") {
			t.Errorf("%s: %+v", more, l)
		}
	}
}

// TestExample: the example says what the defaults are.
func TestExample(t *testing.T) {
	var all []string
	skip := false
	for line := range strings.Lines(Example) {
		bare := strings.TrimPrefix(line, "# ")
		switch {
		case strings.HasPrefix(bare, "[["):
			skip = strings.HasPrefix(bare, "[[tls]]") || strings.HasPrefix(bare, "[[route]]") || strings.HasPrefix(bare, "[[egress") || strings.HasPrefix(bare, "[[destination]]") || strings.HasPrefix(bare, "[[receive.list]]") || strings.HasPrefix(bare, "[[milter]]") || strings.HasPrefix(bare, "[[hook]]") || strings.HasPrefix(bare, "[[auth.issuer]]")
		case strings.HasPrefix(bare, "["):
			skip = false
		case bare != line && !strings.Contains(bare, " = "):
			continue // prose
		}
		if !skip {
			all = append(all, bare)
		}
	}
	c, err := Parse([]byte(strings.Join(all, "")))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Hostname = "mail.example.org"
	if fmt.Sprintf("%+v", c) != fmt.Sprintf("%+v", want) { // no list and an empty one are the same
		t.Errorf("the example is\n%+v\nthe defaults are\n%+v", c, want)
	}
	if _, err := Parse([]byte(Example)); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(Example))
	f.Add([]byte("[[listener]]\naddress = \":1\"\nprotocol = \"imap\"\n[limits]\nmessage_size = \"1TB\""))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err == nil && (c.Limits.MessageSize < 64<<10 || c.Queue.FirstRetry <= 0 || len(c.Listeners) == 0) {
			t.Errorf("%+v", c)
		}
	})
}
