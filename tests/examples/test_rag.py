"""Answers from documents: what was found is what the model is given, and its answer streams."""

from __future__ import annotations

from collections.abc import Callable

from examples import rag as example
from langchain_modelstudio import ChatModelStudio
from tests.langchain.service import chat
from tests.loopback import Loopback
from tests.service import Answer, sent

MakeModel = Callable[..., ChatModelStudio]


def test_with_the_local_model(a_local_model: MakeModel) -> None:
    """The fact that answers the question is found first, and there is an answer."""
    documents, answer = example.answered(a_local_model())
    assert documents[0].page_content == example.FACTS[2]
    assert len(documents) == 2
    assert answer


async def test_async(a_local_model: MakeModel) -> None:
    """The same chain in an event loop."""
    parts = [part async for part in example.chain(a_local_model()).astream({"question": example.QUESTION})]
    assert len([part for part in parts if part.get("answer")]) > 3


def test_what_the_model_is_given() -> None:
    """The documents and the question are in the one message that is sent; thinking is not in the answer."""
    with Loopback(Answer(reasoning=["Mill."], text=["Behind ", "the mill."])) as server:
        _, answer = example.answered(chat(server, enable_thinking=True))
        [message] = sent(server)["messages"]
    assert answer == "Behind the mill."
    assert example.FACTS[2] in message["content"]
    assert message["content"].endswith(example.QUESTION)
    assert example.FACTS[0] not in message["content"]
