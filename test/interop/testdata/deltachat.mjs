// Delta Chat's core, two accounts of it, against the server.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [home, imap, imaps, submission, submissions, ada, adaPass, bob, bobPass] = process.argv.slice(2);
const core = path.join(home, "node_modules", "@deltachat", "stdio-rpc-server", "index.js");
const { startDeltaChat } = await import(pathToFileURL(core));
const dc = startDeltaChat(path.join(home, "accounts"), { muteStdErr: true });
const { rpc } = dc;

// Events are kept, so that none is missed that comes while another is waited for.
const seen = [];
let wake = () => {};
dc.on("ALL", (account, event) => { seen.push({ account, ...event }); wake(); });
async function event(account, kind, from = 0, what = () => true) {
  const late = Date.now() + 30000;
  for (let i = from; ; i++) {
    while (i >= seen.length) {
      assert.ok(Date.now() < late, `no ${kind}: ${JSON.stringify(seen.filter((e) => /Error|Warning|Failed/.test(e.kind)))}`);
      await new Promise((done) => { wake = done; setTimeout(done, 500); });
    }
    const e = seen[i];
    if (e.account === account && e.kind === kind && what(e)) return e;
  }
}

const login = (addr, password, tls) => ({
  addr, password, imapServer: "localhost", smtpServer: "localhost", imapUser: addr, smtpUser: addr, smtpPassword: password,
  imapPort: Number(tls ? imaps : imap), imapSecurity: tls ? "ssl" : "starttls",
  smtpPort: Number(tls ? submissions : submission), smtpSecurity: tls ? "ssl" : "starttls",
  certificateChecks: "acceptInvalidCertificates", oauth2: false,
});

// A wrong password opens nothing; the right ones do, over TLS and with STARTTLS.
const a = await rpc.addAccount();
await assert.rejects(rpc.addOrUpdateTransport(a, login(ada, "wrong", true)));
await rpc.addOrUpdateTransport(a, login(ada, adaPass, true));
const b = await rpc.addAccount();
await rpc.addOrUpdateTransport(b, login(bob, bobPass, false));
await rpc.startIoForAllAccounts();
for (const account of [a, b]) await event(account, "ImapInboxIdle"); // what came before is not looked at

// They get to know each other, by mails that each waits for.
const chat = await rpc.secureJoin(a, await rpc.getChatSecurejoinQrCode(b, null));
await event(a, "SecurejoinJoinerProgress", 0, (e) => e.progress === 1000);

// Text comes as it was sent, encrypted.
const received = [];
for (let i = 0; i < 3; i++) {
  const from = seen.length, text = `Grüße ${i}\n.dot\n..dots`;
  await rpc.miscSendTextMessage(a, chat, text);
  const { msgId, chatId } = await event(b, "IncomingMsg", from);
  const m = await rpc.getMessage(b, msgId);
  assert.equal(m.text, text);
  assert.ok(m.showPadlock, "not encrypted");
  received.push({ msgId, chatId });
}

// It is told that it was read.
let from = seen.length;
await rpc.acceptChat(b, received[0].chatId);
await rpc.markseenMsgs(b, received.map((r) => r.msgId));
await event(a, "MsgRead", from);

// A file comes back with the same bytes.
const file = path.join(home, "bytes.bin");
fs.writeFileSync(file, Buffer.from(Array.from({ length: 700_000 }, (_, i) => (i * i) % 251)));
from = seen.length;
await rpc.miscSendMsg(b, received[0].chatId, "a file", file, "bytes.bin", null, received[2].msgId);
let got = await rpc.getMessage(a, (await event(a, "IncomingMsg", from)).msgId);
if (got.downloadState !== "Done") await event(a, "MsgsChanged", from, (e) => e.msgId === got.id);
got = await rpc.getMessage(a, got.id);
assert.ok(fs.readFileSync(got.file).equals(fs.readFileSync(file)), "other bytes");
assert.equal(got.quote.text, "Grüße 2\n.dot\n..dots");

assert.deepEqual(seen.filter((e) => e.kind === "Error" || e.kind === "MsgFailed"), []);
await rpc.stopIoForAllAccounts();
dc.close();
process.exit(0);
