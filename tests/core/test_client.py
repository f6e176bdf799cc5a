"""One call from request to answer, on a transport that plays a script: what is sent, asked again, read, and closed.

Each case runs by all four entrances: whole and streamed, sync and async. The script's transport keeps a log of what was
done to it, and the sync log must be the async one.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import json
import logging
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from pydantic import SecretStr

from modelstudio_core import __version__
from modelstudio_core.catalogue import model_info
from modelstudio_core.config import Config
from modelstudio_core.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContextLengthError,
    ModelStudioError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    QuotaError,
    RateLimitError,
    ServerError,
    StreamTruncatedError,
)
from modelstudio_core.headers import SecretHeaders
from modelstudio_core.http.client import Client
from modelstudio_core.http.timeouts import Timeouts
from modelstudio_core.http.transport import Transport
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.types import ChatRequest, ChatResult, Message, ResponseHead, TextDelta, Usage
from tests.loopback import Exchange, Loopback

KEY = "sk-very-secret"
CONFIG = Config("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", SecretStr(KEY), region="singapore")
REQUEST = ChatRequest("qwen-max", (Message("user", "hello"),))  # a model that never thinks: whole is whole on the wire
SSE = {"content-type": "text/event-stream;charset=UTF-8"}
WHOLE = {"content-type": "application/json"}


# ---------------------------------------------------------------- the script and its transport


@dataclass(frozen=True)
class Reply:
    """A response: its reads, of which one may be an error, or None for a read that never comes."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    reads: tuple[bytes | Exception | None, ...] = ()


