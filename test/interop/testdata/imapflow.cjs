// imapflow against the server: what one session does, as another one of it sees it.
const assert = require("node:assert/strict");
const fs = require("node:fs");
const { ImapFlow } = require(process.argv[2]);
const [ca, port, user, pass, plain] = process.argv.slice(3);

const open = (more) => {
  const c = new ImapFlow({
    host: "localhost", port: Number(port), secure: true, auth: { user, pass }, logger: false,
    tls: { ca: fs.readFileSync(ca) }, clientInfo: { name: "a test" }, maxIdleTime: 20000, ...more,
  });
  c.on("error", (e) => { throw e; });
  return c;
};
const text = (n, body = "Hello\r\n") =>
  Buffer.from(`From: a@outside.example\r\nTo: ${user}\r\nSubject: Message ${n}\r\nMessage-ID: <${n}@outside.example>\r\n\r\n${body}`);
const event = (c, name, what = () => true) => new Promise((done, fail) => {
  const late = setTimeout(() => fail(new Error(`no event ${name}`)), 15000);
  const hear = (e) => { if (what(e)) { clearTimeout(late); c.off(name, hear); done(e); } };
  c.on(name, hear);
});
const all = async (it) => { const got = []; for await (const x of it) got.push(x); return got; };
const read = async (stream) => Buffer.concat(await all(stream));

