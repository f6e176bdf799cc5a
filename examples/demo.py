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
SHORT_BUDGET = THINKING_BUDGET // 2
SHORT = {"thinking_budget": SHORT_BUDGET}
COLOURS = sys.stdout.isatty() or "FORCE_COLOR" in os.environ
BOLD, DIM, CYAN, PLAIN = "\033[1m", "\033[2m", "\033[36m", "\033[0m"


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}, 24 degrees."


def style(code: str) -> None:
    """Begin a style, on a terminal."""
    print(code if COLOURS else "", end="", flush=True)


def styled(code: str, text: str) -> str:
    """Return a text in a style, on a terminal."""
    return f"{code}{text}{PLAIN}" if COLOURS else text


def heading(text: str) -> None:
    """Print a heading in bold."""
    print(f"\n{styled(BOLD, text)}\n")


class Printer:
    """Print an answer as it streams: thinking dim, then the answer plain, then its tokens.

    The service does not say whether it ended the thinking at the budget. It did if the thinking is about as long as the
    budget, and does not end like a sentence.
    """

    def __init__(self, budget: int) -> None:
        self._budget, self._thought = budget, ""

    def write(self, thinking: str, answer: str) -> None:
        """Print the next fragment."""
        if thinking:
            style("" if self._thought else DIM)
            self._thought += thinking
            print(thinking, end="", flush=True)
        if answer:
            self._end_thinking("\n\n")
            print(answer, end="", flush=True)

    def _end_thinking(self, space: str) -> None:
        if not self._thought:
            return
        is_long, ends = len(self._thought) > 3 * self._budget, self._thought.rstrip().endswith((".", "!", "?"))
        print(" ... (thinking cut by its budget)" if is_long and not ends else "", end="", flush=True)
        style(PLAIN)
        print(space, end="", flush=True)
        self._thought = ""

    def end(
        self, finish_reason: str | None, tokens_in: int | None, tokens_out: int | None, thought: int | None
    ) -> None:
        """Print whether the answer is whole, and its tokens."""
        self._end_thinking("")
        if finish_reason == "length":
            print(f" ... (cut at {MAX_TOKENS} tokens: the finish reason is 'length')", end="", flush=True)
        thinking = f", {thought} of them for thinking" if thought else ""
        tokens = styled(CYAN, f"Tokens: {tokens_in} in, {tokens_out} out{thinking}")
        print(f"\n\n{tokens}")


def show_langchain(chunks: Iterable[Any], budget: int) -> AIMessageChunk:
    """Stream a message of LangChain to the terminal, and return it whole."""
    whole, printer = None, Printer(budget)
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
    show_langchain(ChatModelStudio(**SETTINGS).stream(WHY), THINKING_BUDGET)

    asked = WEATHER.format("Paris")
    heading(f"LangChain, with a tool: {asked}")
    llm = ChatModelStudio(**SETTINGS | SHORT)
    with_tools, question = llm.bind_tools([tool(weather)]), [SystemMessage(RULE), HumanMessage(asked)]
    called = show_langchain(with_tools.stream(question), SHORT_BUDGET)
    if not called.tool_calls:
        print("The model answered without calling the tool.")
        return
    results = []
    for call in called.tool_calls:
        results.append(tool(weather).invoke(call))
        print(f"Call: {call['name']}({call['args']})\nResult: {results[-1].content}\n")
    show_langchain(with_tools.stream([*question, called, *results]), SHORT_BUDGET)


def show_llama_index(responses: Iterable[ChatResponse], budget: int) -> ChatResponse:
    """Stream a response of LlamaIndex to the terminal, and return the last one, which is complete."""
    response, printer = None, Printer(budget)
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
    called = show_llama_index(llm.stream_chat_with_tools(tools, chat_history=history), SHORT_BUDGET)
    calls = llm.get_tool_calls_from_response(called, error_on_no_tool_call=False)
    if not calls:
        print("The model answered without calling the tool.")
        return
    history.append(called.message)
    for call in calls:
        result = weather(**call.tool_kwargs)
        print(f"Call: {call.tool_name}({call.tool_kwargs})\nResult: {result}\n")
        history.append(ChatMessage(result, role="tool", additional_kwargs={"tool_call_id": call.tool_id}))
    show_llama_index(llm.stream_chat_with_tools(tools, chat_history=history), SHORT_BUDGET)


def main() -> int:
    """Run the demo, and return the exit status."""
    print(f"Answers are cut after {MAX_TOKENS} tokens, thinking after about {THINKING_BUDGET}; the demo says where.")
    try:
        langchain()
        llama_index()
    except KeyboardInterrupt:
        style(PLAIN)
        print("\nstopped")
        return 130
    except ModelStudioError as error:
        style(PLAIN)
        print(f"\n{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
