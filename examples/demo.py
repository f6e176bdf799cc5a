"""Show thinking, streaming, usage and a tool call, with LangChain and with LlamaIndex.

Run it with a key in DASHSCOPE_API_KEY, or with a small model on this machine: make demo
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.tools import tool
from llama_index.core.llms import ChatMessage, ChatResponse
from llama_index.core.tools import FunctionTool

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio
from modelstudio_core.errors import ModelStudioError

WHY = "Why is the sky blue?"
WEATHER = "What is the weather in {}?"
RULE = "Answer in one sentence."
# a small local model, which needs no key, is slow: its answers are cut early, and the demo says where
THINKING_BUDGET, MAX_TOKENS = (1024, 1024) if os.environ.get("DASHSCOPE_API_KEY") else (48, 48)
SETTINGS: dict[str, Any] = {
    "model": "qwen-plus",
    "enable_thinking": True,
    "thinking_budget": THINKING_BUDGET,
    "max_tokens": MAX_TOKENS,
    "temperature": 0,
}
SHORT = {"thinking_budget": THINKING_BUDGET // 2}


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}, 24 degrees."


def heading(text: str) -> None:
    """Print a heading in bold."""
    print(f"\n\033[1m{text}\033[0m\n")


class Printer:
    """Print an answer as it streams: thinking dim, then the answer plain, then its tokens."""

    def __init__(self) -> None:
        self._thinks = False

    def write(self, thinking: str, answer: str) -> None:
        """Print the next fragment."""
        if thinking:
            self._thinks = True
            print(f"\033[2m{thinking}\033[0m", end="", flush=True)
        if answer:
            print("\n\n" * self._thinks + answer, end="", flush=True)
            self._thinks = False

    def end(
        self, finish_reason: str | None, tokens_in: int | None, tokens_out: int | None, thought: int | None
    ) -> None:
        """Print whether the answer is whole, and its tokens."""
        if finish_reason == "length":
            print(f" ... (cut at {MAX_TOKENS} tokens: the finish reason is 'length')", end="", flush=True)
        thinking = f", {thought} of them for thinking" if thought else ""
        print(f"\n\n\033[36mTokens: {tokens_in} in, {tokens_out} out{thinking}\033[0m")


def show_langchain(chunks: Iterable[Any]) -> AIMessageChunk:
    """Stream a message of LangChain to the terminal, and return it whole."""
    whole, printer = None, Printer()
    for chunk in chunks:
        printer.write(chunk.additional_kwargs.get("reasoning_content", ""), chunk.text)
        whole = chunk if whole is None else whole + chunk
    assert isinstance(whole, AIMessageChunk)
    used: Any = whole.usage_metadata or {}
    thought = used.get("output_token_details", {}).get("reasoning")
    finish_reason = whole.response_metadata.get("finish_reason")
    printer.end(finish_reason, used.get("input_tokens"), used.get("output_tokens"), thought)
    return whole


def langchain() -> None:
    """Ask both questions with LangChain."""
    heading(f"LangChain: {WHY}")
    show_langchain(ChatModelStudio(**SETTINGS).stream(WHY))

    asked = WEATHER.format("Paris")
    heading(f"LangChain, with a tool: {asked}")
    llm = ChatModelStudio(**SETTINGS | SHORT)
    with_tools, question = llm.bind_tools([tool(weather)]), [SystemMessage(RULE), HumanMessage(asked)]
    called = show_langchain(with_tools.stream(question))
    if not called.tool_calls:
        print("The model answered without calling the tool.")
        return
    results = []
    for call in called.tool_calls:
        results.append(tool(weather).invoke(call))
        print(f"Call: {call['name']}({call['args']})\nResult: {results[-1].content}\n")
    show_langchain(with_tools.stream([*question, called, *results]))


def show_llama_index(responses: Iterable[ChatResponse]) -> ChatResponse:
    """Stream a response of LlamaIndex to the terminal, and return the last one, which is complete."""
    response, printer = None, Printer()
    for response in responses:
        printer.write(response.additional_kwargs.get("thinking_delta", ""), response.delta or "")
    assert response is not None
    used = response.additional_kwargs
    counts = (used.get(f"{name}_tokens") for name in ("prompt", "completion", "reasoning"))
    printer.end(used.get("finish_reason"), *counts)
    return response


def llama_index() -> None:
    """Ask the second question with LlamaIndex."""
    llm = ModelStudio(**SETTINGS | SHORT)
    asked = WEATHER.format("Cairo")
    heading(f"LlamaIndex, with the same tool: {asked}")
    tools, history = (
        [FunctionTool.from_defaults(weather, description=weather.__doc__)],
        [ChatMessage(RULE, role="system"), ChatMessage(asked)],
    )
    called = show_llama_index(llm.stream_chat_with_tools(tools, chat_history=history))
    calls = llm.get_tool_calls_from_response(called, error_on_no_tool_call=False)
    if not calls:
        print("The model answered without calling the tool.")
        return
    history.append(called.message)
    for call in calls:
        result = weather(**call.tool_kwargs)
        print(f"Call: {call.tool_name}({call.tool_kwargs})\nResult: {result}\n")
        history.append(ChatMessage(result, role="tool", additional_kwargs={"tool_call_id": call.tool_id}))
    show_llama_index(llm.stream_chat_with_tools(tools, chat_history=history))


def main() -> int:
    """Run the demo, and return the exit status."""
    print(f"Answers are cut after {MAX_TOKENS} tokens, thinking after {THINKING_BUDGET}; the demo says where.")
    try:
        langchain()
        llama_index()
    except KeyboardInterrupt:
        print("\nstopped")
        return 130
    except ModelStudioError as error:
        print(f"\n{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
