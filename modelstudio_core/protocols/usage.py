"""Reads the numbers of a `usage` object, whose every detail is optional in both protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelstudio_core.errors import ProtocolError
from modelstudio_core.protocols.codec import whole_number


def counts_of(usage: Any) -> Mapping[str, Any]:
    """The object itself. Raises ProtocolError where it is none."""
    if not isinstance(usage, Mapping):
        raise ProtocolError(f"usage is not an object but {usage!r:.100}")
    return usage


def count(holder: Mapping[str, Any], name: str) -> int | None:
    """A number of tokens, None where it is missing. Raises ProtocolError for what is no such number, as one below 0."""
    value = holder.get(name)
    if value is None:
        return None
    if (number := whole_number(value)) is not None and number >= 0:
        return number
    raise ProtocolError(f"usage.{name} is no number of tokens but {value!r:.100}")


def details(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A nested object of counts, empty where it is missing."""
    found = usage.get(name)
    return found if isinstance(found, Mapping) else {}
