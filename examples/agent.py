"""Run a thinking agent with two tools, streamed with both of LangGraph's streaming APIs.

Run it with a key in DASHSCOPE_API_KEY:            python examples/agent.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/agent.py
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from langchain.agents import create_agent
from langchain_core._api import suppress_langchain_beta_warning
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.tools import tool

from langchain_modelstudio import ChatModelStudio

QUESTION = "What is the weather in Hangzhou, and what time is it there?"


@tool
def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}, 24 degrees."


@tool
def local_time(city: str) -> str:
    """Tell the time in a city."""
    return f"It is {datetime.now(timezone.utc):%H:%M} UTC in {city}."


def an_agent(llm: BaseChatModel) -> Any:
    """Return an agent that calls tools until it can answer. Reasoning is sent back with the tool results."""
    return create_agent(llm, [weather, local_time], system_prompt="Use the tools, then answer in one sentence.")


def show(chunk: Any) -> None:
    """Print the next fragment of a message: thinking dim, answer plain."""
    if thinking := chunk.additional_kwargs.get("reasoning_content"):
        print(f"\033[2m{thinking}\033[0m", end="", flush=True)
    print(chunk.text, end="", flush=True)


def show_step(message: BaseMessage) -> None:
    """Print the calls at the end of a model's message, or the result of a tool."""
    if not isinstance(message, AIMessage):
        print(f"Result: {message.text}\n")
    for call in getattr(message, "tool_calls", ()):
        print(f"\nCall: {call['name']}({call['args']})")


def streamed(llm: BaseChatModel, question: str = QUESTION) -> list[BaseMessage]:
    """Stream with `.stream`: message chunks, and the whole messages of each step, which are returned."""
    messages: list[BaseMessage] = []
    given = {"messages": [HumanMessage(question)]}
    for part in an_agent(llm).stream(given, stream_mode=["messages", "updates"], version="v2"):
        if part["type"] == "updates":
            for message in (message for update in part["data"].values() for message in update["messages"]):
                show_step(message)
                messages.append(message)
        elif isinstance(part["data"][0], AIMessageChunk):  # not the results of tools
            show(part["data"][0])
    return messages


def streamed_v3(llm: BaseChatModel, question: str = QUESTION) -> list[BaseMessage]:
    """Stream with `.stream_events(version="v3")`, where each message and tool run is a separate stream."""
    with suppress_langchain_beta_warning():  # version 3 is in beta
        run = an_agent(llm).stream_events({"messages": [HumanMessage(question)]}, version="v3")
    for kind, item in run.interleave("messages", "tool_calls"):
        if kind == "messages":
            for event in item:
                if event["event"] == "content-block-delta":
                    delta = event["delta"]
                    if thinking := delta.get("reasoning"):
                        print(f"\033[2m{thinking}\033[0m", end="", flush=True)
                    print(delta.get("text", ""), end="", flush=True)
            show_step(item.output)
        else:
            list(item)  # a tool may stream while it runs; these two do not
            print(f"Result: {item.output or item.error}\n")
    return list(run.output["messages"][1:])


def main() -> None:
    """Ask the same question with both APIs."""
    llm = ChatModelStudio(model="qwen-plus", enable_thinking=True, thinking_budget=512)
    print(f"An agent, streamed as messages\n\nQuestion: {QUESTION}\n")
    streamed(llm)
    print(f"\n\nThe same agent, streamed as events (version 3)\n\nQuestion: {QUESTION}\n")
    streamed_v3(llm)
    print()


if __name__ == "__main__":
    main()