def event(value: Any) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def chunk(delta: Any, finish: str | None = None) -> bytes:
    return event({"id": "chatcmpl-7", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def error(status: int, code: str | None, message: str = "It failed.", **headers: str) -> Reply:
    body = json.dumps({"error": {"message": message, "code": code}}).encode()
    return Reply(status, WHOLE | {name.replace("_", "-"): value for name, value in headers.items()}, (body,))


ROLE = chunk({"role": "assistant", "content": ""})
A, B, STOP = chunk({"content": "A"}), chunk({"content": "B"}), chunk({}, "stop")
DONE = event(b"[DONE]")
COUNTS = {"prompt_tokens": 1, "completion_tokens": 2}
USED = event({"choices": [], "usage": COUNTS})
STREAMED = Reply(200, SSE, (ROLE + A, B[:10], B[10:] + STOP, USED + DONE))
CHOICE = {"index": 0, "message": {"content": "AB"}, "finish_reason": "stop"}
SAID = {"id": "chatcmpl-7", "choices": [CHOICE], "usage": COUNTS}
ANSWERED = Reply(200, WHOLE, (json.dumps(SAID).encode(),))
OK = None  # in a script: `STREAMED` where a stream was asked for, else `ANSWERED`

LIMITED = error(429, "Throttling.RateQuota")
ASKS = error(400, "invalid_parameter_error", "parameter.enable_thinking must be set to false for non-streaming calls")
LIMITED_EVENT = event({"error": {"message": "Slow down.", "code": "limit_requests"}})


class FakeTransport:
    """Plays a script and logs what is done to it. Sync and async are the same but for the waiting."""

    def __init__(self, *script: Reply | Exception | None) -> None:
        self.script = list(script)
        self.log: list[str] = []
        self.sent: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    def open(
        self, url: str, headers: SecretHeaders, body: bytes, timeout: Timeouts | None = None, *options: Any
    ) -> FakeResponse:
        self.log.append("open")
        self.sent.append((url, headers.reveal(), json.loads(body)))
        reply = self.script.pop(0)
        if isinstance(reply, Exception):
            raise copy.copy(reply)
        return FakeResponse(self.log, reply or (STREAMED if self.sent[-1][2].get("stream") else ANSWERED))

    async def aopen(
        self, url: str, headers: SecretHeaders, body: bytes, timeout: Timeouts | None = None, *options: Any
    ) -> FakeResponse:
        await asyncio.sleep(0)
        return self.open(url, headers, body, timeout)

    def sleep(self, seconds: float) -> None:
        self.log.append(f"sleep {seconds}")

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)

    def close(self) -> None:
        self.log.append("close transport")

    async def aclose(self) -> None:
        self.log.append("aclose transport")

    @property
    def slept(self) -> list[float]:
        return [float(entry.split()[1]) for entry in self.log if entry.startswith("sleep")]


class FakeResponse:
    def __init__(self, log: list[str], reply: Reply) -> None:
        self.head = ResponseHead(reply.status, reply.headers)
        self.log = log
        self.reads = iter(reply.reads)
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.log.append("read")
        assert not self.closed
        data = next(self.reads)
        if isinstance(data, Exception):
            raise copy.copy(data)
        assert data is not None, "a sync read that never ends"
        return data

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self.log.append("read")
        assert not self.closed
        await asyncio.sleep(0)
        data = next(self.reads, b"end")
        if data is None:
            await asyncio.Event().wait()
        if data == b"end":
            raise StopAsyncIteration
        if isinstance(data, Exception):
            raise copy.copy(data)
        return data

    def read_trailing(self, extend: bool = False) -> bytes | None:
        self.log.append("extend" if extend else "trailing")
        return next(self, None)

    async def aread_trailing(self, extend: bool = False) -> bytes | None:
        self.log.append("extend" if extend else "trailing")
        return await anext(self, None)

    def finish(self) -> None:
        self.log.append("finish")

    async def afinish(self) -> None:
        self.finish()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.log.append("close")

    async def aclose(self) -> None:
        self.close()


# ---------------------------------------------------------------- the four entrances

Outcome = tuple[ChatResult | None, ModelStudioError | None]


def complete(client: Client, request: ChatRequest) -> ChatResult:
    return client.complete(request, model_info(request.model))


def acomplete(client: Client, request: ChatRequest) -> ChatResult:
    return asyncio.run(client.acomplete(request, model_info(request.model)))


def stream(client: Client, request: ChatRequest) -> ChatResult:
    return fold(client.stream(request, model_info(request.model)))


def astream(client: Client, request: ChatRequest) -> ChatResult:
    async def collect() -> ChatResult:
        return fold([delta async for delta in client.astream(request, model_info(request.model))])

    return asyncio.run(collect())


WAYS = {"complete": complete, "acomplete": acomplete, "stream": stream, "astream": astream}
Way = Callable[[Client, ChatRequest], ChatResult]
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
streaming_ways = pytest.mark.parametrize("way", [stream, astream])
whole_ways = pytest.mark.parametrize("way", [complete, acomplete])


def run(way: Way, transport: FakeTransport, request: ChatRequest = REQUEST, config: Config = CONFIG) -> Outcome:
    try:
        return way(Client(config, transport), request), None
    except ModelStudioError as error:
        return None, error


@pytest.fixture(autouse=True)
def half_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays of 0.25, 0.5, 1 … s instead of random ones."""
    monkeypatch.setattr("modelstudio_core.http.flow.random.random", lambda: 0.5)


# ---------------------------------------------------------------- asking, and asking again


@dataclass(frozen=True)
class Case:
    """A script, and what comes of it: an answer (`error` None) or an error, after these waits."""

    name: str
    script: list[Reply | Exception | None]
    error: type[ModelStudioError] | None = None
    slept: tuple[float, ...] = ()
    max_retries: int = 2


LOST = APIConnectionError("lost in the answer", is_resent=False)
CASES = [
    Case("well at once", [OK]),
    # what is worth another try
    Case("throttled, then well", [LIMITED, OK], None, (0.25,)),
    Case("two different failures, then well", [LIMITED, error(500, "InternalError"), OK], None, (0.25, 0.5)),
    Case("too often", [LIMITED] * 3, RateLimitError, (0.25, 0.5)),
    Case("max_retries=0 sends one request", [LIMITED], RateLimitError, (), 0),
    Case("max_retries=5", [LIMITED] * 5 + [OK], None, (0.25, 0.5, 1.0, 2.0, 4.0), 5),
    Case("tokens a minute used up is throttling", [error(429, "insufficient_quota"), OK], None, (0.25,)),
    Case("429 without a word", [Reply(429), OK], None, (0.25,)),
    Case("408", [Reply(408), OK], None, (0.25,)),
    Case("409", [Reply(409), OK], None, (0.25,)),
    Case("overloaded", [error(503, "ModelUnavailable"), OK], None, (0.25,)),
    Case("bad gateway, HTML", [Reply(502, {"content-type": "text/html"}, (b"<html>",)), OK], None, (0.25,)),
    Case("an error whose body cannot be read", [Reply(502, {}, (b"<ht", LOST)), OK], None, (0.25,)),
    Case("an error whose body has no end", [Reply(502, {}, (b"x" * 2_000_000,)), OK], None, (0.25,)),
    Case("no connection", [APIConnectionError("refused"), OK], None, (0.25,)),
    Case("no connection, ever", [APIConnectionError("refused")] * 3, APIConnectionError, (0.25, 0.5)),
    Case("throttled before the answer begins", [Reply(200, SSE, (ROLE, LIMITED_EVENT)), OK], None, (0.25,)),
    Case("an empty stream", [Reply(200, SSE), OK], None, (0.25,)),
    Case("empty streams", [Reply(200, SSE, (ROLE,))] * 3, StreamTruncatedError, (0.25, 0.5)),
    # for how long: as the service asks, up to the cap of the vendor's SDK
    Case("retry-after", [error(429, "Throttling", retry_after="3"), OK], None, (3.0,)),
    Case("retry-after-ms", [error(429, "Throttling", retry_after_ms="100"), OK], None, (0.1,)),
    Case("retry-after, an hour", [error(503, None, retry_after="3600"), OK], None, (8.0,)),
    # what is not
    Case("billing with 429", [error(429, "PostpaidBillOverdue", retry_after="1")], QuotaError),
    Case("free tier spent", [error(403, "AllocationQuota.FreeTierOnly")], QuotaError),
    Case("a wrong request", [error(400, "InvalidParameter")], BadRequestError),
    Case("a wrong request with 500", [error(500, "InternalError.Algo.InvalidParameter")], BadRequestError),
    Case("a wrong key", [error(401, "invalid_api_key")], AuthenticationError),
    Case("no permission", [error(403, "AccessDenied")], PermissionDeniedError),
    Case("a choice of addresses", [Reply(300)], APIStatusError),
    Case("a redirect", [Reply(302, {"location": "https://elsewhere"})], APIStatusError),
    Case("silence", [APITimeoutError("silent", is_resent=False)], APITimeoutError),
    Case("lost while the answer came", [Reply(200, SSE, (LOST,))], APIConnectionError),
    Case("lost while a whole answer came", [Reply(200, WHOLE, (b"{", LOST))], APIConnectionError),
    Case("HTML with 200", [Reply(200, {"content-type": "text/html"}, (b"<html>",))], ProtocolError),
    Case("nothing with 200", [Reply(200, WHOLE)], ProtocolError),
    # an error in a stream: asked again only while nothing has been handed on
    Case("throttled in the first event", [Reply(200, SSE, (LIMITED_EVENT,)), OK], None, (0.25,)),
    Case("throttled in a whole answer", [Reply(200, WHOLE, (LIMITED_EVENT[6:],)), OK], None, (0.25,)),
    Case("throttled after the first delta", [Reply(200, SSE, (ROLE + A, LIMITED_EVENT))], RateLimitError),
    Case("throttled in the read of the first delta", [Reply(200, SSE, (A + LIMITED_EVENT,))], RateLimitError),
    Case("lost after the first delta", [Reply(200, SSE, (A, APIConnectionError("lost")))], APIConnectionError),
    Case("cut", [Reply(200, SSE, (A,))], StreamTruncatedError),
    Case("not JSON after a delta", [Reply(200, SSE, (A, event(b"oops")))], ProtocolError),
    Case("an event over the limit", [Reply(200, SSE, (A, b"data: " + b"x" * 70_000))], ProtocolError),
    Case("a whole answer over the limit", [Reply(200, WHOLE, (b" " * 70_000,))], ProtocolError),
]


@every_way
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_comes_of_a_script(case: Case, way: Way) -> None:
    """The right answer or the right error, after the right waits, with every response closed."""
    transport = FakeTransport(*copy.deepcopy(case.script))
    config = replace(CONFIG, max_retries=case.max_retries, max_event_bytes=65_536)
    result, error = run(way, transport, config=config)
    if case.error is None:
        assert error is None
        assert result is not None
        assert (result.choices[0].text, result.choices[0].finish_reason) == ("AB", "stop")
        assert result.usage == Usage(1, 2, 3)
    else:
        assert type(error) is case.error
    assert transport.script == []
    assert tuple(transport.slept) == case.slept
    opened = sum(1 for reply in case.script if not isinstance(reply, Exception))
    assert transport.log.count("close") == opened
    assert transport.log.count("open") == len(case.script)


@pytest.mark.parametrize(("way", "twin"), [(complete, acomplete), (stream, astream)], ids=["whole", "stream"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_sync_and_async_do_the_same(case: Case, way: Way, twin: Way) -> None:
    """Both drivers do the same things to the transport, in the same order, and come to the same end."""
    logs, sent, outcomes = [], [], []
    for each in (way, twin):
        transport = FakeTransport(*copy.deepcopy(case.script))
        result, error = run(each, transport, config=replace(CONFIG, max_retries=case.max_retries))
        logs.append(transport.log)
        sent.append(transport.sent)
        outcomes.append((result, type(error), error and vars(error)))
    assert logs[0] == logs[1]
    assert sent[0] == sent[1]
    assert outcomes[0] == outcomes[1]


@every_way
def test_a_failed_response_is_closed_before_the_wait(way: Way) -> None:
    """No connection is held while waiting, and an error's body is not waited for as long as an answer's."""
    transport = FakeTransport(LIMITED, LIMITED, LIMITED)
    run(way, transport)
    each = ["open", *["trailing", "read"] * 2, "close"]
    assert transport.log == [*each, "sleep 0.25", *each, "sleep 0.5", *each]


@streaming_ways
def test_an_error_does_not_come_from_an_earlier_try(way: Way) -> None:
    """The error raised is the last one, and knows nothing of what an earlier try had said."""
    transport = FakeTransport(error(500, "InternalError"), error(429, "Throttling", "Slow."), error(400, "X", "Wrong."))
    _, caught = run(way, transport)
    assert caught is not None
    assert (caught.status_code, caught.message, caught.partial) == (400, "Wrong.", None)


# ---------------------------------------------------------------- streaming after all


def streamed(transport: FakeTransport) -> list[bool]:
    return ["stream" in body for _, _, body in transport.sent]


ASKED_AGAIN: list[tuple[str, list[Reply | None], int, list[bool], bool]] = [
    ("once more, streaming", [ASKS, OK], 2, [False, True], True),
    ("that is no retry", [ASKS, OK], 0, [False, True], True),
    ("only once", [ASKS, ASKS], 2, [False, True], False),
    ("retries go on streaming", [ASKS, LIMITED, LIMITED, OK], 2, [False, True, True, True], True),
    ("and are counted apart", [LIMITED, ASKS, LIMITED, LIMITED], 2, [False, False, True, True], False),
    (
        "once more, in the words of models that only stream",
        [error(400, "InvalidParameter", "current user api does not support http call."), OK],
        0,
        [False, True],
        True,
    ),
    (
        "another 400 is not asked again",
        [error(400, "InvalidParameter", "enable_thinking must be a boolean")],
        2,
        [False],
        False,
    ),
]


@whole_ways
@pytest.mark.parametrize(
    ("script", "retries", "streams", "well"), [c[1:] for c in ASKED_AGAIN], ids=[c[0] for c in ASKED_AGAIN]
)
def test_a_call_that_had_to_stream(
    script: list[Reply | None], retries: int, streams: list[bool], well: bool, way: Way
) -> None:
    """The 400 "must be set to false for non-streaming calls" makes the call once more, streaming, without a wait."""
    transport = FakeTransport(*script)
    result, error = run(way, transport, config=replace(CONFIG, max_retries=retries))
    assert streamed(transport) == streams
    assert (result is not None) is well
    assert (error is None) is well
    if script == [ASKS, OK]:
        assert transport.slept == [0.0]
        assert transport.sent[1][2] == transport.sent[0][2] | {
            "stream": True,
            "stream_options": {"include_usage": True},
        }


@whole_ways
@pytest.mark.parametrize("said", ["current user api does not support http call.", "only support stream mode"])
@pytest.mark.parametrize(("model", "tool_stream"), [("glm-5.1", True), ("qwen-max", None)])
def test_what_is_asked_again_is_planned_again(model: str, tool_stream: bool | None, said: str, way: Way) -> None:
    """GLM brings the calls of a stream only if told to, also where the stream was not planned."""
    tools = ({"type": "function", "function": {"name": "f"}},)
    transport = FakeTransport(error(400, "InvalidParameter", said), OK)
    result, _ = run(way, transport, replace(REQUEST, model=model, tools=tools, enable_thinking=False))
    assert result is not None
    assert streamed(transport) == [False, True]
    assert [body.get("tool_stream") for _, _, body in transport.sent] == [None, tool_stream]
    assert [body["enable_thinking"] for _, _, body in transport.sent] == [False, False]


@streaming_ways
def test_a_stream_is_not_asked_to_stream_again(way: Way) -> None:
    """The same 400 to a call that did stream is an error."""
    transport = FakeTransport(ASKS)
    _, error = run(way, transport)
    assert isinstance(error, BadRequestError)


@whole_ways
@pytest.mark.parametrize(("model", "streams"), [("qwen-max", False), ("qwen3.7-max", True), ("qwq-plus", True)])
def test_a_whole_answer_of_a_model_that_thinks_is_streamed(model: str, streams: bool, way: Way) -> None:
    """The plan of `thinking` is what is sent; the answer is the same."""
    transport = FakeTransport(OK)
    result, _ = run(way, transport, replace(REQUEST, model=model))
    assert streamed(transport) == [streams]
    assert result is not None
    assert result.choices[0].text == "AB"


# ---------------------------------------------------------------- how it is read

EVENTS = STREAMED.reads
OBJECT = ANSWERED.reads
HTML = (b"<html>Welcome</html>",)
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
def test_the_content_type_decides_how_it_is_read(
    kind: str | None,
    reads: tuple[bytes, ...],
    whole_error: type[ModelStudioError] | None,
    stream_error: type[ModelStudioError] | None,
    way: Way,
) -> None:
    """A gateway may answer a stream whole and a whole request by a stream; what is neither is a ProtocolError."""
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
def test_an_error_under_a_wrong_label(
    kind: str, body: Any, cls: type[ModelStudioError], code: str, request_id: str | None, tries: int, cut: int, way: Way
) -> None:
    """With status 200 and the other's content type an error is typed, keeps its code, and is retried if it may be."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = Reply(200, {"content-type": kind}, tuple(part for part in (raw[:cut], raw[cut:]) if part))
    transport = FakeTransport(*[reply] * tries)
    _, caught = run(way, transport)
    assert type(caught) is cls
    assert (caught.code, caught.request_id) == (code, request_id)
    assert transport.script == []


@every_way
@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
def test_an_error_status_with_an_event_for_a_body(kind: str, way: Way) -> None:
    """A 400 whose body is framed as an event keeps the code and the request id."""
    said = {"error": {"message": "No.", "code": "InvalidParameter"}, "request_id": "r-1"}
    framed = b"id:1\nevent:error\n:HTTP_STATUS/400\n" + event(said)
    _, caught = run(way, FakeTransport(Reply(400, {"content-type": kind}, (framed[:20], framed[20:]))))
    assert isinstance(caught, BadRequestError)
    assert (caught.code, caught.request_id, caught.status_code) == ("InvalidParameter", "r-1", 400)


@every_way
@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP, zstd", "utf-8"])
def test_an_encoded_answer_is_an_error_that_names_the_coding(coding: str, way: Way) -> None:
    """Nobody asked for one. It is not read, and not requested again."""
    headers = {"content-encoding": coding, "x-request-id": "r-1"}
    for label in (SSE, WHOLE):
        transport = FakeTransport(Reply(200, label | headers, (b"\x1f\x8b",)))
        _, caught = run(way, transport)
        assert type(caught) is ProtocolError
        assert (repr(coding) in str(caught), caught.request_id) == (True, "r-1")
        assert "read" not in transport.log


@every_way
def test_an_encoded_error_keeps_its_status(way: Way) -> None:
    """So it is retried as any other; its text cannot be read."""
    encoded = Reply(503, {"content-encoding": "gzip"}, (b"\x1f\x8b",))
    assert run(way, FakeTransport(encoded, OK))[1] is None
    _, caught = run(way, FakeTransport(*[encoded] * 3))
    assert type(caught) is ServerError
    assert "content-encoding 'gzip'" in str(caught)


@every_way
@pytest.mark.parametrize("coding", ["", "identity", "Identity"])
def test_identity_is_no_coding(coding: str, way: Way) -> None:
    reply = Reply(200, SSE | {"content-encoding": coding}, (A, STOP))
    assert run(way, FakeTransport(reply))[1] is None


UNREADABLE: dict[str, dict[str, Any]] = {
    "a count": {"usage": COUNTS | {"completion_tokens": "two"}},
    "usage": {"usage": "two"},
    "log probabilities": {"choices": [CHOICE | {"logprobs": {"content": ["A"]}}]},
}


@every_way
@pytest.mark.parametrize("odd", UNREADABLE.values(), ids=UNREADABLE)
def test_metadata_that_cannot_be_read(odd: dict[str, Any], way: Way) -> None:
    """Counts or log probabilities that cannot be read, in a stream or a whole answer, leave the answer as it is."""
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
def test_the_limit_goes_to_both_readers(way: Way) -> None:
    """`max_event_bytes` bounds a whole answer and an event of a stream."""
    transport = FakeTransport(OK)
    _, error = run(way, transport, config=replace(CONFIG, max_event_bytes=20))
    assert isinstance(error, ProtocolError)
    transport = FakeTransport(Reply(200, SSE, (event(SAID | {"choices": []}), A, STOP)))
    assert isinstance(run(way, transport, config=replace(CONFIG, max_event_bytes=50))[1], ProtocolError)


@every_way
@pytest.mark.parametrize("sign", [b"x", b" "], ids=["letters", "blanks"])
def test_a_stream_without_a_line_end_is_read_up_to_the_limit(sign: bytes, way: Way) -> None:
    """What never tells what it begins is given up after `max_event_bytes`, however much more of it there is."""
    transport = FakeTransport(Reply(200, SSE, (sign * 1000,) * 1000))
    _, error = run(way, transport, config=replace(CONFIG, max_event_bytes=65_536))
    assert type(error) is ProtocolError
    assert transport.log.count("read") == 66


@every_way
@pytest.mark.parametrize("sign", [b"x", b" "], ids=["letters", "blanks"])
def test_a_stream_without_a_line_end_and_without_end_takes_little_memory(sign: bytes, way: Way) -> None:
    """The server goes on until the client leaves, which it does soon."""
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
        tracemalloc.start()
        try:
            with pytest.raises(ProtocolError):
                way(client, REQUEST)
            assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
        finally:
            tracemalloc.stop()
            client.close()
        assert gone.wait(5)


# ---------------------------------------------------------------- deltas, in time


def test_a_delta_is_handed_on_before_the_next_read() -> None:
    """The first text is there after the first read; what a read completes is not kept until the next."""
    transport = FakeTransport(STREAMED)
    reads = {}
    for delta in Client(CONFIG, transport).stream(REQUEST, model_info("qwen-max")):
        if isinstance(delta, TextDelta):
            reads[delta.text] = transport.log.count("read")
    assert reads == {"A": 1, "B": 3}


async def test_a_delta_is_handed_on_before_the_next_read_async() -> None:
    """The same, async."""
    transport = FakeTransport(STREAMED)
    reads = {}
    async for delta in Client(CONFIG, transport).astream(REQUEST, model_info("qwen-max")):
        if isinstance(delta, TextDelta):
            reads[delta.text] = transport.log.count("read")
    assert reads == {"A": 1, "B": 3}


UNKNOWN_FIRST: dict[str, tuple[bytes, ...]] = {
    "LF": (b"server: x\n\n" + A,),
    "LF, in reads": (b"server: x\n", b"\n", A),
    "CR": (b"server: x\r\r" + A.replace(b"\n", b"\r"),),
    "CR, in reads": (b"server: x\r", b"\r", A.replace(b"\n", b"\r")),
    "CRLF": (b"server: x\r\n\r\n" + A.replace(b"\n", b"\r\n"),),
}
unknown_first = pytest.mark.parametrize("reads", UNKNOWN_FIRST.values(), ids=UNKNOWN_FIRST)


@unknown_first
def test_a_delta_after_a_field_that_nobody_knows_is_handed_on_before_the_server_goes_on(
    reads: tuple[bytes, ...],
) -> None:
    """A line that has ended tells that events come, whatever it is."""
    deltas = Client(CONFIG, FakeTransport(Reply(200, SSE, (*reads, None)))).stream(REQUEST, model_info("qwen-max"))
    assert next(delta for delta in deltas if isinstance(delta, TextDelta)) == TextDelta("A")


@unknown_first
async def test_a_delta_after_a_field_that_nobody_knows_is_handed_on_before_the_server_goes_on_async(
    reads: tuple[bytes, ...],
) -> None:
    """The same, async."""
    transport = FakeTransport(Reply(200, SSE, (*reads, None)))
    deltas = Client(CONFIG, transport).astream(REQUEST, model_info("qwen-max"))
    texts = (delta async for delta in deltas if isinstance(delta, TextDelta))
    assert await asyncio.wait_for(anext(texts), 5) == TextDelta("A")
    await deltas.aclose()  # type: ignore[attr-defined]  # a generator


@every_way
@pytest.mark.parametrize(
    ("end", "cls"), [((), StreamTruncatedError), ((LIMITED_EVENT,), RateLimitError), ((event(b"?"),), ProtocolError)]
)
@unknown_first
def test_a_failure_after_a_field_that_nobody_knows_and_an_answer_is_what_it_is(
    reads: tuple[bytes, ...], end: tuple[bytes, ...], cls: type[ModelStudioError], way: Way
) -> None:
    """What the body began with tells nothing once an answer has come."""
    if b"\n" not in reads[0]:
        end = tuple(read.replace(b"\n", b"\r") for read in end)
    _, error = run(way, FakeTransport(Reply(200, SSE, (*reads, *end))))
    assert type(error) is cls
    assert "not an event stream" not in error.message
    assert error.partial is not None
    assert error.partial.choices[0].text == "A"


@streaming_ways
def test_after_done_the_connection_lives_on(way: Way) -> None:
    """[DONE] ends the reading, `finish` is told so, then the response is closed; nothing more is read."""
    transport = FakeTransport(Reply(200, SSE, (A, STOP + DONE, AssertionError("read after the end"))))
    run(way, transport)
    assert transport.log == ["open", "read", "read", "finish", "close"]


@streaming_ways
def test_after_the_finish_the_rest_is_not_waited_for_as_long(way: Way) -> None:
    """From the read on that follows the finish reason, the transport is told that the answer itself is whole, and after
    each read whether it brought anything but signs of life."""
    transport = FakeTransport(Reply(200, SSE, (A, STOP, b": ping\n\n", A, USED)))
    answer, _ = run(way, transport)
    trailing = [step for step in transport.log if step in ("extend", "trailing")]
    assert trailing == ["extend", "trailing", "extend", "trailing"]
    assert transport.log[-2:] == ["finish", "close"]
    assert answer is not None
    assert answer.usage is not None


@every_way
@pytest.mark.parametrize(
    "reply", [Reply(200, SSE, (A, LIMITED_EVENT)), Reply(200, SSE, (A,)), Reply(200, SSE, (event(b"?"),)), LIMITED]
)
def test_after_a_failure_the_connection_does_not(reply: Reply, way: Way) -> None:
    """A response that failed is closed and not `finish`ed."""
    transport = FakeTransport(reply)
    run(way, transport, config=replace(CONFIG, max_retries=0))
    assert "finish" not in transport.log
    assert transport.log[-1] == "close"


PARTIALS: list[tuple[str, tuple[Any, ...], type[ModelStudioError], str | None]] = [
    ("an error event", (ROLE, A, B + LIMITED_EVENT), RateLimitError, "AB"),
    ("the end", (ROLE, A), StreamTruncatedError, "A"),
    ("not JSON", (A, event(b"?")), ProtocolError, "A"),
    ("a lost connection", (A, LOST), APIConnectionError, "A"),
    ("silence", (A, APITimeoutError("silent", is_resent=False)), APITimeoutError, "A"),
    ("nothing but who answers", (ROLE, LOST), APIConnectionError, None),
    ("nothing", (LOST,), APIConnectionError, None),
]


@every_way
@pytest.mark.parametrize(("reads", "cls", "text"), [c[1:] for c in PARTIALS], ids=[c[0] for c in PARTIALS])
def test_an_error_carries_what_had_arrived(
    reads: tuple[Any, ...], cls: type[ModelStudioError], text: str | None, way: Way
) -> None:
    """`error.partial` is the answer so far, without a finish reason; None where nothing of it had come."""
    _, error = run(way, FakeTransport(Reply(200, SSE, reads)))
    assert type(error) is cls
    if text is None:
        assert error.partial is None
    else:
        assert error.partial is not None
        (choice,) = error.partial.choices
        assert (choice.text, choice.finish_reason) == (text, None)
        assert error.partial.response.id == "chatcmpl-7"


def test_deltas_before_an_error_are_handed_on_first() -> None:
    """A consumer of the stream sees the text that came in the read of the error, then the error."""
    client = Client(CONFIG, FakeTransport(Reply(200, SSE, (A + B + LIMITED_EVENT,))))
    seen = []

    def consume() -> None:
        for delta in client.stream(REQUEST, model_info("qwen-max")):
            seen.append(delta)

    with pytest.raises(RateLimitError):
        consume()
    assert [delta for delta in seen if isinstance(delta, TextDelta)] == [TextDelta("A"), TextDelta("B")]


# ---------------------------------------------------------------- leaving early

ENDLESS = Reply(200, SSE, (A, B, None))


def leave_by_break(deltas: Any) -> None:
    for _ in deltas:
        break


def leave_by_close(deltas: Any) -> None:
    next(deltas)
    deltas.close()


def leave_by_exception(deltas: Any) -> None:
    with contextlib.suppress(ZeroDivisionError):
        for _ in deltas:
            raise ZeroDivisionError


def leave_by_throw(deltas: Any) -> None:
    next(deltas)
    with pytest.raises(KeyboardInterrupt):
        deltas.throw(KeyboardInterrupt())


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_close, leave_by_exception, leave_by_throw])
def test_leaving_a_stream_closes_the_response(leave: Callable[[Any], None]) -> None:
    """However the consumer leaves, the response is closed at once, unread and unfinished."""
    transport = FakeTransport(ENDLESS)
    leave(Client(CONFIG, transport).stream(REQUEST, model_info("qwen-max")))
    gc.collect()
    assert transport.log == ["open", "read", "close"]


