"""How the examples look: thinking dim, answers plain, calls and their results in colour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from examples.place import console

if TYPE_CHECKING:  # each framework's examples run without the other
    from langchain_core.messages import AIMessage, AIMessageChunk

THINKING = "dim italic"
TOOL = "cyan"


def title(text: str) -> None:
    """A line that says what comes."""
    console.print()
    console.rule(text, align="left")


def asked(question: str) -> None:
    """What the user asks."""
    console.print(f"> {question}\n", style="bold", markup=False)


def write(text: str, style: str = "") -> None:
    """A piece of text, where the last one ended."""
    console.print(text, style=style, end="", markup=False, soft_wrap=True)


class Speech:
    """An answer as it comes: what is thought is dim, and each of the two has a line that says which it is."""

    def __init__(self) -> None:
        self._thinks = False

    def add(self, reasoning: str, text: str) -> None:
        """The next piece: of the thought, or of the answer."""
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
        """The next chunk of a message."""
        self.add(chunk.additional_kwargs.get("reasoning_content", ""), chunk.text)


def calls(message: AIMessage) -> None:
    """The end of an answer, and the tool calls that it makes."""
    console.print()
    for made in message.tool_calls:
        call(made["name"], made["args"])


def call(name: str, arguments: dict[str, Any]) -> None:
    """A tool call that was made."""
    console.print(f"calls  {name}({arguments})", style=TOOL, markup=False)


def result(text: str) -> None:
    """What a tool gave back."""
    console.print(f"result {text}\n", style=TOOL, markup=False)


def sources(found: Iterable[tuple[str, float]]) -> None:
    """What an answer was made from, by its numbers: the name of each text, and its score."""
    console.print("\n\nsources", style="underline")
    for number, (name, score) in enumerate(found, 1):
        console.print(f"[{number}] {name} ({score:.2f})", style=TOOL, markup=False)
