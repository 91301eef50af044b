"""What the tests share: a project with its key, made with the client, and servers on free ports."""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import uvicorn
from palveron_meter import aggregator, edge, taken
from palveron_meter.aggregator_api.api.keys import create_key
from palveron_meter.aggregator_api.api.projects import create_project
from palveron_meter.aggregator_api.api.usage import report_usage
from palveron_meter.aggregator_api.models import CreateKeyBody, CreateProjectBody, Plan, Usage
from palveron_meter.asgi import App
from palveron_meter.edge_api.api.edge import show_quota

T = TypeVar("T")

METER_URL, EDGE_URL, TOKEN = (os.environ[name] for name in ("METER_URL", "METER_EDGE", "METER_TOKEN"))
DEADLINE_SECONDS = 30.0

operator = aggregator(METER_URL, TOKEN)


def eventually(what: str, probe: Callable[[], T | None]) -> T:
    """Asks until there is an answer."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {DEADLINE_SECONDS} s")
        time.sleep(0.05)


def project(name: str, rpm: int | None = None, included: int | None = None) -> str:
    """A new project; a key that the edge knows."""
    new = CreateProjectBody(id=name, plan=Plan.COMMUNITY, rpm=rpm, included=included)
    taken(create_project.sync_detailed(client=operator, body=new))
    key = taken(create_key.sync_detailed(name, client=operator, body=CreateKeyBody())).key
    client = edge(EDGE_URL, key)
    eventually("the edge knows the key", lambda: show_quota.sync_detailed(client=client).status_code == 200)
    return key


def reported(name: str, wanted: int) -> Usage:
    """Waits until that much is reported, and fails if it is more."""
    today = datetime.datetime.now(datetime.timezone.utc).date()

    def report() -> Usage | None:
        usage = taken(report_usage.sync_detailed(client=operator, project=name, from_=today, to=today))
        assert isinstance(usage, Usage)
        assert usage.total <= wanted, f"{name}: {usage.total} units are reported, not {wanted}"
        return usage if usage.total == wanted else None

    return eventually(f"{wanted} units of {name}", report)


@contextlib.contextmanager
def served(app: App) -> Iterator[str]:
    """Serves an application; its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        eventually("the server", lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
