"""The middleware in FastAPI before a real edge: exactly what was served is reported."""

from __future__ import annotations

import socket
import threading
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from palveron_meter.asgi import MeterMiddleware, Message, Receive, Scope, Send
from world import EDGE_URL, project, reported, served

# On a machine that does much else at the same time nothing is to be learned from two seconds.
REAL: dict[str, Any] = {"edge": EDGE_URL, "timeout_seconds": 20.0}


def application(**options: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(MeterMiddleware, paths=["/v1/verify"], **options)

    @app.post("/v1/verify")
    async def verify() -> PlainTextResponse:
        return PlainTextResponse("served")

    @app.get("/healthz")
    async def health() -> PlainTextResponse:
        return PlainTextResponse("ok")

    return app


def call(url: str, key: str | None = None) -> httpx.Response:
    headers = {"Palveron-Agent": "bot"} | ({} if key is None else {"Authorization": f"Bearer {key}"})
    return httpx.post(f"{url}/v1/verify", headers=headers, timeout=30)


@contextmanager
def answering(reply: bytes | None) -> Iterator[str]:
    """Something that listens where an edge should be, and answers that, or nothing."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.recv(65536)
            if reply is not None:
                connection.sendall(reply)
                connection.close()
            else:
                kept.append(connection)

    kept: list[socket.socket] = []
    thread = threading.Thread(target=answer)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in kept:
        connection.close()


class Middleware(unittest.TestCase):
    def same_as_the_edge(self, answer: httpx.Response, key: str | None) -> dict[str, Any]:
        """What a denial says, beside what the edge says when it denies the same by itself."""
        told, own = answer.json(), call(EDGE_URL, key)
        problem = {name: text for name, text in own.json().items() if name not in ("detail", "upgrade_url")}
        self.assertEqual((answer.status_code, told | {"detail": ""}), (own.status_code, problem | {"detail": ""}))
        for name in ("content-type", "ratelimit-policy"):
            self.assertEqual(answer.headers.get(name), own.headers.get(name))
        self.assertGreater(len(told["detail"]), 10)
        return dict(told)

    def test_requests_within_the_limits_are_served_and_told_what_is_left(self) -> None:
        key = project("fastapi-served", rpm=1000, included=3)
        with served(application(**REAL)) as url:
            for left in (2, 1, 0):
                answer = call(url, key)
                self.assertEqual((answer.status_code, answer.text), (200, "served"))
                self.assertIn(f'"month";r={left};', answer.headers["ratelimit"])
                self.assertIn('"month";q=3;', answer.headers["ratelimit-policy"])
                self.assertEqual(answer.headers["palveron-source"], "included")
            denied = call(url, key)
            self.assertEqual(denied.status_code, 402)
            self.assertGreater(int(denied.headers["retry-after"]), 0)
            self.assertEqual(self.same_as_the_edge(denied, key)["code"], "quota_exhausted")
            self.assertEqual(httpx.get(f"{url}/healthz").text, "ok", "other paths are not counted")
        usage = reported("fastapi-served", 3)
        self.assertEqual([(one.agent, one.units) for one in usage.agents], [("bot", 3)])

    def test_the_minutes_limit_is_429_with_the_time_to_come_back(self) -> None:
        key = project("fastapi-busy", rpm=2)
        with served(application(**REAL)) as url:
            # A minute may turn between two calls, but not between all of them.
            answers = [call(url, key)]
            while len(answers) < 6 and answers[-1].status_code != 429:
                answers.append(call(url, key))
            self.assertEqual(answers[-1].status_code, 429)
            self.assertTrue(1 <= int(answers[-1].headers["retry-after"]) <= 60)
            self.assertEqual(answers[-1].json()["code"], "rate_limited")
        reported("fastapi-busy", len(answers) - 1)

    def test_keys_are_answered_as_the_edge_answers_them(self) -> None:
        with served(application(**REAL)) as url:
            for key in (None, "pk_live_nobody_k001_1_00"):
                denied = call(url, key)
                self.assertEqual(denied.status_code, 401)
                self.assertEqual(self.same_as_the_edge(denied, key)["code"], "unauthorized")

    def test_kind_cost_key_and_agent_can_be_those_of_the_request(self) -> None:
        key = project("fastapi-own", rpm=1000)
        own = {"kind": lambda _: "mcp_tool_call", "cost": lambda _: 5, "key": lambda _: key, "agent": lambda _: "own"}
        with served(application(**REAL, **own)) as url:
            self.assertEqual(call(url).status_code, 200)
        usage = reported("fastapi-own", 5)
        self.assertEqual([(one.agent, one.units) for one in usage.agents], [("own", 5)])

    def test_an_edge_that_is_down_silent_or_not_an_edge_closes_the_door_or_leaves_it_open_where_that_is_wanted(
        self,
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            gone = f"http://127.0.0.1:{free.getsockname()[1]}"
        other = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
        with answering(None) as silent, answering(other) as not_an_edge:
            for edge in (gone, silent, not_an_edge):
                reasons: list[Exception] = []
                options = {"edge": edge, "timeout_seconds": 0.3, "on_unreachable": reasons.append}
                with served(application(**options)) as url:
                    closed = call(url, "pk_live_any")
                told = [closed.headers[name] for name in ("retry-after", "content-type")]
                self.assertEqual((closed.status_code, told), (503, ["1", "application/problem+json"]))
                self.assertEqual(closed.json()["code"], "home_unavailable")
                with served(application(**options, when_unreachable="allow")) as url:
                    opened = call(url, "pk_live_any")
                self.assertEqual((opened.status_code, opened.text), (200, "served"))
                self.assertEqual(len(reasons), 2)


class Websocket(unittest.IsolatedAsyncioTestCase):
    async def test_a_websocket_that_is_denied_is_not_opened_and_one_that_is_allowed_is_told_what_is_left(self) -> None:
        key = project("fastapi-socket", rpm=1000, included=1)

        async def opens(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})

        middleware = MeterMiddleware(opens, **REAL)
        told: list[Message] = []

        async def send(message: Message) -> None:
            told.append(message)

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        headers = [(b"authorization", f"Bearer {key}".encode())]
        scope: Scope = {"type": "websocket", "path": "/v1/verify", "headers": headers}
        for _ in range(2):
            await middleware(scope, receive, send)
        await middleware.gate.close()
        opened, denied = told
        self.assertEqual(opened["type"], "websocket.accept")
        self.assertIn(b"ratelimit", dict(opened["headers"]))
        self.assertEqual(denied, {"type": "websocket.close", "code": 1008})


if __name__ == "__main__":
    unittest.main()
