"""A governance service that answers only what the edge has signed. Needs nothing but Python."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SKEW_SECONDS_MAX = 300
HEADER = re.compile(r"t=(\d{1,12}),k=([a-z0-9]{1,16}),v1=([0-9a-f]{64})", re.ASCII)


def upstream_keys(text: str) -> dict[str, bytes]:
    """The secrets of `purpose:id:hex,…` that sign for upstreams, by their id."""
    entries = [entry.strip().split(":") for entry in text.split(",") if entry.strip()]
    return {name: bytes.fromhex(secret) for purpose, name, secret in entries if purpose == "upstream"}


def caller(
    method: str, path: str, headers: Mapping[str, str], keys: dict[str, bytes], now: float
) -> dict[str, str] | None:
    """Who asks, if the edge says so. `path` is path and query, as they came."""
    fields = HEADER.fullmatch(headers.get("palveron-signature", ""))
    if fields is None:
        return None
    t, key_id, v1 = fields.groups()
    key = keys.get(key_id)
    if key is None or abs(now - int(t)) > SKEW_SECONDS_MAX:
        return None
    who = {
        "project": headers.get("palveron-project", ""),
        "agent": headers.get("palveron-agent", ""),
        "keyId": headers.get("palveron-key-id", ""),
    }
    signed = "\n".join([t, method, path, *who.values()])
    expected = hmac.new(key, signed.encode("latin-1"), hashlib.sha256).hexdigest()
    return who if hmac.compare_digest(expected, v1) else None


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.read_body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        who = caller(self.command, self.path, headers, keys, time.time())
        if who is None:
            self.answer(401, {"error": "not signed by the edge"})
        else:
            self.answer(200, {"decision": "allow", **who})

    def do_GET(self) -> None:
        self.answer(200, {"status": "ok"})

    def read_body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline(64).split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline(8)
        while self.rfile.readline(8192).strip():
            pass
        return b"".join(parts)

    def answer(self, status: int, body: dict[str, str]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


keys = upstream_keys(os.environ["METER_SIGNING_KEYS"])
if not keys:
    raise SystemExit("METER_SIGNING_KEYS has no key of the purpose upstream")
ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8090"))), Upstream).serve_forever()