async def aleave_by_break(deltas: Any) -> None:
    async for _ in deltas:
        break


async def aleave_by_aclose(deltas: Any) -> None:
    await anext(deltas)
    await deltas.aclose()


async def aleave_by_exception(deltas: Any) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async for _ in deltas:
            raise ZeroDivisionError


async def aleave_by_cancel(deltas: Any) -> None:
    async def consume() -> None:
        async for _ in deltas:
            pass

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def aleave_by_timeout(deltas: Any) -> None:
    async def consume() -> None:
        async for _ in deltas:
            pass

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(consume(), 0.01)


@pytest.mark.parametrize(
    "leave", [aleave_by_break, aleave_by_aclose, aleave_by_exception, aleave_by_cancel, aleave_by_timeout]
)
async def test_leaving_an_async_stream_closes_the_response(leave: Callable[[Any], Any]) -> None:
    """The same, async: also where the task is cancelled while it waits for the next read."""
    transport = FakeTransport(ENDLESS)
    deltas = Client(CONFIG, transport).astream(REQUEST, model_info("qwen-max"))
    await leave(deltas)
    del deltas
    gc.collect()
    await asyncio.sleep(0.01)  # the loop closes a generator that nobody holds
    assert transport.log[0] == "open"
    assert transport.log[-1] == "close"
    assert "finish" not in transport.log


