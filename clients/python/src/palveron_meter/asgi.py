"""Middleware for FastAPI, Starlette and every other ASGI framework: asks the edge, then serves or refuses."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Literal

from .gate import TIMEOUT_SECONDS, Decision, Gate, Headers, Kind, Question
from .problem import PROBLEM_TYPE

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# What servers close a websocket with that may not be opened: the client gets 403.
POLICY_VIOLATION = 1008


def header(scope: Scope, name: str) -> str | None:
    """A request's header, if it is there."""
    wanted = name.lower().encode()
    return next((value.decode("latin-1") for found, value in scope["headers"] if found == wanted), None)


def bearer(scope: Scope) -> str | None:
    """The key of `Authorization: Bearer …`."""
    scheme, _, key = (header(scope, "authorization") or "").partition(" ")
    key = key.strip()
    return key if scheme.lower() == "bearer" and key and " " not in key else None


def agent(scope: Scope) -> str | None:
    """The agent of `Palveron-Agent`."""
    return header(scope, "palveron-agent")


class MeterMiddleware:
    """`app.add_middleware(MeterMiddleware, edge="https://edge.example.com", paths=["/v1/verify"])`"""

    def __init__(
        self,
        app: App,
        edge: str,
        paths: Iterable[str] = ("/",),
        kind: Kind | Callable[[Scope], Kind] = "verify",
        cost: int | Callable[[Scope], int] = 1,
        key: Callable[[Scope], str | None] = bearer,
        agent: Callable[[Scope], str | None] = agent,
        when_unreachable: Literal["deny", "allow"] = "deny",
        timeout_seconds: float = TIMEOUT_SECONDS,
        on_unreachable: Callable[[Exception], None] | None = None,
    ) -> None:
        self.app, self.kind, self.cost, self.key, self.agent = app, kind, cost, key, agent
        # Whatever is at or below one of these is counted.
        self.paths = [path.rstrip("/") for path in paths]
        self.gate = Gate(edge, when_unreachable, timeout_seconds, on_unreachable)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            try:
                await self.app(scope, receive, send)
            finally:
                await self.gate.close()
            return
        if not self.counts(scope["path"]):
            await self.app(scope, receive, send)
            return
        kind, cost = self.kind, self.cost
        question = Question(
            key=self.key(scope),
            agent=self.agent(scope),
            kind=kind(scope) if callable(kind) else kind,
            cost=cost(scope) if callable(cost) else cost,
        )
        decision = await self.gate.ask(question)
        if decision.allowed:
            await self.app(scope, receive, telling(decision.headers, send))
        else:
            await refuse(scope, decision, send)

    def counts(self, path: str) -> bool:
        return any(path == prefix or path.startswith(f"{prefix}/") for prefix in self.paths)


def encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def telling(headers: Headers, send: Send) -> Send:
    async def told(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            message["headers"] = [*message.get("headers", ()), *encoded(headers)]
        await send(message)

    return told


async def refuse(scope: Scope, decision: Decision, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        return
    assert decision.problem is not None
    body = json.dumps(decision.problem).encode()
    headers = [*decision.headers, ("Content-Type", PROBLEM_TYPE), ("Content-Length", str(len(body)))]
    await send(
        {"type": "http.response.start", "status": decision.problem["status"], "headers": encoded(headers)}
    )
    await send({"type": "http.response.body", "body": body})
