"""Error classes, which are the core's, this adapter's and langchain-core's, with every method.

L and C numbers are rows of test_peer_matrix.py. Codes and statuses follow the vendor's error-code page.
"""

from __future__ import annotations

import pickle
import traceback
from contextlib import nullcontext
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRetryMiddleware
from langchain_core import exceptions as lc
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessageChunk, HumanMessage

from langchain_modelstudio import errors as ours
from modelstudio_core import errors as core
from modelstudio_core.types import ChatResult, Choice
from tests.langchain.service import WAYS, call, chat
from tests.loopback import Exchange, Loopback, reply, reply_json, sse_body
from tests.protocols import both_protocols
from tests.service import REQUEST_ID, Answer, Call

# `stream_events(version="v3")` is in beta
pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

STREAMS = ("stream", "astream")
KEY = "sk-marked-key-for-tests"

# ---------------------------------------------------------------- the tree

NAMESAKES: dict[str, type[Exception]] = {
    "ModelStudioError": lc.ModelError,
    "ConfigurationError": lc.ModelInvalidRequestError,
    "APIConnectionError": lc.ModelConnectionError,
    "APITimeoutError": lc.ModelTimeoutError,
    "APIStatusError": lc.ModelError,
    "AuthenticationError": lc.ModelAuthenticationError,
    "PermissionDeniedError": lc.ModelPermissionDeniedError,
    "BadRequestError": lc.ModelInvalidRequestError,
    "ContextLengthError": lc.ContextOverflowError,
    "ContentFilterError": lc.ModelRefusalError,
    "FileError": lc.ModelInvalidRequestError,
    "NotFoundError": lc.ModelNotFoundError,
    "RateLimitError": lc.ModelRateLimitError,
    "QuotaError": lc.ModelPermissionDeniedError,
    "ServerError": lc.ModelAPIError,
    "ProtocolError": lc.ModelError,
    "RefusalError": lc.ModelRefusalError,
    "StreamTruncatedError": lc.ModelError,
}


def tree(root: type[core.ModelStudioError]) -> set[type[core.ModelStudioError]]:
    """Return `root` and the core's classes below it."""
    below = (cls for cls in root.__subclasses__() if cls.__module__ == core.__name__)
    return {root}.union(*(tree(cls) for cls in below))


def test_each_error_of_the_core_has_a_namesake() -> None:
    """The adapter's tree has the same classes, and the table here is complete."""
    assert {cls.__name__ for cls in tree(core.ModelStudioError)} == set(NAMESAKES) == set(ours.__all__)


@pytest.mark.parametrize("name", NAMESAKES)
def test_an_error_has_three_bases(name: str) -> None:
    """It is caught as the core's, this adapter's and langchain-core's class, and their parents."""
    mine, of_core = getattr(ours, name), getattr(core, name)
    assert issubclass(mine, of_core)
    assert issubclass(mine, NAMESAKES[name])
    assert issubclass(mine, ours.ModelStudioError)
    for parent in of_core.__mro__:
        if parent.__module__ == core.__name__:
            assert issubclass(mine, getattr(ours, parent.__name__))
    assert mine.is_retryable == of_core.is_retryable


FIELDS: dict[str, Any] = {
    "status_code": 429,
    "code": "Throttling",
    "request_id": "req-1",
    "retry_after": 1.5,
    "body": {"message": "m"},
    "response": core.ErrorResponse(429, {"x-request-id": "req-1"}, '{"message": "m"}'),
    "partial": ChatResult((Choice(text="so far"),)),
}


def raised_from(cause: Exception, error: Exception) -> Exception:
    """`error`, raised from `cause` inside the adapter."""
    try:
        with ours.langchain_errors():
            raise error from cause
    except core.ModelStudioError as found:
        return found


