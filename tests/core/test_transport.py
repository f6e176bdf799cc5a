"""The transport against a server that does what servers do: stalls, breaks off, holds bodies open, goes away.

Each case is written once and runs through the sync and the async half; `Wire` hides which.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import inspect
import itertools
import logging
import os
import pickle
import selectors
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import vcr  # type: ignore[import-untyped]  # ships no types

from modelstudio_core.errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    ModelStudioError,
    ProtocolError,
)
from modelstudio_core.http import environment, pool, shared_pools
from modelstudio_core.http import response as response_module
from modelstudio_core.http.response import AsyncResponse, Response
from modelstudio_core.http.timeouts import Timeouts, timeouts
from modelstudio_core.http.transport import Transport
from tests.ids import short
from tests.loopback import Exchange, Loopback, Script, reply, reply_json, sse

KEY = "sk-secret-0123456789"
OPTION = {"sync": "http_client", "async": "http_async_client"}
EVENTS = sse({"n": 1}, {"n": 2}, {"n": 3})


class Wire:
    """One transport, driven in sync or async style by the same calls."""

    def __init__(self, style: str, transport: Transport, loop: asyncio.AbstractEventLoop | None) -> None:
        self.style = style
        self.transport = transport
        self.loop = loop

    def run(self, sync: Callable[[], Any], async_: Callable[[], Any]) -> Any:
        return sync() if self.loop is None else self.loop.run_until_complete(async_())

    def open(self, url: str, headers: dict[str, str] | None = None, body: bytes = b"{}") -> Answer:
        sent = {"Authorization": f"Bearer {KEY}", **(headers or {})}
        transport = self.transport
        return Answer(self, self.run(lambda: transport.open(url, sent, body), lambda: transport.aopen(url, sent, body)))

    def close(self) -> None:
        self.run(self.transport.close, self.transport.aclose)


class Answer:
    def __init__(self, wire: Wire, response: Any) -> None:
        self.wire = wire
        self.response = response
        self.head = response.head

    def next(self) -> bytes | None:
        async def one() -> bytes:
            return bytes(await anext(self.response))

        try:
            return bytes(self.wire.run(lambda: next(self.response), one))
        except (StopIteration, StopAsyncIteration):
            return None

    def rest(self) -> list[bytes]:
        return list(iter(self.next, None))

    def until_done(self) -> None:
        while not (self.next() or b"[DONE]").endswith(b"[DONE]\n\n"):
            pass

    def read_trailing(self, extend: bool = False) -> bytes | None:
        ways = (lambda: self.response.read_trailing(extend), lambda: self.response.aread_trailing(extend))
        return cast("bytes | None", self.wire.run(*ways))

    def read(self) -> bytes:
        return b"".join(self.rest())

    def finish(self) -> None:
        self.wire.run(lambda: self.response.finish(), lambda: self.response.afinish())

    def close(self) -> None:
        self.wire.run(lambda: self.response.close(), lambda: self.response.aclose())


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
def make(style: str) -> Iterator[Callable[..., Wire]]:
    """Makes transports that are all driven in one event loop, or in none."""
    loop = asyncio.new_event_loop() if style == "async" else None
    yield lambda **options: Wire(style, Transport(**{"timeout": 5, **options}), loop)
    if loop is not None:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@pytest.fixture
def wire(make: Callable[..., Wire]) -> Wire:
    return make()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts /proc/self/fd")


# ---------------------------------------------------------------- a request and its answer


def test_a_request_goes_out_whole_with_the_headers_httpx_would_send(wire: Wire) -> None:
    with Loopback(reply_json(200, {"ok": True})) as server:
        wire.open(f"{server.url}/v1/chat?x=1", {"X-Trace": "7"}, '{"q":"谢谢"}'.encode()).read()
    (request,) = server.requests
    assert (request.method, request.path, request.json()) == ("POST", "/v1/chat?x=1", {"q": "谢谢"})
    assert request.headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "keep-alive",
        "authorization": f"Bearer {KEY}",
        "x-trace": "7",
        "content-length": "14",
    }


def test_the_callers_header_replaces_a_default_whatever_its_case(wire: Wire) -> None:
    with Loopback(reply_json(200, {})) as server:
        wire.open(server.url, {"Accept-Encoding": "gzip"}).read()
    assert server.requests[0].headers["accept-encoding"] == "gzip"


def test_status_and_headers_in_lower_case_are_there_before_the_body(wire: Wire) -> None:
    go_on = threading.Event()

    def script(exchange: Exchange) -> None:
        exchange.send_head(429, {"Retry-After": "3"})
        assert go_on.wait(5)
        exchange.send_chunk(b"later")

    with Loopback(script) as server:
        answer = wire.open(server.url)
        assert (answer.head.status, answer.head.headers["retry-after"]) == (429, "3")
        go_on.set()
        assert answer.read() == b"later"


def test_each_chunk_is_handed_on_before_the_next_is_sent(wire: Wire) -> None:
    seen = [threading.Event() for _ in range(3)]

    def script(exchange: Exchange) -> None:
        exchange.send_head(200)
        for number, event in enumerate(seen):
            exchange.send_chunk(b"event %d" % number)
            assert event.wait(5)

    with Loopback(script) as server:
        answer = wire.open(server.url)
        for number, event in enumerate(seen):
            assert answer.next() == b"event %d" % number
            event.set()
        assert answer.rest() == []


def test_a_redirect_is_an_answer_like_any_other(wire: Wire) -> None:
    with Loopback(reply(302, b"", {"Location": "/elsewhere"})) as server:
        answer = wire.open(server.url)
        assert (answer.head.status, answer.head.headers["location"]) == (302, "/elsewhere")
        assert answer.read() == b""
    assert len(server.requests) == 1


def test_sleep_waits(wire: Wire) -> None:
    begun = time.monotonic()
    wire.run(lambda: wire.transport.sleep(0.05), lambda: wire.transport.asleep(0.05))
    assert 0.05 <= time.monotonic() - begun < 1


# ---------------------------------------------------------------- time limits


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, Timeouts(10, 300, 300, 300)),
        (60, Timeouts(10, 60, 60, 60)),
        (2.5, Timeouts(2.5, 2.5, 2.5, 2.5)),
        (float("inf"), Timeouts(10, None, None, None)),
        (httpx.Timeout(4, connect=2, pool=None), Timeouts(2, 4, 4, None)),
        (httpx.Timeout(None), Timeouts(None, None, None, None)),
        (Timeouts(1, 2, 3, 4), Timeouts(1, 2, 3, 4)),
        ({"read": 5, "pool": None}, Timeouts(10, 5, 300, None)),
    ],
)
def test_a_timeout_is_seconds_or_an_httpx_timeout(value: Any, expected: Timeouts) -> None:
    assert timeouts(value) == expected


@pytest.mark.parametrize("value", [0, -1, float("nan"), "60", (1, 2), httpx.Timeout(0), {"read": 0}, {"red": 1}])
def test_any_other_timeout_is_refused_when_the_transport_is_made(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout="):
        Transport(timeout=value)


def test_transports_with_different_limits_share_connections_and_keep_their_own_limits(
    make: Callable[..., Wire],
) -> None:
    def script(exchange: Exchange) -> None:
        exchange.wait(0.4 if exchange.number else 0)
        reply_json(200, {})(exchange)

    with Loopback(script) as server:
        patient, hasty = make(timeout=5), make(timeout=0.1)
        patient.open(server.url).read()
        patient.open(server.url).read()
        with pytest.raises(APITimeoutError):
            hasty.open(server.url)
        assert server.connections == 1


def test_silence_between_chunks_may_last_as_long_as_the_read_timeout_however_long_the_whole_takes(
    make: Callable[..., Wire],
) -> None:
    with Loopback(sse(*({"n": n} for n in range(8)), delay=0.1)) as server:
        assert len(make(timeout=0.5).open(server.url).rest()) == 9


# ---------------------------------------------------------------- what goes wrong


def silent(exchange: Exchange) -> None:
    exchange.client_gone(5)


def stalled(exchange: Exchange) -> None:
    exchange.send_head()
    exchange.send_chunk(b"data: 1\n\n")
    exchange.client_gone(5)
    exchange.close()


def head_then(act: Callable[[Exchange], None]) -> Script:
    def script(exchange: Exchange) -> None:
        exchange.send_head()
        exchange.send_chunk(b"data: 1\n\n")
        exchange.wait(0.05)
        act(exchange)

    return script


def raw(data: bytes) -> Script:
    def script(exchange: Exchange) -> None:
        exchange.send(data)
        exchange.close()

    return script


@pytest.mark.parametrize(
    ("script", "kind", "again", "words"),
    [
        (silent, APITimeoutError, (True, False), ["sent no data for 0.3 s", "timeout="]),
        (stalled, APITimeoutError, (True, False), ["sent no data for 0.3 s", "timeout="]),
        (Exchange.close, APIConnectionError, (True, True), ["closed the connection before it responded"]),
        (Exchange.reset, APIConnectionError, (True, True), ["closed the connection before it responded"]),
        (head_then(Exchange.close), APIConnectionError, (True, False), ["closed the connection during the response"]),
        (head_then(Exchange.reset), APIConnectionError, (True, False), ["closed the connection during the response"]),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), ProtocolError, (False, True), ["did not send an HTTP response"]),
    ],
    ids=["silent", "stalled", "closed", "reset", "closed later", "reset later", "not HTTP"],
)
def test_a_failing_server_is_named_with_what_it_did_and_whether_trying_again_is_right(
    make: Callable[..., Wire], script: Script, kind: type[ModelStudioError], again: tuple[bool, bool], words: list[str]
) -> None:
    wire = make(timeout=0.3)
    with Loopback(script) as server:
        begun = time.monotonic()
        with pytest.raises(kind) as caught:
            wire.open(server.url).rest()
        assert time.monotonic() - begun < 2
    assert type(caught.value) is kind
    assert (caught.value.is_retryable, caught.value.is_resent) == again
    for word in (*words, f"127.0.0.1:{server.port}"):
        assert word in str(caught.value)
    assert isinstance(caught.value.__cause__, httpx.HTTPError)
    assert caught.value.__context__ is None


def test_what_broke_off_never_looks_like_its_end(wire: Wire) -> None:
    """Who asks for more after the error gets an error again."""
    with Loopback(head_then(Exchange.close)) as server:
        answer = wire.open(server.url)
        for _ in range(2):
            with pytest.raises(APIConnectionError):
                answer.rest()


def test_a_refused_connection_is_an_error_that_may_be_tried_again(wire: Wire) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(APIConnectionError, match=f"no connection to 127.0.0.1:{port}") as caught:
            wire.open(f"http://127.0.0.1:{port}/")
    assert caught.value.is_retryable


def test_an_unknown_host_is_a_connection_error(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(APIConnectionError, match=r"no connection to nowhere\.invalid:443"):
        wire.open("https://nowhere.invalid/")


def test_a_connection_that_is_not_made_in_time_may_be_tried_again(make: Callable[..., Wire]) -> None:
    wire = make(timeout=Timeouts(connect=0.2))
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes the connection, never answers in TLS
        port = mute.getsockname()[1]
        with pytest.raises(
            APITimeoutError, match=rf"no connection to 127.0.0.1:{port} within 0.2 s.*timeout="
        ) as caught:
            wire.open(f"https://127.0.0.1:{port}/")
    assert (caught.value.is_retryable, caught.value.is_resent) == (True, True)


def test_a_server_that_takes_in_no_more_is_not_tried_again(make: Callable[..., Wire]) -> None:
    wire = make(timeout=Timeouts(write=0.3))
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        with pytest.raises(APITimeoutError, match=r"accepted no data for 0\.3 s") as caught:
            wire.open(f"http://127.0.0.1:{port}/", body=b"x" * 30_000_000)
    assert not caught.value.is_resent


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1:80/v1", "http://", "", "http://127.0.0.1:port/"])
def test_a_bad_url_is_a_matter_of_configuration(wire: Wire, url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url="):
        wire.open(url)


def test_a_host_name_that_cannot_be_one_is_an_error_of_this_package(wire: Wire) -> None:
    with pytest.raises((ConfigurationError, APIConnectionError), match=r"a{70}"):
        wire.open("http://" + "a" * 70 + "/")


@pytest.mark.parametrize("value", [f"Bearer {KEY}\n", f"Bearer {KEY}ü"], ids=["line end", "letter"])
def test_a_key_that_is_no_header_is_a_matter_of_configuration_and_is_not_shown(wire: Wire, value: str) -> None:
    with Loopback(EVENTS) as server, pytest.raises(ConfigurationError, match="API key") as caught:
        wire.open(server.url, {"Authorization": value})
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("injected", [False, True])
@pytest.mark.parametrize("script", [Exchange.reset, silent, head_then(Exchange.reset)])
def test_no_error_leads_to_the_key_not_even_by_its_causes_and_the_locals_of_its_frames(
    style: str, make: Callable[..., Wire], script: Script, injected: bool
) -> None:
    client: Any = httpx.Client() if style == "sync" else httpx.AsyncClient()
    wire = make(timeout=0.2, **({OPTION[style]: client} if injected else {}))
    with Loopback(script) as server, pytest.raises(ModelStudioError) as caught:
        wire.open(server.url).rest()
    wire.run(lambda: client.close(), lambda: client.aclose())
    shown: traceback.TracebackException | None = traceback.TracebackException.from_exception(
        caught.value, capture_locals=True
    )
    while shown is not None:
        for frame in shown.stack:
            if frame.filename != __file__:
                assert KEY not in str(frame.locals), f"{frame.name} in {frame.filename}"
        shown = shown.__cause__
    error: BaseException | None = caught.value
    while error is not None:
        request = getattr(error, "_request", None)
        assert request is None or "authorization" not in request.headers
        assert KEY not in repr(error)
        error = error.__cause__
        assert error is None or error.__traceback__ is None
    assert KEY.encode() not in pickle.dumps(caught.value)


def test_the_log_names_a_stream_that_was_left_early_and_nothing_else(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="modelstudio_core")
    with Loopback(sse({"secret": "body"}, delay=0.05)) as server:
        wire.open(server.url).rest()
        answer = wire.open(server.url)
        answer.next()
        answer.close()
    lines = [record.getMessage() for record in caplog.records if record.name == "modelstudio_core"]
    assert lines == [f"response from 127.0.0.1:{server.port} closed before its end"]


# ---------------------------------------------------------------- connections are kept


def ends_later(exchange: Exchange) -> None:
    exchange.send_head()
    exchange.send_chunk(b"data: 1\n\n")
    exchange.send_chunk(b"data: [DONE]\n\n")
    exchange.wait(0.005)
    exchange.end()


def one_write(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
    exchange._ended = True


@pytest.mark.parametrize(
    "script", [EVENTS, one_write, ends_later, reply(200, b"data: [DONE]\n\n")],
    ids=["end at once", "one write", "end 5 ms later", "content-length"],
)  # fmt: skip
def test_50_streams_left_at_done_use_one_connection(
    wire: Wire, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response_module, "DRAIN_SECONDS", 5.0)  # what matters is that it waits, on a busy machine too
    with Loopback(script) as server:
        for _ in range(50):
            answer = wire.open(server.url)
            answer.until_done()
            answer.finish()
        assert len(server.requests) == 50
        assert server.connections == 1


def test_a_body_whose_end_is_already_there_is_finished_without_waiting(wire: Wire) -> None:
    with Loopback(one_write) as server:
        begun = time.monotonic()
        for _ in range(50):
            answer = wire.open(server.url)
            answer.until_done()
            answer.finish()
        assert time.monotonic() - begun < 1  # 50 waits would take 5 s


def test_a_body_held_open_after_done_is_given_up_soon(wire: Wire) -> None:
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


def test_a_body_that_goes_on_after_done_is_given_up_by_its_length_before_any_deadline(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_a_body_dripping_after_the_finish_is_given_up_at_one_deadline(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heartbeats of a body that is held open do not put the end off; what comes in time is handed on."""
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
        assert set(pieces) == {b": heartbeat\n\n"}
        assert gone.wait(1)


