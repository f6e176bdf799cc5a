"""Chunks constructed without validation equal those created by pydantic, otherwise construction falls back to it."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from langchain_core.outputs import ChatGenerationChunk
from pydantic import BaseModel, Field, PrivateAttr, model_validator

from langchain_modelstudio import chunks as copies
from langchain_modelstudio.chunks import ModelStudioMessageChunk
from langchain_modelstudio.outputs import ChunkConverter, from_core_delta
from modelstudio_core import unvalidated as copying
from modelstudio_core.types import AudioDelta, Delta, LogprobsDelta, ReasoningDelta, TextDelta, ToolCallDelta
from modelstudio_core.unvalidated import construct, fast_if_equal
from tests.ids import short

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
    """Return the complete state of a pydantic object."""
    fields = {name: state(v) if isinstance(v, BaseModel) else (type(v), v) for name, v in made.__dict__.items()}
    hidden = (made.__pydantic_fields_set__, made.__pydantic_extra__, made.__pydantic_private__)
    return type(made), list(fields.items()), hidden


def validated(chunk: ModelStudioMessageChunk) -> ModelStudioMessageChunk:
    """Return the chunk created by its class from the same arguments."""
    derived = {"tool_calls", "invalid_tool_calls"}
    return ModelStudioMessageChunk(**{name: chunk.__dict__[name] for name in chunk.model_fields_set - derived})


def test_the_fast_path_is_used() -> None:
    """With the installed langchain-core."""
    assert copies.text_generation is not copies._validated_text_generation
    assert copies.message_chunk is not ModelStudioMessageChunk
    assert copies.generation_chunk is not ChatGenerationChunk


@pytest.mark.parametrize("v1", [False, True])
@pytest.mark.parametrize("delta", DELTAS, ids=short)
def test_a_chunk_equals_pydantics(delta: Delta, v1: bool) -> None:
    """Fields, order, types, fields set, extra and private attributes."""
    chunk = from_core_delta(delta, v1=v1)
    assert chunk is not None
    assert state(chunk) == state(validated(chunk))
    made = ChunkConverter(v1=v1).convert(delta)
    assert made is not None
    assert state(made) == state(copies.generation_chunk(message=chunk, text=chunk.text))
    assert state(made) == state(ChatGenerationChunk(message=chunk))


def _text_chunk(content: str) -> Any:
    return copies.text_generation(text=content).message


@pytest.mark.parametrize("make", [_text_chunk, copies.message_chunk])
def test_chunks_share_no_mutable_values(make: Any) -> None:
    """Changing one chunk does not affect others."""
    first, second = make(content="a"), make(content="b")
    for name, value in first.__dict__.items():
        if isinstance(value, list):
            value.append(name)
        elif isinstance(value, dict):
            value[name] = name
    first.id, first.note = "1", "n"
    assert state(second) == state(ModelStudioMessageChunk(content="b"))
    assert state(make(content="b")) == state(ModelStudioMessageChunk(content="b"))


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


SAMPLES = [{"content": text} for text in ("", "a", "b")]


def written_down(cls: type[ModelStudioMessageChunk], **more: Any) -> Any:
    """Construct a `cls` as if it were the current chunk class."""

    def make(content: str) -> ModelStudioMessageChunk:
        return construct(cls, {**ModelStudioMessageChunk(content=content).__dict__, **more}, {"content"}, {})

    return make


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
def test_a_class_with_more_logic_is_validated(changed: type[ModelStudioMessageChunk]) -> None:
    """If a langchain-core release adds logic to chunk creation."""
    assert fast_if_equal(written_down(changed), changed, SAMPLES) is changed


def test_shared_defaults_are_not_used() -> None:
    """The fast path is not used if two objects would share a list."""
    same = written_down(ModelStudioMessageChunk)
    assert fast_if_equal(same, ModelStudioMessageChunk, SAMPLES) is same
    calls: list[Any] = []
    sharing = written_down(ModelStudioMessageChunk, tool_calls=calls)
    assert fast_if_equal(sharing, ModelStudioMessageChunk, SAMPLES) is ModelStudioMessageChunk


def test_other_pydantic_internals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pydantic release without one of the slots disables the fast path without an error."""
    monkeypatch.setattr(copying, "_set_private", copying._setter("__pydantic_no_such_slot__"))
    assert (
        fast_if_equal(written_down(ModelStudioMessageChunk), ModelStudioMessageChunk, SAMPLES)
        is ModelStudioMessageChunk
    )
