"""Run a LangGraph agent with a tool of the service (web search) and one of its own, and print the sources.

The service keeps the conversation, so the second turn sends the new question alone.

Run it with a key in DASHSCOPE_API_KEY:            python examples/built_in_tools.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/built_in_tools.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from langchain_modelstudio import ChatModelStudio

QUESTIONS = ("How do bats find their way in the dark? Note it.", "And how do bees make honey?")
NOTES: list[str] = []


@tool
def note(text: str) -> str:
    """Write a note."""
    NOTES.append(text)
    return f"Noted: {text}"


def an_agent(llm: BaseChatModel) -> Any:
    """Return an agent. The dict is a tool that the service runs; the function is run here."""
    return create_agent(llm, [{"type": "web_search"}, note], checkpointer=InMemorySaver())


def ask(agent: Any, question: str) -> list[AIMessage]:
    """Ask in the one conversation, print what happens while it does, and return the model's messages."""
    print(f"\nQuestion: {question}\n")
    messages = []
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}
    given = {"messages": [HumanMessage(question)]}
    for part in agent.stream(given, config, stream_mode=["messages", "updates"], version="v2"):
        if part["type"] == "messages" and isinstance(chunk := part["data"][0], AIMessageChunk):
            for block in chunk.content_blocks:
                if block["type"] == "server_tool_call":
                    print(f"Call, on the service: {block['name']}({block['args']})")
            # thinking dim, answer plain
            if thinking := chunk.additional_kwargs.get("reasoning_content"):
                print(f"\033[2m{thinking}\033[0m", end="", flush=True)
            print(chunk.text, end="", flush=True)
        elif part["type"] == "updates":
            for message in (message for update in part["data"].values() for message in update["messages"]):
                if not isinstance(message, AIMessage):
                    print(f"Result: {message.text}\n")
                    continue
                print("".join(f"\nCall: {call['name']}({call['args']})" for call in message.tool_calls))
                messages.append(message)
    return messages


def sources(message: AIMessage) -> list[Mapping[str, Any]]:
    """Return what a search found. In a message with text, they are also the citations of its `content_blocks`."""
    found: list[Mapping[str, Any]] = message.response_metadata.get("search_info", {}).get("search_results", [])
    return found


def main() -> None:
    """Run two turns, and print where each answer is from and how many searches it took."""
    agent = an_agent(ChatModelStudio(model="qwen-plus", protocol="responses", use_previous_response_id=True))
    print("A tool of the service and one of ours")
    for question in QUESTIONS:
        for message in ask(agent, question):
            for source in sources(message):
                print(f"Source: {source.get('title', '')} {source['url']}")
            if counted := message.response_metadata.get("usage", {}).get("x_tools"):
                print(f"Ran on the service: {counted}")


if __name__ == "__main__":
    main()