@pytest.mark.parametrize("name", NAMESAKES)
def test_core_errors_are_converted(name: str) -> None:
    """Each class, with message, fields, cause and traceback."""
    cause = KeyError("x")
    error = getattr(core, name)("slow down", **FIELDS)
    found: Any = raised_from(cause, error)
    assert type(found) is getattr(ours, name)
    assert {field: getattr(found, field) for field in FIELDS} == FIELDS
    assert (found.message, str(found), found.args) == (error.message, str(error), error.args)
    assert found.__cause__ is cause
    assert "raised_from" in "".join(traceback.format_tb(found.__traceback__))


@pytest.mark.parametrize("name", NAMESAKES)
def test_an_error_can_be_pickled(name: str) -> None:
    """With its class and fields."""
    error = getattr(ours, name)("slow down", is_retryable=True, **FIELDS)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert {field: getattr(again, field) for field in FIELDS} == FIELDS
    assert (str(again), again.is_retryable) == (str(error), True)


def test_is_retryable() -> None:
    """It has langchain-core's meaning, for its middleware: also True for timeouts and truncated answers, which this
    package does not retry.
    """
    for name, cls in NAMESAKES.items():
        assert not getattr(cls, "is_retryable", False) or getattr(ours, name)("x").is_retryable
    assert ours.StreamTruncatedError("cut").is_retryable
    assert ours.APITimeoutError("silent", is_resent=False).is_retryable


def test_converting_errors_twice() -> None:
    """The class stays the same. Foreign errors are not converted."""
    error = ours.RateLimitError("slow down", **FIELDS)
    assert type(raised_from(KeyError(), error)) is ours.RateLimitError
    with pytest.raises(ZeroDivisionError), ours.langchain_errors():
        raise ZeroDivisionError


# ---------------------------------------------------------------- what the service says

SAID: list[tuple[str, int, str, str, type[Exception]]] = [
    ("a wrong key", 401, "invalid_api_key", "Incorrect API key provided.", lc.ModelAuthenticationError),
    ("a model that is not open", 403, "Model.AccessDenied", "Model access denied.", lc.ModelPermissionDeniedError),
    ("a wrong parameter", 400, "invalid_parameter_error", "temperature must be < 2", lc.ModelInvalidRequestError),
    (
        "an input too long",
        400,
        "invalid_parameter_error",
        "Range of input length should be [1, 98304]",
        lc.ContextOverflowError,
    ),
    ("moderation", 400, "data_inspection_failed", "inappropriate content", lc.ModelInvalidRequestError),
    ("no such model", 404, "model_not_found", "The model does not exist.", lc.ModelNotFoundError),
    ("throttled", 429, "Throttling.RateQuota", "Requests rate limit exceeded.", lc.ModelRateLimitError),
    ("tokens a minute", 429, "insufficient_quota", "You exceeded your quota.", lc.ModelRateLimitError),
    ("unpaid", 400, "Arrearage", "Access denied, overdue payment.", lc.ModelPermissionDeniedError),
    ("a failure", 500, "InternalError", "Internal error.", lc.ModelAPIError),
    ("overloaded", 503, "ModelUnavailable", "Try later.", lc.ModelAPIError),
]


