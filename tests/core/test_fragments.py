"""Assembly of tool calls from fragments, in both protocols and split at any byte."""

from __future__ import annotations

from typing import Any

import pytest

from modelstudio_core.errors import ModelStudioError, ProtocolError
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.registry import codec_for
from modelstudio_core.types import ChatRequest, Delta, Message, ResponseHead, ToolCallDelta
from tests.core.decoding import GENERATED, check_form, read
from tests.faults.dialects import DIALECTS, Dialect, written
from tests.ids import short

HEAD = ResponseHead(200, {"content-type": "text/event-stream"})
every_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
every_size = pytest.mark.parametrize("size", [None, 1, 7])


def piece(name: Any = None, arguments: Any = None, **beside: Any) -> dict[str, Any]:
    """One fragment."""
    return {"function": {"name": name, "arguments": arguments}, **beside}


def said_by(dialect: Dialect, message: Any, finish: str | None = None) -> dict[str, Any]:
    """An event whose message or delta is `message`."""
    value: dict[str, Any] = dialect.chunk(finish=finish)
    choices = value["output"]["choices"] if "output" in value else value["choices"]
    choices[0]["message" if "output" in value else "delta"] = message
    return value


def stream_of(dialect: Dialect, *events: Any) -> bytes:
    """A stream of these events that ends with tool calls."""
    end = said_by(dialect, {"content": ""}, "tool_calls")
    return b"".join(dialect.event(written(event)) for event in (*events, end)) + dialect.done


def read_stream(
    dialect: Dialect, body: bytes, size: int | None = None, *, cumulative: bool = False
) -> tuple[list[Delta], ModelStudioError | None]:
    """The deltas of a stream, and its failure."""
    request = ChatRequest("qwen-plus", (Message("user", "hello"),), cumulative_stream=cumulative)
    decoder = codec_for(dialect.name).stream(request, HEAD, max_event_bytes=1_000_000)
    deltas = read(decoder, body, size)  # type: ignore[arg-type]  # a protocol's decoder
    check_form(deltas)
    return deltas, decoder.failure


def calls_of(dialect: Dialect, fragments: list[Any], size: int | None = None, *, cumulative: bool = False) -> Any:
    """Index, ID, name and arguments of the calls of a stream with one fragment, or list of them, per event."""
    lists = [fragment if isinstance(fragment, list) else [fragment] for fragment in fragments]
    events = [said_by(dialect, {"tool_calls": each}) for each in lists]
    deltas, failure = read_stream(dialect, stream_of(dialect, *events), size, cumulative=cumulative)
    assert failure is None
    choice = fold(deltas).choices[0]
    calls = [*choice.tool_calls, *choice.invalid_tool_calls]
    return [(call.index, call.id, call.name, call.arguments) for call in calls]


WEATHER = [(0, "call_1", "get_weather", "{}")]
NAMES: list[tuple[str, list[Any], Any]] = [
    # name, fragments, calls
    (
        "two pieces at one index",
        [piece("get_", "", index=0, id="call_1"), piece("weather", "", index=0), piece(None, "{}", index=0)],
        WEATHER,
    ),
    (
        "three pieces, the last with the arguments",
        [piece("get", index=0, id="call_1"), piece("_", index=0, id=""), piece("weather", "{}", index=0, id=None)],
        WEATHER,
    ),
    (
        "the id on every piece",
        [piece("get_", index=0, id="call_1"), piece("weather", index=0, id="call_1"), piece("", "{}", index=0)],
        WEATHER,
    ),
    (
        "the id on the last piece",
        [piece("get_", index=0), piece("weather", index=0, id="call_1"), piece(None, "{}", index=0)],
        WEATHER,
    ),
    ("no index", [piece("get_", id="call_1"), piece("weather"), piece(None, "{}")], WEATHER),
    (
        "index -1",
        [piece("get_", index=-1, id="call_1"), piece("weather", index=-1), piece(None, "{}", index=-1)],
        WEATHER,
    ),
    (
        "each event repeats the name so far",
        [
            piece("get_", index=0, id="call_1"),
            piece("get_weather", index=0),
            piece("get_weather", index=0),
            piece("get_weather", "{}", index=0),
        ],
        WEATHER,
    ),
    (
        "the same name again without an index, before the arguments",
        [piece("get_weather", "", id="call_1"), piece("get_weather", ""), piece("", "{}")],
        WEATHER,
    ),
    (
        "another name of a known id after the arguments began",
        [piece("get_weather", "{", index=0, id="call_1"), piece("f", "}", index=0, id="call_1")],
        WEATHER,
    ),
    (
        "another name after the arguments: another call",
        [piece("get_weather", "{}", index=0, id="call_1"), piece("f", "{}", index=0)],
        [*WEATHER, (1, GENERATED, "f", "{}")],
    ),
    (
        "another id with another name: another call",
        [piece("get_weather", index=0, id="call_1"), piece("f", "{}", index=0, id="call_2")],
        [(0, "call_1", "get_weather", ""), (1, "call_2", "f", "{}")],
    ),
    (
        "two names in one event at one index: two calls",
        [[piece("f", index=0), piece("g", index=0)]],
        [(0, GENERATED, "f", ""), (1, GENERATED, "g", "")],
    ),
    (
        "a name twice in one event without an index: two calls",
        [[piece("f"), piece("f")]],
        [(0, GENERATED, "f", ""), (1, GENERATED, "f", "")],
    ),
    (
        "two calls in turn, each in pieces",
        [
            piece("get_", index=0, id="call_1"),
            piece("f", index=1, id="call_2"),
            piece("weather", index=0),
            piece("oo", "{}", index=1),
            piece(None, "{}", index=0),
        ],
        [*WEATHER, (1, "call_2", "foo", "{}")],
    ),
]


