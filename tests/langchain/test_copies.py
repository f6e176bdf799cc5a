"""Chunks that are copied are what pydantic would have made, or they are not copied."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from langchain_core.outputs import ChatGenerationChunk
from pydantic import BaseModel, Field, PrivateAttr, model_validator

from langchain_modelstudio import copies
from langchain_modelstudio.answers import from_core_delta
from langchain_modelstudio.chunks import ModelStudioMessageChunk
from modelstudio_core.copying import copier
from modelstudio_core.types import AudioDelta, Delta, LogprobsDelta, ReasoningDelta, TextDelta, ToolCallDelta

DELTAS: list[Delta] = [
    TextDelta("word "),
    TextDelta("{"),
    ReasoningDelta("hm"),
    ToolCallDelta(0, "call_1", "get"),
    ToolCallDelta(0, arguments='{"city": "New '),
    ToolCallDelta(1, arguments="York"),
    AudioDelta("AAAA", "a", "audio_1", 7),
    LogprobsDelta(({"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []},)),
]
_COUNT = itertools.count()


def state(made: BaseModel) -> Any:
    """All that can be seen of a pydantic object."""
    fields = {name: state(v) if isinstance(v, BaseModel) else (type(v), v) for name, v in made.__dict__.items()}
    hidden = (made.__pydantic_fields_set__, made.__pydantic_extra__, made.__pydantic_private__)
    return type(made), list(fields.items()), hidden


def validated(chunk: ModelStudioMessageChunk) -> ModelStudioMessageChunk:
    """The chunk made by its class from what was given for this one."""
    derived = {"tool_calls", "invalid_tool_calls"}
    return ModelStudioMessageChunk(**{name: chunk.__dict__[name] for name in chunk.model_fields_set - derived})


def test_chunks_are_copied_here() -> None:
    """With the langchain-core that is installed, the quick way is the one that is taken."""
    assert copies.message_chunk is not ModelStudioMessageChunk
    assert copies.call_chunk is not ModelStudioMessageChunk
    assert copies.generation_chunk is not ChatGenerationChunk


@pytest.mark.parametrize("v1", [False, True])
@pytest.mark.parametrize("delta", DELTAS, ids=repr)
def test_a_copied_chunk_is_what_pydantic_makes(delta: Delta, v1: bool) -> None:
    """Fields, their order and types, which of them were set, extra and private ones: all the same."""
    chunk = from_core_delta(delta, v1=v1)
    assert chunk is not None
    assert state(chunk) == state(validated(chunk))
    assert state(copies.generation_chunk(message=chunk, text=chunk.text)) == state(ChatGenerationChunk(message=chunk))


def test_chunks_share_nothing_that_can_change() -> None:
    """What is put into one chunk is in no other."""
    first, second = copies.message_chunk(content="a"), copies.message_chunk(content="b")
    for name, value in first.__dict__.items():
        if isinstance(value, list):
            value.append(name)
        elif isinstance(value, dict):
            value[name] = name
    first.id, first.note = "1", "n"  # type: ignore[attr-defined]
    assert state(second) == state(ModelStudioMessageChunk(content="b"))
    assert state(copies.message_chunk(content="b")) == state(ModelStudioMessageChunk(content="b"))


class _WithSomethingOfItsOwn(ModelStudioMessageChunk):
    number: int = Field(default_factory=lambda: next(_COUNT))


class _WithSomethingRandom(ModelStudioMessageChunk):
    draw: float = Field(default_factory=random.random)


class _WithWhatFollowsFromContent(ModelStudioMessageChunk):
    @model_validator(mode="after")
    def _name_it(self) -> Any:
        self.name = str(self.content) or None
        return self


class _WithSomethingHidden(ModelStudioMessageChunk):
    _seen: list[str] = PrivateAttr(default_factory=list)


class _WithSomethingShared(ModelStudioMessageChunk):
    marks: set[str] = Field(default_factory=set)


class _WithAnotherText(ModelStudioMessageChunk):
    def __init__(self, **fields: Any) -> None:
        super().__init__(**{**fields, "content": fields.get("content") or " "})


@pytest.mark.parametrize(
    "changed",
    [
        _WithSomethingOfItsOwn,
        _WithSomethingRandom,
        _WithWhatFollowsFromContent,
        _WithSomethingHidden,
        _WithSomethingShared,
        _WithAnotherText,
    ],
)
def test_where_the_class_does_more_chunks_are_made_the_ordinary_way(changed: type[ModelStudioMessageChunk]) -> None:
    """A release of langchain-core in which making a chunk does something new turns copying off, and nothing is lost."""
    assert copier(changed, [{"content": text} for text in ("", "a", "b")]) is changed
