"""Run a streaming chat with memory.

Run it with a key in DASHSCOPE_API_KEY:            python examples/llama_index_chat_engine.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/llama_index_chat_engine.py
"""

from __future__ import annotations

from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.memory import ChatMemoryBuffer

from llama_index_modelstudio import ModelStudio

QUESTIONS = ("My name is Ada. What is a compass good for?", "What is my name?")


def an_engine(llm: ModelStudio) -> SimpleChatEngine:
    """Return a chat engine that keeps as many turns as fit into 3,000 tokens."""
    memory = ChatMemoryBuffer.from_defaults(llm=llm, token_limit=3000)
    return SimpleChatEngine.from_defaults(llm=llm, memory=memory, system_prompt="Answer in one short sentence.")


def talked(llm: ModelStudio, questions: tuple[str, ...] = QUESTIONS) -> list[str]:
    """Ask the questions in sequence, and return the answers."""
    engine, answers = an_engine(llm), []
    for question in questions:
        print(f"Question: {question}")
        answer = engine.stream_chat(question)
        for token in answer.response_gen:
            print(token, end="", flush=True)
        print("\n")
        answers.append(answer.response)
    return answers


def main() -> None:
    """Ask two questions, the second about the first."""
    talked(ModelStudio(model="qwen-plus", max_tokens=100))


if __name__ == "__main__":
    main()
