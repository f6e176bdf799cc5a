"""Ask the questions of `python -m examples.demo` with LlamaIndex."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llama_index.core.llms import ChatMessage, ChatResponse
from llama_index.core.tools import FunctionTool
from rich.table import Table

from examples.llama_index.model import show
from examples.place import console
from examples.terminal import call, print_question, result, title
from llama_index_modelstudio import ModelStudio

_TOTALS = ("prompt_tokens", "completion_tokens", "total_tokens")
_DETAILS = ("reasoning_tokens", "cached_tokens", "cache_creation_tokens")


def show_usage(*responses: ChatResponse) -> None:
    """Return the total tokens of the calls, as reported by the service."""
    counts = [response.additional_kwargs for response in responses if "total_tokens" in response.additional_kwargs]
    if not counts:
        console.print("\nThe service sent no usage.")
        return
    calls_made = "one call" if len(responses) == 1 else f"{len(responses)} calls"
    table = Table(
        "tokens", "count", title=f"additional_kwargs, {calls_made}", title_justify="left", min_width=28, show_edge=False
    )
    for name in (*_TOTALS, *_DETAILS):
        if name in _TOTALS or any(name in each for each in counts):
            table.add_row(name if name in _TOTALS else f"  {name}", str(sum(each.get(name, 0) for each in counts)))
    console.print("\n")
    console.print(table)
    raw = responses[-1].raw or {}
    console.print(f"{raw['model']}, finish_reason {raw['finish_reason']}", style="dim")


def show_llama_index(settings: dict[str, Any], why: str, when: str, function: Callable[..., Any]) -> None:
    """Ask both questions. `settings` are those of the model, `function` is the tool."""
    with ModelStudio(**settings) as llm:
        title("3. LlamaIndex: the same question, the same thinking, the same usage")
        print_question(why)
        show_usage(show(llm.stream_chat([ChatMessage(why)])))

        title("4. LlamaIndex: the tool call")
        print_question(when)
        tool, history = FunctionTool.from_defaults(function), [ChatMessage(when)]
        called = show(llm.stream_chat_with_tools([tool], chat_history=history))
        console.print()
        selected = llm.get_tool_calls_from_response(called, error_on_no_tool_call=False)
        if not selected:
            console.print("The model answered without calling the tool.")
            return
        history.append(called.message)
        for made in selected:
            call(made.tool_name, made.tool_kwargs)
            text = str(tool(**made.tool_kwargs))
            result(text)
            history.append(ChatMessage(role="tool", content=text, additional_kwargs={"tool_call_id": made.tool_id}))
        show_usage(called, show(llm.stream_chat_with_tools([tool], chat_history=history)))
