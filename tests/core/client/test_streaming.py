"""Deltas are yielded without delay, and closing a stream closes the response."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from modelstudio_core.catalogue import model_info
from modelstudio_core.errors import (
    APIConnectionError,
    APITimeoutError,
    ModelStudioError,
    ProtocolError,
    RateLimitError,
    StreamTruncatedError,
)
from modelstudio_core.http.client import Client
from modelstudio_core.types import TextDelta
from tests.core.client.script import (
    CONFIG,
    DONE,
    LIMITED,
    LIMITED_EVENT,
    LOST,
    REQUEST,
    ROLE,
    SSE,
    STOP,
    STREAMED,
    USED,
    A,
    B,
    FakeTransport,
    Reply,
    Way,
    event,
    every_way,
    run,
    streaming_ways,
)

# ---------------------------------------------------------------- deltas, in time


def test_a_delta_is_yielded_before_the_next_read() -> None:
    """Each delta is yielded after the read that completes it."""
    transport = FakeTransport(STREAMED)
    reads = {}
    for delta in Client(CONFIG, transport).stream(REQUEST, model_info("qwen-max")):
        if isinstance(delta, TextDelta):
            reads[delta.text] = transport.log.count("read")
    assert reads == {"A": 1, "B": 3}


@pytest.mark.parametrize("is_async", [False, True])
def test_bytes_are_released_when_their_deltas_are_yielded(is_async: bool) -> None:
    """A stream that waits for its consumer keeps no bytes: a read may have 64 KiB, and a server many streams."""
    reads = (ROLE + A, B + STOP, USED + DONE)
    client = Client(CONFIG, FakeTransport(Reply(200, SSE, reads)))
    before = [sys.getrefcount(data) for data in reads]
    held = []

    async def consume() -> None:
        async for _ in client.astream_reads(REQUEST, model_info("qwen-max")):
            held.append([sys.getrefcount(data) for data in reads])

    if is_async:
        asyncio.run(consume())
    else:
        for _ in client.stream_reads(REQUEST, model_info("qwen-max")):
            held.append([sys.getrefcount(data) for data in reads])
    assert len(held) == 3
    assert all(counts == before for counts in held)


async def test_a_delta_is_yielded_before_the_next_read_async() -> None:
    """The async version."""
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
def test_a_delta_after_an_unknown_field_is_yielded_at_once(
    reads: tuple[bytes, ...],
) -> None:
    """Any complete line shows that the body is a stream."""
    deltas = Client(CONFIG, FakeTransport(Reply(200, SSE, (*reads, None)))).stream(REQUEST, model_info("qwen-max"))
    assert next(delta for delta in deltas if isinstance(delta, TextDelta)) == TextDelta("A")


@unknown_first
async def test_a_delta_after_an_unknown_field_is_yielded_at_once_async(
    reads: tuple[bytes, ...],
) -> None:
    """The async version."""
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
def test_an_error_after_an_unknown_field_and_an_answer(
    reads: tuple[bytes, ...], end: tuple[bytes, ...], cls: type[ModelStudioError], way: Way
) -> None:
    """The unknown field is not part of the error message."""
    if b"\n" not in reads[0]:
        end = tuple(read.replace(b"\n", b"\r") for read in end)
    _, error = run(way, FakeTransport(Reply(200, SSE, (*reads, *end))))
    assert type(error) is cls
    assert "not an event stream" not in error.message
    assert error.partial is not None
    assert error.partial.choices[0].text == "A"


@streaming_ways
def test_done_ends_the_response(way: Way) -> None:
    """Reading stops after [DONE], `finish` is called, and then the response is closed."""
    transport = FakeTransport(Reply(200, SSE, (A, STOP + DONE, AssertionError("read after the end"))))
    run(way, transport)
    assert transport.log == ["open", "read", "read", "finish", "close"]


@streaming_ways
def test_the_timeout_is_shorter_after_the_finish_reason(way: Way) -> None:
    """The transport is told that the answer is complete, and whether each read had more than a heartbeat."""
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
def test_a_failed_response_is_not_finished(reply: Reply, way: Way) -> None:
    """It is closed without `finish`."""
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
def test_an_error_has_the_partial_answer(
    reads: tuple[Any, ...], cls: type[ModelStudioError], text: str | None, way: Way
) -> None:
    """`error.partial` has no finish reason. It is None if nothing was received."""
    _, error = run(way, FakeTransport(Reply(200, SSE, reads)))
    assert type(error) is cls
    if text is None:
        assert error.partial is None
    else:
        assert error.partial is not None
        (choice,) = error.partial.choices
        assert (choice.text, choice.finish_reason) == (text, None)
        assert error.partial.response.id == "chatcmpl-7"


@every_way
def test_an_error_has_the_last_usage(way: Way) -> None:
    """`error.partial` has it, although the stream did not end."""
    _, error = run(way, FakeTransport(Reply(200, SSE, (A, USED, LOST))))
    assert error.partial is not None
    assert error.partial.usage is not None
    assert (error.partial.usage.input_tokens, error.partial.usage.output_tokens) == (1, 2)


def test_deltas_are_yielded_before_an_error() -> None:
    """Including those of the same read."""
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
def test_closing_a_stream_closes_the_response(leave: Callable[[Any], None]) -> None:
    """Immediately, without reading the rest."""
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
async def test_closing_an_async_stream_closes_the_response(leave: Callable[[Any], Any]) -> None:
    """Also if the task is cancelled while it waits for a read."""
    transport = FakeTransport(ENDLESS)
    deltas = Client(CONFIG, transport).astream(REQUEST, model_info("qwen-max"))
    await leave(deltas)
    del deltas
    gc.collect()
    await asyncio.sleep(0.01)  # the loop closes a generator that nobody holds
    assert transport.log[0] == "open"
    assert transport.log[-1] == "close"
    assert "finish" not in transport.log


async def test_cancelling_a_call_closes_the_response() -> None:
    """While `acomplete` waits for a model that streams."""
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


def test_an_unread_stream_sends_nothing() -> None:
    """The request is sent when the first delta is requested."""
    transport = FakeTransport()
    deltas: Any = Client(CONFIG, transport).stream(REQUEST, model_info("qwen-max"))
    deltas.close()
    assert transport.log == []