@every_size
@every_dialect
@pytest.mark.parametrize(("fragments", "calls"), [c[1:] for c in NAMES], ids=[c[0] for c in NAMES])
def test_a_name_in_fragments(dialect: Dialect, fragments: list[Any], calls: Any, size: int | None) -> None:
    """Until the arguments start, fragments of the name are joined. Repetitions are ignored."""
    assert calls_of(dialect, fragments, size) == calls


@every_dialect
def test_name_deltas(dialect: Dialect) -> None:
    """Each delta has only the new part."""
    fragments = [piece(name, index=0) for name in ("get_", "get_weather", "get_weather", "_in")]
    events = [said_by(dialect, {"tool_calls": [fragment]}) for fragment in fragments]
    deltas, _ = read_stream(dialect, stream_of(dialect, *events))
    names = [delta.name for delta in deltas if isinstance(delta, ToolCallDelta)]
    assert names == ["get_", "weather", "_in", None]  # the last has the generated id


@every_dialect
def test_a_cumulative_name(dialect: Dialect) -> None:
    """The new part is added. A different name is another call."""
    names = ("get_", "get_weather", "get_weather")
    grown = [[piece(name, "{}" if at == 2 else "", id="call_1")] for at, name in enumerate(names)]
    assert calls_of(dialect, [*grown, [*grown[-1], piece("f", "{}")]], cumulative=True) == [
        *WEATHER,
        (1, GENERATED, "f", "{}"),
    ]
    assert calls_of(dialect, [piece("f", index=0), piece("g", "{}", index=0)], cumulative=True) == [
        (0, GENERATED, "f", ""),
        (1, GENERATED, "g", "{}"),
    ]


@every_dialect
@pytest.mark.parametrize("index", [1, "1", 1.0, "01"], ids=short)
def test_indexes_as_text_or_float(dialect: Dialect, index: Any) -> None:
    """For calls and choices."""
    fragments = [piece("f", "{}", index=0), piece("g", "{", index=index), piece(None, "}", index=1)]
    assert calls_of(dialect, fragments) == [(0, GENERATED, "f", "{}"), (1, GENERATED, "g", "{}")]
    for value, text in ((said_by(dialect, {"content": "A"}), "A"), (said_by(dialect, {"content": "B"}), "")):
        choices = value["output"]["choices"] if "output" in value else value["choices"]
        choices[0]["index"] = "0" if text else index  # the second choice was not asked for
        deltas, failure = read_stream(dialect, stream_of(dialect, value))
        assert (fold(deltas).choices[0].text, failure) == (text, None)


