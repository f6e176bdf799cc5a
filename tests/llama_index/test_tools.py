"""Tools: definitions, choices, and calls, while they are streamed and at the end."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.tools import FunctionTool, ToolMetadata
from pydantic import BaseModel, Field

from llama_index_modelstudio import errors
from llama_index_modelstudio import outputs as module
from llama_index_modelstudio.outputs import Responses
from modelstudio_core import partial_json as growing
from modelstudio_core.types import ReasoningDelta, TextDelta, ToolCallDelta
from tests.llama_index.service import (
    STREAMS,
    WAYS,
    call,
    chat,
    local_time,
    made,
    responses_of,
    tools,
    weather,
)
from tests.loopback import Loopback
from tests.protocols import both_protocols
from tests.service import Answer, Call, sent

pytestmark = both_protocols

WITH_TOOLS = tuple(f"{way}_with_tools" for way in WAYS)
ONE = Answer(calls=[Call("call_1", "weather", ['{"city"', ': "New ', ' York"', "}"])])
NAMED = {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize("way", WITH_TOOLS)
async def test_calls_are_returned_exactly(way: str) -> None:
    """With every method, including sync streams, and with all spaces in arguments."""
    with Loopback(ONE) as server:
        llm = chat(server)
        response = await call(llm, way, tools=tools())
        [selected] = llm.get_tool_calls_from_response(response)
    assert made(response) == [("call_1", "weather", {"city": "New  York"})]
    assert (selected.tool_id, selected.tool_name, selected.tool_kwargs) == ("call_1", "weather", {"city": "New  York"})


@pytest.mark.parametrize("way", STREAMS)
async def test_calls_while_they_are_written(way: str) -> None:
    """Each response has the call as far as it can be parsed. Incomplete JSON does not raise."""
    with Loopback(ONE) as server:
        llm = chat(server)
        responses = await responses_of(llm, way)
        steps = [
            [call.tool_kwargs for call in llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)]
            for response in responses
        ]
    texts = [response.message.additional_kwargs["tool_calls"][0]["function"]["arguments"] for response in responses]
    grown = ['{"city"', '{"city": "New ', '{"city": "New  York"', '{"city": "New  York"}']
    assert list(dict.fromkeys(filter(None, texts))) == grown
    shown = [step[0] for step in steps if step]
    assert shown[0] == {}
    assert {"city": "New "} in shown
    assert shown[-1] == {"city": "New  York"}


def test_a_call_block_is_replaced_when_more_is_parsed() -> None:
    """Its block is the same object until more arguments were parsed. Calls are in the order of their indexes."""
    responses = Responses()
    deltas = [ToolCallDelta(1, "call_2", "local_time"), ToolCallDelta(0, "call_1", "weather", '{"city": "'),
              *(ToolCallDelta(0, arguments="word ") for _ in range(1000))]  # fmt: skip
    shown = [response.message.blocks for delta in deltas if (response := responses.convert(delta)) is not None]
    assert [block.tool_call_id for block in shown[-1] if isinstance(block, ToolCallBlock)] == ["call_1", "call_2"]
    objects = {id(blocks[0]) for blocks in shown[1:]}
    assert growing._SHORT // 5 < len(objects) < growing._SHORT // 5 + 50


class Counted(int):
    """An index that counts comparisons."""

    compared = 0

    def __lt__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) < int(other)

    def __gt__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) > int(other)


@pytest.mark.parametrize("order", ["in order", "backwards", "by twos"])
def test_many_calls_are_linear(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For 1,000 calls with two fragments each, one block per fragment is created, and each index is found with few
    comparisons, in any order.
    """
    indices = {
        "in order": range(1000),
        "backwards": range(999, -1, -1),
        "by twos": [*range(0, 1000, 2), *range(1, 1000, 2)],
    }
    built = {"_legacy": 0, "ToolCallBlock": 0}
    for name in built:
        monkeypatch.setattr(module, name, counting(built, name, getattr(module, name)))
    monkeypatch.setattr(Counted, "compared", 0)
    responses = Responses()
    for index in indices[order]:
        responses.convert(ToolCallDelta(Counted(index), f"call_{index}", "weather"))
        last = responses.convert(ToolCallDelta(Counted(index), arguments="{}"))
    assert last is not None
    assert [name for name, _, _ in made(last)] == [f"call_{index}" for index in range(1000)]
    assert all(0 < count <= 2 * 1000 for count in built.values())
    assert 0 < Counted.compared <= 2 * 1000 * 12


