"""Unusual events of the OpenAI-compatible protocol, invalid counts, and failed whole answers."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from modelstudio_core.errors import (
    APIStatusError,
    ModelStudioError,
    ProtocolError,
    RateLimitError,
    StreamTruncatedError,
)
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.codec import read_json
from modelstudio_core.protocols.openai import read_usage
from modelstudio_core.types import (
    ChatRequest,
    Delta,
    FinishDelta,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageDelta,
)
from tests.core.decoding import read
from tests.core.openai_codec.wire import (
    ANSWERED,
    BEGUN,
    CODEC,
    DONE,
    FILLED,
    HEAD,
    ID,
    LIMIT,
    LIMITED,
    NATIVE,
    OMITTED,
    REQUEST,
    STOP,
    USAGE,
    USER,
    body_of,
    chunk,
    decoder,
    event,
    text,
    whole,
)
from tests.ids import short

NO_COUNTS: list[Any] = ["", "n/a", "-5", "5.0", "\u00b2", "9" * 5000, 1.5, {"n": 1}, [3], True, float("inf"), -1, -3.0]
COUNT_NAMES = [
    ("prompt_tokens", None),
    ("completion_tokens", None),
    ("total_tokens", None),
    ("reasoning_tokens", "completion_tokens_details"),
    ("text_tokens", "completion_tokens_details"),
    ("audio_tokens", "completion_tokens_details"),
    ("cached_tokens", "prompt_tokens_details"),
    ("cache_creation_input_tokens", "prompt_tokens_details"),
    ("text_tokens", "prompt_tokens_details"),
    ("image_tokens", "prompt_tokens_details"),
    ("video_tokens", "prompt_tokens_details"),
    ("audio_tokens", "prompt_tokens_details"),
]


def counted(name: str, holder: str | None, value: Any) -> dict[str, Any]:
    """Return a usage object with `value` for this count."""
    return USAGE | ({holder: {name: value}} if holder else {name: value})


@pytest.mark.parametrize("value", NO_COUNTS, ids=short)
@pytest.mark.parametrize(("name", "holder"), COUNT_NAMES)
def test_an_invalid_count(name: str, holder: str | None, value: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It counts as missing, with a debug line. The answer and other counts are kept."""
    caplog.set_level("DEBUG", "modelstudio_core")
    usage = counted(name, holder, value)
    expected = UsageDelta(read_usage(counted(name, holder, None)))
    reader = decoder()
    deltas = read(reader, body_of([*text("A"), STOP, chunk(usage=usage)]))
    assert reader.failure is None
    assert [delta for delta in deltas if isinstance(delta, TextDelta | UsageDelta)] == [TextDelta("A"), expected]
    assert [f"usage.{name} is unreadable" in line for line in caplog.messages] == [True]
    assert expected in CODEC.decode(REQUEST, HEAD, json.dumps(whole({"content": "A"}, usage=usage)).encode())


@pytest.mark.parametrize(("name", "holder"), COUNT_NAMES)
def test_counts_as_float_or_text(name: str, holder: str | None) -> None:
    """3.0 and "3" are read as 3, as some servers write them. null is missing."""
    for value in (3.0, "3"):
        assert read_usage(counted(name, holder, value)) == read_usage(counted(name, holder, 3))
        assert repr(value) not in repr(read_usage(counted(name, holder, value)))
    unsaid = read_usage({key: value for key, value in USAGE.items() if key != name})
    assert read_usage(counted(name, holder, None)) == unsaid


