# Reads a request from standard input, as JSON: what to do with a message, and TXT
# records. The answer is the message, base64, or "pass" and "fail" with a reason.
import base64, json, sys
import dkim

q = json.load(sys.stdin)
msg = base64.b64decode(q["message"])
texts = {k.encode() + b".": v.encode() for k, v in q["records"].items()}


def txt(name, timeout=5):
    return texts.get(name)


def canon(c):
    return tuple(x.encode() for x in c.split("/"))


if q["do"] == "verify":
    n, bad = 0, []
    d = dkim.DKIM(msg)
    while True:
        try:
            if not d.verify(n, dnsfunc=txt):
                bad.append(str(n))
        except dkim.ParameterError:
            break
        except dkim.DKIMException as e:
            if "not found" in str(e) or "No DKIM-Signature" in str(e):
                break
            bad.append(str(e))
        n += 1
        if n == q["signatures"]:
            break
    print("pass" if n == q["signatures"] and not bad else "fail: %d signatures, %s" % (n, bad))
elif q["do"] == "sign":
    sig = dkim.sign(msg, q["selector"].encode(), q["domain"].encode(), q["key"].encode(),
                    canonicalize=canon(q["canon"]), signature_algorithm=q["algorithm"].encode(),
                    include_headers=[b"from", b"subject", b"date", b"message-id"])
    print(base64.b64encode(sig + msg).decode())
elif q["do"] == "seal":
    sets = dkim.arc_sign(msg, q["selector"].encode(), q["domain"].encode(), q["key"].encode(),
                         b"mx.y.example", signature_algorithm=b"rsa-sha256",
                         include_headers=[b"from", b"subject", b"date", b"message-id"])
    print(base64.b64encode(b"".join(sets) + msg).decode())
elif q["do"] == "chain":
    cv, _, why = dkim.arc_verify(msg, dnsfunc=txt)
    print("pass" if cv == dkim.CV_Pass else "fail: %s %s" % (cv, why))
