"""smtplib against the server, judged by imaplib."""
import imaplib, smtplib, socket, ssl, sys, time
from email.message import EmailMessage
from email.policy import SMTPUTF8

ca, smtp, submission, submissions, user, password, to, topassword, imaps = sys.argv[1:]
tls = ssl.create_default_context(cafile=ca)


def inbox(n):
    end = time.time() + 30
    while True:
        i = imaplib.IMAP4_SSL("localhost", int(imaps), ssl_context=tls, timeout=20)
        i.login(to, topassword)
        i.select("INBOX", readonly=True)
        data = i.fetch("1:*", "(BODY.PEEK[])")[1] if int(i.untagged_responses["EXISTS"][0]) else []
        i.logout()
        texts = [d[1] for d in data if isinstance(d, tuple)]
        if len(texts) == n:
            return texts
        assert time.time() < end, "%d messages, not %d" % (len(texts), n)
        time.sleep(0.1)


def message(n):
    m = EmailMessage()
    m["From"], m["To"], m["Subject"], m["Message-ID"] = user, to, "Message %d" % n, "<%d@here.example>" % n
    m.set_content("Gr\u00fc\u00dfe aus K\u00f6ln\n.\n..\n", cte="8bit")
    return m


s = smtplib.SMTP("localhost", int(smtp), timeout=20)
s.ehlo()
assert not s.has_extn("auth") and s.has_extn("starttls")
assert s.rcpt("a@hill.example")[0] == 503
s.starttls(context=tls)
assert not s.ehlo_or_helo_if_needed() and s.has_extn("8bitmime") and s.has_extn("smtputf8") and not s.has_extn("starttls")
refused = s.send_message(message(1), user, [to, "nobody@hill.example"])
assert list(refused) == ["nobody@hill.example"] and refused["nobody@hill.example"][0] == 550, refused
s.quit()

s = smtplib.SMTP("localhost", int(submission), timeout=20)
s.starttls(context=tls)
s.ehlo()
try:
    s.login(user, "wrong")
    raise AssertionError("a wrong password was taken")
except smtplib.SMTPAuthenticationError as e:
    assert e.smtp_code == 535, e
for mechanism, initial in (("plain", True), ("plain", False), ("login", True), ("login", False)):
    s = smtplib.SMTP("localhost", int(submission), timeout=20)
    s.starttls(context=tls)
    s.ehlo()
    s.user, s.password = user, password
    assert s.auth(mechanism.upper(), getattr(s, "auth_" + mechanism), initial_response_ok=initial)[0] == 235
    s.send_message(message(2), user, [to])
    s.quit()

s = smtplib.SMTP_SSL("localhost", int(submissions), context=tls, timeout=20)
s.login(user, password)
m = EmailMessage(policy=SMTPUTF8)
m["From"], m["To"], m["Subject"], m["Message-ID"] = user, to, "\u65e5\u672c \u03b1\u03b2\u03b3", "<u@here.example>"
m.set_content("\u65e5\u672c\n", cte="8bit")
s.send_message(m, user, [to], mail_options=["SMTPUTF8", "BODY=8BITMIME"])
try:
    s.sendmail("somebody@hill.example", [to], message(9).as_bytes())
    raise AssertionError("sent in the name of another")
except (smtplib.SMTPSenderRefused, smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError):
    pass
s.quit()

texts = inbox(6)
for t, subject in zip(texts, ["Message 1"] + 4 * ["Message 2"] + ["\u65e5\u672c \u03b1\u03b2\u03b3"]):
    assert ("\r\nSubject: %s\r\n" % subject).encode() in t, t
    assert t.count(b"\r\nReceived: ") >= 1 and t.startswith(b"Return-Path: <%s>\r\n" % user.encode()), t
want = message(1).as_bytes().replace(b"\n", b"\r\n")
assert texts[0].endswith(want), texts[0]
assert "\r\n\r\n\u65e5\u672c\r\n".encode() in texts[5], texts[5]

# Everything at once: two mail transactions in two packets.
for packet in (65536, 1):
    c = socket.create_connection(("localhost", int(smtp)), timeout=20)
    f = c.makefile("rb")
    assert f.readline().startswith(b"220")
    one = b"MAIL FROM:<odd@outside.example> BODY=8BITMIME\r\nRCPT TO:<nobody@hill.example>\r\nRCPT TO:<%s>\r\nDATA\r\n" % to.encode()
    c.sendall(b"EHLO there.example\r\n")
    while f.readline()[3:4] == b"-":
        pass
    for part in (one[i : i + packet] for i in range(0, len(one), packet)):
        c.sendall(part)
    assert [f.readline()[:3] for _ in range(4)] == [b"250", b"550", b"250", b"354"]
    text = b"From: odd@outside.example\r\nSubject: Packets of %d\r\n\r\n..\r\n...\r\n" % packet
    c.sendall(text + b".\r\n" + one)
    assert [f.readline()[:3] for _ in range(5)] == [b"250", b"250", b"550", b"250", b"354"]
    c.sendall(text + b".\r\nQUIT\r\n")
    assert [f.readline()[:3] for _ in range(2)] == [b"250", b"221"]
    assert f.readline() == b""
    c.close()
texts = inbox(10)
for t, packet in zip(texts[6:], (65536, 65536, 1, 1)):
    assert t.endswith(b"From: odd@outside.example\r\nSubject: Packets of %d\r\n\r\n.\r\n..\r\n" % packet), t

# BDAT, by hand.
c = socket.create_connection(("localhost", int(smtp)), timeout=20)
f = c.makefile("rb")
f.readline()
c.sendall(b"EHLO there.example\r\n")
while f.readline()[3:4] == b"-":
    pass
text = b"From: odd@outside.example\r\nSubject: Chunks\r\n\r\n.\r\n..\r\n"
c.sendall(b"MAIL FROM:<>\r\nRCPT TO:<%s>\r\nBDAT 10\r\n%sBDAT %d LAST\r\n%sQUIT\r\n" % (to.encode(), text[:10], len(text) - 10, text[10:]))
assert [f.readline()[:3] for _ in range(5)] == [b"250", b"250", b"250", b"250", b"221"]
assert inbox(11)[10].endswith(text)
