# Prints a line for each message of an account over IMAP, in the order of the
# UIDs: folder, flags, date, unique id of POP3 if --uidl, and the hash of the bytes.
import hashlib, imaplib, poplib, re, sys

host, port, user, password = sys.argv[1:5]
prefix = sys.argv[5] if len(sys.argv) > 5 else ""
imaplib._MAXLINE = 10_000_000
if host == "|":  # the port is a command that lets in at once
    c = imaplib.IMAP4_stream(port)
    c.state = "AUTH"  # Courier says first that it lacks a daemon
else:
    c = imaplib.IMAP4(host, int(port))
    c.login(user, password)
names = []
for line in c.list()[1]:
    m = re.match(rb'\((.*?)\) ("."|NIL) (.*)$', line)
    attrs, sep, name = m.group(1).lower(), m.group(2).strip(b'"').decode(), m.group(3).strip(b'"').decode()
    if b"noselect" in attrs or b"nonexistent" in attrs:
        continue
    names.append((name.replace(sep, "/"), name))
for shown, name in sorted(names):
    n = int(c.select('"' + name + '"', True)[1][0])
    for first in range(1, n + 1, 200):
        got = c.fetch("%d:%d" % (first, min(first + 199, n)), "(FLAGS INTERNALDATE BODY.PEEK[])")[1]
        for part in got:
            if not isinstance(part, tuple):
                continue
            head = part[0].decode()
            flags = sorted(f for f in re.search(r"FLAGS \((.*?)\)", head).group(1).split() if f != "\\Recent")
            date = imaplib.Internaldate2tuple(part[0])
            import time
            print(shown, ",".join(flags), int(time.mktime(date)), hashlib.sha256(part[1]).hexdigest()[:20])
c.logout()
