"""Connections are kept, reused, and replaced."""

from __future__ import annotations

import itertools
import os
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelstudio_core.errors import (
    APIConnectionError,
    APITimeoutError,
)
from modelstudio_core.http import environment, pool
from modelstudio_core.http import response as response_module
from modelstudio_core.http.timeouts import Timeouts
from tests.core.transport.wire import BEHIND, EVENTS, OPTION, Wire, ends_later, head_then, raw, silent
from tests.ids import short
from tests.loopback import Exchange, Loopback, Script, reply, reply_json


def one_write(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
    exchange._ended = True


@pytest.mark.parametrize(
    "script", [EVENTS, one_write, ends_later, reply(200, b"data: [DONE]\n\n")],
    ids=["end at once", "one write", "end 5 ms later", "content-length"],
)  # fmt: skip
@pytest.mark.usefixtures("patient_drain")
def test_50_streams_finished_at_done_share_one_connection(wire: Wire, script: Script) -> None:
    with Loopback(script) as server:
        for _ in range(50):
            answer = wire.open(server.url)
            answer.until_done()
            answer.finish()
        assert len(server.requests) == 50
        assert server.connections == 1


def test_finish_does_not_wait_if_end_of_body_was_received(wire: Wire) -> None:
    with Loopback(one_write) as server:
        begun = time.monotonic()
        for _ in range(50):
            answer = wire.open(server.url)
            answer.until_done()
            answer.finish()
        assert time.monotonic() - begun < 1  # 50 waits would take 5 s


def test_body_held_open_after_done_is_closed_soon(wire: Wire) -> None:
    gone: list[bool] = []

    def held(exchange: Exchange) -> None:
        exchange.send_head()
        exchange.send_chunk(b"data: [DONE]\n\n")
        gone.append(exchange.client_gone(5))
        exchange.close()

    with Loopback(held) as server:
        answer = wire.open(server.url)
        answer.until_done()
        begun = time.monotonic()
        answer.finish()
        assert 0.05 < time.monotonic() - begun < 0.5
        assert server.wait_until(lambda _: gone == [True])


def test_long_body_after_done_is_closed_at_size_limit(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelstudio_core.http.response.DRAIN_SECONDS", 60)
    gone = threading.Event()

    def flood(exchange: Exchange) -> None:
        exchange.send_head()
        exchange.send_chunk(b"data: [DONE]\n\n")
        try:
            for _ in range(100_000):
                exchange.send_chunk(b"x" * 10_000)
        finally:
            gone.set()

    with Loopback(flood) as server:
        answer = wire.open(server.url)
        answer.until_done()
        begun = time.monotonic()
        answer.finish()
        assert time.monotonic() - begun < 1
        assert gone.wait(1)


def test_heartbeats_after_finish_reason_do_not_extend_deadline(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """The body is held open. What arrives before the deadline is returned."""
    monkeypatch.setattr(response_module, "TRAILING_SECONDS", 0.2)
    gone = threading.Event()

    def dripping(exchange: Exchange) -> None:
        exchange.send_head()
        exchange.send_chunk(b"data: the finish\n\n")
        try:
            while not exchange.client_gone(0.02):
                exchange.send_chunk(b": heartbeat\n\n")
        finally:
            gone.set()

    with Loopback(dripping) as server:
        answer = wire.open(server.url)
        assert answer.next() == b"data: the finish\n\n"
        pieces = list(itertools.islice(iter(answer.read_trailing, None), 200))
        assert 0 < len(pieces) < 200
        assert set(b"".join(pieces).split(b"\n\n")) == {b": heartbeat", b""}
        assert gone.wait(1)


def test_content_after_finish_reason_extends_deadline(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some servers send the finish reason too early. Reading ends when no content has arrived for a while."""
    monkeypatch.setattr(response_module, "TRAILING_SECONDS", 1.0)

    def talking(exchange: Exchange) -> None:
        exchange.send_head()
        for number in range(12):
            exchange.send_chunk(b"%d" % number)
            exchange.wait(0.1)
        exchange.client_gone(5)
        exchange.close()

    with Loopback(talking) as server:
        answer = wire.open(server.url)
        pieces = list(iter(lambda: answer.read_trailing(extend=True), None))
        assert b"".join(pieces) == b"".join(b"%d" % number for number in range(12))


def test_body_is_read_to_end_after_finish_reason(wire: Wire) -> None:
    """So that the connection can be reused. A lost connection is still an error."""

    def cut(exchange: Exchange) -> None:
        exchange.send_head()
        exchange.send_chunk(b"data: the finish\n\n")
        exchange.wait(0.03)
        exchange.reset()

    with Loopback([EVENTS, EVENTS, cut]) as server:
        for _ in range(2):
            assert list(iter(wire.open(server.url).read_trailing, None))
        assert server.connections == 1
        answer = wire.open(server.url)
        answer.next()
        with pytest.raises(APIConnectionError):
            answer.read_trailing()


def test_slow_body_after_done_is_closed_at_deadline(wire: Wire) -> None:
    def dripping(exchange: Exchange) -> None:
        exchange.send_head()
        exchange.send_chunk(b"data: [DONE]\n\n")
        for _ in range(100):
            exchange.wait(0.03)
            exchange.send_chunk(b"\n")

    with Loopback(dripping) as server:
        answer = wire.open(server.url)
        answer.until_done()
        begun = time.monotonic()
        answer.finish()
        assert time.monotonic() - begun < 0.5


def test_idle_connection_closed_by_server_is_replaced(wire: Wire) -> None:
    def closing(exchange: Exchange) -> None:
        reply_json(200, {})(exchange)
        exchange.close()

    with Loopback(closing) as server:
        for number in range(5):
            assert wire.open(server.url).read() == b"{}"
            assert server.wait_until(lambda _: server.open_connections == 0)
            assert server.connections == number + 1


def test_reused_connection_lost_during_request_is_retryable(wire: Wire) -> None:
    with Loopback([reply_json(200, {}), Exchange.close, reply_json(200, {})]) as server:
        wire.open(server.url).read()
        with pytest.raises(APIConnectionError) as caught:
            wire.open(server.url)
        assert caught.value.is_retryable
        assert wire.open(server.url).read() == b"{}"


@pytest.mark.parametrize("leave", [Exchange.reset, Exchange.close], ids=["reset", "close"])
def test_retry_after_lost_idle_connection_opens_new_connection(make: Callable[..., Wire], leave: Script) -> None:
    """A server that goes down resets or closes each idle connection at its next request."""

    def dies(exchange: Exchange) -> None:
        if server.connections < 6:
            leave(exchange)
        else:
            reply(200, b"new")(exchange)

    with Loopback([*[reply(200, b"{}")] * 5, dies]) as server:
        answers = [make().open(server.url) for _ in range(5)]
        for answer in answers:
            answer.read()
        assert server.open_connections == 5
        with pytest.raises(APIConnectionError):
            make().open(server.url)
        assert make().open(server.url).read() == b"new"
        assert len(server.requests) == 7


@pytest.mark.parametrize("leave", [Exchange.reset, Exchange.close], ids=["reset", "close"])
def test_lost_idle_connection_keeps_those_of_other_servers(make: Callable[..., Wire], leave: Script) -> None:
    with Loopback([reply(200, b"{}"), leave]) as dead, Loopback(reply(200, b"{}")) as alive:
        for server in (alive, dead):
            assert make().open(server.url).read() == b"{}"
        with pytest.raises(APIConnectionError):
            make().open(dead.url)
        assert make().open(alive.url).read() == b"{}"
        assert alive.connections == 1


def test_timeout_on_idle_connection_keeps_the_others(make: Callable[..., Wire]) -> None:
    """A slow server has not gone, so the other idle connections are used."""
    with Loopback([*[reply(200, b"{}")] * 3, silent, reply(200, b"{}")]) as server:
        for answer in [make().open(server.url) for _ in range(3)]:
            answer.read()
        with pytest.raises(APITimeoutError):
            make(timeout=0.2).open(server.url)
        for answer in [make().open(server.url) for _ in range(2)]:
            assert answer.read() == b"{}"
        assert server.connections == 3


@pytest.mark.parametrize("length", [200, 64 * 1024, 3 * 64 * 1024])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("injected", [False, True], ids=["own", "injected"])
def test_extra_bytes_are_not_read_as_next_response(
    make: Callable[..., Wire],
    style: str,
    injected: bool,
    length: int,
    tls: bool,
    certificate: tuple[Path, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In whatever buffer they are: of h11, of TLS, or of anyio, which reads more than requested.

    httpcore reads 64 KiB at once, so a body of that length ends exactly with a read.
    """
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    environment._ssl_context.cache_clear()

    def script(exchange: Exchange) -> None:
        if server.connections == 1:
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
            exchange.wait(0.05)
            exchange.send_together(*[b"x" * 100] * (length // 100), b"x" * (length % 100), BEHIND)
            exchange._ended = True
        else:
            reply(200, b"right")(exchange)

    with Loopback(script, tls=certificate[1] if tls else None) as server:
        client = httpx.Client() if style == "sync" else httpx.AsyncClient()
        wire = make(**({OPTION[style]: client} if injected else {}))
        assert wire.open(server.url).read() == b"x" * length
        assert wire.open(server.url).read() == b"right"
        assert server.connections == 2
        wire.run(getattr(client, "close", lambda: None), getattr(client, "aclose", lambda: None))
    environment._ssl_context.cache_clear()


@pytest.mark.parametrize(
    "garbage", [b"\x17\x03\x03\x00\x20" + b"\0" * 32, b"HTTP/1.1 200 OK\r\n\r\n"], ids=["record", "plain"]
)
@pytest.mark.parametrize("begun", [False, True], ids=["before the head", "in the body"])
def test_invalid_tls_data_is_connection_error(
    wire: Wire, garbage: bytes, begun: bool, certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    environment._ssl_context.cache_clear()

    def script(exchange: Exchange) -> None:
        if begun:
            exchange.send_head()
            exchange.send_chunk(b"data: 1\n\n")
            exchange.wait(0.05)
        os.write(exchange._connection.fileno(), garbage)
        exchange.client_gone(5)
        exchange.close()

    with Loopback(script, tls=certificate[1]) as server:
        with pytest.raises(APIConnectionError) as caught:
            wire.open(server.url).rest()
        assert caught.value.is_resent is not begun
    environment._ssl_context.cache_clear()


TORN = [b"H", b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r", b"\r\n", b"\0\xff"]


@pytest.mark.parametrize("behind", TORN, ids=short)
@pytest.mark.parametrize("injected", [False, True], ids=["own", "injected"])
@pytest.mark.parametrize("framing", ["length", "chunked", "no content"])
def test_partial_extra_response_closes_connection(
    make: Callable[..., Wire], style: str, injected: bool, framing: str, behind: bytes
) -> None:
    """However short it is."""
    framed = {
        "length": b"200 OK\r\nContent-Length: 5\r\n\r\nright",
        "chunked": b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nright\r\n0\r\n\r\n",
        "no content": b"204 No Content\r\n\r\n",
    }

    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 " + framed[framing] + (b"" if exchange.number else behind))
        exchange._ended = True

    with Loopback(script) as server:
        client = httpx.Client() if style == "sync" else httpx.AsyncClient()
        wire = make(**({OPTION[style]: client} if injected else {}))
        for _ in range(3):
            assert wire.open(server.url).read() == (b"" if framing == "no content" else b"right")
        assert server.connections == 2
        wire.run(getattr(client, "close", lambda: None), getattr(client, "aclose", lambda: None))


def test_connection_opened_by_callers_request_is_used_once(style: str, make: Callable[..., Wire]) -> None:
    """What it received was not checked. The next connection is reused."""
    client: Any = httpx.Client() if style == "sync" else httpx.AsyncClient()
    wire = make(**{OPTION[style]: client})
    with Loopback(reply(200, b"{}")) as server:
        wire.run(lambda: client.get(server.url), lambda: client.get(server.url))
        for _ in range(4):
            assert wire.open(server.url).read() == b"{}"
        assert server.connections == 2
    wire.run(lambda: client.close(), lambda: client.aclose())


def test_connection_close_header_closes_connection(wire: Wire) -> None:
    def closing(exchange: Exchange) -> None:
        reply(200, b"{}", {"Connection": "close"})(exchange)
        exchange.client_gone(2)

    with Loopback(closing) as server:
        wire.open(server.url).read()
        assert server.wait_until(lambda _: server.open_connections == 0)
        wire.open(server.url).read()
        assert server.connections == 2


def test_body_without_length_ends_with_connection(wire: Wire) -> None:
    with Loopback(raw(b"HTTP/1.1 200 OK\r\n\r\nall of it")) as server:
        assert wire.open(server.url).read() == b"all of it"


def test_expired_idle_connection_is_closed(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "KEEPALIVE_SECONDS", 0.1)
    with Loopback(reply_json(200, {})) as server:
        wire.open(server.url).read()
        time.sleep(0.2)
        wire.open(server.url).read()
        assert server.connections == 2
        assert server.wait_until(lambda _: server.open_connections == 1)


def test_oldest_idle_connections_beyond_limit_are_closed(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_IDLE", 2)
    with Loopback(reply_json(200, {})) as server:
        answers = [wire.open(server.url) for _ in range(5)]
        for answer in answers:
            answer.read()
        assert server.wait_until(lambda _: server.open_connections == 2)
        for answer in [wire.open(server.url) for _ in range(2)]:
            answer.read()
        assert server.connections == 5


def test_request_beyond_connection_limit_waits_until_pool_timeout(
    make: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MAX_CONNECTIONS", 2)
    wire = make(timeout=Timeouts(pool=0.2))
    with Loopback(reply_json(200, {})) as server:
        first, _second = wire.open(server.url), wire.open(server.url)
        with pytest.raises(APITimeoutError, match=r"no connection became available within 0.2 s.*timeout=") as caught:
            wire.open(server.url)
        assert caught.value.is_retryable
        assert not caught.value.is_resent  # who waited so long is not to wait as long again
        first.read()
        wire.open(server.url).read()
        assert len(server.requests) == 3


def test_failed_requests_release_their_slots(make: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_CONNECTIONS", 1)
    wire = make(timeout=Timeouts(pool=0.2))
    with Loopback([Exchange.reset, head_then(Exchange.reset), reply(200, b"xx"), reply_json(200, {})]) as server:
        for _ in range(2):
            with pytest.raises(APIConnectionError):
                wire.open(server.url).rest()
        wire.open(server.url).close()
        assert wire.open(server.url).read() == b"{}"