def counting(built: dict[str, int], name: str, real: Any) -> Any:
    def build(*given: Any, **named: Any) -> Any:
        built[name] += 1
        return real(*given, **named)

    return build


UNORDERED = [
    ToolCallDelta(4, "call_4", "weather"),
    ToolCallDelta(1, "call_1", None, '{"city": '),  # has no name yet, so that it is no call
    ToolCallDelta(7, None, "local_time", "{"),
    ToolCallDelta(0, "call_0", "weather", '{"city": "Rome"}'),
    ToolCallDelta(7, "call_7", None, "}"),
    ToolCallDelta(4, None, None, '{"city"'),
    ToolCallDelta(1, None, "weather", '"Oslo"}'),
    ToolCallDelta(9),
    ToolCallDelta(2, "call_2", "local_time"),
    ToolCallDelta(4, None, None, ': "Bonn"}'),
    ToolCallDelta(9, "call_9", "weather", '{"city": "Bern"}'),
    ToolCallDelta(0, None, None, " "),
]


def test_calls_are_ordered_by_index() -> None:
    """Each response has the named calls in order, with everything so far."""
    responses = Responses()
    said: dict[int, tuple[str | None, str | None, str]] = {}
    for delta in UNORDERED:
        id, name, text = said.get(delta.index, (None, None, ""))
        said[delta.index] = (delta.id or id, delta.name or name, text + delta.arguments)
        response = responses.convert(delta)
        assert response is not None
        named = [(id, name, text) for _, (id, name, text) in sorted(said.items()) if name]
        assert made(response) == [(id, name, growing.read_partial(text)) for id, name, text in named]
        assert response.message.additional_kwargs["tool_calls"] == [
            {"id": id, "type": "function", "function": {"name": name, "arguments": text}} for id, name, text in named
        ]


def test_responses_do_not_change_later() -> None:
    """Changing the lists of a response does not affect others."""
    responses, before = Responses(), []
    for delta in [ReasoningDelta("Well. "), TextDelta("So: "), *UNORDERED, TextDelta("there.")]:
        response = responses.convert(delta)
        assert response is not None
        before.append((response, response.model_dump_json()))
    assert [response.model_dump_json() for response, _ in before] == [text for _, text in before]
    last = before[-1][0].message
    last.blocks.clear()
    last.additional_kwargs["tool_calls"].clear()
    again = responses.convert(TextDelta(""))
    assert again is not None
    assert [id for id, _, _ in made(again)] == [f"call_{index}" for index in (0, 1, 2, 4, 7, 9)]
    assert len(again.message.additional_kwargs["tool_calls"]) == 6


@pytest.mark.parametrize("pieces", [[], [""], [None], ["null"], ["[]"], ["{"], ['{"a"'], ["no JSON"]])
@pytest.mark.parametrize("way", STREAMS)
async def test_arguments_of_any_type(way: str, pieces: list[Any]) -> None:
    """Null, empty, broken and non-object arguments never raise. At the end, the call has none, or is invalid."""
    with Loopback(Answer(calls=[Call("call_1", "weather", pieces or ())] if None not in pieces else [])) as server:
        llm = chat(server)
        for response in await responses_of(llm, way):
            selected = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
    if pieces in ([], [""]):
        assert [call.tool_kwargs for call in selected] == [{}]
    else:
        assert selected == []


def test_foreign_blocks_are_parsed_leniently() -> None:
    """Arguments as text, as from other classes, are parsed as far as possible."""
    with Loopback(ONE) as server:
        llm = chat(server)
        for text, args in (('{"city": "New ', {"city": "New "}), ("", {}), ("[1]", {})):
            blocks: Any = [ToolCallBlock(tool_call_id=None, tool_name="weather", tool_kwargs=text)]
            [selected] = llm.get_tool_calls_from_response(
                ChatResponse(message=ChatMessage(role="assistant", blocks=blocks))
            )
            assert (selected.tool_id, selected.tool_kwargs) == ("", args)


def test_a_missing_call() -> None:
    """The error is ours and a ValueError, as in LlamaIndex, and quotes the answer."""
    with Loopback(Answer(text=["No, thanks."])) as server:
        llm = chat(server)
        response = llm.chat_with_tools(tools(), "hello")
        with pytest.raises(errors.NoToolCallError, match="No, thanks") as caught:
            llm.get_tool_calls_from_response(response)
    assert isinstance(caught.value, ValueError)