@both_protocols
@pytest.mark.parametrize(
    ("status", "code", "message", "cls"), [case[1:] for case in SAID], ids=[case[0] for case in SAID]
)
@pytest.mark.parametrize("thinking", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.rotated
async def test_an_error_of_the_service(
    way: str, thinking: bool, status: int, code: str, message: str, cls: type[Exception]
) -> None:
    """langchain-core's class with status, code, request ID and message (L26)."""
    body = {"error": {"message": message, "type": "x", "code": code}, "request_id": "req-1"}
    with Loopback(reply_json(status, body, {"x-request-id": "req-1"})) as server:
        with pytest.raises(cls) as raised:
            await call(chat(server, enable_thinking=thinking), way)
        assert len(server.requests) == 1
    error: Any = raised.value
    assert isinstance(error, ours.APIStatusError)
    assert (error.status_code, error.code, error.request_id) == (status, code, "req-1")
    assert message in str(error)
    # langchain-core records these of an error for tracing
    assert error.response.status_code == status
    assert error.response.json() == body
    assert error.response.headers["x-request-id"] == "req-1"


@both_protocols
@pytest.mark.parametrize("way", WAYS)
async def test_core_retries(way: str) -> None:
    """They work under LangChain, and `retry_after` is kept when they are exhausted."""
    busy = reply_json(429, {"error": {"message": "slow down", "code": "Throttling"}}, {"retry-after": "0"})
    with Loopback([busy, busy, Answer(text=["hi"])]) as server:
        assert (await call(chat(server, max_retries=2), way)).text == "hi"
    with Loopback(busy) as server:
        with pytest.raises(lc.ModelRateLimitError) as raised:
            await call(chat(server, max_retries=1), way)
        assert len(server.requests) == 2
    assert raised.value.retry_after == 0  # type: ignore[attr-defined]
    assert raised.value.is_retryable


@both_protocols
@pytest.mark.parametrize("way", WAYS)
async def test_the_error_of_a_wrong_key(way: str) -> None:
    """It has the URL, but not the key, even if the service echoes it (C11)."""
    body = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}
    with Loopback(reply_json(401, body)) as server:
        with pytest.raises(lc.ModelAuthenticationError) as raised:
            await call(chat(server, api_key=KEY), way)
        assert f"127.0.0.1:{server.port}" in str(raised.value)
    error: Any = raised.value
    assert KEY not in "".join(traceback.format_exception(error)) + repr(error.body) + error.response.text


# ---------------------------------------------------------------- what goes wrong on the way


@pytest.mark.parametrize("way", WAYS)
async def test_no_connection(way: str) -> None:
    """A connection error with httpx's error as its cause."""
    with Loopback(Answer()) as server:
        llm = chat(server)
    with pytest.raises(lc.ModelConnectionError) as raised:
        await call(llm, way)
    assert isinstance(raised.value, ours.APIConnectionError)
    assert raised.value.__cause__ is not None


@pytest.mark.parametrize("way", WAYS)
async def test_a_service_without_a_response(way: str) -> None:
    """A timeout error."""
    with Loopback(lambda exchange: exchange.wait(5)) as server:
        with pytest.raises(lc.ModelTimeoutError) as raised:
            await call(chat(server, timeout=0.1), way)
        assert isinstance(raised.value, ours.APITimeoutError)


@both_protocols
@pytest.mark.parametrize("way", WAYS)
async def test_an_invalid_response(way: str) -> None:
    """A protocol error, never text."""
    page = reply(200, b"<html>busy</html>", {"Content-Type": "text/html"})
    with Loopback(page) as server, pytest.raises(ours.ProtocolError) as raised:
        await call(chat(server), way)
    assert isinstance(raised.value, lc.ModelError)


PARTLY = Answer(reasoning=["hm"], text=["It ", "is"], calls=[Call("call_1", "get", ['{"a": '])])
MIDSTREAM = {"error": {"message": "Output data may contain inappropriate content.", "code": "data_inspection_failed"}}
CUT: list[tuple[str, Answer, type[Exception]]] = [
    ("an error event", Answer(PARTLY.reasoning, PARTLY.text, PARTLY.calls, failure=MIDSTREAM), ours.ContentFilterError),
    (
        "an end without a finish",
        Answer(PARTLY.reasoning, PARTLY.text, PARTLY.calls, cut=True),
        ours.StreamTruncatedError,
    ),
]


@both_protocols
@pytest.mark.parametrize(("answer", "cls"), [case[1:] for case in CUT], ids=[case[0] for case in CUT])
@pytest.mark.parametrize("way", WAYS)
async def test_partial(answer: Answer, cls: type[Exception], way: str) -> None:
    """A broken stream raises with the partial answer, also with invoke (L33, L34)."""
    with Loopback(answer) as server, pytest.raises(cls) as raised:
        await call(chat(server, enable_thinking=True), way)
    partial = raised.value.partial  # type: ignore[attr-defined]
    [choice] = partial.choices
    assert (choice.reasoning, choice.text, choice.finish_reason) == ("hm", "It is", None)
    assert [cut.arguments for cut in choice.invalid_tool_calls] == ['{"a": ']
    assert partial.response.request_id == REQUEST_ID


