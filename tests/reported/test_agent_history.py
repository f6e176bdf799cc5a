"""Agents of both frameworks continue after broken or unanswered calls, with a strict service."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context
from workflows.errors import WorkflowCancelledByUser, WorkflowRuntimeError

from tests.langchain import service as langchain
from tests.llama_index import service as llama_index
from tests.llama_index.service import local_time, tools, weather
from tests.loopback import Loopback
from tests.protocols import both_protocols
from tests.reported.conversations import strict
from tests.service import Answer, Call, sent

pytestmark = [
    both_protocols,
    # LlamaIndex's workflows look at everything that a pydantic class has, what is deprecated too
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
    pytest.mark.filterwarnings("ignore::workflows.context.state_store.UnserializableKeyWarning"),
]
ARGS = '{"city": "A"}'
WEATHER, TIME = Call("call_1", "weather", [ARGS]), Call("call_2", "local_time", [ARGS])
DONE = Answer(text=["Done."])


@pytest.mark.report(1)
@pytest.mark.parametrize("streaming", [False, True])
async def test_create_agent_recovers_from_a_truncated_call(streaming: bool) -> None:
    """The agent answers the broken call, the model tries again, and the thread continues."""
    cut = Answer(calls=[Call("call_1", "weather", ['{"city": "A'])], finish="length")
    with Loopback(strict(cut, Answer(calls=[Call("call_2", "weather", [ARGS])]), DONE, DONE)) as server:
        agent = create_agent(langchain.chat(server, streaming=streaming), [weather], checkpointer=InMemorySaver())
        thread: Any = {"configurable": {"thread_id": "1"}}
        states = [
            await agent.ainvoke({"messages": [("user", text)]}, thread) for text in ("Weather?", "Go on.", "Bye.")
        ]
        messages = sent(server)["messages"]
    assert [state["messages"][-1].text for state in states] == ["", "Done.", "Done."]
    assert [message["role"] for message in messages[:5]] == ["user", "assistant", "tool", "user", "assistant"]
    assert [message["content"] for message in messages[5:]] == ["It is sunny in A.", "Done.", "Bye."]


@pytest.mark.report(2)
@pytest.mark.parametrize("streaming", [False, True])
async def test_return_direct_next_to_another_call(streaming: bool) -> None:
    """LlamaIndex ends the turn with the first result; the other call stays in memory without an answer."""
    direct = FunctionTool.from_defaults(weather, return_direct=True)
    with Loopback(strict(Answer(calls=[WEATHER, TIME]), DONE)) as server:
        llm = llama_index.chat(server)
        agent = FunctionAgent(tools=[direct, *tools(local_time)], llm=llm, streaming=streaming)
        memory = ChatMemoryBuffer.from_defaults(token_limit=10_000, tokenizer_fn=str.split)
        assert str(await agent.run("Weather?", memory=memory)) == "It is sunny in A."
        assert str(await agent.run("And?", memory=memory)) == "Done."
        assert len(server.requests) == 2


@pytest.mark.report(2)
async def test_an_agent_continues_after_max_iterations() -> None:
    """The last call of the first run was not answered. The context is used again."""
    with Loopback(strict(*[Answer(calls=[WEATHER])] * 2, DONE)) as server:
        agent = FunctionAgent(tools=list(tools()), llm=llama_index.chat(server))
        context = Context(agent)
        with pytest.raises(WorkflowRuntimeError, match="iterations"):
            await agent.run("Weather?", ctx=context, max_iterations=2)
        assert str(await agent.run("And?", ctx=context)) == "Done."


@pytest.mark.report(2)
async def test_an_agent_continues_after_a_cancelled_tool() -> None:
    """The interrupted call was not answered. The context is used again."""
    running = asyncio.Event()

    async def endless(city: str) -> str:
        """Tell the weather in a city."""
        running.set()
        await asyncio.Event().wait()
        return city

    with Loopback(strict(Answer(calls=[Call("call_1", "endless", [ARGS])]), DONE)) as server:
        agent = FunctionAgent(tools=[FunctionTool.from_defaults(async_fn=endless)], llm=llama_index.chat(server))
        context = Context(agent)
        handler = agent.run("Weather?", ctx=context)
        await running.wait()
        await handler.cancel_run()
        with pytest.raises(WorkflowCancelledByUser):
            await handler
        assert str(await agent.run("And?", ctx=context)) == "Done."
