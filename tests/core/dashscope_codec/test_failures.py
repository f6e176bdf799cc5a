"""Failed responses of the native protocol."""

from __future__ import annotations

import json
from dataclasses import dataclass

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
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.types import (
    Delta,
    ReasoningDelta,
    ResponseDelta,
    ResponseHead,
    TextDelta,
)
from tests.core.dashscope_codec.wire import (
    ANSWERED,
    CODEC,
    FIRST,
    HEAD,
    LIMIT,
    MORE,
    NULL,
    ONE_CALL,
    REQUEST,
    ROWS,
    SOURCES,
    STOP,
    USAGE,
    USED,
    A,
    body_of,
    chunk,
    decoder,
    frame,
    two,
    value,
)
from tests.core.decoding import check_form, read


@dataclass(frozen=True)
class Failure:
    """A failed stream: the deltas before the error, and the properties of the error."""

    name: str
    stream: bytes
    error: type[ModelStudioError]
    deltas: list[Delta]
    says: str = ""
    status: int | None = None
    code: str | None = None
    request_id: str | None = None


BEGUN = frame(chunk("A"))
SAID: list[Delta] = [A]


def failed(code: str, message: str, status: int = 400, name: str = "error") -> bytes:
    return frame({"code": code, "message": message, "request_id": "req-9"}, 2, name, status)


ROLE = "Role must be user or assistant and Content length must be greater than 0"
FAILURES = [
    Failure(
        "first event, HTTP 200: a parameter",
        failed("InvalidParameter", ROLE),
        BadRequestError,
        [],
        ROLE,
        400,
        "InvalidParameter",
        "req-9",
    ),
    Failure(
        "in the middle: moderation",
        BEGUN + failed("DataInspectionFailed", "inappropriate content"),
        ContentFilterError,
        SAID,
        "inappropriate",
        400,
        "DataInspectionFailed",
        "req-9",
    ),
    Failure(
        "throttled",
        BEGUN + failed("Throttling.RateQuota", "slow down", 429),
        RateLimitError,
        SAID,
        "slow",
        429,
        "Throttling.RateQuota",
        "req-9",
    ),
    Failure(
        "the service itself",
        BEGUN + failed("InternalError", "", 500),
        ServerError,
        SAID,
        "500",
        500,
        "InternalError",
        "req-9",
    ),
    Failure(
        "a code that only the status explains",
        failed("Whatever", "no key", 401),
        AuthenticationError,
        [],
        "no key",
        401,
        "Whatever",
        "req-9",
    ),
    Failure(
        "an error in an event of results",
        BEGUN + failed("InternalError", "x", 200, "result"),
        ServerError,
        SAID,
        "x",
        200,
        "InternalError",
        "req-9",
    ),
    Failure(
        "the status in a field of its own",
        BEGUN + b'id:2\nevent:error\nstatus:429\ndata:{"code":"Odd","message":"m","request_id":"req-9"}\n\n',
        RateLimitError,
        SAID,
        "m",
        429,
        "Odd",
        "req-9",
    ),
    Failure(
        "no status",
        BEGUN + b'event:error\ndata:{"code":"Throttling","message":"m","request_id":"req-9"}\n\n',
        RateLimitError,
        SAID,
        "m",
        None,
        "Throttling",
        "req-9",
    ),
    Failure(
        "a compatible error",
        BEGUN + frame({"error": {"message": "m", "code": "internal_error"}}),
        ServerError,
        SAID,
        "m",
        200,
        "internal_error",
        "req-of-head",
    ),
    Failure(
        "what was used up to then is told",
        frame(chunk("A", usage=USAGE)) + failed("InternalError", "m", 500),
        ServerError,
        [A, USED],
        "m",
        500,
        "InternalError",
        "req-9",
    ),
    Failure("not JSON", BEGUN + b"data:<html>\n\n", ProtocolError, SAID, "not JSON"),
    Failure(
        "neither output nor usage nor error", BEGUN + frame({"request_id": "r"}), StreamTruncatedError, SAID, "neither"
    ),
    Failure("output that is no object", BEGUN + frame(value("A")), ProtocolError, SAID, "output"),
    Failure("choices that are no list", BEGUN + frame(value({"choices": {}})), ProtocolError, SAID, "choices"),
    Failure("a choice that is no object", BEGUN + frame(value({"choices": ["A"]})), ProtocolError, SAID, "choice"),
    Failure(
        "a message that is no object",
        BEGUN + frame(value({"choices": [{"message": "A"}]})),
        ProtocolError,
        SAID,
        "message",
    ),
    Failure("an index that is no number", BEGUN + frame(chunk("B", index="x")), ProtocolError, SAID, "index"),
    Failure("content that is no text", BEGUN + frame(chunk({"text": "B"})), ProtocolError, SAID, "content"),
    Failure("a part that is no object", BEGUN + frame(chunk([1])), ProtocolError, SAID, "content"),
    Failure("nothing at all", b"", StreamTruncatedError, [], "finish reason"),
    Failure("no finish, then the end", BEGUN, StreamTruncatedError, SAID, "finish reason"),
    Failure("no finish, but usage", frame(chunk("A", usage=USAGE)), StreamTruncatedError, [A, USED], "finish reason"),
    Failure("the end inside an event", BEGUN + frame(STOP)[:-20], StreamTruncatedError, SAID, "finish reason"),
    Failure(
        "the end inside a character",
        BEGUN + 'data:{"output":{"text":"好'.encode()[:-1],
        StreamTruncatedError,
        SAID,
        "finish reason",
    ),
    Failure("a call that was cut off", body_of([FIRST, MORE]), StreamTruncatedError, ONE_CALL[:2], "finish reason"),
    Failure(
        "deep research without its answer",
        frame(value({"message": {"phase": "WebResearch", "content": "x", "status": "finished"}})),
        StreamTruncatedError,
        [ReasoningDelta("x")],
        "finish reason",
    ),
]


