//go:build interop

package interop

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"posthaste/test/network"
)

// A bird is a Thunderbird without a screen. Its windows and timers are those
// that people have; what their hands do is done by Marionette, its own remote
// control, in the functions that its menus call.
type bird struct {
	t    *testing.T
	m    *marionette
	home string

	streets int // see street
}

func newBird(t *testing.T) *bird {
	t.Helper()
	b := &bird{t: t, home: t.TempDir()}
	at := network.FreePort()
	write(t, filepath.Join(b.home, "profile", "user.js"), fmt.Sprintf(`user_pref("marionette.port", %s);
user_pref("app.update.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("mail.shell.checkDefaultClient", false);
user_pref("mailnews.start_page.enabled", false);
user_pref("mail.biff.show_alert", false);
user_pref("mail.biff.play_sound", false);
user_pref("network.dns.disableIPv6", true);
user_pref("mail.check_all_imap_folders_for_new", false);
`, port(at)))
	stop := background(t, job{name: "thunderbird", home: b.home, args: []string{"--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile", filepath.Join(b.home, "profile")}})
	t.Cleanup(stop)
	b.m = newMarionette(t, at)
	b.do("WebDriver:NewSession", map[string]any{})
	b.do("WebDriver:SetTimeouts", map[string]any{"script": patience.Milliseconds()})
	b.do("Marionette:SetContext", map[string]any{"value": "chrome"})
	return b
}

// do has Marionette do a command.
func (b *bird) do(name string, args map[string]any) json.RawMessage {
	b.t.Helper()
	answer, err := b.m.do(name, args)
	if err != nil {
		b.t.Fatalf("Thunderbird does not do %s: %v", name, err)
	}
	return answer
}

// birdSong is what the scripts have in common.
const birdSong = `const done = arguments[arguments.length - 1], A = arguments;
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = () => MailServices.accounts.allServers.find(s => s.type == "imap");
const folder = path => { // "/"-separated
  let f = server().rootFolder;
  for (const name of path.split("/")) f = f && f.subFolders.find(x => x.name.toUpperCase() == name.toUpperCase());
  return f;
};
const sleep = ms => new Promise(ok => setTimeout(ok, ms));
const until = async (what, fn) => {
  for (let i = 0; i < 250; i++) { const v = fn(); if (v) return v; await sleep(100); }
  throw new Error("waited in vain for " + what);
};
const url = start => new Promise((ok, no) => start({ OnStartRunningUrl() {}, OnStopRunningUrl(u, c) { c ? no(new Error("status " + c.toString(16))) : ok(); } }));
const open = f => url(l => MailServices.imap.selectFolder(f.QueryInterface(Ci.nsIMsgImapMailFolder), l, null));
const letter = (f, subject) => [...f.messages].find(h => h.mime2DecodedSubject == subject);
const copy = start => new Promise((ok, no) => start({ QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
  onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return null; }, onStopCopy(c) { c ? no(new Error("status " + c.toString(16))) : ok(); } }));
const read = (f, h) => new Promise((ok, no) => {
  const uri = f.getUriForMsg(h);
  let text = "";
  MailServices.messageServiceFromURI(uri).streamMessage(uri, { QueryInterface: ChromeUtils.generateQI(["nsIStreamListener"]),
    onStartRequest() {}, onStopRequest(r, c) { c ? no(new Error("status " + c.toString(16))) : ok(text); },
    onDataAvailable(r, stream, off, n) {
      const s = Cc["@mozilla.org/binaryinputstream;1"].createInstance(Ci.nsIBinaryInputStream);
      s.setInputStream(stream); text += s.readBytes(n);
    } }, null, null, false, "", false);
});
(async () => { %s })().then(v => done({ value: v === undefined ? null : v }), e => done({ error: e + "\n" + e.stack }));`

// sing runs a script, and gives what it returns.
func (b *bird) sing(into any, script string, args ...any) {
	b.t.Helper()
	if args == nil {
		args = []any{}
	}
	var answer struct {
		Value struct {
			Value json.RawMessage
			Error string
		}
	}
	raw := b.do("WebDriver:ExecuteAsyncScript", map[string]any{"script": strings.Replace(birdSong, "%s", script, 1), "args": args})
	if err := json.Unmarshal(raw, &answer); err != nil {
		b.t.Fatal(err)
	}
	if answer.Value.Error != "" {
		b.t.Fatalf("Thunderbird: %s\nin %s", answer.Value.Error, script)
	}
	if into != nil {
		if err := json.Unmarshal(answer.Value.Value, into); err != nil {
			b.t.Fatal(err)
		}
	}
}

