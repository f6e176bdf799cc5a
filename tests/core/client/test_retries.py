"""Which requests are retried, and which are sent again as a stream."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import pytest

from modelstudio_core.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ModelStudioError,
    PermissionDeniedError,
    ProtocolError,
    QuotaError,
    RateLimitError,
    StreamTruncatedError,
)
from modelstudio_core.types import Usage
from tests.core.client.script import (
    CONFIG,
    LIMITED,
    LIMITED_EVENT,
    LOST,
    OK,
    REQUEST,
    ROLE,
    SSE,
    WHOLE,
    A,
    FakeTransport,
    Reply,
    Way,
    acomplete,
    astream,
    complete,
    error,
    event,
    every_way,
    run,
    stream,
    streaming_ways,
)

# ---------------------------------------------------------------- the script and its transport

ASKS = error(400, "invalid_parameter_error", "parameter.enable_thinking must be set to false for non-streaming calls")

# ---------------------------------------------------------------- the four entrances

whole_ways = pytest.mark.parametrize("way", [complete, acomplete])

# ---------------------------------------------------------------- asking, and asking again


@dataclass(frozen=True)
class Case:
    """A script and its outcome after the given delays: an answer (`error` None) or an error."""

    name: str
    script: list[Reply | Exception | None]
    error: type[ModelStudioError] | None = None
    slept: tuple[float, ...] = ()
    max_retries: int = 2


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
def test_outcomes(case: Case, way: Way) -> None:
    """The expected answer or error, after the expected delays, with every response closed."""
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
    """Both drivers perform the same operations in the same order."""
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
    """No connection is held while waiting. An error body has a shorter timeout."""
    transport = FakeTransport(LIMITED, LIMITED, LIMITED)
    run(way, transport)
    each = ["open", *["trailing", "read"] * 2, "close"]
    assert transport.log == [*each, "sleep 0.25", *each, "sleep 0.5", *each]


@streaming_ways
def test_the_last_error_is_raised(way: Way) -> None:
    """Without data from earlier attempts."""
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
def test_the_repeated_call_is_planned_as_a_stream(model: str, tool_stream: bool | None, said: str, way: Way) -> None:
    """GLM needs a parameter for tool calls in streams."""
    tools = ({"type": "function", "function": {"name": "f"}},)
    transport = FakeTransport(error(400, "InvalidParameter", said), OK)
    result, _ = run(way, transport, replace(REQUEST, model=model, tools=tools, enable_thinking=False))
    assert result is not None
    assert streamed(transport) == [False, True]
    assert [body.get("tool_stream") for _, _, body in transport.sent] == [None, tool_stream]
    assert [body["enable_thinking"] for _, _, body in transport.sent] == [False, False]


@streaming_ways
def test_a_stream_is_not_sent_again_as_a_stream(way: Way) -> None:
    """The same 400 in response to a stream is an error."""
    transport = FakeTransport(ASKS)
    _, error = run(way, transport)
    assert isinstance(error, BadRequestError)


@whole_ways
@pytest.mark.parametrize(("model", "streams"), [("qwen-max", False), ("qwen3.7-max", True), ("qwq-plus", True)])
def test_thinking_is_streamed(model: str, streams: bool, way: Way) -> None:
    """The plan of `thinking` is sent. The answer is the same."""
    transport = FakeTransport(OK)
    result, _ = run(way, transport, replace(REQUEST, model=model))
    assert streamed(transport) == [streams]
    assert result is not None
    assert result.choices[0].text == "AB"
