"""Reads the log probabilities of tokens, which have the same form in both protocols.

The form is that of the vendor's references: `token` and `logprob`, and where they are given `bytes` and `top_logprobs`,
the alternatives. An item keeps whatever else its server adds. What cannot be read is omitted, never an error: log
probabilities are metadata, and the answer stands without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelstudio_core.protocols.codec import log_unreadable


def read_logprobs(content: list[Any]) -> tuple[Mapping[str, Any], ...]:
    """Return the items that can be read, each without those of its optional fields that cannot."""
    read = _readable(content)
    if read != content:
        log_unreadable("logprobs.content", content)
    return tuple(read)


def _readable(items: list[Any]) -> list[dict[str, Any]]:
    return [item for each in items if (item := _item(each)) is not None]


def _item(item: Any) -> dict[str, Any] | None:
    if not isinstance(item, dict) or not isinstance(item.get("token"), str) or not _is_number(item.get("logprob")):
        return None
    read: dict[str, Any] = item
    given, alternatives = item.get("bytes"), item.get("top_logprobs")
    if given is not None and not (isinstance(given, list) and all(_is_byte(value) for value in given)):
        read = {**read, "bytes": None}
    if alternatives is not None:
        readable = _readable(alternatives) if isinstance(alternatives, list) else None
        read = read if readable == alternatives else {**read, "top_logprobs": readable}
    return read


def _is_number(value: Any) -> bool:
    """Return True for a number that a float can hold."""
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            float(value)
        except OverflowError:
            return False
        return True
    return isinstance(value, float)


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255
