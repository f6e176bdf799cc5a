"""The caller's own clients, cassettes, and the twins."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
import vcr  # type: ignore[import-untyped]  # ships no types

from modelstudio_core.errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
)
from modelstudio_core.http import pool
from modelstudio_core.http.connection import AsyncConnection, Connection
from modelstudio_core.http.response import AsyncResponse, Response
from modelstudio_core.http.transport import Transport
from tests.core.transport.wire import EVENTS, OPTION, Wire, silent
from tests.loopback import Loopback, reply

# ---------------------------------------------------------------- clients of the caller


def test_injected_client_is_used_unchanged_and_not_closed(style: str, make: Callable[..., Wire]) -> None:
    kind = httpx.Client if style == "sync" else httpx.AsyncClient
    client: Any = kind(headers={"x-mine": "1"}, follow_redirects=True, timeout=5)
    wire = make(timeout=0.3, **{OPTION[style]: client})
    with Loopback([EVENTS, EVENTS, reply(302, b"", {"Location": "/"}), silent]) as server:
        for _ in range(2):
            answer = wire.open(server.url)
            answer.until_done()
            answer.finish()
        assert server.connections == 1
        wire.close()
        assert not client.is_closed
        assert wire.open(server.url).head.status == 302
        with pytest.raises(APITimeoutError, match=r"0\.3 s"):
            wire.open(server.url)
        assert [request.headers["x-mine"] for request in server.requests] == ["1"] * 4
        assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}
        assert "authorization" not in client.headers
    wire.run(lambda: client.close(), lambda: client.aclose())


def test_response_of_injected_mock_transport(style: str, make: Callable[..., Wire]) -> None:
    mock = httpx.MockTransport(lambda request: httpx.Response(200, content=b"data: [DONE]\n\n"))
    client: Any = httpx.Client(transport=mock) if style == "sync" else httpx.AsyncClient(transport=mock)
    wire = make(**{OPTION[style]: client})
    answer = wire.open("https://example.com/")
    assert answer.next() == b"data: [DONE]\n\n"
    answer.finish()
    assert wire.open("https://example.com/").read() == b"data: [DONE]\n\n"
    wire.run(lambda: client.close(), lambda: client.aclose())


def test_closed_injected_client_is_configuration_error(style: str, make: Callable[..., Wire]) -> None:
    client = httpx.Client() if style == "sync" else httpx.AsyncClient()
    wire = make(**{OPTION[style]: client})
    wire.run(getattr(client, "close", lambda: None), getattr(client, "aclose", lambda: None))
    with pytest.raises(ConfigurationError, match=f"{OPTION[style]}= is closed"):
        wire.open("http://127.0.0.1:1/")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of the socket that the loop left open
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_injected_client_of_another_event_loop_is_configuration_error() -> None:
    async def ask(transport: Transport, url: str) -> bytes:
        return b"".join([chunk async for chunk in await transport.aopen(url, {}, b"{}")])

    with Loopback(reply(200, b"{}")) as server:
        transport = Transport(http_async_client=httpx.AsyncClient())
        assert asyncio.run(ask(transport, server.url)) == b"{}"
        with pytest.raises(ConfigurationError, match="http_async_client= is closed, or belongs to another"):
            asyncio.run(ask(transport, server.url))
        del transport
        gc.collect()


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_error_names_too_many_open_files(wire: Wire) -> None:
    """Each connection needs a file descriptor. Without the name, the error would look like a network failure."""
    import resource

    with Loopback(reply(200, b"{}")) as server:
        assert wire.open(server.url).read() == b"{}"
        wire.close()
        assert server.wait_until(lambda it: it.open_connections == 0)  # else its end frees a number below
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        numbers = map(int, os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else [255]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(numbers) + 1, limits[0]), limits[1]))
        taken: list[int] = []
        with contextlib.suppress(OSError):  # until none is left
            while len(taken) < 10_000:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        try:
            with pytest.raises(APIConnectionError, match="too many open files or sockets"):
                wire.open(server.url)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for number in taken:
                os.close(number)


def test_clients_of_wrong_type_are_rejected() -> None:
    with httpx.Client() as client, pytest.raises(ConfigurationError, match="http_async_client"):
        Transport(http_async_client=client)  # type: ignore[arg-type]
    for wrong in (httpx.AsyncClient(), "a client"):
        with pytest.raises(ConfigurationError, match="http_async_client"):
            Transport(http_client=wrong)  # type: ignore[arg-type]


# ---------------------------------------------------------------- cassettes

CASSETTE = """\
interactions:
- request: {body: "{}", headers: {}, method: POST, uri: "https://service.invalid/v1"}
  response:
    body:
      string: "data: 1\\n\\ndata: [DONE]\\n\\n"
    headers: {content-type: [text/event-stream]}
    status: {code: 200, message: OK}
