"""Deltas arrive in time, and leaving a stream closes it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
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


@every_way
def test_usage_is_kept_when_the_connection_is_lost(way: Way) -> None:
    """The last usage is in `error.partial`, though no end of the stream has written it."""
    _, error = run(way, FakeTransport(Reply(200, SSE, (A, USED, LOST))))
    assert error.partial is not None
    assert error.partial.usage is not None
    assert (error.partial.usage.input_tokens, error.partial.usage.output_tokens) == (1, 2)


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
