"""The objects of a stream that are written down are what pydantic would have made."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.llms.types import TextBlock, ThinkingBlock
from pydantic import BaseModel

from llama_index_modelstudio import chat_objects as copies
from llama_index_modelstudio.outputs import Responses
from modelstudio_core.types import ReasoningDelta, ResponseDelta, TextDelta, ToolCallDelta

PAIRS = [
    (copies.text_block, TextBlock),
    (copies.thinking_block, ThinkingBlock),
    (copies.chat_response, copies._validated_response),
]


def state(made: Any) -> Any:
    """All that can be seen of a pydantic object."""
    if isinstance(made, list):
        return [state(item) for item in made]
    if not isinstance(made, BaseModel):
        return type(made), made
    fields = [(name, state(value)) for name, value in made.__dict__.items()]
    return type(made), fields, made.__pydantic_fields_set__, made.__pydantic_extra__, made.__pydantic_private__


def validated(made: Any) -> Any:
    """The object made by its class from what was given for this one."""
    if isinstance(made, list):
        return [validated(item) for item in made]
    if not isinstance(made, BaseModel):
        return made
    return type(made)(**{name: validated(made.__dict__[name]) for name in made.model_fields_set})


@pytest.mark.parametrize(("quick", "validating"), PAIRS)
def test_objects_are_written_down_here(quick: Any, validating: Any) -> None:
    """With the llama-index-core that is installed, the quick way is the one that is taken."""
    assert quick is not validating


def test_responses_of_a_stream_are_what_pydantic_makes() -> None:
    """Fields, their order and types, which of them were set, down to the blocks: all the same."""
    responses = Responses()
    deltas = [
        ResponseDelta("chatcmpl-1", "req-1", "qwen-plus", 1770000000),
        ReasoningDelta("hm"),
        TextDelta("so"),
        TextDelta(" {"),
        ToolCallDelta(0, "call_1", "get"),
        ToolCallDelta(0, arguments='{"city": "New '),
    ]
    made = [response for delta in deltas if (response := responses.convert(delta)) is not None]
    assert len(made) == len(deltas) - 1
    for response in made:
        assert state(response) == state(validated(response))


def test_responses_share_no_containers() -> None:
    """What a consumer puts into one response is in no other."""
    responses = Responses()
    first, second = responses.convert(ReasoningDelta("a")), responses.convert(TextDelta("b"))
    assert first is not None
    assert second is not None
    for mine, other in (
        (first.additional_kwargs, second.additional_kwargs),
        (first.message.additional_kwargs, second.message.additional_kwargs),
        (first.message.blocks, second.message.blocks),
    ):
        assert mine is not other
