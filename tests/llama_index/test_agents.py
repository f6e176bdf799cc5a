"""FunctionAgent and AgentWorkflow run their tools and end as expected, streamed or not."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentOutput, AgentStream, AgentWorkflow, FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage, ThinkingBlock
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import FunctionTool

from llama_index_modelstudio import ModelStudio, errors
from tests.llama_index.service import chat, local_time, tools, weather
from tests.loopback import Loopback, reply_json
from tests.service import USAGE, Answer, Call, sent

# LlamaIndex's workflows look at everything that a pydantic class has, what is deprecated too
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]
TWO_CALLS = Answer(
    reasoning=["Both ", "tools."],
    calls=[
        Call("call_1", "weather", ['{"city"', ': "New ', ' York"}']),
        Call("call_2", "local_time", ['{"city": "New ', ' York"}']),
    ],
    usage=USAGE,
)
ANSWER = Answer(reasoning=["Good."], text=["Sunny", " at noon."], usage=USAGE)
KINDS = ("FunctionAgent", "AgentWorkflow")


def an_agent(kind: str, llm: ModelStudio, **settings: Any) -> Any:
    agent = FunctionAgent(name="guide", description="Knows cities.", tools=list(tools()), llm=llm, **settings)
    return agent if kind == "FunctionAgent" else AgentWorkflow(agents=[agent])


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_two_calls_at_once(kind: str, streaming: bool) -> None:
    """Both tools get exact arguments, the reasoning is sent back with the calls, and the answer follows."""
    with Loopback([TWO_CALLS, ANSWER]) as server:
        async with chat(server, enable_thinking=True) as llm:
            handler = an_agent(kind, llm, streaming=streaming).run("Weather and time in New York?")
            events = [event async for event in handler.stream_events()]
            output = await handler
        assert len(server.requests) == 2
        first, second = sent(server, 0), sent(server, 1)
    assert str(output) == "Sunny at noon."
    assert isinstance(output.response.blocks[0], ThinkingBlock)
    results = [event.tool_output.content for event in events if isinstance(event, ToolCallResult)]
    assert sorted(results) == ["It is noon in New  York.", "It is sunny in New  York."]
    assert first["parallel_tool_calls"] is True
    question, turn, *answers = second["messages"]
    assert question["content"] == "Weather and time in New York?"
    assert turn["reasoning_content"] == "Both tools."
    assert [(each["id"], each["function"]["arguments"]) for each in turn["tool_calls"]] == [
        ("call_1", '{"city": "New  York"}'),
        ("call_2", '{"city": "New  York"}'),
    ]
    assert {each["tool_call_id"]: each["content"] for each in answers} == {
        "call_1": "It is sunny in New  York.",
        "call_2": "It is noon in New  York.",
    }
    if streaming:
        stream = [event for event in events if isinstance(event, AgentStream)]
        assert "".join(event.thinking_delta or "" for event in stream) == "Both tools.Good."
        assert "".join(event.delta for event in stream) == "Sunny at noon."
        assert {call.tool_name for event in stream for call in event.tool_calls} == {"weather", "local_time"}


@pytest.mark.parametrize("kind", KINDS)
async def test_initial_tool_choice_of_an_agent(kind: str) -> None:
    """`initial_tool_choice` forces the first call only."""
    with Loopback([TWO_CALLS, ANSWER]) as server:
        async with chat(server) as llm:
            await an_agent(kind, llm, initial_tool_choice="weather").run("?")
        assert sent(server, 0)["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
        assert "tool_choice" not in sent(server, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("script", "cls"),
    [
        (reply_json(429, {"error": {"code": "limit_requests", "message": "wait"}}), errors.RateLimitError),
        (Answer(text=["Hm"], cut=True), errors.StreamTruncatedError),
    ],
)
async def test_an_agents_error_is_typed(kind: str, script: Any, cls: type[errors.ModelStudioError]) -> None:
    """Rejected requests and broken streams raise their typed error from the agent."""
    with Loopback(script) as server:
        async with chat(server) as llm:
            with pytest.raises(cls):
                await an_agent(kind, llm).run("?")


async def test_agents_hand_over_to_each_other() -> None:
    """The first of two agents hands over, and the second answers with its own tool."""
    handoff = Call("call_1", "handoff", ['{"to_agent": "clock", "reason"', ': "time"}'])
    time = Answer(calls=[Call("call_2", "local_time", ['{"city": "Rome"}'])])
    with Loopback([Answer(calls=[handoff]), time, Answer(text=["Noon."])]) as server:
        async with chat(server) as llm:
            sky = FunctionAgent(
                name="sky",
                description="Knows the weather.",
                tools=list(tools(weather)),
                llm=llm,
                can_handoff_to=["clock"],
            )
            clock = FunctionAgent(name="clock", description="Knows times.", tools=list(tools(local_time)), llm=llm)
            handler = AgentWorkflow(agents=[sky, clock], root_agent="sky").run("What time is it in Rome?")
            agents = [
                event.current_agent_name async for event in handler.stream_events() if isinstance(event, AgentOutput)
            ]
            assert str(await handler) == "Noon."
        assert [len(request.json()["tools"]) for request in server.requests] == [2, 2, 2]
    assert agents == ["sky", "clock", "clock"]


async def test_a_tool_that_answers_directly() -> None:
    """The result of a `return_direct` tool ends the run. The next history is valid."""
    tool = FunctionTool.from_defaults(weather, return_direct=True)
    call = Answer(calls=[Call("call_1", "weather", ['{"city": "Rome"}'])])
    with Loopback([call, Answer(text=["You are welcome."])]) as server:
        async with chat(server) as llm:
            agent = FunctionAgent(tools=[tool], llm=llm)
            memory = ChatMemoryBuffer.from_defaults(token_limit=10_000, tokenizer_fn=str.split)
            assert str(await agent.run("Weather?", memory=memory)) == "It is sunny in Rome."
            await agent.run("Thanks.", memory=memory)
        turns = sent(server)["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "assistant", "user"]
    assert turns[3].keys() == {"role", "content"}


async def test_an_agents_memory_can_be_stored() -> None:
    """As JSON, with thoughts and calls, and used by another run."""
    with Loopback([TWO_CALLS, ANSWER, Answer(text=["Bye."])]) as server:
        async with chat(server, enable_thinking=True, preserve_thinking=True) as llm:
            agent = FunctionAgent(tools=list(tools()), llm=llm)
            memory = ChatMemoryBuffer.from_defaults(token_limit=10_000, tokenizer_fn=str.split)
            await agent.run("Weather?", memory=memory)
            stored = [message.model_dump_json() for message in memory.get_all()]
            history = [ChatMessage.model_validate_json(text) for text in stored]
            await agent.run("Thanks.", chat_history=history)
        turns = sent(server)["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "tool", "assistant", "user"]
    assert (turns[1]["reasoning_content"], turns[4]["reasoning_content"]) == ("Both tools.", "Good.")
