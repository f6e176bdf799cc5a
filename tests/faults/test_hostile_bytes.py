"""Any bytes give a result or an error of this package, independent of how they are split, in bounded memory."""

from __future__ import annotations

import copy
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelstudio_core.protocols.sse import EventDecoder, ServerSentEvent
from tests.faults.dialects import DIALECTS, Dialect
from tests.faults.ways import WAYS, Way
from tests.fuzz.reading import pieces, read_error, read_stream, read_whole
from tests.ids import short

PROTOCOLS = tuple(DIALECTS)
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)

# ---------------------------------------------------------------- what comes

SIZES = st.lists(st.integers(1, 9), max_size=40)
SSE_WORDS = st.sampled_from(
    [b"data:", b"data: ", b"data", b"event:", b"event: error", b"id: 1", b"retry: 5", b":", b":HTTP_STATUS/429",
     b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"[DONE]", b"{}", b'{"choices":[]}', b"\x00",
     b" ", b"\xff"]
)  # fmt: skip
EVENT_BYTES = st.one_of(st.binary(max_size=200), st.lists(st.one_of(SSE_WORDS, st.binary(max_size=6))).map(b"".join))

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 700),
    st.sampled_from([10**30, -1, 1e308, 1e999, float("nan"), 0.5, 200.0]),
    st.text(max_size=8),
    st.sampled_from(["null", "stop", "length", "tool_calls", "error", "{}", '{"a": 1}', "[[[", "\ud83d", "\ude00", ""]),
)
WORDS = """id object created model choices usage system_fingerprint index delta message finish_reason logprobs content
    reasoning_content reasoning refusal role tool_calls function name arguments type audio data transcript expires_at
    error code param request_id status_code output text search_info search_results tool_info plugins prompt_tokens
    completion_tokens total_tokens input_tokens output_tokens prompt_tokens_details completion_tokens_details
    reasoning_tokens cached_tokens phase status extra deep_research ocr_result model_name"""
NAMES = st.sampled_from(WORDS.split())
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the paths of all values that can be replaced."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield (*at, name)
        yield from paths(item, (*at, name))


@st.composite
def near_answers(draw: st.DrawFn, dialect: Dialect, *, whole: bool) -> Any:
    """An object of the protocol with up to three wrong values."""
    value = dialect.whole("hi") if whole else dialect.chunk("hi", finish=draw(st.sampled_from([None, "stop"])))
    value = copy.deepcopy(value)
    inner = value["output"]["choices"][0] if "output" in value else value["choices"][0]
    said = inner.get("delta") or inner.get("message")
    if draw(st.booleans()):
        function = {"name": "f", "arguments": '{"a": '}
        said["tool_calls"] = [{"index": 0, "id": "call_1", "type": "function", "function": function}]
    if draw(st.booleans()):
        said["reasoning_content"] = "hm"
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from(list(paths(value))))
        holder = value
        for name in way:
            holder = holder[name]
        holder[last] = draw(VALUES)
    if draw(st.integers(0, 5)) == 0:
        value[draw(NAMES)] = draw(VALUES)
    return value


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


# ---------------------------------------------------------------- events


def events_of(parts: list[bytes]) -> tuple[list[ServerSentEvent], ServerSentEvent | None, bool]:
    decoder = EventDecoder(64)
    events = [event for part in parts for event in decoder.feed(part)]
    return events, decoder.flush(), decoder.overflowed


@quick
@given(EVENT_BYTES, SIZES)
def test_events_do_not_depend_on_read_boundaries(data: bytes, sizes: list[int]) -> None:
    """For any reads, the events and the effect of the limit are the same."""
    whole, torn = events_of([data]), events_of(pieces(data, sizes))
    if whole[2] or torn[2]:
        # where the limit is passed in mid-line depends on the reads; what came before it does not
        shorter, longer = sorted((whole[0], torn[0]), key=len)
        assert longer[: len(shorter)] == shorter
        assert whole[2] == torn[2]
    else:
        assert whole == torn


# ---------------------------------------------------------------- both codecs


@every_protocol
@quick
@given(EVENT_BYTES, SIZES)
def test_any_bytes_give_result_or_typed_error(protocol: str, data: bytes, sizes: list[int]) -> None:
    """As a stream, a whole answer, and an error body."""
    assert read_stream(protocol, pieces(data, sizes)) == read_stream(protocol, [data])
    read_whole(protocol, data)
    read_error(protocol, data)


@every_protocol
@quick
@given(st.data())
def test_malformed_events_give_result_or_typed_error(protocol: str, data: st.DataObject) -> None:
    """Objects of the protocol with wrong values."""
    dialect = DIALECTS[protocol]
    values = data.draw(st.lists(near_answers(dialect, whole=False), max_size=4))
    body = b"".join(dialect.event(as_json(value)) for value in values) + dialect.last() + dialect.done
    torn = pieces(body, data.draw(SIZES))
    assert read_stream(protocol, torn) == read_stream(protocol, [body])


@every_protocol
@quick
@given(st.data())
def test_malformed_answers_give_result_or_typed_error(protocol: str, data: st.DataObject) -> None:
    """The same for whole answers and error bodies."""
    body = as_json(data.draw(near_answers(DIALECTS[protocol], whole=True)))
    read_whole(protocol, body)
    error = DIALECTS[protocol].error("Throttling", "Busy.", request_id="req-2")
    for at in data.draw(st.lists(st.sampled_from(list(paths(error))), max_size=2)):
        holder = error
        for name in at[:-1]:
            holder = holder[name] if isinstance(holder, dict) and isinstance(holder.get(name), dict) else {}
        holder[at[-1]] = data.draw(VALUES)
    read_error(protocol, as_json(error), data.draw(st.integers(300, 599)))


# ---------------------------------------------------------------- through the adapters


@every_protocol
@pytest.mark.parametrize("way", [way for way in WAYS if way.name in ("invoke", "stream", "chat", "stream_chat")],
                         ids=lambda way: way.name)  # fmt: skip
@settings(quick, max_examples=25)
@given(data=st.data())
def test_adapter_converts_any_answer_or_raises_typed_error(protocol: str, way: Way, data: st.DataObject) -> None:
    """An adapter converts every decoded answer to a message, or raises an error of this package."""
    dialect = DIALECTS[protocol]
    if way.streams:
        values = data.draw(st.lists(near_answers(dialect, whole=False), max_size=3))
        body = b"".join(dialect.event(as_json(value)) for value in values) + dialect.last() + dialect.done
    else:
        body = as_json(data.draw(near_answers(dialect, whole=True)))
    label = "text/event-stream" if way.streams else "application/json"

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body, headers={"content-type": label})

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        model = way.make(model="qwen-plus", protocol=protocol, base_url="http://127.0.0.1:9", http_client=client)
        way.run(model)


# ---------------------------------------------------------------- memory


def peak_of(decoder: Any, part: bytes, size: int) -> int:
    """Return the peak memory while reading `size` bytes that repeat `part`."""
    tracemalloc.start()
    try:
        for _ in range(size // len(part)):
            decoder.feed(part)
            if decoder.overflowed:
                break
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("part", [b"xy", b"data:xy\n", b"data:\n", b": comment", b"event: ab", b"\xef\xbb"], ids=short)
def test_memory_is_bounded_by_the_limit(part: bytes) -> None:
    """An endless line or event in tiny reads takes a few times the limit at most."""
    decoder = EventDecoder(32 * 1024)
    assert peak_of(decoder, part, 512 * 1024) < 4 * 32 * 1024
