"""Parse token log probabilities, whose format is the same in the OpenAI-compatible and the native protocol.

Items have `token` and `logprob`, and optionally `bytes` and `top_logprobs` (the alternatives), as in the vendor's
references. Other fields are kept. Unreadable items are omitted without an error, as they are metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelstudio_core.protocols.codec import log_unreadable


def read_logprobs(content: list[Any]) -> tuple[Mapping[str, Any], ...]:
    """Return the readable items. Unreadable optional fields are removed or set to None."""
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
    """Return True for a number that fits a float."""
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            float(value)
        except OverflowError:
            return False
        return True
    return isinstance(value, float)


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255
