"""Run a LangGraph agent with a tool of the service (web search) and one of its own, and print the sources.

The service keeps the conversation, so the second turn sends the new question alone.

python -m examples.built_in_tools
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

from examples.model import a_model
from examples.place import console
from examples.terminal import TOOL, AnswerPrinter, call, calls, print_question, result, title

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
    print_question(question)
    messages, speech = [], AnswerPrinter()
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}
    given = {"messages": [HumanMessage(question)]}
    for mode, part in agent.stream(given, config, stream_mode=["messages", "updates"]):
        if mode == "messages" and isinstance(part[0], AIMessageChunk):
            for block in part[0].content_blocks:
                if block["type"] == "server_tool_call":
                    call(f"{block['name']}, on the service: ", block["args"])
            speech.add_chunk(part[0])
        elif mode == "updates":
            for message in (message for update in part.values() for message in update["messages"]):
                calls(message) if isinstance(message, AIMessage) else result(message.text)
                messages += [message] if isinstance(message, AIMessage) else []
            speech = AnswerPrinter()
    return messages


def sources(message: AIMessage) -> list[Mapping[str, Any]]:
    """Return what a search found. In a message with text, they are also the citations of its `content_blocks`."""
    found: list[Mapping[str, Any]] = message.response_metadata.get("search_info", {}).get("search_results", [])
    return found


def main() -> None:
    """Run two turns, and print where each answer is from and how many searches it took."""
    with a_model(protocol="responses", use_previous_response_id=True) as llm:
        agent = an_agent(llm)
        title("A tool of the service and one of ours")
        for question in QUESTIONS:
            for message in ask(agent, question):
                for source in sources(message):
                    console.print(f"source {source.get('title', '')} {source['url']}", style=TOOL, markup=False)
                if counted := message.response_metadata.get("usage", {}).get("x_tools"):
                    console.print(f"ran    {counted}", style=TOOL, markup=False)


if __name__ == "__main__":
    main()
