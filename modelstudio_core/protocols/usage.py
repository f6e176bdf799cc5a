"""Parse `usage` objects. Every count is optional in all protocols; an unreadable count is None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def first_count(name: str, *holders: Mapping[str, Any]) -> int | None:
    """Return the token count of the first of `holders` that has it, or None."""
    return next((found for holder in holders if (found := read_count(holder, name)) is not None), None)


def read_counts(holder: Any, names: Sequence[str]) -> list[int | None]:
    """Return token counts by `read_count`; all None if `holder` is not an object."""
    if not holder or not isinstance(holder, dict):
        return [None] * len(names)
    return [
        value if type(value := holder.get(name)) is int and value >= 0 else read_count(holder, name) for name in names
    ]


def read_details(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a nested object of counts, or an empty one if it is missing."""
    found = usage.get(name)
    return found if isinstance(found, Mapping) else {}


def total_of(usage: Mapping[str, Any], *parts: int | None) -> int | None:
    """Return `total_tokens` of a usage object, or the sum of `parts` if it has none."""
    if total := read_count(usage, "total_tokens"):
        return total
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def openai_usage(usage: Usage) -> dict[str, Any]:
    """Return the counts in OpenAI's format, which tracers read for each protocol."""
    input_details = (
        ("cached_tokens", usage.cached_tokens),
        ("cache_creation_input_tokens", usage.cache_creation_tokens),
        ("text_tokens", usage.input_text_tokens),
        ("image_tokens", usage.input_image_tokens),
        ("video_tokens", usage.input_video_tokens),
        ("audio_tokens", usage.input_audio_tokens),
    )
    output_details = (
        ("reasoning_tokens", usage.reasoning_tokens),
        ("text_tokens", usage.output_text_tokens),
        ("audio_tokens", usage.output_audio_tokens),
    )
    counts: tuple[tuple[str, Any], ...] = (
        ("prompt_tokens", usage.input_tokens),
        ("completion_tokens", usage.output_tokens),
        ("total_tokens", usage.total_tokens),
        ("prompt_tokens_details", {name: count for name, count in input_details if count is not None} or None),
        ("completion_tokens_details", {name: count for name, count in output_details if count is not None} or None),
    )
    return {name: value for name, value in counts if value is not None}