class Ends(BaseCallbackHandler):
    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.ends: list[Any] = []

    def on_llm_error(self, error: BaseException, **_: Any) -> None:
        self.errors.append(error)

    def on_llm_end(self, response: Any, **_: Any) -> None:
        self.ends.append(response)


@both_protocols
@pytest.mark.parametrize(("answer", "cls"), [case[1:] for case in CUT], ids=[case[0] for case in CUT])
@pytest.mark.parametrize("way", STREAMS)
async def test_chunks_are_yielded_before_an_error(answer: Answer, cls: type[Exception], way: str) -> None:
    """Callbacks get an error and no end."""
    handler = Ends()
    pieces: list[AIMessageChunk] = []

    async def read() -> None:
        llm = chat(server, callbacks=[handler])
        if way == "stream":
            for piece in llm.stream("hello"):
                pieces.append(piece)
        else:
            async for piece in llm.astream("hello"):
                pieces.append(piece)

    with Loopback(answer) as server, pytest.raises(cls) as raised:
        await read()
    assert "".join(piece.text for piece in pieces) == "It is"
    assert all(piece.chunk_position is None for piece in pieces)
    assert (handler.errors, handler.ends) == ([raised.value], [])


@both_protocols
@pytest.mark.parametrize(("answer", "cls"), [case[1:] for case in CUT], ids=[case[0] for case in CUT])
async def test_v3_errors(answer: Answer, cls: type[Exception]) -> None:
    """The typed error is raised when the message is requested."""
    with Loopback(answer) as server:
        with pytest.raises(cls):
            _ = chat(server).stream_events("hello", version="v3").output
        stream = await chat(server).astream_events("hello", version="v3")
        with pytest.raises(cls):
            await stream


def broken(exchange: Exchange) -> None:
    exchange.send_head(200, {"Content-Type": "text/event-stream"})
    for event in sse_body(*Answer(text=["It ", "is"]).events()[:3], done=False):
        exchange.send_chunk(event)
    exchange.wait(0.05)
    exchange.close()


PASSING: list[tuple[str, Any, bool]] = [
    ("silence", lambda exchange: exchange.wait(5), True),
    ("an answer that broke off", broken, True),
    ("an answer without a finish", Answer(text=["It "], cut=True), True),
    ("moderation in mid-answer", Answer(text=["It "], failure=MIDSTREAM), False),
    ("a wrong key", reply_json(401, {"error": {"message": "no", "code": "invalid_api_key"}}), False),
    ("throttled", reply_json(429, {"error": {"message": "no", "code": "Throttling"}}), True),
]


@pytest.mark.parametrize(("script", "passes"), [case[1:] for case in PASSING], ids=[case[0] for case in PASSING])
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_agents_retry_retryable_errors(way: str, script: Any, passes: bool) -> None:
    """ModelRetryMiddleware uses `is_retryable`, also after partial answers, which the core does not retry."""
    with Loopback([script, Answer(text=["hi"])]) as server:
        llm = chat(server, enable_thinking=True, timeout=0.2)
        retries = ModelRetryMiddleware(max_retries=1, initial_delay=0, jitter=False, on_failure="error")
        agent = create_agent(llm, [], middleware=[retries])
        given: Any = {"messages": [HumanMessage("hello")]}
        with nullcontext() if passes else pytest.raises(ours.ModelStudioError):
            state = agent.invoke(given) if way == "invoke" else await agent.ainvoke(given)
            assert state["messages"][-1].text == "hi"
        assert len(server.requests) == (2 if passes else 1)


@pytest.mark.parametrize("way", WAYS)
async def test_a_connection_lost_during_an_answer(way: str) -> None:
    """An error with the partial answer."""
    with Loopback(broken) as server, pytest.raises(ours.ModelStudioError) as raised:
        await call(chat(server, enable_thinking=True), way)
    assert isinstance(raised.value, lc.ModelError)
    assert raised.value.partial is not None
    assert raised.value.partial.choices[0].text == "It is"
