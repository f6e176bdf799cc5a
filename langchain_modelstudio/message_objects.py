"""Construct the messages of whole answers without validation; see `modelstudio_core.unvalidated`."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call

from modelstudio_core.unvalidated import construct, fast_if_equal


def _ai_message(**given: Any) -> AIMessage:
    state = {
        "content": given["content"],
        "additional_kwargs": given["additional_kwargs"],
        "response_metadata": given["response_metadata"],
        "type": "ai",
        "name": None,
        "id": None,
        "tool_calls": given["tool_calls"],
        "invalid_tool_calls": given["invalid_tool_calls"],
        "usage_metadata": given["usage_metadata"],
    }
    return construct(AIMessage, state, set(given), {})


_CALL = tool_call(name="f", args={"a": [1]}, id="1")
_INVALID = invalid_tool_call(name="f", args="{", id=None, error="cut")
_COUNTS: dict[str, Any] = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
_SAMPLES: list[dict[str, Any]] = [
    {
        "content": content,
        "additional_kwargs": {"reasoning_content": "b"} if calls else {},
        "tool_calls": [*calls],
        "invalid_tool_calls": [*invalid],
        "response_metadata": {"model_provider": "a", "usage": {"a": {"b": 1}}},
        "usage_metadata": usage,
    }
    for content, calls, invalid, usage in (
        ("", [_CALL], [_INVALID], _COUNTS),
        ("<c>\n", [], [], None),
        (
            '{"b": 1}',
            [],
            [],
            _COUNTS | {"input_token_details": {"cache_read": 0}, "output_token_details": {"reasoning": 1}},
        ),
    )
]

ai_message = fast_if_equal(_ai_message, AIMessage, _SAMPLES)
"""Return an `AIMessage` with all fields of a whole answer."""
