"""Test ids that can be read and typed."""

from __future__ import annotations

LONGEST_ID = 80
"""Characters of the ids of a test, joined."""
LONGEST = 32
LONGEST_VALUE = 25
"""Characters of each text in the id of a test that has several."""


def short(value: object) -> str:
    """Return a value as an id of at most 32 characters."""
    return str(value)[:LONGEST]
