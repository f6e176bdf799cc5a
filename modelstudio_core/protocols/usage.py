"""Parse `usage` objects. Every count is optional in both protocols; an unreadable count is None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelstudio_core.protocols.codec import as_integer, log_unreadable
from modelstudio_core.types import Usage


def read_count(holder: Mapping[str, Any], name: str) -> int | None:
    """Return a token count, or None if it is missing or unreadable."""
    value = holder.get(name)
    if value is None:
        return None
    if (number := as_integer(value)) is not None and number >= 0:
        return number
    log_unreadable(f"usage.{name}", value)
    return None


def read_details(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a nested object of counts, or an empty one if it is missing."""
    found = usage.get(name)
    return found if isinstance(found, Mapping) else {}


def total_of(usage: Mapping[str, Any], *parts: int | None) -> int | None:
    """Return `total_tokens` of a usage object, or the sum of `parts` if it has none."""
    known = [part for part in parts if part is not None]
    return read_count(usage, "total_tokens") or (sum(known) if known else None)


def openai_usage(usage: Usage) -> dict[str, Any]:
    """Return the counts in OpenAI's format, which tracers read for either protocol."""
    given = {
        "cached_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": usage.cache_creation_tokens,
        "text_tokens": usage.input_text_tokens,
        "image_tokens": usage.input_image_tokens,
        "video_tokens": usage.input_video_tokens,
        "audio_tokens": usage.input_audio_tokens,
    }
    taken = {
        "reasoning_tokens": usage.reasoning_tokens,
        "text_tokens": usage.output_text_tokens,
        "audio_tokens": usage.output_audio_tokens,
    }
    counts: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": _known(given),
        "completion_tokens_details": _known(taken),
    }
    return {name: value for name, value in counts.items() if value not in (None, {})}


def _known(counts: Mapping[str, int | None]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count is not None}
