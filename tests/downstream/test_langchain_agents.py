"""Conversations of LangChain agents continue: no output of a model makes the service reject a later turn."""

from __future__ import annotations

import json
from typing import Any

import pytest
from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph_supervisor import create_supervisor

from tests.downstream.malformed import ARGUMENTS, correct, malformed
from tests.langchain.service import chat
from tests.protocols import both_protocols
from tests.service import USAGE, Answer, Call, sent
from tests.strict_service import StrictService

pytestmark = both_protocols
SUNNY = "It is sunny in Rome."
AGENTS = {"create_agent": create_agent, "deepagents": create_deep_agent}


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}."


async def ask(agent: Any, text: str, way: str = "invoke", thread: str = "1") -> list[Any]:
    """Ask in a thread, and return all its messages."""
    config = {"configurable": {"thread_id": thread}}
    given = {"messages": [{"role": "user", "content": text}]}
    if way == "invoke":
        agent.invoke(given, config)
    elif way == "ainvoke":
        await agent.ainvoke(given, config)
    else:  # tokens are asked for, so the agent streams its model
        async for _ in agent.astream(given, config, stream_mode="messages"):
            pass
    return list((await agent.aget_state(config)).values["messages"])


def calls_sent(body: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the calls in a request by ID. The service has checked that they are objects."""
    turns = [turn for turn in body["messages"] if turn["role"] == "assistant"]
    return {
        call["id"]: json.loads(call["function"]["arguments"]) for turn in turns for call in turn.get("tool_calls", ())
    }


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "astream"])
@pytest.mark.parametrize("name", ["truncated", "trailing comma"])
@pytest.mark.parametrize("kind", AGENTS)
async def test_recovery_over_three_turns(kind: str, name: str, way: str) -> None:
    """The agent answers a broken call with an error, and the model calls again."""
    answers = malformed(name), correct(), Answer(text=["Sunny."]), Answer(text=["Bye."])
    with StrictService(*answers) as server, chat(server) as llm:
        agent = AGENTS[kind](model=llm, tools=[weather], checkpointer=InMemorySaver())
        broken = (await ask(agent, "Weather in Rome?", way))[-1]
        assert broken.invalid_tool_calls[0]["args"] == ARGUMENTS[name]
        second = await ask(agent, "Try again.", way)
        third = await ask(agent, "Thanks.", way)
        assert len(server.requests) == 4
        repaired = calls_sent(sent(server, 1))["call_bad"]
        assert ARGUMENTS[name] in repaired.values()
        assert calls_sent(sent(server))["call_good"] == {"city": "Rome"}
    assert second[-1].text == "Sunny."
    assert [turn.content for turn in second if isinstance(turn, ToolMessage)][-1] == SUNNY
    assert third[-1].text == "Bye."


@pytest.mark.parametrize("kind", AGENTS)
async def test_a_broken_call_beside_a_good_one(kind: str) -> None:
    """The valid call runs, the broken one is answered with an error, and both are sent in one turn."""
    both = Answer(
        calls=[Call("call_good", "weather", ['{"city": "Rome"}']), Call("call_bad", "weather", ['{"city": "Par'])],
        finish="length",
    )
    with StrictService(both, Answer(text=["Sunny."])) as server, chat(server) as llm:
        agent = AGENTS[kind](model=llm, tools=[weather], checkpointer=InMemorySaver())
        assert (await ask(agent, "Rome and Paris?"))[-1].text == "Sunny."
        await ask(agent, "Thanks.")
        assert calls_sent(sent(server)).keys() >= {"call_good"}


@pytest.mark.parametrize("kind", AGENTS)
async def test_an_interrupted_tool(kind: str) -> None:
    """A tool that raises leaves an unanswered call in the checkpoint. The next turn succeeds."""

    def failing(city: str) -> str:
        """Tell the weather in a city."""
        raise KeyError(city)

    with StrictService(correct(name="failing"), Answer(text=["Hello again."])) as server, chat(server) as llm:
        agent = AGENTS[kind](model=llm, tools=[failing], checkpointer=InMemorySaver())
        with pytest.raises(KeyError):
            await ask(agent, "Weather in Rome?")
        assert (await ask(agent, "Are you there?"))[-1].text == "Hello again."


@pytest.mark.parametrize("inline", [None, "inline"])
async def test_a_supervisor_with_content_blocks(inline: Any) -> None:
    """With `output_version="v1"`, reasoning of one agent is not sent to others."""
    answers = (
        Answer(reasoning=["Delegate."], calls=[Call("call_1", "transfer_to_researcher")]),
        Answer(reasoning=["I know."], text=["Rome is sunny."], usage=USAGE),
        Answer(reasoning=["Done."], text=["It is sunny."]),
        Answer(text=["Bye."]),
    )
    with StrictService(*answers) as server, chat(server, output_version="v1", enable_thinking=True) as llm:
        researcher = create_agent(llm, [weather], name="researcher", system_prompt="Look things up.")
        graph = create_supervisor([researcher], model=llm, prompt="Delegate.", include_agent_name=inline)
        team = graph.compile(checkpointer=InMemorySaver())
        assert (await ask(team, "Weather in Rome?"))[-1].text == "It is sunny."
        assert (await ask(team, "Thanks."))[-1].text == "Bye."
        texts = [turn["content"] for turn in sent(server)["messages"]]
        assert any("Rome is sunny." in text for text in texts)
        assert not any("I know." in text or "Delegate." in text for text in texts[1:])
        assert len(server.requests) == 4


async def test_an_answer_as_question_of_another_agent() -> None:
    """The text is sent, but not the reasoning."""
    answers = (
        Answer(reasoning=["I know."], text=["Rome is sunny."]),
        Answer(reasoning=["Short."], text=["Sunny."]),
    )
    with StrictService(*answers) as server, chat(server, output_version="v1", enable_thinking=True) as llm:

        def research(state: MessagesState) -> dict[str, Any]:
            answer = llm.invoke(state["messages"])
            return {"messages": [HumanMessage(answer.content, name="researcher")]}

        def write(state: MessagesState) -> dict[str, Any]:
            return {"messages": [llm.invoke(state["messages"])]}

        graph = StateGraph(MessagesState)
        graph.add_node("research", research)
        graph.add_node("write", write)
        graph.add_edge(START, "research")
        graph.add_edge("research", "write")
        graph.add_edge("write", END)
        result = await graph.compile().ainvoke({"messages": [HumanMessage("Weather?")]})
        assert sent(server)["messages"] == [
            {"role": "user", "content": "Weather?"},
            {"role": "user", "content": "Rome is sunny.", "name": "researcher"},
        ]
    assert result["messages"][-1].text == "Sunny."


async def test_a_summary_of_a_long_thread() -> None:
    """SummarizationMiddleware triggers at the profile's limit, and leaves a valid conversation."""
    answers = (
        correct(),
        Answer(text=["Sunny."]),
        Answer(text=["The user asked for the weather."]),
        Answer(text=["Bye."]),
    )
    with StrictService(*answers) as server, chat(server) as llm:
        summarise = SummarizationMiddleware(
            llm,
            trigger=("fraction", 0.5),
            keep=("messages", 2),
            token_counter=lambda messages: llm.profile["max_input_tokens"] if len(messages) > 4 else 1,
        )
        agent = create_agent(llm, [weather], middleware=[summarise], checkpointer=InMemorySaver())
        await ask(agent, "Weather in Rome?")
        messages = await ask(agent, "Thanks.")
        assert messages[-1].text == "Bye."
        assert len(server.requests) == 4
        assert "The user asked for the weather." in json.dumps(sent(server))


async def test_a_call_without_an_id() -> None:
    """It runs, and its result is sent with the generated ID."""
    with StrictService(correct(id=""), Answer(text=["Sunny."])) as server, chat(server) as llm:
        agent = create_agent(llm, [weather], checkpointer=InMemorySaver())
        messages = await ask(agent, "Weather in Rome?")
        assert messages[-1].text == "Sunny."
        call = next(turn for turn in messages if isinstance(turn, AIMessage) and turn.tool_calls).tool_calls[0]
        assert call["id"].startswith("call_")
