"""imaplib against the server: every command with what another session sees of it."""
import imaplib, ssl, sys, time

ca, port, ports, user, password = sys.argv[1:]
tls = ssl.create_default_context(cafile=ca)


def ok(answer):
    kind, data = answer
    assert kind == "OK", (kind, data)
    return data


def plain():
    m = imaplib.IMAP4("localhost", int(port), timeout=20)
    ok(m.starttls(tls))
    return m


def quote(name):
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def text(n, body="Hello\r\n"):
    return ("From: a@outside.example\r\nTo: %s\r\nSubject: Message %d\r\nMessage-ID: <%d@outside.example>\r\n\r\n%s" % (user, n, n, body)).encode()


# A wrong password, and another try on the same connection.
m = plain()
try:
    m.login(user, "wrong")
    raise AssertionError("a wrong password was taken")
except imaplib.IMAP4.error as e:
    assert "AUTHENTICATIONFAILED" in str(e), e
ok(m.login(user, password))

# The other session logs in by AUTHENTICATE PLAIN without an initial response.
o = imaplib.IMAP4_SSL("localhost", int(ports), ssl_context=tls, timeout=20)
ok(o.authenticate("PLAIN", lambda _: ("\0%s\0%s" % (user, password)).encode()))

for c in "IDLE", "MOVE", "UIDPLUS", "NAMESPACE", "ESEARCH", "CONDSTORE":
    assert c in m.capabilities or c in ok(m.capability())[0].decode().split(), c

# Names: UTF-8 by ENABLE, modified UTF-7 without, quotes and backslashes.
names = ["Entw\u00fcrfe & \u65e5\u672c", 'with "quotes" and \\', "a/b/c", "&", "plain"]
ok(o.enable("UTF8=ACCEPT"))
for n in names:
    ok(o.create(quote(n)))
    ok(o.subscribe(quote(n)))
listed = b"\n".join(x if isinstance(x, bytes) else b" ".join(x) for x in ok(o.list())).decode()
for n in names:
    assert n in listed or quote(n) in listed, (n, listed)
seven = b"\n".join(x if isinstance(x, bytes) else b" ".join(x) for x in ok(m.list())).decode()
assert "Entw&APw-rfe &- &ZeVnLA-" in seven and '"&-"' in seven.replace(" &-", ' "&-"'), seven
ok(m.select(quote("Entw&APw-rfe &- &ZeVnLA-")))
ok(m.unselect())
ok(o.rename("a/b", "a/d"))
assert "a/d/c" in b"\n".join(ok(o.list("a/", "*"))).decode()
ok(o.delete("plain"))
assert o.select("plain")[0] == "NO"

# APPEND with flags and a date, FETCH back.
when = '"03-Mar-2026 10:20:30 +0130"'
ok(m.append("INBOX", r"(\Flagged $label1)", when, text(1, "Gr\u00fc\u00dfe\r\n")))
for n in range(2, 11):
    ok(m.append("INBOX", None, None, text(n)))
