"""Asks the edge whether a request may be served.

It never asks twice for one request: the first question may have been counted, although its answer was lost.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from .problem import Problem, read_problem

Kind = Literal["verify", "mcp_tool_call", "extension_event"]
Headers = list[tuple[str, str]]

TIMEOUT_SECONDS = 2.0
PAGES = "https://docs.palveron.com/errors/"
PASSED_ON = ["RateLimit-Policy", "RateLimit", "Palveron-Source", "Retry-After", "WWW-Authenticate"]
WAIT = "Wait for the seconds in Retry-After, then send the request again."

# How the edge itself answers these where it forwards a request.
DENIALS = {
    "quota_exhausted": (402, "The monthly quota is used up", "The quota begins anew at resets_at."),
    "project_suspended": (403, "The project is suspended", "Its owner can see why under Billing."),
    "agent_limit": (
        403,
        "The plan's agents are all in use",
        "Send the id of one of them in Palveron-Agent, or upgrade.",
    ),
    "rate_limited": (429, "Too many requests in this minute", WAIT),
    "quota_contended": (429, "The rest of the quota is in use elsewhere", WAIT),
}
OF_THE_MONTH = {"quota_exhausted", "agent_limit"}


@dataclass(frozen=True)
class Question:
    """What is asked."""

    #: The project key of whoever calls; None is answered 401, as the edge does.
    key: str | None
    kind: Kind = "verify"
    #: `unknown`, as the edge says, where it is left out.
    agent: str | None = None
    cost: int = 1


@dataclass(frozen=True)
class Decision:
    """What came of a question. The headers belong on the answer to the client in either case."""

    allowed: bool
    headers: Headers = field(default_factory=list)
    #: The refusal, unless it is allowed.
    problem: Problem | None = None
    #: What the edge said, if it was reached.
    check: dict[str, Any] | None = None


class Gate:
    """Asks the edge at that address.

    While the edge cannot be asked, `when_unreachable="deny"` answers 503, so that nothing is served that is not
    counted; `"allow"` serves it, uncounted and unbilled.
    """

    def __init__(
        self,
        edge: str,
        when_unreachable: Literal["deny", "allow"] = "deny",
        timeout_seconds: float = TIMEOUT_SECONDS,
        on_unreachable: Callable[[Exception], None] | None = None,
    ) -> None:
        if when_unreachable not in ("deny", "allow"):
            raise ValueError(f"when_unreachable: got {when_unreachable!r}, accepted is 'deny' or 'allow'")
        self.when_unreachable, self.on_unreachable = when_unreachable, on_unreachable
        self.client = httpx.AsyncClient(base_url=edge, timeout=timeout_seconds)

    async def ask(self, question: Question) -> Decision:
        """Decides one request; never raises for what the edge or the network does."""
        body: dict[str, object] = {"kind": question.kind, "cost": question.cost}
        if question.agent is not None:
            body["agent"] = question.agent
        headers = {} if question.key is None else {"Authorization": f"Bearer {question.key}"}
        try:
            return read(await self.client.post("/v1/check", json=body, headers=headers))
        except (httpx.HTTPError, ValueError) as reason:
            if self.on_unreachable:
                self.on_unreachable(reason)
            return Decision(allowed=True) if self.when_unreachable == "allow" else unreachable()

    async def close(self) -> None:
        await self.client.aclose()


def read(answer: httpx.Response) -> Decision:
    headers = [(name, answer.headers[name]) for name in PASSED_ON if answer.headers.get(name)]
    # The edge itself is not well, or it is not the edge that answers.
    if answer.status_code >= 500:
        raise ValueError(f"the edge answered {answer.status_code}")
    if answer.status_code != 200:
        problem = read_problem(answer.content)
        if problem is None:
            raise ValueError(f"the edge answered {answer.status_code} without a problem")
        return Decision(allowed=False, headers=headers, problem=problem)
    check = json.loads(answer.content)
    if not isinstance(check, dict) or not isinstance(check.get("allowed"), bool):
        raise ValueError("what answered is not the edge")
    if check["allowed"]:
        if check.get("would_deny"):
            headers.append(("Palveron-Would-Deny", check["would_deny"]))
        return Decision(allowed=True, headers=headers, check=check)
    if check["retry_after_ms"] is not None:
        headers.append(("Retry-After", str(max(1, -(-check["retry_after_ms"] // 1000)))))
    return Decision(allowed=False, headers=headers, problem=denied(check), check=check)


def denied(check: dict[str, Any]) -> Problem:
    code = check["code"]
    # A code of a later release is a denial all the same.
    unknown = (403, "The request is denied", "The edge denied it.")
    status, title, detail = DENIALS.get(code, unknown)
    problem: Problem = {"type": PAGES + code, "title": title, "status": status, "code": code, "detail": detail}
    if code in OF_THE_MONTH:
        problem["resets_at"] = check["resets_at"]
    return problem


def unreachable() -> Decision:
    code = "home_unavailable"
    problem: Problem = {
        "type": PAGES + code,
        "title": "The limits cannot be checked at present",
        "status": 503,
        "code": code,
        "detail": "The limits cannot be checked at present. Send the request again in a moment.",
    }
    return Decision(allowed=False, headers=[("Retry-After", "1")], problem=problem)