async def test_cancelling_a_whole_answer_closes_the_response() -> None:
    """A task that waits for `acomplete` of a model that streams, cancelled, closes the response."""
    transport = FakeTransport(ENDLESS)
    request = replace(REQUEST, model="qwq-plus")
    task = asyncio.create_task(Client(CONFIG, transport).acomplete(request, model_info("qwq-plus")))
    while len(transport.log) < 4:  # noqa: ASYNC110  # let the task run, there is no event
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.01)
    assert transport.log == ["open", "read", "read", "read", "close"]


def test_a_stream_that_nobody_reads_sends_nothing() -> None:
    """The request goes out with the first delta that is asked for."""
    transport = FakeTransport()
    deltas: Any = Client(CONFIG, transport).stream(REQUEST, model_info("qwen-max"))
    deltas.close()
    assert transport.log == []


# ---------------------------------------------------------------- who asks


@every_way
def test_what_goes_out(way: Way) -> None:
    """URL, headers and body of a request; the key is on the request alone."""
    transport = FakeTransport(OK)
    run(way, transport, config=replace(CONFIG, headers={"x-dashscope-workspace": "ws-1"}))
    ((url, headers, body),) = transport.sent
    streams = way in (stream, astream)
    assert url == "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions"
    assert headers == {
        "authorization": f"Bearer {KEY}",
        "user-agent": f"modelstudio-integrations/{__version__}",
        "content-type": "application/json",
        "accept": "text/event-stream" if streams else "application/json",
        "x-dashscope-workspace": "ws-1",
    }
    assert body["messages"] == [{"role": "user", "content": "hello"}]
    assert ("stream" in body) is streams