def test_what_still_comes_after_the_finish_is_read_however_long_it_takes(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that said its finish reason too early is cut off only when it has nothing more to say."""
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
        assert pieces == [b"%d" % number for number in range(12)]


def test_a_body_that_ends_after_the_finish_is_read_to_its_end(wire: Wire) -> None:
    """The connection lives on; an answer cut by its connection is an error as ever."""

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


def test_a_body_dripping_after_done_is_given_up_at_one_deadline(wire: Wire) -> None:
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


def test_a_connection_the_server_closed_while_idle_is_replaced_unnoticed(wire: Wire) -> None:
    def closing(exchange: Exchange) -> None:
        reply_json(200, {})(exchange)
        exchange.close()

    with Loopback(closing) as server:
        for number in range(5):
            assert wire.open(server.url).read() == b"{}"
            assert server.wait_until(lambda _: server.open_connections == 0)
            assert server.connections == number + 1


def test_a_connection_that_dies_under_the_next_request_is_an_error_that_may_be_tried_again(wire: Wire) -> None:
    with Loopback([reply_json(200, {}), Exchange.close, reply_json(200, {})]) as server:
        wire.open(server.url).read()
        with pytest.raises(APIConnectionError) as caught:
            wire.open(server.url)
        assert caught.value.is_retryable
        assert wire.open(server.url).read() == b"{}"


@pytest.mark.parametrize("leave", [Exchange.reset, Exchange.close], ids=["reset", "close"])
def test_where_one_idle_connection_is_dead_the_next_try_has_a_new_one(make: Callable[..., Wire], leave: Script) -> None:
    """A server that goes down resets or closes all that lies idle, each only when the next request comes."""

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
def test_where_one_server_is_dead_the_idle_connections_of_others_stay(make: Callable[..., Wire], leave: Script) -> None:
    with Loopback([reply(200, b"{}"), leave]) as dead, Loopback(reply(200, b"{}")) as alive:
        for server in (alive, dead):
            assert make().open(server.url).read() == b"{}"
        with pytest.raises(APIConnectionError):
            make().open(dead.url)
        assert make().open(alive.url).read() == b"{}"
        assert alive.connections == 1


def test_where_one_idle_connection_stays_silent_the_others_stay(make: Callable[..., Wire]) -> None:
    """A server that takes its time has not gone: what else lies idle is used on."""
    with Loopback([*[reply(200, b"{}")] * 3, silent, reply(200, b"{}")]) as server:
        for answer in [make().open(server.url) for _ in range(3)]:
            answer.read()
        with pytest.raises(APITimeoutError):
            make(timeout=0.2).open(server.url)
        for answer in [make().open(server.url) for _ in range(2)]:
            assert answer.read() == b"{}"
        assert server.connections == 3


BEHIND = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"


@pytest.mark.parametrize("length", [200, 64 * 1024, 3 * 64 * 1024])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("injected", [False, True], ids=["own", "injected"])
def test_what_follows_an_answer_is_not_taken_for_the_next_one(
    make: Callable[..., Wire],
    style: str,
    injected: bool,
    length: int,
    tls: bool,
    certificate: tuple[Path, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever buffer it lies in: of h11, of anyio, which takes more from the socket than is asked for, or of TLS.

    64 KiB are what httpcore reads at once, so that it stops right at the end of the body.
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
def test_what_is_no_tls_is_a_lost_connection(
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
def test_a_torn_response_behind_an_answer_closes_the_connection(
    make: Callable[..., Wire], style: str, injected: bool, framing: str, behind: bytes
) -> None:
    """However little of it has come."""
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


def test_a_connection_that_the_callers_own_request_opened_is_used_once(style: str, make: Callable[..., Wire]) -> None:
    """Nobody has watched what came on it; the next one is kept."""
    client: Any = httpx.Client() if style == "sync" else httpx.AsyncClient()
    wire = make(**{OPTION[style]: client})
    with Loopback(reply(200, b"{}")) as server:
        wire.run(lambda: client.get(server.url), lambda: client.get(server.url))
        for _ in range(4):
            assert wire.open(server.url).read() == b"{}"
        assert server.connections == 2
    wire.run(lambda: client.close(), lambda: client.aclose())


def test_a_server_that_says_close_is_believed(wire: Wire) -> None:
    def closing(exchange: Exchange) -> None:
        reply(200, b"{}", {"Connection": "close"})(exchange)
        exchange.client_gone(2)

    with Loopback(closing) as server:
        wire.open(server.url).read()
        assert server.wait_until(lambda _: server.open_connections == 0)
        wire.open(server.url).read()
        assert server.connections == 2


def test_a_body_that_ends_with_its_connection_is_read_to_its_end(wire: Wire) -> None:
    with Loopback(raw(b"HTTP/1.1 200 OK\r\n\r\nall of it")) as server:
        assert wire.open(server.url).read() == b"all of it"


def test_what_was_idle_for_too_long_is_closed_not_used(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "KEEPALIVE_SECONDS", 0.1)
    with Loopback(reply_json(200, {})) as server:
        wire.open(server.url).read()
        time.sleep(0.2)
        wire.open(server.url).read()
        assert server.connections == 2
        assert server.wait_until(lambda _: server.open_connections == 1)


def test_only_so_many_idle_connections_are_kept_for_an_origin_and_old_ones_go_first(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MAX_IDLE", 2)
    with Loopback(reply_json(200, {})) as server:
        answers = [wire.open(server.url) for _ in range(5)]
        for answer in answers:
            answer.read()
        assert server.wait_until(lambda _: server.open_connections == 2)
        for answer in [wire.open(server.url) for _ in range(2)]:
            answer.read()
        assert server.connections == 5


def test_a_request_beyond_the_limit_waits_for_a_place_and_gives_up_after_the_pool_timeout(
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


def test_failures_give_their_place_back(make: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_CONNECTIONS", 1)
    wire = make(timeout=Timeouts(pool=0.2))
    with Loopback([Exchange.reset, head_then(Exchange.reset), reply(200, b"xx"), reply_json(200, {})]) as server:
        for _ in range(2):
            with pytest.raises(APIConnectionError):
                wire.open(server.url).rest()
        wire.open(server.url).close()
        assert wire.open(server.url).read() == b"{}"


# ---------------------------------------------------------------- leaving early


def endless(gone: list[float]) -> Script:
    def script(exchange: Exchange) -> None:
        exchange.send_head()
        exchange.send_chunk(b"data: 1\n\n")
        if exchange.client_gone(5):
            gone.append(time.monotonic())
        exchange.close()

    return script


def test_the_server_sees_at_once_that_a_stream_was_left(wire: Wire) -> None:
    gone: list[float] = []
    with Loopback(endless(gone)) as server:
        answer = wire.open(server.url)
        assert answer.next() == b"data: 1\n\n"
        begun = time.monotonic()
        answer.close()
        answer.close()
        answer.finish()
        assert server.wait_until(lambda _: len(gone) == 1)
        assert gone[0] - begun < 0.5
        with pytest.raises(APIConnectionError, match="closed before its end"):
            answer.next()


def test_a_closed_answer_gives_nothing_more_not_even_what_had_arrived(wire: Wire) -> None:
    def two_at_once(exchange: Exchange) -> None:
        exchange.send_head()
        exchange.send(b"1\r\n1\r\n" + b"1\r\n2\r\n")
        exchange.client_gone(2)

    with Loopback(two_at_once) as server:
        answer = wire.open(server.url)
        assert answer.next() == b"1"
        answer.close()
        with pytest.raises(APIConnectionError, match="closed before its end"):
            answer.next()


def test_an_answer_dropped_without_closing_closes_too_and_nothing_warns(wire: Wire) -> None:
    gone: list[float] = []
    with Loopback(endless(gone)) as server:
        for read_first in (False, True):
            answer: Answer | None = wire.open(server.url)
            if read_first and answer is not None:
                answer.next()
            answer = None
            gc.collect()
            if wire.loop is not None:
                wire.loop.run_until_complete(asyncio.sleep(0.05))
        assert server.wait_until(lambda _: len(gone) == 2)


def test_an_answer_dropped_without_closing_gives_its_place_back(
    make: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MAX_CONNECTIONS", 1)
    wire = make(timeout=Timeouts(pool=0.5))
    with Loopback([endless([]), reply_json(200, {})]) as server:
        wire.open(server.url)
        gc.collect()
        assert wire.open(server.url).read() == b"{}"


def test_another_thread_can_end_a_stream_that_waits_for_its_next_bytes() -> None:
    gone: list[float] = []
    with Loopback(endless(gone)) as server:
        response = Transport(timeout=30).open(server.url, {}, b"")
        next(response)
        threading.Timer(0.1, response.close).start()
        begun = time.monotonic()
        with pytest.raises(APIConnectionError, match="closed before"):
            next(response)
        assert time.monotonic() - begun < 1
        assert server.wait_until(lambda _: len(gone) == 1)


@pytest.mark.parametrize("script", [silent, endless([])], ids=["before the head", "in the body"])
async def test_cancelling_a_task_closes_its_connection_at_once(script: Script) -> None:
    transport = Transport()

    async def consume(url: str) -> None:
        response = await transport.aopen(url, {}, b"")
        try:
            async for _ in response:
                pass
        finally:
            await response.aclose()

    with Loopback(script) as server:
        task = asyncio.create_task(consume(server.url))
        await asyncio.to_thread(server.wait_until, lambda _: len(server.requests) == 1)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.wait_until, lambda _: server.open_connections == 0)


async def test_cancelling_while_the_rest_is_read_closes_and_stays_a_cancellation() -> None:
    with Loopback(endless([])) as server:
        response = await Transport().aopen(server.url, {}, b"")
        await anext(response)
        task = asyncio.create_task(response.afinish())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.wait_until, lambda _: server.open_connections == 0)


async def test_a_wait_that_times_out_around_a_stream_closes_it() -> None:
    async def consume(url: str) -> None:
        async for _ in await Transport().aopen(url, {}, b""):
            pass

    with Loopback(endless([])) as server:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(consume(server.url), 0.2)
        assert await asyncio.to_thread(server.wait_until, lambda _: server.open_connections == 0)


# ---------------------------------------------------------------- many at once


def test_32_threads_share_one_transport_and_few_connections() -> None:
    transport = Transport()
    wrong: list[Any] = []

    def work(number: int, url: str) -> None:
        try:
            for turn in range(10):
                body = b'{"n": %d}' % (number * 1000 + turn)
                response = transport.open(url, {}, body)
                if (answer := b"".join(response)) != body:
                    wrong.append(answer)
        except Exception as error:
            wrong.append(error)

    def echo(exchange: Exchange) -> None:
        reply(200, exchange.request.body)(exchange)

    with Loopback(echo) as server:
        threads = [threading.Thread(target=work, args=(number, server.url)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert wrong == []
        assert len(server.requests) == 320
        assert server.connections <= 32


async def test_200_concurrent_streams_all_get_their_own_answer() -> None:
    def script(exchange: Exchange) -> None:
        number = exchange.request.json()["n"]
        sse(*({"n": number, "part": part} for part in range(3)), delay=0.02)(exchange)

    async def consume(transport: Transport, url: str, number: int) -> bool:
        response = await transport.aopen(url, {}, b'{"n": %d}' % number)
        text = b"".join([chunk async for chunk in response])
        return text.count(b'{"n": %d,' % number) == 3 and text.endswith(b"[DONE]\n\n")

    with Loopback(script) as server:
        transport = Transport()
        assert all(await asyncio.gather(*(consume(transport, server.url, number) for number in range(200))))
        await transport.aclose()
        assert await asyncio.to_thread(server.wait_until, lambda _: server.open_connections == 0)


# ---------------------------------------------------------------- event loops, forks, the end


async def ask(transport: Transport, url: str, *steps: str) -> AsyncResponse:
    response = await transport.aopen(url, {}, b"{}")
    for step in steps or ["read"]:
        if step == "read":
            assert len([chunk async for chunk in response]) > 1
        elif step == "begin":
            await anext(response)
        elif step == "close":
            await response.aclose()
    return response


@needs_proc
@pytest.mark.parametrize("steps", ["read", "begin", "begin close", "close", "nothing"])
def test_5_event_loops_in_a_row_share_a_transport_and_leave_no_socket_behind(steps: str) -> None:
    transport = Transport()
    with Loopback(EVENTS) as server:
        kept = [asyncio.run(ask(transport, server.url, *steps.split()))]
        assert server.wait_until(lambda _: server.open_connections == 0)
        before = descriptors()
        for _ in range(5):
            kept.append(asyncio.run(ask(transport, server.url, *steps.split())))
        assert server.wait_until(lambda _: server.open_connections == 0)
        assert descriptors() <= before
        assert server.connections == 6
        kept.clear()
        gc.collect()


@needs_proc
def test_loops_closed_without_ending_their_generators_leave_no_socket_behind_either() -> None:
    transport = Transport()

    def run(url: str) -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(ask(transport, url))
        loop.close()

    with Loopback(EVENTS) as server:
        run(server.url)
        before = descriptors()
        for _ in range(5):
            run(server.url)
        asyncio.run(ask(transport, server.url))  # forgets the last dead loop
        assert server.wait_until(lambda _: server.open_connections == 0)
        assert descriptors() <= before


def test_two_loops_in_two_threads_do_not_meet() -> None:
    transport = Transport()
    results: list[Any] = []

    async def many(url: str) -> int:
        return len([(await ask(transport, url)).head for _ in range(20)])

    with Loopback(EVENTS) as server:
        threads = [threading.Thread(target=lambda: results.append(asyncio.run(many(server.url)))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert results == [20] * 4
        assert server.connections <= 4


async def test_a_runtime_error_in_the_loop_of_an_answer_stays_itself() -> None:
    """Only in another loop does it mean that the answer cannot be read there."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"1"
        raise RuntimeError("of something else")

    mock = httpx.MockTransport(lambda request: httpx.Response(200, content=broken()))
    async with httpx.AsyncClient(transport=mock) as client:
        response = await Transport(http_async_client=client).aopen("https://example.com/", {}, b"")
        assert await anext(response) == b"1"
        with pytest.raises(RuntimeError, match="of something else") as caught:
            await anext(response)
        assert type(caught.value) is RuntimeError


def test_an_answer_that_was_read_to_its_end_has_ended_in_another_loop_too() -> None:
    transport = Transport()

    async def rest(response: AsyncResponse) -> list[bytes]:
        return [chunk async for chunk in response]

    with Loopback(EVENTS) as server:
        response = asyncio.run(ask(transport, server.url))
        assert asyncio.run(rest(response)) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_opens_its_own_connections_and_leaves_the_parents_alone() -> None:
    transport = Transport()
    go_on = threading.Event()

    def script(exchange: Exchange) -> None:
        exchange.send_head()
        exchange.send_chunk(b"data: 1\n\n")
        assert exchange.number != 0 or go_on.wait(20)
        exchange.send_chunk(b"data: 2\n\n")

    with Loopback(script) as server:
        streaming = transport.open(server.url, {}, b"")
        next(streaming)
        assert list(transport.open(server.url, {}, b""))
        assert server.connections == 2  # one busy, one idle
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                streaming.close()
                code = 0 if b"".join(transport.open(server.url, {}, b"")).endswith(b"2\n\n") else 2
            os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert server.connections == 3
        go_on.set()
        assert list(streaming) == [b"data: 2\n\n"]
        assert list(transport.open(server.url, {}, b""))
        assert server.connections == 3


def script_run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code, *arguments],
        capture_output=True, text=True, timeout=30, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip


