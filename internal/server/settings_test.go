package server

import (
	"fmt"
	"testing"

	"posthaste/internal/server/config"
)

// TestServices: programs are told of the ports with TLS, and of those that only this
// machine reaches if there are no others.
func TestServices(t *testing.T) {
	for text, want := range map[string]string{
		"": "[imap 993 imap+ 143 pop3 995 pop3+ 110 submission 465 submission+ 587]",
		`[[listener]]
address = ":993"
protocol = "imap"
tls = "implicit"
[[listener]]
address = "127.0.0.1:1993"
protocol = "imap"
tls = "implicit"
[[listener]]
address = "[::1]:1587"
protocol = "submission"
tls = "starttls"
[[listener]]
address = ":110"
protocol = "pop3"
tls = "none"
[[listener]]
address = ":25"
protocol = "smtp"
tls = "starttls"
[[listener]]
address = ":4190"
protocol = "sieve"
tls = "starttls"
`: "[imap 993 submission+ 1587 sieve+ 4190]",
		`[[listener]]
address = "127.0.0.1:143"
protocol = "imap"
tls = "starttls"
[[listener]]
address = "127.0.0.1:993"
protocol = "imap"
tls = "implicit"
`: "[imap 993 imap+ 143]",
	} {
		c, err := config.Parse([]byte("hostname = \"MX.bücher.example\"\n" + text))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range services(c) {
			name := string(s.Protocol)
			if s.STARTTLS {
				name += "+"
			}
			if s.Host != "mx.xn--bcher-kva.example" {
				t.Error(s.Host)
			}
			got = append(got, fmt.Sprint(name, " ", s.Port))
		}
		if fmt.Sprint(got) != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}
