"""The main job, live in the terminal: a model thinks, answers, is billed for, and calls a tool.

make demo                              a small model on this machine, no key needed
DASHSCOPE_API_KEY=sk-... make demo     Model Studio (MODEL=qwen-plus, DASHSCOPE_REGION=singapore, ...)
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from rich.table import Table

from examples.model import a_model, console
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
    thinking = False
    for chunk in llm.stream(messages):
        assert isinstance(chunk, AIMessageChunk)
        if reasoning := chunk.additional_kwargs.get("reasoning_content"):
            console.print(reasoning, style="dim italic", end="", markup=False, soft_wrap=True)
            thinking = True
        text = str(chunk.text)
        if text and thinking:
            console.print("\n")
            text, thinking = text.lstrip("\n"), False
        console.print(text, end="", markup=False, soft_wrap=True)
        whole = chunk if whole is None else whole + chunk
    console.print()
    assert whole is not None
    return whole


def show_usage(message: AIMessageChunk) -> None:
    """What the answer cost, in tokens, as the service counted them."""
    usage = message.usage_metadata
    if usage is None:
        console.print("The service sent no usage.")
        return
    details = {**(usage.get("output_token_details") or {}), **(usage.get("input_token_details") or {})}
    table = Table("tokens", "count", title="usage_metadata", title_justify="left", show_edge=False)
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        table.add_row(name, str(usage[name]))
    for name, count in details.items():
        table.add_row(f"  {name}", str(count))
    console.print()
    console.print(table)
    metadata = message.response_metadata
    console.print(f"{metadata['model_name']}, finish_reason {metadata['finish_reason']}", style="dim")


def main() -> int:
    """Run the demo; the exit status says whether it worked."""
    try:
        with a_model(enable_thinking=True, thinking_budget=512) as llm:
            console.rule("1. Thinking, then the answer", align="left")
            question = "Why is the sky blue?"
            console.print(f"> {question}\n", style="bold")
            show_usage(show(llm, question))

            console.rule("2. A tool call: made, run, answered", align="left")
            question = "What time is it in Paris?"
            console.print(f"> {question}\n", style="bold")
            with_tools = llm.bind_tools([current_time])
            called = show(with_tools, question)
            if not called.tool_calls:
                console.print("The model answered without calling the tool.")
                return 0
            results = []
            for call in called.tool_calls:
                result = current_time.invoke(call)
                results.append(result)
                console.print(f"calls  {call['name']}({call['args']})", style="cyan", markup=False)
                console.print(f"result {result.content}\n", style="cyan", markup=False)
            show_usage(show(with_tools, [HumanMessage(question), called, *results]))
    except ModelStudioError as error:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
