"""The thinking agent with two tools, with v1 and v3 streaming, sync and async."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage

from examples import agent as example
from langchain_modelstudio import ChatModelStudio
from tests.langchain.service import USAGE_METADATA, chat
from tests.loopback import Loopback
from tests.platforms import streams_async_agents
from tests.service import USAGE, Answer, Call, sent

# version 3 is in beta, which langchain-core and langgraph say at each use
pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

MakeModel = Callable[..., ChatModelStudio]
TOOLS = {"weather": example.weather, "local_time": example.local_time}
WAYS = ("stream", "astream", "stream v3", pytest.param("astream v3", marks=streams_async_agents), "invoke", "ainvoke")
# two calls at once, later fragments with `"id": ""` (tests/service.py), then the answer
TWO_CALLS = [
    Answer(
        reasoning=["Both ", "tools."],
        calls=[
            Call("call_1", "weather", ['{"city"', ': "Hang', 'zhou"}']),
            Call("call_2", "local_time", ['{"city": "Hang', 'zhou"}']),
        ],
        usage=USAGE,
    ),
    Answer(reasoning=["Good."], text=["Sunny", " at noon."], usage=USAGE),
]


async def by(way: str, llm: ChatModelStudio) -> list[BaseMessage]:
    """Return the messages that the agent adds to the question, for each way to run it."""
    given: dict[str, Any] = {"messages": [HumanMessage(example.QUESTION)]}
    if way == "stream":
        return example.streamed(llm)
    if way == "stream v3":
        return example.streamed_v3(llm)
    agent = example.an_agent(llm)
    messages: list[BaseMessage] = []
    if way == "astream":
        async for mode, part in agent.astream(given, stream_mode=["messages", "updates"]):
            if mode == "updates":
                messages += [message for update in part.values() for message in update["messages"]]
        return messages
    if way == "astream v3":
        run = await agent.astream_events(given, version="v3")
        messages += [await message async for message in run.messages]
        answers, messages = messages, (await run.output())["messages"][1:]
        assert answers == [message for message in messages if isinstance(message, AIMessage)]
        return messages
    state = agent.invoke(given) if way == "invoke" else await agent.ainvoke(given)
    messages = state["messages"][1:]
    return messages


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
async def test_with_the_local_model(way: str, a_local_model: MakeModel) -> None:
    """It thinks, calls a real tool, thinks again and answers."""
    called, *results, answer = await by(way, a_local_model(enable_thinking=True))
    assert isinstance(called, AIMessage)
    assert isinstance(answer, AIMessage)
    assert called.tool_calls
    for call, result in zip(called.tool_calls, results, strict=True):
        assert isinstance(result, ToolMessage)
        assert call["id"] == result.tool_call_id
        assert call["name"] == result.name
        assert call["args"]["city"] in result.text
    assert answer.text
    assert not answer.tool_calls
    for message in (called, answer):
        assert message.additional_kwargs["reasoning_content"]
        assert message.usage_metadata


@pytest.mark.parametrize("way", WAYS)
async def test_parallel_calls(way: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both run with their own IDs and names, and are shown once. The second request has both, and the reasoning."""
    with Loopback(TWO_CALLS) as server:
        called, *ran, answer = await by(way, chat(server, enable_thinking=True))
        assert len(server.requests) == 2
        body = sent(server)
    assert isinstance(called, AIMessage)
    assert [(call["id"], call["name"], call["args"]) for call in called.tool_calls] == [
        ("call_1", "weather", {"city": "Hangzhou"}),
        ("call_2", "local_time", {"city": "Hangzhou"}),
    ]
    assert called.usage_metadata == USAGE_METADATA
    texts = {message.tool_call_id: message.text for message in ran if isinstance(message, ToolMessage)}
    assert texts["call_1"] == "It is sunny in Hangzhou, 24 degrees."
    assert texts["call_2"].endswith("UTC in Hangzhou.")
    assert capsys.readouterr().out.count("It is sunny") == way.startswith("stream")  # which print
    assert answer.text == "Sunny at noon."
    assert answer.additional_kwargs["reasoning_content"] == "Good."

    system, question, turn, *results = body["messages"]
    assert [message["role"] for message in (system, question, turn)] == ["system", "user", "assistant"]
    assert turn["reasoning_content"] == "Both tools."
    assert [(call["id"], call["function"]["name"]) for call in turn["tool_calls"]] == [
        ("call_1", "weather"),
        ("call_2", "local_time"),
    ]
    assert [message["role"] for message in results] == ["tool", "tool"]
    assert {message["tool_call_id"]: message["content"] for message in results} == texts
    assert {tool["function"]["name"] for tool in body["tools"]} == set(TOOLS)


@pytest.mark.parametrize("way", ["stream", pytest.param("astream", marks=streams_async_agents)])
async def test_the_chunks_add_up(way: str) -> None:
    """The sum of the chunks of `stream_mode="messages"` equals each message."""
    given: dict[str, Any] = {"messages": [HumanMessage("?")]}
    with Loopback(TWO_CALLS) as server:
        agent = example.an_agent(chat(server, enable_thinking=True))
        if way == "stream":
            parts = list(agent.stream(given, stream_mode="messages"))
        else:
            parts = [part async for part in agent.astream(given, stream_mode="messages")]
    sums: dict[str | None, AIMessageChunk] = {}
    for chunk, _ in parts:
        if isinstance(chunk, AIMessageChunk):
            sums[chunk.id] = sums[chunk.id] + chunk if chunk.id in sums else chunk
    called, answer = sums.values()
    assert [call["id"] for call in called.tool_calls] == ["call_1", "call_2"]
    assert [call["args"] for call in called.tool_calls] == [{"city": "Hangzhou"}] * 2
    assert called.additional_kwargs == {"reasoning_content": "Both tools."}
    assert answer.text == "Sunny at noon."


@pytest.mark.parametrize("way", WAYS)
async def test_a_truncated_call_does_not_run(way: str) -> None:
    """However the agent is run."""
    cut = Answer(calls=[Call("call_1", "weather", ['{"city": "Hang'])], finish="length")
    with Loopback(cut) as server:
        messages = await by(way, chat(server))
    [message] = messages
    assert isinstance(message, AIMessage)
    assert not message.tool_calls
    assert message.invalid_tool_calls[0]["args"] == '{"city": "Hang'


@pytest.mark.parametrize("way", ["stream", "stream v3"])
async def test_thinking_is_dim(way: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is thought before the call and after it is dim; calls, results and the answer are plain."""
    with Loopback(TWO_CALLS) as server:
        await by(way, chat(server, enable_thinking=True))
    printed = capsys.readouterr().out
    for thought in ("Both ", "tools.", "Good."):
        assert f"\033[2m{thought}\033[0m" in printed
    shown = ["Call: weather({'city': 'Hangzhou'})", "Result: It is sunny in Hangzhou", "Sunny at noon."]
    places = [printed.index(text) for text in shown]
    assert places == sorted(places)