// trust has it take a server's own CA for one.
func (b *bird) trust(h *house) {
	b.t.Helper()
	ca, err := os.ReadFile(h.CA)
	if err != nil {
		b.t.Fatal(err)
	}
	block, _ := pem.Decode(ca)
	b.sing(nil, `Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCert(String.fromCharCode(...A[0]), "CT,C,C");`, ints(block.Bytes))
}

// account sets up a person's account, over TLS.
func (b *bird) account(p person) {
	b.t.Helper()
	b.trust(p.h)
	b.sing(nil, `
const s = MailServices.accounts.createIncomingServer(A[0], "localhost", "imap");
s.port = A[2]; s.socketType = Ci.nsMsgSocketType.SSL; s.authMethod = Ci.nsMsgAuthMethod.passwordCleartext; s.password = A[1];
const o = MailServices.outgoingServer.createServer("smtp").QueryInterface(Ci.nsISmtpServer);
o.hostname = "localhost"; o.port = A[3]; o.username = A[0]; o.socketType = Ci.nsMsgSocketType.SSL; o.authMethod = Ci.nsMsgAuthMethod.passwordCleartext; o.password = A[1];
const who = MailServices.accounts.createIdentity();
who.email = A[0]; who.fullName = "Ada"; who.smtpServerKey = o.key;
const account = MailServices.accounts.createAccount();
account.incomingServer = s; account.addIdentity(who);
MailServices.accounts.defaultAccount = account;
s.performExpand(null);
await until("the folders", () => folder("Trash") && folder("INBOX"));`,
		p.address, p.password, number(p.h.IMAPS), number(p.h.Submissions))
}

// ints gives bytes as JSON has them as numbers.
func ints(b []byte) (list []int) {
	for _, c := range b {
		list = append(list, int(c))
	}
	return list
}

func number(addr string) int {
	n, _ := strconv.Atoi(port(addr))
	return n
}

// TestThunderbird sets up an account, reads, flags, moves, deletes and sends,
// and hears of new mail and of what another device does while it waits.
func TestThunderbird(t *testing.T) {
	t.Parallel()
	ada, bob := small.person(t), small.person(t)
	j := stack(t, ada)
	j.do(`CREATE "Entw&APw-rfe/&ZeVnLA-"`)
	j.do(`SUBSCRIBE "Entw&APw-rfe/&ZeVnLA-"`)
	b := newBird(t)
	b.account(ada)
	var names []string
	b.sing(&names, `return server().rootFolder.descendants.map(f => f.name + (f.flags & Ci.nsMsgFolderFlags.Trash ? " trash" : "") + (f.flags & Ci.nsMsgFolderFlags.SentMail ? " sent" : "") + (f.flags & Ci.nsMsgFolderFlags.Drafts ? " drafts" : ""));`)
	contains(t, strings.Join(names, "\n")+"\n", "Entwürfe\n", "日本\n", "Trash trash\n", "Sent sent\n", "Drafts drafts\n", "Archive\n", "Junk\n")

	var text string
	b.sing(&text, `const f = folder("INBOX"); await open(f);
await until("five messages", () => [...f.messages].length == 5);
const h = letter(f, "Read me"), text = await read(f, h);
f.markMessagesRead([h], true);
f.markMessagesFlagged([letter(f, "Flag me")], true);
f.addKeywordsToMessages([letter(f, "Flag me")], "$label1");
return text;`)
	contains(t, text, "\r\n\r\nThe text of Read me.\r\n")
	j.holds("INBOX", `Read me \Seen`, `Flag me $label1 \Flagged`, "Move me", "Delete me", "Leave me")

	b.sing(nil, `const f = folder("INBOX");
await copy(l => MailServices.copy.copyMessages(f, [letter(f, "Move me")], folder("Entwürfe/日本"), true, l, null, false));`)
	j.holds("Entw&APw-rfe/&ZeVnLA-", "Move me")
	b.sing(nil, `const f = folder("INBOX"); await copy(l => f.deleteMessages([letter(f, "Delete me")], null, false, false, l, false));`)
	j.holds("Trash", "Delete me")
	j.holds("INBOX", `Read me \Seen`, `Flag me $label1 \Flagged`, "Leave me")

	// It waits: new mail comes, another device flags one and takes one away.
	ada.deliver(t, compose("New for you", "", "Hello\n"))
	b.sing(nil, `const f = folder("INBOX"); await until("new mail", () => letter(f, "New for you"));`)
	j.do("SELECT INBOX")
	j.do(`STORE 4 +FLAGS (\Answered)`)
	b.sing(nil, `const f = folder("INBOX"); await until("the flag", () => letter(f, "New for you").flags & Ci.nsMsgMessageFlags.Replied);`)
	j.do(`STORE 3 +FLAGS (\Deleted)`)
	j.do("EXPUNGE")
	b.sing(nil, `const f = folder("INBOX"); await until("the deletion", () => !letter(f, "Leave me"));`)

	birdSends(t, b, ada, bob, j)
	birdKeeps(t, b, j)
}

