"""Sending again, and only what may be sent again.

429 and 503 say that nothing was done, so that any call may come again after `Retry-After`. No answer at all says
nothing: only calls that change nothing when they come twice are repeated then.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx

from .problem import retry_after_seconds

SAFE = {"GET", "HEAD", "OPTIONS"}
NOTHING_DONE = {429, 503}
KEY = "Idempotency-Key"
# Where the answer names no time; doubled with each attempt.
PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class Retries:
    """How often, and how long."""

    #: How often a call is sent at most; 1 never repeats.
    attempts_max: int = 4
    #: A longer wait is left to the caller: a quota that begins anew next month is not waited for.
    wait_seconds_max: float = 10.0
    #: For tests.
    wait: Callable[[float], None] = time.sleep
    #: For tests.
    wait_async: Callable[[float], Awaitable[None]] = asyncio.sleep
    #: Whether calls that change something get a name, so that they do so once however often they have to be sent.
    names_calls: bool = False

    def prepare(self, request: httpx.Request) -> None:
        if self.names_calls and request.method not in SAFE and KEY not in request.headers:
            request.headers[KEY] = str(uuid.uuid4())

    def after_answer(self, attempt: int, answer: httpx.Response) -> float | None:
        """For how many seconds to wait before the next attempt; None: this is the answer."""
        if attempt >= self.attempts_max or answer.status_code not in NOTHING_DONE:
            return None
        seconds = (retry_after_seconds(answer.headers) or 0.0) + backoff(attempt)
        return seconds if seconds <= self.wait_seconds_max else None

    def after_failure(self, attempt: int, request: httpx.Request) -> float | None:
        """The same where there was no answer; None: this is the failure."""
        comes_twice = request.method in SAFE or KEY in request.headers
        return backoff(attempt) if comes_twice and attempt < self.attempts_max else None


def backoff(attempt: int) -> float:
    # A share that others do not send at the same moment.
    return PAUSE_SECONDS * float(2 ** (attempt - 1)) * random.uniform(0.5, 1.0)


class Retrying(httpx.BaseTransport):
    """A transport that repeats what may be repeated."""

    def __init__(self, inner: httpx.BaseTransport, retries: Retries) -> None:
        self.inner, self.retries = inner, retries

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.retries.prepare(request)
        request.read()
        attempt = 1
        while True:
            try:
                answer = self.inner.handle_request(request)
            except httpx.TransportError:
                seconds = self.retries.after_failure(attempt, request)
                if seconds is None:
                    raise
            else:
                seconds = self.retries.after_answer(attempt, answer)
                if seconds is None:
                    return answer
                answer.close()
            self.retries.wait(seconds)
            attempt += 1

    def close(self) -> None:
        self.inner.close()


class AsyncRetrying(httpx.AsyncBaseTransport):
    """The same for calls that are awaited."""

    def __init__(self, inner: httpx.AsyncBaseTransport, retries: Retries) -> None:
        self.inner, self.retries = inner, retries

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.retries.prepare(request)
        await request.aread()
        attempt = 1
        while True:
            try:
                answer = await self.inner.handle_async_request(request)
            except httpx.TransportError:
                seconds = self.retries.after_failure(attempt, request)
                if seconds is None:
                    raise
            else:
                seconds = self.retries.after_answer(attempt, answer)
                if seconds is None:
                    return answer
                await answer.aclose()
            await self.retries.wait_async(seconds)
            attempt += 1

    async def aclose(self) -> None:
        await self.inner.aclose()
