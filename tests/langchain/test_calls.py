"""One model object with all methods, threads and event loops, and the errors of failed calls."""

from __future__ import annotations

import asyncio
import pickle
import socket
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core import exceptions as lc

from langchain_modelstudio import ChatModelStudio
from langchain_modelstudio import errors as ours
from modelstudio_core import errors as core
from tests.loopback import Exchange, Loopback, reply_json, sse

KEY = "sk-marked-key-for-tests"


def chunk(**delta: Any) -> dict[str, Any]:
    finish = delta.pop("finish", None)
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "chatcmpl-1", "model": "qwen-plus", "choices": [choice], "usage": None}


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
ANSWER = {
    "id": "chatcmpl-1",
    "model": "qwen-plus",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": USAGE,
}
STREAM = (
    chunk(role="assistant", content="hel"),
    chunk(content="lo"),
    chunk(finish="stop"),
    {"id": "chatcmpl-1", "model": "qwen-plus", "choices": [], "usage": USAGE},
)


def model(url: str, **settings: Any) -> ChatModelStudio:
    return ChatModelStudio(**{"model": "qwen-turbo", "base_url": url, "api_key": KEY, "max_retries": 0, **settings})


# ---------------------------------------------------------------- four ways to call


def invoke(llm: ChatModelStudio) -> str:
    return str(llm.invoke("hi").text)


def ainvoke(llm: ChatModelStudio) -> str:
    async def call() -> str:
        return str((await llm.ainvoke("hi")).text)

    return asyncio.run(call())


def stream(llm: ChatModelStudio) -> str:
    return "".join(str(c.text) for c in llm.stream("hi"))


def astream(llm: ChatModelStudio) -> str:
    async def call() -> str:
        return "".join([str(c.text) async for c in llm.astream("hi")])

    return asyncio.run(call())


CALLS = (invoke, ainvoke, stream, astream)
Call = Callable[[ChatModelStudio], str]


def answer(exchange: Exchange) -> None:
    """Stream if requested, otherwise send a whole answer."""
    (sse(*STREAM) if exchange.request.json().get("stream") else reply_json(200, ANSWER))(exchange)


# ---------------------------------------------------------------- one object, every way


def test_one_object_with_event_loops_and_threads() -> None:
    """By invoke, by 20 event loops one after another, and by 32 threads."""
    with Loopback(answer) as server, model(server.url) as llm:
        assert invoke(llm) == "hello"
        for _ in range(20):
            assert ainvoke(llm) == "hello"
        with ThreadPoolExecutor(32) as pool:
            said = list(pool.map(lambda i: CALLS[i % 4](llm), range(96)))
        assert said == ["hello"] * 96
        assert len(server.requests) == 117


@pytest.mark.usefixtures("patient_drain")
def test_sequential_calls_share_one_connection() -> None:
    """Whole and streamed calls."""
    with Loopback(answer) as server, model(server.url) as llm:
        for call in (invoke, stream) * 10:
            assert call(llm) == "hello"
        assert server.connections == 1


async def test_100_concurrent_streams() -> None:
    """Each gets its own answer."""

    def echo(exchange: Exchange) -> None:
        said = exchange.request.json()["messages"][0]["content"]
        sse(*(chunk(content=letter) for letter in said), chunk(finish="stop"), delay=0.002)(exchange)

    async def ask(llm: ChatModelStudio, number: int) -> str:
        return "".join([str(c.text) async for c in llm.astream(f"number {number}")])

    with Loopback(echo) as server:
        async with model(server.url) as llm:
            said = await asyncio.gather(*(ask(llm, number) for number in range(100)))
    assert said == [f"number {number}" for number in range(100)]


# ---------------------------------------------------------------- calls that cannot succeed


def compatible_error(status: int, code: str | None, message: str) -> Callable[[Exchange], None]:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return reply_json(status, {"error": error, "request_id": "req-7"})


def cut_stream(exchange: Exchange) -> None:
    """Half an answer, then a regular end of the body."""
    sse(*STREAM[:2], done=False)(exchange)