@pytest.mark.parametrize("read", ["list(response)", "next(response)", "None"])
def test_nothing_warns_when_the_interpreter_exits_with_everything_left_open(read: str) -> None:
    code = f"""
import asyncio, logging, sys
from modelstudio_core.http.transport import Transport
logging.getLogger("asyncio").setLevel(logging.ERROR)  # development mode warns of callbacks that a busy machine delays
transport = Transport()
response = transport.open(sys.argv[1], {{}}, b"")
{read}
async def leave():
    global aresponse
    aresponse = await transport.aopen(sys.argv[1], {{}}, b"")
    return await anext(aresponse)
async def read():
    return [chunk async for chunk in await transport.aopen(sys.argv[1], {{}}, b"")]
asyncio.run(leave())
loop = asyncio.new_event_loop()
loop.run_until_complete(read())
loop.close()
print("done")
"""
    with Loopback(EVENTS) as server:
        ended = script_run(code, server.url)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


def test_importing_and_making_a_transport_loads_no_certificates() -> None:
    code = """
import ssl
def refuse(*args, **kwargs): raise AssertionError("a context was made")
ssl.create_default_context = refuse
from modelstudio_core.http.transport import Transport
Transport()
"""
    ended = script_run(code)
    assert ended.returncode == 0, ended.stderr


