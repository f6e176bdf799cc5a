"""The page of tested faults shows the table as it is."""

from __future__ import annotations

from pathlib import Path

from tests.faults.__main__ import lines

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def test_the_page_has_the_table() -> None:
    """`python -m tests.faults` prints what stands in docs/faults.md."""
    assert PAGE.read_text(encoding="utf-8").endswith("\n".join(lines()) + "\n")
