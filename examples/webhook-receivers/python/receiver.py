"""Receives webhooks: verifies, keeps each event once, answers. Needs the package standardwebhooks."""

import os
import pathlib
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
inbox = pathlib.Path(os.environ.get("INBOX", "inbox"))
BODY_BYTES_MAX = 256 * 1024


def keep(event: str, body: bytes) -> bool:
    """Keeps an event durably; False where it is there already."""
    partial = inbox / f".{event}.{os.urandom(8).hex()}"
    with partial.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(partial, inbox / f"{event}.json")
    except FileExistsError:
        return False
    finally:
        partial.unlink()
    folder = os.open(inbox, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    return True


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        if length > BODY_BYTES_MAX:
            return self.answer(413)
        body = self.rfile.read(length)
        try:
            webhook.verify(body, {name.lower(): value for name, value in self.headers.items()})
        except WebhookVerificationError:
            return self.answer(401)
        event = self.headers["webhook-id"]
        # It was signed, and yet no name of ours should lead out of the folder.
        if not re.fullmatch(r"\w{1,80}", event, re.ASCII):
            return self.answer(400)
        print("kept" if keep(event, body) else "had", event, flush=True)
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Receiver).serve_forever()
