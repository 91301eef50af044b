#!/usr/bin/env python3
"""Makes stripe-signatures.json: headers made and judged by Stripe's official library for Python.

    python3 -m venv v && v/bin/pip install stripe==16.0.1 && v/bin/python stripe_signatures.py > stripe-signatures.json

`accepted` is that library's verdict, with any of the secrets. `stricter` says why we refuse what it accepts.

With an instant and two secrets (`stripe_signatures.py 1795435200 whsec_a whsec_b`) the headers are for a receiver that
knows both and judges some seconds later: a test has a running meter judge them.
"""

import json
import sys
import time
from unittest import mock

import stripe

LIVE = len(sys.argv) > 1
NOW = int(sys.argv[1]) if LIVE else 1795435200
NEW, OLD = sys.argv[2:4] if LIVE else ("whsec_new", "whsec_old")
OTHER = "whsec_other"
# How far from now a header may have been signed; what is at the edge would have aged when it is judged.
OFFSETS = (-400, -270, -1, 0, 1, 270) if LIVE else (-301, -300, -1, 0, 1, 300)
BODY = json.dumps({"id": "evt_1", "object": "event", "type": "invoice.paid", "note": "ä€𝄞 \\u0000"}, ensure_ascii=False)


def sign(secret, at=NOW, body=BODY):
    return stripe.WebhookSignature._compute_signature("%s.%s" % (at, body), secret)


def judged(header, secrets, body):
    for secret in secrets:
        try:
            with mock.patch.object(time, "time", lambda: NOW):
                stripe.WebhookSignature.verify_header(body, header, secret, tolerance=300)
            return True
        except stripe.SignatureVerificationError:
            pass
        except Exception:  # A header that the library cannot even read.
            pass
    return False


def rows():
    good = sign(NEW)
    both = [NEW, OLD]
    yield "made with the one secret", f"t={NOW},v1={good}", [NEW], BODY, None
    yield "made with the second of two secrets", f"t={NOW},v1={sign(OLD)}", both, BODY, None
    yield "rotating: new signature first", f"t={NOW},v1={good},v1={sign(OLD)}", [OLD], BODY, None
    yield "rotating: old signature first", f"t={NOW},v1={sign(OLD)},v1={good}", [NEW], BODY, None
    yield "another scheme beside it", f"t={NOW},v1={good},v0={sign(OTHER)}", [NEW], BODY, None
    yield "signature before time", f"v1={good},t={NOW}", [NEW], BODY, None
    yield "garbage beside it", f"t={NOW},v1=zz,v1={good}", [NEW], BODY, None
    yield "another secret", f"t={NOW},v1={sign(OTHER)}", both, BODY, None
    yield "another body", f"t={NOW},v1={good}", [NEW], BODY.replace("evt_1", "evt_2"), None
    yield "the secret without its prefix", f"t={NOW},v1={sign('new')}", [NEW], BODY, None
    yield "truncated", f"t={NOW},v1={good[:32]}", [NEW], BODY, None
    yield "one digit short", f"t={NOW},v1={good[:-1]}", [NEW], BODY, None
    yield "one digit long", f"t={NOW},v1={good}0", [NEW], BODY, None
    yield "in capitals", f"t={NOW},v1={good.upper()}", [NEW], BODY, None
    yield "another scheme alone", f"t={NOW},v0={good}", [NEW], BODY, None
    yield "no time", f"v1={good}", [NEW], BODY, None
    yield "no signature", f"t={NOW}", [NEW], BODY, None
    yield "empty", "", [NEW], BODY, None
    yield "words", "garbage", [NEW], BODY, None
    yield "another time than was signed", f"t={NOW + 1},v1={good}", [NEW], BODY, None
    for offset in OFFSETS:
        yield f"signed {offset} s from now", f"t={NOW + offset},v1={sign(NEW, NOW + offset)}", [NEW], BODY, None
    ahead = NOW + (400 if LIVE else 301)
    yield f"signed {ahead - NOW} s ahead", f"t={ahead},v1={sign(NEW, ahead)}", [NEW], BODY, "a time ahead of our clock"
    yield "signed a year ahead", f"t={NOW * 2},v1={sign(NEW, NOW * 2)}", [NEW], BODY, "a time ahead of our clock"
    yield "the time twice", f"t={NOW},t={NOW},v1={good}", [NEW], BODY, "one time only"
    yield "a time with a sign", f"t=+{NOW},v1={sign(NEW, NOW)}", [NEW], BODY, "a time of digits only"
    many = ",".join(["v1=" + "0" * 64] * 16)
    yield "sixteen wrong ones before it", f"t={NOW},{many},v1={good}", [NEW], BODY, "at most 16 signatures"


print(json.dumps(
    [
        {"what": what, "header": header, "secrets": ",".join(secrets), "body": body, "now_s": NOW,
         "accepted": judged(header, [NEW, OLD] if LIVE else secrets, body), "stricter": stricter}
        for what, header, secrets, body, stricter in rows()
    ],
    indent=1, ensure_ascii=False,
))