def reset_stream(exchange: Exchange) -> None:
    """Half an answer, then a reset."""
    exchange.send_head(200, {"Content-Type": "text/event-stream"})
    exchange.send_chunk(b'data: {"choices":[{"index":0,"delta":{"content":"hel"}}]}\n\n')
    exchange.wait(0.05)
    exchange.reset()


def cut_answer(exchange: Exchange) -> None:
    """A whole answer truncated by the service's time limit, without a finish reason."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "hel"}, "finish_reason": None}
    reply_json(200, {"id": "chatcmpl-1", "choices": [choice], "usage": USAGE})(exchange)


WRONG_KEY = compatible_error(401, "invalid_api_key", f"Incorrect API key provided: {KEY}.")
UNKNOWN_MODEL = compatible_error(404, "model_not_found", "The model qwen-turbo does not exist.")
FAILURES = [
    # script, the error of ours, langchain-core's, words that say what to do
    pytest.param(
        WRONG_KEY, ours.AuthenticationError, lc.ModelAuthenticationError, "valid in one region", id="wrong key"
    ),
    pytest.param(UNKNOWN_MODEL, ours.NotFoundError, lc.ModelNotFoundError, "does not exist", id="unknown model"),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("script", "expected", "langchains", "words"), FAILURES)
def test_an_error_answer_is_a_typed_error(
    call: Call, script: Any, expected: type[Exception], langchains: type[Exception], words: str
) -> None:
    """Ours and langchain-core's, with advice, status, code and request ID, without the key."""
    with Loopback(script) as server, model(server.url) as llm, pytest.raises(expected) as caught:
        call(llm)
    error = caught.value
    assert isinstance(error, langchains)
    assert isinstance(error, core.APIStatusError)
    assert words in str(error)
    assert (error.request_id, len(server.requests)) == ("req-7", 1)
    assert error.status_code in (401, 404)
    assert error.response is not None
    assert error.response.json()["request_id"] == "req-7"
    for shown in (str(error), repr(error), repr(error.__dict__), repr(error.__cause__)):
        assert KEY not in shown
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code) == (type(error), str(error), error.code)


def test_the_error_of_a_wrong_key() -> None:
    """It has the host and the other regions, because keys are valid in one region."""
    with Loopback(WRONG_KEY) as server, model(server.url) as llm, pytest.raises(ours.AuthenticationError) as caught:
        llm.invoke("hi")
    assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert "beijing" in str(caught.value)


