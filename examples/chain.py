"""Run a chain, prompt | model | parser: streamed, then for several inputs concurrently.

python -m examples.chain
"""

from __future__ import annotations

from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable

from examples.model import a_model
from examples.place import console
from examples.terminal import print_question, title, write

PROMPT = ChatPromptTemplate.from_messages(
    [("system", "You answer in one short sentence."), ("user", "What is {thing} good for?")]
)


def chain(llm: BaseChatModel) -> Runnable[dict[str, str], str]:
    """Return a chain from {"thing": ...} to the answer text."""
    return PROMPT | llm | StrOutputParser()


def streamed(llm: BaseChatModel, thing: str) -> list[str]:
    """Stream one answer to the terminal, and return its fragments."""
    print_question(f"What is {thing} good for?")
    pieces = []
    for piece in chain(llm).stream({"thing": thing}):
        write(piece)
        pieces.append(piece)
    console.print()
    return pieces


def batched(llm: BaseChatModel, things: list[str]) -> list[str]:
    """Return the answers for several things, in order, with two concurrent calls."""
    answers = chain(llm).batch([{"thing": thing} for thing in things], {"max_concurrency": 2})
    for thing, answer in zip(things, answers, strict=True):
        console.print(f"{thing}: ", style="bold", end="")
        console.print(answer, markup=False)
    return answers


def main() -> None:
    """Stream one answer, then run a batch."""
    with a_model() as llm:
        title("One answer, streamed")
        streamed(llm, "a compass")
        title("Three answers, as a batch")
        batched(llm, ["tea", "paper", "silk"])


if __name__ == "__main__":
    main()