@every_dialect
@pytest.mark.parametrize("index", ["x", "", "-", "1.0", "\u00b2", 0.5, True, [0], {"n": 0}, "9" * 5000], ids=short)
def test_invalid_indexes(dialect: Dialect, index: Any) -> None:
    """A ProtocolError names it, and no call is invented."""
    call = said_by(dialect, {"tool_calls": [piece("f", "{}", index=index)]})
    choice = said_by(dialect, {"content": "A"})
    (choice["output"]["choices"] if "output" in choice else choice["choices"])[0]["index"] = index
    for value in (call, choice):
        deltas, failure = read_stream(dialect, stream_of(dialect, value))
        assert type(failure) is ProtocolError
        assert "index" in failure.message
        assert repr(index)[:20] in failure.message
        assert not any(isinstance(delta, ToolCallDelta) for delta in deltas)


NEW_IDS: list[tuple[str, list[Any], Any]] = [
    (
        "at its index",
        [
            piece("get_weather", "", index=0, id="call_1"),
            piece(None, "{", index=0, id="b"),
            piece("", "}", index=0, id="c"),
        ],
        WEATHER,
    ),
    (
        "without an index",
        [piece("get_weather", "", id="call_1"), piece(None, "{", id="b"), piece("", "}", id="c")],
        WEATHER,
    ),
    (
        "two calls in turn",
        [
            piece("get_weather", "{", index=0, id="call_1"),
            piece("f", "{", index=1, id="call_2"),
            piece(None, "}", index=0, id="c"),
            piece(None, "}", index=1, id="d"),
        ],
        [*WEATHER, (1, "call_2", "f", "{}")],
    ),
    (
        "an id alone begins a call",
        [
            piece("get_weather", "{}", index=0, id="call_1"),
            piece(None, "", index=0, id="call_2"),
            piece("f", "{}", index=0, id="call_2"),
        ],
        [*WEATHER, (1, "call_2", "f", "{}")],
    ),
    (
        "an id with a name begins a call",
        [piece("get_weather", "{}", index=0, id="call_1"), piece("get_weather", "{}", index=0, id="call_2")],
        [*WEATHER, (1, "call_2", "get_weather", "{}")],
    ),
]


@every_size
@every_dialect
@pytest.mark.parametrize(("fragments", "calls"), [c[1:] for c in NEW_IDS], ids=[c[0] for c in NEW_IDS])
def test_an_id_for_each_fragment(dialect: Dialect, fragments: list[Any], calls: Any, size: int | None) -> None:
    """Arguments without a name continue the current call, whose first ID is kept."""
    assert calls_of(dialect, fragments, size) == calls


REPEATED = {
    "role": "assistant",
    "content": "AB",
    "reasoning_content": "hm",
    "tool_calls": [{"id": "call_1", "function": {"name": "get_weather", "arguments": "{}"}}],
    "audio": {"data": "AAAA"},
}
LOGPROBS = {"content": [{"token": "A", "logprob": -0.1}]}


@every_size
def test_a_final_complete_message(size: int | None) -> None:
    """After deltas, only its finish reason counts, for each choice."""
    dialect = DIALECTS["openai"]
    deltas = [
        {"reasoning_content": "hm"},
        {"content": "A"},
        {"content": "B"},
        {"tool_calls": [piece("get_weather", "{}", index=0, id="call_1")]},
    ]
    end = {
        "choices": [{"index": 0, "message": REPEATED, "logprobs": LOGPROBS, "finish_reason": "tool_calls"}] * 2,
    }
    events = [*(said_by(dialect, delta) for delta in deltas), end]
    body = b"".join(dialect.event(written(event)) for event in events) + dialect.done
    found, failure = read_stream(dialect, body, size)
    assert failure is None
    choice = fold(found).choices[0]
    assert (choice.text, choice.reasoning, choice.finish_reason) == ("AB", "hm", "tool_calls")
    assert [(call.index, call.id, call.name, call.arguments) for call in choice.tool_calls] == WEATHER
    assert (choice.audio, choice.logprobs) == (None, ())


@every_size
def test_messages_instead_of_deltas(size: int | None) -> None:
    """Each is read unless deltas had its content."""
    dialect = DIALECTS["openai"]
    events = [
        said_by(dialect, {"role": "assistant", "content": ""}),
        {"choices": [{"index": 0, "message": {"content": "A"}}]},
        {"choices": [{"index": 0, "message": {"content": "B"}, "finish_reason": "stop"}]},
    ]
    body = b"".join(dialect.event(written(event)) for event in events) + dialect.done
    found, failure = read_stream(dialect, body, size)
    assert (fold(found).choices[0].text, failure) == ("AB", None)