WHOLE_EVENTS: list[tuple[str, list[Any], list[Delta]]] = [
    (
        "text, all in one event",
        [ID | {"choices": [{"index": 0, "message": {"content": "AB"}, "finish_reason": "stop"}]}],
        [TextDelta("AB"), FinishDelta("stop")],
    ),
    (
        "reasoning and text, the end by a delta",
        [ID | {"choices": [{"index": 0, "message": {"content": "A", "reasoning_content": "hm"}}]}, STOP],
        [ReasoningDelta("hm"), TextDelta("A"), FinishDelta("stop")],
    ),
    (
        "the whole message after its deltas, which adds nothing",
        [
            text("A")[0],
            ID | {"choices": [{"index": 0, "message": {"content": "A", "reasoning_content": "hm"}}]},
            STOP,
        ],
        [TextDelta("A"), FinishDelta("stop")],
    ),
    (
        "tool calls, without indices of their own",
        [
            ID
            | {
                "choices": [
                    {
                        "index": 0,
                        "message": {
                            "content": "",
                            "tool_calls": [
                                {"id": f"call_{n}", "type": "function", "function": {"name": n, "arguments": "{}"}}
                                for n in "fg"
                            ],
                        },
                        "finish_reason": "tool_calls",
                    }
                ]
            }
        ],
        [ToolCallDelta(0, "call_f", "f", "{}"), ToolCallDelta(1, "call_g", "g", "{}"), FinishDelta("tool_calls")],
    ),
]


@pytest.mark.parametrize(("events", "expected"), [c[1:] for c in WHOLE_EVENTS], ids=[c[0] for c in WHOLE_EVENTS])
def test_a_message_in_a_stream(events: list[Any], expected: list[Delta]) -> None:
    """Some servers stream a complete `message` instead of a `delta`."""
    reader = decoder()
    assert read(reader, body_of(events)) == [ANSWERED, *expected]
    assert reader.failure is None


def test_calls_of_a_message_in_a_stream() -> None:
    """They are complete, so two calls without ID or index are two calls."""
    calls = [{"type": "function", "function": {"arguments": arguments}} for arguments in ('{"a": 1}', '{"a": 2}')]
    message = {"content": "", "tool_calls": calls}
    reader = decoder()
    deltas = read(reader, body_of([ID | {"choices": [{"message": message, "finish_reason": "tool_calls"}]}]))
    found = [(delta.index, delta.arguments) for delta in deltas if isinstance(delta, ToolCallDelta)]
    assert found == [(0, '{"a": 1}'), (1, '{"a": 2}'), (0, ""), (1, "")]  # the last two hold the generated ids


HEARTBEATS = [b"data:\n\n", b"data: \n\n", b"data:   \n\n", b"data: \t \n\n", b"event: ping\ndata:\n\n", b": ping\n\n"]


@pytest.mark.parametrize("size", [None, 1], ids=["whole", "by 1"])
@pytest.mark.parametrize("beat", HEARTBEATS, ids=short)
def test_a_heartbeat_is_skipped(beat: bytes, size: int | None) -> None:
    """Events without content are ignored at any position."""
    reader = decoder()
    body = beat + event(text("A")[0]) + beat + b"".join(map(event, [*text("A")[1:], STOP])) + beat + DONE
    assert [d for d in read(reader, body, size) if isinstance(d, TextDelta | FinishDelta)] == [
        TextDelta("A"),
        FinishDelta("stop"),
    ]
    assert reader.failure is None


@pytest.mark.parametrize("done", [b"data:[DONE]", b"data: [DONE]", b"data:  [DONE]", b"data: \t[DONE] "], ids=short)
def test_done_with_whitespace(done: bytes) -> None:
    """Whitespace around [DONE] is ignored."""
    reader = decoder()
    read(reader, b"".join(map(event, [*text("A"), STOP])) + done + b"\n\n")
    assert reader.ended
    assert reader.failure is None


@pytest.mark.parametrize("places", [(None, None), (OMITTED, OMITTED), (-1, -1)], ids=["null", "omitted", "-1"])
def test_choices_without_index(places: tuple[Any, Any]) -> None:
    """They are numbered in order."""
    choices = [
        {"index": place, "message": {"content": said}, "finish_reason": "stop"}
        for place, said in zip(places, "AB", strict=True)
    ]
    body = ID | {"choices": [{k: v for k, v in choice.items() if v is not OMITTED} for choice in choices]}
    result = fold(CODEC.decode(ChatRequest("qwen-plus", (USER,), n=2), HEAD, json.dumps(body).encode()))
    assert [(choice.text, choice.finish_reason) for choice in result.choices] == [("A", "stop"), ("B", "stop")]


