"""A sum of chunks that was serialized and loaded equals the original."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.load import dumpd, dumps, load, loads
from langchain_core.messages import AIMessage, AIMessageChunk
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from tests.langchain.service import chat, pieces_of
from tests.loopback import Loopback
from tests.protocols import both_protocols
from tests.reported.wire import Wire
from tests.service import USAGE, Answer, Call

pytestmark = [
    pytest.mark.report(36),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),  # load()
]

CALLS = [Call("call_1", "get", ['{"city": ', '"Rome"}']), Call("call_2", "put", ['{ "a": 1.0 }'])]
LOGPROBS = [{"token": "It", "logprob": -0.5}, {"token": "is", "logprob": -0.25}]
ANSWERS: dict[str, Any] = {
    "text": Answer(text=["It ", "is."], usage=USAGE),
    "nothing but an end": Answer(),
    "reasoning": Answer(reasoning=["Hm."], text=["It ", "is."], usage=USAGE),
    "calls": Answer(calls=CALLS, usage=USAGE),
    "text and a call without arguments": Answer(text=["Well."], calls=[Call("call_1", "get", [""])]),
    "a call that was cut off": Answer(calls=[Call("call_1", "get", ['{"ci'])], finish="length"),
    "one call that is valid, one that is not": Answer(calls=[CALLS[0], Call("call_2", "put", ["{'a': 1}"])]),
    "a call without an id": Answer(calls=[Call("", "get", ["{}"])]),
    "log probabilities": Answer(text=["It", "is"], logprobs=LOGPROBS),
    "a refusal": Wire([{"refusal": "No, "}, {"refusal": "thanks."}]),
}
SERDE = JsonPlusSerializer()
WAYS: dict[str, Callable[[Any], Any]] = {
    "a checkpoint": lambda chunk: SERDE.loads_typed(SERDE.dumps_typed(chunk)),
    "a strict checkpoint": lambda chunk: JsonPlusSerializer(allowed_msgpack_modules=None).loads_typed(
        SERDE.dumps_typed(chunk)
    ),
    "loads": lambda chunk: loads(dumps(chunk), allowed_objects="all"),
    "load": lambda chunk: load(dumpd(chunk), allowed_objects="all"),
    "pickle": lambda chunk: pickle.loads(pickle.dumps(chunk)),
    "a copy": copy.deepcopy,
    "its fields": lambda chunk: AIMessageChunk(**chunk.model_dump()),
}


async def chunks_of(answer: Any, way: str, version: str | None) -> list[Any]:
    """Return the chunks of an answer."""
    with Loopback(answer) as server:
        return await pieces_of(chat(server, output_version=version), way)


def summed(chunks: list[Any]) -> Any:
    """Return the sum of chunks."""
    return chunks[0] + chunks[1:] if len(chunks) > 1 else chunks[0]


@both_protocols
@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("restore", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.rotated
async def test_a_restored_sum_equals_the_original(answer: Any, restore: Any, version: str | None) -> None:
    """In both directions, and with `in` for lists. Also for part of a stream."""
    chunks = await chunks_of(answer, "stream", version)
    for chunk in (summed(chunks), summed(chunks[:-1] or chunks), chunks[0], chunks[-1]):
        restored = restore(chunk)
        assert restored == chunk
        assert chunk == restored
        assert (restored != chunk) is False
        assert chunk in [restored]
        assert restored in [chunk]


@pytest.mark.parametrize("restore", WAYS.values(), ids=WAYS)
async def test_another_answer_is_not_equal(restore: Any) -> None:
    """Text, calls, IDs and metadata are compared."""
    sums = {name: summed(await chunks_of(answer, "stream", None)) for name, answer in ANSWERS.items()}
    for name, chunk in sums.items():
        restored = restore(chunk)
        assert [other for other, each in sums.items() if each == restored] == [name]
        assert restored != chunk.model_copy(update={"id": "another"})
        assert restored != chunk.model_copy(update={"additional_kwargs": {"a": 1}})


async def test_other_classes_are_not_equal() -> None:
    """Only chunks equal chunks."""
    chunk = summed(await chunks_of(ANSWERS["text"], "stream", None))
    message = AIMessage(**{name: value for name, value in chunk.model_dump().items() if name in AIMessage.model_fields
                           and name != "type"})  # fmt: skip
    assert chunk != message
    assert chunk != chunk.model_dump()
    assert chunk != "It is."
