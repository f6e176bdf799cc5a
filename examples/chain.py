"""Run a chain, prompt | model | parser: streamed, then for several inputs concurrently.

Run it with a key in DASHSCOPE_API_KEY:            python examples/chain.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/chain.py
"""

from __future__ import annotations

from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable

from langchain_modelstudio import ChatModelStudio

PROMPT = ChatPromptTemplate.from_messages(
    [("system", "You answer in one short sentence."), ("user", "What is {thing} good for?")]
)


def chain(llm: BaseChatModel) -> Runnable[dict[str, str], str]:
    """Return a chain from {"thing": ...} to the answer text."""
    return PROMPT | llm | StrOutputParser()


def streamed(llm: BaseChatModel, thing: str) -> list[str]:
    """Stream one answer to the terminal, and return its fragments."""
    print(f"Question: What is {thing} good for?")
    pieces = []
    for piece in chain(llm).stream({"thing": thing}):
        print(piece, end="", flush=True)
        pieces.append(piece)
    print()
    return pieces


def batched(llm: BaseChatModel, things: list[str]) -> list[str]:
    """Return the answers for several things, in order, with two concurrent calls."""
    answers = chain(llm).batch([{"thing": thing} for thing in things], {"max_concurrency": 2})
    for thing, answer in zip(things, answers, strict=True):
        print(f"{thing}: {answer}")
    return answers


def main() -> None:
    """Stream one answer, then run a batch."""
    llm = ChatModelStudio(model="qwen-plus", max_tokens=100)
    print("One answer, streamed\n")
    streamed(llm, "a compass")
    print("\nThree answers, two at a time\n")
    batched(llm, ["tea", "paper", "silk"])


if __name__ == "__main__":
    main()
