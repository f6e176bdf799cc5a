"""Summarize a conversation with LangChain's middleware before it exceeds the context window.

The middleware reads the context size from `llm.profile`, and the tokens from the reported usage, which it uses only for
messages of the same model.

Run it with a key in DASHSCOPE_API_KEY:            python examples/summarize.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/summarize.py
"""

from __future__ import annotations

from textwrap import shorten
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from langchain_modelstudio import ChatModelStudio

SMALL = {"max_input": 600}
"""Artificial context limit of 600 tokens, so that a few turns are enough."""
QUESTIONS = (
    "I keep bees near a lake. Give me one piece of advice.",
    "One more, for the winter.",
    "And one for the summer.",
    "What did I say that I keep, and where?",
)


def an_agent(llm: BaseChatModel, fraction: float = 0.5) -> Any:
    """Return an agent that summarizes its history, except the last turn, above `fraction` of the context."""
    summaries = SummarizationMiddleware(llm, trigger=("fraction", fraction), keep=("messages", 2))
    return create_agent(llm, middleware=[summaries], checkpointer=InMemorySaver())


def is_summary(message: BaseMessage) -> bool:
    """Return True if the middleware wrote this message to replace earlier turns."""
    return message.additional_kwargs.get("lc_source") == "summarization"


def talk(llm: BaseChatModel, questions: tuple[str, ...] = QUESTIONS, fraction: float = 0.5) -> list[list[BaseMessage]]:
    """Yield the history after each question."""
    agent, histories = an_agent(llm, fraction), []
    config: RunnableConfig = {"configurable": {"thread_id": "bees"}}
    for question in questions:
        print(f"\nQuestion: {question}")
        messages = agent.invoke({"messages": [HumanMessage(question)]}, config)["messages"]
        histories.append(messages)
        show(messages, llm)
    return histories


def show(messages: list[BaseMessage], llm: BaseChatModel) -> None:
    """Print the answer and the context usage."""
    for message in filter(is_summary, messages):
        print(f"Summary of earlier turns: {shorten(message.text, 300)}")
    answer = messages[-1]
    print(f"Answer: {shorten(answer.text, 300)}")
    if isinstance(answer, AIMessage) and answer.usage_metadata and llm.profile:
        used, limit = answer.usage_metadata["total_tokens"], llm.profile["max_input_tokens"]
        print(f"{len(messages)} messages, {used} of {limit} tokens")


def main() -> None:
    """Run four turns with an artificially small context."""
    print(f"A context of {SMALL['max_input']} tokens, summarized from half of it on")
    talk(ChatModelStudio(model="qwen-plus", capabilities=SMALL, max_tokens=160))


if __name__ == "__main__":
    main()