# ---------------------------------------------------------------- closing


def test_the_last_transport_to_close_closes_the_idle_connections(make: Callable[..., Wire]) -> None:
    first, second = make(), make()
    with Loopback(reply_json(200, {})) as server:
        first.open(server.url).read()
        second.open(server.url).read()
        assert server.connections == 1
        first.close()
        first.close()
        second.open(server.url).read()
        assert server.connections == 1
        second.close()
        assert server.wait_until(lambda _: server.open_connections == 0)


def test_closing_breaks_no_request_under_way_and_its_connection_closes_at_its_end(wire: Wire) -> None:
    with Loopback(sse({"n": 1}, {"n": 2}, delay=0.05)) as server:
        answer = wire.open(server.url)
        answer.next()
        wire.close()
        assert len(answer.rest()) == 2
        assert server.wait_until(lambda _: server.open_connections == 0)


def test_a_transport_used_again_after_closing_opens_new_connections(wire: Wire) -> None:
    with Loopback(reply_json(200, {})) as server:
        for number in range(3):
            wire.open(server.url).read()
            wire.open(server.url).read()
            assert server.connections == number + 1
            wire.close()
            assert server.wait_until(lambda _: server.open_connections == 0)


def test_a_transport_that_was_never_used_closes_nothing_of_others(make: Callable[..., Wire]) -> None:
    used, unused = make(), make()
    with Loopback(reply_json(200, {})) as server:
        used.open(server.url).read()
        unused.close()
        used.open(server.url).read()
        assert server.connections == 1