async def test_selecting_at_each_step_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """For 3,000 deltas, less than 20 times their length is parsed."""
    parsed = 0
    real = growing.from_json

    def counting(text: str, **how: Any) -> Any:
        nonlocal parsed
        parsed += len(text)
        return real(text, **how)

    monkeypatch.setattr(growing, "from_json", counting)
    long = Call("call_1", "weather", ['{"city": "', *["word "] * 3000, '"}'])
    with Loopback(Answer(calls=[long])) as server:
        llm = chat(server)
        for response in llm.stream_chat([ChatMessage("hello")]):
            selected = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
    assert selected[0].tool_kwargs == {"city": "word " * 3000}
    assert parsed < 20 * len(long.arguments) + growing._SHORT**2


# ---------------------------------------------------------------- what is sent


@pytest.mark.parametrize("way", WITH_TOOLS)
@pytest.mark.parametrize(
    ("options", "choice"),
    [
        ({}, None),
        ({"tool_choice": None}, None),
        ({"tool_choice": "auto"}, "auto"),
        ({"tool_choice": "none"}, "none"),
        ({"tool_choice": "weather"}, NAMED),
        ({"tool_choice": NAMED}, NAMED),
        ({"tool_required": True}, NAMED),
        ({"tool_choice": "required"}, NAMED),
        ({"tool_choice": "any"}, NAMED),
        ({"tool_choice": "none", "tool_required": True}, "none"),
    ],
)
@pytest.mark.rotated
async def test_tool_choice(way: str, options: dict[str, Any], choice: Any) -> None:
    """`tool_required` and every form of `tool_choice` are converted. None is not sent."""
    with Loopback(ONE) as server:
        await call(chat(server), way, tools=tools(weather), **options)
        assert sent(server).get("tool_choice") == choice


def test_required_among_several(caplog: pytest.LogCaptureFixture) -> None:
    """ "required" is sent as "auto" with a log entry, unless the model supports it."""
    with Loopback(ONE) as server:
        chat(server).chat_with_tools(tools(), "hello", tool_required=True)
        assert sent(server)["tool_choice"] == "auto"
        assert "required" in caplog.text
        chat(server, model="kimi/kimi-k3").chat_with_tools(tools(), "hello", tool_required=True)
        assert sent(server)["tool_choice"] == "required"


def test_a_choice_of_an_unknown_tool() -> None:
    """The error is raised before anything is sent."""
    with Loopback(ONE) as server:
        with pytest.raises(errors.ConfigurationError, match="wether"):
            chat(server).chat_with_tools(tools(), "hello", tool_choice="wether")
        assert not server.requests


