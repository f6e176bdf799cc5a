"""Count the tokens of a request before it is sent, and estimate the cost of its answer.

python -m examples.cost
"""

from __future__ import annotations

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from examples.model import a_model
from examples.place import console
from examples.terminal import print_question, title, write
from langchain_modelstudio import ChatModelStudio
from modelstudio_core.prices import Cost, estimate_cost

QUESTION = "What is a compass good for?"
# our own prices of a million tokens, since the list may not have the model; dollars, as of November 2026
PRICES = {"qwen-plus": {"input": 0.4, "output": 1.2, "thinking_output": 4, "cached_input": 0.08}}


def counted(llm: ChatModelStudio, messages: list[BaseMessage]) -> int:
    """Return the input tokens of a request, and print whether the count is exact."""
    tokens = llm.get_num_tokens_from_messages(messages)
    reason = getattr(tokens, "reason", None)
    console.print(f"{tokens} input tokens" + (f", an estimate: {reason}" if reason else ""), markup=False)
    return tokens


def answered(llm: ChatModelStudio, messages: list[BaseMessage]) -> Cost | None:
    """Ask, print the answer and what it cost, and return the cost, or None if it is not known."""
    answer = llm.invoke(messages)
    write(answer.text)
    cost = estimate_cost(llm.model, answer.usage_metadata, prices=PRICES)
    console.print(f"\n\nusage  {answer.usage_metadata}", markup=False)
    console.print("cost   unknown" if cost is None else f"cost   {cost.amount:.8f} {cost.currency}", markup=False)
    return cost


def main() -> None:
    """Count, ask, and show the cost."""
    with a_model() as llm:
        messages: list[BaseMessage] = [SystemMessage("You answer in one short sentence."), HumanMessage(QUESTION)]
        title("Before the request")
        counted(llm, messages)
        title("The answer and its cost")
        print_question(QUESTION)
        answered(llm, messages)


if __name__ == "__main__":
    main()
