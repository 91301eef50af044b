"""The client against a real aggregator, and one that loses answers."""

from __future__ import annotations

import http.server
import json
import threading
import unittest
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from palveron_meter import MeterError, Retries, aggregator, taken
from palveron_meter.aggregator_api.api.projects import create_project, list_projects
from palveron_meter.aggregator_api.models import CreateProjectBody, Plan
from world import METER_URL, TOKEN, operator


@dataclass
class Lost:
    """An answer that is lost, or other than the real one."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"


@contextmanager
def proxy(lose: Callable[[int], Lost | None]) -> Iterator[tuple[str, list[str | None]]]:
    """Has calls done, and then tells something else, or nothing; the names of all calls."""
    calls: list[str | None] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            calls.append(self.headers.get("idempotency-key"))
            lost = lose(len(calls))
            if lost is None or lost.status is None:
                names = ["authorization", "content-type", "idempotency-key"]
                headers = {name: self.headers[name] for name in names if name in self.headers}
                real = urllib.request.Request(METER_URL + self.path, body or None, headers, method=self.command)
                with urllib.request.urlopen(real) as answer:
                    status, told, content = answer.status, {}, answer.read()
                if lost:
                    self.close_connection = True
                    return
                told = {"content-type": answer.headers["content-type"]}
            else:
                status, told, content = lost.status, lost.headers, lost.body
            self.send_response(status)
            for name, value in told.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = forward

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", calls
    finally:
        server.shutdown()
        server.server_close()


class Client(unittest.TestCase):
    def test_a_refusal_is_raised_with_its_code_its_page_and_its_field(self) -> None:
        new = CreateProjectBody(id="py-twice", plan=Plan.COMMUNITY)
        self.assertEqual(taken(create_project.sync_detailed(client=operator, body=new)).plan, Plan.COMMUNITY)
        with self.assertRaises(MeterError) as raised:
            taken(create_project.sync_detailed(client=operator, body=new))
        error = raised.exception
        self.assertEqual((error.code, error.status, error.retry_after_seconds), ("project_exists", 409, None))
        self.assertTrue(error.problem["type"].endswith("project_exists"))
        with self.assertRaises(MeterError) as raised:
            wrong = CreateProjectBody(id="Not an id", plan=Plan.COMMUNITY)
            taken(create_project.sync_detailed(client=operator, body=wrong))
        self.assertEqual((raised.exception.code, raised.exception.problem["field"]), ("field_rejected", "id"))

    def test_a_change_whose_answer_was_lost_is_made_once_under_the_same_name(self) -> None:
        with proxy(lambda call: Lost() if call <= 2 else None) as (url, calls):
            new = CreateProjectBody(id="py-once", plan=Plan.COMMUNITY)
            client = aggregator(url, TOKEN, Retries(wait=lambda _: None))
            self.assertEqual(taken(create_project.sync_detailed(client=client, body=new)).id, "py-once")
        self.assertEqual((len(calls), len(set(calls))), (3, 1))
        self.assertEqual(len(calls[0] or ""), 36)

    def test_what_is_busy_is_asked_again_after_the_time_that_it_names_and_no_longer_than_the_caller_waits(
        self,
    ) -> None:
        problem = {"type": "about:blank", "title": "busy", "status": 503, "code": "not_ready", "detail": "busy"}

        def busy(seconds: int) -> Lost:
            return Lost(503, {"retry-after": str(seconds)}, json.dumps(problem).encode())

        waits: list[float] = []
        with proxy(lambda call: busy(2) if call == 1 else None) as (url, _):
            taken(list_projects.sync_detailed(client=aggregator(url, TOKEN, Retries(wait=waits.append))))
        self.assertEqual(len(waits), 1)
        self.assertTrue(2 <= waits[0] < 3, waits)
        with proxy(lambda _: busy(3600)) as (url, calls):
            with self.assertRaises(MeterError) as raised:
                taken(list_projects.sync_detailed(client=aggregator(url, TOKEN, Retries(wait=waits.append))))
            self.assertEqual((raised.exception.code, raised.exception.retry_after_seconds), ("not_ready", 3600))
            self.assertEqual(len(calls), 1)


class AwaitedClient(unittest.IsolatedAsyncioTestCase):
    async def test_calls_that_are_awaited_are_repeated_as_well(self) -> None:
        waits: list[float] = []

        async def wait(seconds: float) -> None:
            waits.append(seconds)

        with proxy(lambda call: Lost() if call == 1 else None) as (url, calls):
            client = aggregator(url, TOKEN, Retries(wait_async=wait))
            new = CreateProjectBody(id="py-awaited", plan=Plan.COMMUNITY)
            made = taken(await create_project.asyncio_detailed(client=client, body=new))
        self.assertEqual((made.id, len(calls), len(set(calls)), len(waits)), ("py-awaited", 2, 1, 1))


if __name__ == "__main__":
    unittest.main()
