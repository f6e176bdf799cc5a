"""Errors: each is at once the core's, this adapter's and langchain-core's, in every way of calling a model.

L and C numbers are rows of test_peer_matrix.py; codes and statuses are those of the vendor's error-code page.
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
    """`root` and the core's classes below it."""
    below = (cls for cls in root.__subclasses__() if cls.__module__ == core.__name__)
    return {root}.union(*(tree(cls) for cls in below))


def test_each_error_of_the_core_has_a_namesake() -> None:
    """The adapter's tree is the core's, class by class, and the table here has all of it."""
    assert {cls.__name__ for cls in tree(core.ModelStudioError)} == set(NAMESAKES) == set(ours.__all__)


@pytest.mark.parametrize("name", NAMESAKES)
def test_an_error_is_of_three_families(name: str) -> None:
    """Whoever catches the core's class, this adapter's or langchain-core's catches it, and its parents' as well."""
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
def test_an_error_of_the_core_comes_out_as_ours(name: str) -> None:
    """Class by class an error of the core becomes ours, with its message, fields, cause and place."""
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
    """Worker processes hand errors on: the class and its fields survive."""
    error = getattr(ours, name)("slow down", is_retryable=True, **FIELDS)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert {field: getattr(again, field) for field in FIELDS} == FIELDS
    assert (str(again), again.is_retryable) == (str(error), True)


def test_what_may_succeed_when_asked_again_says_so() -> None:
    """`is_retryable` means what langchain-core means by it, so that its middleware asks again: a silence and an answer
    that was cut too, which this package itself does not repeat."""
    for name, cls in NAMESAKES.items():
        assert not getattr(cls, "is_retryable", False) or getattr(ours, name)("x").is_retryable
    assert ours.StreamTruncatedError("cut").is_retryable
    assert ours.APITimeoutError("silent", is_resent=False).is_retryable


def test_an_error_that_is_ours_already_stays() -> None:
    """An error passes through the adapter twice unchanged in kind; what is no error of ours passes as it is."""
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
    """The service's error comes out as langchain-core's class with status, code, request id and what was said (L26)."""
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
async def test_a_retryable_error_is_tried_again(way: str) -> None:
    """The core's own retries are at work under LangChain, and `retry_after` is kept when they are spent."""
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
async def test_a_wrong_key_is_explained_and_not_shown(way: str) -> None:
    """A 401 names where the key was sent, without it, even where the service repeats it (C11)."""
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
    """A server that is not there is a connection error, with httpx's own as its cause."""
    with Loopback(Answer()) as server:
        llm = chat(server)
    with pytest.raises(lc.ModelConnectionError) as raised:
        await call(llm, way)
    assert isinstance(raised.value, ours.APIConnectionError)
    assert raised.value.__cause__ is not None


@pytest.mark.parametrize("way", WAYS)
async def test_a_silent_service(way: str) -> None:
    """A server that says nothing for longer than `timeout` is a timeout."""
    with Loopback(lambda exchange: exchange.wait(5)) as server:
        with pytest.raises(lc.ModelTimeoutError) as raised:
            await call(chat(server, timeout=0.1), way)
        assert isinstance(raised.value, ours.APITimeoutError)


@both_protocols
@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_that_is_no_answer(way: str) -> None:
    """What does not follow the protocol is named as that, never taken for text."""
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
async def test_what_had_arrived_is_on_the_error(answer: Answer, cls: type[Exception], way: str) -> None:
    """A stream that breaks raises, under invoke as well, with what had arrived as `partial` (L33, L34)."""
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
async def test_what_had_arrived_was_handed_on_first(answer: Answer, cls: type[Exception], way: str) -> None:
    """The chunks before an error are streamed, then it is raised, and callbacks hear of an error, not of an end."""
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
async def test_v3_raises_the_same(answer: Answer, cls: type[Exception]) -> None:
    """The v3 streams raise the typed error where their message is asked for."""
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
async def test_an_agent_asks_again_where_it_may_help(way: str, script: Any, passes: bool) -> None:
    """ModelRetryMiddleware, which goes by `is_retryable`, asks again after what may pass, also where the core itself
    does not, since part of an answer had been handed on."""
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
async def test_a_connection_lost_in_mid_answer(way: str) -> None:
    """A connection that breaks after the first words is an error with those words on it, not a short answer."""
    with Loopback(broken) as server, pytest.raises(ours.ModelStudioError) as raised:
        await call(chat(server, enable_thinking=True), way)
    assert isinstance(raised.value, lc.ModelError)
    assert raised.value.partial is not None
    assert raised.value.partial.choices[0].text == "It is"
