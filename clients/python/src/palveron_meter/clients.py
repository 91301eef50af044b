"""Clients of both servers. Every path, field and answer is typed from the servers' own descriptions.

The calls themselves are below `palveron_meter.aggregator_api.api` and `palveron_meter.edge_api.api`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

import httpx

from .aggregator_api import AuthenticatedClient as Aggregator
from .aggregator_api.models import Problem as AggregatorProblem
from .edge_api import AuthenticatedClient as Edge
from .edge_api.models import Problem as EdgeProblem
from .problem import MeterError, Problem, read_problem, retry_after_seconds
from .retry import AsyncRetrying, Retries, Retrying

TIMEOUT_SECONDS = 30.0

T_co = TypeVar("T_co", covariant=True)


class Answer(Protocol[T_co]):
    """What `sync_detailed` and `asyncio_detailed` return."""

    @property
    def status_code(self) -> HTTPStatus: ...
    @property
    def content(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def parsed(self) -> AggregatorProblem | EdgeProblem | T_co | None: ...


def aggregator(url: str, token: str, retries: Retries = Retries()) -> Aggregator:
    """A client of the aggregator: projects, keys, usage, billing, webhooks."""
    client = Aggregator(base_url=url, token=token)
    return client.set_httpx_client(sync(url, token, replace(retries, names_calls=True))).set_async_httpx_client(
        awaited(url, token, replace(retries, names_calls=True))
    )


def edge(url: str, key: str, retries: Retries = Retries()) -> Edge:
    """A client of the edge: decisions, quota, observations."""
    client = Edge(base_url=url, token=key)
    return client.set_httpx_client(sync(url, key, retries)).set_async_httpx_client(awaited(url, key, retries))


def taken(answer: Answer[T_co]) -> T_co:
    """What a call was answered; a refusal is raised as a `MeterError`."""
    status, parsed = int(answer.status_code), answer.parsed
    if 200 <= status < 300 and parsed is not None and not isinstance(parsed, (AggregatorProblem, EdgeProblem)):
        return parsed
    unknown: Problem = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": "unknown",
        "detail": f"answered with status {status}",
    }
    raise MeterError(read_problem(answer.content) or unknown, retry_after_seconds(answer.headers))


def settings(url: str, token: str) -> dict[str, Any]:
    return {"base_url": url, "headers": {"Authorization": f"Bearer {token}"}, "timeout": TIMEOUT_SECONDS}


def sync(url: str, token: str, retries: Retries) -> httpx.Client:
    return httpx.Client(transport=Retrying(httpx.HTTPTransport(), retries), **settings(url, token))


def awaited(url: str, token: str, retries: Retries) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=AsyncRetrying(httpx.AsyncHTTPTransport(), retries), **settings(url, token))