def test_an_oversized_event_after_done() -> None:
    """It does not affect the answer."""
    reader = decoder()
    reader.feed(body_of([*text("A"), STOP]) + b"x" * (2 * LIMIT))
    assert reader.ended
    assert reader.failure is None


def test_an_oversized_event_after_an_error() -> None:
    """It does not replace the error."""
    reader = decoder()
    reader.feed(BEGUN + event(LIMITED) + b"x" * (2 * LIMIT))
    assert type(reader.failure) is RateLimitError


def test_an_unpaired_surrogate() -> None:
    """It is replaced by U+FFFD, so the text can be encoded as UTF-8."""
    for half in (rb"\ud83d", rb"\ude80"):
        data = b'{"choices":[{"index":0,"delta":{"content":"a%sb"},"finish_reason":"stop"}]}' % half
        (_, delta, _) = decoder().feed(event(data))
        assert isinstance(delta, TextDelta)
        assert delta.text == "a\ufffdb"
    data = json.dumps(whole({"content": "x \ud83d y \U0001f680 \udc00"})).encode()
    assert TextDelta("x \ufffd y \U0001f680 \ufffd") in CODEC.decode(REQUEST, HEAD, data)


@pytest.mark.parametrize("half", [b"", b'"\\ud83d", '], ids=["fast", "with half an emoji"])
@pytest.mark.parametrize("depth", [150, 250])
def test_deep_nesting(depth: int, half: bytes) -> None:
    """JSON with a depth of 150 is read, with 250 it is rejected, because it could not be copied or pickled."""
    data = b'{"choices":[{"index":0,"delta":{"content":"A","x":[%s%s]},"finish_reason":"stop"}]}' % (
        half, b"[" * depth + b"]" * depth
    )  # fmt: skip
    reader = decoder()
    assert (TextDelta("A") in reader.feed(event(data))) == (depth < 200)
    assert (reader.failure is None) == (depth < 200)


DEEP = [
    ("lists", b"[" * 100_000 + b"]" * 100_000),
    ("lists without an end", b"[" * 100_000),
    ("objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    ("after text with brackets", rb'["]]]]", "\"]", "\\", ' * 50_000 + b"1" + b"]" * 50_000),
    ("after half a character", rb'["\ud83d", ' + b"[" * 100_000 + b"]" * 100_001),
    ("in UTF-16", ("[" * 100_000 + "]" * 100_000).encode("utf-16")),
]


