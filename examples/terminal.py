"""Print the output of the examples: thinking dim, answers plain, tool calls and results in colour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from examples.place import console

if TYPE_CHECKING:  # the examples of one framework run without the other
    from langchain_core.messages import AIMessage, AIMessageChunk

THINKING = "dim italic"
TOOL = "cyan"


def title(text: str) -> None:
    """Print a heading."""
    console.print()
    console.rule(text, align="left")


def print_question(question: str) -> None:
    """Print the user's question."""
    console.print(f"> {question}\n", style="bold", markup=False)


def write(text: str, style: str = "") -> None:
    """Print a fragment of text."""
    console.print(text, style=style, end="", markup=False, soft_wrap=True)


class AnswerPrinter:
    """Print a streamed answer: reasoning dim, with a heading for reasoning and one for the answer."""

    def __init__(self) -> None:
        self._thinks = False

    def add(self, reasoning: str, text: str) -> None:
        """Print the next fragment of the reasoning or the answer."""
        if reasoning:
            if not self._thinks:
                console.print("thinking", style="dim underline")
                reasoning = reasoning.lstrip("\n")
            self._thinks = True
            write(reasoning, THINKING)
        if text and self._thinks:
            self._thinks = False
            console.print("\n\nanswer", style="underline")
            text = text.lstrip("\n")
        write(text)

    def add_chunk(self, chunk: AIMessageChunk) -> None:
        """Print the next chunk of a message."""
        self.add(chunk.additional_kwargs.get("reasoning_content", ""), chunk.text)


def calls(message: AIMessage) -> None:
    """Print the tool calls at the end of an answer."""
    console.print()
    for made in message.tool_calls:
        call(made["name"], made["args"])


def call(name: str, arguments: dict[str, Any]) -> None:
    """Print a tool call."""
    console.print(f"calls  {name}({arguments})", style=TOOL, markup=False)


def result(text: str) -> None:
    """Print the result of a tool."""
    console.print(f"result {text}\n", style=TOOL, markup=False)


def sources(found: Iterable[tuple[str, float]]) -> None:
    """Print the numbered sources of an answer, with name and score."""
    console.print("\n\nsources", style="underline")
    for number, (name, score) in enumerate(found, 1):
        console.print(f"[{number}] {name} ({score:.2f})", style=TOOL, markup=False)
