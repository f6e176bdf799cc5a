"""Run a streaming chat with memory.

python -m examples.llama_index.chat_engine
"""

from __future__ import annotations

from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.memory import ChatMemoryBuffer

from examples.llama_index.model import an_llm
from examples.place import console
from examples.terminal import print_question, write
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
        print_question(question)
        answer = engine.stream_chat(question)
        for token in answer.response_gen:
            write(token)
        console.print("\n")
        answers.append(answer.response)
    return answers


def main() -> None:
    """Ask two questions, the second about the first."""
    with an_llm() as llm:
        talked(llm)


if __name__ == "__main__":
    main()
