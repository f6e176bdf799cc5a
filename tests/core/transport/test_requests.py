"""A request and its response, time limits, and what goes wrong."""

from __future__ import annotations

import logging
import pickle
import socket
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelstudio_core.errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    ModelStudioError,
    ProtocolError,
)
from modelstudio_core.http.timeouts import Timeouts, timeouts
from modelstudio_core.http.transport import Transport
from tests.core.transport.wire import EVENTS, KEY, OPTION, Wire, head_then, raw, silent
from tests.loopback import Exchange, Loopback, Script, reply, reply_json, sse

# ---------------------------------------------------------------- a request and its answer


def test_request_has_body_and_headers_of_httpx(wire: Wire) -> None:
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


def test_callers_header_replaces_default_in_any_case(wire: Wire) -> None:
    with Loopback(reply_json(200, {})) as server:
        wire.open(server.url, {"Accept-Encoding": "gzip"}).read()
    assert server.requests[0].headers["accept-encoding"] == "gzip"


def test_head_is_available_before_body(wire: Wire) -> None:
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


def test_chunks_are_returned_immediately(wire: Wire) -> None:
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


def test_redirects_are_not_followed(wire: Wire) -> None:
    with Loopback(reply(302, b"", {"Location": "/elsewhere"})) as server:
        answer = wire.open(server.url)
        assert (answer.head.status, answer.head.headers["location"]) == (302, "/elsewhere")
        assert answer.read() == b""
    assert len(server.requests) == 1


def test_sleep_waits(wire: Wire) -> None:
    begun = time.monotonic()
    wire.run(lambda: wire.transport.sleep(0.05), lambda: wire.transport.asleep(0.05))
    assert 0.049 <= time.monotonic() - begun < 1  # uvloop counts milliseconds


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
def test_valid_timeouts(value: Any, expected: Timeouts) -> None:
    assert timeouts(value) == expected


@pytest.mark.parametrize("value", [0, -1, float("nan"), "60", (1, 2), httpx.Timeout(0), {"read": 0}, {"red": 1}])
def test_invalid_timeouts_are_rejected_at_creation(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout="):
        Transport(timeout=value)


def test_transports_share_connections_but_not_timeouts(
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


def test_read_timeout_limits_time_between_chunks_only(
    make: Callable[..., Wire],
) -> None:
    with Loopback(sse(*({"n": n} for n in range(8)), delay=0.1)) as server:
        assert len(make(timeout=0.5).open(server.url).rest()) == 9


# ---------------------------------------------------------------- what goes wrong


def stalled(exchange: Exchange) -> None:
    exchange.send_head()
    exchange.send_chunk(b"data: 1\n\n")
    exchange.client_gone(5)
    exchange.close()


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
def test_connection_errors_name_cause_and_retryability(
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


def test_reading_again_after_lost_connection_raises_again(wire: Wire) -> None:
    """It never looks like the end of the body."""
    with Loopback(head_then(Exchange.close)) as server:
        answer = wire.open(server.url)
        for _ in range(2):
            with pytest.raises(APIConnectionError):
                answer.rest()


def test_refused_connection_is_retryable(wire: Wire) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(APIConnectionError, match=f"no connection to 127.0.0.1:{port}") as caught:
            wire.open(f"http://127.0.0.1:{port}/")
    assert caught.value.is_retryable


def test_unknown_host_is_connection_error(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(APIConnectionError, match=r"no connection to nowhere\.invalid:443"):
        wire.open("https://nowhere.invalid/")


def test_connect_timeout_is_retryable(make: Callable[..., Wire]) -> None:
    wire = make(timeout=Timeouts(connect=0.2))
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes the connection, never answers in TLS
        port = mute.getsockname()[1]
        with pytest.raises(
            APITimeoutError, match=rf"no connection to 127.0.0.1:{port} within 0.2 s.*timeout="
        ) as caught:
            wire.open(f"https://127.0.0.1:{port}/")
    assert (caught.value.is_retryable, caught.value.is_resent) == (True, True)


def test_write_timeout_is_not_retried(make: Callable[..., Wire]) -> None:
    wire = make(timeout=Timeouts(write=0.3))
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        with pytest.raises(APITimeoutError, match=r"accepted no data for 0\.3 s") as caught:
            wire.open(f"http://127.0.0.1:{port}/", body=b"x" * 30_000_000)
    assert not caught.value.is_resent


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1:80/v1", "http://", "", "http://127.0.0.1:port/"])
def test_invalid_url_is_configuration_error(wire: Wire, url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url="):
        wire.open(url)


def test_invalid_host_name_is_typed_error(wire: Wire) -> None:
    with pytest.raises((ConfigurationError, APIConnectionError), match=r"a{70}"):
        wire.open("http://" + "a" * 70 + "/")


@pytest.mark.parametrize("value", [f"Bearer {KEY}\n", f"Bearer {KEY}ü"], ids=["line end", "letter"])
def test_key_invalid_as_header_is_configuration_error_without_key(wire: Wire, value: str) -> None:
    with Loopback(EVENTS) as server, pytest.raises(ConfigurationError, match="API key") as caught:
        wire.open(server.url, {"Authorization": value})
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("injected", [False, True])
@pytest.mark.parametrize("script", [Exchange.reset, silent, head_then(Exchange.reset)])
def test_errors_do_not_expose_key(style: str, make: Callable[..., Wire], script: Script, injected: bool) -> None:
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
            if Path(frame.filename).parent != Path(__file__).parent:
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


def test_log_has_only_streams_closed_early(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="modelstudio_core")
    with Loopback(sse({"secret": "body"}, delay=0.05)) as server:
        wire.open(server.url).rest()
        answer = wire.open(server.url)
        answer.next()
        answer.close()
    lines = [record.getMessage() for record in caplog.records if record.name == "modelstudio_core"]
    assert lines == [f"response from 127.0.0.1:{server.port} closed before its end"]
