"""Invalid content in answers: values of a wrong type, and choices with an error.

In both protocols, for whole answers and streams, split at any byte.
"""

from __future__ import annotations

from typing import Any

import pytest

from modelstudio_core.errors import APIStatusError, ModelStudioError, ProtocolError, RateLimitError, ServerError
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.registry import codec_for
from modelstudio_core.types import ChatRequest, Message, ResponseHead
from tests.core.decoding import check_form, read
from tests.faults.dialects import DIALECTS, PARTIAL, Dialect, written
from tests.faults.steps import begun
from tests.ids import short

HEAD = ResponseHead(200, {"content-type": "text/event-stream", "x-request-id": "req-1"})
REQUEST = ChatRequest("qwen-plus", (Message("user", "hello"),))
every_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
every_size = pytest.mark.parametrize("size", [None, 1, 7])


def choice_of(value: Any) -> Any:
    """The first choice of an event or a whole answer."""
    return value.get("output", value)["choices"][0]


def with_message(value: Any, **said: Any) -> Any:
    """The object with these fields in its message or delta."""
    choice = choice_of(value)
    choice["delta" if "delta" in choice else "message"] = said
    return value


def read_stream(dialect: Dialect, *events: Any, size: int | None = None) -> tuple[str, ModelStudioError | None]:
    """The text of a stream that starts with `PARTIAL`, and its failure."""
    decoder = codec_for(dialect.name).stream(REQUEST, HEAD, max_event_bytes=1_000_000)
    body = begun(dialect) + b"".join(dialect.event(written(event)) for event in events) + dialect.last() + dialect.done
    deltas = read(decoder, body, size)  # type: ignore[arg-type]  # a protocol's decoder
    check_form(deltas)
    return fold(deltas).choices[0].text, decoder.failure


WRONG = [0, 5, 0.0, False, True, {}, {"text": "A"}, ["A"], [{"text": 0}], [{"text": False}], [{"text": {"a": 1}}],
         [{"text": "A"}, {"text": ["B"]}]]  # fmt: skip


@every_size
@every_dialect
@pytest.mark.parametrize("content", WRONG, ids=short)
@pytest.mark.parametrize("field", ["content", "reasoning_content"])
def test_content_of_a_wrong_type(dialect: Dialect, field: str, content: Any, size: int | None) -> None:
    """Including falsy values. The error names the field, and there is no answer."""
    text, failure = read_stream(dialect, with_message(dialect.chunk(), **{field: content}), size=size)
    assert (text, type(failure)) == (PARTIAL, ProtocolError)
    assert failure is not None
    assert field in failure.message
    with pytest.raises(ProtocolError, match=field):
        codec_for(dialect.name).decode(REQUEST, HEAD, written(with_message(dialect.whole(""), **{field: content})))


@every_size
@every_dialect
@pytest.mark.parametrize("content", [None, "", [], [{"text": None}], [{"image": "x"}], [{"text": ""}]], ids=short)
@pytest.mark.parametrize("field", ["content", "reasoning_content"])
def test_absent_content(dialect: Dialect, field: str, content: Any, size: int | None) -> None:
    """null, empty text and empty lists are ignored. A part needs no text."""
    assert read_stream(dialect, with_message(dialect.chunk(), **{field: content}), size=size) == (PARTIAL, None)
    whole = codec_for(dialect.name).decode(REQUEST, HEAD, written(with_message(dialect.whole(""), **{field: content})))
    assert fold(whole).choices[0].text == ""


@pytest.mark.parametrize("value", [0, False, {}], ids=short)
def test_other_fields_of_a_wrong_type(value: Any) -> None:
    """`reasoning` of other servers, and the native `output.text`."""
    compatible = written(with_message(DIALECTS["openai"].whole(""), reasoning=value))
    with pytest.raises(ProtocolError, match="reasoning"):
        codec_for("openai").decode(REQUEST, HEAD, compatible)
    native = written({"output": {"text": value, "finish_reason": "stop"}})
    with pytest.raises(ProtocolError, match="content"):
        codec_for("dashscope").decode(REQUEST, HEAD, native)


ERRORS: list[tuple[str, dict[str, Any], type[ModelStudioError], str, str | None]] = [
    # name, of the choice -> class, message, code
    (
        "finish_reason error",
        {"finish_reason": "error"},
        APIStatusError,
        "the service sent an error without a message",
        None,
    ),
    (
        "with the error beside it",
        {"finish_reason": "error", "error": {"code": "Throttling", "message": "Slow."}},
        RateLimitError,
        "Slow.",
        "Throttling",
    ),
    (
        "an error beside another reason (OpenRouter)",
        {"finish_reason": "stop", "error": {"code": 502, "message": "Upstream."}},
        ServerError,
        "Upstream.",
        "502",
    ),
    ("a text as error", {"finish_reason": "length", "error": "Overloaded"}, APIStatusError, "Overloaded", None),
]


@every_size
@every_dialect
@pytest.mark.parametrize(("said", "cls", "message", "code"), [c[1:] for c in ERRORS], ids=[c[0] for c in ERRORS])
def test_a_choice_with_an_error(
    dialect: Dialect, said: Any, cls: type[ModelStudioError], message: str, code: str | None, size: int | None
) -> None:
    """The typed error, after its text, which a whole answer has in `partial`."""
    value = dialect.chunk("!")
    choice_of(value).update(said)
    text, failure = read_stream(dialect, value, size=size)
    assert text == f"{PARTIAL}!"
    whole = dialect.whole("!")
    choice_of(whole).update(said)
    with pytest.raises(ModelStudioError) as caught:
        codec_for(dialect.name).decode(REQUEST, HEAD, written(whole))
    for error in (failure, caught.value):
        assert type(error) is cls
        assert error.message.startswith(message)
        assert (error.code, error.request_id) == (code, value.get("request_id", "req-1"))
    assert caught.value.partial is not None
    assert caught.value.partial.choices[0].text == "!"


def test_a_native_text_with_an_error() -> None:
    """In the result_format "text", the finish reason is in the output itself."""
    output = {"text": "A", "finish_reason": "error", "error": {"code": "Throttling", "message": "Slow."}}
    with pytest.raises(RateLimitError, match="Slow"):
        codec_for("dashscope").decode(REQUEST, HEAD, written({"output": output}))


def test_a_final_message_with_an_error() -> None:
    """Its error counts, although its text repeats the deltas."""
    error = {
        "message": {"content": PARTIAL},
        "finish_reason": "error",
        "error": {"code": "Throttling", "message": "No"},
    }
    text, failure = read_stream(DIALECTS["openai"], {"choices": [error]})
    assert (text, type(failure)) == (PARTIAL, RateLimitError)


@every_dialect
@pytest.mark.parametrize("error", [None, "", {}, {"code": None}, {"code": 0, "message": "ok"}], ids=short)
def test_an_empty_error_is_ignored(dialect: Dialect, error: Any) -> None:
    """Some servers always send the key."""
    whole = dialect.whole("A")
    choice_of(whole)["error"] = error
    deltas = codec_for(dialect.name).decode(REQUEST, HEAD, written(whole | {"error": error}))
    assert fold(deltas).choices[0].text == "A"