@every_way
def test_without_a_key_nothing_authorises(way: Way) -> None:
    """Towards loopback there may be no key; then there is no header for it."""
    transport = FakeTransport(error(401, "invalid_api_key"))
    _, caught = run(way, transport, config=replace(CONFIG, api_key=None))
    assert "authorization" not in transport.sent[0][1]
    assert isinstance(caught, AuthenticationError)


def test_default_headers_win() -> None:
    """The caller's user agent replaces ours."""
    transport = FakeTransport(OK)
    run(complete, transport, config=replace(CONFIG, headers={"user-agent": "mine"}))
    assert transport.sent[0][1]["user-agent"] == "mine"


@every_way
@pytest.mark.parametrize(
    "reply",
    [
        Reply(
            401,
            {"x-echo": KEY},
            (json.dumps({"error": {"message": f"Incorrect API key: {KEY}", "code": "invalid_api_key"}}).encode(),),
        ),
        Reply(401, {}, (f"<html>{KEY}</html>".encode(),)),
        Reply(200, SSE, (event({"error": {"message": f"bad {KEY}", "code": "invalid_api_key"}}),)),
    ],
    ids=["an object", "a page", "an event"],
)
def test_a_key_that_is_echoed_is_not_shown(reply: Reply, way: Way) -> None:
    """Message, args, body, headers and text of an error do not hold the key, even where the service sends it back."""
    _, caught = run(way, FakeTransport(reply))
    assert isinstance(caught, AuthenticationError)
    assert KEY not in repr((str(caught), repr(caught), caught.args, vars(caught)))
    assert "[redacted]" in repr(vars(caught))


