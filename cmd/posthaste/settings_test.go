package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSettings: what to type into a mail program, as the configuration has it.
func TestSettings(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "posthaste.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(conf, []byte("hostname = \"mail.example.org\"\ndata = \"data\"\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	run := func(in string, args ...string) string {
		t.Helper()
		return must(t, in, append(args, "--config", conf)...)
	}
	run("", "domain", "add", "bücher.example")
	run("secret password", "account", "add", "ada@bücher.example", "--name", "Ada", "--password-stdin")
	const want = `  Reading, by IMAP  mail.example.org, port 993, SSL/TLS
           or else  mail.example.org, port 143, STARTTLS
        or by POP3  mail.example.org, port 995, SSL/TLS
           or else  mail.example.org, port 110, STARTTLS
  Sending, by SMTP  mail.example.org, port 465, SSL/TLS
           or else  mail.example.org, port 587, STARTTLS
         User name  ada@bücher.example
`
	if out := run("", "settings", "ada@bücher.example"); !strings.HasPrefix(out, want) || !strings.Contains(out, "posthaste account password add ada@bücher.example NAME") {
		t.Errorf("got\n%s", out)
	}
	profile := run("", "settings", "ADA@xn--bcher-kva.example", "--profile", "-")
	for _, want := range []string{"<string>Ada</string>", "<string>ada@bücher.example</string>", "<string>mail.example.org</string>", "<integer>993</integer>", "<integer>465</integer>"} {
		if !strings.Contains(profile, want) {
			t.Errorf("%s is missing in\n%s", want, profile)
		}
	}
	mustFail(t, "not found", "", "settings", "bob@bücher.example", "--config", conf)
	run("", "account", "disable", "ada@bücher.example")
	if out := run("", "settings", "ada@bücher.example"); !strings.Contains(out, "is disabled") {
		t.Errorf("got\n%s", out)
	}
	for text, want := range map[string]string{
		"[[listener]]\naddress = \":443\"\nprotocol = \"https\"\n":                               "https://mail.example.org/account/\n",
		"[[listener]]\naddress = \"127.0.0.1:8443\"\nprotocol = \"https\"\n":                     "https://mail.example.org:8443/account/\n",
		"[[listener]]\naddress = \":443\"\nprotocol = \"https\"\n[web]\naccount_pages = false\n": "",
	} {
		write("[[listener]]\naddress = \":993\"\nprotocol = \"imap\"\ntls = \"implicit\"\n" + text)
		if out := run("", "settings", "ada@bücher.example"); want != "" && !strings.Contains(out, want) || strings.Contains(out, "/account/") != (want != "") {
			t.Errorf("with %s got\n%s", text, out)
		}
	}
	write("[[listener]]\naddress = \":25\"\nprotocol = \"smtp\"\ntls = \"starttls\"\n")
	mustFail(t, "no [[listener]]", "", "settings", "ada@bücher.example", "--config", conf)
	write("[[listener]]\naddress = \":993\"\nprotocol = \"imap\"\ntls = \"implicit\"\n")
	mustFail(t, "one for submission", "", "settings", "ada@bücher.example", "--profile", "-", "--config", conf)
}