@pytest.mark.parametrize("way", WITH_TOOLS)
async def test_a_forced_call_and_thinking(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Thinking is disabled for the request, or the choice is auto if thinking was requested."""
    with Loopback(ONE) as server:
        llm = chat(server, model="qwen3.6-plus")
        await call(llm, way, tools=tools(weather), tool_required=True)
        assert (sent(server)["enable_thinking"], sent(server)["tool_choice"]) == (False, NAMED)
        assert llm.enable_thinking is None
        with caplog.at_level(logging.WARNING, "modelstudio_core"):
            await call(chat(server, enable_thinking=True), way, tools=tools(weather), tool_required=True)
        assert (sent(server)["enable_thinking"], sent(server)["tool_choice"]) == (True, "auto")
        assert "forced tool_choice" in caplog.text


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("way", WITH_TOOLS)
async def test_parallel_calls(way: str, allowed: bool) -> None:
    """`allow_parallel_tool_calls` is sent."""
    with Loopback(ONE) as server:
        await call(chat(server), way, tools=tools(), allow_parallel_tool_calls=allowed)
        assert sent(server)["parallel_tool_calls"] is allowed


@pytest.mark.parametrize("way", ["chat_with_tools", "achat_with_tools"])
async def test_only_one_call_if_several_are_not_allowed(way: str) -> None:
    """A second call is dropped, because LlamaIndex's programs reject it."""
    two = Answer(text=["Both."], calls=[Call("call_1", "weather", ['{"city": "A"}']), Call("call_2", "local_time")])
    with Loopback(two) as server:
        response = await call(chat(server), way, tools=tools())
        both = await call(chat(server), way, tools=tools(), allow_parallel_tool_calls=True)
    assert [id for id, _, _ in made(response)] == ["call_1"]
    assert [each["id"] for each in response.message.additional_kwargs["tool_calls"]] == ["call_1"]
    assert response.message.content == "Both."
    assert [id for id, _, _ in made(both)] == ["call_1", "call_2"]


@pytest.mark.parametrize("way", ["chat_with_tools", "achat_with_tools"])
async def test_one_call_of_two_that_are_equal(way: str) -> None:
    """Of two calls that differ only in their IDs, one is kept."""
    twice = Answer(calls=[Call("", "weather", ['{"city": "A"}']), Call("", "weather", ['{"city": "A"}'])])
    with Loopback(twice) as server:
        response = await call(chat(server), way, tools=tools())
    [(_, name, arguments)] = made(response)
    assert (name, arguments) == ("weather", {"city": "A"})


@pytest.mark.parametrize("way", ["predict_and_call", "apredict_and_call"])
async def test_predict_and_call(way: str) -> None:
    """It runs the called tool."""
    with Loopback(ONE) as server:
        method = getattr(chat(server), way)
        result = method(tools(), "hello") if way == "predict_and_call" else await method(tools(), "hello")
    assert str(result) == "It is sunny in New  York."


class Street(BaseModel):
    """A street."""

    name: str


class Address(BaseModel):
    """Where someone lives."""

    street: Street
    others: list[Street] = Field(default_factory=list, description="further ones")


def test_nested_schemas() -> None:
    """References are inlined, and `required` is inside `parameters`."""

    def deliver(street: Street, others: list[Street]) -> None:
        """Deliver."""

    tool = FunctionTool(deliver, ToolMetadata("Deliver something.", "deliver", Address))
    with Loopback(ONE) as server:
        chat(server).chat_with_tools([tool], "hello", strict=True)
        [wire] = sent(server)["tools"]
    parameters = wire["function"]["parameters"]
    assert parameters["properties"]["street"]["properties"]["name"]["type"] == "string"
    assert parameters["properties"]["others"]["items"] == parameters["properties"]["street"]
    assert "$defs" not in parameters
    assert parameters["required"] == ["street"]
    assert wire["function"]["strict"] is True
    assert wire["function"].keys() == {"name", "description", "parameters", "strict"}
    assert wire["type"] == "function"


def test_strict_is_not_sent_by_default() -> None:
    """Nor are empty tools."""
    with Loopback(ONE) as server:
        llm = chat(server)
        llm.chat_with_tools(tools(local_time), "hello")
        assert "strict" not in sent(server)["tools"][0]["function"]
        llm.chat_with_tools([], "hello", tool_required=True)
        assert not sent(server).keys() & {"tools", "tool_choice", "parallel_tool_calls"}


@pytest.mark.parametrize("way", WITH_TOOLS)
async def test_the_history_is_not_changed(way: str) -> None:
    """The user's turn is added to a copy."""
    history = [ChatMessage("hello"), ChatMessage(role="assistant", content="Hi.")]
    before = [message.model_copy(deep=True) for message in history]
    with Loopback(ONE) as server:
        await call(chat(server), way, ChatMessage("And?"), chat_history=history, tools=tools())
        assert [message["content"] for message in sent(server)["messages"]] == ["hello", "Hi.", "And?"]
    assert history == before


def test_responses_are_plain_json() -> None:
    """`additional_kwargs` and `raw` can be stored as JSON by memories and contexts."""
    with Loopback(ONE) as server:
        responses = list(chat(server).stream_chat([ChatMessage("hello")]))
    stored = [(r.additional_kwargs, r.message.additional_kwargs, r.raw) for r in responses]
    assert stored[-1][1]["tool_calls"]
    for parts in stored:
        assert json.loads(json.dumps(parts)) == list(parts)


def test_a_name_in_fragments() -> None:
    """Each response has the name as far as received, in the block and in OpenAI's format."""
    responses = Responses()
    deltas = [
        ToolCallDelta(0, "call_1", "get_"),
        ToolCallDelta(0, None, "weather"),
        ToolCallDelta(0, arguments='{"city": "Rome"}'),
    ]
    shown = [made(response)[0][1] for delta in deltas if (response := responses.convert(delta)) is not None]
    assert shown == ["get_", "get_weather", "get_weather"]
    assert made(responses.last())[0][1:] == ("get_weather", {"city": "Rome"})
