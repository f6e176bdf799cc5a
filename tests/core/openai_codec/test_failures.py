"""Failed streams of the OpenAI-compatible protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from modelstudio_core.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ModelStudioError,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamTruncatedError,
)
from modelstudio_core.types import (
    Delta,
    ResponseDelta,
    TextDelta,
)
from tests.core.decoding import check_form, read
from tests.core.openai_codec.wire import (
    ANSWERED,
    ARGUMENTS,
    BEGUN,
    CALL,
    CODEC,
    DONE,
    END,
    FIRST,
    HEAD,
    LIMIT,
    LIMITED,
    NATIVE,
    REQUEST,
    STOP,
    TAIL,
    USAGE,
    USED,
    chunk,
    decoder,
    event,
    tool,
)


@dataclass(frozen=True)
class Failure:
    """A failed stream: the deltas before the error (after `ANSWERED`, if any), and the properties of the error."""

    name: str
    stream: bytes
    error: type[ModelStudioError]
    deltas: list[Delta] | None = None
    says: str = ""
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    retryable: bool = False


MODERATED = {"message": "Output data may contain inappropriate content.", "code": "data_inspection_failed"}
A: list[Delta] = [TextDelta("A")]
ERROR_EVENTS = [
    Failure(
        "compatible shape", event(LIMITED), RateLimitError, None, "Slow down", None, "limit_requests", "req-1", True
    ),
    Failure(
        "compatible shape, after deltas",
        BEGUN + event({"error": MODERATED, "request_id": "req-9"}),
        ContentFilterError,
        A,
        "inappropriate",
        None,
        "data_inspection_failed",
        "req-9",
    ),
    Failure(
        "request id inside the error",
        BEGUN + event({"error": MODERATED | {"request_id": "req-8"}}),
        ContentFilterError,
        A,
        "",
        None,
        "data_inspection_failed",
        "req-8",
    ),
    Failure(
        "code null",
        BEGUN + event({"error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": None}}),
        APIStatusError,
        A,
        "No.",
        None,
        None,
        "req-1",
    ),
    Failure(
        "code null, its type says it",
        BEGUN + event({"error": {"message": "Slow.", "type": "limit_requests", "code": None}}),
        RateLimitError,
        A,
        "Slow",
        None,
        None,
        "req-1",
        True,
    ),
    *(
        Failure(
            f"code {code} is no status",
            event({"error": {"message": "No.", "code": code}}),
            APIStatusError,
            None,
            "No",
            None,
            str(code),
            "req-1",
        )
        for code in (399, 600, 20035)
    ),
    Failure(
        "the status of its event, not its code",
        b"event:error\n:HTTP_STATUS/429\n" + event({"code": 500, "message": "Busy."}),
        RateLimitError,
        None,
        "Busy",
        429,
        "500",
        "req-1",
        True,
    ),
    Failure(
        "code 599",
        event({"error": {"message": "Busy.", "code": 599}}),
        ServerError,
        None,
        "Busy",
        599,
        "599",
        "req-1",
        True,
    ),
    Failure(
        "code 400",
        event({"error": {"message": "No.", "code": 400}}),
        BadRequestError,
        None,
        "No",
        400,
        "400",
        "req-1",
    ),
    Failure(
        "code a number is the status",
        BEGUN + event({"error": {"message": "Busy.", "code": 503}}),
        ServerError,
        A,
        "Busy",
        503,
        "503",
        "req-1",
        True,
    ),
    Failure(
        "a bare string (Venice)",
        event({"error": "Specified model not found: x"}),
        APIStatusError,
        None,
        "Specified model not found: x",
        None,
        None,
        "req-1",
    ),
    Failure(
        "bare code and message",
        BEGUN + event(NATIVE),
        RateLimitError,
        A,
        "Too fast",
        None,
        "Throttling.RateQuota",
        "req-9",
        True,
    ),
    Failure(
        "native frame with its status",
        b"id:1\nevent:error\n:HTTP_STATUS/400\n"
        + event({"code": "InvalidParameter", "message": "Role?", "request_id": "req-9"}),
        BadRequestError,
        None,
        "Role",
        400,
        "InvalidParameter",
        "req-9",
    ),
    Failure(
        "native frame in mid-stream",
        BEGUN + b"event:error\n:HTTP_STATUS/500\n" + event({"code": "InternalError", "message": "Oops"}),
        ServerError,
        A,
        "Oops",
        500,
        "InternalError",
        "req-1",
        True,
    ),
    Failure(
        "compatible shape with a status comment",
        BEGUN + b":HTTP_STATUS/401\n" + event({"error": {"message": "Key?", "code": "invalid_api_key"}}),
        AuthenticationError,
        A,
        "Key",
        401,
        "invalid_api_key",
        "req-1",
    ),
    Failure(
        "an event named error that says nothing else",
        b"event: error\n" + event({"detail": "?"}),
        APIStatusError,
        None,
        "",
        None,
        None,
        "req-1",
    ),
    Failure(
        "no blank line after the error",
        BEGUN + event(LIMITED).rstrip(b"\n"),
        RateLimitError,
        A,
        "Slow",
        None,
        "limit_requests",
        "req-1",
        True,
    ),
    Failure(
        "the first error counts",
        BEGUN + event(LIMITED) + event({"error": "second"}) + b'data: {"error": "third, not ended"}',
        RateLimitError,
        A,
        "Slow",
        None,
        "limit_requests",
        "req-1",
        True,
    ),
    Failure(
        "an error after the finish",
        BEGUN + event(STOP) + event(LIMITED),
        RateLimitError,
        [*A, END],
        "Slow",
        None,
        "limit_requests",
        "req-1",
        True,
    ),
    Failure(
        "error beside empty choices",
        BEGUN + event(LIMITED | {"choices": []}),
        RateLimitError,
        A,
        "Slow",
        None,
        "limit_requests",
        "req-1",
        True,
    ),
]
BAD_CHUNKS: list[tuple[str, Any]] = [
    ("not JSON", b"Internal Server Error"),
    ("half of JSON", b'{"choices":[{"delta"'),
    ("two objects", b"{} {}"),
    ("not UTF-8", b'{"choices":[{"index":0,"delta":{"content":"\xff"}}]}'),
    ("a JSON list", []),
    ("a JSON string", "text"),
    ("choices no list", {"choices": {}}),
    ("a choice that is no object", {"choices": ["A"]}),
    ("a choice that is null", {"choices": [None]}),
    ("a delta that is no object", chunk("A")),
    ("an index that is no number", chunk({"content": "A"}, index="x")),
    ("content a number", chunk({"content": 7})),
    ("content an object", chunk({"content": {"text": "A"}})),
    ("content a list of strings", chunk({"content": ["A"]})),
    ("reasoning a number", chunk({"reasoning_content": 7})),
    ("tool_calls no list", chunk({"tool_calls": {"index": 0}})),
    ("a tool call that is no object", chunk({"tool_calls": ["f"]})),
    ("a function that is no object", chunk({"tool_calls": [{"index": 0, "function": "f"}]})),
    ("a name that is no text", tool("", index=0, id="call_1", name=7)),
    ("arguments that are a number", tool(7, index=0, id="call_1", name="f")),
    ("a finish reason that is no text", chunk({}, {"a": 1})),
    ("audio no object", chunk({"audio": "AAAA"})),
    ("nested 200,000 deep", b'{"choices":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
]
FAILURES = [
    *ERROR_EVENTS,
    *(Failure(name, BEGUN + event(bad) + event(STOP) + DONE, ProtocolError, A) for name, bad in BAD_CHUNKS),
    Failure("no event at all", b"", StreamTruncatedError, None, "finish reason"),
    Failure("only comments", b": ping\n\n: ping\n\n", StreamTruncatedError, None, "finish reason"),
    Failure("only [DONE]", DONE, StreamTruncatedError, None, "finish reason"),
    Failure("only usage", event(chunk(usage=USAGE)) + DONE, StreamTruncatedError, [USED], "finish reason"),
    Failure("no finish, then the end", BEGUN, StreamTruncatedError, A, "finish reason"),
    Failure("no finish, then [DONE]", BEGUN + DONE, StreamTruncatedError, A, "finish reason"),
    Failure(
        "no finish, but usage",
        BEGUN + event(chunk(usage=USAGE)) + DONE,
        StreamTruncatedError,
        [*A, USED],
        "finish reason",
    ),
    Failure("the end inside an event", BEGUN + event(STOP)[:-20], StreamTruncatedError, A, "finish reason"),
    Failure(
        "the end inside a character",
        BEGUN + 'data: {"choices":[{"delta":{"content":"好'.encode()[:-1],
        StreamTruncatedError,
        A,
        "finish reason",
    ),
    Failure("the end inside a field's name", BEGUN + b"dat", StreamTruncatedError, A, "finish reason"),
    Failure(
        "a call that was cut off",
        event(FIRST) + event(TAIL[0]),
        StreamTruncatedError,
        [CALL, ARGUMENTS[0]],
        "finish reason",
    ),
]


@pytest.mark.parametrize("size", [None, 1, 7], ids=["whole", "by 1", "by 7"])
@pytest.mark.parametrize("case", FAILURES, ids=lambda case: case.name)
def test_a_failed_stream(case: Failure, size: int | None) -> None:
    """Its deltas come first, including those of the same read, then the typed error."""
    if len(case.stream) > LIMIT and size == 1:
        size = 1021  # the same, in less time
    reader = CODEC.stream(REQUEST, HEAD, max_event_bytes=10_000_000)
    deltas = read(reader, case.stream, size)
    check_form(deltas)
    assert [d for d in deltas if not isinstance(d, ResponseDelta)] == (case.deltas or [])
    error = reader.failure
    assert type(error) is case.error
    assert (error.status_code, error.code, error.is_retryable and error.is_resent) == (
        case.status,
        case.code,
        case.retryable,
    )
    assert error.request_id == case.request_id
    assert case.says in error.message
    assert reader.feed(event(chunk({"content": "more"}))) == []
    assert reader.finish() == []
    assert reader.failure is error


def test_deltas_and_error_of_the_same_read() -> None:
    """The deltas are returned and `failure` is set; nothing is raised."""
    reader = decoder()
    assert reader.feed(BEGUN + event(LIMITED)) == [ANSWERED, TextDelta("A")]
    assert isinstance(reader.failure, RateLimitError)
    assert not reader.ended


@pytest.mark.parametrize("size", [None, 7])
def test_an_event_over_the_limit_is_a_protocol_error(size: int | None) -> None:
    """Earlier deltas are yielded. The error names the limit."""
    reader = decoder()
    deltas = read(reader, BEGUN + b"data: " + b"x" * (LIMIT + 1), size)
    assert deltas == [ANSWERED, TextDelta("A")]
    assert type(reader.failure) is ProtocolError
    assert str(LIMIT) in reader.failure.message
