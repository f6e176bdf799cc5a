"""How a response is read: as a stream, as a whole response, or as an error."""

from __future__ import annotations

import json
import threading
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from modelstudio_core.errors import (
    AuthenticationError,
    BadRequestError,
    ModelStudioError,
    ProtocolError,
    RateLimitError,
    ServerError,
)
from modelstudio_core.http.client import Client
from modelstudio_core.http.transport import Transport
from modelstudio_core.types import Usage
from tests.core.client.script import (
    ANSWERED,
    CHOICE,
    CONFIG,
    COUNTS,
    DONE,
    HTML,
    LIMITED_EVENT,
    OK,
    REQUEST,
    ROLE,
    SAID,
    SSE,
    STOP,
    STREAMED,
    WHOLE,
    A,
    B,
    FakeTransport,
    Reply,
    Way,
    acomplete,
    complete,
    event,
    every_way,
    run,
)
from tests.loopback import Exchange, Loopback

EVENTS = STREAMED.reads
OBJECT = ANSWERED.reads
KINDS: list[tuple[str, str | None, tuple[Any, ...], type[ModelStudioError] | None, type[ModelStudioError] | None]] = [
    # content type, body, the error where a whole answer was asked for, the error where a stream was
    ("events", "text/event-stream", EVENTS, None, None),
    ("events, in any case", "Text/Event-Stream; Charset=UTF-8", EVENTS, None, None),
    ("an object", "application/json", OBJECT, None, None),
    ("an object, with a charset", "application/json;charset=utf-8", OBJECT, None, None),
    ("events without a content type", None, EVENTS, None, None),
    ("an object without a content type", None, OBJECT, None, None),
    ("events as plain text", "text/plain", EVENTS, None, None),
    ("an object that says it is events", "text/event-stream", OBJECT, None, None),
    ("a page", "text/html", HTML, ProtocolError, ProtocolError),
    ("a page that says it is JSON", "application/json", HTML, ProtocolError, ProtocolError),
    ("events that say they are JSON", "application/json", EVENTS, None, None),
    ("the same, in one read", "application/json;charset=utf-8", (b"".join(EVENTS),), None, None),
    ("the same, after an empty line", "application/json", (b"\n" + b"".join(EVENTS),), None, None),
    ("the same, after a comment", "application/json", (b": ping\n\n" + b"".join(EVENTS),), None, None),
    ("the same, with ids and names", "application/json", (b"id:1\nevent:result\n" + b"".join(EVENTS),), None, None),
    ("the same, with a name first", "application/json", (b"event: x\n" + b"".join(EVENTS),), None, None),
    ("events that say they are a page", "text/html", EVENTS, None, None),
    (
        "an object in pieces that says it is events",
        "text/event-stream",
        (b"\n{", OBJECT[0][1:9], OBJECT[0][9:]),
        None,
        None,
    ),
    ("an object as plain text", "text/plain", OBJECT, None, None),
    ("a page that says it is events", "text/event-stream", HTML, ProtocolError, ProtocolError),
    ("a list that says it is events", "text/event-stream", (b"[", b"]"), ProtocolError, ProtocolError),
]


@every_way
@pytest.mark.parametrize(
    ("kind", "reads", "whole_error", "stream_error"), [c[1:] for c in KINDS], ids=[c[0] for c in KINDS]
)
def test_responses_of_the_other_kind(
    kind: str | None,
    reads: tuple[bytes, ...],
    whole_error: type[ModelStudioError] | None,
    stream_error: type[ModelStudioError] | None,
    way: Way,
) -> None:
    """A gateway may send a whole response to a streaming request, and vice versa. Anything else is a ProtocolError."""
    transport = FakeTransport(Reply(200, {"content-type": kind} if kind else {}, reads))
    result, error = run(way, transport)
    expected = whole_error if way in (complete, acomplete) else stream_error
    assert (type(error) if error else None) is expected
    if expected is None:
        assert result is not None
        assert (result.choices[0].text, result.usage) == ("AB", Usage(1, 2, 3))


ERROR_BODIES: list[tuple[str, str, Any, type[ModelStudioError], str, str | None, int]] = [
    # content type, body -> class, code, request id, how often it is asked
    (
        "throttled, an object that says it is events",
        "text/event-stream",
        {"error": {"message": "Slow down.", "code": "limit_requests"}, "request_id": "r-1"},
        RateLimitError,
        "limit_requests",
        "r-1",
        3,
    ),
    (
        "native, an object that says it is events",
        "text/event-stream",
        {"message": "Slow down.", "code": "Throttling.RateQuota", "request_id": "r-1"},
        RateLimitError,
        "Throttling.RateQuota",
        "r-1",
        3,
    ),
    (
        "a wrong key, an object that says it is events",
        "text/event-stream",
        {"error": {"message": "No.", "code": "invalid_api_key"}, "request_id": "r-1"},
        AuthenticationError,
        "invalid_api_key",
        "r-1",
        1,
    ),
    (
        "throttled, an event that says it is JSON",
        "application/json",
        LIMITED_EVENT,
        RateLimitError,
        "limit_requests",
        None,
        3,
    ),
]


