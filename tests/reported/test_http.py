"""Empty answers, connections that break inside the call, and hooks of injected clients."""

from __future__ import annotations

import pickle
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import vcr  # type: ignore[import-untyped]  # ships no types
from langchain_core import exceptions as lc

import langchain_modelstudio.errors
import llama_index_modelstudio.errors
from modelstudio_core import errors
from tests.faults.dialects import DIALECTS, PARTIAL, TEXT, Dialect, written
from tests.faults.steps import (
    EVENT_STREAM,
    JSON,
    Step,
    begun,
    body,
    close,
    end,
    good,
    head,
    opened,
    pause,
    raw,
    replied,
    reset,
    stall,
    streamed,
)
from tests.faults.ways import WAYS, Heard, Way
from tests.loopback import Exchange, Loopback, Script

CELLS = [(dialect, way) for dialect in DIALECTS.values() for way in WAYS]


def rows(table: dict[str, Any]) -> Any:
    """Run each row with each protocol and half of the ways, alternating between rows."""
    params = []
    for number, (name, row) in enumerate(table.items()):
        for dialect, way in CELLS[number % 2 :: 2]:
            params.append(pytest.param(row, dialect, way, id=f"{name}-{dialect.name}-{way.name}"))
    return pytest.mark.parametrize(("row", "dialect", "way"), params)