def test_at_the_end_of_the_process_all_connections_close(wire: Wire) -> None:
    with Loopback(reply_json(200, {})) as server:
        wire.open(server.url).read()
        shared_pools._at_exit()
        assert server.wait_until(lambda _: server.open_connections == 0)


def test_a_transport_can_be_copied_and_pickled(wire: Wire) -> None:
    with Loopback(reply_json(200, {})) as server:
        wire.open(server.url).read()
        for other in (copy.deepcopy(wire.transport), pickle.loads(pickle.dumps(wire.transport))):
            assert other._limits == wire.transport._limits
            with contextlib.closing(other.open(server.url, {}, b"")) as response:
                assert b"".join(response) == b"{}"


# ---------------------------------------------------------------- clients of the caller


def test_an_injected_client_is_used_as_it_is_and_never_closed(style: str, make: Callable[..., Wire]) -> None:
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


def test_an_injected_mock_transport_is_finished_by_closing(style: str, make: Callable[..., Wire]) -> None:
    mock = httpx.MockTransport(lambda request: httpx.Response(200, content=b"data: [DONE]\n\n"))
    client: Any = httpx.Client(transport=mock) if style == "sync" else httpx.AsyncClient(transport=mock)
    wire = make(**{OPTION[style]: client})
    answer = wire.open("https://example.com/")
    assert answer.next() == b"data: [DONE]\n\n"
    answer.finish()
    assert wire.open("https://example.com/").read() == b"data: [DONE]\n\n"
    wire.run(lambda: client.close(), lambda: client.aclose())