@every_way
@pytest.mark.parametrize("cut", [1, 9, 1000])
@pytest.mark.parametrize(
    ("kind", "body", "cls", "code", "request_id", "tries"),
    [c[1:] for c in ERROR_BODIES],
    ids=[c[0] for c in ERROR_BODIES],
)
def test_an_error_with_the_wrong_content_type(
    kind: str, body: Any, cls: type[ModelStudioError], code: str, request_id: str | None, tries: int, cut: int, way: Way
) -> None:
    """With status 200, it is still a typed error with its code, and retried if retryable."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = Reply(200, {"content-type": kind}, tuple(part for part in (raw[:cut], raw[cut:]) if part))
    transport = FakeTransport(*[reply] * tries)
    _, caught = run(way, transport)
    assert type(caught) is cls
    assert (caught.code, caught.request_id) == (code, request_id)
    assert transport.script == []


@every_way
@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
def test_an_error_body_in_sse_framing(kind: str, way: Way) -> None:
    """A 400 whose body is an SSE event keeps the code and the request ID."""
    said = {"error": {"message": "No.", "code": "InvalidParameter"}, "request_id": "r-1"}
    framed = b"id:1\nevent:error\n:HTTP_STATUS/400\n" + event(said)
    _, caught = run(way, FakeTransport(Reply(400, {"content-type": kind}, (framed[:20], framed[20:]))))
    assert isinstance(caught, BadRequestError)
    assert (caught.code, caught.request_id, caught.status_code) == ("InvalidParameter", "r-1", 400)


@every_way
@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP, zstd", "utf-8"])
def test_an_unrequested_content_encoding(coding: str, way: Way) -> None:
    """The error has the encoding. The body is not read, and the request not retried."""
    headers = {"content-encoding": coding, "x-request-id": "r-1"}
    for label in (SSE, WHOLE):
        transport = FakeTransport(Reply(200, label | headers, (b"\x1f\x8b",)))
        _, caught = run(way, transport)
        assert type(caught) is ProtocolError
        assert (repr(coding) in str(caught), caught.request_id) == (True, "r-1")
        assert "read" not in transport.log


@every_way
def test_an_encoded_error_keeps_its_status(way: Way) -> None:
    """So it is retried like other errors, although its text cannot be read."""
    encoded = Reply(503, {"content-encoding": "gzip"}, (b"\x1f\x8b",))
    assert run(way, FakeTransport(encoded, OK))[1] is None
    _, caught = run(way, FakeTransport(*[encoded] * 3))
    assert type(caught) is ServerError
    assert "content-encoding 'gzip'" in str(caught)


@every_way
@pytest.mark.parametrize("coding", ["", "identity", "Identity"])
def test_identity_encoding(coding: str, way: Way) -> None:
    """It means no encoding."""
    reply = Reply(200, SSE | {"content-encoding": coding}, (A, STOP))
    assert run(way, FakeTransport(reply))[1] is None


UNREADABLE: dict[str, dict[str, Any]] = {
    "a count": {"usage": COUNTS | {"completion_tokens": "two"}},
    "usage": {"usage": "two"},
    "log probabilities": {"choices": [CHOICE | {"logprobs": {"content": ["A"]}}]},
}


@every_way
@pytest.mark.parametrize("odd", UNREADABLE.values(), ids=UNREADABLE)
def test_invalid_metadata(odd: dict[str, Any], way: Way) -> None:
    """Invalid counts or log probabilities do not affect the answer, streamed or whole."""
    ending = {"choices": [], **odd}
    ending["choices"] = [{**choice, "delta": {}} for choice in ending["choices"]]
    for choice in ending["choices"]:
        del choice["message"]
    for reply in (
        Reply(200, SSE, (ROLE + A, B, event(ending), STOP + DONE)),
        Reply(200, WHOLE, (json.dumps(SAID | odd).encode(),)),
    ):
        transport = FakeTransport(reply)
        result, error = run(way, transport)
        assert error is None
        assert result is not None
        assert result.text == "AB"
        assert transport.log.count("open") == 1


@every_way
def test_the_size_limit(way: Way) -> None:
    """`max_event_bytes` limits a whole response and an event of a stream."""
    transport = FakeTransport(OK)
    _, error = run(way, transport, config=replace(CONFIG, max_event_bytes=20))
    assert isinstance(error, ProtocolError)
    transport = FakeTransport(Reply(200, SSE, (event(SAID | {"choices": []}), A, STOP)))
    assert isinstance(run(way, transport, config=replace(CONFIG, max_event_bytes=50))[1], ProtocolError)


@every_way
@pytest.mark.parametrize("sign", [b"x", b" "], ids=["letters", "blanks"])
def test_a_stream_without_newline(sign: bytes, way: Way) -> None:
    """Reading stops after `max_event_bytes`."""
    transport = FakeTransport(Reply(200, SSE, (sign * 1000,) * 1000))
    _, error = run(way, transport, config=replace(CONFIG, max_event_bytes=65_536))
    assert type(error) is ProtocolError
    assert transport.log.count("read") == 66


@every_way
@pytest.mark.parametrize("sign", [b"x", b" "], ids=["letters", "blanks"])
def test_an_endless_stream_without_newline(sign: bytes, way: Way) -> None:
    """The client disconnects early and uses little memory."""
    gone = threading.Event()

    def endless(exchange: Exchange) -> None:
        exchange.send_head(200, SSE)
        try:
            for _ in range(1000):  # 16 MB, so that a client which reads it all comes to an end, too
                exchange.send_chunk(sign * 16_384)
        except OSError:
            gone.set()
            raise

    with Loopback(endless) as server:
        client = Client(replace(CONFIG, base_url=server.url, max_event_bytes=65_536), Transport(timeout=10))
        with pytest.raises(ProtocolError):
            way(client, REQUEST)  # a first call imports modules
        assert gone.wait(5)
        gone.clear()
        tracemalloc.start()
        try:
            with pytest.raises(ProtocolError):
                way(client, REQUEST)
            assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
        finally:
            tracemalloc.stop()
            client.close()
        assert gone.wait(5)
