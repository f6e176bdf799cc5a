"""Count the tokens of a request before it is sent, and estimate the cost of its answer.

Run it with a key in DASHSCOPE_API_KEY:            python examples/llama_index_cost.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/llama_index_cost.py
"""

from __future__ import annotations

from llama_index.core.base.llms.types import ChatMessage, MessageRole

from llama_index_modelstudio import ModelStudio
from modelstudio_core.prices import Cost, estimate_cost

QUESTION = "What is a compass good for?"
# our own prices of a million tokens, since the list may not have the model; dollars, as of November 2026
PRICES = {"qwen-plus": {"input": 0.4, "output": 1.2, "thinking_output": 4, "cached_input": 0.08}}


def counted(llm: ModelStudio, messages: list[ChatMessage]) -> int:
    """Return the input tokens of a request, and print whether the count is exact."""
    tokens = llm.get_num_tokens_from_messages(messages)
    reason = getattr(tokens, "reason", None)
    print(f"{tokens} input tokens" + (f", an estimate: {reason}" if reason else ""))
    return tokens


def answered(llm: ModelStudio, messages: list[ChatMessage]) -> Cost | None:
    """Ask, print the answer and what it cost, and return the cost, or None if it is not known."""
    response = llm.chat(messages)
    print(response.message.content or "")
    cost = estimate_cost(llm.model, response.additional_kwargs, prices=PRICES)
    counts = {name: value for name, value in response.additional_kwargs.items() if name.endswith("_tokens")}
    print(f"\nUsage: {counts}")
    print("Cost: unknown" if cost is None else f"Cost: {cost.amount:.8f} {cost.currency}")
    return cost


def main() -> None:
    """Count, ask, and show the cost."""
    llm = ModelStudio(model="qwen-plus", max_tokens=100)
    messages = [
        ChatMessage(role=MessageRole.SYSTEM, content="You answer in one short sentence."),
        ChatMessage(role=MessageRole.USER, content=QUESTION),
    ]
    print("Before the request\n")
    counted(llm, messages)
    print(f"\nThe answer and its cost\n\nQuestion: {QUESTION}")
    answered(llm, messages)


if __name__ == "__main__":
    main()
