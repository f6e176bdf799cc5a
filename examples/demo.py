"""The main job, live in the terminal: a model thinks, answers, is billed for, and calls a tool.

make demo                              a small model on this machine, no key needed
DASHSCOPE_API_KEY=sk-... make demo     Model Studio (MODEL=qwen-plus, DASHSCOPE_REGION=singapore, ...)
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from rich.table import Table

from examples.model import a_model, console
from examples.terminal import Speech, asked, calls, result, title
from modelstudio_core.errors import ModelStudioError


@tool
def current_time(city: str) -> str:
    """Tell the time in a city.

    Args:
        city: name of the city
    """
    return f"It is {datetime.now(timezone.utc):%H:%M} UTC in {city}."


def show(llm: Runnable[LanguageModelInput, AIMessage], messages: LanguageModelInput) -> AIMessageChunk:
    """Stream an answer to the terminal, thinking dim, and give it whole."""
    whole: AIMessageChunk | None = None
    speech = Speech()
    for chunk in llm.stream(messages):
        assert isinstance(chunk, AIMessageChunk)
        speech.add_chunk(chunk)
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    return whole


def show_usage(*messages: AIMessageChunk) -> None:
    """What the calls cost together, in tokens, as the service counted them."""
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


def main() -> int:
    """Run the demo; the exit status says whether it worked."""
    try:
        with a_model(enable_thinking=True, thinking_budget=512) as llm:
            title("1. Thinking, then the answer")
            asked(question := "Why is the sky blue?")
            show_usage(show(llm, question))

            title("2. A tool call: made, run, answered")
            asked(question := "What time is it in Paris?")
            with_tools = llm.bind_tools([current_time])
            called = show(with_tools, question)
            calls(called)
            if not called.tool_calls:
                console.print("The model answered without calling the tool.")
                return 0
            results = [current_time.invoke(call) for call in called.tool_calls]
            for answer in results:
                result(answer.content)
            show_usage(called, show(with_tools, [HumanMessage(question), called, *results]))
    except KeyboardInterrupt:
        console.print("\nstopped")
        return 130
    except ModelStudioError as error:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
