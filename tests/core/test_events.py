"""Events that are not part of an answer: errors, heartbeats and unknown events.

In both protocols, and split at any byte.
"""

from __future__ import annotations

from typing import Any

import pytest

from modelstudio_core.errors import (
    APIStatusError,
    BadRequestError,
    ContextLengthError,
    ModelStudioError,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamTruncatedError,
)
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.registry import codec_for
from modelstudio_core.types import ChatRequest, Message, ResponseHead, UsageDelta
from tests.core.decoding import check_form, read
from tests.faults.dialects import DIALECTS, PARTIAL, TEXT, Dialect, written
from tests.faults.steps import begun, rest
from tests.ids import short

HEAD = ResponseHead(200, {"content-type": "text/event-stream", "x-request-id": "req-1"})
REQUEST = ChatRequest("qwen-plus", (Message("user", "hello"),))
every_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
every_size = pytest.mark.parametrize("size", [None, 1, 7])


def read_stream(dialect: Dialect, body: bytes, size: int | None = None) -> tuple[str, ModelStudioError | None]:
    """The text of a stream, and its failure."""
    decoder = codec_for(dialect.name).stream(REQUEST, HEAD, max_event_bytes=1_000_000)
    deltas = read(decoder, body, size)  # type: ignore[arg-type]  # a protocol's decoder
    check_form(deltas)
    choices = fold(deltas).choices
    return choices[0].text if choices else "", decoder.failure


# ---------------------------------------------------------------- error events

SAID_NOTHING = "the service sent an error event without a message"
ERROR_EVENTS: list[tuple[str, bytes, type[ModelStudioError], str, int | None, Any]] = [
    # name, event -> class, message, status, body
    ("text", b"event: error\ndata: Overloaded\n\n", APIStatusError, "Overloaded", None, "Overloaded"),
    ("text, with a status", b"event:error\n:HTTP_STATUS/429\ndata:Slow\n\n", RateLimitError, "Slow", 429, "Slow"),
    ("text of lines", b"event: error\ndata: a\ndata: b\n\n", APIStatusError, "a\nb", None, "a\nb"),
    ("text that tells the class", b"event: error\ndata: maximum context length is 9\n\n", ContextLengthError,
     "maximum context length is 9", None, "maximum context length is 9"),
    ("text that is no UTF-8", b"event: error\ndata: a\xff\n\n", APIStatusError, "a\ufffd", None, "a\ufffd"),
    ("half of JSON", b'event: error\ndata: {"a\n\n', APIStatusError, '{"a', None, '{"a'),
    ("a JSON string", b'event: error\ndata: "Overloaded"\n\n', APIStatusError, "Overloaded", None, "Overloaded"),
    ("a JSON list", b'event: error\ndata: ["a"]\n\n', APIStatusError, '["a"]', None, '["a"]'),
    ("a detail", b'event: error\ndata: {"detail": "boom"}\n\n', APIStatusError, "boom", None, {"detail": "boom"}),
    ("an unknown object", b'event: error\ndata: {"a": 1}\n\n', APIStatusError,
     "the service sent an error without a message: {'a': 1}", None, {"a": 1}),
    ("no data", b"event: error\n\n", APIStatusError, SAID_NOTHING, None, None),
    ("empty data", b"event: error\ndata:\n\n", APIStatusError, SAID_NOTHING, None, None),
    ("blank data", b"event: error\ndata:  \n\n", APIStatusError, SAID_NOTHING, None, None),
    ("null", b"event: error\ndata: null\n\n", APIStatusError, SAID_NOTHING, None, None),
    ("an empty object", b"event: error\ndata: {}\n\n", APIStatusError, SAID_NOTHING, None, None),
    ("no data, with a status", b"event:error\n:HTTP_STATUS/429\n\n", RateLimitError, SAID_NOTHING, 429, None),
    ("a status alone", b":HTTP_STATUS/429\n\n", RateLimitError, SAID_NOTHING, 429, None),
    ("a result with a status", b"id:1\nevent:result\n:HTTP_STATUS/429\ndata:Slow\n\n", RateLimitError, "Slow", 429,
     "Slow"),
    ("an answer with a status", b'event:result\n:HTTP_STATUS/500\ndata:{"output":{"text":"A"}}\n\n', ServerError,
     "the service answered with HTTP status 500 and no message: {'output': {'text': 'A'}}", 500,
     {"output": {"text": "A"}}),
    ("a code of success with a status", b':HTTP_STATUS/400\ndata:{"code":200,"message":"m"}\n\n', BadRequestError, "m",
     400, {"code": 200, "message": "m"}),
]  # fmt: skip


