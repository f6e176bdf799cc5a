"""Decode plain text answers in one step, in a quarter of the time of `decoding`.

Answers with any unusual field are left to `decoding`. Tests compare the results of both.
"""

from __future__ import annotations

from typing import Any

from modelstudio_core.protocols.openai import read_usage
from modelstudio_core.types import ChatResult, Choice, ResponseDelta

_CHOICE = frozenset({"index", "message", "finish_reason"})
_ANY_CHOICE = _CHOICE | {"logprobs"}
_MESSAGE = frozenset({"role", "content", "reasoning_content", "refusal", "audio", "tool_calls", "function_call", "name",
                      "annotations"})  # fmt: skip
_PLAIN = frozenset({"role", "content"})
_EMPTY = ("refusal", "audio", "tool_calls")
_MAX_CREATED = 1 << 53


def plain_answer(body: dict[str, Any], request_id: str | None = None) -> ChatResult | None:
    """Return the result of an OpenAI-compatible response with one choice of text and reasoning, otherwise None.

    Args:
        body: the decoded response.
        request_id: the request ID, if `body` has none.
    """
    if "error" in body or "code" in body:
        return None
    choices = body.get("choices")
    if type(choices) is not list or len(choices) != 1:
        return None
    choice = choices[0]
    if type(choice) is not dict:
        return None
    if choice.keys() != _CHOICE and (not choice.keys() <= _ANY_CHOICE or choice.get("logprobs")):
        return None
    message, reason, usage = choice.get("message"), choice.get("finish_reason"), body.get("usage")
    if type(message) is not dict:
        return None
    if message.keys() != _PLAIN and (not message.keys() <= _MESSAGE or any(map(message.get, _EMPTY))):
        return None
    index, text, reasoning = choice.get("index"), message.get("content"), message.get("reasoning_content")
    id, model, created, fingerprint = (
        body.get("id"), body.get("model"), body.get("created"), body.get("system_fingerprint"),
    )  # fmt: skip
    request_id = body.get("request_id") or request_id
    is_usual = (
        type(reason) is str
        and reason not in ("", "null", "error")
        and (index is None or (type(index) is int and index == 0))
        and type(text) is str
        and (reasoning is None or type(reasoning) is str)
        and type(usage) is dict
        and type(id) is str
        and type(model) is str
        and (created is None or (type(created) is int and 0 < created < _MAX_CREATED))
        and (fingerprint is None or type(fingerprint) is str)
        and (request_id is None or type(request_id) is str)
    )
    if not is_usual or not usage:
        return None
    return ChatResult(
        (Choice(0, str(reasoning or ""), str(text), finish_reason=reason),),
        read_usage(usage),
        ResponseDelta(id or None, request_id or None, model or None, created, fingerprint or None),
    )
