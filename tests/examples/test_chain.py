"""The chain, streamed and batched, sync and async."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from examples import chain as example
from langchain_modelstudio import ChatModelStudio
from tests.langchain.service import chat
from tests.loopback import Loopback
from tests.service import Answer, sent

MakeModel = Callable[..., ChatModelStudio]


def test_streamed(a_local_model: MakeModel) -> None:
    """The parser yields each fragment as a string."""
    pieces = example.streamed(a_local_model(), "a compass")
    assert len([piece for piece in pieces if piece]) > 3
    assert all(isinstance(piece, str) for piece in pieces)


@pytest.mark.slow
def test_batched(a_local_model: MakeModel) -> None:
    """Each input has its answer, in order."""
    answers = example.batched(a_local_model(seed=1), ["tea", "silk", "tea"])
    assert all(answers)
    assert answers[0] == answers[2] != answers[1]


@pytest.mark.slow
async def test_async(a_local_model: MakeModel) -> None:
    """Async streaming and batches."""
    chain = example.chain(a_local_model())
    assert len([piece async for piece in chain.astream({"thing": "tea"})]) > 3
    assert all(await chain.abatch([{"thing": "tea"}, {"thing": "silk"}]))


async def test_thinking_is_not_in_the_text() -> None:
    """The chain returns the answer without the reasoning."""
    with Loopback(Answer(reasoning=["North ", "is"], text=["To find", " north."])) as server:
        chain = example.chain(chat(server, enable_thinking=True))
        assert [piece for piece in chain.stream({"thing": "it"}) if piece] == ["To find", " north."]
        assert [piece async for piece in chain.astream({"thing": "it"}) if piece] == ["To find", " north."]
        assert chain.invoke({"thing": "it"}) == await chain.ainvoke({"thing": "it"}) == "To find north."
        assert [message["role"] for message in sent(server)["messages"]] == ["system", "user"]