@pytest.mark.parametrize("call", CALLS)
def test_a_refused_connection_is_a_typed_error(call: Call) -> None:
    """It has the URL, and is retryable."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with model(f"http://127.0.0.1:{port}") as llm, pytest.raises(ours.APIConnectionError) as caught:
        call(llm)
    assert isinstance(caught.value, lc.ModelConnectionError)
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert caught.value.is_retryable
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("script", "expected", "langchains"),
    [
        pytest.param(cut_stream, ours.StreamTruncatedError, lc.ModelError, id="clean end without a finish"),
        pytest.param(reset_stream, ours.APIConnectionError, lc.ModelConnectionError, id="reset"),
    ],
)
def test_a_truncated_stream_raises(
    call: Call, script: Any, expected: type[core.ModelStudioError], langchains: type[Exception]
) -> None:
    """With the partial answer, and without a retry. Other packages return it as complete."""
    with Loopback(script) as server, model(server.url, streaming=True, max_retries=2) as llm:
        with pytest.raises(expected) as caught:
            call(llm)
        assert len(server.requests) == 1
    assert isinstance(caught.value, langchains)
    assert caught.value.partial is not None
    assert caught.value.partial.choices[0].text.startswith("hel")


@pytest.mark.parametrize("call", [invoke, ainvoke])
def test_a_truncated_answer_raises(call: Call) -> None:
    """The service truncates answers after 300 s without an error."""
    with Loopback(cut_answer) as server, model(server.url) as llm, pytest.raises(ours.StreamTruncatedError) as caught:
        call(llm)
    assert caught.value.partial is not None
    assert caught.value.partial.choices[0].text == "hel"
    assert caught.value.partial.usage is not None


@pytest.mark.parametrize("sync", [True, False])
def test_text_before_a_truncation_is_yielded(sync: bool) -> None:
    """Before the error is raised."""
    seen: list[str] = []

    def consume(llm: ChatModelStudio) -> None:
        for piece in llm.stream("hi"):
            seen.append(str(piece.text))

    async def aconsume(llm: ChatModelStudio) -> None:
        async for piece in llm.astream("hi"):
            seen.append(str(piece.text))

    with Loopback(cut_stream) as server, model(server.url) as llm, pytest.raises(ours.StreamTruncatedError):
        consume(llm) if sync else asyncio.run(aconsume(llm))
    assert "".join(seen) == "hello"


@pytest.mark.parametrize("call", CALLS)
def test_a_throttled_call_is_retried(call: Call) -> None:
    """Twice by default."""
    throttled = reply_json(429, {"error": {"code": "limit_requests", "message": "slow"}}, {"retry-after-ms": "1"})
    with Loopback([throttled, throttled, answer]) as server, model(server.url, max_retries=None) as llm:
        assert call(llm) == "hello"
        assert len(server.requests) == 3


def page(exchange: Exchange) -> None:
    """A login page of a proxy."""
    exchange.send_head(200, {"Content-Type": "text/html"})
    exchange.send_chunk(b"<html>Log in</html>")


PLAIN_401 = compatible_error(401, "invalid_api_key", "Incorrect API key provided.")
BROKEN: list[Any] = [
    # script (None: nobody listens), whether the wire streams in any case, the error
    pytest.param(PLAIN_401, False, ours.AuthenticationError, id="401"),
    pytest.param(UNKNOWN_MODEL, False, ours.NotFoundError, id="404"),
    pytest.param(None, False, ours.APIConnectionError, id="refused connection"),
    pytest.param(cut_stream, True, ours.StreamTruncatedError, id="cut stream"),
    pytest.param(reset_stream, True, ours.APIConnectionError, id="reset stream"),
    pytest.param(page, False, ours.ProtocolError, id="not JSON"),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("script", "streaming", "expected"), BROKEN)
def test_a_traceback_with_its_locals_shows_no_key(
    call: Call, script: Any, streaming: bool, expected: type[core.ModelStudioError]
) -> None:
    """Nor a part of it, in logs with local variables or with all causes."""
    with Loopback(script or answer) as server:
        if script is None:
            server.stop()
        with model(server.url, streaming=streaming or None) as llm, pytest.raises(expected) as caught:
            call(llm)
    with_locals = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = "".join(with_locals.format()) + "".join(traceback.format_exception(caught.value))
    assert "raise step.error" in shown
    for at in range(len(KEY) - 8):
        assert KEY[at : at + 8] not in shown


# ---------------------------------------------------------------- leaving early


def endless(exchange: Exchange) -> None:
    exchange.send_head(200, {"Content-Type": "text/event-stream"})
    data = b'data: {"choices":[{"index":0,"delta":{"content":"more "}}]}\n\n'
    while not exchange.client_gone(0.01):
        exchange.send_chunk(data)


def test_closing_a_stream_closes_the_response() -> None:
    """The server is disconnected within a second, so it stops generating and billing."""
    with Loopback(endless) as server, model(server.url) as llm:
        for _ in llm.stream("hi"):
            break
        assert server.wait_until(lambda s: s.open_connections == 0)


async def test_closing_an_async_stream_closes_the_response() -> None:
    """By break, or by cancelling the task."""
    with Loopback(endless) as server:
        async with model(server.url) as llm:
            async for _ in llm.astream("hi"):
                break
            await asyncio.sleep(0.05)
            assert await asyncio.to_thread(server.wait_until, lambda s: s.open_connections == 0)

            async def consume() -> None:
                async for _ in llm.astream("hi"):
                    pass

            task = asyncio.create_task(consume())
            await asyncio.sleep(0.2)
            assert server.open_connections == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.wait_until, lambda s: s.open_connections == 0)
