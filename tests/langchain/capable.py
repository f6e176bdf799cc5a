"""A fake service with everything that the vendor documents for an Omni model on the compatible endpoint.

What it accepts and rejects follows the vendor's chat reference and its Structured output, Function calling, Deep
thinking, Omni and Context cache pages; the answers are made up. The usage has media, thoughts and cached texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tests.loopback import Exchange, reply_json
from tests.service import Answer, Call

PARTS = {"text": 5, "image_url": 30, "video_url": 40, "video": 40, "input_audio": 20}
"""The content parts that there are, and what each counts."""
_COUNTED = {"image_url": "image_tokens", "video_url": "video_tokens", "video": "video_tokens",
            "input_audio": "audio_tokens"}  # fmt: skip
_ADDRESSES = ("data:", "https://")
SAYS = "Cats sleep all day."


class Capable:
    """A script for `Loopback` that remembers cached texts."""

    def __init__(self) -> None:
        self._cached: set[str] = set()

    def __call__(self, exchange: Exchange) -> None:
        request = exchange.request.json()
        if refusal := _refusal(request):
            reply_json(400, {"error": {"message": refusal, "code": "invalid_parameter_error"}})(exchange)
        else:
            self._answer(request)(exchange)

    def _answer(self, request: Mapping[str, Any]) -> Answer:
        thinks = bool(request.get("enable_thinking", _thinks_by_default(request)))
        speaks = "audio" in request.get("modalities", ())
        call, text = _call(request), _text(request)
        return Answer(
            reasoning=["Hm", "."] if thinks else (),
            text=() if call else (text[:5], text[5:]),
            calls=[call] if call else (),
            audio=[{"id": "audio_1", "data": "AAAA"}, {"id": "audio_1", "data": "AAAB"}] if speaks else (),
            usage=self._usage(request, thinks=thinks, speaks=speaks),
            model=request["model"],
        )

    def _usage(self, request: Mapping[str, Any], *, thinks: bool, speaks: bool) -> dict[str, Any]:
        counts = {"text_tokens": 0, "cached_tokens": 0}
        for part in _parts(request):
            name = _COUNTED.get(part["type"], "text_tokens")
            counts[name] = counts.get(name, 0) + PARTS[part["type"]]
            if "cache_control" in part:
                known = "cached_tokens" if str(part) in self._cached else "cache_creation_input_tokens"
                counts[known] = PARTS[part["type"]]
                self._cached.add(str(part))
        given = sum(count for name, count in counts.items() if name in ("text_tokens", *_COUNTED.values()))
        taken = (
            {"text_tokens": 4} | ({"reasoning_tokens": 2} if thinks else {}) | ({"audio_tokens": 8} if speaks else {})
        )
        return {
            "prompt_tokens": given,
            "completion_tokens": sum(taken.values()),
            "total_tokens": given + sum(taken.values()),
            "prompt_tokens_details": counts,
            "completion_tokens_details": taken,
        }


def _thinks_by_default(request: Mapping[str, Any]) -> bool:
    return bool(request["model"].startswith("qwen3.8-"))


def _parts(request: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    for message in request["messages"]:
        if isinstance(message["content"], str):
            yield {"type": "text", "text": message["content"]}
        else:
            yield from message["content"]


# ---------------------------------------------------------------- what it refuses


def _refusal(request: Mapping[str, Any]) -> str | None:
    """Return the service's error for an invalid request, or None."""
    stream, choice = request.get("stream"), request.get("tool_choice", "auto")
    if "-omni-" in request["model"] and not stream:
        return "This model only support stream mode, please enable the stream parameter to access the model."
    if stream and request.get("stream_options") != {"include_usage": True}:
        return "stream_options"
    if request.get("tools") == []:
        return "[] is too short - 'tools'"
    if choice == "required" or (choice not in ("auto", "none") and request.get("enable_thinking", True)):
        return 'tool_choice is one of the strings that should be ["none", "auto"]'
    if (request.get("response_format") or {}).get("type") == "json_object" and "json" not in _said(request).lower():
        return "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
    return next((why for message in request["messages"] if (why := _wrong(message))), None)


def _wrong(message: Mapping[str, Any]) -> str | None:
    content = message.get("content")
    if content is None:
        return "The content field is a required field."
    if isinstance(content, str):
        return None
    if message["role"] == "tool" and any(part["type"] != "text" for part in content):
        return "input content must be a string."
    for part in content:
        if part["type"] not in PARTS:
            return f"invalid value: '{part['type']}'. Supported values are: {', '.join(PARTS)}."
        address = {"image_url": "url", "video_url": "url", "input_audio": "data"}.get(part["type"])
        if address and not part[part["type"]][address].startswith(_ADDRESSES):
            return "The provided URL does not appear to be valid. Ensure it is correctly formatted."
    return None


def _said(request: Mapping[str, Any]) -> str:
    return " ".join(part.get("text", "") for part in _parts(request))


# ---------------------------------------------------------------- what it says


def _text(request: Mapping[str, Any]) -> str:
    if (request.get("response_format") or {}).get("type") != "json_object":
        return SAYS
    return json.dumps({"setup": "Why do cats sleep?", "punchline": SAYS})


def _call(request: Mapping[str, Any]) -> Call | None:
    """Return a call of the first tool after a user turn, with the quoted texts or the numbers in it."""
    turn = request["messages"][-1]
    if not request.get("tools") or turn["role"] != "user" or request.get("tool_choice") == "none":
        return None
    function = request["tools"][0]["function"]
    text = turn["content"] if isinstance(turn["content"], str) else _said({"messages": [turn]})
    numbers, names = re.findall(r"\d+", text), re.findall(r"'([^']+)'", text)
    args: dict[str, Any] = {}
    for name, schema in function.get("parameters", {}).get("properties", {}).items():
        if schema.get("type") in ("integer", "number"):
            args[name] = int(numbers.pop(0)) if numbers else 3
        else:
            args[name] = names.pop(0) if names else SAYS
    written = json.dumps(args, ensure_ascii=False)
    return Call("call_1", function["name"], (written[:9], written[9:]))
