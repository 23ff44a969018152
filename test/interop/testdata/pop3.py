"""poplib against the server."""
import imaplib, poplib, ssl, sys

ca, port, ports, user, password, imaps = sys.argv[1:]
tls = ssl.create_default_context(cafile=ca)


def clear():
    p = poplib.POP3("localhost", int(port), timeout=20)
    assert "STLS" in p.capa()
    p.stls(tls)
    capa = p.capa()
    assert "STLS" not in capa and "UIDL" in capa and "TOP" in capa, capa
    return p


p = clear()
try:
    p.user(user)
    p.pass_("wrong")
    raise AssertionError("a wrong password was taken")
except poplib.error_proto as e:
    assert b"AUTH" in e.args[0], e
p.close()

p = clear()
p.user(user)
p.pass_(password)
count, size = p.stat()
listed = {int(n): int(s) for n, s in (x.split() for x in p.list()[1])}
assert len(listed) == count and sum(listed.values()) == size, (count, size, listed)
uids = [x.split()[1] for x in p.uidl()[1]]
assert len(set(uids)) == count
texts = {}
for n in listed:
    _, lines, octets = p.retr(n)
    text = b"".join(l + b"\r\n" for l in lines)
    assert len(text) == listed[n], (n, len(text), listed[n])
    texts[uids[n - 1]] = text
    head = b"".join(l + b"\r\n" for l in p.top(n, 0)[1])
    assert text.startswith(head) and head.endswith(b"\r\n\r\n") and text[: len(head)].count(b"\r\n\r\n") == 1, head
    some = b"".join(l + b"\r\n" for l in p.top(n, 2)[1])
    assert text.startswith(some) and some.count(b"\r\n") <= head.count(b"\r\n") + 2
p.quit()

i = imaplib.IMAP4_SSL("localhost", int(imaps), ssl_context=tls, timeout=20)
i.login(user, password)
i.select("INBOX")
data = i.fetch("1:*", "(BODY.PEEK[])")[1]
assert [d[1] for d in data if isinstance(d, tuple)] == [texts[u] for u in uids], "IMAP sees other bytes"

# A connection that is lost deletes nothing, and locks nobody out.
p = poplib.POP3_SSL("localhost", int(ports), context=tls, timeout=20)
p.user(user)
p.pass_(password)
p.dele(1)
p.dele(2)
p.close()
p = poplib.POP3_SSL("localhost", int(ports), context=tls, timeout=20)
p.user(user)
p.pass_(password)
assert [x.split()[1] for x in p.uidl()[1]] == uids, "UIDs changed, or mail is gone"
# RSET takes back, QUIT does it; the others keep their UIDs; IMAP sees it at once.
p.dele(1)
p.rset()
p.dele(2)
p.dele(count)
try:
    p.retr(2)
    raise AssertionError("a deleted message is there")
except poplib.error_proto:
    pass
p.quit()
i.noop()
data = i.fetch("1:*", "(BODY.PEEK[])")[1]
left = uids[:1] + uids[2:-1]
assert [d[1] for d in data if isinstance(d, tuple)] == [texts[u] for u in left], "IMAP does not see the deletion"
p = clear()
p.user(user)
p.pass_(password)
assert [x.split()[1] for x in p.uidl()[1]] == left
assert p.uidl(1).split()[2] == left[0]
p.quit()