CHAT = "/compatible-mode/v1/chat/completions"
WHERE: list[tuple[str, str | None, str]] = [
    (
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "singapore",
        f"https://dashscope-intl.aliyuncs.com{CHAT} (region singapore)",
    ),
    (
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        "beijing",
        f"https://dashscope.aliyuncs.com{CHAT} (region beijing)",
    ),
    ("https://proxy.example.com/v1", None, "https://proxy.example.com/v1/chat/completions. "),
]


@every_way
@pytest.mark.parametrize(("base_url", "region", "named"), WHERE)
def test_a_401_says_where_the_key_was_sent(base_url: str, region: str | None, named: str, way: Way) -> None:
    """URL and region are named, once, and the other regions the key may be from: keys are per region."""
    config = replace(CONFIG, base_url=base_url, region=region)
    _, caught = run(way, FakeTransport(error(401, "invalid_api_key", "Incorrect API key.")), config=config)
    assert caught is not None
    assert caught.message.startswith(f"Incorrect API key. The key was sent to {named}")
    assert caught.args == (caught.message,)
    others = {"singapore", "virginia", "beijing", "hongkong", "frankfurt", "tokyo"} - {region}
    listed = caught.message.partition("another region (")[2].partition(")")[0]
    assert set(listed.split(", ")) == others


