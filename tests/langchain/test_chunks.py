"""Strict message chunks: incomplete calls are never repaired to valid ones once the answer is complete.

langchain#39275: plain chunks turn `{"city": "New ` into the call `{"city": "New "}`. Ours must not, however they are
added.
"""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import pytest
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langchain_modelstudio.chunks import ModelStudioMessageChunk
from langchain_modelstudio.outputs import from_core_delta, last_chunk
from modelstudio_core.types import ReasoningDelta, ResponseDelta, TextDelta, ToolCallDelta, Usage

RESPONSE = ResponseDelta("chatcmpl-1", "req-1", "qwen-plus", 1770000000)
USAGE = Usage(input_tokens=20, output_tokens=10, total_tokens=30)
Chunks = list[AIMessageChunk]
Add = Callable[[Chunks], AIMessageChunk]


def stream(*pieces: str, finish: str = "tool_calls", v1: bool = False) -> Chunks:
    """Return the chunks of a thought, a word, and one call with arguments in `pieces`."""
    deltas = [ReasoningDelta("hm"), TextDelta("so"), ToolCallDelta(0, "call_1", "get")]
    deltas += [ToolCallDelta(0, arguments=piece) for piece in pieces]  # type: ignore[arg-type]
    return made(*deltas, finish=finish, v1=v1)


def made(*deltas: Any, finish: str = "tool_calls", v1: bool = False) -> Chunks:
    chunks: list[Any] = [from_core_delta(delta, v1=v1) for delta in deltas]
    return [*chunks, last_chunk(RESPONSE, finish, USAGE, {}, v1=v1)]


def through_generations(chunks: Chunks) -> AIMessageChunk:
    merged = merge_chat_generation_chunks([ChatGenerationChunk(message=chunk) for chunk in chunks])
    assert merged is not None
    assert isinstance(merged.message, AIMessageChunk)
    return merged.message


def plain(chunk: AIMessageChunk) -> AIMessageChunk:
    """Return the chunk as langchain-core's class."""
    return AIMessageChunk(**{name: value for name, value in chunk.__dict__.items() if name != "type"})


WAYS_TO_ADD: dict[str, Add] = {
    "a + b": lambda chunks: reduce(add, chunks),
    "a + [b, c]": lambda chunks: chunks[0] + chunks[1:],  # type: ignore[operator]
    "a + (b, c)": lambda chunks: chunks[0] + tuple(chunks[1:]),  # type: ignore[operator]
    "half and half": lambda chunks: reduce(add, chunks[:3]) + reduce(add, chunks[3:]),
    "as generations": through_generations,
    "plain + ours": lambda chunks: reduce(add, [plain(chunks[0]), *chunks[1:]]),
    "all plain but the last": lambda chunks: reduce(add, [*map(plain, chunks[:-1]), chunks[-1]]),
    "copies": lambda chunks: reduce(add, copy.deepcopy(chunks)),
    "pickled": lambda chunks: reduce(add, pickle.loads(pickle.dumps(chunks))),
}
STRICT: list[tuple[str, tuple[str, ...], str, dict[str, Any] | None, str]] = [
    ("whole", ('{"city"', ': "New ', 'York"}'), "tool_calls", {"city": "New York"}, ""),
    ("whole, whatever stopped it", ('{"a": 1}',), "length", {"a": 1}, ""),
    ("none", (), "tool_calls", {}, ""),
    ("none, forced choices end with stop", ("",), "stop", {}, ""),
    ("blank", (" \n",), "tool_calls", {}, ""),
    ("cut in a value", ('{"city"', ': "New '), "length", None, "truncated"),
    ("cut after a comma, a prefix that can be repaired", ('{"a": 1,',), "length", None, "truncated"),
    ("cut before they began", (), "length", None, "truncated"),
    ("not JSON", ("{city: 1}",), "tool_calls", None, "not JSON"),
    ("one brace too many", ('{"a": 1}}',), "tool_calls", None, "not JSON"),
    ("no object but a list", ("[1]",), "tool_calls", None, "list"),
    ("no object but a string", ('"{}"',), "tool_calls", None, "str"),
    ("NaN", ('{"a": NaN}',), "tool_calls", None, "NaN"),
]


