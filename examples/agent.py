"""Run a thinking agent with two tools, streamed with both of LangGraph's streaming APIs.

python -m examples.agent
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from langchain.agents import create_agent
from langchain_core._api import suppress_langchain_beta_warning
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.tools import tool

from examples.model import a_model
from examples.terminal import AnswerPrinter, calls, result, title

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


def streamed(llm: BaseChatModel, question: str = QUESTION) -> list[BaseMessage]:
    """Stream with `.stream`: message chunks, and the whole messages of each step, which are returned."""
    messages: list[BaseMessage] = []
    speech, given = AnswerPrinter(), {"messages": [HumanMessage(question)]}
    for mode, part in an_agent(llm).stream(given, stream_mode=["messages", "updates"]):
        if mode == "updates":
            for message in (message for update in part.values() for message in update["messages"]):
                calls(message) if isinstance(message, AIMessage) else result(message.text)
                messages.append(message)
            speech = AnswerPrinter()
        elif isinstance(part[0], AIMessageChunk):
            speech.add_chunk(part[0])
    return messages


def streamed_v3(llm: BaseChatModel, question: str = QUESTION) -> list[BaseMessage]:
    """Stream with `.stream_events(version="v3")`, where each message and tool run is a separate stream."""
    with suppress_langchain_beta_warning():  # version 3 is in beta
        run = an_agent(llm).stream_events({"messages": [HumanMessage(question)]}, version="v3")
    for kind, item in run.interleave("messages", "tool_calls"):
        if kind == "messages":
            speech = AnswerPrinter()
            for event in item:
                if event["event"] == "content-block-delta":
                    speech.add(event["delta"].get("reasoning", ""), event["delta"].get("text", ""))
            calls(item.output)
        else:
            list(item)  # a tool may stream while it runs; these two do not
            result(item.output or item.error)
    return list(run.output["messages"][1:])


def main() -> None:
    """Ask the same question with both APIs."""
    with a_model(enable_thinking=True, thinking_budget=512) as llm:
        for way in (streamed, streamed_v3):
            title(f"{way.__name__}: {QUESTION}")
            way(llm)


if __name__ == "__main__":
    main()