@every_size
@every_dialect
@pytest.mark.parametrize(
    ("event", "cls", "message", "status", "body"), [c[1:] for c in ERROR_EVENTS], ids=[c[0] for c in ERROR_EVENTS]
)
def test_error_events(
    event: bytes,
    cls: type[ModelStudioError],
    message: str,
    status: int | None,
    body: Any,
    dialect: Dialect,
    size: int | None,
) -> None:
    """With text, an object or no data. They end the stream, after earlier deltas."""
    for after in (rest(dialect), b""):
        text, error = read_stream(dialect, begun(dialect) + event + after, size)
        assert text == PARTIAL
        assert type(error) is cls
        assert (error.message, error.status_code, error.body) == (message, status, body)
        assert error.request_id == "req-1"


@every_dialect
def test_an_error_event_after_the_finish_reason(dialect: Dialect) -> None:
    """The answer does not count as complete."""
    for event in (b"event: error\n\n", b"event: error", b"event: error\ndata: Overloaded\n\n"):
        text, error = read_stream(dialect, begun(dialect) + dialect.last() + event)
        assert (text, type(error)) == (PARTIAL, APIStatusError)


# ---------------------------------------------------------------- codes that say success


@every_dialect
@pytest.mark.parametrize("code", [0, 20, 200, 200.0, "200", "200 OK", "Success", "succeeded", "OK", 399])
def test_a_success_code_is_no_error(dialect: Dialect, code: Any) -> None:
    """In any event of a stream, and beside a whole answer."""
    said = {"code": code, "message": "success"}
    usage = dialect.chunk(usage=True)
    if "output" in usage:
        usage["output"] = {}
    decoder = codec_for(dialect.name).stream(REQUEST, HEAD, max_event_bytes=100_000)
    chunks = [dialect.chunk(TEXT), dialect.chunk(finish="stop"), usage]
    body = b"".join(dialect.event(written(chunk | said)) for chunk in chunks) + dialect.done
    deltas = read(decoder, body)  # type: ignore[arg-type]  # a protocol's decoder
    assert decoder.failure is None
    assert fold(deltas).choices[0].text == TEXT
    assert any(isinstance(delta, UsageDelta) for delta in deltas)
    whole = codec_for(dialect.name).decode(REQUEST, HEAD, written(dialect.whole(TEXT) | said))
    assert fold(whole).choices[0].text == TEXT
    with pytest.raises(StreamTruncatedError):  # nothing was answered, but no error was said
        codec_for(dialect.name).decode(REQUEST, HEAD, written(usage | said))


@every_dialect
@pytest.mark.parametrize("code", [400, "429", 1000, "Throttling"])
def test_any_other_code_is_an_error(dialect: Dialect, code: Any) -> None:
    """With a message and without an answer."""
    said = {"code": code, "message": "No.", "choices": [], "usage": {}}
    text, error = read_stream(dialect, begun(dialect) + dialect.event(written(said)) + rest(dialect))
    assert (text, isinstance(error, APIStatusError)) == (PARTIAL, True)
    with pytest.raises(APIStatusError, match="No"):
        codec_for(dialect.name).decode(REQUEST, HEAD, written(said))


SAYS_NOTHING = [
    {"output": {"text": ""}},
    {"output": {"text": "", "finish_reason": "null"}},
    {"output": {"choices": []}},
    {"output": {"choices": [{"message": {"role": "assistant", "content": []}, "finish_reason": "null"}]}},
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
    {"output": None, "choices": [None]},
]


@every_dialect
@pytest.mark.parametrize("empty", SAYS_NOTHING, ids=short)
def test_an_error_beside_an_empty_answer(dialect: Dialect, empty: dict[str, Any]) -> None:
    """Empty fields of an answer do not hide the error."""
    said = {"code": "Throttling", "message": "Slow.", "usage": {"input_tokens": 1}, **empty}
    text, error = read_stream(dialect, begun(dialect) + dialect.event(written(said)) + rest(dialect))
    assert (text, type(error)) == (PARTIAL, RateLimitError)
    with pytest.raises(RateLimitError, match="Slow"):
        codec_for(dialect.name).decode(REQUEST, HEAD, written(said))


@every_dialect
def test_a_code_and_a_message_beside_an_answer(dialect: Dialect) -> None:
    """The answer is read. An empty message makes no error of an empty event."""
    said = {"code": "Throttling", "message": "Slow."}
    body = begun(dialect) + b"".join(
        dialect.event(written(chunk))
        for chunk in (
            dialect.chunk() | said | {"message": ""},
            dialect.chunk("!") | said,
            dialect.chunk(finish="stop") | said,
        )
    )
    assert read_stream(dialect, body + dialect.done) == (f"{PARTIAL}!", None)


# ---------------------------------------------------------------- lines that are no event

BARE_ERROR = b'{"code":"Throttling.RateQuota","message":"Slow.","request_id":"r-9"}'