@pytest.mark.parametrize("v1", [False, True], ids=["v0", "v1"])
@pytest.mark.parametrize("way", WAYS_TO_ADD)
@pytest.mark.parametrize(
    ("pieces", "finish", "args", "error"), [case[1:] for case in STRICT], ids=[case[0] for case in STRICT]
)
@pytest.mark.rotated
def test_a_finished_stream_has_only_valid_calls(
    pieces: tuple[str, ...], finish: str, args: dict[str, Any] | None, error: str, way: str, v1: bool
) -> None:
    """Other arguments are an invalid call with the raw text."""
    whole = WAYS_TO_ADD[way](stream(*pieces, finish=finish, v1=v1))
    if args is not None:
        expected: Any = {"type": "tool_call", "id": "call_1", "name": "get", "args": args}
        assert (whole.tool_calls, whole.invalid_tool_calls) == ([expected], [])
    else:
        [found] = whole.invalid_tool_calls
        expected = {"type": "invalid_tool_call", "id": "call_1", "name": "get", "args": "".join(pieces)}
        assert found == {**expected, "error": found["error"]}
        assert error in str(found["error"])
        assert whole.tool_calls == []
        expected = found
    if v1:
        assert whole.content[-1] == expected
        assert [block["type"] for block in whole.content[:-1]] == ["reasoning", "text"]  # type: ignore[index]
    else:
        assert whole.content == "so"


@pytest.mark.parametrize("v1", [False, True], ids=["v0", "v1"])
@pytest.mark.parametrize("way", WAYS_TO_ADD)
def test_valid_and_invalid_calls_keep_their_order(way: str, v1: bool) -> None:
    """A truncated call does not affect the others."""
    whole = WAYS_TO_ADD[way](
        made(
            ToolCallDelta(0, "call_1", "get", '{"a": 1}'),
            ToolCallDelta(1, "call_2", "put", '{"b"'),
            ToolCallDelta(2, "call_3", "get", "{}"),
            ToolCallDelta(1, None, None, ": 2}"),
            ToolCallDelta(3, "call_4", "put", '{"c": '),
            finish="length",
            v1=v1,
        )
    )
    assert [(made_call["id"], made_call["args"]) for made_call in whole.tool_calls] == [
        ("call_1", {"a": 1}),
        ("call_2", {"b": 2}),
        ("call_3", {}),
    ]
    assert [(cut["id"], cut["args"]) for cut in whole.invalid_tool_calls] == [("call_4", '{"c": ')]
    if v1:
        ids: list[Any] = [block["id"] for block in whole.content]  # type: ignore[index]
        assert ids == ["call_1", "call_2", "call_3", "call_4"]
        types: list[Any] = [block["type"] for block in whole.content]  # type: ignore[index]
        assert types == ["tool_call", "tool_call", "tool_call", "invalid_tool_call"]


def test_a_call_without_a_name_is_invalid() -> None:
    """It is no call of the tool ""."""
    [chunk, last] = made(ToolCallDelta(0, "call_1", None, "{}"))
    whole = chunk + last
    assert whole.tool_calls == []
    assert whole.invalid_tool_calls[0]["error"] == "the call has no name"


@pytest.mark.parametrize("v1", [False, True], ids=["v0", "v1"])
def test_partial_arguments_during_a_stream(v1: bool) -> None:
    """Until the last chunk they are repaired like in langchain-core, for agents and parsers."""
    chunks = stream('{"city"', ': "New ', finish="length", v1=v1)
    running = reduce(add, chunks[:-1])
    assert running.tool_calls == [{"type": "tool_call", "id": "call_1", "name": "get", "args": {"city": "New "}}]
    assert running.chunk_position is None
    # beside text langchain-core's own guess would be the repaired call, not its fragments
    assert [block["type"] for block in running.content_blocks] == ["reasoning", "text", "tool_call_chunk"]


@pytest.mark.parametrize("v1", [False, True], ids=["v0", "v1"])
@pytest.mark.parametrize("way", WAYS_TO_ADD)
def test_the_sum_is_one_message(way: str, v1: bool) -> None:
    """With text, reasoning, metadata and usage of the stream, without duplicates."""
    whole = WAYS_TO_ADD[way](stream("{}", v1=v1))
    assert isinstance(whole, ModelStudioMessageChunk)
    assert whole.text == "so"
    assert whole.additional_kwargs == {"reasoning_content": "hm"}
    assert whole.response_metadata == {
        "model_provider": "modelstudio",
        "finish_reason": "tool_calls",
        "model_name": "qwen-plus",
        "id": "chatcmpl-1",
        "request_id": "req-1",
        "created": 1770000000,
        **({"output_version": "v1"} if v1 else {}),
    }
    assert whole.usage_metadata == {"input_tokens": 20, "output_tokens": 10, "total_tokens": 30}
    assert whole.chunk_position == "last"
    assert [block["type"] for block in whole.content_blocks] == ["reasoning", "text", "tool_call"]


