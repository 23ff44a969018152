//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"posthaste/internal/store/maildrop"
)

// popSong is what the scripts for POP3 have in common: get collects the mail of the
// account of a name, and tells how it ended.
const popSong = `const box = name => MailServices.accounts.allServers.find(s => s.prettyName == name).rootMsgFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
const get = name => url(l => MailServices.pop3.GetNewMail(null, l, box(name), box(name).server));
`

// A popAccount is an account that Thunderbird collects over POP3.
type popAccount struct {
	b    *bird
	name string
}

// How a connection is kept from others, in the words of nsMsgSocketType.
const (
	inClear  = "plain"
	withSTLS = "alwaysSTARTTLS"
	withTLS  = "SSL"
)

// pop sets up an account, without asking for mail by itself. Settings are attributes
// of nsIPop3IncomingServer.
func (b *bird) pop(name, host, tls, at, user, password string, settings map[string]any) popAccount {
	b.t.Helper()
	b.sing(nil, popSong+`
const s = MailServices.accounts.createIncomingServer(A[3], A[1], "pop3");
const account = MailServices.accounts.createAccount();
account.incomingServer = s;
s.doBiff = false; s.port = A[2]; s.prettyName = A[0]; s.password = A[4];
s.socketType = Ci.nsMsgSocketType[A[5]]; s.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
for (const [k, v] of Object.entries(A[6] ?? {})) s.QueryInterface(Ci.nsIPop3IncomingServer)[k] = v;
await until("the inbox", () => box(A[0]));`, name, host, number(":"+at), user, password, tls, settings)
	return popAccount{b, name}
}

// street gives an address of this machine for a server of its own: an account is
// known by user and host.
func (b *bird) street() string {
	b.streets++
	return fmt.Sprintf("127.0.0.%d", b.streets)
}

// get collects, and tells how many messages the account has.
func (a popAccount) get() (n int) {
	a.b.t.Helper()
	a.b.sing(&n, popSong+`await get(A[0]); return [...box(A[0]).messages].length;`, a.name)
	return n
}

// at has Thunderbird's clock go so many days before that of the machine.
func (b *bird) at(day int) {
	b.t.Helper()
	b.sing(nil, `const { Pop3Client } = ChromeUtils.importESModule("resource:///modules/Pop3Client.sys.mjs");
const clock = Cu.getGlobalForObject(Pop3Client).Date;
clock.real ??= clock.now;
clock.now = () => clock.real() + A[0] * 24 * 3600 * 1000;`, day)
}

// TestThunderbirdPOP collects messages that programs spoil, over TLS and STLS, and
// keeps their bytes; fetches only headers, and the rest when it is asked to; waits
// for its turn; and over some days leaves what is to be left.
func TestThunderbirdPOP(t *testing.T) {
	t.Parallel()
	b := newBird(t)
	b.trust(small)
	for _, c := range []struct{ tls, at string }{{withTLS, small.POP3S}, {withSTLS, small.POP3}} {
		birdCollects(t, b, c.tls, c.at)
	}
	birdHeaders(t, b)
	birdWaits(t, b)
	birdDays(t, b)
}

// birdCollects fetches once and no more, and then deletes.
func birdCollects(t *testing.T, b *bird, tls, at string) {
	t.Helper()
	ada := small.person(t)
	want := received(t, ada, append(corpus(), large(1<<20))...)
	a := b.pop(tls, "localhost", tls, port(at), ada.address, ada.password, map[string]any{"leaveMessagesOnServer": true})
	for range 2 {
		if n := a.get(); n != len(want) {
			t.Errorf("%s: it has %d messages, not %d", tls, n, len(want))
		}
	}
	sameBytes(t, tls, a.texts(), want)
	b.sing(nil, popSong+`box(A[0]).server.QueryInterface(Ci.nsIPop3IncomingServer).leaveMessagesOnServer = false;`, tls)
	late := received2(t, ada, len(want), compose("Late", "", "Late.\n"))
	a.get()
	sameBytes(t, tls+" at last", a.texts(), append(want, late))
	ada.judge(t).wait("INBOX", 0)
}

// texts gives the messages of the inbox, as they lie on disk, with CRLF.
func (a popAccount) texts() [][]byte {
	a.b.t.Helper()
	var texts []string
	a.b.sing(&texts, popSong+`const f = box(A[0]), texts = [];
for (const h of f.messages) texts.push(await read(f, h));
return texts;`, a.name)
	out := unmarked(texts)
	for i, text := range out { // as on the wire
		out[i] = bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	}
	return out
}