// birdSends writes to bob, with the copy in Sent.
func birdSends(t *testing.T, b *bird, ada, bob person, j *judge) {
	t.Helper()
	b.sing(nil, `const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
const who = MailServices.accounts.defaultAccount.defaultIdentity;
fields.from = who.email; fields.to = A[0]; fields.subject = "Grüße"; fields.body = "Grüße!\r\n.\r\n..\r\n";
const params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
params.composeFields = fields; params.identity = who; params.format = Ci.nsIMsgCompFormat.PlainText; params.type = Ci.nsIMsgCompType.New;
MailServices.compose.OpenComposeWindowWithParams(null, params);
const w = await until("a window to write in", () => Services.wm.getMostRecentWindow("msgcompose"));
await until("its being ready", () => w.gMsgCompose && w.gMsgCompose.editor && w.composeEditorReady);
await w.GenericSendMessage(Ci.nsIMsgCompDeliverMode.Now);
await until("its end", () => !Services.wm.getMostRecentWindow("msgcompose"));`, bob.address)
	got := bob.judge(t).wait("INBOX", 1)[0]
	if !bytes.Contains(got.text, []byte("From: Ada <"+ada.address+">\r\n")) && !bytes.Contains(got.text, []byte("From: "+ada.address+"\r\n")) || !answer(got.text) {
		t.Errorf("bob got\n%s", got.text)
	}
	if sent := j.wait("Sent", 1)[0]; !sent.has(`\Seen`) || !answer(sent.text) {
		t.Errorf("the copy in Sent has the flags %v\n%s", sent.flags, sent.text)
	}
}

// birdKeeps has it fetch a folder for times without a network, and reads what it
// has then.
func birdKeeps(t *testing.T, b *bird, j *judge) {
	t.Helper()
	want := corpus()
	for _, text := range want {
		j.put("Archive", `$Label2`, time.Now(), text)
	}
	var texts []string
	b.sing(&texts, `const f = folder("Archive"); f.setFlag(Ci.nsMsgFolderFlags.Offline); await open(f);
await until("the messages", () => {
  const list = [...f.messages];
  if (list.length == A[0] && list.every(h => h.flags & Ci.nsMsgMessageFlags.Offline)) return true;
  try { f.downloadAllForOffline(null, null); } catch (e) {} // it is at it
});
Services.io.offline = true;
const texts = [];
for (const h of f.messages) texts.push(await read(f, h));
return texts;`, len(want))
	sameBytes(t, "kept", unmarked(texts), want)
}

// unmarked gives the bytes of texts in which each is a character, without what the
// program writes before them.
func unmarked(texts []string) (out [][]byte) {
	for _, text := range texts {
		var latin []byte
		for _, r := range text {
			latin = append(latin, byte(r))
		}
		out = append(out, birdMarks.ReplaceAll(latin, nil))
	}
	return out
}

// birdMarks are what it writes before a message that it keeps.
var birdMarks = regexp.MustCompile(`^((X-Mozilla-[A-Za-z0-9-]+|X-Account-Key|X-UIDL): [^\n]*\n)+`)
