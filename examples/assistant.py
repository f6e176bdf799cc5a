"""A complete agent: streamed thinking, calls and results, memory, going on after an error, and token usage.

Run it with a key in DASHSCOPE_API_KEY:            python examples/assistant.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/assistant.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from langchain_modelstudio import ChatModelStudio
from langchain_modelstudio.errors import ModelStudioError

QUESTIONS = ("My name is Ada. What is the weather in Hangzhou?", "And in Rome? Greet me by my name.")
ATTEMPTS = 2
DIM, PLAIN = ("\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "")


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}, 24 degrees."


def an_agent(llm: BaseChatModel) -> Any:
    """Return an agent that keeps each conversation, by thread id, for as long as the program runs."""
    return create_agent(llm, [weather], system_prompt="Be brief.", checkpointer=InMemorySaver())


def show(parts: Iterable[Mapping[str, Any]]) -> None:
    """Print thinking dim and the answer plain as they stream, then the calls and results of each step."""
    for part in parts:
        if part["type"] == "updates":
            for message in (message for update in part["data"].values() for message in update["messages"]):
                show_step(message)
        elif isinstance(chunk := part["data"][0], AIMessageChunk):  # not the results of tools
            if thinking := chunk.additional_kwargs.get("reasoning_content"):
                print(f"{DIM}{thinking}{PLAIN}", end="", flush=True)
            print(chunk.text, end="", flush=True)


def show_step(message: BaseMessage) -> None:
    """Print what a finished step adds to its text: calls, a result, or that the answer is not whole."""
    if not isinstance(message, AIMessage):
        print(f"Result: {message.text}\n")
        return
    print("".join(f"\nCall: {call['name']}({call['args']})" for call in message.tool_calls))
    for bad in message.invalid_tool_calls:  # the agent does not run these
        print(f"Not a whole call: {bad['name']}({bad['args']})")
    if message.response_metadata.get("finish_reason") == "length":
        print("(cut: raise max_tokens)")


def ask(agent: Any, question: str, thread: str) -> bool:
    """Ask in a conversation, and print what happens. Return True if there was an answer."""
    print(f"\nQuestion: {question}\n")
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    given: Any = {"messages": [HumanMessage(question)]}
    with get_usage_metadata_callback() as callback:
        for _ in range(ATTEMPTS):
            try:
                show(agent.stream(given, config, stream_mode=["messages", "updates"], version="v2"))
                break
            except ModelStudioError as error:
                print(f"\n{type(error).__name__}: {error}")
                if not error.is_retryable:
                    return False
                given = None  # the thread has the question and the finished steps: go on there
        else:
            return False
    for model, usage in callback.usage_metadata.items():
        reasoning = usage.get("output_token_details", {}).get("reasoning", 0)
        print(f"{model}: {usage['input_tokens']} in, {usage['output_tokens']} out, {reasoning} of them for thinking")
    return True


def main() -> int:
    """Ask two questions in one conversation, and return the exit status."""
    agent = an_agent(ChatModelStudio(model="qwen-plus", enable_thinking=True, thinking_budget=512))
    return 0 if all(ask(agent, question, "1") for question in QUESTIONS) else 1


if __name__ == "__main__":
    sys.exit(main())
