"""Run a LangGraph conversation that streams from a node and is saved by a checkpointer, including reasoning.

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
from examples.terminal import THINKING, AnswerPrinter, print_question, title

QUESTIONS = ("Name a river in China.", "How long is it?")


def so_far(state: MessagesState) -> list[AnyMessage]:
    """State of the graph: the conversation so far."""
    return state["messages"]


def a_graph(llm: BaseChatModel) -> Any:
    """Return a graph with one node that answers. The checkpointer saves conversations by thread id."""
    answer = RunnableLambda(so_far) | llm | RunnableLambda(lambda message: {"messages": [message]})
    graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")
    return graph.compile(checkpointer=InMemorySaver())


def ask(graph: Any, question: str, thread: str) -> list[AIMessageChunk]:
    """Ask in a conversation, stream the answer to the terminal, and return its chunks."""
    print_question(question)
    speech, chunks = AnswerPrinter(), []
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    for chunk, _ in graph.stream({"messages": [HumanMessage(question)]}, config, stream_mode="messages"):
        speech.add_chunk(chunk)
        chunks.append(chunk)
    console.print("\n")
    return chunks


def saved_messages(graph: Any, thread: str) -> list[BaseMessage]:
    """Return the conversation loaded from the checkpointer, which stores messages as bytes."""
    messages: list[BaseMessage] = graph.get_state({"configurable": {"thread_id": thread}}).values["messages"]
    return messages


def main() -> None:
    """Run two dependent turns, then print the saved conversation."""
    with a_model(enable_thinking=True, thinking_budget=256) as llm:
        graph = a_graph(llm)
        title("Two turns of one conversation")
        for question in QUESTIONS:
            ask(graph, question, "rivers")
        title("What the checkpointer kept")
        for message in saved_messages(graph, "rivers"):
            console.print(f"{message.type}: {message.text}", markup=False)
            if reasoning := message.additional_kwargs.get("reasoning_content"):
                console.print(f"  thought: {reasoning.strip()}", style=THINKING, markup=False)


if __name__ == "__main__":
    main()