@pytest.mark.parametrize("v1", [False, True], ids=["v0", "v1"])
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
def test_a_chunk_becomes_a_plain_message(v1: bool, cut: bool) -> None:
    """`message_chunk_to_message`, which uses `__mro__[1]`, returns a plain AIMessage with the same calls."""
    pieces, finish = (('{"a": 1,',), "length") if cut else (('{"a": 1}',), "tool_calls")
    whole = reduce(add, stream(*pieces, finish=finish, v1=v1))
    message = message_chunk_to_message(whole)
    assert type(message) is AIMessage
    assert message.type == "ai"
    assert message.content == whole.content
    assert message.tool_calls == whole.tool_calls
    assert message.invalid_tool_calls == whole.invalid_tool_calls
    assert len(message.invalid_tool_calls) == cut
    assert message.additional_kwargs == {"reasoning_content": "hm"}
    assert message.usage_metadata == whole.usage_metadata


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")  # `load` is in beta
@pytest.mark.parametrize("v1", [False, True], ids=["v0", "v1"])
def test_a_chunk_is_serialised_as_langchain_s_own(v1: bool) -> None:
    """It is loaded as AIMessageChunk, also without this package."""
    whole = reduce(add, stream('{"a": 1}', v1=v1))
    assert dumpd(whole)["id"][-1] == "AIMessageChunk"
    assert "ModelStudio" not in dumps(whole)
    loaded = load(json.loads(dumps(whole)), allowed_objects="messages")
    assert type(loaded) is AIMessageChunk
    assert loaded.content == whole.content
    assert loaded.tool_calls == whole.tool_calls
    assert loaded.usage_metadata == whole.usage_metadata


LOADED: dict[str, Callable[[AIMessageChunk], AIMessageChunk]] = {
    "LangGraph's checkpoints": lambda chunk: SERDE.loads_typed(SERDE.dumps_typed(chunk)),
    "langchain-core's load": lambda chunk: load(json.loads(dumps(chunk)), allowed_objects="messages"),
    "pydantic": lambda chunk: AIMessageChunk(**chunk.model_dump()),
}
SERDE = JsonPlusSerializer(allowed_msgpack_modules=None)  # LangGraph's strict mode: what it does not know is refused


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")  # `load` is in beta
@pytest.mark.parametrize("v1", [False, True], ids=["v0", "v1"])
@pytest.mark.parametrize(
    ("pieces", "finish"),
    [(('{"a"', ": 1}"), "tool_calls"), (('{"a": 1,',), "length"), ((), "length")],
    ids=["whole", "cut", "cut before the arguments"],
)
@pytest.mark.parametrize("way", LOADED)
def test_a_stored_sum_is_unchanged(
    pieces: tuple[str, ...], finish: str, way: str, v1: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It is loaded as langchain-core's chunk, and nothing is lost or repaired."""
    whole = reduce(add, stream(*pieces, finish=finish, v1=v1))
    loaded = LOADED[way](whole)
    assert type(loaded) is AIMessageChunk
    assert caplog.records == []  # LangGraph warns in its log of what it does not know
    for name in ("content", "additional_kwargs", "response_metadata", "usage_metadata", "tool_calls", "chunk_position"):
        assert getattr(loaded, name) == getattr(whole, name)
    assert loaded.invalid_tool_calls == whole.invalid_tool_calls
    assert len(loaded.invalid_tool_calls) == (finish == "length")


def test_a_stored_partial_sum_can_be_continued() -> None:
    """It keeps its fragments."""
    *chunks, last = stream('{"a"', ": 1}")
    loaded = SERDE.loads_typed(SERDE.dumps_typed(reduce(add, chunks[:-1])))
    assert (loaded + chunks[-1] + last).tool_calls == reduce(add, [*chunks, last]).tool_calls


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda chunk: pickle.loads(pickle.dumps(chunk))])
def test_a_chunk_can_be_copied(again: Callable[[AIMessageChunk], AIMessageChunk]) -> None:
    """Copies are equal and of the same class."""
    whole = reduce(add, stream('{"a": 1,', finish="length"))
    assert type(again(whole)) is ModelStudioMessageChunk
    assert again(whole) == whole
    assert whole.model_copy(update={"content": "x"}).invalid_tool_calls == whole.invalid_tool_calls


def test_a_chunk_is_an_ai_message_chunk() -> None:
    """By class and by `type`."""
    [chunk, _] = made(TextDelta("x"))
    assert isinstance(chunk, AIMessageChunk)
    assert chunk.type == "AIMessageChunk"
    assert chunk.model_dump()["type"] == "AIMessageChunk"


def test_adding_does_not_change_the_operands() -> None:
    """In any order."""
    for v1 in (False, True):
        chunks = stream('{"city"', ': "New ', 'York"}', v1=v1)
        before = copy.deepcopy(chunks)
        reduce(add, chunks)
        chunks[0] + chunks[1:]  # type: ignore[operator]
        assert chunks == before


def test_content_has_one_type() -> None:
    """A string in v0 and a list in v1, including the last chunk."""
    assert {type(chunk.content) for chunk in stream("{}")} == {str}
    assert {type(chunk.content) for chunk in stream("{}", v1=True)} == {list}


def test_only_chunks_are_added() -> None:
    """Another left operand raises an error."""
    [chunk, _] = made(TextDelta("x"))
    with pytest.raises(TypeError):
        1 + chunk  # type: ignore[operator]