def test_an_injected_client_that_is_closed_is_a_matter_of_configuration(style: str, make: Callable[..., Wire]) -> None:
    client = httpx.Client() if style == "sync" else httpx.AsyncClient()
    wire = make(**{OPTION[style]: client})
    wire.run(getattr(client, "close", lambda: None), getattr(client, "aclose", lambda: None))
    with pytest.raises(ConfigurationError, match=f"{OPTION[style]}= is closed"):
        wire.open("http://127.0.0.1:1/")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of the socket that the loop left open
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_injected_client_of_another_event_loop_is_a_matter_of_configuration() -> None:
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
def test_too_many_open_files_are_named(wire: Wire) -> None:
    """Each connection takes one; the system's limit looks like a network that is down."""
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


def test_clients_of_the_wrong_kind_are_refused() -> None:
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


def test_a_cassette_answers_instead_of_the_network(wire: Wire, tmp_path: Path) -> None:
    path = tmp_path / "cassette.yaml"
    path.write_text(CASSETTE)
    with vcr.VCR(record_mode=vcr.mode.NONE).use_cassette(str(path)) as tape:
        answer = wire.open("https://service.invalid/v1")
        assert answer.next() == b"data: 1\n\ndata: [DONE]\n\n"
        answer.finish()
        assert tape.all_played