@every_size
@every_dialect
@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"], ids=["no end", "a line", "a blank line"])
@pytest.mark.parametrize(
    "line", [BARE_ERROR, b'{"error":{"message":"Slow.","code":"limit_requests"},"request_id":"r-9"}']
)
def test_a_json_line_with_an_error(dialect: Dialect, line: bytes, end: bytes, size: int | None) -> None:
    """It is raised if the answer is truncated."""
    for before in (b"", b": ping\n\n", b": ping\n", begun(dialect)):
        text, error = read_stream(dialect, before + line + end, size)
        assert text == (PARTIAL if before == begun(dialect) else "")
        assert error is not None
        assert (type(error), error.request_id) == (RateLimitError, "r-9")
    _, error = read_stream(dialect, begun(dialect) + line + b"\n\n" + dialect.event(b'{"type":"ping"}') + dialect.done)
    assert type(error) is RateLimitError


@every_size
@every_dialect
@pytest.mark.parametrize(
    "line", [b"upstream is gone", b'{"detail":"gone"}', b'["gone"]', b"Error: gone", b"<p>gone\xff"]
)
def test_unknown_lines(dialect: Dialect, line: bytes, size: int | None) -> None:
    """The error of a truncated answer quotes them."""
    for before in (b"", b": ping\n\n", begun(dialect)):
        text, error = read_stream(dialect, before + line + b"\n\n", size)
        assert text == (PARTIAL if before == begun(dialect) else "")
        assert type(error) is StreamTruncatedError
        assert "gone" in error.message
        assert "The last unrecognized data: " in error.message


@every_dialect
@pytest.mark.parametrize("line", [b"upstream is gone", BARE_ERROR])
def test_unknown_lines_beside_a_complete_answer(dialect: Dialect, line: bytes) -> None:
    """They are ignored."""
    assert read_stream(dialect, begun(dialect) + line + b"\n\n" + rest(dialect)) == (TEXT, None)


# ---------------------------------------------------------------- events that are no part of an answer

FOREIGN: list[tuple[str, bytes, str | None]] = [
    # name, data, what the error shows of it where the answer ends too early
    ("null", b"null", None),
    ("an empty object", b"{}", None),
    ("a ping", b'{"type":"ping"}', "'ping'"),
    ("an id", b'{"id":"chatcmpl-7"}', "chatcmpl-7"),
    ("a detail", b'{"detail":"boom"}', "boom"),
    ("choices that are null", b'{"choices":null,"output":null}', None),
]
every_foreign = pytest.mark.parametrize(("data", "shown"), [c[1:] for c in FOREIGN], ids=[c[0] for c in FOREIGN])


@every_size
@every_dialect
@every_foreign
def test_unknown_events_do_not_end_a_stream(data: bytes, shown: str | None, dialect: Dialect, size: int | None) -> None:
    """Before, during and after the answer."""
    event = dialect.event(data)
    for body in (
        event + dialect.stream(),
        begun(dialect) + event * 3 + rest(dialect),
        dialect.stream().removesuffix(dialect.done) + event,
    ):
        assert read_stream(dialect, body, size) == (TEXT, None)


@every_size
@every_dialect
@every_foreign
def test_unknown_events_and_a_truncated_answer(
    data: bytes, shown: str | None, dialect: Dialect, size: int | None
) -> None:
    """The error quotes the event, which may be the reason, unless it is empty."""
    event = dialect.event(data)
    for body in (event, begun(dialect) + event, begun(dialect) + event.rstrip(), event + begun(dialect) + dialect.done):
        text, error = read_stream(dialect, body, size)
        assert text == ("" if body == event else PARTIAL)
        if shown is None:
            assert type(error) is StreamTruncatedError
        else:
            assert type(error) is (ProtocolError if body == event else StreamTruncatedError)
            assert shown in error.message
            assert "neither" in error.message


@every_dialect
def test_the_last_unknown_event_is_quoted(dialect: Dialect) -> None:
    """It is the closest to the end."""
    events = dialect.event(b'{"type":"ping"}') + dialect.event(b'{"detail":"boom"}') + dialect.event(b"{}")
    _, error = read_stream(dialect, begun(dialect) + events)
    assert error is not None
    assert "boom" in error.message


@every_dialect
def test_an_invalid_answer_after_an_unknown_event(dialect: Dialect) -> None:
    """It ends the stream, and the error is about it."""
    wrong = dialect.event(b'{"choices": {"0": "x"}, "output": []}')
    _, error = read_stream(dialect, begun(dialect) + dialect.event(b'{"detail":"boom"}') + wrong + rest(dialect))
    assert type(error) is ProtocolError
    assert "boom" not in error.message


@every_dialect
def test_an_unknown_whole_response(dialect: Dialect) -> None:
    """It is a ProtocolError."""
    for data in (b"null", b"{}", b'{"type":"ping"}', b'{"detail":"boom"}'):
        with pytest.raises(ModelStudioError) as caught:
            codec_for(dialect.name).decode(REQUEST, HEAD, data)
        assert type(caught.value) is ProtocolError
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