HOST = "dashscope-intl.aliyuncs.com"
ADVISED: list[tuple[str, Reply, type[ModelStudioError], tuple[str, ...]]] = [
    ("404", error(404, "model_not_found"), NotFoundError, ("case-sensitive", "differ by region", "base_url", HOST)),
    ("404 by a proxy", Reply(404, {"content-type": "text/html"}, HTML), NotFoundError, ("base_url", HOST)),
    ("403", error(403, "AccessDenied"), PermissionDeniedError, ("console", "workspace", HOST)),
    ("unpaid", error(400, "Arrearage"), QuotaError, ("console", "billing")),
    ("spent", error(403, "AllocationQuota.FreeTierOnly"), QuotaError, ("console", "free quota")),
    (
        "too long",
        error(400, "InvalidParameter", "Range of input length should be [1, 30720]"),
        ContextLengthError,
        ("messages", "longer context"),
    ),
    ("throttled", error(429, "Throttling"), RateLimitError, ("later", "max_retries")),
    ("5xx", error(500, "InternalError"), ServerError, ("later", HOST)),
    ("5xx by a proxy", Reply(502, {"content-type": "text/html"}, HTML), ServerError, ("later", HOST)),
    ("in an event", Reply(200, SSE, (ROLE + A, LIMITED_EVENT)), RateLimitError, ("later", "max_retries")),
]


@every_way
@pytest.mark.parametrize(("reply", "cls", "words"), [c[1:] for c in ADVISED], ids=[c[0] for c in ADVISED])
def test_an_error_says_what_to_do(reply: Reply, cls: type[ModelStudioError], words: tuple[str, ...], way: Way) -> None:
    """The service's words come first, then what helps, once, and where it was asked, where that may be the reason."""
    retries = 1 if cls.is_retryable and reply.headers is not SSE else 0
    transport = FakeTransport(*[reply] * (retries + 1))
    _, caught = run(way, transport, config=replace(CONFIG, max_retries=retries))
    assert type(caught) is cls
    assert all(caught.message.count(word) == 1 for word in words)
    assert caught.args == (caught.message,)
    if reply.headers.get("content-type") == "application/json":
        said = json.loads(reply.reads[0] or b"")["error"]["message"]  # type: ignore[arg-type]
        assert caught.message.startswith(f"{said.removesuffix('.')}. ")
        assert len(caught.message) > len(said) + 20


@every_way
@pytest.mark.parametrize(
    ("asked", "meant"), [("qwen-plsu", "qwen-plus"), ("Qwen-Plus", "qwen-plus"), ("my-own-model", None)]
)
def test_a_misspelt_model_is_told_which_was_meant(asked: str, meant: str | None, way: Way) -> None:
    """The 404 for an id that is nearly a listed one names that; any other gets the common advice alone."""
    reply = error(404, "model_not_found")
    _, caught = run(way, FakeTransport(reply), replace(REQUEST, model=asked, enable_thinking=False))
    assert isinstance(caught, NotFoundError)
    assert ("Did you mean" in caught.message) == (meant is not None)
    assert meant is None or f"Did you mean {meant}? The request was sent to" in caught.message


@every_way
def test_without_a_key_the_advice_is_to_give_one(way: Way) -> None:
    """A 401 to a call that sent no key does not speak of the key's region but of the missing key."""
    reply = error(401, "invalid_api_key", "You gave no API key.")
    _, caught = run(way, FakeTransport(reply), config=replace(CONFIG, api_key=None))
    assert caught is not None
    assert "No key was sent" in caught.message
    assert "DASHSCOPE_API_KEY" in caught.message
    assert "one region" not in caught.message


@every_way
def test_a_bad_request_gets_no_advice(way: Way) -> None:
    """Where nothing is known to help, the service's words stand alone."""
    _, caught = run(way, FakeTransport(error(400, "InvalidParameter", "Role?")))
    assert caught is not None
    assert caught.message == "Role?"