def test_a_cassette_records_what_the_server_sent(wire: Wire, tmp_path: Path) -> None:
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


# ---------------------------------------------------------------- proxies and certificates

PROXIES = {
    "HTTP_PROXY": "http://web:1",
    "HTTPS_PROXY": "secure:2",
    "NO_PROXY": "a.example, .b.example,localhost,127.0.0.1,::1,c.example:8080,http://d.example",
}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.com/", "http://web:1"),
        ("https://example.com/", "http://secure:2"),
        ("https://a.example/", None),
        ("https://x.a.example/", None),
        ("https://xa.example/", "http://secure:2"),
        ("https://b.example/", "http://secure:2"),
        ("https://x.b.example/", None),
        ("http://localhost:9/", None),
        ("http://127.0.0.1:9/", None),
        ("http://[::1]:9/", None),
        ("http://c.example:8080/", None),
        ("http://c.example/", "http://web:1"),
        ("http://d.example/", None),
        ("https://d.example/", "http://secure:2"),
    ],
)
def test_the_environments_proxies_mean_what_they_mean_to_an_httpx_client(
    monkeypatch: pytest.MonkeyPatch, url: str, expected: str | None
) -> None:
    for name, value in PROXIES.items():
        monkeypatch.setenv(name, value)
    assert environment.proxy_for(httpx.URL(url)) == expected
    with httpx.Client() as client:  # httpx's own answer, by the way it would route the request
        pool = client._transport_for_url(httpx.URL(url))._pool  # type: ignore[attr-defined]
    theirs = getattr(pool, "_proxy_url", None)
    assert expected == (theirs and f"http://{theirs.host.decode()}:{theirs.port}")