every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
every_protocol = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without delay."""
    monkeypatch.setattr(random, "random", lambda: 0.0)


def is_async(way: Way) -> bool:
    return way.name.startswith("a")


def scripts(dialect: Dialect, *answers: Sequence[Step]) -> list[Script]:
    """One script per request; the last one answers all further requests."""

    def script(steps: Sequence[Step]) -> Script:
        def run(exchange: Exchange) -> None:
            for step in steps:
                step(exchange, dialect)

        return run

    return [script(steps) for steps in answers]


def injected(way: Way, **options: Any) -> dict[str, Any]:
    """Return the argument for an injected client with these options, sync or async depending on `way`."""
    if is_async(way):
        return {"http_async_client": httpx.AsyncClient(**options)}
    return {"http_client": httpx.Client(**options)}


def make(way: Way, url: str, dialect: Dialect, **settings: Any) -> Any:
    return way.make(**{"model": "qwen-plus", "base_url": url, "protocol": dialect.name, "timeout": 5, **settings})


# ---------------------------------------------------------------- 13: empty answers


def _object(dialect: Dialect, choices: list[Any]) -> bytes:
    """Return a whole answer, or an event, with these choices."""
    value = dialect.whole("")
    value.get("output", value)["choices"] = choices
    return written(value)


def _no_choices(dialect: Dialect) -> bytes:
    return _object(dialect, [])


def _null(dialect: Dialect) -> bytes:
    return written(dict.fromkeys(dialect.whole("")))


def _empty_message(dialect: Dialect) -> bytes:
    return written(dialect.whole("", finish=None))


EMPTY_STREAMS: dict[str, Sequence[Step]] = {
    "no event": streamed(),
    "204": (head(204, {}, chunked=False), end),
    "no body": (replied(200, b"", EVENT_STREAM),),
    "only [DONE]": streamed(b"data: [DONE]\n\n"),
    "only comments": streamed(b": ping\n\n: ping\n\n"),
    "only heartbeats": streamed(b"data:\n\n", b"data: null\n\n"),
    "only line ends": streamed(b"\n\r\n\n"),
    "only the role": streamed(lambda it: it.said("")),
    "only usage": streamed(lambda it: it.event(written(it.chunk(usage=True)))),
    "null": streamed(lambda it: it.event(_null(it)), lambda it: it.done),
    "no choices": streamed(lambda it: it.event(_no_choices(it)), lambda it: it.done),
}
EMPTY_ANSWERS: dict[str, Sequence[Step]] = {
    "204": (head(204, {}, chunked=False), end),
    "no event": streamed(),
    "no choices": (replied(200, _no_choices),),
    "null": (replied(200, _null),),
    "an empty message": (replied(200, _empty_message),),
}
EMPTY = {
    **{f"stream, {name}": (steps, {"streaming": True}) for name, steps in EMPTY_STREAMS.items()},
    **{f"whole, {name}": (steps, {}) for name, steps in EMPTY_ANSWERS.items()},
}


@pytest.mark.report(13)
@rows(EMPTY)
async def test_an_empty_answer_is_retried(row: Any, dialect: Dialect, way: Way) -> None:
    """Up to max_retries times, then an error is raised."""
    empty, settings = row
    with Loopback(scripts(dialect, empty, empty, [good])) as server:
        heard = await way(make(way, server.url, dialect, **settings))
        assert (heard.text, heard.error, len(server.requests)) == (TEXT, None, 3)
    with Loopback(scripts(dialect, empty)) as server:
        heard = await way(make(way, server.url, dialect, max_retries=1, **settings))
        assert isinstance(heard.error, errors.StreamTruncatedError)
        assert (heard.text, len(server.requests)) == ("", 2)


def _call(dialect: Dialect) -> bytes:
    value = dialect.chunk()
    choice = value.get("output", value)["choices"][0]
    said = choice.get("delta") or choice.get("message")
    said["tool_calls"] = [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{"}}]
    return dialect.event(written(value))


def _thought(dialect: Dialect) -> bytes:
    value = dialect.chunk()
    choice = value.get("output", value)["choices"][0]
    (choice.get("delta") or choice["message"])["reasoning_content"] = "Hm."
    return dialect.event(written(value))


@pytest.mark.report(13)
@rows({"text": (begun, PARTIAL), "call": (_call, ""), "reasoning": (_thought, "")})
async def test_a_partial_answer_is_not_retried(row: Any, dialect: Dialect, way: Way) -> None:
    """Because the service may bill both."""
    begins, partial = row
    with Loopback(scripts(dialect, streamed(begins), [good])) as server:
        heard = await way(make(way, server.url, dialect, streaming=True))
        assert isinstance(heard.error, errors.StreamTruncatedError)
        assert heard.error.partial is not None
        assert (heard.error.partial.text, len(server.requests)) == (partial, 1)


@pytest.mark.report(13)
@every_way
@every_protocol
async def test_an_empty_answer_with_a_finish_reason_is_an_answer(dialect: Dialect, way: Way) -> None:
    with Loopback(scripts(dialect, streamed(lambda it: it.last() + it.done))) as server:
        heard = await way(make(way, server.url, dialect, streaming=True))
        assert (heard.text, heard.error, len(server.requests)) == ("", None, 1)


# ---------------------------------------------------------------- 28: bodies that are read inside the call

LENGTH = head(200, JSON, Content_Length="4000")
BROKEN: dict[str, Sequence[Step]] = {
    "chunked, closed": (opened, body(begun), pause, close),
    "chunked, reset": (opened, body(begun), pause, reset),
    "chunked, no size": (opened, body(begun), raw(b"no size\r\n"), pause, close),
    "by length, closed": (LENGTH, body(b'{"id": "x", '), pause, close),
    "by length, reset": (LENGTH, body(b'{"id": "x", '), pause, reset),
    "nothing after the head": (opened, pause, close),
}


def reading_client(way: Way) -> dict[str, Any]:
    """Return the argument for a client whose hook reads each body."""
    return injected(way, event_hooks={"response": [_aread if is_async(way) else _read]})


def _read(response: httpx.Response) -> None:
    response.read()


async def _aread(response: httpx.Response) -> None:
    await response.aread()


async def finished(client: dict[str, Any]) -> None:
    for it in client.values():
        await it.aclose() if isinstance(it, httpx.AsyncClient) else it.close()


async def _breaks(way: Way, dialect: Dialect, broken: Sequence[Step], **settings: Any) -> None:
    with Loopback(scripts(dialect, broken, [good])) as server:
        heard = await way(make(way, server.url, dialect, **settings))
        assert (heard.text, heard.error, len(server.requests)) == (TEXT, None, 2)
    with Loopback(scripts(dialect, broken)) as server:
        heard = await way(make(way, server.url, dialect, max_retries=0, **settings))
        assert isinstance(heard.error, errors.APIConnectionError)
        assert not isinstance(heard.error, errors.APITimeoutError)
        assert heard.error.is_retryable
        assert "closed the connection during the response" in heard.error.message


@pytest.mark.report(28)
@rows(BROKEN)
async def test_a_connection_that_breaks_while_a_cassette_records(
    row: Sequence[Step], dialect: Dialect, way: Way, tmp_path: Path
) -> None:
    recorder = vcr.VCR(record_mode=vcr.mode.NEW_EPISODES, match_on=["method", "uri"])
    with recorder.use_cassette(str(tmp_path / "cassette.yaml")):
        await _breaks(way, dialect, row)


@pytest.mark.report(28)
@rows(BROKEN)
async def test_a_connection_that_breaks_while_a_hook_reads(row: Sequence[Step], dialect: Dialect, way: Way) -> None:
    client = reading_client(way)
    await _breaks(way, dialect, row, **client)
    await finished(client)


@pytest.mark.report(28)
@every_way
async def test_a_response_that_is_not_http(way: Way) -> None:
    """It still raises its own error behind a hook."""
    client = reading_client(way)
    with Loopback(lambda exchange: (exchange.send(b"220 mail.example ESMTP\r\n\r\n"), exchange.close())[0]) as server:
        heard = await way(make(way, server.url, DIALECTS["openai"], **client))
    assert isinstance(heard.error, errors.ProtocolError)
    assert "did not send an HTTP response" in heard.error.message
    await finished(client)


# ---------------------------------------------------------------- 29: a timeout is a connection error

MODULES = {"core": errors, "langchain": langchain_modelstudio.errors, "llama_index": llama_index_modelstudio.errors}


@pytest.mark.report(29)
@every_way
@pytest.mark.parametrize("steps", [(stall,), (opened, stall)], ids=["before the head", "in the body"])
async def test_a_timeout_is_caught_as_a_connection_error(steps: Sequence[Step], way: Way) -> None:
    """It has its own class, can be pickled, and is not retried."""
    module = MODULES["langchain" if way in WAYS[:4] else "llama_index"]
    with Loopback(scripts(DIALECTS["openai"], steps)) as server:
        heard = await way(make(way, server.url, DIALECTS["openai"], timeout=0.2, streaming=True))
        assert len(server.requests) == 1
    assert type(heard.error) is module.APITimeoutError
    for error in (heard.error, pickle.loads(pickle.dumps(heard.error))):
        assert isinstance(error, module.APIConnectionError)
        assert isinstance(error, errors.APIConnectionError)
        if way in WAYS[:4]:
            assert isinstance(error, lc.ModelTimeoutError)
            assert isinstance(error, lc.ModelConnectionError)


@pytest.mark.report(29)
@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_the_timeout_is_a_subclass_in_each_module(module: Any) -> None:
    assert issubclass(module.APITimeoutError, module.APIConnectionError)


# ---------------------------------------------------------------- 35: hooks that read the body


def _iterate(response: httpx.Response) -> None:
    for _ in response.iter_bytes():
        pass


async def _aiterate(response: httpx.Response) -> None:
    async for _ in response.aiter_bytes():
        pass


def _begin(response: httpx.Response) -> None:
    next(response.iter_raw())


async def _abegin(response: httpx.Response) -> None:
    await anext(response.aiter_raw())


def _close(response: httpx.Response) -> None:
    response.close()


async def _aclose(response: httpx.Response) -> None:
    await response.aclose()


def _read_and_raise(response: httpx.Response) -> None:
    response.read()
    response.raise_for_status()


async def _aread_and_raise(response: httpx.Response) -> None:
    await response.aread()
    response.raise_for_status()


def _raise(response: httpx.Response) -> None:
    response.raise_for_status()


async def _araise(response: httpx.Response) -> None:
    response.raise_for_status()


READERS = {"read": (_read, _aread), "read, raise_for_status": (_read_and_raise, _aread_and_raise)}
LOSERS = {"iterate": (_iterate, _aiterate), "begin": (_begin, _abegin), "close": (_close, _aclose)}


def hooked(way: Way, hooks: tuple[Any, Any]) -> dict[str, Any]:
    return injected(way, event_hooks={"response": [hooks[is_async(way)]]})


@pytest.mark.report(35)
@every_way
@every_protocol
@pytest.mark.parametrize("hooks", READERS.values(), ids=READERS)
@pytest.mark.rotated
async def test_a_hook_that_reads_the_body(hooks: Any, dialect: Dialect, way: Way) -> None:
    """The answer is unchanged, whole and streamed, for concurrent calls."""
    client = hooked(way, hooks)
    with Loopback(scripts(dialect, [good])) as server:
        for settings in ({}, {"streaming": True}):
            for _ in range(2):
                heard = await way(make(way, server.url, dialect, timeout=60, **settings, **client))
                assert (heard.text, heard.error) == (TEXT, None)
                assert heard.seconds < 5
    await finished(client)


@pytest.mark.report(35)
@every_way
@pytest.mark.parametrize("hooks", LOSERS.values(), ids=LOSERS)
async def test_a_hook_that_consumes_the_body(hooks: Any, way: Way) -> None:
    """It raises an error with the reason."""
    client = hooked(way, hooks)
    dialect = DIALECTS["openai"]
    with Loopback(scripts(dialect, [good])) as server:
        heard = await way(make(way, server.url, dialect, timeout=60, **client))
        assert isinstance(heard.error, errors.ConfigurationError)
        assert "response.read()" in heard.error.message
        assert (heard.seconds < 5, len(server.requests)) == (True, 1)
    await finished(client)


@pytest.mark.report(35)
@every_way
@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        ((_read_and_raise, _aread_and_raise), "No such model."),
        ((_read, _aread), "No such model."),
        ((_raise, _araise), "404"),
        ((_close, _aclose), "404"),
        ((_iterate, _aiterate), "404"),
    ],
    ids=["read and raise", "read", "raise", "close", "iterate"],
)
@pytest.mark.rotated
async def test_an_error_of_the_service_behind_a_hook(hooks: Any, said: str, way: Way) -> None:
    """Its text is available if the hook read the body."""
    client = hooked(way, hooks)
    dialect = DIALECTS["openai"]
    answer = [replied(404, lambda it: written(it.error("model_not_found", "No such model.")))]
    with Loopback(scripts(dialect, answer)) as server:
        heard = await way(make(way, server.url, dialect, **client))
        assert isinstance(heard.error, errors.NotFoundError)
        assert (heard.error.status_code, len(server.requests)) == (404, 1)
        assert said in str(heard.error)
    await finished(client)


class ReadingAuth(httpx.Auth):
    """An auth flow that reads the body, as in httpx's documentation."""

    requires_response_body = True

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        response = yield request
        assert response.content


class ReadingTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport, such as a cache or a logger, whose responses have been read."""

    def __init__(self) -> None:
        self.inner: Any = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.inner = self.inner or httpx.HTTPTransport()
        response: httpx.Response = self.inner.handle_request(request)
        response.read()
        return response

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.inner = self.inner or httpx.AsyncHTTPTransport()
        response: httpx.Response = await self.inner.handle_async_request(request)
        await response.aread()
        return response

    def close(self) -> None:
        self.inner.close()

    async def aclose(self) -> None:
        await self.inner.aclose()


@pytest.mark.report(35)
@every_way
@every_protocol
@pytest.mark.parametrize("options", [{"auth": ReadingAuth()}, {"transport": ReadingTransport}], ids=["auth", "cache"])
@pytest.mark.rotated
async def test_a_body_that_was_read_before_the_client_returned_it(options: Any, dialect: Dialect, way: Way) -> None:
    options = {name: value() if isinstance(value, type) else value for name, value in options.items()}
    client: dict[str, Any] = (
        {"http_async_client": httpx.AsyncClient(**options)}
        if is_async(way)
        else {"http_client": httpx.Client(**options)}
    )
    with Loopback(scripts(dialect, [good])) as server:
        for settings in ({}, {"streaming": True}):
            heard = await way(make(way, server.url, dialect, timeout=60, **settings, **client))
            assert (heard.text, heard.error, heard.seconds < 5) == (TEXT, None, True)
    await finished(client)


def _pieces(data: bytes) -> Iterator[bytes]:
    yield data[:9]
    yield data[9:]


async def _apieces(data: bytes) -> AsyncIterator[bytes]:
    for piece in _pieces(data):
        yield piece


@pytest.mark.report(35)
@rows({f"{kind}, {read}": (kind, read) for kind in ("bytes", "pieces", "json") for read in ("read", "unread")})
async def test_a_mock_transport(row: Any, dialect: Dialect, way: Way) -> None:
    """However its response is created, also behind a hook that reads it."""
    kind, read = row

    def answer(request: httpx.Request) -> httpx.Response:
        if kind == "json":
            return httpx.Response(200, json=dialect.whole(TEXT))
        data = dialect.stream()
        content: Any = data if kind == "bytes" else _apieces(data) if is_async(way) else _pieces(data)
        return httpx.Response(200, content=content, headers={"content-type": "text/event-stream"})

    hooks = {"response": [_aread if is_async(way) else _read]} if read == "read" else {}
    options: dict[str, Any] = {"transport": httpx.MockTransport(answer), "event_hooks": hooks}
    client: dict[str, Any] = (
        {"http_async_client": httpx.AsyncClient(**options)}
        if is_async(way)
        else {"http_client": httpx.Client(**options)}
    )
    heard: Heard = await way(make(way, "http://127.0.0.1:9", dialect, **client))
    assert (heard.text, heard.error) == (TEXT, None)
    await finished(client)
