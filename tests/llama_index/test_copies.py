"""Objects of a stream constructed without validation equal those created by pydantic."""

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
    """Return the complete state of a pydantic object."""
    if isinstance(made, list):
        return [state(item) for item in made]
    if not isinstance(made, BaseModel):
        return type(made), made
    fields = [(name, state(value)) for name, value in made.__dict__.items()]
    return type(made), fields, made.__pydantic_fields_set__, made.__pydantic_extra__, made.__pydantic_private__


def validated(made: Any) -> Any:
    """Return the object created by its class from the same arguments."""
    if isinstance(made, list):
        return [validated(item) for item in made]
    if not isinstance(made, BaseModel):
        return made
    return type(made)(**{name: validated(made.__dict__[name]) for name in made.model_fields_set})


@pytest.mark.parametrize(("quick", "validating"), PAIRS)
def test_the_fast_path_is_used(quick: Any, validating: Any) -> None:
    """With the installed llama-index-core."""
    assert quick is not validating


def test_responses_equal_pydantics() -> None:
    """Fields, order, types and fields set, including blocks."""
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
    """Changing one response does not affect others."""
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
