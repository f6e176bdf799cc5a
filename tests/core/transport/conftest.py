"""Fixtures of the transport: a style, transports in it, and connections of their own for each test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from modelstudio_core.http import shared_pools
from modelstudio_core.http.transport import Transport
from tests.core.transport.wire import Wire


@pytest.fixture(autouse=True)
def own_connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins without connections and without proxies, and ends with all its sockets closed."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(shared_pools, "_pool", None)
    yield
    if shared_pools._pool is not None:
        shared_pools._pool.close_all()


@pytest.fixture(params=["sync", "async"])
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(style: str, connections: str) -> Iterator[Callable[..., Wire]]:
    """Makes transports that are all driven in one event loop, or in none."""
    loop = asyncio.new_event_loop() if style == "async" else None
    yield lambda **options: Wire(style, Transport(**{"timeout": 5, **options}), loop)
    if loop is not None:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@pytest.fixture
def wire(make: Callable[..., Wire]) -> Wire:
    return make()