@pytest.mark.parametrize("size", [None, 1, 7], ids=["whole", "by 1", "by 7"])
@pytest.mark.parametrize("case", FAILURES, ids=lambda case: case.name)
def test_a_failed_stream(case: Failure, size: int | None) -> None:
    """Its deltas come first, then the typed error with the status of the event."""
    reader = decoder()
    deltas = read(reader, case.stream, size)
    check_form(deltas)
    assert [d for d in deltas if not isinstance(d, ResponseDelta)] == case.deltas
    error = reader.failure
    assert type(error) is case.error
    assert (error.status_code, error.code, error.request_id) == (case.status, case.code, case.request_id)
    assert case.says in error.message
    assert reader.feed(frame(chunk("more", "stop"))) == []
    assert reader.finish() == []
    assert reader.failure is error


WHOLE_FAILURES: list[tuple[str, bytes, type[ModelStudioError], str | None]] = [
    ("an error with HTTP 200", b'{"code":"Throttling","message":"m","request_id":"r"}', RateLimitError, "Throttling"),
    ("a bare string", b'{"error":"no such model"}', APIStatusError, None),
    ("HTML", b"<html></html>", ProtocolError, None),
    ("a list", b"[]", ProtocolError, None),
    ("no answer", b'{"request_id":"r"}', ProtocolError, None),
    ("no choices", json.dumps(value({"choices": []}, USAGE)).encode(), StreamTruncatedError, None),
    ('finish "null"', json.dumps(chunk("A")).encode(), StreamTruncatedError, None),
    ("no finish", json.dumps(chunk("A", None)).encode(), StreamTruncatedError, None),
]


@pytest.mark.parametrize(("body", "cls", "code"), [c[1:] for c in WHOLE_FAILURES], ids=[c[0] for c in WHOLE_FAILURES])
def test_a_failed_whole_answer(body: bytes, cls: type[ModelStudioError], code: str | None) -> None:
    """An error body, an unknown body or a truncated answer raises the typed error."""
    with pytest.raises(ModelStudioError) as caught:
        CODEC.decode(REQUEST, HEAD, body)
    assert (type(caught.value), caught.value.code) == (cls, code)


def test_a_truncated_whole_answer() -> None:
    """The service truncates answers after 300 s without an error. `partial` has the content."""
    cut = chunk("A", None, usage=USAGE, search_info={"search_results": ROWS})
    with pytest.raises(StreamTruncatedError) as caught:
        CODEC.decode(REQUEST, HEAD, json.dumps(cut).encode())
    partial = caught.value.partial
    assert partial is not None
    assert partial == fold([ANSWERED, SOURCES, TextDelta("A"), USED])
    assert partial.extras == {"search_info": {"search_results": ROWS}}


def test_one_of_two_choices_is_truncated() -> None:
    """With n=2, both choices must have finished."""
    reader = decoder(2)
    read(reader, body_of(two((0, "A", NULL), (1, "C", NULL), (0, "B", "stop"))))
    assert type(reader.failure) is StreamTruncatedError


def test_an_event_over_the_limit_is_a_protocol_error() -> None:
    """Earlier deltas are yielded. The error names the limit."""
    reader = decoder()
    assert read(reader, BEGUN + b"data:" + b"x" * (LIMIT + 1)) == [ANSWERED, A]
    assert type(reader.failure) is ProtocolError
    assert str(LIMIT) in reader.failure.message


def test_an_error_response() -> None:
    """The body of an HTTP error, plain or as an event, gives the typed error."""
    said = {"code": "InvalidApiKey", "message": "Invalid API-key provided.", "request_id": "req-9"}
    for body in (json.dumps(said).encode(), frame(said, name="error", status=401)):
        error = CODEC.error(ResponseHead(401, {"content-type": "application/json"}), body)
        assert type(error) is AuthenticationError
        assert (error.status_code, error.code, error.request_id) == (401, "InvalidApiKey", "req-9")