version: 1
"""


def test_vcr_replays_cassette(wire: Wire, tmp_path: Path) -> None:
    path = tmp_path / "cassette.yaml"
    path.write_text(CASSETTE)
    with vcr.VCR(record_mode=vcr.mode.NONE).use_cassette(str(path)) as tape:
        answer = wire.open("https://service.invalid/v1")
        assert answer.next() == b"data: 1\n\ndata: [DONE]\n\n"
        answer.finish()
        assert tape.all_played


def test_vcr_records_response(wire: Wire, tmp_path: Path) -> None:
    recorder = vcr.VCR(record_mode=vcr.mode.ONCE)
    path = str(tmp_path / "cassette.yaml")
    with Loopback(EVENTS) as server:
        with recorder.use_cassette(path):
            first = wire.open(server.url).read()
        with recorder.use_cassette(path) as tape:
            assert wire.open(server.url).read() == first
            assert tape.all_played
    assert len(server.requests) == 1
    assert first.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("idle", [False, True], ids=["first request", "idle connection"])
def test_requests_use_patched_httpcore(idle: bool, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """respx replaces `handle_request` of httpcore's pools, by default, with a function of its own."""
    mocked: list[str] = []

    def mock(self: Any, request: httpcore.Request) -> httpcore.Response:
        mocked.append(request.url.host.decode())
        return httpcore.Response(200, content=b"mocked")

    async def amock(self: Any, request: httpcore.Request) -> httpcore.Response:
        return mock(self, request)

    with Loopback(EVENTS) as server:
        if idle:
            wire.open(server.url).read()
        with monkeypatch.context() as patched:
            patched.setattr(httpcore.ConnectionPool, "handle_request", mock)
            patched.setattr(httpcore.AsyncConnectionPool, "handle_async_request", amock)
            assert wire.open(server.url).read() == b"mocked"
        assert mocked == ["127.0.0.1"]
        assert len(server.requests) == idle
        assert b"[DONE]" in wire.open(server.url).read()


# ---------------------------------------------------------------- twins


def test_sync_and_async_methods_are_in_same_order() -> None:
    def shape(kind: type, renamed: Callable[[str], str]) -> list[tuple[str, list[str]]]:
        return [
            (renamed(name), list(inspect.signature(member).parameters))
            for name, member in vars(kind).items()
            if inspect.isfunction(member)
        ]

    def to_async(name: str) -> str:
        special = {"__iter__": "__aiter__", "__next__": "__anext__", "handle_request": "handle_async_request"}
        return special.get(name, name if name.startswith("_") else f"a{name}")

    assert shape(Response, to_async) == shape(AsyncResponse, str)
    both = dict(shape(Transport, str))
    for name in ("open", "sleep", "close"):
        assert both[name] == both[f"a{name}"]
    sync_pool = dict(shape(pool.ConnectionPool, str))
    async_pool = dict(shape(pool.AsyncConnectionPool, str))
    for name, twin in (
        ("handle_request", "handle_async_request"), ("release", "release"), ("close", "aclose"),
        ("close_all", "aclose_all"),
        ("discard", "discard"),
    ):  # fmt: skip
        assert sync_pool[name] == async_pool[twin]
    sync_connection, async_connection = (dict(shape(kind, str)) for kind in (Connection, AsyncConnection))
    for name, twin in (("handle_request", "handle_async_request"), ("_send", "_send"), ("close", "aclose")):
        assert sync_connection.pop(name) == async_connection.pop(twin)
    assert sync_connection == async_connection


def test_loopback_server_leaks_no_sockets_or_threads() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = threading.active_count()
        begun = time.monotonic()
        with Loopback(silent) as server, socket.create_connection(("127.0.0.1", server.port)):
            pass
        assert time.monotonic() - begun < 1.2
        assert threading.active_count() <= before
