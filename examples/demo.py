"""Demonstrate thinking, streaming, usage and a tool call in the terminal, with both frameworks.

At the end it answers from documents and names its sources.

make demo                              a small model on this machine, no key needed
DASHSCOPE_API_KEY=sk-... make demo     Model Studio (MODEL=qwen-plus, DASHSCOPE_REGION=singapore, ...)
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from rich.table import Table

from examples import rag
from examples.llama_index import demo as llama_index
from examples.place import a_place, console
from examples.terminal import AnswerPrinter, calls, print_question, result, title
from langchain_modelstudio import ChatModelStudio
from modelstudio_core.errors import ModelStudioError

WHY = "Why is the sky blue?"
WHEN = "What time is it in Paris?"
THINKING: dict[str, Any] = {"enable_thinking": True, "thinking_budget": 512}


def current_time(city: str) -> str:
    """Tell the time in a city.

    Args:
        city: name of the city
    """
    return f"It is {datetime.now(timezone.utc):%H:%M} UTC in {city}."


time_tool = tool(current_time)


def show(llm: Runnable[LanguageModelInput, AIMessage], messages: LanguageModelInput) -> AIMessageChunk:
    """Stream an answer to the terminal, with dim reasoning, and return the whole message."""
    whole: AIMessageChunk | None = None
    speech = AnswerPrinter()
    for chunk in llm.stream(messages):
        assert isinstance(chunk, AIMessageChunk)
        speech.add_chunk(chunk)
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    return whole


def show_usage(*messages: AIMessageChunk) -> None:
    """Return the total tokens of the calls, as reported by the service."""
    usage: UsageMetadata | None = None
    for message in messages:
        if message.usage_metadata is not None:
            usage = add_usage(usage, message.usage_metadata)
    if usage is None:
        console.print("\nThe service sent no usage.")
        return
    details = {**(usage.get("output_token_details") or {}), **(usage.get("input_token_details") or {})}
    calls_made = "one call" if len(messages) == 1 else f"{len(messages)} calls"
    table = Table(
        "tokens", "count", title=f"usage_metadata, {calls_made}", title_justify="left", min_width=28, show_edge=False
    )
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        table.add_row(name, str(usage[name]))
    for name, count in details.items():
        table.add_row(f"  {name}", str(count))
    console.print("\n")
    console.print(table)
    metadata = messages[-1].response_metadata
    console.print(f"{metadata['model_name']}, finish_reason {metadata['finish_reason']}", style="dim")


def show_langchain(llm: ChatModelStudio) -> None:
    """Ask both questions with LangChain."""
    title("1. LangChain: thinking, then the answer")
    print_question(WHY)
    show_usage(show(llm, WHY))

    title("2. LangChain: a tool call made, run, answered")
    print_question(WHEN)
    with_tools = llm.bind_tools([time_tool])
    called = show(with_tools, WHEN)
    calls(called)
    if not called.tool_calls:
        console.print("The model answered without calling the tool.")
        return
    results = [time_tool.invoke(call) for call in called.tool_calls]
    for answer in results:
        result(answer.content)
    show_usage(called, show(with_tools, [HumanMessage(WHEN), called, *results]))


def main() -> int:
    """Run the demo, and return the exit status."""
    try:
        with a_place() as place, ChatModelStudio(**place, **THINKING) as llm:
            show_langchain(llm)
            llama_index.show_llama_index({**place, **THINKING}, WHY, WHEN, current_time)
            title("5. LangChain: an answer from 40 texts, embedded, retrieved and reranked, with its sources")
            rag.answered(llm, place)
    except KeyboardInterrupt:
        console.print("\nstopped")
        return 130
    except ModelStudioError as error:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
