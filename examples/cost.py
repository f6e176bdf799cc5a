"""Count the tokens of a request before it is sent, and estimate the cost of its answer.

Run it with a key in DASHSCOPE_API_KEY:            python examples/cost.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/cost.py
"""

from __future__ import annotations

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from langchain_modelstudio import ChatModelStudio
from modelstudio_core.prices import Cost, estimate_cost

QUESTION = "What is a compass good for?"
# our own prices of a million tokens, since the list may not have the model; dollars, as of November 2026
PRICES = {"qwen-plus": {"input": 0.4, "output": 1.2, "thinking_output": 4, "cached_input": 0.08}}


def counted(llm: ChatModelStudio, messages: list[BaseMessage]) -> int:
    """Return the input tokens of a request, and print whether the count is exact."""
    tokens = llm.get_num_tokens_from_messages(messages)
    reason = getattr(tokens, "reason", None)
    print(f"{tokens} input tokens" + (f", an estimate: {reason}" if reason else ""))
    return tokens


def answered(llm: ChatModelStudio, messages: list[BaseMessage]) -> Cost | None:
    """Ask, print the answer and what it cost, and return the cost, or None if it is not known."""
    answer = llm.invoke(messages)
    print(answer.text)
    cost = estimate_cost(llm.model, answer.usage_metadata, prices=PRICES)
    print(f"\nUsage: {answer.usage_metadata}")
    print("Cost: unknown" if cost is None else f"Cost: {cost.amount:.8f} {cost.currency}")
    return cost


def main() -> None:
    """Count, ask, and show the cost."""
    llm = ChatModelStudio(model="qwen-plus", max_tokens=100)
    messages: list[BaseMessage] = [SystemMessage("You answer in one short sentence."), HumanMessage(QUESTION)]
    print("Before the request\n")
    counted(llm, messages)
    print(f"\nThe answer and its cost\n\nQuestion: {QUESTION}")
    answered(llm, messages)


if __name__ == "__main__":
    main()
