"""Histories in other forms than the framework's messages."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import invalid_tool_call
from llama_index.core.base.llms.types import ChatMessage

from tests.protocols import both_protocols
from tests.reported.conversations import WAYS, brief, fault_of, wire

pytestmark = both_protocols


def in_openai_form(arguments: Any, id: Any = "c1", **message: Any) -> dict[str, Any]:
    """Return an assistant turn as OpenAI's SDK dumps it."""
    function = {"name": "get", "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"id": id, "type": "function", "function": function}], **message}


DICTS: dict[str, tuple[dict[str, Any], Any]] = {
    "cut off": (in_openai_form('{"a": ', content=None), {"invalid_arguments": '{"a": '}),
    "no content": (in_openai_form('{"a": '), {"invalid_arguments": '{"a": '}),
    "a list": (in_openai_form("[1]", content=""), {"invalid_arguments": "[1]"}),
    "encoded twice": (in_openai_form('"{}"', content=""), {"invalid_arguments": '"{}"'}),
    "empty": (in_openai_form("", content=""), {}),
    "null": (in_openai_form(None, content=""), {}),
    "a list, not as text": (in_openai_form([1], content=""), {"invalid_arguments": "[1]"}),
    "an object, not as text": (in_openai_form({"a": 1}, content=""), {"a": 1}),
    "an object": (in_openai_form('{"a": 1}', content=""), {"a": 1}),
}


@pytest.mark.report(1)
@pytest.mark.parametrize(("turn", "expected", "way"), [(*row, way) for row, way in zip(DICTS.values(), cycle(WAYS))],
                         ids=DICTS)  # fmt: skip
@pytest.mark.parametrize("id", ["c1", 1])
@pytest.mark.rotated
async def test_dicts_in_openai_form(turn: dict[str, Any], expected: Any, way: str, id: Any) -> None:
    """langchain-core itself raises an error if arguments are missing or no JSON."""
    turn = {**turn, "tool_calls": [{**turn["tool_calls"][0], "id": id}]}
    given = [("human", "hi"), turn, {"role": "tool", "tool_call_id": id, "content": "21"}]
    messages = await wire("langchain", given, way)
    assert brief(messages)[1:] == [("assistant", "", (str(id), expected)), ("tool", "21", str(id))]
    assert fault_of(messages) is None


@pytest.mark.report(1)
@pytest.mark.parametrize("way", WAYS)
async def test_messages_dumped_as_dicts(way: str) -> None:
    """As from LangGraph's server. langchain-core reads only their valid calls."""
    broken = invalid_tool_call(id="c2", name="get", args="{", error="cut")
    turn = AIMessage("", tool_calls=[{"id": "c1", "name": "get", "args": {"a": 1}}], invalid_tool_calls=[broken])
    given = [HumanMessage("hi"), turn, ToolMessage("21", tool_call_id="c1"), ToolMessage("22", tool_call_id="c2")]
    messages = await wire("langchain", [message.model_dump() for message in given], way)
    assert brief(messages)[1:] == [
        ("assistant", "", ("c1", {"a": 1}), ("c2", {"invalid_arguments": "{"})),
        ("tool", "21", "c1"),
        ("tool", "22", "c2"),
    ]


BLOCKS: dict[str, tuple[Any, Any]] = {
    "tool_call": ({"type": "tool_call", "id": "c1", "name": "get", "args": {"a": 1}}, {"a": 1}),
    "tool_use": ({"type": "tool_use", "id": "c1", "name": "get", "input": {"a": 1}}, {"a": 1}),
    "tool_use of nothing": ({"type": "tool_use", "id": "c1", "name": "get"}, {}),
    "invalid_tool_call": (
        {"type": "invalid_tool_call", "id": "c1", "name": "get", "args": "{", "error": "cut"},
        {"invalid_arguments": "{"},
    ),
}
ANSWERS: dict[str, BaseMessage] = {
    "tool message": ToolMessage("21", tool_call_id="c1"),
    "tool_result": HumanMessage([{"type": "tool_result", "tool_use_id": "c1", "content": "21"}]),
}


@pytest.mark.report(1, 2)
@pytest.mark.parametrize(("block", "expected", "way"), [(*row, way) for row, way in zip(BLOCKS.values(), cycle(WAYS))],
                         ids=BLOCKS)  # fmt: skip
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_a_call_in_a_block_only(block: Any, expected: Any, answer: BaseMessage, way: str) -> None:
    """It is sent with its result. AIMessage(content_blocks=...) does not read all kinds."""
    given = [HumanMessage("hi"), AIMessage([{"type": "text", "text": "wait"}, block]), answer]
    assert brief(await wire("langchain", given, way))[1:] == [
        ("assistant", "wait", ("c1", expected)),
        ("tool", "21", "c1"),
    ]


@pytest.mark.report(1)
async def test_tool_calls_override_blocks() -> None:
    """A block may be an outdated copy."""
    made = {"id": "c1", "name": "get", "args": {"a": 2}}
    given = [HumanMessage("hi"), AIMessage([BLOCKS["tool_call"][0]], tool_calls=[made]), ANSWERS["tool message"]]
    assert brief(await wire("langchain", given))[1] == ("assistant", "", ("c1", {"a": 2}))


@pytest.mark.report(2)
@pytest.mark.parametrize(("made", "answered"), [(1, 1), (1, "1"), ("1", 1)])
async def test_ids_that_are_numbers(made: Any, answered: Any) -> None:
    """They are sent as text, which the service requires."""
    calls = in_openai_form("{}", made)["tool_calls"]
    given = [
        ChatMessage("hi"),
        ChatMessage(role="assistant", additional_kwargs={"tool_calls": calls}),
        ChatMessage("21", role="tool", additional_kwargs={"tool_call_id": answered}),
    ]
    assert brief(await wire("llama_index", given))[1:] == [("assistant", "", ("1", {})), ("tool", "21", "1")]
