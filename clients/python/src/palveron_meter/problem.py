"""Refusals as the meter writes them: problem details (RFC 9457) with a stable code."""

from __future__ import annotations

import datetime
import email.utils
import json
from collections.abc import Mapping
from typing import Any, TypedDict

PROBLEM_TYPE = "application/problem+json"


class Known(TypedDict):
    type: str
    title: str
    status: int
    code: str
    detail: str


class Problem(Known, total=False):
    """The body of a refusal. Branch on its `code`; each has a page at `type`."""

    field: str
    resets_at: str
    upgrade_url: str


class MeterError(Exception):
    """A call that was refused."""

    def __init__(self, problem: Problem, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{problem['code']}: {problem['detail']}")
        self.problem = problem
        #: After how many seconds the same call may be sent again; None where waiting does not help.
        self.retry_after_seconds = retry_after_seconds

    @property
    def code(self) -> str:
        return self.problem["code"]

    @property
    def status(self) -> int:
        return self.problem["status"]


def read_problem(body: bytes) -> Problem | None:
    """The problem of a body, unless it is something else, such as the page of a proxy in between."""
    try:
        found: Any = json.loads(body)
    except ValueError:
        return None
    wanted = {"code": str, "status": int, "detail": str}
    is_problem = isinstance(found, dict) and all(isinstance(found.get(name), kind) for name, kind in wanted.items())
    return found if is_problem else None


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The seconds of `Retry-After`, which is a number or a date."""
    text = headers.get("retry-after")
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at - datetime.datetime.now(datetime.timezone.utc)).total_seconds())
