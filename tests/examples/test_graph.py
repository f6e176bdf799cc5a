"""The graph: streaming nodes, and a checkpointer that stores messages with reasoning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from examples import graph as example
from langchain_modelstudio import ChatModelStudio
from tests.langchain.service import USAGE_METADATA, chat
from tests.loopback import Loopback
from tests.service import USAGE, Answer, Call, sent

MakeModel = Callable[..., ChatModelStudio]
ANSWERS = [
    Answer(reasoning=["The long ", "one."], text=["The ", "Yangtze."], usage=USAGE),
    Answer(reasoning=["6300", " km."], text=["6300 ", "km."], usage=USAGE),
]


async def ask(way: str, graph: Any, question: str) -> list[AIMessageChunk]:
    """Return the chunks of an answer in the conversation of a test."""
    if way == "stream":
        return example.ask(graph, question, "a thread")
    config = {"configurable": {"thread_id": "a thread"}}
    given = {"messages": [HumanMessage(question)]}
    return [chunk async for chunk, _ in graph.astream(given, config, stream_mode="messages")]


def added(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    """Return the sum of the chunks."""
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    return whole


@pytest.mark.slow
@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_with_the_local_model(way: str, a_local_model: MakeModel) -> None:
    """Two turns stream, and the stored messages equal the streamed ones."""
    graph = example.a_graph(a_local_model(enable_thinking=True))
    answers = [added(await ask(way, graph, question)) for question in example.QUESTIONS]
    kept = example.saved_messages(graph, "a thread")
    assert [message.type for message in kept] == ["human", "ai", "human", "ai"]
    for message, streamed in zip(kept[1::2], answers, strict=True):
        assert isinstance(message, AIMessage)
        assert message.text == streamed.text != ""
        assert message.additional_kwargs["reasoning_content"] == streamed.additional_kwargs["reasoning_content"] != ""
        assert message.id == streamed.id
        assert message.usage_metadata == streamed.usage_metadata
        assert message.response_metadata["finish_reason"] in ("stop", "length")


@pytest.mark.parametrize("version", ["v0", "v1"])
@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_stored_messages(way: str, version: str, caplog: pytest.LogCaptureFixture) -> None:
    """They are loaded as langchain-core's own class, complete and without a warning."""
    with Loopback(ANSWERS) as server:
        graph = example.a_graph(chat(server, enable_thinking=True, output_version=version))
        chunks = await ask(way, graph, "Which river?")
        _, kept = example.saved_messages(graph, "a thread")
        assert [chunk.text for chunk in chunks if chunk.text] == ["The ", "Yangtze."]
        assert type(kept) is AIMessage
        assert kept.text == "The Yangtze."
        assert kept.additional_kwargs == {"reasoning_content": "The long one."}
        assert [block["type"] for block in kept.content_blocks] == ["reasoning", "text"]
        assert kept.usage_metadata == USAGE_METADATA
        await ask(way, graph, "How long?")
        turns = sent(server)["messages"]
    assert [(turn["role"], turn["content"]) for turn in turns] == [
        ("user", "Which river?"),
        ("assistant", "The Yangtze."),
        ("user", "How long?"),
    ]
    assert not caplog.records


@pytest.mark.parametrize("replay", ["auto", "always"])
async def test_stored_reasoning_can_be_replayed(replay: str) -> None:
    """The loaded messages have the reasoning of earlier turns."""
    with Loopback(ANSWERS) as server:
        graph = example.a_graph(chat(server, enable_thinking=True, reasoning_replay=replay))
        for question in ("Which river?", "How long?"):
            await ask("stream", graph, question)
        turn = sent(server)["messages"][1]
    assert turn.get("reasoning_content") == ("The long one." if replay == "always" else None)


class Plain(TypedDict):
    """A state with a single message, which is stored as the node returned it."""

    answer: Any


async def test_a_sum_of_chunks_can_be_stored(caplog: pytest.LogCaptureFixture) -> None:
    """It is loaded completely, a truncated call as raw text."""
    said = Answer(reasoning=["hm"], text=["so"], calls=[Call("call_1", "get", ['{"a": 1,'])], finish="length")
    with Loopback(said) as server:
        llm = chat(server)
        graph = StateGraph(Plain)
        graph.add_node("say", lambda _: {"answer": added(list(llm.stream("hello")))})
        graph.add_edge(START, "say")
        kept = graph.compile(checkpointer=InMemorySaver())
        config: Any = {"configurable": {"thread_id": "a thread"}}
        kept.invoke({"answer": None}, config)
        answer = kept.get_state(config).values["answer"]
    assert type(answer) is AIMessageChunk
    assert (answer.text, answer.additional_kwargs) == ("so", {"reasoning_content": "hm"})
    assert answer.tool_calls == []
    assert answer.invalid_tool_calls[0]["args"] == '{"a": 1,'
    assert [record.name for record in caplog.records] == ["langchain_modelstudio"]  # the invalid call
