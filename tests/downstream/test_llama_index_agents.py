"""LlamaIndex agents correct broken calls within their loop, and their memory stays valid for the service."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context
from workflows.errors import WorkflowCancelledByUser, WorkflowRuntimeError

from llama_index_modelstudio import ModelStudio, errors
from tests.downstream.malformed import ARGUMENTS, correct, malformed
from tests.llama_index.service import chat
from tests.protocols import both_protocols
from tests.service import Answer, Call, sent
from tests.strict_service import StrictService

pytestmark = both_protocols
TWO_CALLS = Answer(
    calls=[Call("call_1", "weather", ['{"city": "Rome"}']), Call("call_2", "local_time", ['{"city": "Rome"}'])]
)


class Tools:
    """The tools of a test. `cities` are the arguments of the calls of `weather`."""

    def __init__(self, *, return_direct: bool = False) -> None:
        self.cities: list[str] = []
        self.started = asyncio.Event()
        self.all = [
            FunctionTool.from_defaults(self.weather, return_direct=return_direct),
            FunctionTool.from_defaults(self.local_time),
            FunctionTool.from_defaults(async_fn=self.slow, name="slow"),
        ]

    def weather(self, city: str) -> str:
        """Tell the weather in a city."""
        self.cities.append(city)
        return f"It is sunny in {city}."

    def local_time(self, city: str) -> str:
        """Tell the time in a city."""
        return f"It is noon in {city}."

    async def slow(self, city: str) -> str:
        """Wait until the run is cancelled."""
        self.started.set()
        await asyncio.sleep(60)
        return "never"


def an_agent(kind: str, llm: ModelStudio, tools: Tools, **settings: Any) -> Any:
    """Return a FunctionAgent, alone or in a workflow."""
    agent = FunctionAgent(name="guide", description="Knows cities.", tools=tools.all, llm=llm, **settings)
    return agent if kind == "FunctionAgent" else AgentWorkflow(agents=[agent])


@pytest.fixture(params=["FunctionAgent", "AgentWorkflow"])
def kind(request: pytest.FixtureRequest) -> str:
    """Return the kind of agent."""
    return str(request.param)


@pytest.mark.parametrize("streaming", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("name", ARGUMENTS)
async def test_a_malformed_call(kind: str, name: str, streaming: bool) -> None:
    """It does not run, the model sees the error, and its next call runs."""
    tools = Tools()
    with StrictService(malformed(name), correct(), Answer(text=["Sunny."])) as server:
        async with chat(server) as llm:
            output = await an_agent(kind, llm, tools, streaming=streaming).run("Weather in Rome?")
        assert str(output) == "Sunny."
        assert tools.cities == ["Rome"]
        assert len(server.requests) == 3
        turn = next(turn for turn in sent(server, 1)["messages"] if turn.get("tool_calls"))
        assert ARGUMENTS[name] in json.loads(turn["tool_calls"][0]["function"]["arguments"]).values()


async def test_a_model_that_never_corrects_itself(kind: str) -> None:
    """The agent ends with an error, not with an empty answer."""
    tools = Tools()
    with StrictService(malformed("single quotes")) as server:
        async with chat(server) as llm:
            with pytest.raises((WorkflowRuntimeError, errors.ModelStudioError)):
                await an_agent(kind, llm, tools).run("Weather in Rome?", max_iterations=4)
    assert tools.cities == []


@pytest.mark.parametrize("memory", [ChatMemoryBuffer, Memory])
async def test_a_direct_answer_beside_another_call(kind: str, memory: Any) -> None:
    """A `return_direct` tool ends the run before the other call is answered. The next turn succeeds."""
    tools, talk = Tools(return_direct=True), memory.from_defaults(token_limit=10_000)
    with StrictService(TWO_CALLS, Answer(text=["Bye."])) as server:
        async with chat(server) as llm:
            agent = an_agent(kind, llm, tools)
            assert str(await agent.run("Weather and time?", memory=talk)) == "It is sunny in Rome."
            assert str(await agent.run("Thanks.", memory=talk)) == "Bye."
        turns = sent(server)["messages"]
    assert [call["id"] for turn in turns for call in turn.get("tool_calls", ())] == ["call_1"]


@pytest.fixture(params=["context", "context and memory"])
def kept(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what a test stores besides the context, which has the steps of a run, but not the conversation."""
    return {} if request.param == "context" else {"memory": ChatMemoryBuffer.from_defaults(token_limit=10_000)}


async def test_a_run_that_reached_max_iterations(kind: str, kept: dict[str, Any]) -> None:
    """Its context accepts another question."""
    tools = Tools()
    with StrictService(correct("call_1"), correct("call_2"), Answer(text=["Hello again."])) as server:
        async with chat(server) as llm:
            agent = an_agent(kind, llm, tools)
            context = Context(agent)
            with pytest.raises(WorkflowRuntimeError, match="Max iterations"):
                await agent.run("Weather in Rome?", ctx=context, max_iterations=2, **kept)
            assert str(await agent.run("Are you there?", ctx=context, **kept)) == "Hello again."
    assert tools.cities == ["Rome"]


async def test_early_stopping_with_an_answer(kind: str, kept: dict[str, Any]) -> None:
    """With `early_stopping_method="generate"`, the context accepts another question."""
    answers = correct("call_1"), correct("call_2"), Answer(text=["It was sunny."]), Answer(text=["Bye."])
    settings = {"max_iterations": 2, "early_stopping_method": "generate"}
    with StrictService(*answers) as server:
        async with chat(server) as llm:
            agent = an_agent(kind, llm, Tools())
            context = Context(agent)
            assert str(await agent.run("Weather in Rome?", ctx=context, **settings, **kept)) == "It was sunny."
            assert str(await agent.run("Thanks.", ctx=context, **kept)) == "Bye."


async def test_a_run_cancelled_during_a_tool(kind: str, kept: dict[str, Any]) -> None:
    """Its context accepts another question."""
    tools = Tools()
    with StrictService(correct(name="slow"), Answer(text=["Hello again."])) as server:
        async with chat(server) as llm:
            agent = an_agent(kind, llm, tools)
            context = Context(agent)
            handler = agent.run("Weather in Rome?", ctx=context, **kept)
            await asyncio.wait_for(tools.started.wait(), 5)
            await handler.cancel_run()
            with pytest.raises(WorkflowCancelledByUser):
                await handler
            assert str(await agent.run("Are you there?", ctx=context, **kept)) == "Hello again."


async def test_a_call_without_an_id(kind: str) -> None:
    """It runs, and its result is sent with the generated ID."""
    tools = Tools()
    with StrictService(correct(id=""), Answer(text=["Sunny."])) as server:
        async with chat(server) as llm:
            assert str(await an_agent(kind, llm, tools).run("Weather in Rome?")) == "Sunny."
        turns = sent(server)["messages"]
    assert tools.cities == ["Rome"]
    assert turns[-1]["tool_call_id"].startswith("call_")
