"""Run a LangGraph conversation that streams from a node and is saved by a checkpointer, including reasoning.

Run it with a key in DASHSCOPE_API_KEY:            python examples/graph.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/graph.py
"""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, AnyMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from langchain_modelstudio import ChatModelStudio

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
    print(f"\nQuestion: {question}\n")
    chunks = []
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    given = {"messages": [HumanMessage(question)]}
    for part in graph.stream(given, config, stream_mode="messages", version="v2"):
        chunk, _ = part["data"]
        # thinking dim, answer plain
        if thinking := chunk.additional_kwargs.get("reasoning_content"):
            print(f"\033[2m{thinking}\033[0m", end="", flush=True)
        print(chunk.text, end="", flush=True)
        chunks.append(chunk)
    print()
    return chunks


def saved_messages(graph: Any, thread: str) -> list[BaseMessage]:
    """Return the conversation loaded from the checkpointer, which stores messages as bytes."""
    messages: list[BaseMessage] = graph.get_state({"configurable": {"thread_id": thread}}).values["messages"]
    return messages


def main() -> None:
    """Run two dependent turns, then print the saved conversation."""
    graph = a_graph(ChatModelStudio(model="qwen-plus", enable_thinking=True, thinking_budget=256))
    print("Two turns of one conversation")
    for question in QUESTIONS:
        ask(graph, question, "rivers")
    print("\nWhat the checkpointer kept\n")
    for message in saved_messages(graph, "rivers"):
        print(f"{message.type}: {message.text}")
        if reasoning := message.additional_kwargs.get("reasoning_content"):
            print(f"\033[2m  thought: {reasoning.strip()}\033[0m")


if __name__ == "__main__":
    main()
