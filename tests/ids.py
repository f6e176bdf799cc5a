"""Test ids that can be read and typed."""

from __future__ import annotations

LONGEST = 36


def short(value: object) -> str:
    """Return a value as an id of at most 36 characters."""
    return str(value)[:LONGEST]