@pytest.mark.parametrize("data", [case[1] for case in DEEP], ids=[case[0] for case in DEEP])
def test_deeply_nested_json_is_not_parsed(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its depth is checked before: garbage collection during deep recursion could crash."""
    monkeypatch.setattr("modelstudio_core.protocols.codec.json.loads", lambda _: pytest.fail("it was parsed"))
    with pytest.raises(ProtocolError, match="not JSON"):
        read_json(data)


FLAT = [
    ("a text without an end", b'"' + b"x" * 1_000_000),
    ("a text of backslashes without an end", b'"' + b"\\" * 1_000_001),
    ("texts, and no end", b'"a",' * 250_000 + b'"'),
    ("quotes", b'"' * 1_000_001),
    ("lists in a row", b"[" + b"[]," * 100_000),
    ("ends", b"]" * 1_000_000),
]


@pytest.mark.parametrize("data", [case[1] for case in FLAT], ids=[case[0] for case in FLAT])
def test_invalid_json_is_rejected_quickly(data: bytes) -> None:
    """In a fraction of a second per megabyte."""
    began = time.process_time()
    with pytest.raises(ProtocolError, match="not JSON"):
        read_json(data)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("text", ["[" * 300, '"]{[' * 100, "\\" * 301 + "[" * 300, '\\"[' * 300])
def test_brackets_in_strings_do_not_count_as_nesting(text: str, mark: bytes) -> None:
    """Regardless of quotes and backslashes, and of a byte order mark."""
    data = json.dumps([text, "\ud83d"]).encode()
    assert read_json(mark + data) == [text, "\ufffd"]


WHOLE_FAILURES: list[tuple[str, bytes, type[ModelStudioError], str | None]] = [
    ("compatible error with HTTP 200", json.dumps(LIMITED).encode(), RateLimitError, "limit_requests"),
    ("native error with HTTP 200", json.dumps(NATIVE).encode(), RateLimitError, "Throttling.RateQuota"),
    ("a bare string", b'{"error": "Specified model not found: x"}', APIStatusError, None),
    ("HTML", b"<html><body>Welcome</body></html>", ProtocolError, None),
    ("nothing", b"", ProtocolError, None),
    ("a list", b"[]", ProtocolError, None),
    ("no choices", b'{"id": "chatcmpl-7"}', ProtocolError, None),
    ("a message that is no object", json.dumps(whole("A")).encode(), ProtocolError, None),
    ("nested 200,000 deep", b"[" * 200_000, ProtocolError, None),
    ("choices []", json.dumps(ID | {"choices": [], "usage": USAGE}).encode(), StreamTruncatedError, None),
    (
        "no finish reason: cut after 300 s",
        json.dumps(whole({"content": "A"}, None)).encode(),
        StreamTruncatedError,
        None,
    ),
    ('finish reason "null"', json.dumps(whole({"content": "A"}, "null")).encode(), StreamTruncatedError, None),
]


@pytest.mark.parametrize(("body", "cls", "code"), [c[1:] for c in WHOLE_FAILURES], ids=[c[0] for c in WHOLE_FAILURES])
def test_a_failed_whole_answer(body: bytes, cls: type[ModelStudioError], code: str | None) -> None:
    """An error body, an unknown body or a truncated answer raises the typed error without the status 200."""
    with pytest.raises(ModelStudioError) as caught:
        CODEC.decode(REQUEST, HEAD, body)
    assert type(caught.value) is cls
    assert (caught.value.code, caught.value.status_code) == (code, None)


def test_a_protocol_error_quotes_the_body() -> None:
    """At most the first 200 characters, stripped."""
    with pytest.raises(ProtocolError, match=r"not JSON: '<html>'$"):
        CODEC.decode(REQUEST, HEAD, b"\n <html> \n")
    with pytest.raises(ProtocolError, match=r"not JSON: 'x{200}'\.\.\.$"):
        CODEC.decode(REQUEST, HEAD, b"x" * 1000)
    with pytest.raises(ProtocolError, match=r"not JSON: 'x{200}'$"):
        CODEC.decode(REQUEST, HEAD, b"x" * 200)
    with pytest.raises(ProtocolError, match=r"not an object: '\[1\]'"):
        CODEC.decode(REQUEST, HEAD, b"[1]")


def test_a_truncated_whole_answer() -> None:
    """The service truncates answers after 300 s without an error. `partial` has text and usage."""
    body = json.dumps(whole({"content": "A", "reasoning_content": "hm", "tool_calls": [FILLED]}, None, USAGE)).encode()
    with pytest.raises(StreamTruncatedError) as caught:
        CODEC.decode(REQUEST, HEAD, body)
    partial = caught.value.partial
    assert partial is not None
    (choice,) = partial.choices
    assert (choice.text, choice.reasoning, choice.finish_reason) == ("A", "hm", None)
    assert [call.name for call in choice.tool_calls] == ["f"]
    assert partial.usage == Usage(13, 20, 33)
    assert partial.response == ANSWERED


def test_one_of_two_choices_is_truncated() -> None:
    """With n=2, both choices must have finished."""
    reader = decoder(2)
    read(reader, body_of([*text("A"), chunk({"content": "C"}, index=1), STOP]))
    assert type(reader.failure) is StreamTruncatedError