async function main() {
  // A wrong password is told from other troubles.
  const wrong = open({ auth: { user, pass: "wrong" } });
  await assert.rejects(wrong.connect(), (e) => e.authenticationFailed === true);

  // STARTTLS, and compression from the beginning; the other one without, with QRESYNC.
  const a = open({ port: Number(plain), secure: false });
  const b = open({ qresync: true, disableCompression: true });
  await a.connect();
  await b.connect();
  assert.equal(a.secureConnection, true);
  assert.ok(a._inflate, "not compressed");
  for (const e of ["CONDSTORE", "UTF8=ACCEPT"]) assert.ok(a.enabled.has(e), e);
  assert.ok(b.enabled.has("QRESYNC"));
  assert.equal(a.namespace.delimiter, "/");

  // Folders, in any script, with what they are for.
  const special = Object.fromEntries((await a.list()).map((f) => [f.specialUse, f.path]));
  assert.equal(special["\\Sent"], "Sent");
  assert.equal(special["\\Trash"], "Trash");
  assert.equal(special["\\Inbox"], "INBOX");
  const far = (await a.mailboxCreate(["Entwürfe & 日本", "a"])).path;
  assert.equal(far, "Entwürfe & 日本/a");
  assert.equal((await a.mailboxRename(far, "Entwürfe & 日本/b")).newPath, "Entwürfe & 日本/b");
  await a.mailboxSubscribe("Entwürfe & 日本/b");
  const box = "Entwürfe & 日本/b";
  assert.ok((await b.list()).some((f) => f.path === box && f.subscribed));

  // APPEND (as a literal8, since there is BINARY) with flags and a date.
  const when = new Date("2026-03-03T08:50:30Z");
  const put = await a.append("INBOX", text(1, "Grüße\r\n"), ["\\Flagged", "$label1"], when);
  assert.ok(put.uid && put.uidValidity);
  for (let n = 2; n <= 10; n++) await a.append("INBOX", text(n), []);
  const st = await b.status("INBOX", { messages: true, unseen: true, uidNext: true, uidValidity: true, highestModseq: true });
  assert.deepEqual([st.messages, st.unseen, st.uidValidity], [10, 10, put.uidValidity]);

  await a.mailboxOpen("INBOX");
  await b.mailboxOpen("INBOX");
  const one = await a.fetchOne("1", { uid: true, flags: true, internalDate: true, envelope: true, bodyStructure: true, source: true, size: true, threadId: true, headers: ["subject"] });
  assert.ok(one.source.equals(text(1, "Grüße\r\n")));
  assert.equal(one.size, one.source.length);
  assert.equal(one.internalDate.getTime(), when.getTime());
  assert.deepEqual([...one.flags].filter((f) => f !== "\\Recent").sort(), ["$label1", "\\Flagged"]);
  assert.equal(one.envelope.subject, "Message 1");
  assert.equal(one.envelope.messageId, "<1@outside.example>");
  assert.equal(one.bodyStructure.type, "text/plain");
  assert.equal(one.headers.toString(), "Subject: Message 1\r\n\r\n");
  assert.ok(one.emailId && one.threadId, "no OBJECTID");

  // A multipart message comes back part by part, decoded.
  const bytes = Buffer.alloc(200_000, "0123456789abcdef!");
  const mixed = Buffer.from("From: a@outside.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n--x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"=?utf-8?q?=E6=97=A5.bin?=\"\r\n\r\n" +
    bytes.toString("base64").replace(/.{76}/g, "$&\r\n") + "\r\n--x--\r\n");
  const seen = event(b, "exists", (e) => e.count === 11);
  b.idle();
  const { uid } = await a.append("INBOX", mixed, []);
  await seen;
  const first = await a.download(String(uid), "1", { uid: true });
  assert.equal((await read(first.content)).toString(), "Grüße");
  const second = await a.download(String(uid), "2", { uid: true, chunkSize: 10_000 });
  assert.equal(second.meta.filename, "日.bin");
  assert.ok((await read(second.content)).equals(bytes));
  assert.equal((await a.fetchOne(String(uid), { envelope: true }, { uid: true })).envelope.subject, "Grüße");
  const parts = await a.downloadMany(String(uid), ["1", "2"], { uid: true });
  assert.ok(parts["2"].content.equals(bytes));

  // SEARCH, in Greek too.
  await a.append("INBOX", text(12, "Καλημέρα κόσμε\r\n"), []);
  assert.deepEqual(await a.search({ body: "ΚΌΣΜΕ" }), [12]);
  assert.deepEqual(await a.search({ or: [{ subject: "Message 10" }, { uid: "3" }] }, { uid: true }), [3, 10]);
  assert.deepEqual(await a.search({ header: { "message-id": "<7@outside.example>" }, not: { flagged: true } }), [7]);
  assert.deepEqual(await a.search({ emailId: one.emailId }), [1]);
  assert.deepEqual(await a.search({ keyword: "$label1" }), [1]);

  // Flags: the one that idles is told, with the mod-sequence.
  const told = event(b, "flags", (e) => e.uid === 2 || e.seq === 2);
  b.idle();
  assert.equal(await a.messageFlagsAdd("2:4", ["\\Answered", "kept"]), true);
  const flag = await told;
  assert.ok(flag.flags.has("kept") && flag.modseq);
  await a.messageFlagsRemove("4", ["kept"], { uid: true });
  await a.messageFlagsSet("3", ["\\Seen"], { uid: true });
  // What has changed since is refused. RFC 7162
  await a.messageFlagsAdd("2", ["late"], { uid: true, unchangedSince: 1n });
  assert.ok(!(await a.fetchOne("2", { flags: true })).flags.has("late"));
  const since = BigInt(st.highestModseq);
  const changed = await all(b.fetch("1:10", { flags: true }, { uid: true, changedSince: since }));
  assert.deepEqual(changed.map((m) => m.uid).sort(), [2, 3, 4]);

  // COPY and MOVE say where all went.
  const copied = await a.messageCopy("1:2", box, { uid: true });
  assert.deepEqual([...copied.uidMap], [[1, 1], [2, 2]]);
  const at = b.mailbox;
  const [valid, mod] = [at.uidValidity, (await b.status("INBOX", { highestModseq: true })).highestModseq];
  await b.mailboxOpen("Sent");
  const moved = await a.messageMove("5", box, { uid: true });
  assert.deepEqual([...moved.uidMap], [[5, 3]]);
  await a.messageDelete("6:7", { uid: true });

  // QRESYNC: who comes back hears what is gone.
  const gone = [];
  b.on("expunge", (e) => gone.push(e.uid));
  await b.mailboxOpen("INBOX", { changedSince: mod, uidValidity: valid });
  await b.noop();
  assert.deepEqual(gone.sort(), [5, 6, 7]);
  assert.equal(b.mailbox.exists, 9);
  // And who waits is told.
  const went = event(b, "expunge", (e) => e.uid === 8 && e.vanished);
  b.idle();
  await a.messageDelete("8", { uid: true });
  await went;

  const quota = await a.getQuota("INBOX");
  assert.equal(quota.path, "INBOX");
  await a.mailboxOpen(box, { readOnly: true });
  const there = await all(a.fetch("1:*", { source: true }));
  assert.deepEqual(there.map((m) => m.source.toString()), [text(1, "Grüße\r\n"), text(2), text(5)].map(String));
  // 300 commands in flight at once.
  const many = await Promise.all(Array.from({ length: 300 }, () => a.fetchOne("1", { envelope: true })));
  assert.ok(many.every((m) => m.envelope.subject === "Message 1"));
  await a.mailboxClose();
  await a.mailboxDelete(box);
  assert.ok(!(await b.list()).some((f) => f.path === box));
  await b.logout();
  await a.logout();
}

main().then(() => process.exit(0), (e) => { console.error(e); process.exit(1); });