assert m.append("nowhere", None, None, text(0))[0] == "NO" and "TRYCREATE" in m.untagged_responses
ok(m.select("INBOX"))
data = ok(m.fetch("1", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"))
assert data[0][1] == text(1, "Gr\u00fc\u00dfe\r\n"), data
assert imaplib.Internaldate2tuple(data[0][0]) == time.localtime(1772527830), data[0][0]
assert b"$label1" in data[0][0] and b"\\Flagged" in data[0][0], data
assert b"\\Seen" not in data[0][0]
part = b""
while len(part) < len(data[0][1]):
    got = ok(m.fetch("1", "(BODY.PEEK[]<%d.7>)" % len(part)))[0][1]
    assert 0 < len(got) <= 7
    part += got
assert part == data[0][1]

# STORE, and another session sees it at NOOP.
ok(o.select("INBOX"))
ok(m.store("2:4", "+FLAGS", r"(\Answered kept)"))
ok(m.store("4", "-FLAGS", "(kept)"))
o.untagged_responses.pop("FETCH", None)
ok(o.noop())
seen = b"\n".join(o.response("FETCH")[1])
assert seen.count(b"\\Answered") >= 3 and b"kept" in seen, seen

# SEARCH, in Greek too.
ok(m.append("INBOX", None, None, text(11, "\u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 \u03ba\u03cc\u03c3\u03bc\u03b5\r\n")))
ok(m.noop())
assert ok(m.search(None, "KEYWORD", "kept", "NOT", "DELETED"))[0].split() == [b"2", b"3"]
assert ok(m.search(None, "HEADER", "Message-ID", "<7@outside.example>"))[0] == b"7"
m.literal = "\u03ba\u03cc\u03c3\u03bc\u03b5".encode()
assert ok(m.search("UTF-8", "BODY"))[0] == b"11"
assert ok(o.search(None, "OR", "SUBJECT", '"Message 10"', "UID", "3"))[0] == b"3 10"

# COPY, MOVE, with their UIDs told.
ok(m.copy("1:2", '"Entw&APw-rfe &- &ZeVnLA-"'))
assert m.response("COPYUID")[1][0], "no COPYUID"
kind, _ = m.uid("MOVE", "5", '"Entw&APw-rfe &- &ZeVnLA-"')
assert kind == "OK" and m.response("COPYUID")[1][0], "no COPYUID"
x = imaplib.IMAP4_SSL("localhost", int(ports), ssl_context=tls, timeout=20)
ok(x.login(user, password))
ok(x.select('"Entw&APw-rfe &- &ZeVnLA-"', readonly=True))
data = ok(x.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])"))
bodies = [d[1] for d in data if isinstance(d, tuple)]
assert bodies == [text(1, "Gr\u00fc\u00dfe\r\n"), text(2), text(5)], bodies
assert b"$label1" in data[0][0] and imaplib.Internaldate2tuple(data[0][0]) == time.localtime(1772527830)
x.logout()

# Deletion: the other session is told, and is not told inside FETCH.
ok(m.store("3", "+FLAGS.SILENT", r"(\Deleted)"))
ok(m.expunge())
o.untagged_responses.clear()
assert o.fetch("1:*", "(UID)")[0] in ("OK", "NO")  # RFC 2180 section 4.1.2
assert "EXPUNGE" not in o.untagged_responses
ok(o.noop())
gone = o.response("EXPUNGE")[1]
assert gone in ([b"5", b"3"], [b"3", b"4"]), gone
ok(o.noop())
assert ok(o.uid("SEARCH", "UID", "1:6"))[0].split() == [b"1", b"2", b"4", b"6"]


# IDLE, by hand: new mail, a flag and an expunge, each told at once.
def until(f, what):
    start = time.time()
    while True:
        line = f.readline()
        if what(line):
            assert time.time() - start < 3, "told after %.1f s" % (time.time() - start)
            return line


ok(o.select("INBOX"))
last = int(ok(o.select("INBOX"))[0])
o.send(b"I1 IDLE\r\n")
assert o.readline().startswith(b"+")
ok(m.append("INBOX", None, None, text(12)))
until(o, lambda l: l == b"* %d EXISTS\r\n" % (last + 1))
ok(m.noop())
ok(m.store(str(last + 1), "+FLAGS", r"(\Flagged)"))
until(o, lambda l: b"FETCH" in l and b"\\Flagged" in l and l.startswith(b"* %d " % (last + 1)))
ok(m.store("1", "+FLAGS", r"(\Deleted)"))
ok(m.expunge())
until(o, lambda l: l == b"* 1 EXPUNGE\r\n")
o.send(b"DONE\r\n")
until(o, lambda l: l.startswith(b"I1 OK"))

ok(m.close())
m.logout()
o.logout()
print("capabilities:", " ".join(m.capabilities))
