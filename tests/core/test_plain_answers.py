"""Decoding in one step gives the same result as folding deltas, or declines."""

from __future__ import annotations

from typing import Any

import pytest

from modelstudio_core.errors import ModelStudioError
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.openai import OpenAICodec
from modelstudio_core.protocols.plain import plain_answer
from modelstudio_core.types import ChatRequest, ResponseHead

CODEC = OpenAICodec()
REQUEST = ChatRequest(model="m", messages=(), n=16)
USAGE = {
    "prompt_tokens": 26,
    "completion_tokens": 35,
    "total_tokens": 61,
    "prompt_tokens_details": {"cached_tokens": 8, "text_tokens": 26},
    "completion_tokens_details": {"reasoning_tokens": 6},
}
MESSAGE = {"role": "assistant", "content": "Hello"}
CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def body(message: Any = MESSAGE, usage: Any = USAGE, **other: Any) -> dict[str, Any]:
    choice = {"finish_reason": "stop", "index": 0, "message": message} | other.pop("choice", {})
    return {
        "id": "a",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "usage": usage,
        "choices": [choice],
    } | other


PLAIN: dict[str, dict[str, Any]] = {
    "text": body(),
    "reasoning": body(MESSAGE | {"reasoning_content": "Hm"}),
    "no-role": body({"content": "Hello"}),
    "nothing-else": body(MESSAGE | {"tool_calls": [], "refusal": None, "audio": None}),
    "empty-text": body(MESSAGE | {"content": ""}),
    "length": body(choice={"finish_reason": "length"}),
    "no-index": body(choice={"index": None, "logprobs": None}),
    "no-details": body(usage={"prompt_tokens": 1, "completion_tokens": 2}),
    "odd-counts": body(
        usage={"prompt_tokens": "7", "completion_tokens": -1, "prompt_tokens_details": {"cached_tokens": True}}
    ),
    "fingerprint": body(system_fingerprint="f", request_id="r"),
}
LEFT: dict[str, dict[str, Any]] = {
    "call": body(MESSAGE | {"tool_calls": [CALL]}),
    "call-without-role": body({"content": "", "tool_calls": [CALL]}),
    "refusal": body(MESSAGE | {"refusal": "no"}),
    "parts": body({"role": "assistant", "content": [{"type": "text", "text": "a"}]}),
    "no-content": body({"role": "assistant", "content": None}),
    "other-reasoning": body(MESSAGE | {"reasoning": "Hm"}),
    "logprobs": body(choice={"logprobs": {"content": []}}),
    "no-finish": body(choice={"finish_reason": None}),
    "error-finish": body(choice={"finish_reason": "error"}),
    "error-in-choice": body(choice={"error": {"code": "x"}}),
    "two-choices": body(choices=[{"finish_reason": "stop", "index": at, "message": MESSAGE} for at in (0, 1)]),
    "second-index": body(choice={"index": 1}),
    "no-usage": body(usage=None),
    "number-as-id": body(id=7),
    "error": {"error": {"code": "InternalError", "message": "m"}},
    "bare-error": {"code": "InternalError", "message": "m"},
}


def folded(value: dict[str, Any]) -> Any:
    """Return the result of the regular decoder, or the type of its error."""
    try:
        return fold(CODEC.decode_object(REQUEST, ResponseHead(200, {"x-request-id": "beside"}), value))
    except ModelStudioError as error:
        return type(error)


@pytest.mark.parametrize("value", PLAIN.values(), ids=PLAIN)
def test_plain_answers(value: dict[str, Any]) -> None:
    """The results are equal."""
    found = plain_answer(value, "beside")
    assert found is not None
    assert found == folded(value)
    assert found.usage is not None
    assert found.usage.raw == value["usage"]


@pytest.mark.parametrize("value", LEFT.values(), ids=LEFT)
def test_other_answers(value: dict[str, Any]) -> None:
    """The result is None."""
    assert plain_answer(value) is None
