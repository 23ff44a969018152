"""sievelib against the server."""
import sys
from sievelib.managesieve import Client, Error

port, user, password, good, broken, fault = sys.argv[1:]
good, broken = open(good, newline="").read(), open(broken, newline="").read()

c = Client("localhost", int(port))
assert not c.connect(user, "wrong", starttls=True, authmech="PLAIN"), "a wrong password was taken"
for mechanism in "LOGIN", "PLAIN":
    c = Client("localhost", int(port))
    assert c.connect(user, password, starttls=True, authmech=mechanism), mechanism
    assert c.get_implementation().startswith("Posthaste"), c.get_implementation()
    assert {"fileinto", "vacation", "imap4flags", "mailbox"} <= set(c.get_sieve_capabilities()), c.get_sieve_capabilities()
    assert not c.has_tls_support()
    if mechanism != "PLAIN":
        c.logout()

assert "\"OWNER\" \"" + user + "\"" in c.capability().decode(), c.capability()
assert c.listscripts() == (None, []), c.listscripts()
assert c.havespace("main", len(good))
assert not c.havespace("main", 1 << 30) and c.errcode == b"QUOTA/MAXSIZE", c.errcode
assert c.putscript("main", good), "put"
assert not c.putscript("main", broken), "a broken one was put"
assert not c.checkscript(broken) and c.checkscript(good)
assert c.getscript("main").splitlines() == good.splitlines(), c.getscript("main")
assert c.setactive("main") and c.listscripts() == ("main", []), c.listscripts()
assert not c.deletescript("main") and c.errcode == b"ACTIVE", c.errcode
assert c.putscript("second", "keep;")
assert not c.renamescript("second", "main") and c.errcode == b"ALREADYEXISTS", c.errcode
assert not c.renamescript("third", "fourth") and c.errcode == b"NONEXISTENT", c.errcode
assert c.renamescript("main", "Büro 1") and c.listscripts() == ("Büro 1", ["second"]), c.listscripts()
assert c.renamescript("Büro 1", "main")
assert c.deletescript("second") and c.setactive("") and c.listscripts() == (None, ["main"]), c.listscripts()
assert c.setactive("main")
c.logout()
