"""Read whole answers of text alone in one step, which takes a quarter of the time of deltas folded into a result.

Only answers whose every field has its ordinary form are read here; all others take the way of `decoding`. Tests compare
the two.
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
    """Return the result of an OpenAI-compatible answer with one choice of text and reasoning, else None.

    Args:
        body: the decoded object.
        request_id: the request id from beside the body.
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
    said = body.get("request_id") or request_id
    ordinary = (
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
        and (said is None or type(said) is str)
    )
    if not ordinary or not usage:
        return None
    return ChatResult(
        (Choice(0, str(reasoning or ""), str(text), finish_reason=reason),),
        read_usage(usage),
        ResponseDelta(id or None, said or None, model or None, created, fingerprint or None),
    )
