"""Compare the page of tested faults with the table."""

from __future__ import annotations

from pathlib import Path

from tests.faults.__main__ import lines

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def test_page_has_table() -> None:
    """`python -m tests.faults` prints the table in docs/faults.md."""
    assert PAGE.read_text(encoding="utf-8").endswith("\n".join(lines()) + "\n")
