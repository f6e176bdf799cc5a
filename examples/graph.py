"""A LangGraph conversation that is kept: streamed from inside a node, saved by a checkpointer, reasoning and all.

python -m examples.graph
"""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, AnyMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from examples.model import a_model
from examples.place import console
from examples.terminal import THINKING, Speech, asked, title

QUESTIONS = ("Name a river in China.", "How long is it?")


def so_far(state: MessagesState) -> list[AnyMessage]:
    """The conversation up to now."""
    return state["messages"]


def a_graph(llm: BaseChatModel) -> Any:
    """One node, which answers; the checkpointer keeps each conversation under its thread's id."""
    answer = RunnableLambda(so_far) | llm | RunnableLambda(lambda message: {"messages": [message]})
    graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")
    return graph.compile(checkpointer=InMemorySaver())


def ask(graph: Any, question: str, thread: str) -> list[AIMessageChunk]:
    """Ask in a conversation: the chunks of the answer, shown as they come out of the node."""
    asked(question)
    speech, chunks = Speech(), []
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    for chunk, _ in graph.stream({"messages": [HumanMessage(question)]}, config, stream_mode="messages"):
        speech.add_chunk(chunk)
        chunks.append(chunk)
    console.print("\n")
    return chunks


def kept(graph: Any, thread: str) -> list[BaseMessage]:
    """The conversation as it was saved, read back: LangGraph stores messages as bytes."""
    messages: list[BaseMessage] = graph.get_state({"configurable": {"thread_id": thread}}).values["messages"]
    return messages


def main() -> None:
    """Two turns, the second of which needs the first; then what was kept of them."""
    with a_model(enable_thinking=True, thinking_budget=256) as llm:
        graph = a_graph(llm)
        title("Two turns of one conversation")
        for question in QUESTIONS:
            ask(graph, question, "rivers")
        title("What the checkpointer kept")
        for message in kept(graph, "rivers"):
            console.print(f"{message.type}: {message.text}", markup=False)
            if reasoning := message.additional_kwargs.get("reasoning_content"):
                console.print(f"  thought: {reasoning.strip()}", style=THINKING, markup=False)


if __name__ == "__main__":
    main()