@every_way
def test_what_cannot_be_sent_opens_nothing(way: Way) -> None:
    """A refused request, by the policies or by the codec, never reaches the transport and is not tried again."""
    for request in (replace(REQUEST, n=2, tools=({"type": "function"},)), replace(REQUEST, extra_body={"model": "x"})):
        transport = FakeTransport()
        _, caught = run(way, transport, request)
        assert isinstance(caught, ConfigurationError)
        assert transport.log == []


def test_an_unknown_protocol_is_refused() -> None:
    """A client of a protocol that has no codec cannot be made."""
    with pytest.raises(ConfigurationError, match="protocol='smoke'"):
        Client(replace(CONFIG, protocol="smoke"), FakeTransport())


@every_way
def test_log_lines_tell_no_secret(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """A debug line for each retry and each answer, a warning for each decision against the caller; no key, no body."""
    tools = tuple({"type": "function", "function": {"name": name}} for name in "fg")
    with caplog.at_level(logging.DEBUG, "modelstudio_core"):
        run(
            way,
            FakeTransport(error(429, "Throttling", f"secret {KEY}"), OK),
            replace(REQUEST, tools=tools, tool_choice="any"),
        )
    records = [record for record in caplog.records if record.name == "modelstudio_core"]
    assert [record.levelname for record in records] == ["WARNING", "DEBUG", "DEBUG"]
    assert "2 tools" in records[0].getMessage()
    assert "RateLimitError, status 429, code Throttling, request id" in records[1].getMessage()
    assert f"response from {CONFIG.where}, request id" in records[2].getMessage()
    assert "secret" not in caplog.text


TWO = tuple({"type": "function", "function": {"name": name}} for name in "fg")
DECIDED: list[tuple[str, dict[str, Any], str]] = [
    ("several tools, one demanded", {"tools": TWO, "tool_choice": "any"}, "2 tools"),
    ("a forced call, always thinks", {"model": "qwq-32b", "tools": TWO[:1], "tool_choice": "any"}, "may think"),
]


def decisions(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """The log lines that tell a decision; others tell what was answered."""
    return [record for record in caplog.records if record.getMessage().startswith("Model Studio: ")]


@every_way
@pytest.mark.parametrize(("given", "words"), [case[1:] for case in DECIDED], ids=[case[0] for case in DECIDED])
def test_a_decision_is_a_warning_once(
    given: dict[str, Any], words: str, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """What was decided against the caller's wish is told with our name, loudly once for each object, then at debug."""
    request = replace(REQUEST, **given)
    with caplog.at_level(logging.DEBUG, "modelstudio_core"):
        for client in (Client(CONFIG, FakeTransport(OK, OK, OK)), Client(CONFIG, FakeTransport(OK))):
            for _ in range(len(client.transport.script)):  # type: ignore[attr-defined]
                way(client, request)
    records = decisions(caplog)
    assert [record.levelname for record in records] == ["WARNING", "DEBUG", "DEBUG", "WARNING"]
    for record in records:
        assert record.name == "modelstudio_core"
        assert words in record.getMessage()


def test_another_decision_is_a_warning_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """That one decision was told does not silence another."""
    client = Client(CONFIG, FakeTransport(*[OK] * len(DECIDED)))
    with caplog.at_level(logging.DEBUG, "modelstudio_core"):
        for _, given, _ in DECIDED:
            complete(client, replace(REQUEST, **given))
    assert [record.levelname for record in decisions(caplog)] == ["WARNING"] * len(DECIDED)


@every_way
@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("qwen-turbo", "qwen-turbo was retired on 2026-10-10: use qwen-flash instead"),
        ("glm-4.5", "glm-4.5 is listed by a reseller as retired on 2026-10-10: use glm-5.2 instead"),
    ],
)
def test_a_retired_model_is_named_once(model: str, words: str, way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """It is asked all the same. The warning, and the error where the service no longer has it, name its replacement."""
    client = Client(CONFIG, FakeTransport(OK, OK, error(404, "model_not_found")))
    request = replace(REQUEST, model=model, enable_thinking=False)
    with caplog.at_level(logging.DEBUG, "modelstudio_core"):
        for _ in range(2):
            way(client, request)
        with pytest.raises(NotFoundError, match=f"{words}. The request was sent to"):
            way(client, request)
    retired = [record for record in decisions(caplog) if words in record.getMessage()]
    assert [record.levelname for record in retired] == ["WARNING", "DEBUG", "DEBUG"]


def test_closing_is_the_transports() -> None:
    """`close` and `aclose` close what the transport owns."""
    transport = FakeTransport()
    client = Client(CONFIG, transport)
    client.close()
    asyncio.run(client.aclose())
    assert transport.log == ["close transport", "aclose transport"]


def test_a_request_is_not_changed() -> None:
    """The request that the caller holds is the same after the call."""
    request = replace(REQUEST, model="qwen3.7-max", response_format={"type": "json_object"}, parameters={"seed": 1})
    before = copy.deepcopy(request)
    run(complete, FakeTransport(OK), request)
    assert request == before


def test_one_client_serves_many_threads() -> None:
    """Calls at the same time do not mix."""
    from concurrent.futures import ThreadPoolExecutor

    class Many(FakeTransport):
        def open(
            self, url: str, headers: Any, body: bytes, timeout: Timeouts | None = None, *args: Any
        ) -> FakeResponse:
            text = json.loads(body)["messages"][0]["content"]
            return FakeResponse([], Reply(200, SSE, (*(chunk({"content": c}) for c in text), STOP + DONE)))

    client = Client(CONFIG, Many())
    texts = [str(number) * 50 for number in range(50)]
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda text: stream(client, replace(REQUEST, messages=(Message("user", text),))), texts)
    assert [result.choices[0].text for result in results] == texts