@pytest.mark.parametrize("host", ["localhost", "x.localhost", "127.0.0.1", "127.0.0.2", "[::1]"])
def test_this_machine_is_never_reached_through_a_proxy(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """A key goes over plain http to this machine alone, so the way there leads over no other."""
    monkeypatch.setenv("ALL_PROXY", "http://all:3")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert environment.proxy_for(httpx.URL(f"http://{host}:9/")) is None


@pytest.mark.parametrize("no_proxy", ["*", "x.example,*"])
def test_a_star_in_no_proxy_turns_all_proxies_off(monkeypatch: pytest.MonkeyPatch, no_proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all:3")
    assert environment.proxy_for(httpx.URL("http://example.com/")) == "http://all:3"
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert environment.proxy_for(httpx.URL("http://example.com/")) is None


def test_a_plain_request_goes_through_the_proxy_with_its_credentials(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Loopback(reply_json(200, {"proxied": True})) as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{proxy.port}")
        assert wire.open("http://service.invalid/v1").read() == b'{"proxied": true}'
    (request,) = proxy.requests
    assert request.path == "http://service.invalid/v1"
    assert request.headers["proxy-authorization"].startswith("Basic ")


def test_a_proxy_that_refuses_is_named_without_its_password(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(reply(407, b"")) as proxy:
        monkeypatch.setenv("https_proxy", f"http://user:pass@127.0.0.1:{proxy.port}")
        with pytest.raises(APIConnectionError) as caught:
            wire.open("https://service.invalid/v1")
    assert (proxy.requests[0].method, proxy.requests[0].path) == ("CONNECT", "service.invalid:443")
    message = str(caught.value)
    assert f"service.invalid:443 through the proxy 127.0.0.1:{proxy.port}" in message
    assert "NO_PROXY" in message
    assert "407" in message
    assert "pass" not in message
    assert not caught.value.is_retryable


@pytest.mark.parametrize("proxy", ["telnet://user:hidden@x:1", "http://user:hidden@x:port"])
def test_a_proxy_that_cannot_be_one_is_a_matter_of_configuration(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ConfigurationError, match="proxy") as caught:
        wire.open("http://service.invalid/")
    assert "hidden" not in str(caught.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:service.invalid",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True, timeout=20,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


def test_tls_streams_keep_their_connections_and_share_one_context_of_the_process(
    make: Callable[..., Wire], certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    made: list[ssl.SSLContext] = []
    build = httpx.create_ssl_context

    def count() -> ssl.SSLContext:
        made.append(build())
        return made[-1]

    monkeypatch.setattr(httpx, "create_ssl_context", count)
    environment._ssl_context.cache_clear()
    with Loopback([EVENTS, EVENTS, ends_later], tls=certificate[1]) as server:
        for answer in [make().open(server.url), make().open(server.url)]:
            answer.read()
        for _ in range(3):
            wire = make()
            for _ in range(5):
                answer = wire.open(server.url)
                answer.until_done()
                answer.finish()
        assert server.connections == 2
    assert len(made) == 1
    environment._ssl_context.cache_clear()


def test_a_tls_body_held_open_after_done_is_given_up_soon(
    wire: Wire, certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with Loopback(endless([]), tls=certificate[1]) as server:
        answer = wire.open(server.url)
        answer.next()
        begun = time.monotonic()
        answer.finish()
        assert 0.05 < time.monotonic() - begun < 0.5
        assert server.wait_until(lambda _: server.open_connections == 0)


def tunnel_to(port: int) -> Script:
    """A proxy's answer to CONNECT: from then on bytes go both ways, until one side closes."""

    def script(exchange: Exchange) -> None:
        assert (exchange.request.method, exchange.request.path) == ("CONNECT", "service.invalid:443")
        exchange.send(b"HTTP/1.1 200 OK\r\n\r\n")
        near = exchange._connection
        with socket.create_connection(("127.0.0.1", port)) as far, selectors.DefaultSelector() as selector:
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            while True:
                for key, _ in selector.select():
                    if not (data := cast("socket.socket", key.fileobj).recv(65536)):
                        exchange.close()
                        return
                    key.data.sendall(data)

    return script


@pytest.fixture(params=["http", "https"])
def proxied(
    request: pytest.FixtureRequest, certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Script], contextlib.AbstractContextManager[tuple[Loopback, str]]]]:
    """Makes a server that is behind a proxy, which passes its requests on or is a tunnel; and tells its URL."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    environment._ssl_context.cache_clear()

    @contextlib.contextmanager
    def serve(script: Script) -> Iterator[tuple[Loopback, str]]:
        if request.param == "http":  # the proxy's own answers are the server's
            with Loopback(script) as server:
                monkeypatch.setenv("HTTP_PROXY", server.url)
                yield server, "http://service.invalid/v1"
        else:
            with Loopback(script, tls=certificate[1]) as server, Loopback(tunnel_to(server.port)) as proxy:
                monkeypatch.setenv("HTTPS_PROXY", proxy.url)
                yield server, "https://service.invalid/v1"

    yield serve
    environment._ssl_context.cache_clear()


@pytest.mark.parametrize("injected", [False, True], ids=["own", "injected"])
def test_requests_through_a_proxy_are_one_connection_unless_more_than_an_answer_came(
    make: Callable[..., Wire], style: str, injected: bool, proxied: Any
) -> None:
    """What wraps a connection to a proxy hides neither that it is clean nor that it is not."""

    def script(exchange: Exchange) -> None:
        if exchange.number == 2:
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright" + BEHIND)
            exchange._ended = True
        else:
            reply(200, b"right")(exchange)

    with proxied(script) as (server, url):
        client = httpx.Client() if style == "sync" else httpx.AsyncClient()
        wire = make(**({OPTION[style]: client} if injected else {}))
        for _ in range(3):
            assert wire.open(url).read() == b"right"
        assert server.connections == 1
        assert wire.open(url).read() == b"right"
        assert server.connections == 2
        wire.run(getattr(client, "close", lambda: None), getattr(client, "aclose", lambda: None))


def test_an_untrusted_certificate_is_said_to_be_one_and_not_tried_again(
    wire: Wire, certificate: tuple[Path, ssl.SSLContext]
) -> None:
    with (
        Loopback(EVENTS, tls=certificate[1]) as server,
        pytest.raises(
            APIConnectionError, match=r"certificate of 127.0.0.1:\d+ is not trusted.*SSL_CERT_FILE"
        ) as caught,
    ):
        wire.open(server.url)
    assert not caught.value.is_retryable


def test_a_certificate_file_that_is_not_there_is_a_matter_of_configuration(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/ca.pem")
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        wire.open("https://127.0.0.1:1/")


# ---------------------------------------------------------------- twins


def test_sync_and_async_have_the_same_methods_in_the_same_order() -> None:
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


def test_the_loopback_server_itself_leaves_nothing_behind() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = threading.active_count()
        begun = time.monotonic()
        with Loopback(silent) as server, socket.create_connection(("127.0.0.1", server.port)):
            pass
        assert time.monotonic() - begun < 1.2
        assert threading.active_count() <= before
