//go:build interop

package interop

import (
	"fmt"
	"path/filepath"
	"testing"

	"posthaste/test/network"
)

// TestSettings has Thunderbird find the settings of an address as it does for who types
// no more than that, make an account of them, and read its mail; and Python read the
// profile that Apple's devices get.
func TestSettings(t *testing.T) {
	t.Parallel()
	web, imap, submission := network.FreePort(), network.FreePort(), network.FreePort()
	h := webHouse(t, fmt.Sprintf("[[listener]]\naddress = %q\nprotocol = \"https\"\n[[listener]]\naddress = %q\nprotocol = \"imap\"\ntls = \"implicit\"\n[[listener]]\naddress = %q\nprotocol = \"submission\"\ntls = \"starttls\"\n", web, imap, submission), web)
	if out, err := h.tool("domain", "add", "hill.example"); err != nil {
		t.Fatal(err, out)
	}
	ada := h.person(t)
	from := "https://localhost:" + port(web)
	out, err := h.tool("settings", ada.address)
	if err != nil {
		t.Fatal(err, out)
	}
	contains(t, out, "localhost, port "+port(imap)+", SSL/TLS", "localhost, port "+port(submission)+", STARTTLS", ada.address)

	b := newBird(t)
	b.trust(h)
	var names []string
	b.sing(&names, `const { fetchHTTP } = ChromeUtils.importESModule("resource:///modules/accountcreation/FetchHTTP.sys.mjs");
const { readFromXML } = ChromeUtils.importESModule("resource:///modules/accountcreation/readFromXML.sys.mjs");
const { AccountConfig } = ChromeUtils.importESModule("resource:///modules/accountcreation/AccountConfig.sys.mjs");
const { CreateInBackend } = ChromeUtils.importESModule("resource:///modules/accountcreation/CreateInBackend.sys.mjs");
const xml = await fetchHTTP(A[0] + "/.well-known/autoconfig/mail/config-v1.1.xml", { urlArgs: { emailaddress: A[1] }, signal: new AbortController().signal });
const config = readFromXML(xml, "test");
AccountConfig.replaceVariables(config, "Ada", A[1], A[2]);
await CreateInBackend.createAccountInBackend(config);
const s = server();
s.password = A[2];
s.performExpand(null);
await until("the folders", () => folder("Trash") && folder("INBOX"));
const o = MailServices.outgoingServer.defaultServer.QueryInterface(Ci.nsISmtpServer);
return [s.username, s.hostname, "" + s.port, "" + s.socketType, o.hostname, "" + o.port, "" + o.socketType];`, from, ada.address, ada.password)
	want := []string{ada.address, "localhost", port(imap), "3", "localhost", port(submission), "2"}
	if fmt.Sprint(names) != fmt.Sprint(want) {
		t.Errorf("Thunderbird has %q, want %q", names, want)
	}

	profile := filepath.Join(t.TempDir(), "profile")
	for name, get := range map[string]job{
		"command": {name: program, args: []string{"settings", ada.address, "--profile", profile, "--data", h.Data}},
		"web":     {name: "curl", args: []string{"-sf", "--cacert", h.CA, "-o", profile, from + "/mail.mobileconfig?address=" + ada.address}},
	} {
		get.ok(t)
		out := job{name: "python3", args: []string{"-c", "import plistlib,sys; a = plistlib.load(open(sys.argv[1],'rb'))['PayloadContent'][0]; print(a['EmailAddress'], a['IncomingMailServerPortNumber'], a['OutgoingMailServerPortNumber'])", profile}}.ok(t)
		if want := fmt.Sprintf("%s %s %s\n", ada.address, port(imap), port(submission)); out != want {
			t.Errorf("%s: the profile says %q, want %q", name, out, want)
		}
	}
}