// birdHeaders fetches only headers (TOP): that is not collecting, so nothing goes by
// the policy. What is read then is fetched whole, and goes.
func birdHeaders(t *testing.T, b *bird) {
	t.Helper()
	o := newPostOffice(t, b.street())
	a := b.pop("headers", o.host, inClear, o.port, "ada@hill.example", o.device("phone", maildrop.Policy{After: maildrop.DeleteAtOnce}), map[string]any{"leaveMessagesOnServer": true, "headersOnly": true})
	for range 3 {
		o.deliver()
	}
	if n := a.get(); n != 3 || o.left() != "1:3" {
		t.Errorf("it has %d headers, and the server %q", n, o.left())
	}
	b.sing(nil, popSong+`const f = box(A[0]), h = letter(f, "number 2");
if (!(h.flags & Ci.nsMsgMessageFlags.Partial)) throw new Error("it is not only the header");
f.downloadMessagesForOffline([h], null);
await until("the whole of it", () => { const h = letter(f, "number 2"); return h && !(h.flags & Ci.nsMsgMessageFlags.Partial); });`, a.name)
	eventually(t, func() error {
		if left := o.left(); left != "1,3" {
			return fmt.Errorf("when it has read one, the server has %q", left)
		}
		return nil
	})
}

// birdWaits finds another device in its maildrop: it is told so, and collects when
// that has gone. Whoever sits before it presses Cancel.
func birdWaits(t *testing.T, b *bird) {
	t.Helper()
	o := newPostOffice(t, b.street())
	o.deliver()
	a := b.pop("waits", o.host, inClear, o.port, "ada@hill.example", o.device("desk", maildrop.Policy{}), nil)
	other := o.come(o.device("tablet", maildrop.Policy{}))
	var said []string
	b.sing(&said, popSong+`const { Pop3Client } = ChromeUtils.importESModule("resource:///modules/Pop3Client.sys.mjs");
const { Pop3Authenticator } = ChromeUtils.importESModule("resource:///modules/MailAuthenticator.sys.mjs");
const said = [], show = Pop3Client.prototype._actionError;
Pop3Client.prototype._actionError = function(name, args, words) { said.push(words); return show.call(this, name, args, words); };
Pop3Authenticator.prototype.promptAuthFailed = () => 1;
try { await get(A[0]); said.push("it collects"); } catch (e) {}
return said;`, a.name)
	if want := []string{"[IN-USE] another session has this maildrop"}; !slices.Equal(said, want) {
		t.Errorf("while another is there it hears %q", said)
	}
	fmt.Fprint(other, "QUIT\r\n")
	other.Close()
	if n := a.get(); n != 1 || o.left() != "" {
		t.Errorf("it has %d messages, and the server %q", n, o.left())
	}
}

// birdDays has the server do what its policies say for a Thunderbird that leaves all
// there, and then Thunderbird itself what its settings say.
func birdDays(t *testing.T, b *bird) {
	t.Helper()
	run := func(c remains, settings map[string]any) {
		t.Helper()
		o := newPostOffice(t, b.street())
		a := b.pop(o.host, o.host, inClear, o.port, "ada@hill.example", o.device("laptop", c.policy), settings)
		day := -1
		o.days(c, func() int {
			day++
			b.at(day)
			return a.get()
		})
		b.at(0)
	}
	leave := map[string]any{"leaveMessagesOnServer": true}
	for _, c := range policies {
		run(c, leave)
	}
	for _, c := range []struct {
		remains
		settings map[string]any
	}{
		{remains{"its own: delete", maildrop.Policy{}, []string{"", "", "", ""}, ""}, nil},
		{remains{"its own: delete, where that hides", maildrop.Policy{Removal: maildrop.Hide}, []string{"1", "1:2", "1:3", "1:4"}, "1:4"}, nil},
		{remains{"its own: keep two days", maildrop.Policy{}, []string{"1", "1:2", "2:3", "3:4"}, "3:4"}, map[string]any{"deleteByAgeFromServer": true, "numDaysToLeaveOnServer": 2}},
	} {
		if c.settings != nil {
			maps.Copy(c.settings, leave)
		}
		run(c.remains, c.settings)
	}
	birdDeletes(t, b, leave)
}

// birdDeletes leaves mail on the server until its reader deletes it.
func birdDeletes(t *testing.T, b *bird, leave map[string]any) {
	t.Helper()
	o := newPostOffice(t, b.street())
	settings := maps.Clone(leave)
	settings["deleteMailLeftOnServer"] = true
	a := b.pop("reader", o.host, inClear, o.port, "ada@hill.example", o.device("desk", maildrop.Policy{}), settings)
	for range 3 {
		o.deliver()
	}
	a.get()
	if left := o.left(); left != "1:3" {
		t.Errorf("it leaves %q", left)
	}
	b.sing(nil, popSong+`const f = box(A[0]); await copy(l => f.deleteMessages([letter(f, "number 2")], null, false, false, l, false));`, a.name)
	a.get()
	if left := o.left(); left != "1,3" {
		t.Errorf("when one is deleted, the server has %q", left)
	}
	if got := a.texts(); len(got) != 2 || !slices.ContainsFunc(got, func(text []byte) bool { return bytes.Contains(text, []byte("Subject: number 3\r\n")) }) {
		t.Errorf("it has %d messages", len(got))
	}
}
